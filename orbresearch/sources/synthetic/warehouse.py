"""A warehouse filled with a synthetic market: tables as researchers have them, in MySQL, MariaDB or a SQLite file."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from orbresearch.errors import BadInput
from orbresearch.sources.synthetic.greeks import GREEKS_VERSION, day_close, day_rows
from orbresearch.sources.synthetic.market import MARKET_TICKER, Day, days_of
from orbresearch.sources.synthetic.sessions import check_seed, synthetic_schedule
from orbresearch.sources.synthetic.tables import Target, create_tables, opened, present_dates, write_session
from orbresearch.sources.warehouse.places import find_place


def synthetic_warehouse(
    url: str,
    tickers: int | Sequence[str] = 10,
    sessions: int = 40,
    seed: int = 0,
    *,
    start: str = "2024-01-02",
    per_second: float = 30.0,
    progress: bool = True,
) -> pd.DataFrame:
    """Fill a warehouse with option rows and daily closes of a market in which nothing can be earned.

    The tables have the columns of ``options.greeks`` (``timestamp_utc`` in epoch seconds, ``ticker``, ``underlying``,
    ``strike``, ``expiration``, ``delta``, ``implied_volatility``; an index on ticker and time; in MySQL an ``id``) and
    ``stocks.daily_underlying`` (``ticker``, ``date``, ``close_price``; ticker and date are its key), and what real
    ones have: seconds without rows and minutes, several prices in one second, rows before the open and after the
    close, a few without numbers. About 700,000 rows per ticker and session at 30 a second.

    A session that is there is not added again; each is written in one transaction. The same seed makes the same rows
    for a ticker and a date, whatever else is asked for: more tickers or sessions extend the market. Only one process
    should fill a warehouse at a time.

    Parameters
    ----------
    url : str
        ``sqlite:///folder/warehouse.sqlite``, made if need be: tables ``greeks`` and ``daily_underlying``. Or
        ``mysql://user:password@host:port``, where databases ``options`` and ``stocks`` are made if need be; a
        password that is not in it comes from the environment variable SQL_PASSWORD.
    tickers : int or list of str
        Names, or a number of made-up ones of which SPY is the first. SPY is the market that the others follow.
    sessions : int
        Of XNYS, from ``start`` on.
    seed : int
        0 or more.
    start : str
        Date on or before the first session; 2020-01-01 or later.
    per_second : float
        Rows per ticker and second on average, 1 or more.
    progress : bool
        Show a bar where somebody looks.

    Returns
    -------
    DataFrame
        ``ticker``, ``sessions`` and ``rows`` that were added.

    Raises
    ------
    BadInput
        An argument out of range; a table of that name that holds something else than this market: nothing is added
        to real prices.
    Unreachable
        No server, wrong password, no right to create databases or tables.
    """
    check_seed(seed)
    _check_rate(per_second)
    names, schedule = ticker_names(tickers), synthetic_schedule(sessions, start, what="sessions")
    market = _Market(int(seed), float(per_second))
    days = {name: list(days_of(market.seed, name, schedule)) for name in names}
    with opened(find_place("" if url is None else url)) as target:  # the environment's is one of real prices
        create_tables(target, market.mark)
        return _fill(target, market, days, progress)


def ticker_names(tickers: int | Sequence[str]) -> list[str]:
    """Return names as given, or so many made-up ones, SPY first, then SYN001 and so on.

    Raises
    ------
    BadInput
        No name, one twice, one that no table could hold.
    """
    if isinstance(tickers, int) and not isinstance(tickers, bool) and tickers >= 1:
        return [MARKET_TICKER, *(f"SYN{number:03d}" for number in range(1, tickers))]
    fix = "give a number of 1 or more, or a list of different names of 1 to 16 letters, digits and .-^/"
    if isinstance(tickers, (int, float, str)) or not tickers:
        raise BadInput("tickers", f"{tickers!r} are no tickers", fix)
    for name in tickers:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9.^/_-][A-Za-z0-9.^/_ -]{0,15}", name):
            raise BadInput("tickers", f"{name!r} is no ticker", fix)
    if len({name.casefold() for name in tickers}) < len(tickers):  # MySQL does not tell spy from SPY
        raise BadInput("tickers", "a name stands twice", fix)
    return list(tickers)


@dataclass(frozen=True)
class _Market:
    seed: int
    per_second: float

    @property
    def mark(self) -> str:
        """What tables of this market carry, so that nothing is mixed up with them."""
        return f"synthetic market of orbresearch, seed {self.seed}, {self.per_second:g} rows/s, v{GREEKS_VERSION}"


def _check_rate(per_second: float) -> None:
    if isinstance(per_second, bool) or not isinstance(per_second, (int, float)) or not 1 <= per_second <= 1000:
        raise BadInput("per_second", f"{per_second!r} is no number of rows", "give 1 to 1000")


def _fill(target: Target, market: _Market, days: dict[str, list[Day]], progress: bool) -> pd.DataFrame:
    """Add what is missing, session by session as a warehouse grows, and say what was added."""
    present = {ticker: present_dates(target, ticker) for ticker in days}
    by_session = zip(*([(ticker, day) for day in all_of] for ticker, all_of in days.items()), strict=True)
    todo = [(name, day) for of_one in by_session for name, day in of_one if str(day.label) not in present[name]]
    added = {ticker: [0, 0] for ticker in days}
    for ticker, day in _watched(todo, progress):
        rows = day_rows(market.seed, ticker, day, market.per_second)
        write_session(target, rows, ticker, str(day.label), day_close(rows, day))
        added[ticker][0] += 1
        added[ticker][1] += rows.num_rows
    return pd.DataFrame([(ticker, *counts) for ticker, counts in added.items()], columns=["ticker", "sessions", "rows"])


def _watched(todo: list[tuple[str, Day]], progress: bool) -> Any:
    """Return the work with a bar that goes when it is done."""
    from tqdm.auto import tqdm

    seen = progress and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return tqdm(todo, unit="session", leave=False, disable=not seen)
