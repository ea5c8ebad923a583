"""Combinatorially symmetric cross-validation of a million trials: the best of every split, and where it ranks outside.

S blocks of sessions are split into two halves in C(S, S/2) ways. A trial's sums over any half are two additions: of a
subset of the lower S/2 blocks, and of one of the upper; both come from tables of 2**(S/2) entries, made once a trial.
Trials rank by v = s * |s| / q, s being the sum and q the sum of squares of a half's returns: it rises with the Sharpe
ratio as long as halves have equally many sessions, and needs no root.

Subsets of the upper blocks are ordered by size, so that those that complete a given lower subset lie together: a
segment, over which the inner loops run without a branch and without a division, padded to whole registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from orbresearch.kernels._jit import jit

LANES = 8  # float64 numbers in the widest register

#: Relative; more than the roundings by which s|s| > v q may differ from s|s| / q > v.
SLACK = 2.0**-49

_NEARLY_ZERO = 2.0**-500  # squares of a half without returns: v is 0; lost in the sum with any other
_LEAST = -1e100  # below any v, and a sum below any bar


class Halves(NamedTuple):
    """How splits are numbered, as ``analysis.selection.splits.make_halves`` makes it.

    Parameters
    ----------
    upper : int64 array, shape (U,)
        Subsets of the upper blocks as bit masks, by (size, mask); each size padded to a multiple of LANES.
    mirror : int64 array, shape (U,)
        Where the complement lies in ``upper``.
    begin, count : int64 array, shape (S/2 + 1,)
        By size: where its subsets begin in ``upper``, and how many there are.
    size : int64 array, shape (2**(S/2),)
        By lower subset: how many upper blocks complete it.
    start : int64 array, shape (2**(S/2) + 1,)
        By lower subset: where its splits begin; then how many places there are, P.
    """

    upper: Any
    mirror: Any
    begin: Any
    count: Any
    size: Any
    start: Any


@jit
def score(total: float, squares: float) -> float:
    """Return v: total * |total| / squares, the latter above 0 as :func:`_fill_tables` makes it."""
    return total * abs(total) / squares


@jit
def _add_subsets(blocks: Any, first: int, work: Any) -> None:
    """Fill ``work`` with sums of all subsets of the blocks from ``first`` on, by mask: whole numbers, hence exact."""
    work[0], half = 0, 1
    while half < len(work):
        value = blocks[first]
        for i in range(half):
            work[half + i] = work[i] + value
        first, half = first + 1, 2 * half


@jit
def _fill_tables(halves: Halves, blocks: Any, least: float, work: Any, lower: Any, upper: Any) -> None:
    """Fill one row of a trial's tables: sums, or squares, of subsets of lower and upper blocks; lower ones >= least."""
    _add_subsets(blocks, 0, work)
    for i in range(len(work)):
        lower[i] = max(float(work[i]), least)
    _add_subsets(blocks, len(blocks) // 2, work)
    for i in range(len(upper)):
        upper[i] = work[halves.upper[i]]


@jit
def _bound_sizes(halves: Halves, upper: Any, most: Any, least: Any) -> None:
    """Fill, by size, the largest s and the least q of the upper subsets."""
    for size in range(len(most)):
        first = halves.begin[size]
        most[size], least[size] = upper[0, first], upper[1, first]
        for i in range(first + 1, first + halves.count[size]):
            most[size], least[size] = max(most[size], upper[0, i]), min(least[size], upper[1, i])


@jit
def _may_win(lower: Any, upper: Any, mask: int, first: Any, width: Any, bars: Any, start: Any) -> bool:
    """Return whether a trial may be best in any split of a segment.

    Places are unsigned here and below, as signed ones might count from an array's end: the loop is then vectorised.
    """
    low_s, low_q, found = lower[0, mask], lower[1, mask], 0
    for j in range(width):
        i = first + j
        total = low_s + upper[0, i]
        found |= int(total * abs(total) >= bars[start + j] * (low_q + upper[1, i]))
    return found != 0


@jit
def _take(
    halves: Halves, lower: Any, upper: Any, trial: int, mask: int, value: Any, index: Any, outside: Any, bars: Any
) -> float:
    """Make a trial the pick of those splits of a segment where it is best; return the segment's lowest bar."""
    size, other = halves.size[mask], lower.shape[1] - 1 - mask
    lowest = np.inf
    for j in range(halves.count[size]):
        k, i = halves.start[mask] + j, halves.begin[size] + j
        v = score(lower[0, mask] + upper[0, i], lower[1, mask] + upper[1, i])
        if v > value[k]:
            i = halves.mirror[i]
            value[k], index[k], bars[k] = v, trial, v - abs(v) * SLACK
            outside[k] = score(lower[0, other] + upper[0, i], lower[1, other] + upper[1, i])
        lowest = min(lowest, bars[k])
    return lowest


@jit
def pick_best(
    halves: Halves, sums: Any, squares: Any, eligible: Any, first: int, value: Any, index: Any, outside: Any
) -> None:
    """Find the best trial inside every split, the lowest index on ties, and its v outside.

    Most trials cannot win any split of a segment, even with its largest s over its least q: one test instead of 70.

    Parameters
    ----------
    halves : Halves
    sums, squares : int64 array, shape (n, S)
        By trial and block: sums of r and of r squared. A half's squares must stay below 2**63.
    eligible : bool array, shape (n,)
        Others take no part.
    first : int
        Index of the first trial.
    value, outside : float64 array, shape (P,)
        v of the pick inside and outside: changed where there is one; ``value`` begins as -inf.
    index : int64 array, shape (P,)
        The pick: changed where there is one.
    """
    size = len(halves.size)
    lower, upper, work = np.empty((2, size)), np.empty((2, len(halves.upper))), np.empty(size, np.int64)
    most, least = np.empty(len(halves.begin)), np.empty(len(halves.begin))
    bars, lowest = np.full(len(value), np.nan), np.full(size, _LEAST)
    for mask in range(size):  # nothing is above what pads a segment
        k = halves.start[mask]
        bars[k : k + halves.count[halves.size[mask]]] = _LEAST
    for n in range(len(sums)):
        if not eligible[n]:
            continue
        _fill_tables(halves, sums[n], -np.inf, work, lower[0], upper[0])
        _fill_tables(halves, squares[n], _NEARLY_ZERO, work, lower[1], upper[1])
        _bound_sizes(halves, upper, most, least)
        for mask in range(size):
            some = halves.size[mask]
            top = lower[0, mask] + most[some]
            if lowest[mask] >= 0.0 and top * abs(top) < lowest[mask] * (lower[1, mask] + least[some]):
                continue
            first_upper, start = np.uint64(halves.begin[some]), np.uint64(halves.start[mask])
            width = np.uint64(halves.start[mask + 1] - halves.start[mask])
            if _may_win(lower, upper, mask, first_upper, width, bars, start):
                lowest[mask] = _take(halves, lower, upper, first + n, mask, value, index, outside, bars)


@jit
def _count_clear(lower: Any, upper: Any, mask: int, first: Any, width: Any, bars: Any, start: Any, above: Any) -> bool:
    """Count trials above the bars of a segment; return whether any is too near one to tell.

    Four trials at once: their sums stay in registers while bars and counts are read once.
    """
    s0, s1, s2, s3 = lower[0, 0, mask], lower[1, 0, mask], lower[2, 0, mask], lower[3, 0, mask]
    q0, q1, q2, q3 = lower[0, 1, mask], lower[1, 1, mask], lower[2, 1, mask], lower[3, 1, mask]
    near = 0
    for j in range(width):
        i, k = first + j, start + j
        s, low, high = s0 + upper[0, 0, i], bars[0, k], bars[2, k]
        square, q = s * abs(s), q0 + upper[0, 1, i]
        clear, maybe = int(square > high * q), int(square >= low * q)
        s, q = s1 + upper[1, 0, i], q1 + upper[1, 1, i]
        square = s * abs(s)
        clear, maybe = clear + int(square > high * q), maybe + int(square >= low * q)
        s, q = s2 + upper[2, 0, i], q2 + upper[2, 1, i]
        square = s * abs(s)
        clear, maybe = clear + int(square > high * q), maybe + int(square >= low * q)
        s, q = s3 + upper[3, 0, i], q3 + upper[3, 1, i]
        square = s * abs(s)
        clear, maybe = clear + int(square > high * q), maybe + int(square >= low * q)
        above[k] += clear
        near |= clear ^ maybe
    return near != 0


@jit
def _count_near(
    lower: Any, upper: Any, mask: int, first: Any, width: Any, bars: Any, start: Any, above: Any, equal: Any
) -> None:
    """Correct a segment's counts for a trial near a bar, by the division: v itself is compared."""
    low_s, low_q = lower[0, mask], lower[1, mask]
    for j in range(width):
        i, k = first + j, start + j
        total, squares = low_s + upper[0, i], low_q + upper[1, i]
        square = total * abs(total)
        v = square / squares
        above[k] += int(v > bars[1, k]) - int(square > bars[2, k] * squares)
        equal[k] += int(v == bars[1, k])


@jit
def count_ranks(halves: Halves, sums: Any, squares: Any, counted: Any, bars: Any, above: Any, equal: Any) -> None:
    """Count, for every half, how many trials have a larger v than a given one, and how many the same.

    Parameters
    ----------
    halves, sums, squares
        As in :func:`pick_best`.
    counted : int64 array, shape (m,)
        The trials that take part.
    bars : float64 array, shape (3, P)
        By half, a little less than v, v, and a little more: v -+ SLACK * |v|; NaN where a place is padding.
    above, equal : int64 array, shape (P,)
        Changed in place.
    """
    size = len(halves.size)
    lower, upper = np.empty((4, 2, size)), np.empty((4, 2, len(halves.upper)))
    work = np.empty(size, np.int64)
    for group in range(0, len(counted), 4):
        for lane in range(4):
            if group + lane < len(counted):
                n = counted[group + lane]
                _fill_tables(halves, sums[n], -np.inf, work, lower[lane, 0], upper[lane, 0])
                _fill_tables(halves, squares[n], _NEARLY_ZERO, work, lower[lane, 1], upper[lane, 1])
            else:  # nobody: below every bar
                lower[lane, 0], lower[lane, 1] = _LEAST, 0.0
                upper[lane] = 0.0
        for mask in range(size):
            some = halves.size[mask]
            first, start = np.uint64(halves.begin[some]), np.uint64(halves.start[mask])
            width = np.uint64(halves.start[mask + 1] - halves.start[mask])
            if _count_clear(lower, upper, mask, first, width, bars, start, above):
                for lane in range(min(4, len(counted) - group)):
                    _count_near(lower[lane], upper[lane], mask, first, width, bars, start, above, equal)
