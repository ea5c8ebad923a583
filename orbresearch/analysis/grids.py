"""The shell around the grid kernel: cuts a chunk into products, and puts the sums in grid order."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from orbresearch.grid import ParameterGrid
from orbresearch.plan import Chunk, Input, worst_returns
from orbresearch.rules import NANOS, Rules, find_costs, to_increments
from orbresearch.schema import SUMS

_CELLS = 40_000  # of a block: its equity, peaks and falls stay in the cache
_SLOTS = 256  # positions remembered per session and stop

Span = tuple[int, int]


def compute_sums(item: Input, grid: ParameterGrid, rules: Rules, chunk: Chunk) -> Any:
    """Return SUMS of every backtest of a chunk, in grid order.

    Parameters
    ----------
    item : Input
    grid : ParameterGrid
    rules : Rules
        Resolved.
    chunk : Chunk
    """
    found = [
        _compute_product(item, grid, rules, spans).ravel()
        for spans in cut_products(grid.shape, chunk.point, chunk.point + chunk.rows)
    ]
    return np.concatenate(found)


def cut_products(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[Span, ...]]:
    """Cut a stretch of a grid into products: spans of indices along each axis, in the order of the grid.

    Examples
    --------
    >>> list(cut_products((3, 4), 2, 11))
    [((0, 1), (2, 4)), ((1, 2), (0, 4)), ((2, 3), (0, 3))]
    """
    if start >= stop:
        return
    if len(shape) == 1:
        yield ((start, stop),)
        return
    size = prod(shape[1:])
    (first, skip), (last, rest) = divmod(start, size), divmod(stop, size)
    if skip or first == last:
        for spans in cut_products(shape[1:], skip, rest if first == last else size):
            yield ((first, first + 1), *spans)
        first += 1
    if first < last:
        yield ((first, last), *((0, length) for length in shape[1:]))
    if rest and first <= last:
        for spans in cut_products(shape[1:], 0, rest):
            yield ((last, last + 1), *spans)


def _compute_product(item: Input, grid: ParameterGrid, rules: Rules, spans: tuple[Span, ...]) -> Any:
    """Return SUMS of a product, shape as the spans."""
    nanos = item.series.increment_nanos
    cut = [values[slice(*span)] for values, span in zip(grid.document().values(), spans, strict=True)]
    stops = np.array([to_increments(value, nanos) for value in cut[0]], np.int64)
    counts, count_at = np.unique(np.array(cut[1], np.int64), return_inverse=True)
    cooloffs = np.array(cut[2], np.int64)
    limits, limit_at = np.unique(np.array([to_increments(value, nanos) for value in cut[3]]), return_inverse=True)
    sums = np.zeros([len(values) for values in cut], SUMS)
    cells = len(counts) * len(limits)
    wide = max(1, _CELLS // cells)  # cool-offs at once
    high = max(1, _CELLS // (cells * min(wide, len(cooloffs))))  # stops at once
    for s in range(0, len(stops), high):
        for c in range(0, len(cooloffs), wide):
            block = stops[s : s + high], counts, cooloffs[c : c + wide], limits
            sums[s : s + high, :, c : c + wide] = _compute_block(item, rules, *block, count_at, limit_at)
    return sums


def _compute_block(
    item: Input, rules: Rules, stops: Any, counts: Any, cooloffs: Any, limits: Any, count_at: Any, limit_at: Any
) -> Any:
    """Run the kernel on a block; return SUMS, shape (stops, count_at, cooloffs, limit_at)."""
    from orbresearch.kernels.grid import share_grid
    from orbresearch.kernels.parts import PARTS, collect_sums

    costs = find_costs(rules, item.series.increment_nanos)
    reach, level = fill_arguments(rules, item.series.increment_nanos)
    shape = len(stops), len(cooloffs), len(counts), len(limits)
    narrow = worst_returns(item, int(counts[-1]), costs).sum() < np.iinfo(np.int32).max
    state = np.zeros((3, *shape), np.int32 if narrow else np.int64)
    first = np.zeros((shape[0], shape[3], PARTS), np.int64)
    stretch = np.zeros((*shape, PARTS), np.int64)
    tail = np.zeros((*shape[:3], shape[3] + 1, PARTS), np.int64)
    slots = np.zeros((_SLOTS, 2 * len(limits) + 4), np.int64)
    memo = np.zeros(2 * int(np.diff(item.series.pointers).max()) + 2, np.int64)
    ticks = tuple(item.series.columns.values())
    links = *item.series.records, item.breakouts(reach), item.ranges
    rules_given = reach, level, costs.q, costs.trade, costs.limit_trade
    arrays = state, first, stretch, tail
    traded = share_grid(*ticks, *links, stops, counts, cooloffs, limits, *rules_given, *arrays, slots, memo)
    order = len(stops), len(count_at), len(cooloffs), len(limit_at)
    s, k, c, i = np.indices(order).reshape(4, -1)
    sums = np.zeros(len(s), SUMS)
    collect_sums(s, count_at[k], c, limit_at[i], traded, costs.q, costs.trade, costs.limit_trade, *arrays, sums)
    return sums.reshape(order)


def fill_arguments(rules: Rules, increment_nanos: int) -> tuple[int, bool]:
    """Return the kernels' (reach, level): increments beyond the edge that open a position, and how it is filled."""
    level = rules.fill == "level"
    tick = -(-round(rules.tick_size * NANOS) // increment_nanos)
    return (max(1, tick) if level else 1), level
