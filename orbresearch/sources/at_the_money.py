"""Implied volatility at the money, for many tickers at one moment."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from orbresearch.errors import BadInput
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, load_schedule
from orbresearch.sessions.expiries import day_of, next_expiry

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")  # 03.01.2024 is March in one country and January in another

# The last second of each ticker first, by the index on (ticker, timestamp_utc); then the rows of that second alone.
_AT_THE_MONEY = """
SELECT rows_then.ticker, rows_then.timestamp_utc, rows_then.underlying, rows_then.strike, rows_then.implied_volatility
FROM (
    SELECT ticker, MAX(timestamp_utc) AS second FROM options.greeks
    WHERE ticker IN :tickers AND timestamp_utc BETWEEN :first AND :last
        AND expiration = :expiration AND implied_volatility > 0 AND underlying > 0
    GROUP BY ticker
) AS latest
JOIN options.greeks AS rows_then ON rows_then.ticker = latest.ticker AND rows_then.timestamp_utc = latest.second
WHERE rows_then.expiration = :expiration AND rows_then.implied_volatility > 0 AND rows_then.underlying > 0
"""


class Queryable(Protocol):
    """A warehouse, as far as this module needs one."""

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the rows of a SELECT; ``:name`` stands for a parameter."""
        ...


def at_the_money_volatility(
    warehouse: Queryable, tickers: str | Sequence[str], at: Any, expiration: Any = None, *, within: int = 300
) -> pd.DataFrame:
    """Return the implied volatility of options at the money at a moment, for many tickers by one query.

    Of each ticker, the last second at or before ``at`` in which options of that expiration have an implied volatility
    above 0; in it, the strike nearest the underlying (of several prices in that second, their median); the mean of its
    rows, calls and puts. Of two strikes equally near, the mean of both. A second with few rows says little: look at
    ``strike``.

    Parameters
    ----------
    warehouse : Warehouse
    tickers : str or list of str
    at : int, str, datetime or Timestamp
        UTC: epoch seconds, or a time that is UTC where it names no zone.
    expiration : date, optional
        Default: the next monthly expiry that has not passed at ``at`` (:func:`next_expiry`).
    within : int
        Seconds before ``at`` in which to look.

    Returns
    -------
    DataFrame
        By ticker, as given: ``implied_volatility``, ``strike`` (the mean of two), ``underlying``, ``timestamp_utc``,
        all missing where nothing was found.
    """
    check_names(warehouse)
    names, moment = check_tickers([tickers] if isinstance(tickers, str) else tickers), _second_of(at)
    if isinstance(within, bool) or not isinstance(within, (int, np.integer)) or within < 0:
        raise BadInput("within", f"{within!r} are no seconds", "give a whole number of 0 or more")
    expires = _expiry_at(moment) if expiration is None else day_of(expiration, "expiration")
    params = {"tickers": names, "first": moment - int(within), "last": moment, "expiration": str(expires)}
    rows = warehouse.query(_AT_THE_MONEY, params)
    found = {str(ticker): _nearest(group) for ticker, group in rows.groupby("ticker")}
    columns = ["implied_volatility", "strike", "underlying", "timestamp_utc"]
    made = pd.DataFrame.from_dict(found, orient="index", columns=columns).reindex(pd.Index(names, name="ticker"))
    return made.astype(dict.fromkeys(columns[:3], float) | {"timestamp_utc": "Int64"})


def check_names(warehouse: Queryable) -> None:
    """Refuse a warehouse whose tables or columns have names of their own: these queries know the usual ones."""
    usual = {"greeks": "options.greeks", "closes": "stocks.daily_underlying", "columns": {}}
    own = [name for name, value in usual.items() if getattr(warehouse, name, value) != value]
    if own:
        wrong = "screening reads options.greeks and stocks.daily_underlying under their usual names only"
        raise BadInput(f"{own[0]}=", wrong, "make a view that has them, or give correlation() your own closes")


def check_tickers(tickers: Sequence[str]) -> list[str]:
    """Return names as a list; refuse none, and what is no name. A name twice counts once."""
    if isinstance(tickers, str) or not len(tickers) or not all(isinstance(name, str) and name for name in tickers):
        raise BadInput("tickers", f"{tickers!r} are no tickers", "give a list of names")
    return list(dict.fromkeys(tickers))


def _nearest(rows: pd.DataFrame) -> tuple[float, float, float, int]:
    """Return implied volatility and strike at the money, the underlying, the second."""
    underlying = float(rows["underlying"].median())
    strikes = rows.groupby("strike")["implied_volatility"].mean()
    distance = np.abs(strikes.index.to_numpy(float) - underlying)
    near = strikes[distance <= distance.min() + 1e-9 * underlying]  # 621.5 lies as far from 621 as from 622
    return float(near.mean()), float(near.index.to_numpy(float).mean()), underlying, int(rows["timestamp_utc"].iloc[0])


def _second_of(at: Any) -> int:
    if isinstance(at, (int, np.integer)) and not isinstance(at, bool):
        return int(at)
    stamp = pd.NaT
    if isinstance(at, (dt.datetime, np.datetime64)) or (isinstance(at, str) and _DATED.match(at)):
        try:
            stamp = pd.Timestamp(at)
        except ValueError:
            stamp = pd.NaT
    if stamp is pd.NaT:
        raise BadInput("at", f"{at!r} is no moment", "give UTC, such as 2024-01-19 21:00, or epoch seconds")
    known = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp
    return int(known.timestamp() // 1)


def _expiry_at(second: int) -> dt.date:
    """Return the next monthly expiry that has not passed at a moment."""
    here = pd.Timestamp(second, unit="s", tz="UTC").tz_convert("America/New_York")
    expires, day = next_expiry(here.date()), day_of(here.date())
    if str(expires) != str(day):
        return expires
    closed = load_schedule(DEFAULT_CALENDAR, year_of(day), year_of(day)).between(day, day).closes[0]
    return expiry_after_close(day) if second >= closed else expires


def expiry_after_close(day: Any) -> dt.date:
    """Return the next monthly expiry that is still to come when a session closes."""
    return next_expiry(day + np.timedelta64(1, "D"))


def year_of(day: Any) -> int:
    """Return the year of a datetime64[D]."""
    return int(day.astype("datetime64[Y]").astype(int)) + 1970
