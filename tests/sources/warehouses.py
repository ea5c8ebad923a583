"""Small warehouses of one's own rows, in a SQLite file or on a server."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orbresearch as orb
from orbresearch.sources.warehouse.layout import GREEKS
from tests.servers_mysql import MySQLServer
from tests.sources.standin import url_of

TYPES = {
    "timestamp_utc": "INT NULL",
    "ticker": "VARCHAR(16) NULL",
    "underlying": "DOUBLE NULL",
    "strike": "DOUBLE NULL",
    "expiration": "DATE NULL",
    "delta": "DOUBLE NULL",
    "implied_volatility": "DOUBLE NULL",
}
INDEX = "ticker, timestamp_utc"


class Making:
    """Where warehouses are made, each in the place of the one before."""

    def __init__(self, place: Path | MySQLServer) -> None:
        self.place = place
        self.is_mysql = isinstance(place, MySQLServer)
        self.url = url_of(place) if isinstance(place, MySQLServer) else f"sqlite:///{place}"

    def clear(self) -> None:
        if isinstance(self.place, Path):
            self.place.unlink(missing_ok=True)
            return
        for database in ("options", "stocks"):
            self.place.drop_database(database)

    def run(self, *statements: str, rows: Sequence[tuple[Any, ...]] = ()) -> None:
        """Run statements, the last for each of the rows, ``?`` standing for a value."""
        if isinstance(self.place, Path):
            connection: Any = sqlite3.connect(self.place)
        else:
            connection = self.place.connect(autocommit=False)
            statements = tuple(statement.replace("?", "%s") for statement in statements)
        cursor = connection.cursor()
        for statement in statements[: -1 if rows else None]:
            cursor.execute(statement)
        if rows:
            cursor.executemany(statements[-1], rows)
        connection.commit()
        connection.close()

    def make(
        self,
        rows: Iterable[Sequence[Any]],
        *,
        key: bool = True,
        index: str = INDEX,
        types: dict[str, str] | None = None,
        renamed: dict[str, str] | None = None,
        **options: Any,
    ) -> orb.Warehouse:
        """Make a table of option rows (of so many columns as the rows have) in this order; open it."""
        self.clear()
        given = [tuple(row) for row in rows]
        names = GREEKS[: len(given[0])] if given else GREEKS
        own = {name: (renamed or {}).get(name, name) for name in names}
        columns = [f"{own[name]} {(types or {}).get(name, TYPES[name])}" for name in names]
        table = "options.greeks" if self.is_mysql else "greeks"
        if self.is_mysql:
            self.run("CREATE DATABASE options")
            columns = (["id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY"] if key else []) + columns
        statements = [f"CREATE TABLE {table} ({', '.join(columns)})"]
        if index:
            ordered = ", ".join(own[name] for name in index.split(", "))
            statements.append(f"CREATE INDEX i ON {table} ({ordered})")
        if given:
            statements.append(f"INSERT INTO {table} ({', '.join(own.values())}) VALUES ({', '.join('?' * len(names))})")
        self.run(*statements, rows=given)
        return orb.Warehouse(self.url, columns=renamed, **options)

    def make_closes(self, rows: Sequence[tuple[Any, ...]]) -> orb.Warehouse:
        """Make a table of daily closes; open it."""
        self.clear()
        table = "stocks.daily_underlying" if self.is_mysql else "daily_underlying"
        if self.is_mysql:
            self.run("CREATE DATABASE stocks")
        columns = "ticker VARCHAR(16), date DATE, close_price DECIMAL(10, 2)"
        self.run(f"CREATE TABLE {table} ({columns})", f"INSERT INTO {table} VALUES (?, ?, ?)", rows=rows)
        return orb.Warehouse(self.url)


def usable(price: Any) -> bool:
    return price is not None and math.isfinite(price) and price > 0


def standing(rows: Iterable[Sequence[Any]], ticker: str, first: int, last: int) -> dict[int, float]:
    """Return the last price of each second that has rows, NaN where none has a price (strategy.md), slowly."""
    found: dict[int, float] = {}
    for second, name, price, *_ in rows:
        if name == ticker and second is not None and first <= second <= last:
            found[second] = float(price) if usable(price) else found.get(second, math.nan)
    return dict(sorted(found.items()))


def commonest(rows: Iterable[Sequence[Any]], ticker: str, first: int, last: int) -> dict[int, float]:
    """Return the price that most rows of each second show, the lowest of equally many."""
    counts: dict[int, dict[float, int]] = {}
    for second, name, price, *_ in rows:
        if name == ticker and second is not None and first <= second <= last:
            of_second = counts.setdefault(second, {})
            if usable(price):
                of_second[float(price)] = of_second.get(float(price), 0) + 1
    chosen = {
        second: min(prices, key=lambda price: (-prices[price], price)) if prices else math.nan
        for second, prices in counts.items()
    }
    return dict(sorted(chosen.items()))
