"""Many backtests over the same sessions, each by walking the ticks: the plain way, which ``grid`` must equal."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import Terms, Ticks
from orbresearch.kernels.backtest import simulate_session
from orbresearch.schema import LIMIT, STOP


@jit
def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator (> 0) rounded to the nearest whole number, halves to the even one."""
    quotient = numerator // denominator
    twice = 2 * (numerator - quotient * denominator)
    if twice > denominator or (twice == denominator and quotient % 2 != 0):
        quotient += 1
    return quotient


@jit
def trade_profit(trade: Any, terms: Terms) -> Any:
    """Return a trade's net profit in increment/q."""
    move = (trade["exit_price"] - trade["entry_price"]) * trade["side"]
    return move * terms.q - (terms.cost_limit if trade["reason"] == LIMIT else terms.cost)


@jit
def add_session(sums: Any, trades: Any, count: int, base: int, terms: Terms) -> Any:
    """Add one session's trades to a backtest's sums; return the session's return.

    Parameters
    ----------
    sums : SUMS record
        Changed in place.
    trades : TRADE array
        The session's trades are the first ``count``, which is at least 1.
    base : int
        What the session's profit is divided by, increments.
    terms : Terms
    """
    profit = held = 0
    for i in range(count):
        trade = trades[i]
        net = trade_profit(trade, terms)
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
    change = divide_half_even(profit * terms.scale, base * terms.q)
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
    sums["below"] = min(0, sums["below"] + change)
    sums["drawdown"] = min(sums["drawdown"], sums["below"])
    return change


@jit
def scan_grid(
    ticks: Ticks, days: Any, terms: Terms, stops: Any, counts: Any, cooloffs: Any, limits: Any, trades: Any, sums: Any
) -> None:
    """Run every backtest of a chunk over every tradable session.

    Parameters
    ----------
    ticks : Ticks
    days : DAYS array, shape (sessions,)
        In date order.
    terms : Terms
    stops, limits : int64 array, shape (1 or sessions, 2, backtests)
        Distances of longs and shorts as in :func:`~orbresearch.kernels.backtest.simulate_session`, for each session
        or for all.
    counts, cooloffs : int64 array, shape (backtests,)
        Stop counts; cool-offs in seconds.
    trades : TRADE array
        Scratch: room for one session's trades.
    sums : SUMS array, shape (backtests,)
        Zeros on entry; filled.

    Notes
    -----
    Sessions are the outer loop: a session's ticks stay in the cache while all backtests walk it.
    """
    for d in range(len(days)):
        stop, limit = stops[min(d, len(stops) - 1)], limits[min(d, len(limits) - 1)]
        for b in range(len(sums)):
            count = simulate_session(ticks, days[d], terms, stop[:, b], counts[b], cooloffs[b], limit[:, b], trades)
            if count > 0:
                add_session(sums[b], trades, count, days[d]["base"], terms)
