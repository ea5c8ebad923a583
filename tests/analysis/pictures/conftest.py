"""What pictures are taken of: backtests and results of a synthetic market, computed once."""

from __future__ import annotations

import pandas as pd
import pytest

import orbresearch as orb

GRID = orb.ParameterGrid(
    stop_distance=[0.2, 0.4, 0.8, 1.6],
    stop_count_limit=[1, 3],
    stop_cooloff_period=[0, 300],
    limit_distance=[None, 0.5, 1, 2, 4],
)


@pytest.fixture(scope="session")
def sessions() -> orb.Sessions:
    return orb.synthetic_sessions(60, seed=5)


@pytest.fixture(scope="session")
def one(sessions: orb.Sessions) -> orb.Backtest:
    return orb.run_backtest(sessions, 300, 0.5, 3, 60, 2, orb.Rules(commission=0.0005))


@pytest.fixture(scope="session")
def idle(sessions: orb.Sessions) -> orb.Backtest:
    """Return a backtest whose entries lie so far away that it never trades."""
    return orb.run_backtest(sessions, 300, 0.5, 1, 60, 2, orb.Rules(entry_buffer=100))


@pytest.fixture(scope="session")
def rows(sessions: orb.Sessions) -> pd.DataFrame:
    return orb.run_grid(sessions, GRID, 300)
