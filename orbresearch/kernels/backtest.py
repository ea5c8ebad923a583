"""One backtest by walking the ticks: strategy.md, "The day". The path for one backtest with its trades."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import Terms, Ticks, limit_from, stop_from
from orbresearch.kernels.entry import order_price
from orbresearch.schema import CLOSE, LIMIT, STOP


@jit
def write_trade(
    trade: Any,
    resting: bool,
    side: int,
    at: int,
    entry: int,
    stop: int,
    limit: int,
    second: int,
    price: int,
    reason: int,
) -> None:
    """Write a round trip.

    Parameters
    ----------
    trade : TRADE record
        Filled.
    resting : bool
        Whether a stop or limit fills at its level: not where the price jumped over it.
    side, at, entry : int
        +1 or -1; second and price of the entry, increments.
    stop, limit : int
        Distances, increments.
    second, price, reason : int
        Of the tick that ends it.
    """
    trade["side"] = side
    trade["entry_time"] = at
    trade["entry_price"] = entry
    trade["exit_time"] = second
    trade["exit_price"] = price
    if resting and reason == LIMIT:
        trade["exit_price"] = entry + side * limit
    elif resting and reason == STOP:
        trade["exit_price"] = entry - side * stop
    trade["reason"] = reason


@jit
def simulate_session(
    ticks: Ticks, day: Any, terms: Terms, stops: Any, stop_count: int, cooloff: int, limits: Any, trades: Any
) -> int:
    """Trade one session with one parameter set; write its trades and return how many.

    Parameters
    ----------
    ticks : Ticks
    day : DAYS record
        ``first_tick <= last_tick``, and the tick before ``first_tick`` belongs to the same session (its opening range
        holds at least one observation).
    terms : Terms
    stops, limits : int64 array, shape (2,)
        Distances of a long and of a short as the day's parameters give them: increments, >= 1 (an anchored stop's
        >= 0), limits 1e-9 under ``terms.by_stop``, NEVER for none.
    stop_count : int
        The day is over after this many stops, >= 1.
    cooloff : int
        Seconds without a position after a stop; 0 counts as 1.
    trades : TRADE array
        Room for ``min(stop_count, last_tick - first_tick + 1)`` trades: every trade but the last ends by a stop.

    Notes
    -----
    The order of the checks at a tick is the law's: the session's last tick closes whatever it meets (a reached limit is
    named ``limit``, a reached stop is not counted); then the limit; then the stop. No position opens at the last tick.
    """
    time, price, last = ticks.time, ticks.price, day["last_tick"]
    count = stopped = 0
    k, ready = day["first_tick"], day["trading_start"]
    if terms.once and time[k] > ready:
        k -= 1  # its price stands since before the range's end
    while k < last:
        at = max(time[k], ready)  # the end of a cool-off, where that opens the position
        side = 1 if price[k] >= day["up"] else -1 if price[k] <= day["down"] else 0
        if terms.once:
            side = day["direction"]
            if side == 0:
                break
        if side == 0 or at > ticks.until[k]:
            k += 1
            continue
        if at >= day["cutoff"]:
            break
        rested = time[k] >= ready and not terms.once
        entry = price[k]
        if rested and terms.level and ticks.first_of_bar[k] == 0:
            entry = order_price(day, side, price[k - 1], price[k])
        stop = stop_from(day, terms, side, entry, stops[0 if side > 0 else 1])
        limit = limit_from(terms, stop, limits[0 if side > 0 else 1])
        j = k + 1
        if entry != price[k] and (price[k] - entry) * side >= limit:
            j = k  # the tick that fills the entry at its level is tested for the limit at once
        reason = STOP
        while True:
            move = (price[j] - entry) * side
            if j == last:
                reason = LIMIT if move >= limit else CLOSE
                break
            if move >= limit:
                reason = LIMIT
                break
            if move <= -stop:
                break
            j += 1
        resting = terms.level and ticks.first_of_bar[j] == 0
        write_trade(trades[count], resting, side, at, entry, stop, limit, time[j], price[j], reason)
        count += 1
        if reason != STOP or terms.once:
            break
        stopped += 1
        if stopped >= stop_count:
            break
        ready = time[j] + max(1, cooloff)
        k = j  # its price may still stand when the cool-off ends
    return count
