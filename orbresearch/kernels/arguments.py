"""What kernels take together, by name: ticks, the links between them, and the terms of a trade."""

from __future__ import annotations

from typing import Any, NamedTuple

from orbresearch.kernels._jit import jit
from orbresearch.schema import NEVER

STRIDE = 8  # seconds between the links from seconds to ticks


class Ticks(NamedTuple):
    """Ticks of the whole series, as schema.TICKS: arrays of one length."""

    time: Any
    until: Any
    price: Any
    first_of_bar: Any


class Links(NamedTuple):
    """Where to go from a tick or a second, as ``records`` makes them.

    Parameters
    ----------
    nodes : NODES array, shape (ticks,)
    until : int32 array, shape (ticks,)
        As in :class:`Ticks`.
    breakout : int32 array, shape (ticks,)
        The first tick at or after it that opens a position, or the day's last tick for none.
    standing : int32 array
        Per STRIDE of seconds from each day's ``trading_start`` on, the tick whose price stands at the first of them.
    start : int64 array, shape (days,)
        Where a day begins in ``standing``.
    """

    nodes: Any
    until: Any
    breakout: Any
    standing: Any
    start: Any


class Jumps(NamedTuple):
    """Long links along the chains of records, as :func:`~orbresearch.kernels.records.link_jumps` makes them."""

    higher: Any
    lower: Any


class Terms(NamedTuple):
    """What the rules say about every trade alike.

    Parameters
    ----------
    level : bool
        Whether orders rest at their levels (fill ``level``) or are filled at the tick's price (``seen``).
    once : bool
        Entry ``open``: one position a day, at ``trading_start``.
    anchored : bool
        Whether stop distances count from a day's anchor instead of the entry price.
    by_stop : bool
        Whether limits are multiples (1e-9) of the trade's own stop distance instead of increments.
    q, cost, cost_limit : int
        Profits are counted in increment/q; the cost of a trade, and of one that ends at its limit, in increment/q.
    scale : int
        A session's return is its profit times ``scale``, divided by the day's ``base`` times ``q``.
    """

    level: bool
    once: bool
    anchored: bool
    by_stop: bool
    q: int
    cost: int
    cost_limit: int
    scale: int


@jit
def stop_from(day: Any, terms: Terms, side: int, entry: int, distance: int) -> Any:
    """Return a position's distance from its entry price to its stop, increments, >= 1."""
    if not terms.anchored:
        return distance
    anchor = day["long_anchor"] if side > 0 else day["short_anchor"]
    return max(1, (entry - anchor) * side + distance)


@jit
def limit_from(terms: Terms, stop: int, limit: int) -> Any:
    """Return a position's distance from its entry price to its limit, increments, >= 1, or NEVER."""
    if not terms.by_stop or limit == NEVER:
        return limit
    whole, rest = limit // 1_000_000_000, limit % 1_000_000_000
    return max(1, whole * stop - (-rest * stop // 1_000_000_000))
