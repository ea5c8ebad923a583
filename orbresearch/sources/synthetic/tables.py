"""Tables of option rows and daily closes: made, asked and filled, in MySQL, MariaDB or a SQLite file."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import MySQLSettings
from orbresearch.sources.synthetic.greeks import GREEKS
from orbresearch.sources.synthetic.literals import to_sql, to_tsv, to_tuples
from orbresearch.sql import loading
from orbresearch.sql.engines import mysql_engine
from orbresearch.sql.failures import Place, translated

ROWS_AT_ONCE = 20_000  # of text or tuples
_ROW_BYTES = 120  # at most, of one row in an INSERT
_PATIENCE_SECONDS = 30  # for another process's write

_KEY = "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY"  # tells the order of rows; SQLite has its rowid
_GREEKS = """timestamp_utc INT NOT NULL, ticker VARCHAR(16) NOT NULL, underlying DOUBLE NOT NULL,
strike DOUBLE NOT NULL, expiration DATE NOT NULL, delta DOUBLE NULL, implied_volatility DOUBLE NULL"""
_DAILY = "ticker VARCHAR(16) NOT NULL, date DATE NOT NULL, close_price DOUBLE NOT NULL, PRIMARY KEY (ticker, date)"
_COLUMNS = ", ".join(GREEKS.names)
_CLOSE = ("ticker", "date", "close_price")


@dataclass
class Target:
    """Where rows go.

    Parameters
    ----------
    loads : bool
        Whether the server may load rows; False once it refused.
    """

    place: Place
    engine: sa.Engine = field(repr=False)
    loads: bool

    @property
    def is_mysql(self) -> bool:
        """Whether it is a server rather than a file."""
        return isinstance(self.place, MySQLSettings)

    @property
    def greeks(self) -> sa.TableClause:
        """The table of option rows."""
        return _table("options" if self.is_mysql else None, "greeks", GREEKS.names)

    @property
    def daily(self) -> sa.TableClause:
        """The table of daily closes."""
        return _table("stocks" if self.is_mysql else None, "daily_underlying", _CLOSE)


def _table(database: str | None, name: str, columns: Sequence[str]) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns), schema=database)


@contextmanager
def opened(place: Place) -> Iterator[Target]:
    """Lend the warehouse; close its connections afterwards."""
    is_mysql = isinstance(place, MySQLSettings)
    engine = mysql_engine(place, local_infile=True) if isinstance(place, MySQLSettings) else _sqlite_engine(place.path)
    try:
        with translated(place, "ALL"):
            yield Target(place, engine, is_mysql)
    finally:
        engine.dispose()


def _sqlite_engine(path: Path) -> sa.Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable("SQLite", str(path), str(error), "name a folder that may be written") from None

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)

    engine = sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


# --- what is there


def create_tables(target: Target, mark: str) -> None:
    """Create what is missing; refuse tables of something else."""
    with target.engine.begin() as connection:
        if isinstance(target.place, MySQLSettings):
            _create_databases(connection, target.place)
        if not _is_ours(connection, target.greeks, mark):
            _create_greeks(connection, target, mark)
        if not _is_ours(connection, target.daily, mark):
            _create_table(connection, target.daily, _DAILY, mark)


def _create_databases(connection: sa.Connection, server: MySQLSettings) -> None:
    for database in ("options", "stocks"):
        with translated(replace(server, database=database), "ALL"):  # the remedy names it
            connection.exec_driver_sql(f"CREATE DATABASE IF NOT EXISTS {database}")


def _is_ours(connection: sa.Connection, table: sa.TableClause, mark: str) -> bool:
    """Return whether a table of this market is there."""
    query, facts = "SELECT sql FROM sqlite_master WHERE name = :name", {"name": table.name}
    if table.schema:
        query = (
            "SELECT table_comment FROM information_schema.tables WHERE table_name = :name AND table_schema = :schema"
        )
        facts["schema"] = table.schema
    found = connection.execute(sa.text(query), facts).scalar()
    if found is not None and mark not in str(found):
        known = re.search(r"synthetic market of orbresearch, [^'*]*", str(found))
        holds = f"the {known.group().strip()}" if known else "something else than a synthetic market"
        raise BadInput(f"table {table.name}", f"it holds {holds}", f"name another warehouse for the {mark}")
    return found is not None


def _create_greeks(connection: sa.Connection, target: Target, mark: str) -> None:
    key = "ticker_time (ticker, timestamp_utc)"
    if target.is_mysql:
        _create_table(connection, target.greeks, f"{_KEY}, {_GREEKS}, KEY {key}", mark)
    else:
        _create_table(connection, target.greeks, _GREEKS, mark)
        connection.exec_driver_sql(f"CREATE INDEX {key.replace(' ', ' ON greeks ', 1)}")


def _create_table(connection: sa.Connection, table: sa.TableClause, columns: str, mark: str) -> None:
    """Create a table that says whose it is: in its comment or, in SQLite, which keeps its definition, there."""
    name = _sql_name(connection, table)
    definition = f"({columns}) ENGINE = InnoDB COMMENT = '{mark}'" if table.schema else f"(/* {mark} */ {columns})"
    connection.exec_driver_sql(f"CREATE TABLE {name} {definition}")


def _sql_name(connection: sa.Connection, table: sa.TableClause) -> str:
    found: str = connection.dialect.identifier_preparer.format_table(table)
    return found


def present_dates(target: Target, ticker: str) -> set[str]:
    """Return the dates that a ticker has."""
    columns = target.daily.c
    query = sa.select(columns.date).where(columns.ticker == ticker)
    with target.engine.connect() as connection:
        return {str(date) for (date,) in connection.execute(query)}


# --- filling


def write_session(target: Target, rows: pa.Table, ticker: str, date: str, close_price: float) -> None:
    """Write a session's rows and its close, all or nothing."""
    close = {"ticker": ticker, "date": date, "close_price": close_price}
    if target.loads:
        try:
            return _write_by(_load, target, close, rows)
        except loading.LoadRefused:
            target.loads = False
    return _write_by(_insert if target.is_mysql else _insert_sqlite, target, close, rows)


def _write_by(write: Any, target: Target, close: dict[str, Any], rows: pa.Table) -> None:
    with target.engine.begin() as connection:
        connection.execute(sa.insert(target.daily), close)  # first: a second process that fills stops here
        write(connection, target.greeks, rows, f"{close['ticker']} {close['date']}")


def _load(connection: sa.Connection, table: sa.TableClause, rows: pa.Table, what: str) -> None:
    pieces = (to_tsv(batch) for batch in rows.to_batches(ROWS_AT_ONCE))
    loading.load_rows(connection, _sql_name(connection, table), _COLUMNS, pieces, what)


def _insert(connection: sa.Connection, table: sa.TableClause, rows: pa.Table, what: str) -> None:
    """Insert by statements of many rows, where the server loads none."""
    head = f"INSERT INTO {_sql_name(connection, table)} ({_COLUMNS})"
    size = max(1, min(ROWS_AT_ONCE, loading.packet_bytes(connection) // _ROW_BYTES - 10))
    for batch in rows.to_batches(size):
        loading.execute(connection, f"{head} VALUES {','.join(to_sql(batch))}", what)


def _insert_sqlite(connection: sa.Connection, table: sa.TableClause, rows: pa.Table, _: str) -> None:
    head = f"INSERT INTO {table.name} ({_COLUMNS})"
    statement = f"{head} VALUES ({', '.join('?' * len(GREEKS))})"
    for batch in rows.to_batches(ROWS_AT_ONCE):
        connection.exec_driver_sql(statement, to_tuples(batch))
