"""Moments by block and bootstrap maxima, against numpy on each backtest's own days."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import ParameterGrid, ParameterList, Rules, make_plan, run_backtest, run_grid, synthetic_sessions
from orbresearch.analysis import grids
from orbresearch.analysis.moments import compute_moments, draw_days
from orbresearch.errors import BadInput
from orbresearch.plan import Chunk

SESSIONS = synthetic_sessions(45, seed=4)
GRID = ParameterGrid([0.5, 0.2, 0.5], [2, 1], [60, 0], [1, None, 3.0])
RULES = [Rules(), Rules(measure="dollars", commission=0.0005), Rules(side="long", stop_unit="atr", fill="level")]
DRAWS = draw_days(45, 40, seed=7)


def chunk(first, rows):
    return Chunk(first, rows, 0, first)


def daily(rules, plan):
    """Return every backtest's returns by day from its own trades, in units of return, shape (backtests, T)."""
    item, found = plan.inputs[0], []
    for point in GRID:
        one = run_backtest(SESSIONS, 300, *point.values(), rules)
        if rules.measure == "dollars":
            found.append(np.round(one.daily.to_numpy() / item.series.increment_nanos * 1e9 * 10))  # q is 10
        else:
            found.append(np.round(one.daily.to_numpy() / (item.days["first_price"] * 0.01) * 1e8))
    return np.array(found).astype(np.int64)


@pytest.mark.parametrize("rules", RULES, ids=["default", "dollars", "atr"])
def test_moments_are_those_of_each_backtests_days(rules):
    plan = make_plan(SESSIONS, GRID, 300, rules)
    days, item = daily(rules, plan), plan.inputs[0]
    count = days.shape[1]
    blocks = np.arange(count) // 10 - 1  # the first ten are in none
    draws = DRAWS[:, :count] if count == 45 else draw_days(count, 40, seed=7)
    found = compute_moments(item, GRID, plan.rules, chunk(0, len(GRID)), blocks, draws, min_sessions=5)
    for block in range(found.sums.shape[1]):
        assert found.sums[:, block].tolist() == days[:, blocks == block].sum(axis=1).tolist()
        assert found.squares[:, block].tolist() == (days[:, blocks == block] ** 2).sum(axis=1).tolist()
    drawn = [days[:, np.repeat(np.arange(count), one)] for one in draws]  # every draw's sessions, one by one
    away = [one.mean(axis=1) - days.mean(axis=1) for one in drawn]
    t = [a * np.sqrt(count) / one.std(axis=1, ddof=1) for a, one in zip(away, drawn, strict=True)]
    np.testing.assert_allclose(found.maxima, np.max(t, axis=1), rtol=0, atol=1e-4)
    rows = run_grid(SESSIONS, GRID, 300, rules)
    np.testing.assert_allclose(found.statistic, rows["sharpe_ratio"] / np.sqrt(252) * np.sqrt(count), rtol=1e-12)


@given(st.lists(st.integers(0, len(GRID)), max_size=4), st.sampled_from([1, 100, 700, 10**6]), st.randoms())
def test_any_split_in_any_order_merges_to_the_same_bits(cuts, most, order):
    plan = make_plan(SESSIONS, GRID, 300)
    whole = compute_moments(plan.inputs[0], GRID, plan.rules, chunk(0, len(GRID)), None, DRAWS)
    edges = sorted({0, len(GRID), *cuts})
    pieces = list(itertools.pairwise(edges))
    order.shuffle(pieces)
    maxima, sums = np.full(40, -np.inf), np.zeros_like(whole.sums)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "_DAILY", most)
        for first, last in pieces:
            part = compute_moments(plan.inputs[0], GRID, plan.rules, chunk(first, last - first), None, DRAWS)
            maxima, sums[first:last] = np.maximum(maxima, part.maxima), part.sums
    assert maxima.tobytes() == whole.maxima.tobytes()
    assert sums.tobytes() == whole.sums.tobytes()


def test_a_list_has_the_grids_moments():
    points = ParameterList(pd.DataFrame(list(GRID)))
    plan = make_plan(SESSIONS, points, 300)
    one, other = (
        compute_moments(plan.inputs[0], each, plan.rules, chunk(0, len(GRID)), None, DRAWS) for each in (GRID, points)
    )
    assert (one.maxima == other.maxima).all()
    assert (one.squares == other.squares).all()


def test_who_trades_too_seldom_takes_no_part():
    plan = make_plan(SESSIONS, GRID, 300)
    found = compute_moments(plan.inputs[0], GRID, plan.rules, chunk(0, len(GRID)), None, DRAWS, min_sessions=46)
    assert np.isneginf(found.maxima).all()
    assert np.isnan(found.statistic).all()
    assert found.squares.sum() > 0


@given(st.integers(1, 60), st.integers(1, 20), st.floats(1, 30), st.integers(0, 2**32))
def test_draws_have_as_many_days_as_there_are(sessions, draws, mean_block, seed):
    found = draw_days(sessions, draws, mean_block, seed)
    assert found.shape == (draws, sessions)
    assert (found.sum(axis=1) == sessions).all()
    assert (found == draw_days(sessions, draws, mean_block, seed)).all()


def test_blocks_of_one_session_draw_days_apart_and_long_ones_draw_runs():
    apart, together = draw_days(500, 200, 1.0, seed=1), draw_days(500, 200, 50.0, seed=1)
    neighbours = [np.corrcoef(one[:, :-1].ravel(), one[:, 1:].ravel())[0, 1] for one in (apart, together)]
    assert abs(neighbours[0]) < 0.02
    assert neighbours[1] > 0.9
    assert apart.var() == pytest.approx(1, rel=0.03)  # counts of independent draws


@pytest.mark.parametrize("bad", [(0, 1, 5.0), (5, 0, 5.0), (5, 1, 0.5), (5, 1, float("nan"))])
def test_draws_of_nothing_are_refused(bad):
    with pytest.raises(BadInput, match="bootstrap"):
        draw_days(*bad)


def test_blocks_of_other_sessions_are_refused():
    plan = make_plan(SESSIONS, GRID, 300)
    with pytest.raises(BadInput, match="SYNTHETIC has 45 tradable sessions"):
        compute_moments(plan.inputs[0], GRID, plan.rules, chunk(0, 1), np.zeros(44, int))
