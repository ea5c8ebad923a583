"""Opening the results database: one SQLAlchemy engine per store, one dialect or the other."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import MySQLSettings, StoreSettings
from orbresearch.sql.engines import mysql_engine
from orbresearch.sql.failures import address, translated
from orbresearch.store.shape import create_missing, find_missing, is_older, migrate
from orbresearch.store.tables import SCHEMA_VERSION, Tables, make_tables

PATIENCE_SECONDS = 30  # for another process's write (SQLite) or creation of tables (MySQL)


@dataclass
class Loading:
    """LOAD DATA LOCAL INFILE: the fastest way of rows into MySQL, until the server refuses it.

    Attributes
    ----------
    engine : sqlalchemy.Engine or None
        The connections that may; None for SQLite.
    refusal : str
        Why not: known when the first rows were written. "" while nothing speaks against it.
    """

    engine: sa.Engine | None = field(default=None, repr=False)
    refusal: str = ""


@dataclass(frozen=True)
class Store:
    """An open results database. Belongs to one process: a worker opens its own from the same settings.

    Attributes
    ----------
    uuid : str
        The store's own, drawn when its tables were made: names its result stream in Redis.
    dialect : str
        "SQLite" or "MySQL" (MariaDB included), for messages.
    where : str
        For a person; without the password.
    loading : Loading
        Whether rows are loaded or inserted, and why.
    """

    settings: StoreSettings
    engine: sa.Engine = field(repr=False)
    tables: Tables = field(repr=False)
    uuid: str
    dialect: str
    where: str
    loading: Loading = field(default_factory=Loading)


def open_store(settings: StoreSettings, *, create: bool = True) -> Store:
    """Connect to the results database.

    Parameters
    ----------
    settings : StoreSettings
    create : bool
        Create what is missing: folder, file, tables, view. False for readers: nothing is created.

    Raises
    ------
    Unreachable
        No server, no such database, wrong password, no SQLite file: with the remedy, without the password.
    WrongTable
        A table of that name has another shape. All are checked before any is created.
    BadInput
        With ``create=False``: nothing has been written there yet.
    """
    tables = make_tables(settings.table)
    if not settings.is_mysql:
        _prepare_folder(settings, create)
    place = settings.place
    engine = mysql_engine(place) if isinstance(place, MySQLSettings) else _sqlite_engine(settings, create)
    try:
        with translated(place):
            identity = _prepare(engine, tables, settings, create)
    except BaseException:
        engine.dispose()
        raise
    dialect, loading = "SQLite", Loading()
    if isinstance(place, MySQLSettings):
        dialect, loading = "MySQL", Loading(mysql_engine(place, local_infile=True))
    return Store(settings, engine, tables, identity, dialect, settings.where, loading)


def close_store(store: Store) -> None:
    """Close the store's connections. It opens new ones when used again."""
    store.engine.dispose()
    if store.loading.engine is not None:
        store.loading.engine.dispose()


@contextmanager
def reading(store: Store) -> Iterator[sa.Connection]:
    """Lend a connection for queries. What the driver raises becomes ``Unreachable``."""
    with translated(store.settings.place), store.engine.connect() as connection:
        yield connection


@contextmanager
def writing(store: Store, *, rows: bool = False) -> Iterator[sa.Connection]:
    """Lend a connection inside one transaction: committed at the end, rolled back on any exception.

    For ``rows``, one that may load them, unless the server is known to refuse that.
    """
    loads = store.loading.engine if rows and not store.loading.refusal else None
    with translated(store.settings.place), _transaction(loads or store.engine) as connection:
        yield connection


def utc_now() -> datetime:
    """Return the present as SQL stores it: UTC, without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def _transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        connection.execution_options(orb_writes=True)
        with connection.begin():
            yield connection


def _prepare(engine: sa.Engine, tables: Tables, settings: StoreSettings, create: bool) -> str:
    """Check what is there, create what is not, and return the store's uuid."""
    with engine.connect() as connection:
        older = create and is_older(connection, tables)
        missing = [] if older else find_missing(connection, tables, settings)
        identity = None if missing or older else connection.execute(sa.select(tables.info.c.uuid)).scalar()
    if identity is None and not create:
        raise _no_results(settings)
    return _create(engine, tables, settings) if older or identity is None else identity


def _create(engine: sa.Engine, tables: Tables, settings: StoreSettings) -> str:
    """Create what is missing while no other process does; check again first."""
    if not settings.is_mysql:
        _use_wal(engine)
    with _alone(engine, settings), _transaction(engine) as connection:
        if is_older(connection, tables):
            migrate(connection, tables)
        create_missing(connection, tables, find_missing(connection, tables, settings))
        identity = connection.execute(sa.select(tables.info.c.uuid)).scalar()
        if identity is None:
            identity = str(uuid.uuid4())
            facts = {"id": 1, "uuid": identity, "schema_version": SCHEMA_VERSION, "created_at": utc_now()}
            connection.execute(tables.info.insert(), facts)
    return str(identity)


@contextmanager
def _alone(engine: sa.Engine, settings: StoreSettings) -> Iterator[None]:
    """Hold MySQL's advisory lock, as its CREATE statements are no part of a transaction. SQLite's are."""
    if not settings.is_mysql:
        yield
        return
    name = {"name": f"orb:{settings.database}"[:64]}
    with engine.connect() as connection:
        taken = connection.execute(sa.text(f"SELECT GET_LOCK(:name, {PATIENCE_SECONDS})"), name).scalar()
        if taken != 1:
            reason = f"another process has been creating tables for {PATIENCE_SECONDS} s"
            raise Unreachable("MySQL", address(settings.place), reason, "try again")
        try:
            yield
        finally:
            connection.execute(sa.text("SELECT RELEASE_LOCK(:name)"), name)


def _prepare_folder(settings: StoreSettings, create: bool) -> None:
    if not create:
        if not settings.sqlite.is_file():
            raise _no_results(settings)
        return
    try:
        settings.sqlite.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = "set ORB_HOME to a folder that may be written"
        raise Unreachable("SQLite", str(settings.sqlite), str(error), fix) from error


def _no_results(settings: StoreSettings) -> BadInput:
    return BadInput("results", f"no results yet at {settings.where}", "run backtests first, or name another database")


def _sqlite_engine(settings: StoreSettings, create: bool) -> sa.Engine:
    """Return an engine whose transactions begin when SQLAlchemy says so; those that write, with the write lock."""
    uri = f"{settings.sqlite.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("orb_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(engine: sa.Engine) -> None:
    """Let readers read while one process writes. Where the file is too busy to change, it works without."""
    connection = engine.raw_connection()
    try:
        for _ in range(50):
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError:
                time.sleep(0.05)
            else:
                return
    finally:
        connection.close()
