"""Which tickers to look at: last close, correlation with a benchmark, implied volatility at the money.

Queries go through ``warehouse.query(sql, params)``, which returns a DataFrame; their text is the same for every
warehouse: tables ``options.greeks`` and ``stocks.daily_underlying``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from orbresearch.errors import BadInput
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, Schedule, load_schedule
from orbresearch.sessions.expiries import day_of
from orbresearch.sources.at_the_money import (
    Queryable,
    at_the_money_volatility,
    check_names,
    check_tickers,
    expiry_after_close,
    year_of,
)

BENCHMARK = "SPY"
LEAST_PAIRS = 3  # of numbers, for a correlation: two always lie on a line
_LONG = ["ticker", "date", "close_price"]

_CLOSES = "SELECT ticker, date, close_price FROM stocks.daily_underlying WHERE date BETWEEN :first AND :last"
_LAST_DATE = "SELECT MAX(date) AS date FROM stocks.daily_underlying WHERE ticker = :ticker"


def screen(
    warehouse: Queryable,
    tickers: Sequence[str] | None = None,
    date: Any = None,
    sessions: int = 60,
    benchmark: str = BENCHMARK,
    of: str = "returns",
) -> pd.DataFrame:
    """Return what tickers were worth at the close of a session, and how they moved with the benchmark until then.

    Parameters
    ----------
    warehouse : Warehouse
    tickers : list of str, optional
        Default: all that have a close in those sessions.
    date : date, optional
        Any day: the last XNYS session on or before it counts. Default: the benchmark's last close.
    sessions : int
        Daily closes to correlate: those of so many XNYS sessions, that of ``date`` the last.
    benchmark : str
        What to correlate with.
    of : {"returns", "prices"}
        See :func:`correlation`.

    Returns
    -------
    DataFrame
        By ticker: ``close_price`` and ``date`` of its last close, ``sessions`` it has in common with the benchmark,
        ``correlation`` over them, ``expiration``: the first monthly expiry that is still to come when that session
        closes, ``implied_volatility`` of its options at the money then (NaN where none was quoted in the last five
        minutes).

    Raises
    ------
    BadInput
        A ticker or benchmark without a close in those sessions; see also :func:`correlation`.
    """
    check_names(warehouse)
    _check_sessions(sessions)
    known = None if tickers is None else check_tickers(tickers)
    window = _window(_last_date(warehouse, benchmark) if date is None else day_of(date), sessions)
    closes = _read_closes(warehouse, known, benchmark, window)
    names = sorted(set(closes["ticker"])) if known is None else known
    moved = correlation(closes, benchmark, of).loc[names]
    last = closes.sort_values("date").groupby("ticker").last().loc[names]
    expiration = expiry_after_close(window.labels[-1])
    volatility = at_the_money_volatility(warehouse, names, int(window.closes[-1]), expiration)
    return pd.DataFrame(
        {
            "close_price": last["close_price"],
            "date": last["date"],
            "sessions": moved["dates"],
            "correlation": moved["correlation"],
            "expiration": pd.Timestamp(expiration),
            "implied_volatility": volatility["implied_volatility"],
        },
        index=pd.Index(names, name="ticker"),
    )


def correlation(closes: pd.DataFrame, benchmark: str = BENCHMARK, of: str = "returns") -> pd.DataFrame:
    """Return Pearson's correlation of daily closes with those of a benchmark, each ticker over the dates both have.

    Parameters
    ----------
    closes : DataFrame
        Long (``ticker``, ``date``, ``close_price``), or wide: an index of dates, a column per ticker, NaN where a
        ticker has no close.
    benchmark : str
        One of the tickers.
    of : {"returns", "prices"}
        Returns from one common date to the next, or the prices themselves. Two prices that drift are correlated
        without having to do with each other.

    Returns
    -------
    DataFrame
        By ticker, in alphabetical order: ``correlation``, NaN from fewer than three pairs of numbers (so from fewer
        than three common dates) and where either never changes; ``dates`` in common.

    Raises
    ------
    BadInput
        No such benchmark; a price that is not above 0; two closes of a ticker on one date.
    """
    if of not in ("returns", "prices"):
        raise BadInput("of", f"{of!r} is not known", "give returns or prices")
    wide = _wide(closes)
    if benchmark not in wide.columns or wide[benchmark].notna().sum() == 0:
        raise BadInput("benchmark", f"no closes of {benchmark!r}", "give one of the tickers")
    found = {ticker: _correlate(wide[ticker], wide[benchmark], of) for ticker in sorted(wide.columns)}
    columns = ["correlation", "dates"]
    made = pd.DataFrame.from_dict(found, orient="index", columns=columns).rename_axis("ticker")
    return made.astype({"correlation": float, "dates": int})


# --- closes


def _check_sessions(sessions: int) -> None:
    if isinstance(sessions, bool) or not isinstance(sessions, (int, np.integer)) or sessions < 1:
        raise BadInput("sessions", f"{sessions!r} is no number of sessions", "give 1 or more")


def _last_date(warehouse: Queryable, benchmark: str) -> Any:
    found = warehouse.query(_LAST_DATE, {"ticker": benchmark})["date"]
    if found.isna().all():
        raise BadInput("benchmark", f"the warehouse has no closes of {benchmark!r}", "name one of its tickers")
    return day_of(pd.Timestamp(found.iloc[0]))


def _window(day: Any, sessions: int) -> Schedule:
    """Return so many sessions, the last of which is on or before a day."""
    year = year_of(day)
    schedule = load_schedule(DEFAULT_CALENDAR, year - int(sessions) // 245 - 1, year).between(None, day)
    return schedule.between(schedule.labels[-sessions])


def _read_closes(warehouse: Queryable, tickers: list[str] | None, benchmark: str, window: Schedule) -> pd.DataFrame:
    """Return the closes of the window, the benchmark's among them; refuse tickers without any."""
    params: dict[str, Any] = {"first": str(window.labels[0]), "last": str(window.labels[-1])}
    sql = _CLOSES
    if tickers is not None:
        sql, params["names"] = f"{_CLOSES} AND ticker IN :names", list(dict.fromkeys([*tickers, benchmark]))
    closes = warehouse.query(sql, params).dropna(subset=["close_price"])
    absent = sorted({benchmark, *(tickers or [])} - set(closes["ticker"]))
    if absent:
        wrong = f"no daily closes of {', '.join(absent[:10])} from {params['first']} to {params['last']}"
        raise BadInput("tickers", wrong, "name tickers of stocks.daily_underlying, or another date")
    return closes.assign(date=pd.to_datetime(closes["date"]))


