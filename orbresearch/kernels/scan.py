"""Many backtests over the same sessions, each by walking the ticks: the plain way, which ``grid`` must equal."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.kernels.backtest import simulate_session
from orbresearch.schema import LIMIT, STOP

RETURN_UNITS = 100_000_000  # a session's return is a whole number of 1e-8


@jit
def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator (> 0) rounded to the nearest whole number, halves to the even one."""
    quotient = numerator // denominator
    twice = 2 * (numerator - quotient * denominator)
    if twice > denominator or (twice == denominator and quotient % 2 != 0):
        quotient += 1
    return quotient


@jit
def trade_profit(trade: Any, q: int, cost: int, cost_limit: int) -> Any:
    """Return a trade's net profit in increment/q; ``cost`` and ``cost_limit`` as in :func:`add_session`."""
    move = (trade["exit_price"] - trade["entry_price"]) * trade["side"]
    return move * q - (cost_limit if trade["reason"] == LIMIT else cost)


@jit
def add_session(sums: Any, trades: Any, count: int, first_price: int, q: int, cost: int, cost_limit: int) -> None:
    """Add one session's trades to a backtest's sums.

    Parameters
    ----------
    sums : SUMS record
        Changed in place.
    trades : TRADE array
        The session's trades are the first ``count``, which is at least 1.
    first_price : int
        The session's first price, increments: what its profit is divided by.
    q, cost, cost_limit : int
        Profits are counted in increment/q; the cost of a trade, and of one that ends at its limit, in increment/q.
    """
    profit = held = 0
    for i in range(count):
        trade = trades[i]
        net = trade_profit(trade, q, cost, cost_limit)
        profit += net
        held += trade["exit_time"] - trade["entry_time"]
        sums["moves"] += (trade["exit_price"] - trade["entry_price"]) * trade["side"]
        if net > 0:
            sums["wins"] += 1
            sums["gross_profit"] += net
        else:
            sums["gross_loss"] -= net
        if trade["reason"] == STOP:
            sums["stops"] += 1
    change = divide_half_even(profit * RETURN_UNITS, first_price * q)
    sums["profit"] += profit
    sums["trades"] += count
    sums["traded"] += 1
    sums["holding"] += held * 1_000_000 // count
    if profit > 0:
        sums["won"] += 1
    sums["returns"] += change
    sums["squares"] += change * change
    if change < 0:
        sums["downside"] += change * change
    sums["peak"] = max(sums["peak"], sums["returns"])
    sums["drawdown"] = min(sums["drawdown"], sums["returns"] - sums["peak"])


@jit
def scan_grid(
    time: Any,
    until: Any,
    price: Any,
    first_of_bar: Any,
    ranges: Any,
    points: Any,
    reach: int,
    level: bool,
    q: int,
    cost: int,
    cost_limit: int,
    trades: Any,
    sums: Any,
) -> None:
    """Run every backtest of a chunk over every tradable session.

    Parameters
    ----------
    time, until, price : int32 array, shape (ticks,)
    first_of_bar : uint8 array, shape (ticks,)
    ranges : RANGES array, shape (sessions,)
        Tradable sessions in date order.
    points : int64 array, shape (backtests, 4)
        stop (increments), stop count, cool-off (seconds), limit (increments).
    reach, level
        As in :func:`~orbresearch.kernels.backtest.simulate_session`.
    q, cost, cost_limit : int
        As in :func:`add_session`.
    trades : TRADE array
        Scratch: room for one session's trades.
    sums : SUMS array, shape (backtests,)
        Zeros on entry; filled.

    Notes
    -----
    Sessions are the outer loop: a session's ticks stay in the cache while all backtests walk it.
    """
    for d in range(len(ranges)):
        day = ranges[d]
        for b in range(len(points)):
            count = simulate_session(
                time,
                until,
                price,
                first_of_bar,
                day["first_tick"],
                day["last_tick"],
                day["high"],
                day["low"],
                points[b, 0],
                points[b, 1],
                points[b, 2],
                points[b, 3],
                reach,
                level,
                trades,
            )
            if count > 0:
                add_session(sums[b], trades, count, day["first_price"], q, cost, cost_limit)
