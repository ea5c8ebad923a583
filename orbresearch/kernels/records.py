"""Links from tick to tick and from second to tick: what lets a backtest hop instead of walk."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import STRIDE, Ticks


@jit
def link_records(ticks: Ticks, pointers: Any, nodes: Any) -> None:
    """Link every tick to the first later one of its session at a higher, and at a lower, price.

    Parameters
    ----------
    ticks : Ticks
    pointers : int64 array, shape (sessions + 1,)
        Ticks of session i are ``pointers[i]:pointers[i + 1]``.
    nodes : NODES array, shape (ticks,)
        Filled.

    Notes
    -----
    One backward pass: the candidates for "next higher" of a tick are the tick after it and that one's own chain, so
    following the links made so far serves as the monotonic stack.
    """
    price = ticks.price
    for session in range(len(pointers) - 1):
        first, last = pointers[session], pointers[session + 1] - 1
        higher = lower = -1
        for k in range(last, first - 1, -1):
            here = price[k]
            if k < last:  # one of the two is the tick after, or both are its own links
                higher = higher if price[k + 1] <= here else k + 1
                lower = lower if price[k + 1] >= here else k + 1
            while higher >= 0 and price[higher] <= here:
                higher = nodes[higher]["higher"]
            while lower >= 0 and price[lower] >= here:
                lower = nodes[lower]["lower"]
            nodes[k]["price"], nodes[k]["stamp"] = here, 2 * ticks.time[k] + ticks.first_of_bar[k]
            nodes[k]["higher"], nodes[k]["lower"] = higher, lower


@jit
def measure_days(price: Any, days: Any, span: Any, way: Any) -> None:
    """Measure how far prices go in each day, from the tick before its first to its last.

    Parameters
    ----------
    price : int32 array, shape (ticks,)
    days : DAYS array
    span, way : int64 array, shape (days,)
        Filled: highest minus lowest price, the opening range included; sum of all moves; increments.
    """
    for d in range(len(days)):
        high, low, moved = int(days[d]["high"]), int(days[d]["low"]), 0
        before = int(price[days[d]["first_tick"] - 1])
        for k in range(days[d]["first_tick"], days[d]["last_tick"] + 1):
            now = int(price[k])
            high, low, moved = max(high, now), min(low, now), moved + abs(now - before)
            before = now
        span[d], way[d] = high - low, moved


@jit
def link_breakouts(ticks: Ticks, days: Any, breakout: Any) -> None:
    """Link every tick of the days to the first at or after it that opens a position before the day's cutoff.

    Parameters
    ----------
    ticks : Ticks
    days : DAYS array
    breakout : int32 array, shape (ticks,)
        Filled from each day's ``first_tick`` to its ``last_tick``, which stands for "none": no position opens there.
    """
    for d in range(len(days)):
        up, down, cutoff = days[d]["up"], days[d]["down"], days[d]["cutoff"]
        found = last = days[d]["last_tick"]
        breakout[last] = last
        for k in range(last - 1, days[d]["first_tick"] - 1, -1):
            if (ticks.price[k] >= up or ticks.price[k] <= down) and ticks.time[k] < cutoff:
                found = k
            breakout[k] = found


@jit
def link_seconds(ticks: Ticks, days: Any, start: Any, standing: Any) -> None:
    """Link every few seconds of the days to the tick whose price stands there.

    Parameters
    ----------
    ticks : Ticks
    days : DAYS array
    start : int64 array, shape (days,)
        Where a day's links begin.
    standing : int32 array
        Filled: for each STRIDE of seconds from the day's ``trading_start`` to its last tick's, the last tick at or
        before the first of them; the tick before ``first_tick`` where there is none.
    """
    for d in range(len(days)):
        begin, last = days[d]["trading_start"], days[d]["last_tick"]
        k = days[d]["first_tick"] - 1
        for b in range((ticks.time[last] - begin) // STRIDE + 1):
            while k < last and ticks.time[k + 1] <= begin + b * STRIDE:
                k += 1
            standing[start[d] + b] = k


@jit
def link_jumps(nodes: Any, up: bool, pointers: Any, depth: Any, jump: Any) -> None:
    """Give the chains of one kind of record long links, so that any record is found in few steps.

    Parameters
    ----------
    nodes : NODES array
    up : bool
        Along ``higher`` links, or along ``lower`` ones.
    pointers : int64 array, shape (sessions + 1,)
    depth : int32 array, shape (ticks,)
        Scratch.
    jump : int32 array, shape (ticks,)
        Filled: a tick further along the same chain, or -1. Following it where it does not lead too far and the
        plain link elsewhere takes a number of steps that grows with the logarithm of the chain's length (E. Myers,
        An applicative random-access stack, 1983).
    """
    for session in range(len(pointers) - 1):
        for k in range(pointers[session + 1] - 1, pointers[session] - 1, -1):
            to = nodes[k]["higher"] if up else nodes[k]["lower"]
            if to < 0:
                depth[k], jump[k] = 0, -1
                continue
            depth[k] = depth[to] + 1
            far = jump[to]
            further = jump[far] if far >= 0 else -1
            near_steps = depth[to] - (depth[far] if far >= 0 else -1)
            far_steps = (depth[far] if far >= 0 else -1) - (depth[further] if further >= 0 else -1)
            jump[k] = further if near_steps == far_steps and far >= 0 else to
