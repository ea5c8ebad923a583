"""Whether a Sharpe ratio is more than chance, and the best of many more than luck.

All Sharpe ratios are per period (per session, not annual). Skew and kurtosis are population moments (ddof 0), kurtosis
is 3 for the normal distribution. Arguments may be arrays, which broadcast. What is undefined is NaN.

References
----------
A. Lo, The Statistics of Sharpe Ratios, FAJ 58 (2002); E. Mertens, Comments on Variance of the IID Estimator in Lo
(2002). D. Bailey and M. López de Prado, The Sharpe Ratio Efficient Frontier, J. of Risk 15 (2012); The Deflated Sharpe
Ratio, J. of Portfolio Management 40 (2014). D. Bailey, J. Borwein, M. López de Prado and Q. Zhu, Pseudo-Mathematics
and Financial Charlatanism, Notices of the AMS 61 (2014). H. White, A Reality Check for Data Snooping, Econometrica 68
(2000).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_DEEP = 1e-280  # tail probabilities below this lose digits, then underflow: continued by their logarithm


def probabilistic_sharpe(sharpe: Any, n: Any, skew: Any = 0.0, kurtosis: Any = 3.0, benchmark: Any = 0.0) -> Any:
    """Return the probability that the true Sharpe ratio is above a benchmark (PSR).

    Parameters
    ----------
    sharpe, benchmark : float or array
        Per period.
    n : int or array
        Periods. Under about 30 with a trade the asymptotic formula is no guide: one winning trade in 250 days has .976.
    skew, kurtosis : float or array
        Of the returns.

    Returns
    -------
    float or array
        NaN below two periods, and for moments that no distribution with an error of estimation has.

    Examples
    --------
    >>> round(float(probabilistic_sharpe(1.585 / 12**0.5, 24, -2.448, 10.164)), 6)
    0.913234
    """
    from scipy.special import ndtr

    return ndtr((sharpe - np.asarray(benchmark)) / _sharpe_error(sharpe, n, skew, kurtosis))


def _sharpe_error(sharpe: Any, n: Any, skew: Any, kurtosis: Any) -> Any:
    """Return the standard error of a Sharpe ratio; NaN where it is no positive number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = _scaled_variance(sharpe, skew, kurtosis) / (np.asarray(n, np.float64) - 1)
        return np.sqrt(np.where((variance > 0) & (variance < np.inf), variance, np.nan))


def _scaled_variance(sharpe: Any, skew: Any, kurtosis: Any) -> Any:
    """Return n - 1 times the variance of an estimated Sharpe ratio: 1 - g3 SR + (g4 - 1)/4 SR^2."""
    sharpe = np.asarray(sharpe, np.float64)
    return 1 - skew * sharpe + (np.asarray(kurtosis) - 1) / 4 * sharpe * sharpe


def sharpe_interval(
    sharpe: float, n: int, skew: float = 0.0, kurtosis: float = 3.0, level: float = 0.95
) -> tuple[Any, Any]:
    """Return the two-sided confidence interval of a Sharpe ratio, per period: (low, high).

    Examples
    --------
    >>> low, high = sharpe_interval(0.1, 251)
    >>> round(float(low), 4), round(float(high), 4)
    (-0.0243, 0.2243)
    """
    from scipy.special import ndtri

    reach = ndtri((1 + level) / 2) * _sharpe_error(sharpe, n, skew, kurtosis)
    return sharpe - reach, sharpe + reach


def min_track_record(
    sharpe: Any, skew: Any = 0.0, kurtosis: Any = 3.0, benchmark: Any = 0.0, alpha: float = 0.05
) -> Any:
    """Return how many periods it takes until PSR reaches 1 - alpha (MinTRL); inf where ``sharpe <= benchmark``.

    Examples
    --------
    >>> round(float(min_track_record(2 / 250**0.5, benchmark=1 / 250**0.5)) / 250, 3)  # years of days
    2.731
    """
    from scipy.special import ndtri

    ahead = np.asarray(sharpe, np.float64) - benchmark
    scaled = _scaled_variance(sharpe, skew, kurtosis)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        needed = 1 + np.where(scaled > 0, scaled, np.nan) * (ndtri(alpha) / ahead) ** 2
    return np.where(ahead <= 0, np.inf, needed)[()]


def expected_maximum(n: Any) -> Any:
    """Return about what the largest of n independent standard normal numbers is on average.

    The approximation of extreme value theory, 2.6 % too high at 5 and .1 % at a million; 0 for n <= 1, and never below
    0: n need not be whole.

    Examples
    --------
    >>> round(float(expected_maximum(100)), 4)
    2.5306
    """
    from scipy.special import ndtri

    n = np.maximum(np.asarray(n, np.float64), 1.0)
    with np.errstate(invalid="ignore"):
        found = -(1 - np.euler_gamma) * ndtri(1 / n) - np.euler_gamma * ndtri(1 / (n * math.e))
    return np.maximum(found, 0.0)  # the upper quantile as a lower one: 1 - 1/n has lost its digits at a million


