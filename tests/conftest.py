"""What all tests share: how hard hypothesis tries, and where the real market data are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from orbresearch.settings import StoreSettings
from tests.authority import Authority
from tests.servers_mysql import MySQLServer, mysql_server, require_server

_RELAXED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", max_examples=25, **_RELAXED)
settings.register_profile("default", max_examples=100, **_RELAXED)
settings.register_profile("thorough", max_examples=1500, **_RELAXED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_WHOSE = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION")  # whose account it is

MARKET_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def market_data() -> Path:
    """Return the folder of real market data, beside the project; skip where it is not there."""
    if not MARKET_DATA.is_dir():
        pytest.skip(f"real market data are not at {MARKET_DATA.parent.name}/{MARKET_DATA.name} beside the project")
    return MARKET_DATA


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a home of its own and an environment without the user's servers."""
    for name in list(os.environ):
        if name.startswith(("ORB_", "REDIS_", "DB_", "SQL_")) or name in _WHOSE:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("ORB_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return a certificate authority that no system knows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server() -> Iterator[MySQLServer]:
    """Return a private MariaDB or MySQL; skip (in CI: fail) where none is installed."""
    require_server()
    with mysql_server() as started:
        yield started


@pytest.fixture
def mysql_settings(server: MySQLServer) -> Iterator[StoreSettings]:
    """Return where an empty database of that server is; it goes afterwards."""
    database = server.create_database()
    yield server.settings(database)
    server.drop_database(database)
