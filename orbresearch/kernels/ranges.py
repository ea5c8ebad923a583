"""The opening range of one session: strategy.md, "Opening range"."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit


@jit
def find_range(
    time: Any, price: Any, first_of_bar: Any, bars: bool, duration: int
) -> tuple[int, int, int, int, int, int]:
    """Return (open_price, close_price, high, low, count_trades, trading_start) of one session.

    Parameters
    ----------
    time, price : int32 array, shape (n,)
        The session's observations: seconds since the open, increments.
    first_of_bar : uint8 array, shape (n,)
    bars : bool
        Whether observations come from bars: then ``count_trades`` counts each bar once.
    duration : int
        Seconds; the window is half-open, 0 <= t < duration.

    Returns
    -------
    tuple of int
        Prices in increments; ``count_trades`` is 0 when the window is empty; ``trading_start`` is the second of the
        first observation at or after ``duration``, or -1 when there is none.
    """
    open_price = close_price = high = low = count = 0
    for i in range(len(time)):
        if time[i] >= duration:
            return open_price, close_price, high, low, count, time[i]
        if count == 0:
            open_price = high = low = price[i]
        close_price = price[i]
        high = max(high, price[i])
        low = min(low, price[i])
        if not bars or first_of_bar[i] == 1 or count == 0:
            count += 1
    return open_price, close_price, high, low, count, -1
