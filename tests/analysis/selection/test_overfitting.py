"""Two passes over chunks against the textbook's matrix, another package, and what must hold of any."""

from __future__ import annotations

import doctest
import functools
import itertools
import math
import os

import holdout
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orbresearch import ParameterGrid, Rules, make_plan, run_backtest, synthetic_sessions
from orbresearch.analysis.moments import compute_moments
from orbresearch.analysis.selection import overfitting, splits
from orbresearch.analysis.selection.overfitting import (
    Picks,
    count_ranks,
    cross_validate,
    find_overfitting,
    hash_columns,
    merge_picks,
    merge_ranks,
    own_columns,
    pick_best,
    sharpe_of,
)
from orbresearch.analysis.selection.splits import make_halves, split_masks
from orbresearch.analysis.selection.windows import equal_blocks
from orbresearch.errors import BadInput
from orbresearch.plan import Chunk

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
PUBLISHED = np.array(
    [[(7 * t * t + 13 * n * t + 5 * n + 3) % 29 - 14 for n in range(5)] for t in range(24)]
)  # thousandths


def blocks_of(returns, blocks):
    """Return a (T, N) matrix's sums and sums of squares by trial and block."""
    cut = returns.reshape(blocks, -1, returns.shape[1])
    return cut.sum(axis=1).T, (cut**2).sum(axis=1).T


def in_chunks(sums, squares, cuts, sessions, eligible=None):
    """Run both passes over chunks, merged in an order that is not theirs."""
    edges = sorted({0, len(sums), *cuts})
    pieces = [slice(a, b) for a, b in itertools.pairwise(edges)]
    fit = np.ones(len(sums), bool) if eligible is None else eligible
    picks = functools.reduce(merge_picks, (pick_best(sums[p], squares[p], p.start, fit[p]) for p in pieces[::-1]))
    owns = own_columns(np.concatenate([hash_columns(sums[p], squares[p]) for p in pieces]), fit)
    ranks = functools.reduce(merge_ranks, (count_ranks(picks, sums[p], squares[p], owns[p]) for p in pieces))
    return find_overfitting(picks, ranks, sessions)


def textbook(sums, squares, sessions):
    """Return (index, logits, inside, outside) by split: every trial's v in every half, sorted out by comparison."""
    columns = list(dict.fromkeys(tuple(row) for row in np.hstack([sums, squares]).tolist()))
    distinct, blocks = np.array(columns, object), sums.shape[1]
    first = [np.hstack([sums, squares]).tolist().index(list(c)) for c in columns]
    found = []
    for mask in split_masks(blocks):
        chosen = np.array([bool(mask >> b & 1) for b in range(blocks)])
        v = []
        for half in (chosen, ~chosen):
            s, q = distinct[:, :blocks][:, half].sum(axis=1), distinct[:, blocks:][:, half].sum(axis=1)
            v.append([float(a) * abs(float(a)) / float(b) if b else 0.0 for a, b in zip(s, q, strict=True)])
        best = int(np.argmax(v[0]))
        mine = v[1][best]
        rank = sum(x < mine for x in v[1]) + (sum(x == mine for x in v[1]) + 1) / 2
        w = rank / (len(columns) + 1)
        found.append((first[best], math.log(w / (1 - w)), v[0][best], mine))
    index, logits, inside, outside = (np.array(each) for each in zip(*found, strict=True))
    return index, logits, inside, outside


def test_examples_in_docstrings_hold():
    assert doctest.testmod(overfitting).failed == doctest.testmod(splits).failed == 0


def test_the_published_matrix():
    found = cross_validate(*blocks_of(PUBLISHED, 6), sessions=12)
    assert (found.pbo, found.loss, found.middle) == (0.65, 0.35, (found.logits == 0).mean())
    assert found.mean_logit == pytest.approx(-0.115129254649702, rel=1e-13)
    assert found.slope == pytest.approx(-0.991423493703545, rel=1e-13)
    assert found.intercept == pytest.approx(0.515047797543283, rel=1e-13)
    assert np.bincount(found.index).tolist() == [6, 9, 3, 0, 2]