def _wide(closes: pd.DataFrame) -> pd.DataFrame:
    """Return closes by date and ticker; refuse what they cannot be."""
    if not isinstance(closes, pd.DataFrame) or closes.empty or not closes.columns.is_unique:
        raise BadInput(
            "closes",
            "no DataFrame with rows and different columns",
            f"give columns {', '.join(_LONG)}, or one per ticker",
        )
    is_long = set(_LONG) <= set(closes.columns)
    keys = closes[_LONG[:2]] if is_long else closes.index
    if keys.duplicated().any():
        twice = keys[keys.duplicated()]
        shown = " on ".join(map(str, twice.iloc[0])) if is_long else str(twice[0])
        raise BadInput("closes", f"two for {shown}", "give one per ticker and date")
    wide = closes.set_index(_LONG[:2])["close_price"].unstack("ticker") if is_long else closes  # noqa: PD010  keeps NaN
    prices = closes["close_price"] if is_long else closes
    bad = ~((prices > 0) & (prices < np.inf)) & prices.notna()
    if bad.to_numpy().any():
        value = prices.to_numpy()[bad.to_numpy()].flat[0]
        raise BadInput("closes", f"a price of {value!r}", "give prices above 0, NaN where there is none")
    return wide.sort_index().astype(float)


def _correlate(one: pd.Series, other: pd.Series, of: str) -> tuple[float, int]:
    """Return the correlation over common dates, and how many these are."""
    common = one.notna() & other.notna()
    x, y = one[common].to_numpy(), other[common].to_numpy()
    dates = len(x)
    if of == "returns":
        x, y = np.diff(x) / x[:-1], np.diff(y) / y[:-1]
    if len(x) < LEAST_PAIRS or _stands(x) or _stands(y):
        return np.nan, dates
    return float(np.corrcoef(x, y)[0, 1]), dates


def _stands(values: Any) -> bool:
    """Return whether numbers are the same but for rounding."""
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())
