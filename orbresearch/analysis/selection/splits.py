"""Every way to split blocks of sessions into two halves, in the order in which kernels visit them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from orbresearch.errors import BadInput

MOST_BLOCKS = 20  # 184,756 splits


@lru_cache(maxsize=8)
def make_halves(blocks: int) -> Any:
    """Return how the splits of S blocks are numbered, with padding: a kernels.overfitting.Halves."""
    from orbresearch.kernels.overfitting import LANES, Halves

    if blocks % 2 or not 2 <= blocks <= MOST_BLOCKS:
        raise BadInput("blocks", f"{blocks} blocks", f"give an even number from 2 to {MOST_BLOCKS}")
    half = blocks // 2
    mask = np.arange(1 << half)
    size = np.array([int(m).bit_count() for m in mask])
    count = np.bincount(size)
    wide = -(-count // LANES) * LANES
    begin = np.cumsum(wide) - wide
    place = np.empty(1 << half, np.int64)  # of each mask in `upper`
    order = np.argsort(size, kind="stable")
    place[order] = begin[size[order]] + np.arange(1 << half) - np.searchsorted(size[order], size[order])
    upper, mirror = np.zeros((2, int(wide.sum())), np.int64)
    upper[place], mirror[place] = mask, place[::-1]
    start = np.concatenate([[0], np.cumsum(wide[half - size])])
    return Halves(upper, mirror, begin, count, half - size, start)


@lru_cache(maxsize=8)
def split_places(blocks: int) -> Any:
    """Return where each of the C(S, S/2) splits lies among the padded places: int64 array, ascending."""
    halves = make_halves(blocks)
    count = halves.count[halves.size]
    return np.concatenate([start + np.arange(n) for start, n in zip(halves.start, count, strict=False)])


def split_masks(blocks: int) -> Any:
    """Return every split's sample as a bit mask of blocks; what split k leaves out is split K - 1 - k.

    Examples
    --------
    >>> [f"{mask:04b}" for mask in split_masks(4)]
    ['1100', '0101', '1001', '0110', '1010', '0011']
    """
    halves, half = make_halves(blocks), blocks // 2
    return np.concatenate(
        [
            mask | halves.upper[halves.begin[size] + np.arange(halves.count[size])] << half
            for mask, size in enumerate(halves.size)
        ]
    )
