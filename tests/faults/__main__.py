"""Random schedules of faults: ``make chaos N=100 [SEED=7]``, or ``python -m tests.faults N [--seed SEED]``.

One line per schedule: its seed, what happened, and how it ended. ``N=1 SEED=...`` plays one again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.faults.play import play
from tests.faults.schedule import draw
from tests.faults.stage import Servers, open_servers


def main() -> int:
    """Play so many schedules; return 1 if one failed."""
    asked = arguments()
    first = int.from_bytes(os.urandom(3), "big") if asked.seed is None else asked.seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended on the way out
    say(f"{asked.count} schedules from seed {first} on")
    failed, start = [], time.monotonic()
    with open_servers() as servers:
        for seed in range(first, first + asked.count):
            if not show(seed, servers, asked.keep):
                failed.append(seed)
    passed, minutes = asked.count - len(failed), (time.monotonic() - start) / 60
    say(f"{passed} of {asked.count} schedules passed in {minutes:.1f} minutes")
    for seed in failed:
        say(f"repeat with: make chaos N=1 SEED={seed}")
    return 1 if failed else 0


def say(line: str) -> None:
    """Show a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Random schedules of faults.")
    parser.add_argument("count", nargs="?", type=int, default=8, help="how many (default: 8)")
    parser.add_argument("--seed", type=int, help="of the first; the next ones follow it (default: a fresh one)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a schedule that failed")
    return parser.parse_args()


def show(seed: int, servers: Servers, keep: bool) -> bool:
    """Play one schedule and print its line; return whether it passed."""
    schedule, start = draw(seed), time.monotonic()
    home, error = Path(tempfile.mkdtemp(prefix="orb-faults-")), ""
    try:
        outcome = f"passed: {play(schedule, servers, home)}"
    except Exception as caught:
        outcome, error = f"FAILED: {_first_line(caught)}", traceback.format_exc()
    say(f"seed {seed}, {time.monotonic() - start:.0f} s, {schedule} - {outcome}")
    if error:
        say(error)
    if error and keep:
        say(f"its folder is {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return not error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    sys.exit(main())
