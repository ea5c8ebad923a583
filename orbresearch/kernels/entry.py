"""Where a position opens: looked up by second, not walked to."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import STRIDE, Links, Terms


@jit
def order_price(day: Any, side: int, before: int, price: int) -> Any:
    """Return what an order at its level pays at a price that is not first of its bar: the level, if it was short of it.

    ``before`` is the price of the tick before, ``price`` the tick's own; increments.
    """
    order = day["up"] if side > 0 else day["down"]
    return order if (order - before) * side > 0 else price


@jit
def first_entry(links: Links, day: Any, start: int, terms: Terms) -> Any:
    """Return (tick, second, side, entry price) of a day's first position; tick -1 for none.

    Parameters
    ----------
    links : Links
    day : DAYS record
    start : int
        Of the day: ``links.start[d]``.
    terms : Terms
    """
    begin = np.int64(day["trading_start"])
    if not terms.once:
        return next_entry(links, day, start, terms, begin)
    k: Any = np.int64(day["first_tick"])
    if links.nodes[k]["stamp"] >> 1 > begin:
        k -= 1  # its price stands since before the range's end
    if k >= day["last_tick"] or day["direction"] == 0 or begin >= day["cutoff"]:
        return -1, 0, 0, 0
    return k, begin, day["direction"], np.int64(links.nodes[k]["price"])


@jit
def next_entry(links: Links, day: Any, start: int, terms: Terms, ready: int) -> Any:
    """Return (tick, second, side, entry price) of the position that opens at second ``ready`` or later.

    Parameters
    ----------
    links, day, start, terms
        As in :func:`first_entry`.
    ready : int
        The end of a cool-off, or the day's ``trading_start``: not before that.
    """
    nodes, last = links.nodes, day["last_tick"]
    if ready > nodes[last]["stamp"] >> 1:
        return -1, 0, 0, 0
    k: Any = np.int64(links.standing[start + (ready - day["trading_start"]) // STRIDE])
    while k < last and nodes[k + 1]["stamp"] >> 1 <= ready:
        k += 1
    if nodes[k]["stamp"] >> 1 < ready:
        if k >= day["first_tick"] and links.breakout[k] == k and links.until[k] >= ready and ready < day["cutoff"]:
            price = np.int64(nodes[k]["price"])  # an order that begins to work beyond its level: the standing price
            return k, ready, 1 if price >= day["up"] else -1, price
        k += 1
    k = np.int64(links.breakout[k])
    if k == last:
        return -1, 0, 0, 0
    stamp, price = np.int64(nodes[k]["stamp"]), np.int64(nodes[k]["price"])
    side = 1 if price >= day["up"] else -1
    if terms.level and stamp & 1 == 0:
        price = order_price(day, side, np.int64(nodes[k - 1]["price"]), price)
    return k, stamp >> 1, side, price
