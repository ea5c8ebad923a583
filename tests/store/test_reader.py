from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from orbresearch import schema
from orbresearch.errors import BadInput
from orbresearch.settings import StoreSettings
from orbresearch.store.connection import Store, close_store, open_store
from orbresearch.store.reader import (
    fetch,
    read_best,
    read_family,
    read_ranking,
    read_results,
    read_run,
    read_runs,
)
from orbresearch.store.writer import persist_chunk, register_run
from tests.servers_mysql import MySQLServer
from tests.store.rows import OTHER, RUN, make_batch, make_record, run_sql

USERS_QUERY = (
    "SELECT backtest_id, (stop_distance / backtest_profit) * stop_count_limit AS risk_adjusted_win_rate, "
    "backtest_profit, win_rate_percent, average_holding_period FROM results.results WHERE win_rate_percent > 0 "
    "ORDER BY risk_adjusted_win_rate DESC LIMIT 20"
)
NAN = math.nan


def numbers(frame: pd.DataFrame) -> list[int]:
    """Return the index of each row's backtest in its run."""
    return [int(name[-10:]) for name in frame["backtest_id"]]


def fill(store: Store, run_id: str = RUN, **columns: Any) -> None:
    n = max((len(values) for values in columns.values() if isinstance(values, list)), default=5)
    persist_chunk(store, run_id, 0, make_batch(run_id, n=n, **columns))


def test_an_empty_frame_has_the_columns_and_types_of_a_full_one(store: Store) -> None:
    expected = schema.RESULTS.empty_table().to_pandas()
    pd.testing.assert_frame_equal(read_results(store, RUN), expected)
    pd.testing.assert_frame_equal(read_best(store, RUN, 3), expected)
    fill(store, sharpe_ratio=NAN)
    found = read_results(store, RUN)
    pd.testing.assert_series_equal(found.dtypes, expected.dtypes)
    assert found["sharpe_ratio"].isna().all()


def test_rows_come_in_the_order_of_the_run(store: Store) -> None:
    for first in (10, 0, 5):
        persist_chunk(store, RUN, first, make_batch(first=first))
    assert numbers(read_results(store, RUN)) == list(range(15))
    assert numbers(read_results(store, RUN, descending=True, limit=3)) == [14, 13, 12]


@pytest.mark.parametrize(
    ("descending", "expected"), [(None, [2, 0, 4, 3, 1, 5]), (True, [2, 0, 4, 3, 1, 5]), (False, [3, 0, 4, 2, 1, 5])]
)
def test_ties_stand_in_id_order_and_missing_values_last(
    store: Store, descending: bool | None, expected: list[int]
) -> None:
    fill(store, sharpe_ratio=[0.5, NAN, 2.0, -1.0, 0.5, NAN])
    assert numbers(read_results(store, RUN, order_by="sharpe_ratio", descending=descending)) == expected
    assert numbers(read_results(store, RUN, order_by="sharpe_ratio", descending=descending, limit=2)) == expected[:2]


def test_tickers_ascend_and_compare_byte_by_byte(store: Store) -> None:
    fill(store, ticker=["b", "B", "a", "A", "Ä"])
    assert read_results(store, RUN, order_by="ticker")["ticker"].tolist() == ["A", "B", "a", "b", "Ä"]


def test_only_the_asked_columns_come_in_the_asked_order(store: Store) -> None:
    fill(store)
    found = read_results(store, RUN, order_by="trades", columns=["sharpe_ratio", "backtest_id"], limit=2)
    assert list(found) == ["sharpe_ratio", "backtest_id"]
    assert len(found) == 2
    assert len(read_results(store, RUN, limit=0)) == 0


@pytest.mark.parametrize(
    "wrong", [{"order_by": "profit"}, {"columns": ["profit"]}, {"columns": ["trade_stats"]}, {"order_by": "1; DROP"}]
)
def test_an_unknown_column_is_refused_with_the_known_ones(store: Store, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"columns are backtest_id, run_id, ticker, .*resolved"):
        read_results(store, RUN, **wrong)


def test_a_negative_number_of_rows_is_refused(store: Store) -> None:
    with pytest.raises(BadInput, match="limit: -1"):
        read_results(store, RUN, limit=-1)
    with pytest.raises(BadInput, match="n: -1"):
        read_best(store, RUN, -1)


def test_best_is_the_highest_sharpe_ratio_of_the_resolved_with_thirty_sessions(store: Store) -> None:
    fill(
        store,
        sharpe_ratio=[1.0, 9.0, 8.0, NAN, 1.0, 2.0, -3.0],
        resolved=[1, 0, 1, 1, 1, 1, 1],
        sessions_traded=[30, 99, 29, 99, 30, 30, 30],
    )
    assert numbers(read_best(store, RUN, 10)) == [5, 0, 4, 6]
    assert numbers(read_best(store, RUN, 2)) == [5, 0]
    assert numbers(read_best(store, RUN, 2, unresolved=True)) == [1, 5]
    assert numbers(read_best(store, RUN, 2, min_sessions=29)) == [2, 5]
    assert len(read_best(store, OTHER, 2)) == 0


def test_best_may_be_asked_by_another_number(store: Store) -> None:
    fill(store, profit_factor=[1.0, NAN, 3.0])
    assert numbers(read_best(store, RUN, 5, by="profit_factor")) == [2, 0]
    for wrong in ("ticker", "backtest_id", "luck"):
        with pytest.raises(BadInput, match=f"by: there is no column '{wrong}'"):
            read_best(store, RUN, 5, by=wrong)


