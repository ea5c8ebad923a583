"""What a verdict is made of, against numpy on all days of all backtests at once."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import orbresearch as orb
from orbresearch.analysis.evidence import Question, examine, merge
from orbresearch.analysis.luck import judge
from orbresearch.analysis.selection.significance import p_value
from orbresearch.analysis.walkforward import daily_returns
from orbresearch.plan import Chunk, make_plan

SESSIONS = orb.synthetic_sessions(45, seed=4)
GRID = orb.ParameterGrid([0.5, 0.2, 0.5], [2, 1], [60, 0], [1, None, 3.0])
PLAN = make_plan(SESSIONS, GRID, 300)
ITEM = PLAN.inputs[0]
QUESTION = Question(draws=50, seed=7)


def ask(first: int, last: int) -> Any:
    return examine(ITEM, GRID, PLAN.rules, Chunk(first, last - first, 0, first), QUESTION)


@cache
def days() -> Any:
    return np.array([daily_returns(ITEM, GRID, PLAN.rules, point) for point in range(len(GRID))])


def test_everything_is_what_numpy_makes_of_all_days_at_once() -> None:
    found, count = ask(0, len(GRID)), len(ITEM.days)
    sharpes = days().mean(axis=1) / days().std(axis=1, ddof=1)
    assert found.trials == len(GRID)
    assert found.sharpe == pytest.approx(sharpes.max(), rel=1e-12)
    assert found.index == sharpes.argmax()
    assert found.spread.variance == pytest.approx(sharpes.var(ddof=1))
    z = (days() - days().mean(axis=1, keepdims=True)) / days().std(axis=1, keepdims=True)
    np.testing.assert_allclose(found.together, z.sum(axis=0), rtol=1e-9, atol=1e-9)
    drawn = [days()[:, np.repeat(np.arange(count), one)] for one in QUESTION.drawn(count)]
    t = [(one.mean(axis=1) - days().mean(axis=1)) / one.std(axis=1, ddof=1) * np.sqrt(count) for one in drawn]
    np.testing.assert_allclose(found.maxima, np.max(t, axis=1) * np.sqrt(count / (count - 9)), rtol=0, atol=1e-4)


@given(st.lists(st.integers(1, len(GRID) - 1), max_size=4), st.randoms())
def test_chunks_know_together_what_the_whole_knows(cuts: list[int], order: Any) -> None:
    pieces = list(itertools.pairwise(sorted({0, len(GRID), *cuts})))
    order.shuffle(pieces)
    found, whole = merge(ask(*piece) for piece in pieces), ask(0, len(GRID))
    assert found.maxima.tobytes() == whole.maxima.tobytes()
    assert (found.trials, found.sharpe, found.index) == (whole.trials, whole.sharpe, whole.index)
    assert found.spread.m2 == pytest.approx(whole.spread.m2)
    np.testing.assert_allclose(found.together, whole.together, atol=1e-9)


def test_the_verdict_is_whites_p_on_the_best() -> None:
    found, count = ask(0, len(GRID)), len(ITEM.days)
    luck = judge([(ITEM.dates, found)])
    assert luck.p_value == p_value(found.sharpe * math.sqrt(count), found.maxima)
    assert luck.sharpe == pytest.approx(found.sharpe * math.sqrt(252))
    assert luck.groups == 1


def test_the_same_sessions_are_judged_jointly_and_others_by_bonferroni() -> None:
    one, other = ask(0, 18), ask(18, 36)
    joint, apart = (judge([(ITEM.dates, one), (dates, other)]) for dates in (ITEM.dates, ITEM.dates[1:]))
    assert joint.p_value == judge([(ITEM.dates, ask(0, 36))]).p_value
    best = max((one, other), key=lambda found: found.sharpe)
    assert apart.p_value == min(1.0, 2 * judge([(ITEM.dates, best)]).p_value)
    assert apart.groups == 2
    assert apart.trials == joint.trials == 36


def test_of_nothing_nothing_is_said() -> None:
    quiet = make_plan(SESSIONS, GRID, 300, orb.Rules(entry_buffer=1000.0))  # never reached
    found = examine(quiet.inputs[0], GRID, quiet.rules, Chunk(0, len(GRID), 0, 0), QUESTION)
    luck = judge([(ITEM.dates, found)])
    assert (luck.trials, luck.index) == (0, -1)
    assert math.isnan(luck.p_value)
    assert "nothing can be said" in luck.line
