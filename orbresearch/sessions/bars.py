"""Bars: their length, what their stamps mean, and the four ticks each becomes. strategy.md, "Bars"."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sessions.calendar import Schedule
from orbresearch.sessions.rows import MIN_BAR_SECONDS

PATHS = ("nearer", "farther")
STAMPS = ("start", "end")


def find_spacing(time: Any, ticker: str) -> int:
    """Return the seconds between bars: the commonest step, which nearly all steps must be multiples of.

    Parameters
    ----------
    time : int64 array
        Stamps, epoch seconds, in any order.
    """
    steps = np.diff(np.unique(time))
    if len(steps) == 0:
        raise BadInput(f"ticker {ticker}", "a single row does not show how long a bar is", "give bar= in seconds")
    lengths, counts = np.unique(steps, return_counts=True)
    spacing = int(lengths[counts.argmax()])
    fitting = counts[lengths % spacing == 0].sum() / counts.sum()
    if fitting < 0.99:
        wrong = f"bars are mostly {spacing} s apart, but {1 - fitting:.0%} of the steps are no multiple of that"
        raise BadInput(f"ticker {ticker}", wrong, "give bar= in seconds, or bar=0 to read closes as single prices")
    return spacing


def check_spacing(time: Any, bar_seconds: int, ticker: str) -> int:
    """Return a given length of bars, unless nearly all rows lie on another, wider or narrower, raster."""
    steps = np.diff(np.unique(time))
    if len(steps) == 0:
        return bar_seconds
    lengths, counts = np.unique(steps, return_counts=True)
    spacing = int(lengths[counts.argmax()])
    share = counts[lengths % spacing == 0].sum() / counts.sum()
    if spacing < bar_seconds or (spacing > bar_seconds and share >= 0.99 and len(steps) > 10):
        wrong = f"its rows are mostly {spacing} s apart, not {bar_seconds} s"
        raise BadInput(f"ticker {ticker}", wrong, f'say bar={spacing}, or bar="auto"')
    return bar_seconds


def stamp_votes(time: Any, bar_seconds: int, schedule: Schedule) -> tuple[int, int]:
    """Return how many sessions speak for start stamps and how many for end stamps: see :func:`stamp_signs`."""
    start, end = stamp_signs(time, bar_seconds, schedule)
    return int(start.sum()), int(end.sum())


def stamp_signs(time: Any, bar_seconds: int, schedule: Schedule) -> tuple[Any, Any]:
    """Return which sessions speak for start stamps and which for end stamps, two bool arrays.

    A session whose first row of the day stands exactly at the open, with nothing before it, speaks for ``start``; one
    whose first row stands one bar after the open, and which has a row exactly at the close and none after it, for
    ``end``. Sessions with rows before the open (extended hours) are silent.
    """
    ordered = np.unique(time)
    hour = 3600
    early = np.searchsorted(ordered, schedule.opens - hour)
    first = np.searchsorted(ordered, schedule.opens)
    last = np.searchsorted(ordered, schedule.closes, "right") - 1
    later = np.searchsorted(ordered, schedule.closes + hour, "right") - 1
    speaks = (first <= last) & (early == first) & (first < len(ordered))
    offset = ordered[np.minimum(first, len(ordered) - 1)] - schedule.opens
    ends_there = (ordered[last] == schedule.closes) & (later == last)
    return speaks & (offset == 0), speaks & (offset == bar_seconds) & ends_there


def settle_stamp(time: Any, bar_seconds: int, schedule: Schedule, ticker: str) -> str:
    """Return "start" or "end" where the data settle it.

    Raises
    ------
    BadInput
        The data do not settle it: extended hours, a thin ticker, or sessions that disagree.
    """
    start, end = stamp_votes(time, bar_seconds, schedule)
    if start >= 1 and start >= 9 * end:
        return "start"
    if end >= 1 and end >= 9 * start:
        return "end"
    wrong = (
        f"its {bar_seconds} s bars do not say whether they are stamped at their start or at their end "
        f"({start} sessions look like start, {end} like end)"
    )
    raise BadInput(f"ticker {ticker}", wrong, 'say which: stamp="start" or stamp="end"')


def bar_ticks(start: Any, prices: list[Any], whole: Any, bar_seconds: int, path: str) -> tuple[Any, ...]:
    """Return (time, price, bar, stands) of the ticks that bars become, bar by bar.

    Parameters
    ----------
    start : int64 array, shape (n,)
        Start of each bar, epoch seconds, rising.
    prices : list of four int32 arrays, shape (n,)
        Open, high, low, close, increments.
    whole : bool array, shape (n,)
        Where all four are prices; a bar with a bad value, and any bar shorter than four seconds, is its close.
    bar_seconds : int
    path : "nearer" or "farther"
        Which extreme comes first: the one nearer the open (the low on a tie), or the other.

    Returns
    -------
    time : int64 array
        Epoch seconds: offsets 0, L//3, 2L//3 and L-1 of each bar, bar by bar.
    price : int32 array
    bar : int64 array
        Which bar each tick comes from.
    stands : uint8 array
        1 where a tick stands until the next one of its bar, 0 for a bar's last.
    """
    opening, close = prices[0], prices[3]
    extremes = np.stack(prices)
    high, low = extremes.max(axis=0), extremes.min(axis=0)
    low_first = (opening - low <= high - opening) == (path == "nearer")
    first, second = np.where(low_first, low, high), np.where(low_first, high, low)
    offsets = np.array([0, bar_seconds // 3, 2 * bar_seconds // 3, bar_seconds - 1])
    keep = np.ones((len(start), 4), bool)
    keep[:, :3] = (whole & (bar_seconds >= MIN_BAR_SECONDS))[:, None]
    time = (start[:, None] + offsets)[keep]
    price = np.stack([opening, first, second, close], axis=1)[keep]
    bar = np.broadcast_to(np.arange(len(start))[:, None], keep.shape)[keep]
    stands = np.broadcast_to(np.array([1, 1, 1, 0], np.uint8), keep.shape)[keep]
    return time, price.astype(np.int32), bar, stands
