"""Nights over which prices jump by a simple ratio: a split that nobody adjusted for, or a crash that is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: New shares for an old one; each also the other way round, for reverse splits.
RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0)

_NEAR = np.log(1.04)  # of a ratio: the night itself moves prices too
_UNUSUAL = 5  # times the series' usual night: below that a jump is its own
_AROUND = 20  # sessions before and after with which a night is compared
_NIGHT_DAYS = 7  # sessions further apart than this have more than a night between them


@dataclass(frozen=True)
class Jump:
    """One night at which a split is suspected, or declared and not seen.

    Parameters
    ----------
    date : str
        Of the session that opens after it.
    before, after : float
        Dollars: last price before, first price after.
    ratio : float
        New shares for one: of a split that fits best, or as declared.
    declared : bool
    clear : bool
        Whether neither the nights nor the days around it moved like that.
    """

    date: str
    before: float
    after: float
    ratio: float
    declared: bool
    clear: bool = True


def find_jumps(table: Any) -> list[Jump]:
    """Return suspected splits, and declared ones that the prices do not show, in the order of time.

    Parameters
    ----------
    table : dict of arrays, shape (sessions,)
        ``date`` (datetime64[D]), ``open, high, low, close`` (dollars) and, where splits are declared, ``split``.
    """
    if len(table["date"]) < 2:
        return []
    opening, close = table["open"][1:], table["close"][:-1]
    split = table["split"][1:] if "split" in table else np.ones(len(opening))
    apart = np.diff(table["date"]).astype(int)
    night = np.where(apart <= _NIGHT_DAYS, np.log(opening * split / close), 0.0)
    day = np.log(table["high"] / table["low"])
    usual = max(0.003, float(np.median(np.abs(night))), float(np.median(day)) / 2)
    found = []
    for i in np.flatnonzero(np.abs(night) > _UNUSUAL * usual).tolist():
        if split[i] == 1:
            ratio, declared = _nearest(night[i]), False
        else:
            ratio, declared = float(split[i]), bool(abs(night[i]) > abs(np.log(split[i])) / 2)
        if declared or (split[i] == 1 and ratio):
            date = str(table["date"][i + 1])
            prices = float(close[i]), float(opening[i])
            found.append(Jump(date, *prices, ratio, declared, _stands_out(night, day, i)))
    return found


def _nearest(night: float) -> float:
    """Return the ratio of the split that a night's log return looks like, 0 where like none."""
    ratios = np.array([*RATIOS, *(1 / ratio for ratio in RATIOS)])
    distance = np.abs(night + np.log(ratios))
    return float(ratios[distance.argmin()]) if distance.min() <= _NEAR else 0.0


def _stands_out(night: Any, day: Any, i: int) -> bool:
    """Return whether a night's move is alone: a crash comes with wild nights around it, or a wild day after it."""
    at = np.arange(max(0, i - _AROUND), min(len(night), i + _AROUND + 1))
    nights = np.abs(night[at[at != i]])
    days = np.delete(day[at[0] : at[-1] + 2], i + 1 - at[0])
    calm_nights = abs(night[i]) > 3 * np.sort(nights)[: max(1, int(0.95 * len(nights)))].max(initial=0.0)
    return bool(calm_nights and day[i + 1] <= 3 * max(0.003, float(np.median(days))))


def name_ratio(ratio: float) -> str:
    """Return "4-for-1", "3-for-2", "1-for-5", or the plain number of an unusual split."""
    for parts in (1, 2, 3, 4, 5):
        for shares, olds in ((ratio * parts, parts), (parts, parts / ratio)):
            if abs(shares - round(shares)) < 1e-9 * shares and abs(olds - round(olds)) < 1e-9 * olds:
                return f"{round(shares)}-for-{round(olds)}"
    return f"{ratio:g}-for-1"
