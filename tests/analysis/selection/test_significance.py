"""Significance against published figures, holdout-backtest, empyrical-reloaded and exact arithmetic."""

from __future__ import annotations

import doctest
import math
from fractions import Fraction

import empyrical
import holdout
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from orbresearch.analysis.selection import central_moments, significance
from orbresearch.analysis.selection.central_moments import CentralMoments, measure_moments, merge_moments, skew_kurtosis
from orbresearch.analysis.selection.significance import (
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    false_discoveries,
    implied_trials,
    min_backtest_years,
    min_track_record,
    p_value,
    probabilistic_sharpe,
    sharpe_interval,
    to_z,
)
from orbresearch.kernels.statistics import sharpe_ratio, sortino_ratio

SHARPES = st.integers(-3000, 3000).map(lambda i: i / 1000)
SKEWS = st.floats(-5, 5)
RETURNS = st.lists(st.floats(-0.1, 0.1), min_size=20, max_size=60).filter(lambda r: np.std(r) > 1e-4)


@pytest.mark.parametrize("module", [significance, central_moments])
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


# Bailey and Lopez de Prado (2012), section 3 and exhibit 2; (2014), section 6.
@pytest.mark.parametrize(
    ("arguments", "published"),
    [
        ((1.585 / math.sqrt(12), 24, -2.448, 10.164), 0.9132343068848602),
        ((1.585 / math.sqrt(12), 24), 0.9815912360834967),
    ],
)
def test_probability_as_published(arguments, published):
    assert probabilistic_sharpe(*arguments) == pytest.approx(published, rel=1e-14)


def test_probability_against_a_benchmark_as_published():
    found = probabilistic_sharpe(2 / math.sqrt(12), 59, -0.72, 3, 1 / math.sqrt(12))
    assert round(float(found), 6) == 0.959743


@pytest.mark.parametrize(
    ("year", "skew", "kurtosis", "published"),
    [
        (250, 0.0, 3.0, 2.731187801728176),
        (52, 0.0, 3.0, 2.828833586945237),
        (12, 0.0, 3.0, 3.2398),
        (12, -0.72, 5.78, 4.991258),
    ],
)
def test_track_record_as_published(year, skew, kurtosis, published):
    found = float(min_track_record(2 / math.sqrt(year), skew, kurtosis, 1 / math.sqrt(year))) / year
    digits = len(str(published).partition(".")[2])
    assert round(found, min(digits, 14)) == round(published, min(digits, 14))


@pytest.mark.parametrize(
    ("n", "published"), [(10, 1.5745983), (100, 2.5306028932), (10**6, 4.8678600378), (10**7, 5.3048957713)]
)
def test_expected_maximum_as_published(n, published):
    assert round(float(expected_maximum(n)), len(str(published)) - 2) == published


def test_expected_maximum_is_near_the_exact_one():
    for n, share in ((10, 0.03), (100, 0.01), (10**6, 0.002)):
        exact, _ = integrate.quad(
            lambda x, n=n: x * n * math.exp(-x * x / 2 + (n - 1) * special.log_ndtr(x)) / math.sqrt(2 * math.pi), -8, 12
        )
        assert expected_maximum(n) == pytest.approx(exact, rel=share)
    assert expected_maximum([-3.0, 0, 1, 1.2]).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("trials", "skew", "kurtosis", "published"),
    [(100, -3, 10, 0.9003968344493909), (46, -3, 10, 0.9505017), (88, 0, 3, 0.9504908)],
)
def test_deflated_sharpe_as_published(trials, skew, kurtosis, published):
    found = float(deflated_sharpe(2.5 / math.sqrt(250), 1250, skew, kurtosis, 0.5 / 250, trials))
    digits = min(len(str(published)) - 2, 14)
    assert round(found, digits) == round(published, digits)


def test_threshold_and_least_length_as_published():
    assert math.sqrt(0.5 / 250) * expected_maximum(100) == pytest.approx(0.11317200186513203, rel=1e-14)
    assert min_backtest_years(45, 1) == pytest.approx(4.998087004443404, rel=1e-14)


