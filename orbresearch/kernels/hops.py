"""One backtest by hops from record to record: what a list of parameter sets that share nothing is computed by."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import Jumps, Links, Terms, limit_from, stop_from
from orbresearch.kernels.backtest import write_trade
from orbresearch.kernels.entry import first_entry, next_entry
from orbresearch.kernels.scan import add_session
from orbresearch.schema import CLOSE, LIMIT, NEVER, STOP


@jit
def find_beyond(nodes: Any, jump: Any, k: int, target: int, side: int) -> Any:
    """Return the first tick from ``k`` on at or beyond a price, upwards (side 1) or downwards (-1); -1 for none."""
    j = k
    while j >= 0 and (nodes[j]["price"] - target) * side < 0:
        far = jump[j]
        if far >= 0 and (nodes[far]["price"] - target) * side < 0:
            j = far
        else:
            j = nodes[j]["higher"] if side > 0 else nodes[j]["lower"]
    return j


@jit
def hop_session(
    links: Links,
    jumps: Jumps,
    day: Any,
    start: int,
    terms: Terms,
    stops: Any,
    stop_count: int,
    cooloff: int,
    limits: Any,
    trades: Any,
) -> int:
    """Trade one session with one parameter set; write its trades and return how many.

    The trades are those of :func:`~orbresearch.kernels.backtest.simulate_session`, whose other arguments these are;
    ``start`` is the day's in ``links.entry``.
    """
    nodes, last = links.nodes, day["last_tick"]
    k, at, side, entry = first_entry(links, day, start, terms)
    count = 0
    while k >= 0:
        way = 0 if side > 0 else 1
        stop = stop_from(day, terms, side, entry, stops[way])
        limit = limit_from(terms, stop, limits[way])
        along, against = (jumps.higher, jumps.lower) if side > 0 else (jumps.lower, jumps.higher)
        j, reason = find_beyond(nodes, against, k, entry - side * stop, -side), STOP
        if j < 0 or j == last:
            j, reason = last, CLOSE
        won = -1 if limit == NEVER else find_beyond(nodes, along, k, entry + side * limit, side)
        if 0 <= won <= j:
            j, reason = won, LIMIT
        stamp = np.int64(nodes[j]["stamp"])
        resting, price = terms.level and stamp & 1 == 0, np.int64(nodes[j]["price"])
        write_trade(trades[count], resting, side, at, entry, stop, limit, stamp >> 1, price, reason)
        count += 1
        if reason != STOP or terms.once or count >= stop_count:
            break
        k, at, side, entry = next_entry(links, day, start, terms, (stamp >> 1) + max(1, cooloff))
    return count


@jit
def hop_list(
    links: Links,
    jumps: Jumps,
    days: Any,
    terms: Terms,
    stops: Any,
    counts: Any,
    cooloffs: Any,
    limits: Any,
    trades: Any,
    sums: Any,
    daily: Any,
) -> None:
    """Run every backtest of a list over every tradable session: as ``scan_grid``, by hops.

    ``daily``: int64 array, shape (days or 0, backtests); where it has days, filled with every return of every day
    (units of return); zeros on entry.
    """
    for d in range(len(days)):
        stop, limit = stops[min(d, len(stops) - 1)], limits[min(d, len(limits) - 1)]
        for b in range(len(sums)):
            count = hop_session(
                links,
                jumps,
                days[d],
                links.start[d],
                terms,
                stop[:, b],
                counts[b],
                cooloffs[b],
                limit[:, b],
                trades,
            )
            if count > 0:
                change = add_session(sums[b], trades, count, days[d]["base"], terms)
                if len(daily) > 0:
                    daily[d, b] = change
