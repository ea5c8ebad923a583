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

_FORMS = 'give "mysql://user@host:port" or "sqlite:///prices.sqlite", or set SQL_HOSTNAME and name none'


def find_place(url: str | None, env_file: Any = None) -> Place:
    """Return where the warehouse is: what a URL says, else the environment.

    Parameters
    ----------
    url : str, optional
        ``mysql://user:password@host:port``, the password from ``SQL_PASSWORD`` where it has none; or
        ``sqlite:///file``.

    Raises
    ------
    BadInput
        Another kind of URL, a file that is not there.
    """
    if url is None:
        return read_warehouse(env_file)
    try:
        found = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # what they say holds the URL, and that may hold a password
        raise BadInput("warehouse", "that is no URL", _FORMS) from None
    if found.drivername.startswith("sqlite") and found.database:
        return SQLiteSettings(Path(found.database).expanduser().resolve(), "name another file")
    if not found.drivername.startswith(("mysql", "mariadb")) or not found.host:
        raise BadInput("warehouse", f"{found.drivername}:// is no warehouse", _FORMS)
    facts = {"SQL_HOSTNAME": found.host, "SQL_USERNAME": found.username, "SQL_PASSWORD": found.password}
    given = {name: value for name, value in facts.items() if value is not None}
    return read_warehouse(env_file, given=given | ({"SQL_PORT": str(found.port)} if found.port else {}))


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
        raise Unreachable("SQLite", str(place.path), "there is no such file", place.way_out)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect("file:warehouse?mode=memory", uri=True, check_same_thread=False)
        for schema in dict.fromkeys(schemas):
            connection.execute(f'ATTACH ? AS "{schema}"', (f"{place.path.as_uri()}?mode=ro",))
        return connection

    return sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
