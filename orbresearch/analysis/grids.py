"""The shell around the kernels: cuts a chunk into blocks that fit the cache, and puts the sums in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from orbresearch.grid import ParameterGrid, ParameterList, Points
from orbresearch.inputs import Input, day_distances, return_units, worst_returns
from orbresearch.plan import Chunk
from orbresearch.pool import Item, Pool
from orbresearch.rules import Rules, find_costs
from orbresearch.schema import SUMS, TRADE

_CELLS = 50_000  # of a block: its equity, stretches and tails stay in the cache
_SLOTS = 256  # positions remembered per session
_DAILY = 4_000_000  # returns by day held at once
_DISTANCES = 4_000_000  # of a list, held at once

Span = tuple[int, int]
#: Takes positions in the chunk, shape (n,), their returns by day, shape (T, n), in units of return, and their SUMS.
Visitor = Callable[[Any, Any, Any], None]


def compute_sums(item: Item, points: Points, rules: Rules, chunk: Chunk, visit: Visitor | None = None) -> Any:
    """Return SUMS of every backtest of a chunk, in the order of its points.

    Parameters
    ----------
    item : Input or Pool
        Of a pool, sums as :func:`~orbresearch.analysis.pooled.sum_pool` gives them.
    points : ParameterGrid or ParameterList
    rules : Rules
        Resolved.
    chunk : Chunk
    visit : callable, optional
        Called with the daily returns of some backtests at a time, until each was shown once: a matrix of all would
        not fit into memory.
    """
    if isinstance(item, Pool):
        from orbresearch.analysis.pooled import sum_pool

        return sum_pool(item, points, rules, chunk, visit)[0]
    sums, done = np.zeros(chunk.rows, SUMS), 0
    if isinstance(points, ParameterList):
        _hop(item, points, rules, chunk, sums, visit)
        return sums
    for spans in cut_products(points.shape, chunk.point, chunk.point + chunk.rows):
        shape = [end - start for start, end in spans]
        part = slice(done, done + prod(shape))
        places = np.arange(part.start, part.stop).reshape(shape) if visit else None
        _compute_product(item, points, rules, spans, sums[part].reshape(shape), visit, places)
        done += prod(shape)
    return sums


def kernel_arguments(item: Input, rules: Rules) -> tuple[Any, Any, Any, Any]:
    """Return an input as kernels take it: (ticks, links, days, terms)."""
    from orbresearch.kernels.arguments import Links, Terms, Ticks

    costs = find_costs(rules, item.series.increment_nanos)
    flags = rules.fill == "level", rules.entry == "open", rules.anchored, rules.limit_unit == "R"
    scale, _ = return_units(rules, item.series.increment_nanos)
    terms = Terms(*flags, costs.q, costs.trade, costs.limit_trade, scale)
    ticks = Ticks(*item.series.columns.values())
    return ticks, Links(item.series.nodes, ticks.until, *item.entries), item.days, terms


def _hop(
    item: Input, points: ParameterList, rules: Rules, chunk: Chunk, sums: Any, visit: Visitor | None = None
) -> None:
    """Run a stretch of a list; fill its SUMS."""
    from orbresearch.kernels.arguments import Jumps
    from orbresearch.kernels.hops import hop_list

    _, *given = kernel_arguments(item, rules)
    links, jumps = given[0], Jumps(*item.series.jumps)
    per_day = _DISTANCES // max(1, len(item.days))
    step = max(1, min(chunk.rows, per_day, _DAILY // len(item.days) if visit else per_day))
    for start in range(0, chunk.rows, step):
        rows = slice(start, min(start + step, chunk.rows))
        drawn = points.points(chunk.point + rows.start, chunk.point + rows.stop)
        stops, limits = (
            day_distances(item, rules, name, drawn[name].tolist()) for name in ("stop_distance", "limit_distance")
        )
        counts, cooloffs = drawn["stop_count_limit"], drawn["stop_cooloff_period"]
        trades = np.zeros(most_trades(item, int(counts.max())), TRADE)
        daily = np.zeros((len(item.days) if visit else 0, rows.stop - rows.start), np.int64)
        hop_list(links, jumps, *given[1:], stops, counts, cooloffs, limits, trades, sums[rows], daily)
        if visit:
            visit(np.arange(rows.start, rows.stop), daily, sums[rows])


def most_trades(item: Input, stop_count: int) -> int:
    """Return how many trades a session can have at the most."""
    ticks = item.days["last_tick"] - item.days["first_tick"] + 1
    return int(min(stop_count, ticks.max(initial=1)))


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


def _compute_product(
    item: Input,
    grid: ParameterGrid,
    rules: Rules,
    spans: tuple[Span, ...],
    sums: Any,
    visit: Visitor | None,
    places: Any,
) -> None:
    """Run a product; fill its SUMS, shape as the spans; ``places``: which rows of the chunk they are.

    Values that come twice are computed once, in rising order (a cool-off of 0 is one of 1).
    """
    drawn = (values[slice(*span)] for values, span in zip(grid.document().values(), spans, strict=True))
    stops, counts, cooloffs, limits = drawn
    (stops, stop_at), (limits, limit_at) = _unique(stops), _unique(limits)
    counts, count_at = np.unique(np.array(counts, np.int64), return_inverse=True)
    cooloffs, cooloff_at = np.unique(np.maximum(np.array(cooloffs, np.int64), 1), return_inverse=True)
    stops = day_distances(item, rules, "stop_distance", stops)
    limits = day_distances(item, rules, "limit_distance", limits)
    cells = len(counts) * limits.shape[2]
    most = min(_CELLS, _DAILY // len(item.days)) if visit else _CELLS
    wide = max(1, most // cells)  # cool-offs at once
    high = max(1, most // (cells * min(wide, len(cooloffs))))  # stops at once
    for s in range(0, stops.shape[2], high):
        for c in range(0, len(cooloffs), wide):
            block = Block(stops[:, :, s : s + high], counts, cooloffs[c : c + wide], limits)
            rows, columns = (
                np.flatnonzero((at >= first) & (at < first + size))
                for at, first, size in ((stop_at, s, high), (cooloff_at, c, wide))
            )
            found = stop_at[rows] - s, count_at, cooloff_at[columns] - c, limit_at
            daily = _compute_block(item, rules, block, found, sums, rows, columns, visit is not None)
            if visit:
                cell = np.arange(daily.shape[1]).reshape(block.shape).transpose(0, 2, 1, 3)[np.ix_(*found)].ravel()
                part = np.ix_(rows, np.arange(len(count_at)), columns)
                at = np.argsort(cell)
                if len(cell) != daily.shape[1]:  # values that come twice
                    daily = daily[:, cell[at]]
                visit(places[part].ravel()[at], daily, sums[part].ravel()[at])


def _unique(values: list[float | None]) -> tuple[list[float | None], Any]:
    """Return the different distances, rising, no limit last, and where each value is among them."""
    rising = [*sorted({value for value in values if value is not None}), *[None] * (None in values)]
    place = {value: at for at, value in enumerate(rising)}
    return rising, np.array([place[value] for value in values], np.int64)


class Block(NamedTuple):
    """What the grid kernel runs at once: distances by day, side and value; counts and cool-offs; all rising."""

    stops: Any
    counts: Any
    cooloffs: Any
    limits: Any

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Stops, cool-offs, counts, limits: the order of the kernel's cells."""
        return self.stops.shape[2], len(self.cooloffs), len(self.counts), self.limits.shape[2]


