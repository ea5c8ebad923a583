"""The cloud's notebook by papermill, from an empty account to an empty account."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import orbresearch as orb
from tests.cloud.conftest import ALLOW, left_over
from tests.notebooks.test_notebooks import papermill
from tests.servers_mysql import MySQLServer

pytestmark = [pytest.mark.slow, pytest.mark.mysql]


def test_the_notebook_leaves_its_rows_and_nothing_else(
    tmp_path: Path, own_home: Path, server: MySQLServer, monkeypatch: pytest.MonkeyPatch
):
    from tests.emulator import emulate

    settings = server.settings(server.create_database())
    with emulate(tmp_path / "cloud") as account:
        for name, value in {**account.environ, **settings.to_environ()}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        said = papermill(
            "06_cloud.ipynb",
            tmp_path,
            own_home,
            ALLOW=ALLOW,
            IMAGE_TAG="emulated",
            N_WORKERS=2,
            SESSIONS=60,
            KEEP_STACK=False,
        )
        assert "9,747 of 9,747 backtests" in said
        assert "Reality Check" in said
        assert "2 workers: $0.13 an hour" in said
        assert "Redis goes on until orb.cloud.stop_redis()" in said
        assert "arn:" not in said
        assert left_over(account) == []
        runs = orb.runs()
        rows = orb.results(runs.run_id.iloc[0], limit=None)
    assert runs.backtests.tolist() == [9747]
    expected = orb.run_grid(orb.synthetic_sessions(60), orb.seed_grid(), 300)
    same = ["backtest_profit", "sharpe_ratio", "trades", "max_drawdown"]
    pd.testing.assert_frame_equal(rows[same], expected[same], check_dtype=False, check_exact=True)
