"""Labs of the tests' own: real workers, real Redis, SQLite or a private MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import orbresearch as orb

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
