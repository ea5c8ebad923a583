"""Pooled runs on a lab: rows equal the kernel, whatever a worker holds of the tickers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.inputs import Input
from orbresearch.lab import worker
from orbresearch.lab.display import backtest, under_other_path
from orbresearch.lab.members import Members
from orbresearch.plan import make_plan
from tests.lab.conftest import GRID

pytestmark = [pytest.mark.usefixtures("lab_home"), pytest.mark.filterwarnings("ignore:distances are in dollars")]

RULES = orb.Rules(commission=0.0005, select=("own", "==", 1))


@pytest.fixture(scope="module")
def tickers() -> dict[str, orb.Sessions]:
    """Three tickers, each of them selected on two of three days; the last one never."""
    found = {}
    for at, ticker in enumerate(("ONE", "TWO", "THREE", "NEVER")):
        one = orb.synthetic_sessions(35, seed=20 + at, ticker=ticker).between(f"2024-01-{10 + at}", None)
        own = [float((day + at) % 3 != 0 and ticker != "NEVER") for day in range(len(one))]
        found[ticker] = one.join(pd.Series(own, one.dates, name="own"))
    return found


@pytest.mark.parametrize("rules", [orb.Rules(measure="dollars"), RULES], ids=["plain", "selected"])
def test_a_pooled_run_is_stored_as_run_grid_has_it(lab, tickers, rules):
    run = lab.submit(tickers, GRID, [300, 900], rules, pool=True).wait()
    expected = orb.run_grid(tickers, GRID, [300, 900], rules, pool=True)
    pd.testing.assert_frame_equal(run.results(), expected, check_exact=True)
    assert run.complete
    assert len(expected) == 2 * len(GRID)
    assert set(expected["ticker"]) == {"POOL:NEVER+ONE+THREE+TWO"}
    best = orb.results(run.run_id, ticker="POOL:NEVER+ONE+THREE+TWO", order_by="sharpe_ratio", limit=1)
    assert best["sharpe_ratio"][0] == expected["sharpe_ratio"].max()
    assert "POOL:NEVER+ONE+THREE+TWO" in orb.open_run(run.run_id).conditions()


def test_many_chunks_of_a_pooled_run_are_the_same_rows(lab, tickers):
    rules = orb.Rules(commission=0.002, select=("own", "==", 1))
    plan = make_plan(tickers, GRID, [300, 600], rules, pool=True)
    run = lab.submit_plan(replace(plan, chunk_rows=5)).wait()
    expected = orb.run_grid(tickers, GRID, [300, 600], rules, pool=True)
    pd.testing.assert_frame_equal(run.results(), expected, check_exact=True)


def test_the_best_of_a_pooled_run_and_its_summary_are_those_of_all_rows(lab, tickers):
    grid = orb.ParameterGrid(orb.frange(0.2, 1.2, 0.2), [1, 3], [0, 60], [1, 2])
    run = lab.submit(tickers, grid, 300, RULES, pool=True, keep=orb.Best(7, min_sessions=10)).wait()
    expected = orb.run_grid(tickers, grid, 300, RULES, pool=True)
    order = expected.sort_values(["sharpe_ratio", "backtest_id"], ascending=[False, True])
    assert run.best(7).backtest_id.tolist() == order.backtest_id.head(7).tolist()
    found = run.summary("stop_distance").set_index("stop_distance")
    assert set(found["ticker"]) == {"POOL:NEVER+ONE+THREE+TWO"}
    by_stop = expected.groupby("stop_distance")["sharpe_ratio"].max()
    assert found["sharpe_max"].to_dict() == pytest.approx(by_stop.to_dict())


def test_a_pooled_backtest_has_no_trades_to_show_and_says_so(lab, tickers, capfd):
    run = lab.submit(tickers, GRID, 300, pool=True).wait()
    lab.lifecycle_result_data()
    row = run.results(limit=1)
    for call in (backtest, orb.display, orb.trade_stats):
        with pytest.raises(BadInput, match="means over 4 tickers, without trades and a price of their own"):
            call(row["backtest_id"][0])
    with pytest.raises(BadInput, match="means over 4 tickers"):
        under_other_path(row, tickers["ONE"])
    assert "were not stored" not in capfd.readouterr().err


def test_a_worker_keeps_the_members_that_fit_and_loads_the_others_again(tickers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = make_plan(tickers, GRID, 300, pool=True).inputs[0]
    inputs, loaded = list(pool.members), []

    def load(at: int) -> Input:
        loaded.append(at)
        return inputs[at]

    size = 48 * max(len(member.series.columns["time"]) for member in inputs)
    for most, again in ((0, [0, 1, 2, 3]), (2 * size, [2, 3]), (10 * size, [])):
        members = Members(load, 4, most)
        assert list(members) == inputs
        loaded.clear()
        assert list(members) == inputs
        assert loaded == again


def test_a_pool_is_loaded_from_redis_as_it_was_planned(lab, tickers):
    plan = make_plan(tickers, GRID, 300, RULES, pool=True)
    lab.stage(plan)
    described = worker.json.dumps(worker._describe(plan.inputs[0]))
    pool = worker._load_pool(lab._services.staging, described)
    assert pool.days.tolist() == plan.inputs[0].days.tolist()
    assert [member.ticker for member in pool.members] == ["ONE", "THREE", "TWO"]  # who is never present is not loaded
    for member, planned in zip(pool.members, plan.staged, strict=True):
        assert (member.series.hash, member.days_hash) == (planned.series.hash, planned.days_hash)
