"""Mean, spread, skew and kurtosis; sets of numbers merge, so that chunks computed anywhere add up.

References
----------
T. Chan, G. Golub and R. LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979);
P. Pébay, Formulas for Robust, One-Pass Parallel Computation of Covariances and Arbitrary-Order Statistical Moments
(2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


def skew_kurtosis(returns: Any) -> tuple[Any, Any]:
    """Return population skew and kurtosis (3 for the normal distribution) along the first axis; a constant: NaN.

    Examples
    --------
    >>> [float(moment) for moment in skew_kurtosis([0.0, 0.0, 3.0, 3.0])]
    [0.0, 1.0]
    """
    returns = np.asarray(returns, np.float64)
    away = returns - returns.mean(axis=0)
    away = np.where(np.ptp(returns, axis=0) > 0, away, np.nan)  # not away.any(): the mean of equal numbers is rounded
    square = (away**2).mean(axis=0)
    return (away**3).mean(axis=0) / square**1.5, (away**4).mean(axis=0) / square**2


@dataclass(frozen=True)
class CentralMoments:
    """How many numbers, their mean, and the sums of the 2nd, 3rd and 4th powers of their distances from it."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0

    @property
    def variance(self) -> float:
        """Of a sample (ddof 1); NaN below two numbers."""
        return self.m2 / (self.n - 1) if self.n > 1 else math.nan


def measure_moments(values: Any) -> CentralMoments:
    """Return the moments of numbers, for instance of a chunk's Sharpe ratios; NaN takes no part."""
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return CentralMoments()
    mean = float(values.mean())
    away = values - mean
    return CentralMoments(len(values), mean, *(float((away**k).sum()) for k in (2, 3, 4)))


def merge_moments(a: CentralMoments, b: CentralMoments) -> CentralMoments:
    """Return the moments of two sets of numbers together.

    Examples
    --------
    >>> merge_moments(measure_moments([1, 2, 4]), measure_moments([8, 16])).mean
    6.2
    """
    n = a.n + b.n
    if n == 0:
        return a
    gap = b.mean - a.mean
    step, weight = gap / n, gap * gap * a.n * b.n / n
    return CentralMoments(
        n,
        (a.n * a.mean + b.n * b.mean) / n,
        a.m2 + b.m2 + weight,
        a.m3 + b.m3 + weight * step * (a.n - b.n) + 3 * step * (a.n * b.m2 - b.n * a.m2),
        a.m4
        + b.m4
        + weight * step * step * (a.n * a.n - a.n * b.n + b.n * b.n)
        + 6 * step * step * (a.n * a.n * b.m2 + b.n * b.n * a.m2)
        + 4 * step * (a.n * b.m3 - b.n * a.m3),
    )
