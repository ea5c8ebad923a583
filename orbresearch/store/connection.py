"""Opening the results database: one SQLAlchemy engine per store, one dialect or the other."""

from __future__ import annotations

import sqlite3
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import NullPool

from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import StoreSettings
from orbresearch.store.failures import FILE_ASKED, address, code_of, translated
from orbresearch.store.shape import create_missing, find_missing, is_older, migrate
from orbresearch.store.tables import SCHEMA_VERSION, Tables, make_tables

CONNECT_SECONDS = 5
PATIENCE_SECONDS = 30  # for another process's write (SQLite) or creation of tables (MySQL)
ANSWER_SECONDS = 600  # a server that is silent for longer is taken for dead


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
    engine = _mysql_engine(settings) if settings.is_mysql else _sqlite_engine(settings, create)
    try:
        with translated(settings):
            identity = _prepare(engine, tables, settings, create)
    except BaseException:
        engine.dispose()
        raise
    dialect, loading = "SQLite", Loading()
    if settings.is_mysql:
        dialect, loading = "MySQL", Loading(_mysql_engine(settings, local_infile=True))
    return Store(settings, engine, tables, identity, dialect, settings.where, loading)


def close_store(store: Store) -> None:
    """Close the store's connections. It opens new ones when used again."""
    store.engine.dispose()
    if store.loading.engine is not None:
        store.loading.engine.dispose()


@contextmanager
def reading(store: Store) -> Iterator[sa.Connection]:
    """Lend a connection for queries. What the driver raises becomes ``Unreachable``."""
    with translated(store.settings), store.engine.connect() as connection:
        yield connection


@contextmanager
def writing(store: Store, *, rows: bool = False) -> Iterator[sa.Connection]:
    """Lend a connection inside one transaction: committed at the end, rolled back on any exception.

    For ``rows``, one that may load them, unless the server is known to refuse that.
    """
    loads = store.loading.engine if rows and not store.loading.refusal else None
    with translated(store.settings), _transaction(loads or store.engine) as connection:
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
            raise Unreachable("MySQL", address(settings), reason, "try again")
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


def _mysql_engine(settings: StoreSettings, *, local_infile: bool = False) -> sa.Engine:
    """Return an engine with strict SQL. The password is given to the driver alone, as UTF-8."""
    url = sa.URL.create(
        "mysql+pymysql", settings.username, host=settings.endpoint, port=settings.port, database=settings.database
    )
    arguments: dict[str, object] = {
        "password": settings.password.encode(),
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": ANSWER_SECONDS,
        "write_timeout": ANSWER_SECONDS,
        "sql_mode": "TRADITIONAL",
        "local_infile": local_infile,
    }
    if settings.tls:
        arguments["ssl"] = ssl.create_default_context()  # the system's CAs; SSL_CERT_FILE names others
    engine = sa.create_engine(
        url, connect_args=arguments, isolation_level="READ COMMITTED", pool_pre_ping=True, hide_parameters=True
    )
    _guard(engine)
    if settings.tls:
        _require_tls(engine)
    return engine


def _guard(engine: sa.Engine) -> None:
    """Give the engine connections that open no file, and drop one whose server asked for a file."""
    from orbresearch.store.loadlocal import GuardedConnection  # SQLite needs no PyMySQL

    @sa.event.listens_for(engine, "do_connect")
    def connect(_: object, __: object, positional: tuple[Any, ...], named: dict[str, Any]) -> GuardedConnection:
        return GuardedConnection(*positional, **named)

    @sa.event.listens_for(engine, "handle_error")
    def drop(context: sa.ExceptionContext) -> None:
        if isinstance(context.sqlalchemy_exception, sa.exc.DBAPIError):
            context.is_disconnect |= code_of(context.sqlalchemy_exception) == FILE_ASKED


def _require_tls(engine: sa.Engine) -> None:
    """Refuse a connection that an older PyMySQL made without TLS because the server offers none."""

    @sa.event.listens_for(engine, "connect")
    def check(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        found = cursor.fetchone()
        cursor.close()
        if not found or not found[1]:
            connection.close()
            raise engine.dialect.loaded_dbapi.OperationalError(2026, "the connection is not encrypted")
