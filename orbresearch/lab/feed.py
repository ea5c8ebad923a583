"""One run as the feeder sees it: what is to be given out, what is under way, what failed."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

_FAILURES_KEPT = 100

Piece = tuple[int, int, int, int]  # the fields of a plan.Chunk


@dataclass
class Feed:
    """Where a run stands, as the scheduler has seen it since the run was submitted here."""

    order: str  # the run, and what is kept of it: keep.order_of
    store: str  # its uuid
    waiting: deque[Piece] = field(default_factory=deque)
    pieces: dict[int, Piece] = field(default_factory=dict)  # every chunk given to this feed, by first backtest
    running: int = 0  # chunks
    running_rows: int = 0
    computed: int = 0  # backtests
    known_before: int = 0  # of those, not computed here
    seconds: float = 0.0  # of computing, over all workers
    attempts: Counter[int] = field(default_factory=Counter)
    aside: dict[int, Piece] = field(default_factory=dict)  # chunks that failed for good, by first backtest
    failures: list[dict[str, Any]] = field(default_factory=list)
    halted: bool = False  # its inputs are not in Redis
    cancelled: bool = False

    @property
    def ready(self) -> bool:
        """Whether a chunk can be given out."""
        return bool(self.waiting) and not self.halted

    def fail(self, chunk: Piece, reason: str, trace: str = "") -> None:
        """Set a chunk aside."""
        self.aside[chunk[0]] = chunk
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append({"first": chunk[0], "rows": chunk[1], "error": reason, "traceback": trace})

    def drop(self) -> int:
        """Give out no further chunk; return how many backtests that leaves uncomputed."""
        left = sum(chunk[1] for chunk in self.waiting)
        self.waiting.clear()
        self.cancelled = self.cancelled or left > 0
        return left

    def report(self) -> dict[str, Any]:
        """Return where the run stands, in backtests."""
        return {
            "known": True,
            "computed": self.computed,
            "known_before": self.known_before,
            "running": self.running_rows,
            "waiting": sum(chunk[1] for chunk in self.waiting),
            "seconds": self.seconds,
            "failed": sum(chunk[1] for chunk in self.aside.values()),
            "failures": list(self.failures),
            "halted": self.halted,
            "cancelled": self.cancelled,
        }
