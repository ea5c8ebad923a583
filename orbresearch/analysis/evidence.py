"""What a verdict is made of: computed chunk by chunk, anywhere, and merged. Nothing is backtests × sessions wide."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from orbresearch.analysis.moments import Moments, compute_moments, draw_days
from orbresearch.analysis.selection.central_moments import CentralMoments, measure_moments, merge_moments
from orbresearch.analysis.selection.overfitting import (
    Picks,
    Ranks,
    count_ranks,
    hash_columns,
    merge_picks,
    own_columns,
    pick_best,
)
from orbresearch.analysis.selection.windows import equal_blocks
from orbresearch.analysis.walkforward import Choices, Walk, Window, choose, merge_choices
from orbresearch.grid import Points
from orbresearch.plan import Chunk
from orbresearch.pool import Item
from orbresearch.rules import Rules
from orbresearch.schema import MIN_SESSIONS

BLOCKS = 16  # of the cross-validation: 12,870 ways to choose half of them


@dataclass(frozen=True)
class Question:
    """What to find out about backtests: the same for every chunk of a run.

    Parameters
    ----------
    draws : int
        Bootstrap samples of the sessions.
    mean_block : float
        Mean number of sessions that stay together in them.
    seed : int
        Of the draws.
    min_sessions : int
        Traded sessions that an eligible backtest must have.
    windows : tuple of Window
        Of the walk-forward.
    walk : Walk
    validated : datetime64[D] array, optional
        Sessions that are cut into :data:`BLOCKS` for cross-validation, all inputs having them. Default: there is none.
    """

    draws: int = 1000
    mean_block: float = 5.0
    seed: int = 0
    min_sessions: int = MIN_SESSIONS
    windows: tuple[Window, ...] = ()
    walk: Walk = field(default_factory=Walk)
    validated: Any = None

    def drawn(self, sessions: int) -> Any:
        """Return how often each session comes in each draw: the same wherever the sessions are as many."""
        return draw_days(sessions, self.draws, self.mean_block, self.seed)

    def stretch(self, sessions: int) -> float:
        """Return by how much draws in blocks vary too little about the mean of their own sample: 1.02 at 250 sessions.

        The variance of a mean drawn so is short by (2b - 1)/T of days that are independent.
        """
        return math.sqrt(sessions / max(1.0, sessions - (2 * self.mean_block - 1)))

    def blocks(self, dates: Any) -> Any:
        """Return the block of each date, -1 of those in none: the first of them where they do not divide equally."""
        if self.validated is None:
            return None
        found, known = np.full(len(dates), -1), np.isin(dates, self.validated)
        found[known] = equal_blocks(len(self.validated), BLOCKS)  # the dates are those of one input: each has all
        return found


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of some backtests of one input, or of several whose sessions are the same.

    Parameters
    ----------
    trials : int
        Eligible backtests: resolved, traded in enough sessions, of a profit that varies.
    sharpe : float
        The highest Sharpe ratio per session among them; -inf where there is none.
    index : int
        Which backtest of the run has it, the first of equals; -1.
    spread : CentralMoments
        Of their Sharpe ratios per session.
    maxima : float64 array, shape (draws,)
        As of :class:`~orbresearch.analysis.moments.Moments`, stretched by :meth:`Question.stretch`.
    together : float64 array, shape (T,)
        Likewise.
    choices : Choices
        Of the walk-forward.
    picks : Picks or None
        Of the cross-validation.
    marks : dict of int to uint64 array
        First backtest of a chunk -> a number per backtest that is the same for the same days, 0 of those not eligible.
    """

    trials: int
    sharpe: float
    index: int
    spread: CentralMoments
    maxima: Any
    together: Any
    choices: Choices
    picks: Picks | None = None
    marks: dict[int, Any] = field(default_factory=dict)


def examine(item: Item, points: Points, rules: Rules, chunk: Chunk, question: Question) -> Evidence:
    """Find out about the backtests of a chunk.

    Parameters
    ----------
    item, points, rules, chunk
        As in :func:`~orbresearch.analysis.performance.compute_rows`.
    question : Question
    """
    count, asked = len(item.days), question.blocks(item.dates)
    found = compute_moments(item, points, rules, chunk, asked, question.drawn(count), question.min_sessions)
    sharpes = found.statistic / np.sqrt(count)
    known = sharpes[~np.isnan(sharpes)]
    best = int(np.nanargmax(sharpes)) if len(known) else -1
    return Evidence(
        len(known),
        float(sharpes[best]) if len(known) else -np.inf,
        chunk.first + best if len(known) else -1,
        measure_moments(known),
        found.maxima * question.stretch(count),
        found.together,
        choose(item, points, rules, chunk, question.windows, question.walk),
        *(_validate(found, chunk) if asked is not None else ()),
    )


def _validate(found: Moments, chunk: Chunk) -> tuple[Picks, dict[int, Any]]:
    eligible, marks = ~np.isnan(found.statistic), hash_columns(found.sums, found.squares)
    picks = pick_best(found.sums, found.squares, chunk.first, own_columns(marks, eligible))
    return picks, {chunk.first: np.where(eligible, marks, np.uint64(0))}


def rank_picks(
    item: Item, points: Points, rules: Rules, chunk: Chunk, question: Question, picks: Picks, counted: dict[int, Any]
) -> Ranks:
    """Return where the picks of all chunks rank among the trials of one: the second pass of the cross-validation.

    Parameters
    ----------
    item, points, rules, chunk
        A chunk that was examined.
    picks : Picks
        Of all chunks.
    counted : dict of int to bool array
        First backtest of a chunk -> which of its backtests take part, those with the same days once.
    """
    found = compute_moments(item, points, rules, chunk, question.blocks(item.dates), min_sessions=question.min_sessions)
    return count_ranks(picks, found.sums, found.squares, counted[chunk.first])


def count_once(marks: dict[int, Any]) -> dict[int, Any]:
    """Return which backtests of each chunk take part: of those with the same mark the first of the run."""
    firsts = sorted(marks)
    every = np.concatenate([marks[first] for first in firsts])
    owns = own_columns(every, every != 0)
    ends = np.cumsum([len(marks[first]) for first in firsts])[:-1]
    return dict(zip(firsts, np.split(owns, ends), strict=True))


def merge(parts: Iterable[Evidence]) -> Evidence:
    """Return what is known of several chunks together; their sessions must be the same."""
    parts = list(parts)
    best = min(parts, key=lambda one: (-one.sharpe, one.index))
    maxima = np.max([one.maxima for one in parts], axis=0)
    together = np.sum([one.together for one in parts], axis=0)
    choices = merge_choices(one.choices for one in parts)
    trials, spread = sum(one.trials for one in parts), reduce(merge_moments, (one.spread for one in parts))
    picks = [one.picks for one in parts if one.picks is not None]
    picked = reduce(merge_picks, picks) if picks else None
    marks = {first: marks for one in parts for first, marks in one.marks.items()}
    return Evidence(trials, best.sharpe, best.index, spread, maxima, together, choices, picked, marks)
