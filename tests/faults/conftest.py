"""Servers that all fault tests share, and connections to an empty store of either kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orbresearch.lab.services import Services
from orbresearch.settings import Settings, StoreSettings
from tests.faults.stage import Servers, open_servers, opened_services
from tests.servers_mysql import require_server


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Return a Redis and a MariaDB that can be ended and started again."""
    require_server()
    with open_servers() as started:
        yield started


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def settings(request: pytest.FixtureRequest, servers: Servers, own_home: Path) -> Iterator[Settings]:
    """Return settings of an empty Redis and an empty store."""
    servers.revive()
    if request.param == "sqlite":
        yield Settings(own_home, servers.redis.settings, StoreSettings(own_home / "results.sqlite"))
        return
    database = servers.mysql.server.create_database()
    yield Settings(own_home, servers.redis.settings, servers.mysql.server.settings(database))
    servers.mysql.start()
    servers.mysql.server.drop_database(database)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """Return connections to both."""
    with opened_services(settings) as opened:
        yield opened