@given(SHARPES, st.integers(2, 5000), SKEWS, st.floats(0, 5), SHARPES)
def test_probability_and_track_record_agree_with_another_package(sharpe, n, skew, above, benchmark):
    kurtosis = 1.001 + skew**2 + above  # no distribution has less than 1 + skew^2
    asked = {"benchmark": benchmark, "skewness": skew, "kurtosis": kurtosis}
    theirs = holdout.probabilistic_sharpe_ratio(sharpe, n, **asked)
    assert probabilistic_sharpe(sharpe, n, skew, kurtosis, benchmark) == pytest.approx(theirs, abs=1e-12)
    if sharpe > benchmark:
        theirs = holdout.minimum_track_record_length(sharpe, **asked)
        assert min_track_record(sharpe, skew, kurtosis, benchmark) == pytest.approx(theirs, rel=1e-9)
    else:
        assert min_track_record(sharpe, skew, kurtosis, benchmark) == math.inf


@given(RETURNS, st.integers(2, 10**6), st.floats(1e-6, 1))
def test_a_series_is_deflated_as_another_package_does(returns, trials, variance):
    theirs = holdout.estimate_sharpe(returns)
    skew, kurtosis = skew_kurtosis(returns)
    assert skew == pytest.approx(theirs.skewness, abs=1e-9)
    assert kurtosis == pytest.approx(theirs.kurtosis, rel=1e-9)
    daily = empyrical.sharpe_ratio(np.array(returns), annualization=1)
    assert daily == pytest.approx(theirs.value, abs=1e-12)
    other = holdout.deflated_sharpe_ratio(
        daily, len(returns), n_trials=trials, trials_variance=variance, skewness=theirs.skewness,
        kurtosis=theirs.kurtosis,
    )  # fmt: skip
    assert deflated_sharpe(daily, len(returns), skew, kurtosis, variance, trials) == pytest.approx(other, abs=1e-9)


def test_what_is_undefined_is_missing():
    assert np.isnan(probabilistic_sharpe([1.0, 1.0, math.nan], [1, 0, 20])).all()
    assert math.isnan(probabilistic_sharpe(1.0, 100, 3.0, 3.0))  # the root of a negative number
    assert math.isnan(min_track_record(1.0, 3.0, 3.0))
    assert np.isnan(sharpe_interval(1.0, 1)).all()
    assert math.isnan(p_value(math.nan, [1.0, 2.0]))
    assert np.isnan(skew_kurtosis([0.1, 0.1, 0.1])).all()
    assert math.isnan(implied_trials(math.nan))
    assert min_track_record([0.1, 0.2], benchmark=0.2).tolist() == [math.inf, math.inf]


@given(SHARPES, st.integers(2, 3000), st.floats(0.5, 0.999))
def test_the_intervals_lower_end_is_the_benchmark_that_is_just_passed(sharpe, n, level):
    low, high = sharpe_interval(sharpe, n, 0.3, 4.0, level)
    assert probabilistic_sharpe(sharpe, n, 0.3, 4.0, low) == pytest.approx((1 + level) / 2, abs=1e-10)
    assert (low + high) / 2 == pytest.approx(sharpe, abs=1e-12)


