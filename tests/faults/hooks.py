"""In the workers of a disturbed lab: where a process dies and which chunk raises, as files in a folder say.

Each file works once (but RAISES_ALWAYS): whoever removes it does what it says. So a worker that the nanny has started
anew does not die again of what killed the one before.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin

BEFORE_COMMIT = "die between insert and commit"
AFTER_COMMIT = "die between commit and acknowledgement"
RAISES = "raise in chunk"
RAISES_ALWAYS = "always raise in chunk"
LEASE_MILLISECONDS = 4000  # in place of 15 s: that long is an unfinished reaper's lease waited for


class SpoiltError(Exception):
    """What a spoilt chunk raises."""


class Hooks(WorkerPlugin):
    """Installed in every worker, also in those started later.

    Parameters
    ----------
    folder : str
        Of the files.
    chunk_seconds : float
        That a chunk takes longer.
    ending : int
        The signal that ends a process: SIGSTOP makes it one that everybody takes for dead, and that comes back.
    """

    name = "faults"

    def __init__(self, folder: str, chunk_seconds: float = 0.0, ending: int = signal.SIGKILL) -> None:
        self.folder, self.chunk_seconds, self.ending = Path(folder), chunk_seconds, ending

    def setup(self, worker: Any) -> None:
        """Wrap what a worker computes and what its reaper does."""
        from orbresearch import staging
        from orbresearch.lab import reaper
        from orbresearch.lab import worker as computing
        from orbresearch.store import writer

        reaper.LEASE_MILLISECONDS = min(reaper.LEASE_MILLISECONDS, LEASE_MILLISECONDS)
        computing.compute_rows = self._spoilt(computing.compute_rows)
        computing.compute_best = self._spoilt(computing.compute_best)
        writer._insert_rows = self._fatal(writer._insert_rows, BEFORE_COMMIT, after=True)
        staging.acknowledge = self._fatal(staging.acknowledge, AFTER_COMMIT, after=False)

    def _spoilt(self, compute_rows: Callable[..., Any]) -> Callable[..., Any]:
        def slowly(run_id: str, item: Any, points: Any, rules: Any, chunk: Any, *keep: Any) -> Any:
            time.sleep(self.chunk_seconds)
            if (self.folder / f"{RAISES_ALWAYS} {chunk.first}").exists():
                raise SpoiltError("spoilt for good\nsecond line")
            for turn in range(2):
                if self._take(f"{RAISES} {chunk.first} {turn}"):
                    raise SpoiltError("spoilt for once")
            return compute_rows(run_id, item, points, rules, chunk, *keep)

        return slowly

    def _fatal(self, function: Callable[..., Any], file: str, *, after: bool) -> Callable[..., Any]:
        """Return the function with a death before or after it."""

        def wrapped(*arguments: Any) -> Any:
            result = function(*arguments) if after else None
            if self._take(file):
                os.kill(os.getpid(), self.ending)
            return result if after else function(*arguments)

        return wrapped

    def _take(self, file: str) -> bool:
        try:
            (self.folder / file).unlink()
        except FileNotFoundError:
            return False
        return True