def deflated_sharpe(sharpe: Any, n: Any, skew: Any, kurtosis: Any, variance: Any, trials: Any) -> Any:
    """Return the PSR of the best of many trials against the best that luck alone would show (DSR).

    Parameters
    ----------
    sharpe, n, skew, kurtosis
        Of the best, as in :func:`probabilistic_sharpe`.
    variance : float or array
        Of the trials' Sharpe ratios, per period. The one found among them holds true differences too, which makes DSR
        cautious; 1/(n - 1) is that of trials without an edge.
    trials : float or array
        Independent ones: of correlated trials see :func:`effective_trials` and :func:`implied_trials`.

    Examples
    --------
    >>> round(float(deflated_sharpe(2.5 / 250**0.5, 1250, -3, 10, 0.5 / 250, 100)), 4)
    0.9004
    """
    return probabilistic_sharpe(sharpe, n, skew, kurtosis, np.sqrt(variance) * expected_maximum(trials))


def min_backtest_years(trials: Any, sharpe: Any) -> Any:
    """Return the years below which the best of so many trials without an edge is expected to show an annual Sharpe.

    Examples
    --------
    >>> round(float(min_backtest_years(45, 1)), 2)
    5.0
    """
    return (expected_maximum(trials) / sharpe) ** 2


def effective_trials(squared_norm: float, sessions: int, trials: int) -> float:
    """Return how many independent trials correlated ones amount to, by their average correlation.

    Parameters
    ----------
    squared_norm : float
        Sum over sessions of (sum over trials of z) squared, z being returns with mean 0 and population variance 1: one
        vector of T numbers, which adds up across chunks.
    sessions, trials : int

    Returns
    -------
    float
        rho + (1 - rho) N with rho = (squared_norm / T - N) / (N (N - 1)), within 0 and 1; for one trial 1.

    Examples
    --------
    >>> effective_trials(squared_norm=4.0 * 250, sessions=250, trials=2)  # two trials that are the same
    1.0
    """
    if trials <= 1:
        return float(trials)
    rho = (squared_norm / sessions - trials) / (trials * (trials - 1.0))
    rho = min(max(rho, 0.0), 1.0) if rho == rho else math.nan
    return rho + (1.0 - rho) * trials


def implied_trials(mean_maximum: float) -> float:
    """Return the N of which :func:`expected_maximum` is a given number: a bootstrap's mean of maxima, as z.

    Returns
    -------
    float
        1 where nothing above 0 is given, inf beyond what floats can hold (about 37).

    Examples
    --------
    >>> round(implied_trials(2.5306028932), 3)
    100.0
    """
    from scipy.optimize import brentq

    if not 0.0 < mean_maximum < expected_maximum(math.exp(700.0)):
        return math.nan if mean_maximum != mean_maximum else 1.0 if mean_maximum <= 0.0 else math.inf
    root = brentq(lambda log: float(expected_maximum(math.exp(log))) - mean_maximum, 0.0, 700.0, xtol=1e-14)
    return math.exp(root)


def to_z(t: Any, sessions: int) -> Any:
    """Return the normal deviates that are as rare as t-statistics of T sessions: Phi^-1(F(t)), F with T - 1 degrees.

    Symmetric, and precise however far out: what would round to probability 0 is found by its logarithm (up to 100,000
    sessions).

    Parameters
    ----------
    t : float or array
    sessions : int
        T, 2 or more.

    Examples
    --------
    >>> [round(float(z), 4) for z in to_z([-3.0, 0.0, 3.0, 1e9], 20)]
    [-2.68, 0.0, 2.68, 26.9799]
    """
    from scipy.special import ndtri_exp, stdtr

    t = np.asarray(t, np.float64)
    size = np.abs(t)
    with np.errstate(all="ignore"):
        tail = stdtr(sessions - 1.0, -size)
        log = np.where(tail < _DEEP, _log_tail(size, sessions - 1.0), np.log(tail))
        return np.copysign(ndtri_exp(log), t)


def _log_tail(t: Any, freedom: float) -> Any:
    """Return log P(X > t) of Student's t far out: the incomplete beta function by its series (DLMF 8.17.7)."""
    from scipy.special import betaln, hyp2f1

    a, odds = freedom / 2, t * (t / freedom)
    return -a * np.log1p(odds) + np.log(hyp2f1(a, 0.5, a + 1, 1 / (1 + odds))) - math.log(freedom) - betaln(a, 0.5)


def p_value(statistic: float, maxima: Any) -> float:
    """Return the Reality Check's p-value: how often luck alone does as well, the sample itself counted in.

    Parameters
    ----------
    statistic : float
        The largest of all trials.
    maxima : float array, shape (draws,)
        The largest of each bootstrap draw.

    Examples
    --------
    >>> p_value(2.0, [0.5, 2.0, 1.0])
    0.5
    """
    maxima = np.asarray(maxima)
    if statistic != statistic:
        return math.nan
    return (1 + int(np.count_nonzero(maxima >= statistic))) / (len(maxima) + 1)


def false_discoveries(p: Any) -> Any:
    """Return p-values adjusted by Benjamini and Hochberg: at most q of those up to q are false; NaN stays NaN.

    Examples
    --------
    >>> false_discoveries([0.01, math.nan, 0.04]).tolist()
    [0.02, nan, 0.04]
    """
    from scipy.stats import false_discovery_control

    found = np.array(p, np.float64)
    known = ~np.isnan(found)
    found[known] = false_discovery_control(found[known])
    return found