def _compute_block(
    item: Input, rules: Rules, block: Block, found: tuple[Any, ...], sums: Any, rows: Any, columns: Any, daily: bool
) -> Any:
    """Run the kernel on a block; write its SUMS at the rows (stops) and columns (cool-offs) of a product.

    ``found``: along each axis of the product's part, which of the block's values it is. Returns every cell's returns by
    day where ``daily`` says so.
    """
    from orbresearch.kernels.grid import share_grid
    from orbresearch.kernels.ladder import LADDER
    from orbresearch.kernels.parts import PARTS, collect_sums, total_parts

    _, links, days, terms = kernel_arguments(item, rules)
    shape, size = block.shape, prod(block.shape)
    worst = worst_returns(item, int(block.counts[-1]), find_costs(rules, item.series.increment_nanos), rules)
    kind = np.int32 if worst.sum() < np.iinfo(np.int32).max else np.int64
    parts = [np.zeros((cells, PARTS), np.int64) for cells in (shape[0] * shape[3], size, size)]
    cells = np.zeros((2, size), kind), *parts
    slots = np.zeros((_SLOTS, 2 * shape[3] + LADDER), np.int64)
    memo = np.zeros(2 * int(np.diff(item.series.pointers).max()) + 4, np.int64)
    returns = np.zeros((len(days) if daily else 0, size), kind)
    traded = share_grid(links, days, terms, *block, *cells, slots, memo, returns)
    total_parts(shape, *parts)
    collect_sums(shape, *found, traded, terms, *cells, sums, rows, columns)
    return returns
