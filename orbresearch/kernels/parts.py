"""What a cell of a grid is summed from, exactly: days that end at a limit, days that end otherwise, and the equity."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels.scan import RETURN_UNITS

#: What is summed per cell; profits in increment/q.
GAIN, LOSS, RETURNS, SQUARES, DOWNSIDE, WON, WINS, STOPS, LIMITS, CLOSES, HOLDING = range(11)
PARTS = 11


@jit
def round_ratio(numerator: int, denominator: int, inverse: float) -> Any:
    """Return numerator / denominator rounded half to even, without a division: ``inverse`` is 1 / denominator.

    The product in floating point is off by less than one; the remainder, a whole number, settles the rest. The quotient
    must be below 2**50.
    """
    quotient = np.int64(np.rint(numerator * inverse))
    twice = 2 * (numerator - quotient * denominator)
    odd = quotient & 1
    if twice > denominator or (twice == denominator and odd):
        return quotient + 1
    if twice < -denominator or (twice == -denominator and odd):
        return quotient - 1
    return quotient


@jit
def add_day(
    part: Any, gain: int, loss: int, change: int, wins: int, stops: int, limits: int, closes: int, hold: int
) -> None:
    """Add one session's outcome to a cell's parts: int64, shape (PARTS,); ``hold`` in microseconds."""
    part[GAIN] += gain
    part[LOSS] += loss
    part[RETURNS] += change
    square = change * change
    part[SQUARES] += square
    if change < 0:
        part[DOWNSIDE] += square
    if gain > loss:
        part[WON] += 1
    part[WINS] += wins
    part[STOPS] += stops
    part[LIMITS] += limits
    part[CLOSES] += closes
    part[HOLDING] += hold


@jit
def move_equity(equity: Any, peak: Any, fall: Any, row: Any) -> None:
    """Add one session's returns to the equity of cells; follow its peak and its largest fall below it (1e-8)."""
    for i in range(len(row)):
        e = equity.dtype.type(equity[i] + row[i])
        p = max(peak[i], e)
        equity[i] = e
        peak[i] = p
        fall[i] = min(fall[i], equity.dtype.type(e - p))


@jit
def settle(
    state: Any,
    tail: Any,
    s: int,
    c: int,
    at: int,
    end: int,
    reached: int,
    row: Any,
    unit: int,
    inverse: float,
    gain: int,
    loss: int,
    wins: int,
    stopped: int,
    closes: int,
    held: int,
) -> None:
    """End a chain's day for the counts from index ``at`` to ``end``: one tail each, and the equity of their cells."""
    n = len(row)
    if reached < n:
        change = round_ratio((gain - loss) * RETURN_UNITS, unit, inverse)
        row[reached:] = change
        hold = held * 1_000_000 // (stopped + closes)
        for k in range(at, end):
            add_day(tail[s, c, k, reached], gain, loss, change, wins, stopped, 0, closes, hold)
    for k in range(at, end):
        move_equity(state[0, s, c, k], state[1, s, c, k], state[2, s, c, k], row)


@jit
def collect_sums(
    stops: Any,
    counts: Any,
    cooloffs: Any,
    limits: Any,
    traded: int,
    q: int,
    cost: int,
    cost_limit: int,
    state: Any,
    first: Any,
    stretch: Any,
    tail: Any,
    sums: Any,
) -> None:
    """Add up the parts of points and write their SUMS.

    Parameters
    ----------
    stops, counts, cooloffs, limits : int64 array, shape (points,)
        Indices of each point's values along the axes of the other arrays.
    traded, q, cost, cost_limit, state, first, stretch, tail
        As :func:`share_grid` takes and leaves them; ``stretch`` and ``tail`` are summed up in place.
    sums : SUMS array, shape (points,)
        Filled.
    """
    shape = stretch.shape
    for s in range(shape[0]):
        for c in range(shape[1]):
            for k in range(shape[2]):
                for i in range(shape[3]):
                    for p in range(PARTS):
                        if k > 0:
                            stretch[s, c, k, i, p] += stretch[s, c, k - 1, i, p]
                        if i > 0:
                            tail[s, c, k, i, p] += tail[s, c, k, i - 1, p]
    total = np.zeros(PARTS, np.int64)
    for b in range(len(sums)):
        s, k, c, i = stops[b], counts[b], cooloffs[b], limits[b]
        for p in range(PARTS):
            total[p] = first[s, i, p] + stretch[s, c, k, i, p] + tail[s, c, k, i, p]
        out = sums[b]
        out["profit"] = total[GAIN] - total[LOSS]
        out["returns"] = total[RETURNS]
        out["squares"] = total[SQUARES]
        out["downside"] = total[DOWNSIDE]
        out["peak"] = state[1, s, c, k, i]
        out["drawdown"] = state[2, s, c, k, i]
        out["traded"] = traded
        out["won"] = total[WON]
        out["trades"] = total[STOPS] + total[LIMITS] + total[CLOSES]
        out["wins"] = total[WINS]
        out["stops"] = total[STOPS]
        out["gross_profit"] = total[GAIN]
        out["gross_loss"] = total[LOSS]
        costs = cost * (total[STOPS] + total[CLOSES]) + cost_limit * total[LIMITS]
        out["moves"] = (total[GAIN] - total[LOSS] + costs) // q
        out["holding"] = total[HOLDING]
