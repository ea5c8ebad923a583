"""Per-session quantities: strategy.md, the paragraph under "Rules". Some know the session, some its opening range."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import NANOS
from orbresearch.sessions.splits import shares_held

if TYPE_CHECKING:
    from orbresearch.sessions.dataset import Sessions

ATR_SESSIONS, STRETCH_SESSIONS, VOLUME_SESSIONS = 14, 10, 14

SESSION_FEATURES = ("open", "high", "low", "close", "gap", "atr", "stretch", "weekday", "observations")
RANGE_FEATURES = ("range", "width", "count_trades", "avg_vol", "range_volume", "relative_volume")

#: Columns of the session itself that are known only after its close: no input of a rule.
KNOWN_AFTER_CLOSE = ("high", "low", "close", "observations")

#: Our columns in dollars that are never negative.
PRICE_VALUED = ("open", "range", "width", "atr", "stretch")

#: How many sessions before it a column needs: a true range needs the close before it.
HISTORY = {"gap": 1, "atr": 15, "stretch": 10, "relative_volume": 14}

#: Words that mean something else where a rule names a column, or the index.
_RESERVED = (*SESSION_FEATURES, *RANGE_FEATURES, "dollars", "percent", "R", "session")


def session_features(sessions: Sessions) -> Any:
    """Return one row per session, by date; prices and distances in dollars, NaN without the history needed.

    Sums are of whole increments and divided once, so that a number depends on nothing but the sessions it names. Where
    a split lies between those, their prices are first divided by it: a number is in dollars of its own session's share.

    Returns
    -------
    DataFrame
        ``open, high, low, close`` of the session's observations; ``gap`` (open minus the close before); ``atr`` (mean
        true range of the 14 sessions before, each of which needs a close before it: 15 sessions of history);
        ``stretch`` (mean over the 10 before of abs(open - nearer extreme)); ``weekday`` (0 is Monday);
        ``observations``; and the joined columns.
    """
    return _frame(sessions, _session_columns(sessions) | (sessions.joined or {}))


def range_features(sessions: Sessions, duration: int) -> Any:
    """Return :func:`session_features` with the columns of the opening range, before the joined ones.

    Parameters
    ----------
    sessions : Sessions
    duration : int
        Seconds of the opening range.

    Returns
    -------
    DataFrame
        Of the opening range also ``range`` (high - low, dollars) and the same as ``width``; ``count_trades``;
        ``avg_vol`` (implied volatility); ``range_volume`` (shares); ``relative_volume``: range_volume as a multiple of
        its mean over the 14 sessions before that have an opening range, in shares of this session. All are NaN for a
        session that is not tradable (nothing in the window or nothing after it).

    Notes
    -----
    A session without an opening range is passed over in the mean of 14 rather than spoiling it: one hole in a file
    would otherwise silence the three weeks after it, and a volume of 0 would claim that nobody traded. NaN remains
    where fewer than 14 are loaded, where their mean is 0, and where the source has no volume.

    Raises
    ------
    BadInput
        A duration that is none.
    """
    columns = _session_columns(sessions) | _range_columns(sessions, duration)
    return _frame(sessions, columns | (sessions.joined or {}))


def feature_column(sessions: Sessions, duration: int, name: str) -> Any:
    """Return one column of :func:`range_features` as numbers.

    Parameters
    ----------
    sessions : Sessions
    duration : int
        Seconds of the opening range.
    name : str

    Returns
    -------
    float64 array, shape (sessions,)
        NaN where a session has no value.

    Raises
    ------
    BadInput
        A name that is no column, with those there are.
    """
    joined = sessions.joined or {}
    if name not in (*SESSION_FEATURES, *RANGE_FEATURES, *joined):
        known = ", ".join([*SESSION_FEATURES, *RANGE_FEATURES, *joined])
        raise BadInput("feature", f"no column {name!r}", f"there are {known}; sessions.join(frame) adds others")
    if name in joined:
        return joined[name].copy()
    columns = _range_columns(sessions, duration) if name in RANGE_FEATURES else _session_columns(sessions)
    return columns[name].astype(np.float64)


def _frame(sessions: Sessions, columns: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns, index=sessions.dates)


def _session_columns(sessions: Sessions) -> dict[str, Any]:
    """Return the columns named in SESSION_FEATURES, in that order."""
    price, starts, nanos = sessions.columns["price"], sessions.pointers[:-1], sessions.increment_nanos
    opening, close = (price[at].astype(np.int64) for at in (starts, sessions.pointers[1:] - 1))
    high, low = (extreme.reduceat(price, starts).astype(np.int64) for extreme in (np.maximum, np.minimum))
    columns = {"open": opening, "high": high, "low": low, "close": close}
    columns = {name: _dollars(column, nanos) for name, column in columns.items()}
    columns |= {name: np.full(len(sessions), np.nan) for name in ("gap", "atr", "stretch")}
    _fill_history(columns, (opening, high, low, close), nanos, sessions.splits)
    columns["weekday"] = np.asarray(sessions.dates.day_of_week)
    columns["observations"] = np.diff(sessions.pointers)
    return columns


def _fill_history(columns: dict[str, Any], prices: tuple[Any, ...], nanos: int, splits: Any) -> None:
    """Fill ``gap``, ``atr`` and ``stretch`` from (open, high, low, close), increments of each session's own dollars."""
    opening, high, low, close = prices
    before = close[:-1] if splits is None else _divide(close[:-1], splits[1:])
    columns["gap"][1:] = _dollars(opening[1:] - before, nanos)
    true_range = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    shares = shares_held(splits, len(opening))
    ranges = _sums_before(true_range, ATR_SESSIONS, shares[1:])
    columns["atr"][ATR_SESSIONS + 1 :] = _dollars(ranges, nanos, ATR_SESSIONS)
    nearer = _sums_before(np.minimum(opening - low, high - opening), STRETCH_SESSIONS, shares)
    columns["stretch"][STRETCH_SESSIONS:] = _dollars(nearer, nanos, STRETCH_SESSIONS)


