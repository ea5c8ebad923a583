"""Runs under other rules than the default, and lists of parameter sets: stored, opened and shown as any run."""

from __future__ import annotations

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.lab.display import backtest, under_other_path
from orbresearch.sessions.splits import apply_splits, read_splits
from tests.sources import market

pytestmark = [
    pytest.mark.usefixtures("lab_home"),
    pytest.mark.filterwarnings("ignore:.* make the same backtests:UserWarning"),
]

OPEN = orb.Rules(side="opening_bar", entry="open", stop_unit="atr", exit_time=14_400, commission=0.0005, slippage=0.005)
BUFFERED = orb.Rules(
    side="opening_bar",
    entry_buffer=0.1,
    buffer_unit="range",
    stop_anchor="opposite_entry",
    limit_unit="R",
    entry_cutoff=7200,
    select=[("date", ">=", "2024-01-30"), ("weekday", "in", [0, 1, 3])],
)


@pytest.fixture(scope="module")
def points() -> orb.ParameterList:
    sets = [(0.3, 1, 60, None), (0.1, 3, 0, 1.5), (0.3, 1, 60, None), (0.25, 2, 30, 0.5), (1, 1, 0, None)]
    return orb.ParameterList(pd.DataFrame(sets, columns=list(orb.schema.PARAMETERS)))


@pytest.mark.parametrize("rules", [OPEN, BUFFERED], ids=["open", "buffered"])
def test_a_list_under_other_rules_is_stored_as_run_grid_has_it(lab, sessions, points, rules, monkeypatch):
    monkeypatch.setattr("orbresearch.plan.MAX_LIST_ROWS", 2)  # three chunks
    run = lab.submit(sessions, points, range_duration=[300, 900], rules=rules).wait()
    expected = orb.run_grid(sessions, points, [300, 900], rules)
    pd.testing.assert_frame_equal(run.results(), expected, check_exact=True)
    assert expected["limit_distance"].isna().sum() == 6
    assert (expected["sessions"] < len(sessions)).all()  # the first ones have no atr, or are not selected
    assert (expected["trades"] > 0).all()
    nulls = orb.select(
        "SELECT COUNT(*) AS n FROM results WHERE run_id = :run AND limit_distance IS NULL", {"run": run.run_id}
    )
    assert nulls["n"].tolist() == [6]


@pytest.mark.parametrize("rules", [OPEN, BUFFERED], ids=["open", "buffered"])
def test_a_backtest_of_a_list_is_recomputed_and_shown(lab, sessions, points, rules, lab_home, monkeypatch):
    run = lab.submit(sessions, points, range_duration=[300, 900], rules=rules).wait()
    rows = run.results().set_index("backtest_id")
    for backtest_id in rows.index[[0, 1, -1]]:
        one = backtest(backtest_id)
        pd.testing.assert_series_equal(one.stats.drop("backtest_id"), rows.loc[backtest_id], check_names=False)
        assert one.daily.sum() == pytest.approx(rows.loc[backtest_id, "backtest_profit"])
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    picture = orb.display(rows.index[0])
    assert "no limit" in picture.title
    assert "side opening_bar" in picture.title
    assert (lab_home / "plots" / f"{rows.index[0]}.html").is_file()


def test_a_run_opens_tomorrow_with_its_rules(lab, sessions, points):
    run = lab.submit(sessions, points, range_duration=300, rules=BUFFERED).wait()
    facts = orb.open_run(run.run_id).facts()
    assert orb.Rules(**facts["rules"]) == BUFFERED.resolve(bars=False)
    assert facts["sessions"] == run.results()["sessions"].iloc[0]


def test_a_rule_on_a_joined_column_is_stored_and_recomputed(lab, sessions):
    own = pd.Series([0.5, 1.0] * 20, sessions.dates, name="own")
    rules, grid = orb.Rules(stop_unit="own", select=("own", ">", 0.6)), orb.ParameterGrid([0.3, 0.5], 2, 0, None)
    run = lab.submit(sessions.join(own), grid, range_duration=300, rules=rules).wait()
    expected = orb.run_grid(sessions.join(own), grid, 300, rules)
    pd.testing.assert_frame_equal(run.results(), expected, check_exact=True)
    row = expected.set_index("backtest_id").iloc[1]
    one = backtest(row.name)
    pd.testing.assert_series_equal(one.stats.drop("backtest_id"), row, check_names=False)
    assert set(one.trades["session"]) <= set(sessions.dates[1::2])


def test_a_run_over_splits_is_stored_and_recomputed(lab, sessions):
    day = str(sessions.schedule.labels[20])
    split = apply_splits(sessions, read_splits([(sessions.ticker, day, 3)]))
    rules, grid = orb.Rules(stop_unit="atr"), orb.ParameterGrid([0.3, 0.5], 2, 0, None)
    run = lab.submit(split, grid, range_duration=300, rules=rules).wait()
    expected = orb.run_grid(split, grid, 300, rules)
    pd.testing.assert_frame_equal(run.results(), expected, check_exact=True)
    other = orb.run_grid(sessions, grid, 300, rules)
    assert other["backtest_profit"].tolist() != expected["backtest_profit"].tolist()
    assert run.facts()["inputs"][0]["splits"] == [[sessions.ticker, day, 3.0]]
    row = expected.set_index("backtest_id").iloc[1]
    one, now = backtest(row.name), orb.run_backtest(split, 300, 0.5, 2, 0, None, rules)
    pd.testing.assert_series_equal(one.stats.drop("backtest_id"), row, check_names=False)
    pd.testing.assert_series_equal(one.price_change, now.price_change, check_exact=True)
    assert one.shares.tolist()[-1] == 3
    assert orb.trade_stats(row.name) == now.trade_stats()
    assert orb.display(row.name).title == now.plot().title


def test_backtests_on_bars_without_a_limit_are_shown_under_the_other_path_too(lab):
    bars = orb.load_sessions(market.bars(), "TEST")
    grid, rules = orb.ParameterGrid([0.5, 1], 2, 0, [None, 1]), orb.Rules(exit_time=9000)
    run = lab.submit(bars, grid, range_duration=300, rules=rules).wait()
    rows = run.results()
    found = under_other_path(rows, bars)
    other = orb.run_grid(bars.other_path(), grid, 300, rules)
    assert found["profit_other_path"].tolist() == other["backtest_profit"].tolist()


def test_a_list_too_long_for_the_store_is_refused_before_any_work(lab, sessions, points):
    many = orb.ParameterList(pd.DataFrame([next(iter(points))] * 200_001))
    with pytest.raises(BadInput, match=r"ParameterList: 200,001 sets; .* submit it in parts"):
        lab.submit(sessions, many, range_duration=300)
