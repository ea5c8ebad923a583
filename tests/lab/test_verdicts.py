"""Verdicts on stored runs: what they say, and what they say they cannot say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
import orbresearch.schema
from orbresearch.analysis.evidence import Question, examine
from orbresearch.analysis.luck import Luck, judge
from orbresearch.analysis.telling import headline
from orbresearch.analysis.verdict import Family
from orbresearch.errors import BadInput
from orbresearch.lab.recompute import each_piece, replan
from orbresearch.lab.verdicts import count_found, luck_of
from orbresearch.plan import Chunk, make_plan
from orbresearch.settings import read_settings
from tests.lab.conftest import GRID

BARS = "imperial_1min_2026_530tickers"


@pytest.fixture(scope="module")
def run(lab: orb.Lab, sessions: orb.Sessions) -> orb.Run:
    return lab.submit(sessions, GRID, [300, 600]).wait()


def one_by_one(plan: orb.plan.Plan, draws: int = 1000) -> float:
    """Return the run's p, every input computed whole in this process."""
    count, question = len(plan.grid), Question(draws)
    found = [
        (item.dates, examine(item, plan.grid, plan.rules, Chunk(at * count, count, at, 0), question))
        for at, item in enumerate(plan.inputs)
    ]
    return judge(found).p_value


def test_a_verdict_says_luck_forward_and_costs(lab_home: Path, run: orb.Run, sessions: orb.Sessions) -> None:
    found = orb.verdict(run)
    assert [line.partition(":")[0] for line in found.lines] == ["luck", "forward", "costs"]
    assert found.p_value == one_by_one(make_plan(sessions, GRID, [300, 600]))
    assert "NONE were assumed" in found.lines[2]
    best = run.best(1).iloc[0]
    assert found.best is not None
    assert found.best.stats["backtest_id"] == best["backtest_id"]
    assert found.luck.sharpe == pytest.approx(best["sharpe_ratio"])
    assert f"{best['sharpe_ratio']:.2f}" in found.line
    values = found.details["value"]
    assert values["eligible backtests"] == 64
    assert 0 < values["p, this run"] <= 1
    assert 1 <= values["N implied"] <= 64
    assert 1 <= values["N effective"] <= 64
    assert values["luck's median best"] < values["luck's best in 20"]
    assert found.line in repr(found)
    assert "<table>" in found._repr_html_()


def test_it_is_the_same_without_a_lab_and_by_id(lab_home: Path, run: orb.Run) -> None:
    ours, other = orb.verdict(run), orb.verdict(run.run_id)
    assert not orb.open_run(run.run_id).attached
    assert ours.lines == other.lines
    pd.testing.assert_frame_equal(ours.details, other.details)
    pd.testing.assert_frame_equal(ours.walk.choices, other.walk.choices)  # type: ignore[union-attr]
    assert orb.walk_forward(run.run_id).returns.equals(ours.walk.returns)  # type: ignore[union-attr]


def test_every_piece_is_computed_once_on_a_lab_and_here(lab_home: Path, lab: orb.Lab, run: orb.Run) -> None:
    plan = replan(run.facts(), read_settings().cached_data)
    assert plan.run_id == run.run_id
    for where in (lab, None):
        pieces = sorted((piece.first, piece.rows) for piece, _ in each_piece(plan, where, count_rows))
        assert sum(rows for _, rows in pieces) == len(plan)
        assert [first for first, _ in pieces] == np.cumsum([0, *(rows for _, rows in pieces[:-1])]).tolist()


def count_rows(item, points, rules, chunk):  # type: ignore[no-untyped-def]
    return chunk.rows


def test_best_rows_do_not_come_without_it(lab_home: Path, run: orb.Run, capsys: pytest.CaptureFixture[str]) -> None:
    best = run.best(3)
    assert best.attrs["luck"] == luck_of(run).line
    assert best.attrs["luck"] in capsys.readouterr().out
    run.best(3, luck=False)
    assert "luck" not in capsys.readouterr().out


