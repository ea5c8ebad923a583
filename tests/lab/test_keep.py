"""Runs that keep their best rows: what they say is what the full run says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.analysis.performance import compute_plan
from orbresearch.errors import BadInput
from orbresearch.plan import Plan, fit_chunks, make_plan

GRID = orb.ParameterGrid(
    stop_distance=orb.frange(0.2, 1.0, 0.1), stop_count_limit=[1, 3], stop_cooloff_period=[0, 60], limit_distance=[1, 2]
)
KEEP = orb.Best(10)


@pytest.fixture
def plan(seed: Iterator[int]) -> Plan:
    return replace(make_plan(orb.synthetic_sessions(40, seed=next(seed)), GRID, [300, 600]), chunk_rows=20)


@pytest.fixture(scope="module")
def seed() -> Iterator[int]:
    """A market of its own for each test: runs of one do not meet those of another."""
    return iter(range(700, 800))


def best_of(plan: Plan, n: int = KEEP.n) -> pd.DataFrame:
    rows = compute_plan(plan)
    fit = rows[(rows["sessions_traded"] >= 30) & rows["sharpe_ratio"].notna()]
    return fit.sort_values(["sharpe_ratio", "backtest_id"], ascending=[False, True]).head(n).reset_index(drop=True)


def test_the_best_are_those_of_the_full_run_and_so_is_the_summary(lab: orb.Lab, lab_home: Path, plan: Plan) -> None:
    run = lab.submit_plan(plan, keep=KEEP).wait()
    found = run.best(10)
    pd.testing.assert_frame_equal(found, best_of(plan))
    assert len(run.results()) == len(orb.results(run.run_id)) == 10
    assert run.complete
    assert run.status()["persisted"] == len(run) == len(plan) == 128
    assert repr(run).endswith("of which it keeps the best 10 by sharpe_ratio)")
    asked = ("stop_distance", "limit_distance"), ("stop_cooloff_period",)
    brief = [run.summary(*names, together=together) for names in asked for together in (False, True)]
    histogram = orb.open_run(run.run_id).histogram("stop_distance")

    full = lab.submit_plan(plan).wait()
    pd.testing.assert_frame_equal(full.best(10), found)
    assert len(full.results()) == len(plan)
    whole = [full.summary(*names, together=together) for names in asked for together in (False, True)]
    for one, other in zip(brief, whole, strict=True):
        pd.testing.assert_frame_equal(one, other)
    pd.testing.assert_frame_equal(full.histogram("stop_distance"), histogram)
    assert full.summary("stop_distance")["backtests"].tolist() == [8] * 16

    again = lab.submit_plan(plan, keep=KEEP)
    assert again.keep == "all"
    assert again.complete


def test_the_trades_of_the_best_are_stored_as_they_are_made_again(lab: orb.Lab, lab_home: Path, plan: Plan) -> None:
    """Those of 100 of the 128 rows, and of all the 10 that are kept."""
    for keep, stored in ((KEEP, 10), ("all", 100)):
        run = lab.submit_plan(plan, keep=keep).wait()
        query = "SELECT backtest_id, trade_stats FROM results WHERE run_id = :run AND trade_stats IS NOT NULL"
        found = orb.select(query, {"run": run.run_id}).set_index("backtest_id")["trade_stats"]
        eligible = best_of(plan, stored)
        assert sorted(found.index) == sorted(eligible["backtest_id"])
        for name in eligible["backtest_id"].iloc[[0, -1]]:
            assert json.loads(found[name]) == orb.trade_stats(name)
        assert run.facts()["finished_at"] is not None


def test_more_of_the_same_is_computed_anew_and_less_is_not(lab: orb.Lab, lab_home: Path, plan: Plan, capfd) -> None:
    lab.submit_plan(plan, keep=KEEP).wait()
    less = lab.submit_plan(plan, keep=orb.Best(5))
    assert less.complete
    assert less.keep == KEEP
    assert "keeps the best 10 by sharpe_ratio already" in capfd.readouterr().out
    more = lab.submit_plan(plan, keep=orb.Best(15)).wait()
    assert "it is computed anew" in capfd.readouterr().out
    pd.testing.assert_frame_equal(more.best(15), best_of(plan, 15))
    other = lab.submit_plan(plan, keep=orb.Best(4, by="backtest_profit", min_sessions=0)).wait()
    rows = compute_plan(plan).sort_values(["backtest_profit", "backtest_id"], ascending=[False, True])
    best = other.best(4, by="backtest_profit", min_sessions=0)
    assert best["backtest_id"].tolist() == rows["backtest_id"].head(4).tolist()


def test_what_was_not_kept_is_not_called_best(lab: orb.Lab, lab_home: Path, plan: Plan) -> None:
    run = lab.submit_plan(plan, keep=KEEP).wait()
    for asked in ({"by": "backtest_profit"}, {"min_sessions": 5}, {"unresolved": True}):
        with pytest.raises(BadInput, match=r"it keeps the best 10 by sharpe_ratio.*orb.Best"):
            run.best(5, **asked)
    with pytest.raises(BadInput, match="says nothing about the ranking of all"):
        run.ranking(3)
    assert len(run.best(50)) == 10  # all there are
    with pytest.raises(BadInput, match="give one or two of stop_distance"):
        run.summary("stop_distance", "ticker")


def test_a_run_asks_its_best_as_it_keeps_them(lab: orb.Lab, lab_home: Path, plan: Plan) -> None:
    run = lab.submit_plan(plan, keep=orb.Best(6, by="backtest_profit", min_sessions=3)).wait()
    rows = compute_plan(plan).sort_values(["backtest_profit", "backtest_id"], ascending=[False, True])
    assert run.best(3)["backtest_id"].tolist() == rows["backtest_id"].head(3).tolist()
    with pytest.raises(BadInput, match=r"the best 6 by backtest_profit \(min_sessions=3\)"):
        run.best(3, min_sessions=30)
    lab.submit_plan(plan).wait()
    with pytest.raises(BadInput, match=r"it keeps all rows by now; open it as it is: orb.open_run"):
        run.best(3)


def test_a_run_called_off_goes_on_when_submitted_at_once(lab: orb.Lab, lab_home: Path, plan: Plan) -> None:
    """While a chunk of the first submission still computes; and from one way to keep it to another, and back."""
    lab.submit_plan(plan).cancel()
    assert lab.submit_plan(plan).wait().complete
    for keep in (KEEP, orb.Best(20), orb.Best(30), orb.Best(10, by="trades"), KEEP):
        run = lab.submit_plan(plan, keep=keep)
    assert run.wait().keep == "all"  # complete, and more than enough
    other = replace(plan, rules=replace(plan.rules, commission=0.01))
    for keep in (KEEP, orb.Best(20), orb.Best(10, by="trades"), KEEP):
        run = lab.submit_plan(other, keep=keep)
    pd.testing.assert_frame_equal(run.wait().best(10), best_of(other))


def test_two_ways_to_keep_a_run_do_not_mix(lab: orb.Lab, lab_home: Path, plan: Plan) -> None:
    """The second is submitted while the first computes: its results come too late for the store."""
    lab.submit_plan(plan, keep=KEEP)
    run = lab.submit_plan(plan).wait()
    assert len(run.results()) == len(plan)
    assert lab.runs().set_index("run_id").loc[run.run_id, ["kept", "state"]].tolist() == ["all", "complete"]


@pytest.mark.parametrize("keep", [KEEP, "all"], ids=str)
def test_a_chunk_of_several_inputs_is_stored_as_ever(lab: orb.Lab, lab_home: Path, plan: Plan, keep: object) -> None:
    run = lab.submit_plan(replace(plan, chunk_rows=len(plan)), keep=keep).wait()
    assert orb.select("SELECT row_count FROM chunks WHERE run_id = :run", {"run": run.run_id}).values.tolist() == [
        [128]
    ]
    pd.testing.assert_frame_equal(run.best(10), best_of(plan))
    cells = run.summary("stop_distance")
    assert cells["range_duration"].tolist() == [300] * 8 + [600] * 8
    assert cells["backtests"].tolist() == [8] * 16


def test_what_cannot_be_kept_is_refused_before_work_starts(lab: orb.Lab, plan: Plan) -> None:
    with pytest.raises(BadInput, match=r"keep: 'best' is not|give \"all\" or orb.Best"):
        lab.submit_plan(plan, keep="best")
    frame = pd.DataFrame(list(GRID))
    listed = make_plan(orb.synthetic_sessions(5), orb.ParameterList(frame), 300)
    with pytest.raises(BadInput, match="a list of parameter sets has none"):
        lab.submit_plan(listed, keep=KEEP)


def test_chunks_grow_with_the_slots_and_with_what_is_not_kept(sessions: orb.Sessions) -> None:
    grid = orb.ParameterGrid(orb.frange(0.01, 10, 0.01), range(1, 11), range(0, 300, 30), range(1, 101))
    plan = make_plan(sessions, grid, 300)  # ten million backtests on 40 sessions
    assert fit_chunks(plan, 2, "all").chunk_rows == plan.chunk_rows == 100_000
    seconds = [fit_chunks(plan, slots, KEEP).chunk_rows * 40 / 320e6 for slots in (1, 100, 200)]
    assert seconds == pytest.approx([0.4, 0.05, 0.05], rel=0.3)  # several for each slot
    large = replace(plan, inputs=plan.inputs * 1000)
    seconds = [fit_chunks(large, slots, KEEP).chunk_rows * 40 / 320e6 for slots in (1, 50, 60)]
    assert seconds == pytest.approx([1, 1, 1.2], rel=0.1)
    assert fit_chunks(large, 75, "all").chunk_rows == 100_000
    many = replace(make_plan(sessions, GRID, 300), inputs=plan.inputs * 10_000)  # 64 points each
    assert fit_chunks(many, 2, "all").chunk_rows == fit_chunks(many, 1, KEEP).chunk_rows == 8 * 64
    assert fit_chunks(replace(many, inputs=many.inputs[:20]), 2, KEEP).chunk_rows == 3 * 64
    assert fit_chunks(replace(many, inputs=many.inputs[:4]), 2, KEEP).chunk_rows == 64


def test_ticks_that_no_run_needs_any_more_leave_redis(lab: orb.Lab, lab_home: Path, plan: Plan) -> None:
    run = lab.submit_plan(plan).wait()
    assert lab.stage(plan) == 0
    assert lab.unstage(plan.sessions) == 40
    assert lab.unstage(plan.sessions["SYNTHETIC"]) == 0
    assert lab.stage(plan) == 40
    assert lab.stage(plan) == 0
    assert run.complete
