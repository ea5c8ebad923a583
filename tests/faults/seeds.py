"""Where random schedules begin."""

from __future__ import annotations

import os

VARIABLE = "FAULTS_SEED"  # no ORB_ variable: the package refuses those it does not know


def fresh_seed() -> int:
    """Return the seed that the environment names, else one that nobody has drawn before."""
    named = os.environ.get(VARIABLE)
    return int(named) if named else int.from_bytes(os.urandom(3), "big")
