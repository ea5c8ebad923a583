"""Every test that asks for `settings` or `store` runs on SQLite and on a private MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orbresearch.settings import StoreSettings
from orbresearch.store.connection import Store, close_store, open_store
from tests.servers_mysql import MySQLServer


@pytest.fixture
def refusing_settings(server: MySQLServer, mysql_settings: StoreSettings) -> Iterator[StoreSettings]:
    """An empty database of a server that refuses LOAD DATA LOCAL, as MySQL 8 does unless told otherwise."""
    server.run("SET GLOBAL local_infile = 0")
    yield mysql_settings
    server.run("SET GLOBAL local_infile = 1")


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(tmp_path / "the results.sqlite")


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    """An empty database of either kind."""
    found: StoreSettings = request.getfixturevalue(f"{request.param}_settings")
    return found


@pytest.fixture
def store(settings: StoreSettings) -> Iterator[Store]:
    opened = open_store(settings)
    yield opened
    close_store(opened)
