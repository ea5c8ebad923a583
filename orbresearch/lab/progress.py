"""What a person sees of a run while it goes on."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_LOG_SECONDS = 30.0


def tell(message: str) -> None:
    """Say something to the person at the notebook or the terminal."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def in_notebook() -> bool:
    """Return whether a Jupyter kernel shows what a cell returns."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


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
        self.live = sys.stderr.isatty() or "ipykernel" in sys.modules
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
