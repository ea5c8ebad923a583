"""From whole-number sums to the columns of a result: strategy.md, "One backtest's numbers"."""

from __future__ import annotations

import math
from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.kernels._wide import scaled_variance
from orbresearch.kernels.scan import divide_half_even

ANNUAL = math.sqrt(252.0)


@jit
def sharpe_ratio(sessions: int, returns: int, squares: int) -> float:
    """Return mean(r) / std(r, ddof=1) * sqrt(252), NaN for one session or zero variance.

    Parameters
    ----------
    sessions : int
        T, sessions without a trade included.
    returns, squares : int
        Sum of r_d and of r_d squared, in units of return.
    """
    spread = scaled_variance(sessions, returns, squares)
    if sessions < 2 or spread == 0.0:
        return math.nan
    return returns * math.sqrt((sessions - 1) / (sessions * spread)) * ANNUAL


@jit
def sortino_ratio(sessions: int, returns: int, downside: int) -> float:
    """Return mean(r) / sqrt(mean(min(r, 0)^2)) * sqrt(252), NaN without a losing session."""
    if downside == 0:
        return math.nan
    return returns / math.sqrt(float(sessions) * downside) * ANNUAL


@jit
def ratio(numerator: float, denominator: float) -> float:
    """Return numerator / denominator, NaN where the denominator is zero: undefined is missing, never infinite."""
    return numerator / denominator if denominator != 0 else math.nan


@jit
def finish_row(sums: Any, sessions: int, unit: float, increment: float, whole: float, out: Any) -> None:
    """Write one backtest's columns.

    Parameters
    ----------
    sums : SUMS record
    sessions : int
        T: tradable sessions.
    unit : float
        increment/q units in a dollar: profits are divided by it.
    increment : float
        Increments in a dollar.
    whole : float
        Units of return in 1: 1e8, or those of dollars.
    out : float64 array, shape (len(COLUMNS),)
    """
    trades, traded = sums["trades"], sums["traded"]
    out[0] = sums["profit"] / unit
    out[1] = sums["returns"] / whole
    out[2] = ratio(sums["holding"], traded * 1e6)
    out[3] = divide_half_even(100 * sums["won"], traded) if traded > 0 else math.nan
    out[4] = ratio(sums["wins"], trades)
    out[5] = sums["gross_profit"] / unit
    out[6] = sums["gross_loss"] / unit
    out[7] = ratio(sums["gross_profit"], sums["gross_loss"])
    out[8] = ratio(sums["profit"], trades * unit)
    out[9] = ratio(sums["moves"], 2 * trades * increment)
    out[10] = sharpe_ratio(sessions, sums["returns"], sums["squares"])
    out[11] = sortino_ratio(sessions, sums["returns"], sums["downside"])
    out[12] = sums["drawdown"] / whole


#: What :func:`finish_row` writes, in order: names of schema.RESULTS.
COLUMNS = (
    "backtest_profit",
    "backtest_return",
    "average_holding_period",
    "win_rate_percent",
    "win_rate",
    "gross_profit",
    "gross_loss",
    "profit_factor",
    "expectancy",
    "break_even_cost",
    "sharpe_ratio",
    "sortino_ratio",
    "max_drawdown",
)


@jit
def finish_rows(sums: Any, sessions: int, unit: float, increment: float, whole: float, out: Any) -> None:
    """Write the columns of many backtests: ``out`` is float64, shape (len(sums), len(COLUMNS))."""
    for i in range(len(sums)):
        finish_row(sums[i], sessions, unit, increment, whole, out[i])
