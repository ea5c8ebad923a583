"""Moments of a million backtests, without ever holding their returns together.

By block of sessions: sums and sums of squares of r, from which walk-forward and cross-validation choose. By bootstrap
draw: the largest t-statistic that luck alone would show, for White's Reality Check; chunks computed anywhere share
their draws by a seed, and their maxima merge by ``np.maximum``.

Each draw is measured by its own standard deviation (Romano and Wolf), not by that of the whole sample. It costs twice
as much and is needed: backtests with wide stops and near limits win often and lose much, and without it the check took
the best of 768 for more than luck in 9 of 100 worlds without an edge rather than in 5 (``python -m tests.worlds``).

References
----------
H. White, A Reality Check for Data Snooping, Econometrica 68 (2000); D. Politis and J. Romano, The Stationary Bootstrap,
JASA 89 (1994); J. Romano and M. Wolf, Stepwise Multiple Testing as Formalized Data Snooping, Econometrica 73 (2005).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orbresearch.analysis.grids import compute_sums
from orbresearch.analysis.performance import resolved
from orbresearch.errors import BadInput
from orbresearch.grid import Points
from orbresearch.plan import Chunk
from orbresearch.pool import Item
from orbresearch.rules import Rules
from orbresearch.schema import MIN_SESSIONS

_COLUMNS = 512  # backtests whose draws are held at once, in the cache
_EXACT = 2**24  # up to which single precision holds every whole number


@dataclass(frozen=True, eq=False)
class Moments:
    """What a chunk's daily returns add up to.

    Parameters
    ----------
    sums, squares : int64 array, shape (backtests, blocks)
        Sums of r and of r squared by block, in units of return (``pool.returns_in_one``).
    maxima : float64 array, shape (draws,)
        By draw, the largest sqrt(T) * (mean of the drawn r - mean of r) / std(the drawn r, ddof=1) of the chunk's
        eligible backtests; -inf where there is none.
    statistic : float64 array, shape (backtests,)
        sqrt(T) * mean(r) / std(r, ddof=1) of every eligible backtest, NaN of others.
    together : float64 array, shape (T,)
        By session, the sum of (r - mean of r) / std(r, ddof=0) over eligible backtests: it tells how alike they are.
    """

    sums: Any
    squares: Any
    maxima: Any
    statistic: Any
    together: Any


def draw_days(sessions: int, draws: int, mean_block: float = 5.0, seed: int = 0) -> Any:
    """Return how often each session comes in each draw of a stationary bootstrap.

    Parameters
    ----------
    sessions : int
        T, 1 or more.
    draws : int
        1 or more.
    mean_block : float
        Mean number of sessions that stay together, 1 or more: their lengths are geometric, and the last session is
        followed by the first.
    seed : int
        The same seed draws the same days anywhere.

    Returns
    -------
    int64 array, shape (draws, sessions)
        Rows add up to ``sessions``.

    Examples
    --------
    >>> draw_days(4, 2, seed=1).sum(axis=1).tolist()
    [4, 4]
    """
    if sessions < 1 or draws < 1 or not mean_block >= 1:
        wrong = f"{draws} draws of {sessions} sessions in blocks of {mean_block}"
        raise BadInput("bootstrap", wrong, "give 1 or more of each")
    rng = np.random.Generator(np.random.PCG64(seed))
    start = rng.integers(0, sessions, (draws, sessions))
    fresh = rng.random((draws, sessions)) < 1.0 / mean_block
    fresh[:, 0] = True
    place = np.arange(sessions)
    since = np.maximum.accumulate(np.where(fresh, place, 0), axis=1)  # where the present block began
    day = (np.take_along_axis(start, since, axis=1) + place - since) % sessions
    flat = (day + sessions * np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=draws * sessions).reshape(draws, sessions)


def compute_moments(
    item: Item,
    points: Points,
    rules: Rules,
    chunk: Chunk,
    blocks: Any = None,
    draws: Any = None,
    min_sessions: int = MIN_SESSIONS,
) -> Moments:
    """Compute a chunk's moments.

    Parameters
    ----------
    item, points, rules, chunk
        As in :func:`~orbresearch.analysis.performance.compute_rows`.
    blocks : int array, shape (T,), optional
        Block of each tradable session from 0 on; below 0: in none. Default: all sessions are one block.
    draws : int array, shape (draws, T), optional
        As :func:`draw_days` makes them, the same for all chunks of a run. Default: none.
    min_sessions : int
        Eligible are resolved backtests with at least so many traded sessions and a variance above zero.

    Raises
    ------
    BadInput
        Blocks or draws of another number of sessions.
    """
    from orbresearch.kernels.moments import add_blocks

    count = len(item.days)
    blocks = np.zeros(count, np.int64) if blocks is None else np.asarray(blocks, np.int64)
    draws = np.zeros((0, count), np.int64) if draws is None else np.asarray(draws)
    if blocks.shape != (count,) or draws.shape[1:] != (count,):
        wrong = f"{blocks.shape[0]} and {draws.shape[-1]} sessions"
        raise BadInput("blocks and draws", wrong, f"{item.ticker} has {count} tradable sessions")
    sums, squares = (np.zeros((chunk.rows, int(blocks.max(initial=-1)) + 1), np.int64) for _ in range(2))
    maxima, statistic, together = np.full(len(draws), -np.inf), np.full(chunk.rows, np.nan), np.zeros(count)
    weights = draws.astype(np.float32)
    fit = resolved(item, rules, points.points(chunk.point, chunk.point + chunk.rows)) == 1

    def visit(rows: Any, daily: Any, found: Any) -> None:
        add_blocks(daily, blocks, rows, sums, squares)
        eligible = np.flatnonzero(fit[rows] & (found["traded"] >= min_sessions))
        statistic[rows[eligible]] = _fold(daily, found, eligible, weights, maxima, together)

    compute_sums(item, points, rules, chunk, visit)
    return Moments(sums, squares, maxima, statistic, together)


def _fold(daily: Any, found: Any, eligible: Any, weights: Any, maxima: Any, together: Any) -> Any:
    """Fold the drawn statistics of backtests into the maxima, and their days into ``together``; return their own.

    Those are NaN without variance.
    """
    from orbresearch.kernels.moments import scale_returns

    scales, days = np.empty(len(eligible)), len(daily)
    scale_returns(found["returns"][eligible], found["squares"][eligible], days, scales)
    varies = eligible[~np.isnan(scales)]
    own, times = _distinct(daily, varies)
    for start in range(0, len(own), _COLUMNS):
        part = own[start : start + _COLUMNS]
        changes, totals, scale = daily[:, part].astype(np.float64), found["returns"][part], np.empty(len(part))
        if len(weights):
            _fold_draws(changes, weights, maxima)
        scale_returns(totals, found["squares"][part], days, scale)
        scale *= times[start : start + _COLUMNS] * days / np.sqrt(days - 1)  # 1 / std(r, ddof=0) of each that is alike
        together += changes @ scale - (totals / days) @ scale
    return found["returns"][eligible] * scales


def _fold_draws(changes: Any, weights: Any, maxima: Any) -> None:
    """Fold the drawn statistics of some backtests' days into the maxima.

    A backtest's returns count in shares of its largest, some 65,000 at 250 sessions, so that all drawn sums are whole
    numbers below 2**24: single precision adds those exactly, in any order, at twice the pace.
    """
    from orbresearch.kernels.moments import fold_maxima

    levels = _EXACT // len(changes)
    most = np.abs(changes).max(axis=0)
    shares, squares = np.rint(changes * (levels / most)), np.rint((changes / most) ** 2 * levels)
    drawn = (weights @ each.astype(np.float32) for each in (shares, squares))
    fold_maxima(*drawn, shares.sum(axis=0), np.full(len(most), float(levels)), len(changes), maxima)


def _distinct(daily: Any, which: Any) -> tuple[Any, Any]:
    """Return the first of the backtests with the same days, and how many they are: neighbours in a grid often agree."""
    key = np.random.default_rng(0).integers(-(2**62), 2**62, len(daily))
    _, first, times = np.unique((key @ daily.astype(np.int64))[which], return_index=True, return_counts=True)
    return which[first], times
