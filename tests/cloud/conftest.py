"""An emulated account for each module: stack, Redis and database stand, nothing runs; at its end it must be empty."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import pytest

import orbresearch as orb
from orbresearch.settings import StoreSettings
from tests.servers_mysql import RestartableMySQL, require_server, restartable_mysql

if TYPE_CHECKING:
    from tests.emulator import Emulator

T = TypeVar("T")
ALLOW = "203.0.113.7/32"


@pytest.fixture(scope="module")
def database() -> Iterator[RestartableMySQL]:
    """Return a MariaDB that can be ended and started again."""
    require_server()
    with restartable_mysql() as started:
        yield started


@pytest.fixture(scope="module")
def store_settings(database: RestartableMySQL) -> StoreSettings:
    return database.server.settings(database.server.create_database())


@pytest.fixture(scope="module")
def module_environ(tmp_path_factory: pytest.TempPathFactory, store_settings: StoreSettings) -> dict[str, str]:
    return {**store_settings.to_environ(), "ORB_HOME": str(tmp_path_factory.mktemp("home"))}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, module_environ: dict[str, str]) -> Iterator[Emulator]:
    """Return an account with a stack and Redis."""
    from tests.emulator import emulate  # moto takes seconds to import

    with emulate(tmp_path_factory.mktemp("cloud")) as account, pytest.MonkeyPatch.context() as patch:
        for name, value in {**account.environ, **module_environ}.items():
            patch.setenv(name, value)
        orb.cloud.deploy(allow=ALLOW, image_tag="emulated")
        orb.cloud.start_redis()
        yield account
        soon_empty(lambda: [task for task in account.every_task() if task.status != "STOPPED"])
        orb.cloud.stop_redis(force=True)
        orb.cloud.delete()
        assert soon_empty(lambda: left_over(account)) == []


@pytest.fixture
def pointed(
    own_home: object, cloud: Emulator, module_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Emulator:
    """Point this process at the account, as the fixtures of the module were."""
    for name, value in {**cloud.environ, **module_environ}.items():
        monkeypatch.setenv(name, value)
    return cloud


@pytest.fixture
def at_work(pointed: Emulator) -> Iterator[Emulator]:
    """Return the account; what a test leaves running is its failure, and is removed."""
    cloud = pointed
    yield cloud
    left = soon_empty(cloud.tasks)
    if left:
        orb.cloud.sweep(redis=False)
    assert left == []


def left_over(account: Emulator) -> list[str]:
    """Return what an account still holds, without the roles that AWS' own services take once and that cost nothing."""
    return [one for one in account.leftovers() if "AWSServiceRoleFor" not in one]


def soon_empty(what: Callable[[], list[T]], seconds: float = 20.0) -> list[T]:
    """Return what a listing holds once it is empty, or after so many seconds: processes end in moments."""
    end = time.monotonic() + seconds
    while (found := what()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def until(what: Callable[[], object], seconds: float = 60.0) -> object:
    """Wait until something is true; fail where it does not become so."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)
    return found
