"""SQLAlchemy engines for MySQL and MariaDB: strict SQL, time limits, TLS where asked for, no file for any server."""

from __future__ import annotations

import ssl
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from orbresearch.settings import MySQLSettings
from orbresearch.sql.failures import FILE_ASKED, code_of

CONNECT_SECONDS = 5
ANSWER_SECONDS = 600  # a server that is silent for longer is taken for dead


def mysql_engine(server: MySQLSettings, *, local_infile: bool = False, pool_size: int = 5) -> sa.Engine:
    """Return an engine with strict SQL. The password is given to the driver alone, as UTF-8."""
    url = sa.URL.create("mysql+pymysql", server.username, host=server.host, port=server.port, database=server.database)
    arguments: dict[str, object] = {
        "password": server.password.encode(),
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": ANSWER_SECONDS,
        "write_timeout": ANSWER_SECONDS,
        "sql_mode": "TRADITIONAL",
        "local_infile": local_infile,
    }
    if server.tls:
        arguments["ssl"] = _context(server)
    engine = sa.create_engine(
        url,
        connect_args=arguments,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=pool_size,
        hide_parameters=True,
    )
    _guard(engine)
    if server.tls:
        _require_tls(engine)
    return engine


def _context(server: MySQLSettings) -> ssl.SSLContext:
    """Return what verifies a certificate's name, and that somebody signed it who is trusted."""
    context = ssl.create_default_context()  # the system's authorities; SSL_CERT_FILE names others
    if server.tls_ca:
        context.load_verify_locations(cadata=server.tls_ca)  # beside them: Amazon RDS, say, signs with its own
    return context


def _guard(engine: sa.Engine) -> None:
    """Give the engine connections that open no file, and drop one whose server asked for a file."""
    from orbresearch.sql.loadlocal import GuardedConnection  # SQLite needs no PyMySQL

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
