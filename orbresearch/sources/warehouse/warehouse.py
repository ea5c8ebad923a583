"""``orb.Warehouse``: what a person asks of a warehouse of prices."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from orbresearch.console import tell
from orbresearch.errors import BadInput
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, Schedule, schedule_around
from orbresearch.sessions.expiries import day_of
from orbresearch.settings import MySQLSettings
from orbresearch.sources.at_the_money import check_tickers
from orbresearch.sources.warehouse.connections import Connected
from orbresearch.sources.warehouse.layout import CLOSES, GREEKS, Layout
from orbresearch.sources.warehouse.places import find_place
from orbresearch.sources.warehouse.ranges import COLUMNS, read_ranges
from orbresearch.sql.failures import address
from orbresearch.sql.select import fetch_frame

CONNECTIONS = 8  # prices are on the server's disk: on two cores, eight fetch a fifth faster than four
_NAMES_SHOWN = 5

log = logging.getLogger(__name__)


class Warehouse(Connected):
    """A warehouse of prices: MySQL, MariaDB or a SQLite file. Nothing is ever written to it.

    It holds ``options.greeks`` (``timestamp_utc`` in whole seconds, ``ticker``, ``underlying``, ``strike``,
    ``expiration``, ``delta``, ``implied_volatility``; a row per option, many a second) and ``stocks.daily_underlying``
    (``ticker``, ``date``, ``close_price``). ``orb.load_sessions(orb.Warehouse(), "SPY", start=..., end=...)`` loads
    sessions from it.

    Parameters
    ----------
    url : str, optional
        ``mysql://user@host:port`` with the password from ``SQL_PASSWORD``, or ``sqlite:///prices.sqlite``. Default:
        ``SQL_HOSTNAME``, ``SQL_USERNAME``, ``SQL_PASSWORD``, and ``SQL_PORT``, ``SQL_TLS``, ``SQL_TLS_CA`` where set.
    greeks, closes : str
        The two tables.
    columns : mapping, optional
        Canonical name -> the tables' own, for those that differ.
    volatility : int
        Seconds of each session, from its open on, of which implied volatilities are collected with the prices: opening
        ranges up to so long have an ``avg_vol``. 0: none.
    connections : int
        Open at once, each fetching a session.
    env_file : path, optional
        As of ``Lab``.

    Raises
    ------
    BadInput
        The environment does not say where it is. (Whether it answers shows when it is asked.)

    Examples
    --------
    >>> Warehouse().query("SELECT * FROM stocks.daily_underlying WHERE ticker = :t", {"t": "SPY"})  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        greeks: str = "options.greeks",
        closes: str = "stocks.daily_underlying",
        columns: Mapping[str, str] | None = None,
        volatility: int = 1800,
        connections: int = CONNECTIONS,
        env_file: Any = None,
    ) -> None:
        place = find_place(url, env_file)
        self.volatility = _whole("volatility", volatility, 0, "seconds")
        tables, own = (greeks, closes), dict(columns or {})
        unknown = [name for name in own if name not in (*GREEKS, *CLOSES)]
        if unknown:
            known = ", ".join(dict.fromkeys((*GREEKS, *CLOSES)))
            raise BadInput("columns", f"{unknown[0]!r} is no column of a warehouse", f"known are {known}")
        super().__init__(place, tables, own, _whole("connections", connections, 1, "connections"))

    def __repr__(self) -> str:
        return f"Warehouse({self.place.where})"

    def __reduce__(self) -> Any:
        raise TypeError("a Warehouse holds a password and does not travel: make one where it is used")

    @property
    def where(self) -> str:
        """Where it is, for a person: as manifests and results have it, so without the account."""
        return f"mysql://{address(self.place)}" if isinstance(self.place, MySQLSettings) else self.place.where

    @property
    def identity(self) -> str:
        """What its sessions are cached under: the server or file, the table and its columns; no account."""
        return f"{address(self.place)} {self.greeks} {sorted(self.columns.items())} {self.volatility}"

    def query(self, sql: str, params: Mapping[str, object] | None = None) -> pd.DataFrame:
        """Run a query of one's own; nothing can be written with it.

        Parameters
        ----------
        sql : str
            One SELECT; ``:name`` stands for ``params["name"]``, of a list for all of its values (``IN :names``).
        params : mapping, optional

        Returns
        -------
        DataFrame

        Raises
        ------
        BadInput
            What the server has to say about the query.
        Unreachable
            No server, or no way in.
        """
        return fetch_frame(self._open(), self.place, sql, params)

    def tickers(self) -> list[str]:
        """Return the tickers that have prices, in alphabetical order."""
        with self.reading(self.greeks, GREEKS) as (connection, layout):
            found = connection.execute(sa.select(layout.columns["ticker"]).distinct()).scalars().all()
        return sorted(str(ticker) for ticker in found if ticker is not None)

    def span(self, ticker: str) -> tuple[int, int] | None:
        """Return the first and the last moment with rows of a ticker, UTC epoch seconds; None where there is none."""
        with self.reading(self.greeks, GREEKS) as (connection, layout):
            moment = layout.columns["timestamp_utc"]
            query = sa.select(moment).where(layout.is_ticker(sa.literal(ticker)), moment.is_not(None)).limit(1)
            ends = [connection.execute(query.order_by(end)).scalar() for end in (moment.asc(), moment.desc())]
        return None if ends[0] is None or ends[1] is None else (int(ends[0]), int(ends[1]))

    def daily_closes(self, tickers: Iterable[str] | None = None, start: Any = None, end: Any = None) -> pd.DataFrame:
        """Return daily closes: ``ticker, date, close_price``, by ticker and date.

        Parameters
        ----------
        tickers : iterable of str, optional
            Default: all.
        start, end : date-like, optional
            Both inclusive.
        """
        first, last = (None if day is None else day_of(day, name) for name, day in (("start", start), ("end", end)))
        names = None if tickers is None else _names(tickers)
        with self.reading(self.closes, CLOSES) as (connection, layout):
            ticker, date, price = (layout.columns[name] for name in CLOSES)
            query = sa.select(ticker, date, price).where(
                ticker.is_not(None) if names is None else layout.is_ticker(names)
            )
            if first is not None:
                query = query.where(date >= str(first))
            if last is not None:
                query = query.where(date < str(last + np.timedelta64(1, "D")))  # moments of that day as well
            rows = connection.execute(query).fetchall()
        found = pd.DataFrame.from_records(rows, columns=list(CLOSES), coerce_float=True)
        found = found.astype({"close_price": float}).assign(date=pd.to_datetime(found["date"]))
        _warn_of_absent(names or [], found, f"{self.closes} on these dates")
        return found.sort_values(["ticker", "date"], ignore_index=True)

    def opening_ranges(
        self,
        range_duration: int,
        start: Any,
        end: Any = None,
        tickers: Iterable[str] | None = None,
        calendar: str = DEFAULT_CALENDAR,
    ) -> pd.DataFrame:
        """Return opening ranges of many tickers, one pass per session.

        Parameters
        ----------
        range_duration : int
            Seconds, at most as many as a session of these has.
        start, end : date-like
            First and last session; by default one.
        tickers : iterable of str, optional
            Default: all.

        Returns
        -------
        DataFrame
            ``ticker, session, open_price, high, low`` (dollars as found), ``count_trades`` (seconds with a price),
            ``trading_start`` (UTC epoch seconds; missing where no price comes after), ``avg_vol``: as strategy.md,
            "Opening range", has them. Ticker and session without any price in the window have no row.

        Raises
        ------
        BadInput
            Another duration, no session from ``start`` to ``end``.
        """
        seconds = _whole("range_duration", range_duration, 1, "seconds")
        schedule = find_schedule(calendar, start, end if end is not None else start)
        longest = int((schedule.closes - schedule.opens).max())
        if seconds > longest:
            raise BadInput("range_duration", f"{seconds} seconds are more than a session's {longest}", "give e.g. 300")
        names = self.tickers() if tickers is None else _names(tickers)
        windows = [
            (opened, opened + seconds, closed)
            for opened, closed in zip(schedule.opens.tolist(), schedule.closes.tolist(), strict=True)
        ]
        began = time.monotonic()

        def read(connection: sa.Connection, layout: Layout, window: tuple[int, int, int]) -> pd.DataFrame:
            return read_ranges(connection, layout, names, window)

        found = [
            one.rename_axis("ticker").reset_index().assign(session=pd.Timestamp(label))
            for label, one in zip(schedule.labels, self.each(windows, read), strict=True)
        ]
        frame = pd.concat(found, ignore_index=True)[list(COLUMNS)]
        _warn_of_absent([] if tickers is None else names, frame, f"{self.greeks} in these windows")
        tell(f"Returned {len(frame)} rows of data in {time.monotonic() - began:.2f} seconds.")
        return frame