def test_what_else_was_tried_on_the_same_prices_counts(lab: orb.Lab, lab_home: Path) -> None:
    market = orb.synthetic_sessions(40, seed=31, ticker="KIN")
    small = orb.ParameterGrid([1.0], [1], [0], [2])
    first = lab.submit(market, small, 300).wait()
    assert orb.verdict(first).family.runs == 0
    lab.submit(market, GRID, 300).wait()
    found = orb.verdict(first)
    together = one_by_one(make_plan(market, small, 300))
    assert found.p_value == together
    assert found.family.runs == found.family.joint == 1
    assert found.family.groups == 0
    assert found.family.p_value > found.p_value
    assert "(joint)" in found.lines[0]
    joint = found.family.p_value
    lab.submit(
        orb.synthetic_sessions(39, seed=31, ticker="KIN"), small, 300
    ).wait()  # other sessions of the same ticker
    found = orb.verdict(first)
    assert found.family.groups == 1
    assert found.family.p_value == min(1.0, 2 * joint)
    assert "Bonferroni over 2" in found.lines[0]


def test_many_tickers_are_judged_each_and_together(lab: orb.Lab, lab_home: Path) -> None:
    market = {name: orb.synthetic_sessions(35, seed=40 + i, ticker=name) for i, name in enumerate(("AA", "BB", "CC"))}
    with pytest.warns(UserWarning, match="prices span"):
        run = lab.submit(market, GRID, 300).wait()
    found = orb.verdicts(run)
    assert sorted(found["ticker"]) == ["AA", "BB", "CC"]
    for row in found.itertuples():
        assert row.p == one_by_one(make_plan(market[row.ticker], GRID, 300))
        assert row.backtest_id in set(run.results(ticker=row.ticker)["backtest_id"])
    assert found["p"].is_monotonic_increasing
    assert (found["q"] >= found["p"]).all()
    assert found.attrs["summary"] == count_found(found["p"].to_numpy())
    one_each = orb.verdicts([lab.submit(item, GRID, 300).wait() for item in market.values()])
    assert one_each["p"].tolist() == found["p"].tolist()


def test_on_bars_the_other_path_is_told(lab: orb.Lab, lab_home: Path, market_data: Path) -> None:
    loaded = orb.load_sessions(market_data / "FAKE_qqq_1min_2025.parquet", "QQQ", end="2025-06-30")
    run = lab.submit(loaded, orb.ParameterGrid([3.0, 4.0], [1], [0], [4.0]), 300).wait()
    found = orb.verdict(run)
    assert found.lines[-1].startswith("bars: with each bar's extremes in the other order the best makes")
    other = orb.run_grid(loaded.other_path(), orb.ParameterGrid([3.0, 4.0], [1], [0], [4.0]), 300)
    assert found.best is not None
    index = int(found.best.stats["backtest_id"][-10:])
    assert f"makes {other['backtest_profit'][index]:.2f} $" in found.lines[-1]


# --- What cannot be said


@pytest.mark.parametrize("what", [5, None, ["a"]])
def test_what_is_no_run_is_refused(lab_home: Path, run: orb.Run, what: object) -> None:
    with pytest.raises(BadInput, match=r"run: a .*give a run, or its run_id"):
        orb.verdict(what)  # type: ignore[arg-type]


def test_what_is_luck_among_everything_tried_is_called_so() -> None:
    luck = Luck(10, 2.0, 0, 250, 1, 0.03, None)
    alone, among = Family(0, 0, 0, 0.03), Family(3, 3, 0, 0.2)
    assert headline(luck, alone) == luck.line
    assert headline(luck, among).endswith("p = 0.200 (joint), NO more than luck")
    assert "NO more" not in headline(luck, Family(1, 1, 0, 0.04))


def test_too_few_sessions(lab: orb.Lab, lab_home: Path) -> None:
    run = lab.submit(orb.synthetic_sessions(8, seed=50), GRID, 300).wait()
    found = orb.verdict(run)
    assert "luck: nothing can be said: no resolved backtest traded in enough sessions" in repr(found)
    assert "forward: nothing can be said: its 8 sessions are too few for 12 blocks of which 6" in repr(found)
    assert np.isnan(found.p_value)
    with pytest.raises(BadInput, match="8 sessions are too few"):
        orb.walk_forward(run)


