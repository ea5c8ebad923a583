"""A pool of tickers: daily profits and returns added ticker by ticker, then divided by how many there were."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import Links, Terms
from orbresearch.kernels.entry import first_entry
from orbresearch.kernels.parts import round_ratio
from orbresearch.kernels.scan import divide_half_even
from orbresearch.kernels.statistics import finish_row, ratio

_CACHED = 256  # backtests whose sums stay in the cache while all dates are added


@jit
def mark_traded(links: Links, days: Any, terms: Terms, traded: Any) -> None:
    """Mark the days with a trade, which are the same for every parameter set: ``traded`` is bool, shape (days,)."""
    for d in range(len(days)):
        k, _, _, _ = first_entry(links, days[d], links.start[d], terms)
        traded[d] = k >= 0


@jit
def add_profits(
    daily: Any, rows: Any, at: Any, base: Any, scale: int, q: int, factor: int, profits: Any, returns: Any
) -> None:
    """Add one ticker's daily profits, and the returns that they are, to those of its pool.

    Parameters
    ----------
    daily : int32 or int64 array, shape (days, n)
        The ticker's profits of n backtests, increment/q.
    rows : int64 array, shape (n,)
        Which backtests of the pool's they are.
    at : int64 array, shape (days,)
        Which dates of the pool its days are.
    base : int64 array, shape (days,)
        What a day's profit is divided by, increments.
    scale, q : int
        As ``Terms.scale`` of returns, and ``Terms.q``. A return is rounded half to even, as it is without a pool.
    factor : int
        Units of the pool's profits in an increment/q.
    profits, returns : int64 array, shape (dates, backtests)
        Changed in place: sums of profits, in the pool's unit, and of returns; ``returns`` may have no dates.
    """
    for d in range(len(at)):
        unit = base[d] * q
        inverse = 1.0 / unit
        for i in range(len(rows)):
            profit = int(daily[d, i])
            if profit == 0:
                continue
            profits[at[d], rows[i]] += profit * factor
            if len(returns) > 0:
                returns[at[d], rows[i]] += round_ratio(profit * scale, unit, inverse)


@jit
def divide_rows(values: Any, present: Any, up: int, down: int) -> None:
    """Turn each date's sums into means: value * up / (down * present), rounded half to even, in place.

    Parameters
    ----------
    values : int64 array, shape (dates, n)
    present : int64 array, shape (dates,)
        How many tickers each sum is of; 0 stays 0.
    up, down : int
        From the unit of the sums to that of the means.
    """
    for d in range(len(present)):
        parts = down * max(1, present[d])
        for i in range(values.shape[1]):
            if values[d, i] != 0:
                values[d, i] = divide_half_even(values[d, i] * up, parts)


@jit
def count_won(profits: Any, sums: Any) -> None:
    """Count the dates with a profit above zero: ``profits`` is int64, shape (dates, n); SUMS change in place."""
    for d in range(len(profits)):
        for i in range(len(sums)):
            if profits[d, i] > 0:
                sums[i]["won"] += 1


@jit
def add_means(profits: Any, returns: Any, sums: Any) -> None:
    """Add up the daily means of a pool.

    Parameters
    ----------
    profits, returns : int64 array, shape (dates, n)
        x_d and r_d, in their units, in the order of dates.
    sums : SUMS array, shape (n,)
        Changed in place: profit, returns, squares, downside, below and drawdown.
    """
    for start in range(0, len(sums), _CACHED):
        some = sums[start : start + _CACHED]
        for d in range(len(profits)):
            for i in range(len(some)):
                one, change = some[i], returns[d, start + i]
                one["profit"] += profits[d, start + i]
                one["returns"] += change
                one["squares"] += change * change
                if change < 0:
                    one["downside"] += change * change
                one["below"] = min(0, one["below"] + change)
                one["drawdown"] = min(one["drawdown"], one["below"])


@jit
def finish_pool(sums: Any, held: Any, sessions: int, profits: float, unit: float, whole: float, out: Any) -> None:
    """Write the columns of pooled backtests.

    Parameters
    ----------
    sums : SUMS array, shape (n,)
        ``profit`` in the unit of x_d; gross profit and loss, and ``moves``, in the pool's unit.
    held : int64 array, shape (n,)
        Sessions with a trade, of all tickers.
    sessions : int
        T.
    profits, unit, whole : float
        Units of x_d, of the pool's profits and of returns in 1 (dollar).
    out : float64 array, shape (n, len(COLUMNS))
        Filled, as ``statistics.finish_rows`` does.
    """
    for i in range(len(sums)):
        one, row = sums[i], out[i]
        finish_row(one, sessions, profits, unit, whole, row)
        row[2] = ratio(one["holding"], held[i] * 1e6)
        row[5] = one["gross_profit"] / unit
        row[6] = one["gross_loss"] / unit
        row[8] = ratio(one["gross_profit"] - one["gross_loss"], one["trades"] * unit)
