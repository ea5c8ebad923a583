"""Whether the best of many backtests is more than luck: White's Reality Check.

On a market without any edge the best of 768 configurations shows an annual Sharpe ratio of 2.2 on average. So what
counts is how often the best of all eligible backtests would look as good, did none of them earn anything. The bootstrap
draws sessions, not backtests, so that backtests stay as alike as they are.

References
----------
H. White, A Reality Check for Data Snooping, Econometrica 68 (2000).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.evidence import Evidence, merge
from orbresearch.analysis.selection.significance import (
    p_value,
)

if TYPE_CHECKING:
    pass

YEAR = 252
LEVEL = 0.05  # below which a best is called more than luck


@dataclass(frozen=True, eq=False)
class Luck:
    """What the Reality Check says of some backtests.

    Parameters
    ----------
    trials : int
        Eligible backtests, of all groups.
    sharpe : float
        The highest annual Sharpe ratio among them, NaN where there is none.
    index : int
        Which backtest of the run has it; -1.
    sessions : int
        T of its group.
    groups : int
        Groups of inputs with the same sessions. Draws are joint within one; beyond, p is multiplied by their number
        (Bonferroni).
    p_value : float
        How often luck alone does as well, NaN where there is no best.
    of_group : Evidence or None
        On the best's group.
    """

    trials: int
    sharpe: float
    index: int
    sessions: int
    groups: int
    p_value: float
    of_group: Evidence | None

    @property
    def luckiest(self) -> Any:
        """By draw, the highest annual Sharpe ratio that luck alone would have shown; empty where there is no best."""
        return np.zeros(0) if self.of_group is None else self.of_group.maxima * math.sqrt(YEAR / self.sessions)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        if self.of_group is None:
            return "luck: nothing can be said: no resolved backtest traded in enough sessions, of a profit that varies"
        found = f"best Sharpe {self.sharpe:.2f} of {self.trials:,} eligible, {self.sessions} sessions"
        return f"luck: {found}: Reality Check p = {self.p_value:.3f}, {in_words(self.p_value)}"


def in_words(p: float) -> str:
    """Return what a p-value means for a best backtest."""
    if p < LEVEL:
        return "more than luck gives"
    return f"NO more than luck: without any edge {100 * p:.0f} of 100 such searches find one as good"


def judge(evidence: Iterable[tuple[Any, Evidence]]) -> Luck:
    """Return what the Reality Check says of inputs together.

    Parameters
    ----------
    evidence : iterable of (dates, Evidence)
        Of each input: its tradable sessions, and what is known of its backtests.
    """
    groups: dict[bytes, list[Evidence]] = {}
    for dates, one in evidence:
        groups.setdefault(np.asarray(dates).tobytes(), []).append(one)
    found = [merge(parts) for parts in groups.values()]
    trials = sum(one.trials for one in found)
    best = max(found, key=lambda one: (one.sharpe, -one.index), default=None)
    if best is None or not trials:
        return Luck(0, math.nan, -1, 0, len(found), math.nan, None)
    sessions = len(best.together)
    p = min(1.0, p_value(best.sharpe * math.sqrt(sessions), best.maxima) * len(found))
    return Luck(trials, best.sharpe * math.sqrt(YEAR), best.index, sessions, len(found), p, best)