def _range_columns(sessions: Sessions, duration: int) -> dict[str, Any]:
    """Return the columns named in RANGE_FEATURES, in that order: float64, NaN where there is no opening range."""
    from orbresearch.sessions.ranges import find_ranges

    table = find_ranges(sessions, duration).table
    columns = {name: np.full(len(sessions), np.nan) for name in RANGE_FEATURES}
    at = table["session"]
    width = table["high"].astype(np.int64) - table["low"]
    columns["range"][at] = columns["width"][at] = _dollars(width, sessions.increment_nanos)
    columns["count_trades"][at], columns["avg_vol"][at] = table["count_trades"], table["avg_vol"]
    if sessions.volume is not None:
        volume = np.array([_volume_before(sessions, i, duration) for i in at], np.float64)
        columns["range_volume"][at] = volume
        shares = 1 / shares_held(sessions.splits, len(sessions))[at]  # a volume of old shares is more of the new ones
        sums = _sums_before(volume, VOLUME_SESSIONS, shares)
        relative = volume[VOLUME_SESSIONS:] * VOLUME_SESSIONS / np.where(sums > 0, sums, np.nan)
        columns["relative_volume"][at[VOLUME_SESSIONS:]] = relative
    return columns


def _volume_before(sessions: Sessions, session: int, duration: int) -> float:
    """Return the volume of a session's observations before a second."""
    first, last = sessions.pointers[session], sessions.pointers[session + 1]
    length = np.searchsorted(sessions.columns["time"][first:last], duration)
    return float(sessions.volume[first : first + length].sum())


def _dollars(increments: Any, increment_nanos: int, parts: int = 1) -> Any:
    """Return whole increments, divided into ``parts``, as dollars: the nearest float64 (below 9 million dollars)."""
    return increments * increment_nanos / (parts * NANOS)


def _divide(increments: Any, ratios: Any) -> Any:
    """Return increments before a split in those after it: whole numbers stay whole numbers where all ratios are 1."""
    return increments if (ratios == 1).all() else increments / ratios


