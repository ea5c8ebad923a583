"""Following a run: until all of it is in the store, or as a table that keeps itself up to date."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from orbresearch.console import tell
from orbresearch.errors import BadInput, OrbError, RunFailed, Unreachable
from orbresearch.keep import write_keep
from orbresearch.lab.connection import AWAY_SECONDS
from orbresearch.lab.progress import ProgressBar
from orbresearch.lab.status import ENDED, sentence, show_status

if TYPE_CHECKING:
    from orbresearch.lab.lab import Lab
    from orbresearch.lab.run import Run

_POLL_SECONDS = 0.3
_LIVE_SECONDS = 1.0
_REPAIRS = 5  # in a row without a row more in the store
_TRADES_SECONDS = 30.0
_SILENCE_SECONDS = 5.0  # between two warnings about the same trouble; and until lost results are looked for

# Of a cluster that did all of a run, and ended for want of work while nobody looked.
_OVER = {**dict.fromkeys(("computed", "running", "waiting", "failed", "halted", "cancelled"), 0), "reaper_error": ""}


def watch(run: Run, lab: Lab, resume: Callable[[], object] | None, persisted: int) -> None:
    """Show progress until all rows are committed, the rest has failed, or nobody computes it any more.

    Parameters
    ----------
    resume : callable, optional
        Stages anew what Redis has lost of the run, and gives out what the store lacks.
    persisted : int
        Backtests in the store.

    Raises
    ------
    RunFailed
    """
    told, quiet, repairs = 0.0, time.monotonic(), 0
    with ProgressBar(run.total, persisted) as bar:
        while True:
            before = persisted
            found, persisted, trouble = _look(run, lab, before)
            bar.show(max(found["computed"], persisted), persisted)
            idle = not found["running"] and (not found["waiting"] or found["halted"])
            if persisted >= run.total or (idle and persisted + found["failed"] >= run.total):
                break
            if found["cancelled"] and idle and not _staged(run, lab):
                break
            if trouble and time.monotonic() - told > _SILENCE_SECONDS:
                told = time.monotonic()
                tell(f"\nresults do not get into the store; trying again: {trouble}")
            if not idle or trouble or persisted > before:
                quiet, repairs = time.monotonic(), repairs if persisted == before else 0
            elif time.monotonic() - quiet > (1.0 if found["halted"] else _SILENCE_SECONDS) and not _staged(run, lab):
                quiet, repairs = time.monotonic(), repairs + 1
                _repair(run, resume if repairs <= _REPAIRS else None, run.total - persisted - found["failed"])
            time.sleep(_POLL_SECONDS)
    if persisted >= run.total:
        _wait_for_trades(run, lab)
    elif run.facts()["kept"] != write_keep(run.keep):
        raise RunFailed(run.run_id, ["somebody has submitted it with another keep= meanwhile"])
    elif found["cancelled"]:
        tell(f"run {run.run_id} was cancelled: {persisted:,} of {run.total:,} backtests are in the store")
    else:
        raise RunFailed(run.run_id, [sentence(failure) for failure in found["failures"]])


def _look(run: Run, lab: Lab, persisted: int) -> tuple[dict[str, Any], int, str]:
    """Return where the cluster stands with a run, how much of it is in the store, and what keeps the rest from it."""
    try:
        found = _ask_progress(run, lab)
    except Unreachable:
        if run.persisted() < run.total:
            raise
        found = _OVER
    try:
        return found, run.persisted(), found["reaper_error"]
    except Unreachable as error:  # the reaper tries again, and so do we
        return found, persisted, str(error)


def _ask_progress(run: Run, lab: Lab) -> dict[str, Any]:
    """Return where the cluster stands with a run; ask again while only the network is gone: the run goes on.

    Raises
    ------
    Unreachable
        The scheduler has ended, or does not answer for too long.
    """
    end, told = time.monotonic() + AWAY_SECONDS, False
    while True:
        try:
            return lab.progress(run.order)
        except Unreachable as error:
            if not lab.may_answer_again() or time.monotonic() > end:
                raise
            if not told:
                tell(f"\nthe cluster cannot be reached; it goes on, and so does asking: {error}")
                told = True
        time.sleep(_SILENCE_SECONDS)


def show_live(run: Run) -> None:
    """Show a run's table in a notebook and keep it up to date until the run ends or its lab closes."""
    from IPython.display import HTML, display

    handle = display(HTML(run._repr_html_()), display_id=True)

    def follow() -> None:
        while (found := _status(run)) is not None:
            handle.update(HTML(show_status(found, run.where)))
            if found["state"] in ENDED:
                return
            time.sleep(_LIVE_SECONDS)
        with suppress(OrbError, OSError):  # its lab was closed: what the store holds stays on the page
            handle.update(HTML(run._repr_html_()))

    if run.attached and run.status()["state"] not in ENDED:
        threading.Thread(target=follow, name=f"show {run.run_id}", daemon=True).start()


def _status(run: Run) -> dict[str, Any] | None:
    try:
        return run.status() if run.attached else None
    except (OrbError, OSError):  # the lab was closed between two looks
        return None


def _wait_for_trades(run: Run, lab: Lab) -> None:
    """Wait a little for the trades of the best to be stored, which comes after the last row."""
    end = time.monotonic() + _TRADES_SECONDS
    with suppress(Unreachable):
        while time.monotonic() < end and lab.progress(run.order)["reaping"] and not run.facts()["finished_at"]:
            time.sleep(_POLL_SECONDS)


def _staged(run: Run, lab: Lab) -> int:
    """Return how many of its backtests wait in Redis, 1 where Redis cannot be asked: it may come back."""
    try:
        return lab.staged(run.order)
    except Unreachable:
        return 1


def _repair(run: Run, resume: Callable[[], object] | None, lost: int) -> None:
    """Stage anew what Redis has lost (a flush, a restart) and compute what is missing.

    Raises
    ------
    RunFailed
        It was lost again and again, this process does not know the run's inputs, or somebody has other plans with it.
    """
    if resume is None:
        raise RunFailed(run.run_id, [f"{lost} results were lost on their way to the store (was Redis flushed?)"])
    tell(f"\nRedis has lost {lost:,} backtests of run {run.run_id} or what they need; computing them again")
    try:
        resume()
    except Unreachable as error:
        tell(f"not yet: {error}")
    except BadInput as error:  # somebody has other plans with it
        raise RunFailed(run.run_id, [f"{error.wrong}"]) from None