@given(st.integers(2, 9), st.sampled_from([2, 4, 6, 8]), st.integers(2, 6), st.integers(0, 2**32))
def test_another_package_finds_the_same(trials, blocks, length, seed):
    returns = np.random.default_rng(seed).integers(-(10**6), 10**6, (blocks * length, trials))
    found = cross_validate(*blocks_of(returns, blocks), sessions=blocks * length // 2)
    theirs = holdout.probability_of_backtest_overfitting(returns / 1e8, n_blocks=blocks)
    place = {sum(1 << b for b in chosen): i for i, chosen in enumerate(holdout.cscv_partitions(blocks))}
    order = [place[int(mask)] for mask in split_masks(blocks)]
    assert found.index.tolist() == theirs.selected[order].tolist()
    np.testing.assert_allclose(found.logits, theirs.logits[order], atol=1e-12)
    np.testing.assert_allclose(found.inside, theirs.in_sample[order], rtol=1e-7)
    np.testing.assert_allclose(found.outside, theirs.out_of_sample[order], rtol=1e-7, atol=1e-9)
    assert (found.pbo, found.loss) == (theirs.pbo, theirs.probability_of_loss)


FEW = st.integers(-2, 2)  # few values, so that columns are often equal, and values of unequal ones too


@given(st.data(), st.sampled_from([2, 4, 6]), st.integers(1, 12))
def test_any_chunking_of_ties_and_duplicates_is_the_textbook(data, blocks, trials):
    rows = st.lists(FEW, min_size=blocks * 2, max_size=blocks * 2)
    returns = np.array(data.draw(st.lists(rows, min_size=trials, max_size=trials))).T
    sums, squares = blocks_of(returns, blocks)
    cuts = data.draw(st.lists(st.integers(0, trials), max_size=3))
    found = in_chunks(sums, squares, cuts, sessions=blocks)
    index, logits, inside, outside = textbook(sums, squares, blocks)
    assert found.index.tolist() == index.tolist()
    np.testing.assert_array_equal(found.inside, sharpe_of(inside, blocks))
    np.testing.assert_array_equal(found.outside, sharpe_of(outside, blocks))
    if found.trials > 1:
        np.testing.assert_allclose(found.logits, logits, atol=1e-12)
        assert found.pbo == (np.round(logits, 12) <= 0).mean()
        assert found.loss == (outside < 0).mean()
    else:
        assert math.isnan(found.pbo)
        assert np.isnan(found.logits).all()


@pytest.mark.skipif(INTERPRETED, reason="12,870 splits of 300 trials")
@settings(max_examples=10)
@given(st.lists(st.integers(0, 300), max_size=4), st.integers(0, 2**32))
def test_sixteen_blocks_in_chunks_are_the_dense_matrix(cuts, seed):
    rng = np.random.default_rng(seed)
    returns = rng.integers(-(10**6), 10**6, (64, 300)) * (rng.random((64, 300)) < 0.6)
    returns[:, 200:250] = returns[:, 40:90]
    sums, squares = blocks_of(returns, 16)
    found = in_chunks(sums, squares, cuts, sessions=32)
    own = np.r_[0:200, 250:300]
    chosen = split_masks(16)[:, None] >> np.arange(16) & 1
    v = []
    for half in (chosen, 1 - chosen):
        s, q = (half @ each[own].T for each in (sums, squares))
        v.append(s * np.abs(s) / np.maximum(q, 1))
    best = v[0].argmax(axis=1)
    mine = np.take_along_axis(v[1], best[:, None], axis=1)
    rank = (v[1] < mine).sum(axis=1) + ((v[1] == mine).sum(axis=1) + 1) / 2
    assert found.trials == 250
    assert found.index.tolist() == own[best].tolist()
    np.testing.assert_allclose(found.logits, np.log(rank / (251 - rank)), atol=1e-12)


@given(st.integers(2, 8), st.sampled_from([4, 6, 8]), st.integers(0, 2**32))
def test_a_trial_that_is_always_best_was_not_overfitted(trials, blocks, seed):
    returns = np.random.default_rng(seed).integers(-1000, 1000, (blocks * 3, trials))
    returns[:, -1] = 5000 + np.arange(blocks * 3)
    found = cross_validate(*blocks_of(returns, blocks), sessions=blocks * 3 // 2)
    assert (found.pbo, found.loss) == (0, 0)
    np.testing.assert_allclose(found.logits, math.log(trials))


@given(st.integers(2, 8), st.sampled_from([4, 6, 8]), st.integers(0, 2**32))
def test_where_sums_are_zero_the_best_inside_is_the_worst_outside(trials, blocks, seed):
    """Centred columns with equal squares in every block: v ranks as the mean does."""
    sums = np.random.default_rng(seed).integers(-(10**8), 10**8, (trials, blocks)) * blocks
    sums -= sums.sum(axis=1, keepdims=True) // blocks
    found = cross_validate(sums, np.full(sums.shape, 10**17), sessions=blocks * 5)
    assert found.pbo == 1
    np.testing.assert_allclose(found.logits, -math.log(trials))
    np.testing.assert_allclose([found.slope, found.intercept], [-1, 0], atol=1e-12)


def test_who_is_not_eligible_takes_no_part():
    sums, squares = blocks_of(PUBLISHED, 6)
    fit = np.array([True, False, True, True, False])
    found, alone = cross_validate(sums, squares, 12, fit), cross_validate(sums[fit], squares[fit], 12)
    assert np.flatnonzero(fit)[alone.index].tolist() == found.index.tolist()
    assert (found.pbo, found.trials, found.slope) == (alone.pbo, 3, alone.slope)
    none = cross_validate(sums, squares, 12, np.zeros(5, bool))
    assert (none.index == -1).all()
    assert math.isnan(none.pbo)
    assert math.isnan(none.loss)


def test_a_duplicate_that_is_eligible_stands_for_one_that_is_not():
    sums, squares = (np.vstack([each, each[:1]]) for each in blocks_of(PUBLISHED, 6))
    found = in_chunks(sums, squares, [2, 5], 12, np.array([False, True, True, True, True, True]))
    whole = cross_validate(*blocks_of(PUBLISHED, 6), sessions=12)
    assert np.where(found.index == 5, 0, found.index).tolist() == whole.index.tolist()
    assert found.pbo == whole.pbo


@pytest.mark.skipif(INTERPRETED, reason="a grid of backtests")
def test_a_grids_backtests_are_validated_as_their_days_are():
    sessions, rules = synthetic_sessions(45, seed=4), Rules(measure="dollars")
    grid = ParameterGrid([0.2, 0.5, 0.9], [2, 1], [60, 0], [1, None, 3.0])
    plan = make_plan(sessions, grid, 300, rules)
    blocks = equal_blocks(45, 6)
    moments = compute_moments(plan.inputs[0], grid, plan.rules, Chunk(0, len(grid), 0, 0), blocks)
    found = cross_validate(moments.sums, moments.squares, sessions=21)
    days = np.array([run_backtest(sessions, 300, *point.values(), rules).daily.to_numpy() for point in grid])[:, 3:]
    distinct = np.unique(np.round(days, 6), axis=0)
    theirs = holdout.probability_of_backtest_overfitting(distinct.T, n_blocks=6)
    assert found.trials == len(distinct) < len(grid)
    assert (found.pbo, found.loss) == (theirs.pbo, theirs.probability_of_loss)
    np.testing.assert_allclose(np.sort(found.inside), np.sort(theirs.in_sample), rtol=1e-9)
    _, logits, _, _ = textbook(moments.sums, moments.squares, 21)  # theirs centres returns first: ties are lost
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)
    np.testing.assert_allclose([found.slope, found.intercept], theirs.degradation[:2], rtol=1e-7)


def test_a_chunk_of_nothing_changes_nothing():
    sums, squares = blocks_of(PUBLISHED, 6)
    nothing = np.zeros((0, 6), np.int64)
    picks = merge_picks(pick_best(nothing, nothing), pick_best(sums, squares))
    owns = own_columns(np.concatenate([hash_columns(nothing, nothing), hash_columns(sums, squares)]))
    ranks = merge_ranks(count_ranks(picks, nothing, nothing), count_ranks(picks, sums, squares, owns))
    assert find_overfitting(picks, ranks, 12).pbo == 0.65


def test_complements_come_in_reverse():
    for blocks in (2, 4, 6, 8, 10, 16):
        masks = split_masks(blocks)
        assert len(set(masks.tolist())) == len(masks) == math.comb(blocks, blocks // 2)
        assert (masks + masks[::-1] == (1 << blocks) - 1).all()
        assert {int(m).bit_count() for m in masks} == {blocks // 2}


@given(st.integers(0, 2**32))
def test_what_differs_in_the_last_bit_is_told_apart(seed):
    """The division decides, not the multiplication that stands for it: their roundings differ."""
    rng = np.random.default_rng(seed)
    sums, squares = rng.integers(2**51, 2**51 + 4, (2, 30, 4))
    found = in_chunks(sums, squares, [7, 20], sessions=2**54)
    index, logits, _, _ = textbook(sums, squares, 2)
    assert found.index.tolist() == index.tolist()
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)


def test_sharpe_ratios_come_back_from_their_ranks():
    returns = np.array([1.5, -2.0, 4.0, 0.5])
    v = returns.sum() * abs(returns.sum()) / (returns**2).sum()
    assert sharpe_of(v, 4) == pytest.approx(holdout.sharpe_ratio(returns), rel=1e-14)
    assert np.isnan(sharpe_of(np.array([4.0, -4.0]), 4)).all()
    assert sharpe_of(0.0, 4) == 0


def test_merging_is_the_same_in_any_order():
    a = Picks(2, np.array([1.0, 2.0]), np.array([0.1, 0.2]), np.array([3, 4]))
    b = Picks(2, np.array([1.0, 3.0]), np.array([0.3, 0.4]), np.array([2, 9]))
    for merged in (merge_picks(a, b), merge_picks(b, a)):
        assert merged.index.tolist() == [2, 9]
        assert merged.outside.tolist() == [0.3, 0.4]


@pytest.mark.parametrize("blocks", [0, 3, 22])
def test_odd_numbers_of_blocks_are_refused(blocks):
    with pytest.raises(BadInput, match=f"{blocks} blocks"):
        make_halves(blocks)


def test_sums_and_squares_of_other_shapes_are_refused():
    with pytest.raises(BadInput, match="shapes"):
        pick_best(np.zeros((2, 4)), np.zeros((2, 6)))
