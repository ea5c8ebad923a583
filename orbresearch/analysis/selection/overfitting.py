"""The probability of backtest overfitting (PBO), for a million trials without ever holding their returns together.

S blocks of sessions, equally long, are split into two halves in all C(S, S/2) ways. In each, the trial with the best
Sharpe ratio inside is ranked by its Sharpe ratio outside: PBO is how often it lands in the lower half. Two passes over
chunks, each of which knows a trial by its sums and sums of squares by block::

    pass 1   pick_best      the best trial of each split           merge_picks
             hash_columns   one number per trial                   own_columns: trials with the same days are one
    pass 2   count_ranks    how many trials are above the picks    merge_ranks
    then     find_overfitting

PBO measures the choice, not the edge: among neighbours on a plateau it is near one half however good they are. Show it
with the probability of a loss.

References
----------
D. Bailey, J. Borwein, M. López de Prado and Q. Zhu, The Probability of Backtest Overfitting, J. of Computational
Finance 20 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orbresearch.analysis.selection.splits import make_halves, split_places
from orbresearch.errors import BadInput


@dataclass(frozen=True, eq=False)
class Picks:
    """The best trial of each split, of a chunk or of several.

    Parameters
    ----------
    blocks : int
        S.
    value, outside : float64 array, shape (K,)
        v = s * |s| / q of the pick inside and outside, s and q being sum and sum of squares of a half's returns; -inf
        and NaN where there is none.
    index : int64 array, shape (K,)
        The pick; -1 where there is none.
    """

    blocks: int
    value: Any
    outside: Any
    index: Any


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the picks rank outside, among some of the trials.

    Parameters
    ----------
    above, equal : int64 array, shape (K,)
        How many trials are better than the pick outside, and as good.
    trials : int
        How many were compared.
    """

    above: Any
    equal: Any
    trials: int


@dataclass(frozen=True, eq=False)
class Overfitting:
    """What cross-validation says of choosing the best. NaN below two trials.

    Parameters
    ----------
    pbo : float
        Share of splits whose pick ranks outside in the lower half, or in its middle.
    middle : float
        Share of them that rank exactly in the middle.
    loss : float
        Share of splits whose pick loses outside.
    mean_logit : float
        Mean of ``logits``.
    slope, intercept : float
        Of the regression of Sharpe ratios outside on those inside.
    trials : int
        N, those with the same days counted once.
    logits : float64 array, shape (K,)
        log(w / (1 - w)) with w = rank / (N + 1), the worst being 1 and ties sharing the mean of their ranks.
    inside, outside : float64 array, shape (K,)
        Sharpe ratios of the picks, per session; NaN without variance.
    index : int64 array, shape (K,)
        The picks.
    """

    pbo: float
    middle: float
    loss: float
    mean_logit: float
    slope: float
    intercept: float
    trials: int
    logits: Any
    inside: Any
    outside: Any
    index: Any


def pick_best(sums: Any, squares: Any, first: int = 0, eligible: Any = None) -> Picks:
    """Return the best of a chunk's trials inside every split, the lowest index on ties.

    Parameters
    ----------
    sums, squares : int64 array, shape (n, S)
        By trial and block: sums of r and of r squared. Blocks have equally many sessions.
    first : int
        Index of the chunk's first trial.
    eligible : bool array, shape (n,), optional
        Others take no part.
    """
    from orbresearch.kernels import overfitting

    sums, squares = _checked(sums, squares)
    halves, place = make_halves(sums.shape[1]), split_places(sums.shape[1])
    eligible = np.ones(len(sums), bool) if eligible is None else np.array(eligible, bool)
    value, outside = np.full(halves.start[-1], -np.inf), np.full(halves.start[-1], np.nan)
    index = np.full(halves.start[-1], -1)
    overfitting.pick_best(halves, sums, squares, eligible, first, value, index, outside)
    return Picks(sums.shape[1], value[place], outside[place], index[place])


def merge_picks(a: Picks, b: Picks) -> Picks:
    """Return the better pick of each split, the lower index on ties: in any order the same."""
    better = (b.value > a.value) | ((b.value == a.value) & (b.index < a.index))
    value, outside = np.where(better, b.value, a.value), np.where(better, b.outside, a.outside)
    return Picks(a.blocks, value, outside, np.where(better, b.index, a.index))


def hash_columns(sums: Any, squares: Any) -> Any:
    """Return one number per trial that is the same for the same days: uint64 array, shape (n,).

    Of a million different trials two share one with a probability of 3e-8.
    """
    import pandas as pd

    days = pd.DataFrame(np.concatenate(_checked(sums, squares), axis=1))
    return pd.util.hash_pandas_object(days, index=False).to_numpy()


