"""A reaper as a process of its own: ``python -m tests.faults.reaping FOLDER SIGNAL``.

It waits for a line on stdin, and ends by the signal where the files of the folder say so.
"""

from __future__ import annotations

import json
import sys

from orbresearch.console import tell
from orbresearch.lab import reaper
from orbresearch.settings import read_settings
from tests.faults.hooks import Hooks
from tests.faults.stage import opened_services

LEASE_MILLISECONDS = 1000


def main() -> None:
    """Reap once, when stdin says so; print what came of it."""
    Hooks(sys.argv[1], ending=int(sys.argv[2])).setup(None)
    reaper.LEASE_MILLISECONDS = LEASE_MILLISECONDS
    with opened_services(read_settings()) as services:
        tell("ready")
        sys.stdin.readline()
        tell(json.dumps(reaper.reap(services)))


if __name__ == "__main__":
    main()
