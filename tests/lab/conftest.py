"""Labs of the tests' own: real workers, real Redis, SQLite or a private MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import orbresearch as orb
from orbresearch.settings import read_settings
from orbresearch.store.connection import Store, close_store, open_store
from orbresearch.store.writer import persist_chunk, register_run
from tests.store.rows import make_record

GRID = orb.ParameterGrid(
    stop_distance=orb.frange(0.2, 1.0, 0.2), stop_count_limit=[1, 3], stop_cooloff_period=[0, 60], limit_distance=[1, 2]
)


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def sessions() -> orb.Sessions:
    return orb.synthetic_sessions(40, seed=3)


@pytest.fixture(scope="module")
def lab(module_home: Path) -> Iterator[orb.Lab]:
    """A lab of two workers with embedded Redis and SQLite, shared by a module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORB_HOME", str(module_home))
        with orb.Lab(n_workers=2, reap_seconds=0.2, quiet=True) as opened:
            yield opened


@pytest.fixture
def lab_home(module_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point this process at the module's home."""
    monkeypatch.setenv("ORB_HOME", str(module_home))
    return module_home


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def store(request: pytest.FixtureRequest, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store that the environment names."""
    if request.param == "mysql":
        server = request.getfixturevalue("server")
        for name, value in server.settings(server.create_database()).to_environ().items():
            monkeypatch.setenv(name, value)
    opened = open_store(read_settings().store)
    yield opened
    close_store(opened)


def keep(store: Store, run_id: str, batch: pa.RecordBatch, **changes: object) -> None:
    """Store a run of one chunk."""
    register_run(store, make_record(run_id, **{"backtests": batch.num_rows, **changes}))
    persist_chunk(store, run_id, 0, batch)