def find_schedule(calendar: str, start: Any, end: Any) -> Schedule:
    """Return the sessions from date ``start`` to ``end``, both inclusive.

    Raises
    ------
    BadInput
        There is none.
    """
    first, last = day_of(start, "start"), day_of(end, "end")
    if last < first:
        raise BadInput("end", f"{last} lies before start {first}", "exchange them")
    seconds = (int(day.astype("datetime64[s]").astype(int)) for day in (first, last))
    found = schedule_around(calendar, *seconds).between(first, last)
    if not len(found):
        raise BadInput("start", f"no session of {calendar} from {first} to {last}", "give a day on which it trades")
    return found


def _names(tickers: Iterable[str]) -> list[str]:
    return check_tickers([tickers] if isinstance(tickers, str) else list(tickers))


def _warn_of_absent(names: list[str], found: pd.DataFrame, where: str) -> None:
    """Say which of the tickers that were asked for have no row: it may be a wrong name."""
    absent = [name for name in names if name not in set(found["ticker"])]
    if absent:
        shown = ", ".join(absent[:_NAMES_SHOWN]) + (" …" if len(absent) > _NAMES_SHOWN else "")
        log.warning("nothing of %s in %s: check the tickers and the dates", shown, where)


def _whole(name: str, value: Any, least: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise BadInput(name, f"{value!r} is no number of {what}", f"give a whole number of {least} or more")
    return int(value)
