"""Waiting for AWS: what takes minutes is looked at rarer and rarer, and a person sees how long it has taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from orbresearch.console import somebody_looks, tell
from orbresearch.errors import CloudFailed

WAIT_SECONDS = 1800.0
_FIRST_SECONDS, _MOST_SECONDS = 0.1, 10.0


def wait_while(
    what: str, look: Callable[[], str], passing: Collection[str], fix: str, seconds: float = WAIT_SECONDS
) -> str:
    """Return the first status that will not pass by itself.

    Parameters
    ----------
    what : str
        What is being done, for the line and for the error: ``"starting Redis"``.
    look : callable
        Returns the status that AWS gives now.
    passing : collection of str
        The statuses that are waited out.
    fix : str
        What to do when the time is over.
    seconds : float
        When it is.

    Raises
    ------
    CloudFailed
        The status still was a passing one then; the error names it.

    Examples
    --------
    >>> seen = iter(["creating", "available"])
    >>> wait_while("starting Redis", lambda: next(seen), {"creating"}, "look at the console")
    'available'
    """
    started = time.monotonic()
    with _Line(what) as line:
        while (status := look()) in passing:
            gone = time.monotonic() - started
            if gone > seconds:
                raise CloudFailed(what, f"it still is {status!r} after {gone:.0f} s", fix)
            line.show(status)
            # a tenth of the time gone: quick where it takes seconds, six looks a minute where it takes many
            time.sleep(min(_MOST_SECONDS, _FIRST_SECONDS + gone / 10))
    return status


class _Line:
    """One line that grows older where somebody looks; elsewhere a line for each new status."""

    def __init__(self, what: str) -> None:
        self.what, self.live, self.told = what, somebody_looks(), ""
        self.bar: Any = None  # made once there is something to wait for

    def show(self, status: str) -> None:
        if not self.live:
            if status != self.told:
                tell(f"{self.what}: {status}")
            self.told = status
            return
        if self.bar is None:
            from tqdm.auto import tqdm

            self.bar = tqdm(bar_format="{desc} ({elapsed})", leave=False)
        self.bar.set_description_str(f"{self.what}: {status}")

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
