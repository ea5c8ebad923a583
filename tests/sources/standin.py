"""The one method of a warehouse that screening needs: a SELECT, the same for SQLite and MySQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import sqlalchemy as sa

from tests.servers_mysql import MySQLServer


class StandIn:
    """Counts the statements that it ran, and keeps the last."""

    def __init__(self, place: Path | MySQLServer) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        if isinstance(place, Path):
            self.engine = sa.create_engine("sqlite://", creator=lambda: attached(place), poolclass=sa.NullPool)
        else:
            self.engine = sa.create_engine("mysql+pymysql://", creator=place.connect, poolclass=sa.NullPool)

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        self.asked.append((sql, params or {}))
        lists = [name for name, value in (params or {}).items() if isinstance(value, list)]
        statement = sa.text(sql).bindparams(*(sa.bindparam(name, expanding=True) for name in lists))
        with self.engine.connect() as connection:
            result = connection.execute(statement, dict(params or {}))
            return pd.DataFrame.from_records(result.fetchall(), columns=list(result.keys()), coerce_float=True)


def attached(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for name in ("options", "stocks"):
        connection.execute(f"ATTACH 'file:{path}?mode=ro' AS {name}")
    return connection


def url_of(server: MySQLServer) -> str:
    return f"mysql://{server.username}:{quote(server.password)}@{server.host}:{server.port}"
