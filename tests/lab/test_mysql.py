"""The main job into MySQL, as the user's environment variables say."""

from __future__ import annotations

import time

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.store.connection import close_store
from tests.lab.conftest import GRID

QUERY = """
SELECT backtest_id, (stop_distance / backtest_profit) * stop_count_limit AS risk_adjusted_win_rate,
       backtest_profit, win_rate_percent, average_holding_period
FROM results.results ORDER BY risk_adjusted_win_rate DESC LIMIT 20
"""


def connections(server, database, seconds=5.0):
    """Return how many connections to a database there are, once there is none or after so many seconds."""
    end, found = time.monotonic() + seconds, 1
    with server.connect() as connection, connection.cursor() as cursor:
        while found and time.monotonic() < end:
            cursor.execute("SELECT count(*) FROM information_schema.processlist WHERE db = %s", [database])
            found = cursor.fetchone()[0]
            time.sleep(0.1)
    return found


@pytest.mark.mysql
def test_the_job_lands_in_mysql_where_the_users_query_runs_unchanged(server, sessions, monkeypatch):
    database = server.create_database("results")
    settings = server.settings(database)
    for name, value in settings.to_environ().items():
        monkeypatch.setenv(name, value)
    with orb.Lab(n_workers=1, quiet=True) as lab:
        run = lab.submit(sessions, GRID, range_duration=300).wait()
        assert "rows to MySQL" in lab.lifecycle_result_data()["message"]
        close_store(lab.store)
        assert connections(server, database) == 0, "of the workers, of whom there may be more than a server grants"
    expected = orb.run_grid(sessions, GRID, 300)
    pd.testing.assert_frame_equal(orb.open_run(run.run_id).results(), expected, check_exact=True)
    with server.connect("results") as connection, connection.cursor() as cursor:
        cursor.execute(QUERY)
        rows = cursor.fetchall()
        cursor.execute("SELECT tickers, first_session, sessions, backtests, quality FROM runs")
        told = cursor.fetchall()
        cursor.execute("SELECT backtest_id, sharpe_ratio FROM best_per_run")
        best = cursor.fetchall()
    value = (expected.stop_distance / expected.backtest_profit * expected.stop_count_limit).sort_values(ascending=False)
    assert [row[1] for row in rows] == pytest.approx(value.head(20).tolist())
    assert told[0][0] == "SYNTHETIC"
    assert told[0][2:4] == (40, 32)
    assert best[0][0] == run.best(1).backtest_id.iloc[0]
    server.drop_database(database)