@given(st.integers(2, 12), st.integers(10, 80), st.integers(0, 2**32))
def test_effective_trials_are_those_of_the_correlation_matrix(trials, sessions, seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(size=(sessions, trials)) + rng.normal(size=(sessions, 1)) * rng.choice([0, 1, 5])
    z = (returns - returns.mean(axis=0)) / returns.std(axis=0)
    found = effective_trials(float((z.sum(axis=1) ** 2).sum()), sessions, trials)
    assert found == pytest.approx(holdout.effective_number_of_trials(np.corrcoef(returns.T), method="average"))


def test_one_trial_is_one_and_opposite_ones_are_all():
    assert effective_trials(99.0, 10, 1) == 1
    assert effective_trials(0.0, 10, 5) == 5  # average correlation below 0


@given(st.floats(2, 1e12))
def test_implied_trials_undo_the_expected_maximum(n):
    assert implied_trials(float(expected_maximum(n))) == pytest.approx(n, rel=1e-8)


def test_implied_trials_at_the_ends():
    assert implied_trials(0.0) == implied_trials(-math.inf) == 1.0
    assert implied_trials(60.0) == math.inf
    assert 1 < implied_trials(1e-6) < 2


@pytest.mark.parametrize("sessions", [2, 3, 20, 250, 5000])
def test_deviates_are_as_rare_as_their_statistics(sessions):
    t = np.array([0.0, 1e-9, 0.3, 1.0, 2.5, 4.0, 6.0])
    tail = scipy.stats.t.sf(t, sessions - 1)
    np.testing.assert_allclose(scipy.stats.norm.sf(to_z(t, sessions)), tail, rtol=1e-11)
    assert to_z(-t, sessions).tolist() == (-to_z(t, sessions)).tolist()
    assert to_z(math.inf, sessions) == math.inf
    assert math.isnan(to_z(math.nan, sessions))


def test_deviates_far_out_satisfy_the_exact_tail_of_four_degrees():
    # P(X > t) of 4 degrees is 1/2 - 3/4 s + s^3/4 with s = t / sqrt(4 + t^2); here as (1 - s)^2 (2 + s) / 4, without
    # cancellation as 1 - s = 4 / ((4 + t^2) (1 + s)).
    for t in (1e3, 1e9, 1e40, 1e72, 1e90, 1e140):
        s = t / math.hypot(2, t)
        log_tail = 2 * (math.log(4 / (1 + s)) - 2 * math.log(math.hypot(2, t))) + math.log((2 + s) / 4)
        assert special.log_ndtr(-to_z(t, 5)) == pytest.approx(log_tail, rel=1e-13)


def test_deviates_rise_without_a_step_where_the_logarithm_takes_over():
    for sessions in (20, 250, 2500, 100_000):
        z = to_z(np.geomspace(20, 2000, 20_001), sessions)
        steps = np.diff(np.log(z))
        assert (steps > 0).all()
        assert np.abs(np.diff(steps)).max() < 1e-6


def test_p_value_counts_the_sample_in():
    assert p_value(3.0, [1.0, 2.0]) == pytest.approx(1 / 3)
    assert p_value(2.0, [1.0, 2.0, -math.inf]) == 0.5
    assert p_value(1.0, []) == 1.0


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=30))
def test_discoveries_are_those_of_another_package(p):
    found, known = false_discoveries(p), ~np.isnan(p) if p else np.zeros(0, bool)
    assert np.isnan(found[~known]).all()
    if known.any():
        theirs = holdout.adjust_pvalues(np.array(p)[known], "bh")
        np.testing.assert_allclose(found[known], theirs, rtol=1e-12)


def test_moments_merge_as_published():
    found = merge_moments(measure_moments([1, 2, 4]), measure_moments([8, 16]))
    assert (found.n, found.mean) == (5, 6.2)
    assert [round(m, 9) for m in (found.m2, found.m3, found.m4)] == [148.8, 721.68, 10299.936]
    assert found.variance == pytest.approx(37.2)


@given(st.lists(st.lists(st.integers(-50, 50), max_size=6), max_size=6))
def test_merged_moments_are_those_of_all_numbers(chunks):
    found, numbers = CentralMoments(), [x for chunk in chunks for x in chunk]
    for chunk in chunks:
        found = merge_moments(found, measure_moments([*chunk, math.nan]))
    assert found.n == len(numbers)
    if numbers:
        mean = Fraction(sum(numbers), len(numbers))
        exact = [float(sum((x - mean) ** k for x in numbers)) for k in (2, 3, 4)]
        np.testing.assert_allclose([found.mean, found.m2, found.m3, found.m4], [float(mean), *exact], atol=1e-6)
    else:
        assert math.isnan(found.variance)


def test_sharpe_and_sortino_of_a_backtest_are_as_published():
    """The kernel's columns, on whole thousandths; annualised by 252 days, the published figures are not."""
    returns = np.array([259, 198, 364, -81, 57, 55, 188, 317, 240, 184, -10, 526]) - 50
    sharpe = sharpe_ratio(len(returns), int(returns.sum()), int((returns**2).sum())) / math.sqrt(252)
    assert sharpe == pytest.approx(0.8343639209671241, rel=1e-14)
    assert empyrical.sharpe_ratio(returns / 1000, annualization=1) == pytest.approx(sharpe, rel=1e-12)
    returns = np.array([17, 15, 23, -5, 12, 9, 13, -4])
    downside = int((np.minimum(returns, 0) ** 2).sum())
    sortino = sortino_ratio(len(returns), int(returns.sum()), downside) / math.sqrt(252)
    assert sortino == pytest.approx(4.417261042993862, rel=1e-14)
    assert empyrical.sortino_ratio(returns / 100, annualization=1) == pytest.approx(sortino, rel=1e-12)
