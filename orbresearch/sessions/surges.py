"""At what second of its day a market comes alive: what betrays a wrong time zone where rows lie outside the sessions.

A file of regular hours shows a shift by when its sessions begin and end. One with extended hours has rows everywhere:
there the open is where trading picks up at once, wherever the stamps say that it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.sessions.calendar import Schedule
from orbresearch.sessions.rows import Rows, is_volume

HOUR = 3600
NEAR_SECONDS = 300  # of a whole hour

_REACH = 5 * HOUR + NEAR_SECONDS  # seconds around the open: as far as a time zone is taken for another
_BEFORE, _AFTER = 1800, 300  # seconds compared: the half hour before a moment and the minutes from it on
_LEAST_ROWS = 10
_LONGEST_BAR = 300  # seconds: longer bars are too coarse to tell


def find_surges(rows: Rows, schedule: Schedule) -> Any:
    """Return the second, since each session's open, at which its trading picks up most.

    Parameters
    ----------
    rows : Rows
        All of the source, extended hours included. Measured are volumes; where there are none, of bars their number,
        of prices how often they change (quotes come every second of the night too).
    schedule : Schedule

    Returns
    -------
    float64 array, shape (sessions,)
        Whole minutes or bars, negative before the open; NaN where too few rows lie around it.
    """
    found, step = np.full(len(schedule), np.nan), max(60, rows.bar_seconds)
    if rows.bar_seconds > _LONGEST_BAR:
        return found
    time = rows.time - (rows.bar_seconds if rows.stamp == "end" else 0)
    order = np.argsort(time, kind="stable") if (np.diff(time) < 0).any() else slice(None)
    time, weight = time[order], _activity(rows)[order]
    first, last = (np.searchsorted(time, schedule.opens + edge) for edge in (-_REACH - _BEFORE, _REACH + _AFTER))
    for i in np.flatnonzero(last - first >= _LEAST_ROWS):
        at = slice(first[i], last[i])
        found[i] = _surge((time[at] - schedule.opens[i] + _REACH + _BEFORE) // step, weight[at], step)
    return found


def _activity(rows: Rows) -> Any:
    """Return what each row says about how lively its moment was."""
    if rows.volume is not None:
        return np.where(is_volume(rows.volume), rows.volume, 0.0)
    if rows.bar_seconds:
        return np.ones(len(rows))
    return (np.diff(rows.price, prepend=np.nan) != 0).astype(np.float64)


def _surge(minute: Any, weight: Any, step: int) -> float:
    """Return the surge of one day, given the minutes of its rows since the earliest that counts."""
    before, after = _BEFORE // step, _AFTER // step
    size = (2 * _REACH + _BEFORE + _AFTER) // step
    lively = np.sqrt(np.bincount(minute, weight, size)[:size])  # a root, so that one block trade is no open
    if not lively.any():
        return np.nan
    sums = np.concatenate([[0.0], np.cumsum(lively)])
    quiet = 0.5 * lively[lively > 0].mean()
    at = np.arange(before, size - after)
    rise = np.log((sums[at + after] - sums[at]) / after + quiet) - np.log(
        (sums[at] - sums[at - before]) / before + quiet
    )
    rise += np.log(lively[at] + quiet) - np.log(lively[at - 1] + quiet)  # which of the minutes around it
    return float(at[rise.argmax()] * step - _REACH - _BEFORE)


def surge_shift(surge: Any) -> int | None:
    """Return by how many seconds, whole hours, trading picks up before or after the open, None where it does not.

    Of many sessions a quarter is enough, as where daylight saving was overlooked; of few it must be most.
    """
    hours = np.rint(surge / HOUR).astype(int) * HOUR
    near = hours[(hours != 0) & (np.abs(surge - hours) <= NEAR_SECONDS)]
    if len(near) == 0:
        return None
    shifts, counts = np.unique(near, return_counts=True)
    shift, count = int(shifts[counts.argmax()]), int(counts.max())
    exact = int((surge == shift).sum())
    often = exact >= 0.25 * len(surge) and len(surge) >= 10
    return shift if often or count >= max(2, 0.6 * len(surge)) else None


def edge_shift(late: Any, beyond: Any) -> int:
    """Return by how many hours nearly all sessions miss one of their edges, 0 where they do not.

    Parameters
    ----------
    late : int64 array
        Seconds between the edge and the observation nearest to it.
    beyond : int64 array
        Rows beyond the other edge: a thin ticker's first row tells little, but where it never has one in the first
        hour and always some after the close, its day lies elsewhere.
    """
    shift = int(np.rint(np.median(late) / HOUR))
    if shift and (np.abs(late - HOUR * shift) <= NEAR_SECONDS).mean() > 0.8:
        return shift
    shift = int((np.quantile(late, 0.1) + NEAR_SECONDS) // HOUR)
    there = (late > shift * HOUR - NEAR_SECONDS) & (beyond > 0)
    return shift if there.mean() > 0.8 else 0
