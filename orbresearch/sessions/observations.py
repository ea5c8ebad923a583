"""From rows to observations: strategy.md, "From rows to a tick series", steps 1 to 3.

Times arrive floored to seconds, so that within one second the order of the file decides which price stands last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orbresearch.schema import OBSERVATIONS, VOLUME
from orbresearch.sessions.bars import bar_ticks
from orbresearch.sessions.calendar import Schedule
from orbresearch.sessions.rows import Rows, is_price, is_volume, misses, rounds_to_price, to_price
from orbresearch.sessions.volatility import Volatility, sum_volatility

#: Per session, what was found and what was done about it.
COUNTS = (
    "rows",  # rows of the source inside the session
    "dropped",  # rows without a usable price; the three below, and prices that round to 0 increments
    "missing",  # price missing or not finite
    "zero",  # price of 0
    "negative",  # price below 0
    "overruled",  # a later row of the same second stood
    "reordered",  # rows stamped before their predecessor in the file
    "rounded",  # rows with a price between two increments
    "inconsistent",  # bars whose high or low is not the extreme of its four values
    "broken",  # bars with a bad value, read as their close
    "no_volume",  # rows whose volume is missing, not finite or below zero, counted as 0
    "before_open",  # rows of the session's date before its open, dropped
    "after_close",  # rows of the session's date after its close, dropped
)


@dataclass(frozen=True, eq=False)
class Observed:
    """Observations of many sessions, and what was found on the way.

    Parameters
    ----------
    session : int64 array, shape (n,)
        Index into the schedule, rising.
    columns : dict of arrays, shape (n,)
        As schema.OBSERVATIONS.
    counts : dict of int64 arrays, shape (sessions,)
        As COUNTS.
    facts : dict of int
        What concerns the source as a whole: some of ``quality.FACTS``.
    volume : float64 array, shape (n,), or None
        Shares; None where the source has none.
    volatility : Volatility or None
        None where the source has none.
    """

    session: Any
    columns: dict[str, Any]
    counts: dict[str, Any]
    facts: dict[str, int]
    volume: Any = None
    volatility: Volatility | None = None


def observe(rows: Rows, schedule: Schedule, increment_nanos: int, path: str) -> Observed:
    """Return what the rows say about the sessions of a schedule.

    Parameters
    ----------
    rows : Rows
        In the order of the source.
    schedule : Schedule
        Every session of the days that the rows span.
    increment_nanos : int
        1e-9 dollars.
    path : str
        Of bars: "nearer" or "farther".

    Notes
    -----
    Volumes of all prices of a second add up in its observation, those of overruled rows included: they were traded. Of
    several bars of one start only the last has a volume, as only it has prices: it is the same bar once more. A bar's
    volume stands at its first observation, the others of the bar have 0. Implied volatilities add up as volumes do.
    """
    facts = {
        "rows": len(rows),
        "descending": int(is_descending(rows.time)),
    }
    facts["unordered"] = 0 if facts["descending"] else int((np.diff(rows.time) < 0).sum())
    if facts["descending"]:
        rows = rows.take(slice(None, None, -1))
    time = rows.time - (rows.bar_seconds if rows.stamp == "end" else 0)
    session = find_sessions(time, schedule)
    early, late, outside = _outside(time, session, schedule)
    facts |= outside | {"zero_outside": int(((rows.price == 0) & (session < 0)).sum())}
    backwards = np.concatenate([[False], np.diff(time) < 0])[: len(time)]
    good = rounds_to_price(rows.price, increment_nanos)
    counts = {
        "rows": _count(session >= 0, session, schedule),
        "reordered": _count(backwards & (session >= 0), session, schedule),
        "dropped": _count((session >= 0) & ~good, session, schedule),
        **_reasons(rows.price, session, schedule),
        "before_open": early,
        "after_close": late,
        "no_volume": _count(_lacks_volume(rows) & (session >= 0) & good, session, schedule),
    }
    keep = np.flatnonzero((session >= 0) & good)
    keep = keep[np.argsort(time[keep], kind="stable")]
    last = _last_of_second(time[keep])
    counts["overruled"] = _count(~last, session[keep], schedule)
    volatility = None if rows.bar_seconds else sum_volatility(*_by_second(rows.volatility, keep, last))
    rows, volume = replace(rows, volume=None, volatility=None), _sum_volume(rows, keep, last)
    keep = keep[last]
    rows, time, session = rows.take(keep), time[keep], session[keep]
    counts["rounded"] = _count(_is_rounded(rows, increment_nanos), session, schedule)
    if rows.bar_seconds:
        session, bar, columns = _expand(rows, time, session, schedule, increment_nanos, path, counts)
        volume = _first_of_each(bar, volume)
    else:
        price, zeros = to_price(rows.price, increment_nanos, rows.ticker), np.zeros(len(rows))
        columns = {"time": time - schedule.opens[session], "price": price, "first_of_bar": zeros, "stands": zeros}
        counts |= {name: np.zeros(len(schedule), np.int64) for name in ("inconsistent", "broken")}
    columns = {name: columns[name].astype(kind) for name, kind in OBSERVATIONS.items()}
    return Observed(session, columns, counts, facts, volume, volatility)


def _lacks_volume(rows: Rows) -> Any:
    """Return where rows of a source with volumes have none that can be used."""
    return np.zeros(len(rows), bool) if rows.volume is None else ~is_volume(rows.volume)


def _sum_volume(rows: Rows, keep: Any, last: Any) -> Any:
    """Return the volume of every second that stands: of all its prices, of the last of its bars.

    Parameters
    ----------
    rows : Rows
    keep : int64 array
        Which rows take part, in the order of time.
    last : bool array
        Which of those are the last of their second.
    """
    if rows.volume is None:
        return None
    volume = rows.volume[keep[last] if rows.bar_seconds else keep].astype(VOLUME, copy=False)  # an index copies
    volume[~is_volume(volume)] = 0
    if rows.bar_seconds or last.all():
        return volume
    return np.add.reduceat(volume, _starts(last))


def _by_second(values: Any, keep: Any, last: Any) -> tuple[Any, Any]:
    """Return the values of the rows that take part, and where each second of them begins."""
    return None if values is None else values[keep], _starts(last)


def _starts(last: Any) -> Any:
    """Return where each second begins; ``last``: where it ends."""
    return np.flatnonzero(np.concatenate([[True], last[:-1]])[: len(last)])


def _first_of_each(bar: Any, volume: Any) -> Any:
    """Return the volume of every observation of bars: that of its bar at the bar's first, else 0."""
    if volume is None:
        return None
    bars, firsts = np.unique(bar, return_index=True)
    found = np.zeros(len(bar), VOLUME)
    found[firsts] = volume[bars]
    return found


