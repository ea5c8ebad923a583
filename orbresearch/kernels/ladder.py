"""Where a position's stop and limits lie: one walk from record to record serves every limit at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit


@jit
def climb(
    time: Any,
    price: Any,
    first_of_bar: Any,
    higher: Any,
    lower: Any,
    k: int,
    last: int,
    side: int,
    entry: int,
    stop: int,
    limits: Any,
    level: bool,
    q: int,
    cost: int,
    cost_limit: int,
    out_time: Any,
    out_profit: Any,
) -> tuple[int, int, Any]:
    """Follow a position opened at tick ``k`` to its stop and to each limit that it reaches before.

    Parameters
    ----------
    time, price : int32 array
    first_of_bar : uint8 array
    higher, lower : int32 array
        As :func:`~orbresearch.kernels.records.link_records` makes them.
    k, last : int
        Tick of the entry; the session's last tick.
    side, entry : int
        +1 or -1; the entry price, increments.
    stop : int
        Distance of the stop, increments.
    limits : int64 array, shape (n,)
        Distances of the limits, increments, rising.
    level : bool
        Whether orders fill at their levels.
    q, cost, cost_limit : int
        Profits are counted in increment/q; the cost of a trade, and of one that ends at its limit.
    out_time, out_profit : int64 array, shape (n,)
        Filled for the limits reached: second of the exit, net profit in increment/q.

    Returns
    -------
    reached : int
        How many limits are reached before the stop: the first so many of ``limits``.
    end : int
        Tick of the stop, or -1 where the position is closed at the session's last tick.
    profit : int
        Net profit of the stop, or of the close, increment/q.
    """
    adverse, favourable = (lower, higher) if side > 0 else (higher, lower)
    j = k
    while j >= 0 and (price[j] - entry) * side > -stop:
        j = adverse[j]
    end = j if 0 <= j < last else -1
    if end >= 0:
        move = -stop if level and first_of_bar[end] == 0 else (np.int64(price[end]) - entry) * side
    else:
        move = (np.int64(price[last]) - entry) * side
    bound = end if end >= 0 else last + 1
    reached, j = 0, k
    for i in range(len(limits)):
        while j >= 0 and (price[j] - entry) * side < limits[i]:
            j = favourable[j]
        if j < 0 or j >= bound:
            break
        gain = limits[i] if level and first_of_bar[j] == 0 else (np.int64(price[j]) - entry) * side
        out_time[i] = time[j]
        out_profit[i] = gain * q - cost_limit
        reached += 1
    return reached, end, move * q - cost
