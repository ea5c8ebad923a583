"""Connections to the warehouse. Nothing can be written through them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import MySQLSettings, SQLiteSettings, read_warehouse
from orbresearch.sql.engines import mysql_engine
from orbresearch.sql.failures import Place

_FORMS = (
    'give "mysql://user@host:port" with the password in SQL_PASSWORD, or "sqlite:///prices.sqlite", '
    "or set SQL_HOSTNAME and name none"
)
_MYSQL_PORT = 3306


def find_place(url: str | None, env_file: Any = None) -> Place:
    """Return where the warehouse is: what a URL says, else the environment.

    Parameters
    ----------
    url : str, optional
        ``mysql://user:password@host:port``, user and password from ``SQL_USERNAME`` and ``SQL_PASSWORD`` where it has
        none; or ``sqlite:///file``.

    Raises
    ------
    BadInput
        What is no such URL, or says more than that.
    """
    if url is None:
        return read_warehouse(env_file)
    try:
        found = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # what they say holds the URL, and that may hold a password
        raise _refused("that is no URL") from None
    kind = found.drivername.partition("+")[0]
    if kind not in ("sqlite", "mysql", "mariadb"):
        raise _refused(f"{kind}:// is no warehouse")
    if found.query:
        raise _refused(f"{kind}:// takes nothing after a ?")
    return _file(found) if kind == "sqlite" else _server(found, env_file)


def _refused(wrong: str) -> BadInput:
    return BadInput("warehouse", wrong, _FORMS)


def _file(url: sa.URL) -> SQLiteSettings:
    if url.host or not url.database or url.database == ":memory:":
        raise _refused("sqlite:// names no file: it takes three slashes, and a fourth before a full path")
    return SQLiteSettings(Path(url.database).expanduser().resolve(), "name another file")


def _server(url: sa.URL, env_file: Any) -> MySQLSettings:
    """Return a server; nothing of the URL is shown: an ``@`` in a password shifts its parts."""
    if not url.host or "@" in url.host:
        raise _refused("mysql:// names no host (in a password, write @ as %40)")
    if url.database:
        raise _refused("mysql:// takes no database: greeks= and closes= name the tables with theirs")
    if url.port is not None and not 0 < url.port < 65536:
        raise _refused("mysql:// has a port that is none")
    facts = {"SQL_USERNAME": url.username, "SQL_PASSWORD": url.password}
    given = {name: str(value) for name, value in facts.items() if value is not None}
    return read_warehouse(env_file, given={"SQL_HOSTNAME": url.host, "SQL_PORT": str(url.port or _MYSQL_PORT), **given})


def open_engine(place: Place, schemas: tuple[str, ...], connections: int) -> sa.Engine:
    """Return an engine that only reads.

    Parameters
    ----------
    schemas : tuple of str
        Under which names a SQLite file is attached, so that ``options.greeks`` means the same everywhere.
    connections : int
        How many are open at once.
    """
    if isinstance(place, MySQLSettings):
        engine = mysql_engine(place, pool_size=connections)

        @sa.event.listens_for(engine, "connect")
        def only_read(connection: Any, _: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION READ ONLY")

        return engine
    if not place.path.is_file():
        reason = "that is a folder" if place.path.is_dir() else "there is no such file"
        raise Unreachable("SQLite", str(place.path), reason, place.way_out)
    file = f"{place.path.as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file, uri=True, check_same_thread=False)
        for schema in dict.fromkeys(schemas):
            if schema != "main":
                connection.execute(f"ATTACH ? AS {_quoted(schema)}", (file,))
        return connection

    return sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
