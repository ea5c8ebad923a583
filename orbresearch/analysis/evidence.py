"""What a verdict is made of: computed chunk by chunk, anywhere, and merged. Nothing is backtests × sessions wide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from orbresearch.analysis.moments import compute_moments, draw_days
from orbresearch.analysis.selection.central_moments import CentralMoments, measure_moments, merge_moments
from orbresearch.analysis.walkforward import Choices, Walk, Window, choose, merge_choices
from orbresearch.grid import Points
from orbresearch.inputs import Input
from orbresearch.plan import Chunk
from orbresearch.rules import Rules
from orbresearch.schema import MIN_SESSIONS


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
    """

    draws: int = 1000
    mean_block: float = 5.0
    seed: int = 0
    min_sessions: int = MIN_SESSIONS
    windows: tuple[Window, ...] = ()
    walk: Walk = field(default_factory=Walk)

    def drawn(self, sessions: int) -> Any:
        """Return how often each session comes in each draw: the same wherever the sessions are as many."""
        return draw_days(sessions, self.draws, self.mean_block, self.seed)


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
        As of :class:`~orbresearch.analysis.moments.Moments`.
    together : float64 array, shape (T,)
        Likewise.
    choices : Choices
        Of the walk-forward.
    """

    trials: int
    sharpe: float
    index: int
    spread: CentralMoments
    maxima: Any
    together: Any
    choices: Choices


def examine(item: Input, points: Points, rules: Rules, chunk: Chunk, question: Question) -> Evidence:
    """Find out about the backtests of a chunk.

    Parameters
    ----------
    item, points, rules, chunk
        As in :func:`~orbresearch.analysis.performance.compute_rows`.
    question : Question
    """
    count = len(item.days)
    found = compute_moments(item, points, rules, chunk, draws=question.drawn(count), min_sessions=question.min_sessions)
    sharpes = found.statistic / np.sqrt(count)
    known = sharpes[~np.isnan(sharpes)]
    best = int(np.nanargmax(sharpes)) if len(known) else -1
    return Evidence(
        len(known),
        float(sharpes[best]) if len(known) else -np.inf,
        chunk.first + best if len(known) else -1,
        measure_moments(known),
        found.maxima,
        found.together,
        choose(item, points, rules, chunk, question.windows, question.walk),
    )


def merge(parts: Iterable[Evidence]) -> Evidence:
    """Return what is known of several chunks together; their sessions must be the same."""
    parts = list(parts)
    best = min(parts, key=lambda one: (-one.sharpe, one.index))
    maxima = np.max([one.maxima for one in parts], axis=0)
    together = np.sum([one.together for one in parts], axis=0)
    choices = merge_choices(one.choices for one in parts)
    trials, spread = sum(one.trials for one in parts), reduce(merge_moments, (one.spread for one in parts))
    return Evidence(trials, best.sharpe, best.index, spread, maxima, together, choices)
