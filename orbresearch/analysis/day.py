"""One session of a backtest as it went: the price, the opening range, the trades, in the exchange's own time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import NANOS
from orbresearch.sessions.dates import read_date

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest
    from orbresearch.inputs import Input


@dataclass(frozen=True, eq=False)
class Day:
    """One session of a backtest as it went. All times are the exchange's own, without a zone.

    Parameters
    ----------
    date : Timestamp
    timezone : str
        The exchange's.
    opened, range_end, closed : Timestamp
        The session's open, the end of its opening range, its close by the calendar.
    high, low : float
        The opening range, dollars.
    prices : Series
        Price by time, dollars: each stands until the next; the last observation is there too.
    trades : DataFrame
        As ``Backtest.trades``, of this session, with the exchange's own times.
    profit : float
        Dollars.
    """

    date: Any
    timezone: str
    opened: Any
    range_end: Any
    closed: Any
    high: float
    low: float
    prices: Any
    trades: Any
    profit: float


def day_of(backtest: Backtest, date: Any) -> Day:
    """Return one session of a backtest.

    Raises
    ------
    BadInput
        What is no date, or a date that is no tradable session of the backtest.
    """
    import pandas as pd

    item, label = backtest.item, read_date("date", date)
    row = item.days[_find(item, label)]
    at, nanos = int(row["session"]), item.series.increment_nanos
    opened = int(item.series.opens[at])
    ticks = slice(item.series.pointers[at], item.series.pointers[at + 1])
    times, price = (item.series.columns[name][ticks] for name in ("time", "price"))
    index = local_times(opened + times.astype(np.int64), item.timezone, "time")
    trades = backtest.trades[backtest.trades["session"] == pd.Timestamp(label)].reset_index(drop=True)
    own = {f"{name}_time": local_times(trades[f"{name}_time"], item.timezone) for name in ("entry", "exit")}
    opens, range_end, closes = local_times([opened, opened + item.duration, int(item.series.closes[at])], item.timezone)
    return Day(
        pd.Timestamp(label),
        item.timezone,
        opens,
        range_end,
        closes,
        int(row["high"]) * nanos / NANOS,
        int(row["low"]) * nanos / NANOS,
        pd.Series(price.astype(np.int64) * nanos / NANOS, index=index, name="price"),
        trades.assign(**own),
        float(backtest.daily.loc[pd.Timestamp(label)]),
    )


def local_times(times: Any, timezone: str, name: str | None = None) -> Any:
    """Return UTC instants (epoch seconds, or a Series with zone) as a DatetimeIndex of wall-clock times without zone.

    Examples
    --------
    >>> local_times([1711459800], "America/New_York")[0]
    Timestamp('2024-03-26 09:30:00')
    """
    import pandas as pd

    found = pd.DatetimeIndex(
        pd.to_datetime(times, unit="s", utc=True) if np.ndim(times) and not _dated(times) else times
    )
    return found.tz_convert(timezone).tz_localize(None).rename(name)


def _dated(times: Any) -> bool:
    return getattr(getattr(times, "dtype", None), "tz", None) is not None


def _find(item: Input, label: Any) -> int:
    """Return the index of a date among the tradable sessions."""
    dates = item.series.labels[item.days["session"]]
    found = np.flatnonzero(dates == label)
    if len(found) == 0:
        reason = item.untradable.get(str(label), "no tradable session of the backtest")
        near = dates[np.abs(dates - label).argmin()]
        raise BadInput(
            "date", f"{label}: {reason}", f"the nearest is {near}, of {len(dates)} from {dates[0]} to {dates[-1]}"
        )
    return int(found[0])