def own_columns(hashes: Any, eligible: Any = None) -> Any:
    """Return which trials are the first of their hash among those eligible: bool array, shape (N,).

    Examples
    --------
    >>> own_columns([7, 9, 7, 9, 8], [False, True, True, True, True]).tolist()
    [False, True, True, False, True]
    """
    hashes = np.asarray(hashes)
    which = np.arange(len(hashes)) if eligible is None else np.flatnonzero(eligible)
    owns = np.zeros(len(hashes), bool)
    owns[which[np.unique(hashes[which], return_index=True)[1]]] = True
    return owns


def count_ranks(picks: Picks, sums: Any, squares: Any, counted: Any = None) -> Ranks:
    """Return where the picks of all chunks rank outside among a chunk's trials.

    Parameters
    ----------
    picks : Picks
        Of all chunks.
    sums, squares
        As in :func:`pick_best`.
    counted : bool array, shape (n,), optional
        Those that take part, as :func:`own_columns` finds them.
    """
    from orbresearch.kernels import overfitting

    sums, squares = _checked(sums, squares)
    halves, place = make_halves(picks.blocks), split_places(picks.blocks)
    which = np.arange(len(sums)) if counted is None else np.flatnonzero(counted)
    bars = np.full((3, halves.start[-1]), np.nan)
    bar = picks.outside[::-1]  # what split k leaves out is split K - 1 - k
    slack = np.abs(bar) * overfitting.SLACK
    bars[:, place] = bar - slack, bar, bar + slack
    above, equal = np.zeros((2, halves.start[-1]), np.int64)
    overfitting.count_ranks(halves, sums, squares, which, bars, above, equal)
    return Ranks(above[place][::-1], equal[place][::-1], len(which))


def merge_ranks(a: Ranks, b: Ranks) -> Ranks:
    """Return where the picks rank among the trials of both."""
    return Ranks(a.above + b.above, a.equal + b.equal, a.trials + b.trials)


def find_overfitting(picks: Picks, ranks: Ranks, sessions: int) -> Overfitting:
    """Return what cross-validation says.

    Parameters
    ----------
    picks : Picks
    ranks : Ranks
        Of all chunks.
    sessions : int
        In a half.
    """
    inside, outside = (sharpe_of(v, sessions) for v in (picks.value, picks.outside))
    if ranks.trials < 2:
        unknown = (np.nan,) * 6
        return Overfitting(*unknown, ranks.trials, np.full(len(inside), np.nan), inside, outside, picks.index)
    twice = 2 * (ranks.trials - ranks.above) - ranks.equal + 1  # the rank, times 2: a whole number even in a tie
    logits = np.log(twice) - np.log(2 * (ranks.trials + 1) - twice)
    slope, intercept = _regress(inside, outside)
    return Overfitting(
        float((twice <= ranks.trials + 1).mean()),
        float((twice == ranks.trials + 1).mean()),
        float((picks.outside < 0).mean()),
        float(logits.mean()),
        slope,
        intercept,
        ranks.trials,
        logits,
        inside,
        outside,
        picks.index,
    )


def cross_validate(sums: Any, squares: Any, sessions: int, eligible: Any = None) -> Overfitting:
    """Return what cross-validation says of trials that are all at hand; parameters as in :func:`pick_best`.

    Examples
    --------
    >>> import numpy as np
    >>> returns = np.array([[3, 2, 2, 4], [1, -1, 2, -2]])  # by trial and session, every session a block of its own
    >>> cross_validate(returns, returns**2, sessions=2).pbo
    0.0
    """
    picks = pick_best(sums, squares, 0, eligible)
    owns = own_columns(hash_columns(sums, squares), eligible)
    return find_overfitting(picks, count_ranks(picks, sums, squares, owns), sessions)


def sharpe_of(v: Any, sessions: int) -> Any:
    """Return Sharpe ratios per session from v = s * |s| / q; NaN without variance.

    Examples
    --------
    >>> round(float(sharpe_of(6 * 6 / 14, 3)), 9)  # returns 1, 2, 3
    2.0
    """
    share = np.abs(v) / sessions  # of the squares that the mean explains, 0 to 1
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sign(v) * np.sqrt((1 - 1 / sessions) * share / (1 - share))
    return np.where(share < 1 - 1e-12, found, np.nan)


def _regress(x: Any, y: Any) -> tuple[float, float]:
    """Return slope and intercept of y on x; NaN where x does not vary or anything is unknown."""
    away = x - x.mean()
    spread = float(away @ away)
    if not spread > 0:
        return float("nan"), float("nan")
    slope = float(away @ (y - y.mean())) / spread
    return slope, float(y.mean() - slope * x.mean())


def _checked(sums: Any, squares: Any) -> tuple[Any, Any]:
    """Return both as kernels take them."""
    # writable: kernels are compiled for such arrays, and would be compiled again for others
    sums, squares = (np.require(each, np.int64, ["C", "W"]) for each in (sums, squares))
    if sums.ndim != 2 or sums.shape != squares.shape:
        raise BadInput("sums and squares", f"shapes {sums.shape} and {squares.shape}", "give two of (trials, blocks)")
    return sums, squares
