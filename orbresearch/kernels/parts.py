"""What a cell of a grid is summed from, exactly: days that end at a limit, days that end otherwise, and the equity."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import Terms

#: What is summed per cell: one cache line. Profits in increment/q, returns in their units, holding in microseconds;
#: TRADES holds winning trades and stops, DAYS days won, ended at a limit and at the close, in bits of their own.
GAIN, LOSS, RETURNS, SQUARES, DOWNSIDE, HOLDING, TRADES, DAYS = range(8)
PARTS = 8
_STOPS = 1 << 32  # of TRADES
_LIMITS, _CLOSES = 1 << 21, 1 << 42  # of DAYS: more sessions than there are


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
def write_day(
    day: Any, gain: int, loss: int, change: int, wins: int, stops: int, limits: int, closes: int, held: int
) -> None:
    """Write one session's outcome as parts.

    Parameters
    ----------
    day : int64 array, shape (PARTS,)
        Filled.
    gain, loss : int
        Profits of its winning trades, losses of the others, increment/q.
    change : int
        Its return, in units of return.
    wins, stops, limits, closes : int
        Winning trades; trades by how they end.
    held : int
        Seconds in a position, of all its trades.
    """
    square = change * change
    day[GAIN] = gain
    day[LOSS] = loss
    day[RETURNS] = change
    day[SQUARES] = square
    day[DOWNSIDE] = square if change < 0 else 0
    # exact: a quotient of numbers below 2**50 is never rounded up to the next whole one
    day[HOLDING] = np.int64(held * 1_000_000 / (stops + limits + closes))
    day[TRADES] = wins + stops * _STOPS
    day[DAYS] = (1 if gain > loss else 0) + limits * _LIMITS + closes * _CLOSES


@jit
def add_day(parts: Any, cell: int, day: Any) -> None:
    """Add one session's parts to a cell's: ``parts`` is int64, shape (cells, PARTS)."""
    for p in range(PARTS):
        parts[cell, p] += day[p]


@jit
def take_day(parts: Any, cell: int, day: Any) -> None:
    """Take one session's parts from a cell's: where a stretch of cells ends."""
    for p in range(PARTS):
        parts[cell, p] -= day[p]


@jit
def move_equity(state: Any, cell: int, row: Any) -> None:
    """Add one session's returns to cells: how far each lies below its peak, and the largest such fall (<= 0).

    The peak itself is not needed: equity below it only moves by returns.

    Parameters
    ----------
    state : int32 or int64 array, shape (2, cells)
    cell : int
        The first of the cells.
    row : array of the type of ``state``
        Their returns.
    """
    zero, below, fall = state.dtype.type(0), state[0, cell:], state[1, cell:]  # indices that cannot be negative
    for i in range(len(row)):
        now = min(zero, state.dtype.type(below[i] + row[i]))
        below[i] = now
        fall[i] = min(fall[i], now)


@jit
def total_parts(shape: Any, first: Any, stretch: Any, tail: Any) -> None:
    """Sum up the differences that ``share_grid`` left along the axes, in place.

    Parameters
    ----------
    shape : tuple of int
        Stops, cool-offs, counts, limits.
    first, stretch, tail
        As ``share_grid`` leaves them: along the stops; along the counts; along the counts and the limits.
    """
    stops, chains, counts, limits = shape[0], shape[0] * shape[1], shape[2], shape[3]
    for cell in range(limits, stops * limits):
        add_day(first, cell, first[cell - limits])
    for chain in range(chains):
        for cell in range(chain * counts * limits, (chain + 1) * counts * limits):
            if cell - limits >= chain * counts * limits:
                add_day(stretch, cell, stretch[cell - limits])
            if cell % counts > 0:
                add_day(tail, cell, tail[cell - 1])
        for cell in range(chain * counts * limits + counts, (chain + 1) * counts * limits):
            add_day(tail, cell, tail[cell - counts])


@jit
def collect_sums(
    shape: Any,
    stops: Any,
    counts: Any,
    cooloffs: Any,
    limits: Any,
    traded: int,
    terms: Terms,
    state: Any,
    first: Any,
    stretch: Any,
    tail: Any,
    sums: Any,
    rows: Any,
    columns: Any,
) -> None:
    """Write the SUMS of a block of a product of points.

    Parameters
    ----------
    shape : tuple of int
        Stops, cool-offs, counts, limits of the block.
    stops, counts, cooloffs, limits : int64 array
        Along each axis of the block in ``sums``: which of the block's values it is.
    traded, terms, state, first, stretch, tail
        As ``share_grid`` takes and leaves them, after :func:`total_parts`.
    sums : SUMS array, shape (stops, counts, cooloffs, limits)
        Filled at the block's stops and cool-offs.
    rows, columns : int64 array
        Which stops and cool-offs of ``sums`` the block's are.
    """
    total = np.zeros(PARTS, np.int64)
    for a in range(len(stops)):
        for b in range(len(counts)):
            for e in range(len(cooloffs)):
                chain = stops[a] * shape[1] + cooloffs[e]
                for f in range(len(limits)):
                    cell = (chain * shape[2] + counts[b]) * shape[3] + limits[f]
                    end = (chain * shape[3] + limits[f]) * shape[2] + counts[b]
                    for p in range(PARTS):
                        total[p] = first[stops[a] * shape[3] + limits[f], p] + stretch[cell, p] + tail[end, p]
                    write_sums(total, traded, terms, state[0, cell], state[1, cell], sums[rows[a], b, columns[e], f])


@jit
def write_sums(total: Any, traded: int, terms: Terms, below: int, drawdown: int, out: Any) -> None:
    """Write a cell's parts as a SUMS record; ``traded``: its sessions with a trade."""
    wins, stops = total[TRADES] % _STOPS, total[TRADES] // _STOPS
    won, limits, closes = total[DAYS] % _LIMITS, total[DAYS] % _CLOSES // _LIMITS, total[DAYS] // _CLOSES
    profit = total[GAIN] - total[LOSS]
    out["profit"] = profit
    out["returns"] = total[RETURNS]
    out["squares"] = total[SQUARES]
    out["downside"] = total[DOWNSIDE]
    out["drawdown"] = drawdown
    out["below"] = below
    out["traded"] = traded
    out["won"] = won
    out["trades"] = stops + limits + closes
    out["wins"] = wins
    out["stops"] = stops
    out["gross_profit"] = total[GAIN]
    out["gross_loss"] = total[LOSS]
    out["moves"] = (profit + terms.cost * (stops + closes) + terms.cost_limit * limits) // terms.q
    out["holding"] = total[HOLDING]
