"""Sums and histograms of backtests by parameter value: what a run remembers of rows that it does not keep.

Whole numbers throughout, so that the order in which chunks arrive changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

from orbresearch.kernels._jit import jit
from orbresearch.schema import CELL_CLIP, CELL_STEPS

_HALF = 64  # buckets per doubling: each is 1/128 to 1/64 of its values wide

#: Buckets of one measure are numbered -MOST_BUCKET to MOST_BUCKET.
MOST_BUCKET = 64 * 23 + 127  # holds CELL_CLIP


@jit
def to_steps(value: float) -> int:
    """Return a value as a whole number of steps of 1/CELL_STEPS, clipped at CELL_CLIP steps."""
    steps = math.floor(value * CELL_STEPS + 0.5)
    return int(max(-CELL_CLIP, min(CELL_CLIP, steps)))


@jit
def bucket_of(steps: int) -> int:
    """Return the bucket of a number of steps: one each up to 127, then 64 for each doubling; negative ones mirrored."""
    size = abs(steps)
    _, bits = math.frexp(float(size))
    shift = max(0, bits - 7)
    found = _HALF * shift + (size >> shift)
    return found if steps >= 0 else -found


@jit
def _add(cell: Any, steps: int, value: float, sharpe_steps: int, sharpe: float) -> None:
    cell["backtests"] += 1
    cell["return_steps"] += steps
    if value > cell["return_max"]:
        cell["return_max"] = value
    if sharpe == sharpe:
        cell["sharpes"] += 1
        cell["sharpe_steps"] += sharpe_steps
        if sharpe > cell["sharpe_max"]:
            cell["sharpe_max"] = sharpe


@jit
def _flush(cell: Any, some: Any) -> None:
    cell["backtests"] += some["backtests"]
    cell["return_steps"] += some["return_steps"]
    cell["return_max"] = max(cell["return_max"], some["return_max"])
    cell["sharpes"] += some["sharpes"]
    cell["sharpe_steps"] += some["sharpe_steps"]
    cell["sharpe_max"] = max(cell["sharpe_max"], some["sharpe_max"])


@jit
def clear(cells: Any) -> None:
    """Make cells those of no backtest: the highest of nothing is minus infinity."""
    for i in range(len(cells)):
        cells[i]["backtests"] = cells[i]["return_steps"] = cells[i]["sharpes"] = cells[i]["sharpe_steps"] = 0
        cells[i]["return_max"] = cells[i]["sharpe_max"] = -math.inf


@jit
def add_stretch(
    shape: tuple[int, int, int, int], start: int, returns: Any, sharpes: Any, cells: Any, some: Any, buckets: Any
) -> None:
    """Count consecutive points of a grid, value by value and pair by pair of its parameters.

    Parameters
    ----------
    shape : tuple of int
        Values of each parameter.
    start : int
        Index in the grid of the first point.
    returns, sharpes : float64 arrays, shape (n,)
        ``backtest_return`` and ``sharpe_ratio``, NaN where undefined.
    cells : CELL array
        By value: parameter after parameter; then by pair: (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), the second
        parameter of each fastest.
    some : CELL array, shape (1,)
        Workspace.
    buckets : int32 array, shape (sum(shape), 2, 2 * MOST_BUCKET + 1)
        By value: how often the return, and the Sharpe ratio, lay in each bucket.
    """
    n0, n1, n2, n3 = shape
    v1, v2, v3 = n0, n0 + n1, n0 + n1 + n2
    p01 = v3 + n3
    p02 = p01 + n0 * n1
    p03 = p02 + n0 * n2
    p12 = p03 + n0 * n3
    p13 = p12 + n1 * n2
    p23 = p13 + n1 * n3
    row, d = divmod(start, n3)
    done = 0
    while done < len(returns):
        rest, c = divmod(row, n2)
        a, b = divmod(rest, n1)
        run = min(n3 - d, len(returns) - done)
        clear(some)
        for i in range(done, done + run):
            value, sharpe = returns[i], sharpes[i]
            steps, sharpe_steps = to_steps(value), 0
            at = bucket_of(steps) + MOST_BUCKET
            buckets[a, 0, at] += 1
            buckets[v1 + b, 0, at] += 1
            buckets[v2 + c, 0, at] += 1
            buckets[v3 + d, 0, at] += 1
            if sharpe == sharpe:
                sharpe_steps = to_steps(sharpe)
                at = bucket_of(sharpe_steps) + MOST_BUCKET
                buckets[a, 1, at] += 1
                buckets[v1 + b, 1, at] += 1
                buckets[v2 + c, 1, at] += 1
                buckets[v3 + d, 1, at] += 1
            _add(some[0], steps, value, sharpe_steps, sharpe)
            for cell in (v3 + d, p03 + a * n3 + d, p13 + b * n3 + d, p23 + c * n3 + d):
                _add(cells[cell], steps, value, sharpe_steps, sharpe)
            d += 1
        for cell in (a, v1 + b, v2 + c, p01 + a * n1 + b, p02 + a * n2 + c, p12 + b * n2 + c):
            _flush(cells[cell], some[0])
        done += run
        row, d = row + 1, 0