def test_the_view_shows_each_runs_best_row_with_its_facts(store: Store) -> None:
    fill(store, sharpe_ratio=[1.0, 9.0, 8.0, 2.0, 2.0], resolved=[1, 0, 1, 1, 1], sessions_traded=[30, 99, 29, 30, 30])
    fill(store, OTHER, sharpe_ratio=[NAN, -1.0])
    fill(store, "a" * 16, sharpe_ratio=NAN)
    register_run(store, make_record())
    found = fetch(store, "SELECT * FROM best_per_run ORDER BY run_id")
    assert found["backtest_id"].tolist() == [f"{RUN}-0000000003", f"{OTHER}-0000000001"]
    assert list(found)[: len(schema.RESULTS)] == schema.RESULTS.names
    assert found["tickers"].tolist()[0] == "SPY,QQQ"
    assert str(found["first_session"][0]) == "2024-01-02"
    assert found["slippage"][0] == 0.01


def test_the_ranking_is_the_users_own(store: Store) -> None:
    fill(
        store,
        stop_distance=[0.1, 0.2, 0.3, 0.4, 0.5],
        backtest_profit=[2.0, 0.0, -1.0, 0.01, 0.5],
        stop_count_limit=[1, 2, 3, 4, 5],
        win_rate_percent=[50.0, 50.0, 50.0, 0.0, 50.0],
    )
    found = read_ranking(store, RUN, 20)
    assert numbers(found) == [4, 0, 2, 1]
    expected = [0.5 / 0.5 * 5, 0.1 / 2.0 * 1, 0.3 / -1.0 * 3]
    assert found["risk_adjusted_win_rate"].tolist()[:3] == expected
    assert math.isnan(found["risk_adjusted_win_rate"][3])
    assert list(found)[:2] == ["backtest_id", "risk_adjusted_win_rate"]
    assert numbers(read_ranking(store, RUN, 1)) == [4]
    pd.testing.assert_series_equal(read_ranking(store, OTHER, 1).dtypes, found.dtypes)


@pytest.fixture
def store_named_results(request: pytest.FixtureRequest, settings: StoreSettings) -> Iterator[Store]:
    """The database that the user's query names."""
    if not settings.is_mysql:
        store = open_store(settings)
        yield store
        close_store(store)
        return
    server: MySQLServer = request.getfixturevalue("server")
    store = open_store(server.settings(server.create_database("results")))
    yield store
    close_store(store)
    server.drop_database("results")


def test_the_users_query_runs_unchanged(store_named_results: Store) -> None:
    store = store_named_results
    fill(store, backtest_profit=[2.0, 0.0, -1.0, 0.01, 0.5], win_rate_percent=[50.0, 50.0, NAN, 0.0, 50.0])
    query = USERS_QUERY if store.settings.is_mysql else USERS_QUERY.replace("results.results", "results")
    rows = run_sql(store.settings, query)
    ranking = read_ranking(store, RUN, 20)
    assert [row[0] for row in rows] == ranking["backtest_id"].tolist()
    assert rows[0][1] == ranking["risk_adjusted_win_rate"][0]
    assert fetch(store, query)["backtest_id"].tolist() == ranking["backtest_id"].tolist()


def test_runs_and_families_come_newest_first(store: Store) -> None:
    ids = ["1" * 16, "2" * 16, "3" * 16, "4" * 16]
    days, families = [2, 4, 3, 1], ["a" * 16, "b" * 16, "a" * 16, "a" * 16]
    assert len(read_runs(store)) == 0
    empty = read_runs(store).dtypes
    for run_id, day, family in zip(ids, days, families, strict=True):
        made = datetime(2025, 1, day, tzinfo=UTC)
        register_run(store, make_record(run_id, created_at=made, family=family))
    found = read_runs(store)
    assert [name[0] for name in found["run_id"]] == ["2", "3", "1", "4"]
    assert [name[0] for name in read_family(store, "a" * 16)["run_id"]] == ["3", "1", "4"]
    assert found["created_at"][0] == pd.Timestamp(2025, 1, 4, tz="UTC")
    assert found["first_session"][0] == pd.Timestamp(2024, 1, 2)
    pd.testing.assert_series_equal(found.dtypes, empty)


def test_a_run_that_is_not_there_is_none(store: Store) -> None:
    assert read_run(store, RUN) is None


def test_ones_own_query_takes_parameters(store: Store) -> None:
    fill(store, sharpe_ratio=[1.0, NAN, 3.0])
    query = (
        "SELECT backtest_id, sharpe_ratio FROM results WHERE run_id = :run AND ticker LIKE 'S%' ORDER BY backtest_id"
    )
    found = fetch(store, query, {"run": RUN})
    assert found["sharpe_ratio"].dtype == float
    assert len(found) == 3
    assert len(fetch(store, query, {"run": OTHER})) == 0


@pytest.mark.parametrize(
    "query", ["SELECT * FROM nowhere", "SELEC 1", "DELETE FROM results", "DROP TABLE results", "CREATE TABLE x (y INT)"]
)
def test_ones_own_query_can_only_read(store: Store, query: str) -> None:
    fill(store)
    with pytest.raises(BadInput, match="give one SELECT for"):
        fetch(store, query)
    assert len(read_results(store, RUN)) == 5
    assert persist_chunk(store, OTHER, 0, make_batch(OTHER)) == 5
