"""What a person sees of a run while it goes on."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from orbresearch.console import somebody_looks

_LOG_SECONDS = 30.0


class ProgressBar:
    """Backtests done, staged, in the store, per second, and the time left: in a terminal or in Jupyter.

    Where the output is neither (a log file), a line appears for every tenth of the run, and every 30 s.

    Parameters
    ----------
    total : int
        Backtests of the run.
    done : int
        Those that were computed before; they do not count for the rate.
    """

    def __init__(self, total: int, done: int) -> None:
        from tqdm.auto import tqdm

        self.total, self.tenth, self.due = total, -1, 0.0
        self.live = somebody_looks()
        self.bar: Any = tqdm(
            total=total,
            initial=done,
            unit="",
            smoothing=0,  # the rate is the run's average: chunks arrive in lumps
            mininterval=0.1 if self.live else 1e9,
            bar_format="{percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} done{postfix} [{rate_fmt}, {remaining} left]",
        )

    def show(self, computed: int, persisted: int) -> None:
        """Show the latest counts."""
        staged = max(0, computed - persisted)
        self.bar.set_postfix_str(f"{staged:,} staged, {persisted:,} in the store", refresh=False)
        self.bar.update(computed - self.bar.n)
        tenth = 10 * persisted // max(self.total, 1)
        if self.live or tenth > self.tenth or time.monotonic() > self.due:
            self.tenth, self.due = tenth, time.monotonic() + _LOG_SECONDS
            self.bar.refresh()
            if not self.live:
                self.bar.fp.write("\n")

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.leave = self.live
        self.bar.close()