def _sums_before(values: Any, count: int, shares: Any) -> Any:
    """Return the sum of the ``count`` values before each, from the first value that has so many.

    Parameters
    ----------
    values : array, shape (n,)
    count : int
    shares : float64 array, shape (n,)
        How many of a value's shares there are: each value counts as many times its own, divided by those of the sum.
        Sums of equal ones are not touched: whole increments add up exactly.
    """
    size = max(0, len(values) - count)
    sums = sum(values[i : i + size] for i in range(count))
    if (shares == shares[:1]).all():
        return sums
    now = shares[count:]
    split = sum(values[i : i + size] * (shares[i : i + size] / now) for i in range(count))
    equal = np.logical_and.reduce([shares[i : i + size] == now for i in range(count)])
    return np.where(equal, sums, split)


def join_columns(sessions: Sessions, frame: Any) -> dict[str, Any]:
    """Return a user's columns, by session, after those joined before: see ``Sessions.join``."""
    import pandas as pd

    if isinstance(frame, pd.Series):
        frame = frame.to_frame()
    if not isinstance(frame, pd.DataFrame):
        raise BadInput("join", f"a {type(frame).__name__}", "give a DataFrame or a Series, indexed by date")
    joined = sessions.joined or {}
    _check_names(list(frame.columns), joined)
    numbers = {name: _numbers(frame[name]) for name in frame.columns}
    days = np.array([_day(value) for value in frame.index], "datetime64[D]")
    source, at = _match(days, sessions)
    added = {name: np.full(len(sessions), np.nan) for name in numbers}
    for name, column in numbers.items():
        added[name][at] = column[source]
    return {**joined, **added}


def _match(days: Any, sessions: Sessions) -> tuple[Any, Any]:
    """Return which of the days are sessions, and which sessions those are; refuse days that come twice, or no match."""
    labels = sessions.schedule.labels
    found, counts = np.unique(days, return_counts=True)
    if (counts > 1).any():
        twice = found[counts > 1]
        raise BadInput("join", f"{twice[0]} is in the index {counts.max()} times", "give each date once")
    _, source, at = np.intersect1d(days, labels, assume_unique=True, return_indices=True)
    if len(at) == 0:
        span = f"{found[0]} to {found[-1]}" if len(found) else "none"
        wrong = f"no date in common: the index has {span}, the sessions are {labels[0]} to {labels[-1]}"
        raise BadInput("join", wrong, "give dates of sessions")
    return source, at


def _check_names(names: list[Any], joined: dict[str, Any]) -> None:
    """Refuse columns without a name of their own."""
    if not names:
        raise BadInput("join", "it has no columns", "give at least one, of numbers")
    for name in names:
        if not isinstance(name, str) or not name:
            raise BadInput("join", f"a column is called {name!r}", 'name it with text: series.rename("vix")')
        if name in _RESERVED:
            raise BadInput("join", f"the name {name!r} is taken", f"rename it; taken are {', '.join(_RESERVED)}")
        if name in joined:
            raise BadInput("join", f"a column {name!r} is joined already", "rename it, or join it to other sessions")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInput("join", f"it has several columns {twice[0]!r}", "give each name once")


def _numbers(column: Any) -> Any:
    """Return a Series as float64, missing as NaN."""
    from pandas.api.types import is_complex_dtype, is_numeric_dtype

    if not is_numeric_dtype(column.dtype) or is_complex_dtype(column.dtype):
        wrong = f"column {column.name!r} holds {column.dtype}, no numbers"
        raise BadInput("join", wrong, f"convert it, or leave it out: frame.drop(columns={column.name!r})")
    return column.to_numpy(np.float64, na_value=np.nan)


def _day(value: Any) -> Any:
    """Return the day that an entry of an index names."""
    fix = 'give dates without time and zone: a DatetimeIndex, date objects, or text such as "2024-03-26"'
    if getattr(value, "tzinfo", None) is not None:
        raise BadInput("join", f"the index entry {value} has a zone", f"{fix} (index.tz_localize(None).normalize())")
    if isinstance(value, datetime) and value == value and value.time() != time(0):
        raise BadInput("join", f"the index entry {value} has a time of day", f"{fix} (index.normalize())")
    text = value if isinstance(value, str) else value.isoformat()[:10] if isinstance(value, date) else ""
    try:
        return np.datetime64(text if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else "no", "D")
    except ValueError:
        raise BadInput("join", f"the index entry {value!r} is no date", fix) from None
