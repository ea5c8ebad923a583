"""What befalls a cluster: counted, and told while it goes on, but not again and again."""

from __future__ import annotations

import math
import time
from collections import Counter

from orbresearch.console import tell

_QUIET_SECONDS = 60.0  # between two lines on lost workers
_AGAIN_SECONDS = 600.0  # until a trouble that lasts is told again


class Troubles:
    """Why workers did not come to run or were lost, and what else went wrong."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._quiet_until = 0.0
        self._told: dict[str, float] = {}

    def count(self, reason: str, what: str) -> None:
        """Count a worker's trouble; tell of it where it is new and none was told of just now.

        Parameters
        ----------
        reason : str
            In AWS' words.
        what : str
            What becomes of the worker, for a person.
        """
        self.counts[reason] += 1
        if self.counts[reason] == 1 and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            tell(f"cloud: a worker {what}: {reason}")

    def tell_now_and_then(self, line: str) -> None:
        """Tell of what lasts: now, and again after ten minutes."""
        if time.monotonic() - self._told.get(line, -math.inf) > _AGAIN_SECONDS:
            self._told[line] = time.monotonic()
            tell(line)

    def most_frequent(self, many: int = 3) -> list[str]:
        """Return the most frequent reasons, each after its number."""
        return [f"{times} x {reason}" for reason, times in self.counts.most_common(many)]
