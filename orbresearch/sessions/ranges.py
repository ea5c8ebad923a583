"""Opening ranges of sessions: strategy.md, "Opening range"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import NANOS
from orbresearch.schema import RANGES
from orbresearch.sessions.dataset import Sessions


@dataclass(frozen=True, eq=False)
class Ranges:
    """The opening ranges of sessions under one duration.

    Parameters
    ----------
    duration : int
        Seconds; the window is 0 <= t < duration after the open.
    table : RANGES array, shape (T,)
        Tradable sessions in date order.
    untradable : dict of str
        Session date -> why it is not tradable.
    """

    duration: int
    table: Any
    untradable: dict[str, str]


def check_duration(sessions: Sessions, duration: int) -> None:
    """Refuse a range duration that is no whole number of seconds or bars, or longer than every session.

    Raises
    ------
    BadInput
    """
    if isinstance(duration, bool) or not isinstance(duration, (int, np.integer)) or duration <= 0:
        raise BadInput("range_duration", f"{duration!r} is no whole number of seconds above 0", "give e.g. 300")
    if sessions.bar_seconds and duration % sessions.bar_seconds:
        wrong = f"{duration} s is no whole number of {sessions.ticker}'s {sessions.bar_seconds} s bars"
        nearest = max(1, round(duration / sessions.bar_seconds)) * sessions.bar_seconds
        raise BadInput("range_duration", wrong, f"give a multiple of {sessions.bar_seconds}, such as {nearest}")
    longest = int((sessions.schedule.closes - sessions.schedule.opens).max())
    if duration >= longest:
        wrong = f"{duration} s is not shorter than {sessions.ticker}'s longest session of {longest} s"
        raise BadInput("range_duration", wrong, f"give less than {longest}")


def find_ranges(sessions: Sessions, duration: int) -> Ranges:
    """Return the opening range of every tradable session, and why the others are not."""
    from orbresearch.kernels.ranges import find_range

    check_duration(sessions, duration)
    series, table, untradable = sessions.series, np.zeros(len(sessions), RANGES), {}
    tradable = 0
    for i in range(len(sessions)):
        found = sessions.observations(i)
        columns = found["time"], found["price"], found["first_of_bar"]
        open_price, close_price, high, low, count, start = find_range(*columns, sessions.is_bars, duration)
        if count == 0 or start < 0:
            what = "in the opening range" if count == 0 else "after the opening range"
            untradable[str(sessions.schedule.labels[i])] = f"no observation {what}"
            continue
        first, last = int(series.pointers[i]), int(series.pointers[i + 1])
        at = first + int(np.searchsorted(series.columns["time"][first:last], start))
        row = (
            i,
            open_price,
            close_price,
            high,
            low,
            count,
            start,
            min(at, last - 1),
            last - 1,
            found["price"][0],
            _mean_volatility(sessions, i, duration),
        )
        table[tradable] = row
        tradable += 1
    return Ranges(int(duration), table[:tradable], untradable)


def _mean_volatility(sessions: Sessions, session: int, duration: int) -> float:
    """Return the mean implied volatility of a session's opening range, NaN where the source does not tell."""
    if sessions.volatility is None:
        return float("nan")
    first, last = (int(pointer) for pointer in sessions.pointers[session : session + 2])
    end = first + int(np.searchsorted(sessions.columns["time"][first:last], duration))
    return sessions.volatility.mean(slice(first, end), duration)


def organize_opening_range_data(sessions: Sessions, range_duration: int) -> Any:
    """Return the opening ranges of sessions as a DataFrame by date.

    Parameters
    ----------
    sessions : Sessions
    range_duration : int
        Seconds.

    Returns
    -------
    DataFrame
        ``open_price, high, low`` (dollars), ``count_trades``, ``trading_start`` (UTC epoch seconds), ``avg_vol``
        (NaN where the source has fewer than two implied volatilities, and of ranges longer than ``Warehouse`` was told
        to collect them for: half an hour by default), ``tradable`` and ``reason`` (why not).

    Examples
    --------
    >>> from orbresearch import synthetic_sessions
    >>> organize_opening_range_data(synthetic_sessions(2), 300).tradable.tolist()
    [True, True]
    """
    import pandas as pd

    ranges = find_ranges(sessions, range_duration)
    table, dates = ranges.table, sessions.dates
    frame = pd.DataFrame(index=dates[table["session"]])
    for name in ("open_price", "high", "low"):
        frame[name] = table[name].astype(np.int64) * sessions.increment_nanos / NANOS
    frame["count_trades"] = table["count_trades"]
    frame["trading_start"] = sessions.schedule.opens[table["session"]] + table["trading_start"]
    frame["avg_vol"] = table["avg_vol"]
    frame = frame.reindex(dates)
    frame["tradable"] = dates.isin(dates[table["session"]])
    frame["reason"] = [ranges.untradable.get(f"{date:%Y-%m-%d}", "") for date in dates]
    return frame.astype({"count_trades": "Int64", "trading_start": "Int64"})
