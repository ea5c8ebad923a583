"""Sums and squares of returns by block of sessions: what walk-forward and cross-validation choose by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels._wide import scaled_variance


@jit
def add_blocks(daily: Any, blocks: Any, rows: Any, sums: Any, squares: Any) -> None:
    """Add daily returns of backtests to the sums of their blocks.

    Parameters
    ----------
    daily : int32 or int64 array, shape (sessions, n)
        Returns, in units of return.
    blocks : int64 array, shape (sessions,)
        Block of each session; below 0: in none.
    rows : int64 array, shape (n,)
        Where each backtest's sums lie.
    sums, squares : int64 array, shape (backtests, blocks)
        Changed in place: sums of r and of r squared, in units of return.
    """
    total, square = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)  # of the present block
    for d in range(len(blocks)):
        block, day = blocks[d], daily[d]
        if block < 0:
            continue
        for i in range(len(rows)):
            change = np.int64(day[i])
            total[i] += change
            square[i] += change * change
        if d + 1 == len(blocks) or blocks[d + 1] != block:
            for i in range(len(rows)):
                sums[rows[i], block] += total[i]
                squares[rows[i], block] += square[i]
            total[:] = 0
            square[:] = 0


@jit
def scale_returns(returns: Any, squares: Any, sessions: int, scales: Any) -> None:
    """Write what turns a sum of returns into a t-statistic: 1 / (sqrt(T) * std(r, ddof=1)), NaN without variance.

    Parameters
    ----------
    returns, squares : int64 array, shape (n,)
        Sums of r and of r squared over T sessions, in units of return.
    sessions : int
        T.
    scales : float64 array, shape (n,)
        Filled; per unit of return.
    """
    for i in range(len(returns)):
        spread = scaled_variance(sessions, returns[i], squares[i])
        scales[i] = math.sqrt((sessions - 1) / spread) if sessions > 1 and spread > 0.0 else math.nan


@jit
def fold_maxima(sums: Any, squares: Any, totals: Any, factors: Any, sessions: int, maxima: Any) -> None:
    """Raise each draw's maximum to the largest t-statistic of n backtests about their own means.

    Parameters
    ----------
    sums, squares : float32 array, shape (draws, n)
        Sums of the drawn returns, and of their squares divided by ``factors``.
    totals, factors : float64 array, shape (n,)
        Sums of the returns themselves; what one of ``squares`` is.
    sessions : int
        T.
    maxima : float64 array, shape (draws,)
        Changed in place.
    """
    for b in range(len(maxima)):
        drawn, square, most = sums[b], squares[b], maxima[b]
        # whether any is larger, squared, without a root or a quotient; a little more than those that are
        bar, hit = most * abs(most) / (sessions - 1), False
        bar -= abs(bar) * 1e-9
        for i in range(len(totals)):
            total = np.float64(drawn[i])
            away = total - totals[i]
            hit |= away * abs(away) > bar * (sessions * factors[i] * square[i] - total * total)
        if hit:
            for i in range(len(totals)):
                total = np.float64(drawn[i])
                spread = sessions * factors[i] * square[i] - total * total
                if spread > 0.0:
                    statistic = (total - totals[i]) * math.sqrt((sessions - 1) / spread)
                    most = max(most, statistic)
            maxima[b] = most
