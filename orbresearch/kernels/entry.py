"""Where the next position opens: by links and halving, not by walking the ticks."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit


@jit
def find_tick(time: Any, first: int, last: int, second: int) -> int:
    """Return the first tick from ``first`` to ``last`` whose time is at or after a second; ``last`` at the latest."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if time[middle] < second:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def next_entry(
    time: Any,
    until: Any,
    price: Any,
    first_of_bar: Any,
    breakout: Any,
    j: int,
    last: int,
    ready: int,
    high: int,
    low: int,
    reach: int,
    level: bool,
) -> tuple[Any, Any, Any, Any]:
    """Return (tick, second, side, entry price) of the next position after a cool-off that ends at second ``ready``.

    Parameters
    ----------
    j : int
        A tick at or before the one that stands at ``ready``: that of the stop, or the session's first.
    breakout : int32 array
        As :func:`~orbresearch.kernels.records.link_breakouts` makes it.
    high, low, reach, level
        As in :func:`~orbresearch.kernels.backtest.simulate_session`.

    Returns
    -------
    tuple of int
        Tick -1 where no position opens any more.
    """
    k: Any = find_tick(time, j, last, ready)
    if k > j and time[k] > ready and until[k - 1] >= ready and breakout[k - 1] == k - 1:
        k -= 1  # its price stands outside when the cool-off ends
        return k, ready, 1 if price[k] > high else -1, np.int64(price[k])
    if k == j and time[k] < ready:
        return -1, 0, 0, 0
    k = np.int64(breakout[k])
    if k >= last:
        return -1, 0, 0, 0
    side = 1 if price[k] > high else -1
    entry: Any = np.int64(price[k])
    if level and first_of_bar[k] == 0:
        order = high + reach if side == 1 else low - reach
        if (order - price[k - 1]) * side > 0:
            entry = order
    return k, np.int64(time[k]), side, entry
