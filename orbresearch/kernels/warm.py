"""Load every kernel that a worker calls from the on-disk cache, or compile it, before the first chunk arrives."""

from __future__ import annotations

import numpy as np

from orbresearch.schema import RANGES, SUMS, TICKS


def warm_kernels() -> None:
    """Call the kernels of a chunk on nothing, with the types that chunks have."""
    from orbresearch.kernels.grid import share_grid
    from orbresearch.kernels.parts import PARTS, collect_sums
    from orbresearch.kernels.records import link_breakouts, link_records
    from orbresearch.kernels.statistics import COLUMNS, finish_rows

    ticks = tuple(np.zeros(0, kind) for kind in TICKS.values())
    links = tuple(np.zeros(0, np.int32) for _ in range(3))
    ranges, none = np.zeros(0, RANGES), np.zeros(0, np.int64)
    link_records(ticks[2], np.zeros(1, np.int64), *links[:2])
    link_breakouts(ticks[2], ranges, 1, links[2])
    parts = np.zeros((0, 0, PARTS), np.int64), *(np.zeros((0, 0, 0, 0, PARTS), np.int64) for _ in range(2))
    given = *ticks, *links, ranges, none, none, none, none, 1, False, 1, 0, 0
    sums = np.zeros(0, SUMS)
    for kind in (np.int32, np.int64):
        state = np.zeros((3, 0, 0, 0, 0), kind)
        share_grid(*given, state, *parts, np.zeros((2, 4), np.int64), none)
        collect_sums(none, none, none, none, 0, 1, 0, 0, state, *parts, sums)
    finish_rows(sums, 1, 100.0, 100.0, np.zeros((0, len(COLUMNS)), order="F"))
