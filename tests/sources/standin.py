"""A warehouse that remembers what it was asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import sqlalchemy as sa

from orbresearch.sources.warehouse.warehouse import Warehouse
from tests.servers_mysql import MySQLServer


class StandIn(Warehouse):
    """Keeps its statements."""

    def __init__(self, place: Path | MySQLServer) -> None:
        super().__init__(f"sqlite:///{place}" if isinstance(place, Path) else url_of(place))
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    @property
    def engine(self) -> sa.Engine:
        return self._open()

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        self.asked.append((sql, params or {}))
        return super().query(sql, params)


def attached(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for name in ("options", "stocks"):
        connection.execute(f"ATTACH 'file:{path}?mode=ro' AS {name}")
    return connection


def url_of(server: MySQLServer) -> str:
    return f"mysql://{server.username}:{quote(server.password)}@{server.host}:{server.port}"
