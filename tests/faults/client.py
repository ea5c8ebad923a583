"""The notebook of a schedule, as a process of its own: attaches to the lab that stdin names, submits, waits.

Exit codes: 0 the run is complete; 2 it could not be submitted; 3 RunFailed. Its words go to stdout.
"""

from __future__ import annotations

import sys

import orbresearch as orb
from orbresearch.console import tell
from orbresearch.errors import OrbError, RunFailed
from orbresearch.keep import read_keep
from tests.faults.work import make_plan

COMPLETE, REFUSED, FAILED = 0, 2, 3


def main() -> int:
    """Submit the plan and wait for it."""
    plan = make_plan()
    address, kept = sys.stdin.readline().rstrip("\n").split(" ", 1)
    try:
        with orb.Lab(address=address, quiet=True) as lab:
            lab.submit_plan(plan, keep=read_keep(kept)).wait()
    except RunFailed as error:
        tell(f"RunFailed: {error}")
        return FAILED
    except OrbError as error:
        tell(f"{type(error).__name__}: {error}")
        return REFUSED
    return COMPLETE


if __name__ == "__main__":
    sys.exit(main())
