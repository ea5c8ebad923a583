"""Sessions from a warehouse in MariaDB, beside the way that researchers have come from: a query per session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from pymysql.cursors import DictCursor

import orbresearch as orb
from orbresearch.sources.synthetic.sessions import synthetic_schedule
from tests.benchmarks.cluster import temporary_home
from tests.benchmarks.measure import Effort, Line, ask_child, wall
from tests.servers_mysql import MySQLServer, RestartableMySQL, restartable_mysql

MIB = 2**20
START, GREEKS, PLAIN = "2024-01-02", "options.greeks", "options.plain"
FEW = 8  # sessions: as many as are fetched at once
PLAIN_TICKERS = 2
OLD_QUERY = "SELECT DISTINCT timestamp_utc, underlying FROM {} WHERE timestamp_utc BETWEEN %s AND %s AND ticker = %s"


@dataclass(frozen=True)
class Filled:
    """A synthetic warehouse on a server, and the sessions that it has of each ticker."""

    server: MySQLServer
    tickers: list[str]
    sessions: int

    @property
    def url(self) -> str:
        """Where it is; the password is in the environment."""
        return f"mysql://{self.server.username}@{self.server.host}:{self.server.port}"

    @property
    def schedule(self) -> Any:
        """The sessions."""
        return synthetic_schedule(self.sessions, START)


def warehouse(effort: Effort) -> Iterator[Line]:
    """Fill a private server; compare ways to load a ticker; show memory, and loading without the server."""
    tickers, sessions = (2, 2) if effort.quick else (4, 16)
    with temporary_home(), restartable_mysql() as started:
        os.environ["SQL_PASSWORD"] = started.server.password
        here = Filled(started.server, fill(started.server, tickers, sessions), sessions)
        yield compare(here, GREEKS, here.tickers, least=5)
        yield compare(here, GREEKS, here.tickers, volatility=1800)
        yield compare(here, PLAIN, here.tickers[:PLAIN_TICKERS])
        yield from memory(here)
        yield from again(here, started)


def fill(server: MySQLServer, tickers: int, sessions: int) -> list[str]:
    """Fill the tables, and one without a key of its own with the first tickers' rows; return the tickers."""
    url = f"mysql://{server.username}@{server.host}:{server.port}"
    names = orb.synthetic_warehouse(url, tickers, sessions, start=START, progress=False)["ticker"].tolist()
    columns = "timestamp_utc, ticker, underlying, strike, expiration, delta, implied_volatility"
    wanted = ", ".join(f"'{name}'" for name in names[:PLAIN_TICKERS])
    server.run(
        f"CREATE TABLE {PLAIN} (KEY ticker_time (ticker, timestamp_utc)) ENGINE = InnoDB "
        f"SELECT {columns} FROM {GREEKS} WHERE ticker IN ({wanted}) ORDER BY id"
    )
    return names


def compare(here: Filled, table: str, tickers: list[str], volatility: int = 0, least: float | None = None) -> Line:
    """Load each ticker both ways, the old way first of every other one: the server keeps pages in memory."""
    found = []
    load(here, table, tickers[0], 1)  # imports and kernels
    for i, ticker in enumerate(tickers):
        ways = [
            lambda one=ticker: fetch_dicts(here, table, one),
            lambda one=ticker: load(here, table, one, None, volatility),
        ]
        seconds = [wall(way) for way in (ways if i % 2 == 0 else ways[::-1])]
        found.append(seconds if i % 2 == 0 else seconds[::-1])
    old, new = (float(np.median(column)) for column in zip(*found, strict=True))
    rows = here.server.run(f"SELECT table_rows FROM information_schema.tables WHERE table_name = '{table[8:]}'")[0][0]
    note = f"{old:.1f} and {new:.2f} s for {here.sessions} sessions of one ticker; about {rows:,} rows in the table"
    name = f"DISTINCT per session as dicts / load_sessions: {'with' if table == GREEKS else 'without'} an id"
    name += f", implied volatilities of {volatility} s" if volatility else ""
    return Line(name, [one / other for one, other in found], "x", least=least, note=note)


def fetch_dicts(here: Filled, table: str, ticker: str) -> list[dict[str, Any]]:
    """Fetch a ticker the old way: one connection, a query per session, rows as dicts."""
    connection, rows = here.server.connect(cursorclass=DictCursor), list[dict[str, Any]]()
    with connection, connection.cursor() as cursor:
        for opened, closed in zip(here.schedule.opens.tolist(), here.schedule.closes.tolist(), strict=True):
            cursor.execute(OLD_QUERY.format(table), (opened, closed, ticker))
            rows += cursor.fetchall()
    return rows


def load(here: Filled, table: str, ticker: str, sessions: int | None = None, volatility: int = 0) -> None:
    """Load a ticker into an empty cache; ``volatility``: seconds of implied volatilities, which the old way has not."""
    labels = here.schedule.labels[:sessions]
    with temporary_home(), redirect_stdout(StringIO()):
        found = orb.load_sessions(
            orb.Warehouse(here.url, greeks=table, volatility=volatility), ticker, start=labels[0], end=labels[-1]
        )
    assert len(found) == len(labels)


def memory(here: Filled) -> Iterator[Line]:
    """Show how far memory rises above the sessions that are loaded, of few and of many, each in a fresh process."""
    few = min(FEW, here.sessions // 2)
    above = []
    for sessions in (few, here.sessions):
        with temporary_home() as home:
            found = ask_child("fetch", here.url, here.tickers[-1], *map(str, here.schedule.labels[[0, sessions - 1]]))
            assert any(home.glob("cached_data/*/*.parquet"))
        above.append(found["above"] / MIB)
        peak, own, before = (found[name] / MIB for name in ("peak", "own", "before"))
        note = f"peak {peak:,.0f}, sessions {own:.1f}, before {before:,.0f} MiB"
        yield Line(f"peak memory of loading {sessions} sessions above their own", [above[-1]], "MiB", note=note)
    yield Line(f"{here.sessions - few} sessions more: growth of that", [above[1] - above[0]], "MiB", most=16)


def again(here: Filled, started: RestartableMySQL) -> Iterator[Line]:
    """Load once more without the server."""
    labels, ticker = here.schedule.labels, here.tickers[0]
    with temporary_home(), redirect_stdout(StringIO()):

        def once() -> None:
            found = orb.load_sessions(orb.Warehouse(here.url), ticker, start=labels[0], end=labels[-1])
            assert len(found) == len(labels)

        once()
        started.stop()
        seconds = [wall(once) for _ in range(3)]
    yield Line(f"{here.sessions} sessions once more, the server stopped", [1e3 * one for one in seconds], "ms")
