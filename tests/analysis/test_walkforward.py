"""Walk-forward against pandas on each backtest's own days."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import orbresearch as orb
from orbresearch.analysis.walkforward import Choices, Walk, choose, daily_returns, merge_choices, stitch
from orbresearch.errors import BadInput
from orbresearch.plan import Chunk, make_plan

SESSIONS = orb.synthetic_sessions(60, seed=11)
GRID = orb.ParameterGrid([0.5, 0.2, 1.0], [2, 1], [60, 0], [1, None, 3.0])
PLAN = make_plan(SESSIONS, GRID, 300)
ITEM = PLAN.inputs[0]
WALKS = [Walk(6, train=2), Walk(6, train=2, test=2), Walk(7, train=3, anchored=True), Walk("months", train=1)]


@cache
def returns() -> pd.DataFrame:
    """Return every backtest's daily returns, from its own trades."""
    found = {}
    for at, point in enumerate(GRID):
        daily = orb.run_backtest(SESSIONS, 300, *point.values()).daily
        found[at] = (daily / (ITEM.days["first_price"] * 0.01)).round(8)
    return pd.DataFrame(found)


def sharpe(daily: pd.DataFrame) -> pd.Series:
    return daily.mean() / daily.std() * np.sqrt(252)


@pytest.mark.parametrize("walk", WALKS, ids=repr)
def test_each_window_follows_the_best_of_its_past(walk: Walk) -> None:
    windows = walk.windows(ITEM.dates)
    found = choose(ITEM, GRID, PLAN.rules, Chunk(0, len(GRID), 0, 0), windows, walk)
    assert len(windows) >= 1
    for window, value, index in zip(windows, found.value, found.index, strict=True):
        past = returns().loc[str(window.train[0]) : str(window.train[1])]
        assert index == sharpe(past).to_numpy().argmax()
        assert value == pytest.approx(sharpe(past).max(), rel=1e-9)


def test_what_was_followed_is_stitched_day_by_day() -> None:
    walk = Walk(6, train=2)
    windows = walk.windows(ITEM.dates)
    choices = choose(ITEM, GRID, PLAN.rules, Chunk(0, len(GRID), 0, 0), windows, walk)
    followed: dict[int, Any] = {index: ({"backtest_id": str(index)}, returns()[index]) for index in range(len(GRID))}
    followed[-1] = {"backtest_id": None}, returns()[0] * 0
    found = stitch(windows, choices, followed, walk.by)
    expected = pd.concat(
        returns()[index].loc[str(one.test[0]) : str(one.test[1])]
        for index, one in zip(choices.index, windows, strict=True)
    )
    assert found.returns.to_numpy().tolist() == expected.to_numpy().tolist()
    assert len(found.returns) == 40
    assert found.sharpe_ratio == pytest.approx(expected.mean() / expected.std() * np.sqrt(252))
    assert found.interval[0] < found.sharpe_ratio < found.interval[1]
    assert found.equity.iloc[-1] == pytest.approx(expected.sum())
    assert found.choices["return"].sum() == pytest.approx(expected.sum())


@pytest.mark.parametrize(
    "by", ["backtest_profit", "profit_factor", "win_rate_percent", "max_drawdown", "sortino_ratio"]
)
def test_any_column_chooses_as_the_rows_of_the_window_alone_do(by: str) -> None:
    walk = Walk(6, train=2, by=by)
    windows = walk.windows(ITEM.dates)
    found = choose(ITEM, GRID, PLAN.rules, Chunk(0, len(GRID), 0, 0), windows, walk)
    for window, value, index in zip(windows, found.value, found.index, strict=True):
        rows = orb.run_grid(SESSIONS.between(str(window.train[0]), str(window.train[1])), GRID)
        assert value == rows[by].max()
        assert index == rows[by].to_numpy().argmax()


@given(st.lists(st.integers(1, len(GRID) - 1), max_size=4), st.randoms())
def test_chunks_choose_what_the_whole_does(cuts: list[int], order: Any) -> None:
    walk = Walk(6, train=3, by="sessions_traded")  # all alike: the first of equals is chosen
    windows = walk.windows(ITEM.dates)[:2]
    pieces = list(itertools.pairwise(sorted({0, len(GRID), *cuts})))
    order.shuffle(pieces)
    parts = [choose(ITEM, GRID, PLAN.rules, Chunk(a, b - a, 0, a), windows, walk) for a, b in pieces]
    assert merge_choices(parts).index.tolist() == [0, 0]


def test_nothing_is_chosen_where_nothing_may_be() -> None:
    nothing = Choices(np.array([np.nan, 1.0]), np.array([-1, 4]))
    other = Choices(np.array([np.nan, np.nan]), np.array([-1, -1]))
    found = merge_choices([other, nothing])
    assert found.index.tolist() == [-1, 4]
    quiet = make_plan(SESSIONS, GRID, 300, orb.Rules(entry_buffer=1000.0))  # never reached
    walk = Walk(6, train=2)
    choices = choose(quiet.inputs[0], GRID, quiet.rules, Chunk(0, len(GRID), 0, 0), walk.windows(ITEM.dates), walk)
    assert set(choices.index) == {-1}


def test_a_backtests_days_are_its_own() -> None:
    for point in range(len(GRID)):
        assert daily_returns(ITEM, GRID, PLAN.rules, point).tolist() == returns()[point].tolist()


def test_windows_are_whole_blocks_and_the_oldest_sessions_are_left_over() -> None:
    dates = np.arange("2024-01-01", "2024-01-15", dtype="M8[D]")  # 14 sessions in 4 blocks of 3
    found = Walk(4, train=2).windows(dates)
    spans = [[str(day)[-2:] for day in window.train + window.test] for window in found]
    assert spans == [["03", "08", "09", "11"], ["06", "11", "12", "14"]]
    anchored = Walk(4, train=2, anchored=True).windows(dates)
    assert [str(window.train[0])[-2:] for window in anchored] == ["03", "03"]
    assert Walk(20).windows(dates) == ()
    assert Walk(4).windows(dates[:0]) == Walk("months").windows(dates[:0]) == ()


@pytest.mark.parametrize("wrong", [{"blocks": 0}, {"train": 0}, {"test": True}, {"by": "ticker"}, {"blocks": "weeks"}])
def test_walks_to_nowhere_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Walk(**wrong)
