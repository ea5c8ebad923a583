"""From any tick to the next higher and the next lower price: what lets an entry hop from record to record."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit


@jit
def link_records(price: Any, pointers: Any, higher: Any, lower: Any) -> None:
    """Link every tick to the first later one of its session at a higher, and at a lower, price.

    Parameters
    ----------
    price : int32 array, shape (ticks,)
        Increments.
    pointers : int64 array, shape (sessions + 1,)
        Ticks of session i are ``pointers[i]:pointers[i + 1]``.
    higher, lower : int32 array, shape (ticks,)
        Filled with indices into ``price``; -1 where no such tick follows in the session.

    Notes
    -----
    One backward pass: the candidates for "next higher" of a tick are the tick after it and that one's own chain, so
    following the links made so far serves as the monotonic stack.
    """
    for session in range(len(pointers) - 1):
        first, last = pointers[session], pointers[session + 1] - 1
        for k in range(last, first - 1, -1):
            j = k + 1 if k < last else -1
            while j >= 0 and price[j] <= price[k]:
                j = higher[j]
            higher[k] = j
            j = k + 1 if k < last else -1
            while j >= 0 and price[j] >= price[k]:
                j = lower[j]
            lower[k] = j


@jit
def link_breakouts(price: Any, ranges: Any, reach: int, breakout: Any) -> None:
    """Link every tick of the tradable sessions to the first at or after it that lies beyond the opening range.

    Parameters
    ----------
    price : int32 array, shape (ticks,)
    ranges : RANGES array
    reach : int
        Increments from an edge to the price that opens a position.
    breakout : int32 array, shape (ticks,)
        Filled from each session's ``first_tick`` to its ``last_tick``; a session's last tick stands for "none": no
        position opens there.
    """
    for d in range(len(ranges)):
        first, last = ranges[d]["first_tick"], ranges[d]["last_tick"]
        high, low = ranges[d]["high"] + reach, ranges[d]["low"] - reach
        found = last
        breakout[last] = last
        for k in range(last - 1, first - 1, -1):
            if price[k] >= high or price[k] <= low:
                found = k
            breakout[k] = found
