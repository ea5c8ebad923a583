"""Load every kernel that a worker calls from the on-disk cache, or compile it, before the first chunk arrives."""

from __future__ import annotations

import numpy as np

from orbresearch.schema import CELL, DAYS, NODES, SUMS, TICKS


def warm_kernels() -> None:
    """Call the kernels of a chunk on nothing, with the types that chunks have."""
    from orbresearch.kernels.arguments import Links, Terms, Ticks
    from orbresearch.kernels.grid import share_grid
    from orbresearch.kernels.ladder import LADDER
    from orbresearch.kernels.parts import PARTS, collect_sums, total_parts
    from orbresearch.kernels.pool import add_means, add_profits, count_won, divide_rows, finish_pool, mark_traded
    from orbresearch.kernels.ranges import find_range
    from orbresearch.kernels.records import link_breakouts, link_records, link_seconds, measure_days
    from orbresearch.kernels.statistics import COLUMNS, finish_rows
    from orbresearch.kernels.summaries import MOST_BUCKET, add_stretch, clear

    ticks = Ticks(*(np.zeros(0, kind) for kind in TICKS.values()))
    days, none, record = np.zeros(0, DAYS), np.zeros(0, np.int64), np.zeros(0, np.int32)
    links, terms = (
        Links(np.zeros(0, NODES), record, record, record, none),
        Terms(False, False, False, False, 1, 0, 0, 1),
    )
    link_records(ticks, np.zeros(1, np.int64), links.nodes)
    link_breakouts(ticks, days, record)
    link_seconds(ticks, days, none, record)
    measure_days(ticks.price, days, none, none)
    find_range(ticks.time, ticks.price, ticks.first_of_bar, False, 1)
    distances = np.zeros((1, 2, 0), np.int64)
    shape, slots, pooled = (0, 0, 0, 0), np.zeros((2, LADDER), np.int64), np.zeros((0, 0), np.int64)
    for kind in (np.int32, np.int64):
        cells = np.zeros((2, 0), kind), *(np.zeros((0, PARTS), np.int64) for _ in range(3))
        daily, sums = np.zeros((0, 0), kind), np.zeros(shape, SUMS)
        share_grid(links, days, terms, distances, none, none, distances, *cells, slots, none, daily)
        total_parts(shape, *cells[1:])
        collect_sums(shape, none, none, none, none, 0, terms, *cells, sums, none, none)
        add_profits(daily, none, none, none, 1, 1, 1, pooled, pooled)
    counted = np.zeros(0, CELL), np.zeros(1, CELL), np.zeros((0, 2, 2 * MOST_BUCKET + 1), np.int32)
    clear(counted[0])
    add_stretch((1, 1, 1, 1), 0, np.zeros(0), np.zeros(0), *counted)
    rows = np.zeros(0, SUMS), np.zeros((0, len(COLUMNS)), order="F")
    finish_rows(rows[0], 1, 100.0, 100.0, 1e8, rows[1])
    mark_traded(links, days, terms, np.zeros(0, bool))
    divide_rows(pooled, none, 1, 1)
    count_won(pooled, rows[0])
    add_means(pooled, pooled, rows[0])
    finish_pool(rows[0], none, 1, 1e9, 1e9, 1e8, rows[1])
