"""Pooled backtests: daily profits and returns added ticker by ticker, in blocks of backtests that fit into memory.

What the columns of a pooled row mean, x_d and r_d being those of :mod:`orbresearch.pool`:

backtest_profit, backtest_return
    Sum of x_d; sum of r_d.
sharpe_ratio, sortino_ratio, max_drawdown
    Of r_d over all T.
sessions, sessions_traded
    T; dates with a trade of any ticker.
win_rate_percent
    100 times dates with x_d > 0 divided by dates with a trade.
trades, stops, win_rate
    Of all tickers together: they are counted, not averaged.
gross_profit, gross_loss, profit_factor, expectancy, break_even_cost
    Over all trades of all tickers: their sums, and the ratios of those. So gross_profit less gross_loss is no mean over
    tickers, and exceeds backtest_profit about as many times as there are tickers present.
average_holding_period
    Mean over all sessions with a trade of all tickers, each counted once, of that session's mean holding time.
resolved
    1 where it is for every ticker that is ever present.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.analysis.grids import Visitor, compute_sums, kernel_arguments
from orbresearch.grid import Points
from orbresearch.inputs import Input
from orbresearch.plan import Chunk, block_rows
from orbresearch.pool import DOLLARS, PROFITS, UNITS, Pool, factor_of, mean_units, returns_in_one, rules_in_dollars
from orbresearch.rules import Rules, find_costs
from orbresearch.schema import SUMS

_DAILY = 4_000_000  # profits by date held at once, and as many returns
_RETURNS = 10**8  # units of return in 1
_COUNTS = "trades", "wins", "stops", "holding"
_GROSS = "gross_profit", "gross_loss"


def sum_pool(pool: Pool, points: Points, rules: Rules, chunk: Chunk, visit: Visitor | None = None) -> tuple[Any, Any]:
    """Return SUMS of every pooled backtest of a chunk, and its sessions with a trade of all tickers (int64).

    Every ticker is computed in turn for as many backtests as fit; more of them need another turn of all tickers.

    Parameters
    ----------
    pool : Pool
    points, rules, chunk, visit
        As in :func:`~orbresearch.analysis.grids.compute_sums`.

    Returns
    -------
    sums : SUMS array, shape (chunk.rows,)
        Of the means: ``profit`` (1e-9 dollars), ``returns``, ``squares``, ``downside``, ``drawdown``, ``below`` (units
        of return: 1e-8, or 1e-6 dollars). Of dates: ``traded``, ``won``. Of all tickers together: the rest,
        ``gross_profit``, ``gross_loss`` and ``moves`` in the pool's unit.
    held : int64 array, shape (chunk.rows,)
    """
    sums, held = np.zeros(chunk.rows, SUMS), np.zeros(chunk.rows, np.int64)
    step = block_rows(points, max(1, _DAILY // len(pool.days)))
    for done in range(0, chunk.rows, step):
        rows = slice(done, min(done + step, chunk.rows))
        part = Chunk(chunk.first + done, rows.stop - done, chunk.input, chunk.point + done)
        returns = _sum_block(pool, points, rules, part, sums[rows], held[rows])
        if visit:
            visit(np.arange(rows.start, rows.stop), returns, sums[rows])
    return sums, held


def pool_columns(pool: Pool, points: Points, rules: Rules, chunk: Chunk) -> tuple[Any, Any]:
    """Return SUMS of a chunk's pooled backtests, and their columns as ``statistics.finish_rows`` writes them."""
    from orbresearch.kernels.pool import finish_pool
    from orbresearch.kernels.statistics import COLUMNS

    sums, held = sum_pool(pool, points, rules, chunk)
    values = np.empty((chunk.rows, len(COLUMNS)), order="F")  # columns lie together
    given = float(PROFITS), UNITS / pool.unit(rules), returns_in_one(pool, rules)
    finish_pool(sums, held, len(pool.days), *given, values)
    return sums, values


def _sum_block(pool: Pool, points: Points, rules: Rules, part: Chunk, sums: Any, held: Any) -> Any:
    """Fill the SUMS of backtests that are computed at once; return their r_d, shape (T, n)."""
    from orbresearch.kernels.pool import add_means, count_won, divide_rows

    by_return, dates = rules.measure == "return", len(pool.days)
    profits = np.zeros((dates, part.rows), np.int64)
    returns = np.zeros((dates if by_return else 0, part.rows), np.int64)
    present, traded = np.zeros(dates, np.int64), np.zeros(dates, bool)
    for member in pool.members:
        if len(member.days) == 0:
            continue
        at = np.searchsorted(pool.days, member.dates)
        present[at] += 1
        traded[at] |= _traded(member, rules)
        factor = factor_of(member.series.increment_nanos, rules, pool.unit(rules))
        add = _adder(member, rules, at, factor, profits, returns)
        found = compute_sums(member.in_dollars, points, rules_in_dollars(rules), part, add)
        _add_totals(found, factor * find_costs(rules, member.series.increment_nanos).q, factor, sums, held)
    sums["traded"] = np.count_nonzero(traded)
    count_won(profits, sums)
    returns = returns if by_return else profits.copy()
    divide_rows(returns, present, *((1, 1) if by_return else mean_units(pool, rules, DOLLARS)))
    divide_rows(profits, present, *mean_units(pool, rules, PROFITS))
    add_means(profits, returns, sums)
    return returns


def _traded(member: Input, rules: Rules) -> Any:
    """Return on which days a ticker trades: whatever the parameters, its first position opens or does not."""
    from orbresearch.kernels.pool import mark_traded

    _, links, days, terms = kernel_arguments(member, rules)
    traded = np.zeros(len(days), bool)
    mark_traded(links, days, terms, traded)
    return traded


def _adder(member: Input, rules: Rules, at: Any, factor: int, profits: Any, returns: Any) -> Visitor:
    """Return a visitor that adds a ticker's daily profits, and the returns that they are, to the pool's."""
    from orbresearch.kernels.pool import add_profits

    q, base = find_costs(rules, member.series.increment_nanos).q, np.ascontiguousarray(member.days["base"])

    def add(rows: Any, daily: Any, _: Any) -> None:
        add_profits(daily, rows, at, base, _RETURNS, q, factor, profits, returns)

    return add


def _add_totals(found: Any, increment: int, factor: int, sums: Any, held: Any) -> None:
    """Add what is counted over all tickers; ``increment``, ``factor``: units of the pool in one, in an increment/q."""
    held += found["traded"]
    for name in _COUNTS:
        sums[name] += found[name]
    for name in _GROSS:
        sums[name] += found[name] * factor
    sums["moves"] += found["moves"] * increment