def test_no_trades(lab: orb.Lab, lab_home: Path) -> None:
    run = lab.submit(orb.synthetic_sessions(40, seed=51), GRID, 300, orb.Rules(entry_buffer=1000.0)).wait()
    found = orb.verdict(run)
    assert "luck: nothing can be said" in repr(found)
    assert "forward: nothing can be said: in none of 6 windows a backtest traded often enough" in repr(found)
    assert len(found.lines) == 2


def test_one_parameter_set_that_always_earns_the_same(lab: orb.Lab, lab_home: Path) -> None:
    run = lab.submit(orb.synthetic_sessions(40, seed=52), orb.ParameterGrid(0.01, 1, 0, None), 300).wait()
    found = orb.verdict(run)
    assert found.details["value"]["eligible backtests"] == 1
    assert np.isnan(found.details["value"]["DSR, V found"])  # one trial has no variance


def test_unfinished_and_kept_in_part(lab: orb.Lab, lab_home: Path) -> None:
    market = orb.synthetic_sessions(40, seed=53)
    kept = lab.submit(market, GRID, 300, keep=orb.Best(3)).wait()
    whole = one_by_one(make_plan(market, GRID, 300))
    assert orb.verdict(kept).p_value == whole  # of all, not of the three
    plan = make_plan(market, GRID, 900)
    from orbresearch.lab.begin import run_record
    from orbresearch.sources.cache import keep_sessions
    from orbresearch.store.writer import register_run

    cached = {"SYNTHETIC": keep_sessions(lab.settings.cached_data, market)}
    register_run(lab.store, run_record(plan, cached, "all", "0", ""))
    begun = orb.open_run(plan.run_id)
    assert begun.luck() == "luck: not judged before the run is complete"
    assert "NOT FINISHED: 0 are in the store, all are judged" in orb.verdict(begun).title


def test_prices_that_are_gone(lab: orb.Lab, lab_home: Path) -> None:
    run = lab.submit(orb.synthetic_sessions(36, seed=54, ticker="GONE"), GRID, 300).wait()
    for folder in (lab_home / "cached_data").glob("GONE*"):
        shutil.rmtree(folder)
    with pytest.raises(BadInput, match=r"GONE's prices from .* are not in"):
        orb.verdict(run)
    assert "luck: NOT judged: run" in run.best(1).attrs["luck"]


def test_a_pool_is_judged_by_the_means_of_its_tickers(lab: orb.Lab, lab_home: Path) -> None:
    market = {name: orb.synthetic_sessions(40, seed=60 + i, ticker=name) for i, name in enumerate(("PA", "PB"))}
    with pytest.warns(UserWarning, match="prices span"):
        run = lab.submit(market, GRID, 300, pool=True).wait()
    found = orb.verdict(run)
    best = run.best(1, luck=False).iloc[0]
    assert found.luck.sharpe == pytest.approx(best["sharpe_ratio"])
    assert found.best is None
    assert [line.partition(":")[0] for line in found.lines] == ["luck", "forward", "costs"]
    daily = []
    for name, sessions in market.items():
        one = orb.run_backtest(sessions, 300, *(best[name] for name in orb.schema.PARAMETERS))
        daily.append(one.returns.rename(name))
    mean = pd.concat(daily, axis=1).mean(axis=1)
    assert found.luck.sharpe == pytest.approx(mean.mean() / mean.std() * np.sqrt(252), rel=1e-4)
    window = orb.verdict(run.run_id).walk.choices.iloc[0]  # type: ignore[union-attr]
    part = {name: one.between(window["train_first"], window["train_last"]) for name, one in market.items()}
    with pytest.warns(UserWarning, match="prices span"):
        rows = orb.run_grid(part, GRID, 300, pool=True)
    assert window["chosen_at"] == rows["sharpe_ratio"].max()
