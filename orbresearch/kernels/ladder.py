"""Where a position's stop and limits lie: one walk from record to record serves every limit and every stop."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import Terms, limit_from
from orbresearch.schema import NEVER

ADVERSE, FAVOURABLE, REACHED, LADDER = range(4)  # where a position's notes lie in its slot; LADDER: from there on


@jit
def climb(
    nodes: Any,
    terms: Terms,
    k: int,
    last: int,
    side: int,
    entry: int,
    stop: int,
    limits: Any,
    row: int,
    slots: Any,
    mark: int,
) -> tuple[int, int, Any]:
    """Follow a position opened at tick ``k`` to its stop and to each limit that it reaches before.

    Parameters
    ----------
    nodes : NODES array
    terms : Terms
    k, last : int
        Tick of the entry; the session's last tick.
    side, entry : int
        +1 or -1; the entry price, increments.
    stop : int
        Distance of the stop, increments, not smaller than at the last call with the same slot.
    limits : int64 array, shape (1 or days, 2, n)
        Distances of the limits, rising, increments (1e-9 of stops under ``terms.by_stop``), or NEVER.
    row : int
        The day's among the limits.
    slots : int64 array, shape (slots, 2 * n + LADDER)
    mark : int
        The position's slot: ``k, k, 0`` on the first call. A larger stop goes on where a smaller one ended: it ends no
        sooner and reaches no limit less. From LADDER on, for each limit reached: second of the exit; then net profits
        in increment/q.

    Returns
    -------
    reached : int
        How many limits are reached before the stop: the first so many of ``limits``.
    end : int
        Tick of the stop, or -1 where the position is closed at the session's last tick.
    profit : int
        Net profit of the stop, or of the close, increment/q.
    """
    n, way = limits.shape[2], 0 if side > 0 else 1
    j = slots[mark, ADVERSE]
    while j >= 0 and (nodes[j]["price"] - entry) * side > -stop:
        j = nodes[j]["lower"] if side > 0 else nodes[j]["higher"]
    slots[mark, ADVERSE] = j
    end = j if 0 <= j < last else -1
    move: Any = (np.int64(nodes[end if end >= 0 else last]["price"]) - entry) * side
    if end >= 0 and terms.level and nodes[end]["stamp"] & 1 == 0:
        move = -stop
    bound = end if end >= 0 else last + 1
    j, reached = slots[mark, FAVOURABLE], slots[mark, REACHED]
    while reached < n:
        limit = limit_from(terms, stop, limits[row, way, reached])
        if limit == NEVER:
            break
        while 0 <= j < bound and (nodes[j]["price"] - entry) * side < limit:
            j = nodes[j]["higher"] if side > 0 else nodes[j]["lower"]
        if j < 0 or j >= bound:
            break
        stamp = nodes[j]["stamp"]
        gain = limit if terms.level and stamp & 1 == 0 else (np.int64(nodes[j]["price"]) - entry) * side
        slots[mark, LADDER + reached] = stamp >> 1
        slots[mark, LADDER + n + reached] = gain * terms.q - terms.cost_limit
        reached += 1
    slots[mark, FAVOURABLE], slots[mark, REACHED] = j, reached
    return reached, end, move * terms.q - terms.cost
