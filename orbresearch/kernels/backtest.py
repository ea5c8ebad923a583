"""One backtest by walking the ticks: strategy.md, "The day". The path for one backtest with its trades."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.schema import CLOSE, LIMIT, STOP


@jit
def breakout_side(price: int, high: int, low: int, reach: int) -> int:
    """Return +1 at or above ``high + reach``, -1 at or below ``low - reach``, 0 between (all in increments)."""
    if price >= high + reach:
        return 1
    if price <= low - reach:
        return -1
    return 0


@jit
def simulate_session(
    time: Any,
    until: Any,
    price: Any,
    first_of_bar: Any,
    first: int,
    last: int,
    high: int,
    low: int,
    stop: int,
    stop_count: int,
    cooloff: int,
    limit: int,
    reach: int,
    level: bool,
    trades: Any,
) -> int:
    """Trade one session with one parameter set; write its trades and return how many.

    Parameters
    ----------
    time, until, price : int32 array
        Ticks of the whole series: seconds since the session's open, increments.
    first_of_bar : uint8 array
    first, last : int
        Index of the first tick at or after the range's end, and of the session's last tick; ``first <= last``, and the
        tick at ``first - 1`` belongs to the same session (its opening range holds at least one observation).
    high, low : int
        Edges of the opening range, increments.
    stop, limit : int
        Distances from the entry price, increments, >= 1.
    stop_count : int
        The day is over after this many stops, >= 1.
    cooloff : int
        Seconds without a position after a stop; 0 counts as 1.
    reach : int
        Increments from an edge to the price that opens a position: 1 where the edge must be exceeded strictly, the
        market's tick size for orders that rest there.
    level : bool
        Whether orders rest at their levels (fill ``level``) or are filled at the tick's price (``seen``).
    trades : TRADE array
        Room for ``min(stop_count, last - first)`` trades: every trade but the last ends by a stop.

    Notes
    -----
    The order of the checks at a tick is the law's: the session's last tick closes whatever it meets (a reached limit is
    named ``limit``, a reached stop is not counted); then the limit; then the stop. No position opens at the last tick.
    """
    count = stops = 0
    ready = time[first]  # the second from which a position may open: the end of the cool-off
    k = first
    while k < last:
        at = max(time[k], ready)
        side = breakout_side(price[k], high, low, reach)
        if side == 0 or at > until[k]:
            k += 1
            continue
        entry = price[k]
        j = k + 1
        if level and time[k] >= ready and first_of_bar[k] == 0:
            order = high + reach if side == 1 else low - reach
            if (order - price[k - 1]) * side > 0:
                entry = order
                if (price[k] - entry) * side >= limit:
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
        leave = price[j]
        if level and first_of_bar[j] == 0:
            if reason == LIMIT:
                leave = entry + side * limit
            elif reason == STOP:
                leave = entry - side * stop
        trade = trades[count]
        trade["side"] = side
        trade["entry_time"] = at
        trade["entry_price"] = entry
        trade["exit_time"] = time[j]
        trade["exit_price"] = leave
        trade["reason"] = reason
        count += 1
        if reason != STOP:
            break
        stops += 1
        if stops >= stop_count:
            break
        ready = time[j] + max(1, cooloff)
        k = j  # its price may still stand when the cool-off ends
    return count