def _last_of_second(time: Any) -> Any:
    """Return where rising stamps are the last of their second: that row stands."""
    return np.concatenate([np.diff(time) > 0, [True]])[: len(time)]


def _is_rounded(rows: Rows, increment_nanos: int) -> Any:
    """Return where a row has a price between two increments."""
    found = np.zeros(len(rows), bool)
    for column in rows.prices:
        good = is_price(column)
        found |= good & misses(np.where(good, column, 1.0), increment_nanos)
    return found


def is_descending(time: Any) -> bool:
    """Return whether stamps never rise and fall at least once."""
    steps = np.diff(time)
    return bool(len(steps) and (steps <= 0).all() and (steps < 0).any())


def find_sessions(time: Any, schedule: Schedule) -> Any:
    """Return the index of the session that each second belongs to, open <= t <= close, or -1."""
    if len(schedule) == 0:
        return np.full(len(time), -1)
    at = np.searchsorted(schedule.opens, time, "right") - 1
    return np.where((at >= 0) & (time <= schedule.closes[at]), at, -1)


def _reasons(price: Any, session: Any, schedule: Schedule) -> dict[str, Any]:
    """Count the rows of each session that have no price, by why."""
    inside = session >= 0
    where = {"missing": ~np.isfinite(price), "zero": price == 0, "negative": np.isfinite(price) & (price < 0)}
    return {name: _count(inside & bad, session, schedule) for name, bad in where.items()}


def _outside(time: Any, session: Any, schedule: Schedule) -> tuple[Any, Any, dict[str, int]]:
    """Count rows in no session: per session before the open and after the close; on days without a session."""
    import pandas as pd

    lost = time[session < 0]
    local = pd.to_datetime(lost, unit="s", utc=True).tz_convert(schedule.timezone)
    days = local.tz_localize(None).to_numpy().astype("datetime64[D]")
    at = np.searchsorted(schedule.labels, days)
    known = np.zeros(len(days), bool)
    inside = at < len(schedule)
    known[inside] = schedule.labels[at[inside]] == days[inside]
    before = known.copy()
    before[known] = lost[known] < schedule.opens[at[known]]
    daytime = ~known & (local.hour >= 10) & (local.hour < 16)
    facts = {
        "no_session": int((~known).sum()),
        "no_session_daytime": int(daytime.sum()),
        "no_session_days": len(np.unique(days[daytime])),
    }
    return _count(before, at, schedule), _count(known & ~before, at, schedule), facts


def _expand(
    rows: Rows, time: Any, session: Any, schedule: Schedule, increment_nanos: int, path: str, counts: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Turn bars into (session, bar, columns) of observations; note inconsistent and broken bars in ``counts``.

    Of a bar that starts at the close only the open counts, as the print at the close, whatever else is bad about it.
    """
    whole = np.logical_and.reduce([rounds_to_price(column, increment_nanos) for column in rows.prices])
    opening, high, low, close = prices = [to_price(column, increment_nanos, rows.ticker) for column in rows.prices]
    odd = whole & ((high < np.maximum(opening, close)) | (low > np.minimum(opening, close)))
    counts["inconsistent"] = _count(odd, session, schedule)
    counts["broken"] = _count(~whole, session, schedule)
    at_close = time == schedule.closes[session]
    inside, prints = np.flatnonzero(~at_close), np.flatnonzero(at_close & (opening > 0))
    bars = [column[inside] for column in prices]
    ticks, price, bar, stands = bar_ticks(time[inside], bars, whole[inside], rows.bar_seconds, path)
    lone = time[prints], opening[prints], prints, np.zeros(len(prints), np.uint8)
    ticks, price, bar, stands = _merge((ticks, price, inside[bar], stands), lone)
    keep = ticks <= schedule.closes[session[bar]]
    keep[keep] = _last_of_second(ticks[keep])
    ticks, price, bar, stands = ticks[keep], price[keep], bar[keep], stands[keep]
    first, day = np.concatenate([[True], np.diff(bar) != 0])[: len(bar)], session[bar]
    return day, bar, {"time": ticks - schedule.opens[day], "price": price, "first_of_bar": first, "stands": stands}


def _merge(one: tuple[Any, ...], other: tuple[Any, ...]) -> list[Any]:
    """Return two lots of columns as one, in the order of time, their first column."""
    joined = [np.concatenate(pair) for pair in zip(one, other, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return [column[order] for column in joined]


def _count(where: Any, session: Any, schedule: Schedule) -> Any:
    """Count rows per session."""
    return np.bincount(session[where], minlength=len(schedule)).astype(np.int64)
