"""The verdict on a run: is its best more than luck, what would have happened, what can it bear."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orbresearch.analysis.luck import Luck
from orbresearch.errors import BadInput

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest
    from orbresearch.analysis.pictures import Picture
    from orbresearch.analysis.selection.overfitting import Overfitting
    from orbresearch.analysis.walkforward import WalkForward

MIME = "application/vnd.orbresearch.verdict+json"  # of the cell output by which a notebook tells its verdict


@dataclass(frozen=True, eq=False)
class Family:
    """All runs on the same prices: what the best of this one is worth among everything that was tried.

    Parameters
    ----------
    runs : int
        Others in the store on the same ticker, dates overlapping.
    joint : int
        Of them, computed again with the same draws.
    groups : int
        Further groups of sessions, by which p is multiplied.
    p_value : float
    """

    runs: int
    joint: int
    groups: int
    p_value: float

    @property
    def words(self) -> str:
        """What to say beside the run's own p."""
        if not self.runs:
            return "no other run on this ticker and these dates is in the store"
        how = "joint" if self.groups == 0 else f"Bonferroni over {self.groups + 1} groups of sessions"
        others = f"{self.runs} other run{'s' * (self.runs > 1)}"
        return f"with the {others} on this ticker and dates p = {self.p_value:.3f} ({how})"


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a run's best is worth, in plain words, with the numbers behind them.

    Parameters
    ----------
    title : str
        Run, tickers, dates.
    lines : tuple of str
        In plain words: luck, forward, costs, and on bars the other path.
    details : DataFrame
        ``measure`` (index), ``value``, ``meaning``.
    luck : Luck
    family : Family
    best : Backtest or None
    walk : WalkForward or None
    overfitting : Overfitting or None
    run_id : str
    tickers : tuple of str
    sharpes : callable, optional
        Returns the Sharpe ratios that were judged, or how many of the run lie where: what ``pictures.distribution``
        takes.
    """

    title: str
    lines: tuple[str, ...]
    details: Any
    luck: Luck
    family: Family
    best: Backtest | None = None
    walk: WalkForward | None = None
    overfitting: Overfitting | None = None
    run_id: str = ""
    tickers: tuple[str, ...] = ()
    sharpes: Callable[[], Any] | None = None

    @property
    def p_value(self) -> float:
        """The Reality Check's over this run."""
        return self.luck.p_value

    @property
    def line(self) -> str:
        """The one-line form."""
        return self.luck.line

    def distribution(self) -> Picture:
        """Return the Sharpe ratios of all backtests, the best marked, and where the best of luck alone would lie.

        Of a run that keeps only its best rows: from the summary of all, unresolved ones and those that traded too
        seldom among them.

        Raises
        ------
        BadInput
            There is no best.
        """
        from orbresearch.analysis.pictures import distribution

        if self.sharpes is None or self.luck.of_group is None:
            raise BadInput("verdict", self.line.removeprefix("luck: "), "judge a run of more sessions")
        return distribution(self.sharpes(), self.luck.sharpe, self.luck.luckiest, title=self.title)

    def outcome(self) -> dict[str, Any]:
        """Return what it comes to as plain JSON values, None where undefined: what a notebook tells a batch.

        Returns
        -------
        dict
            ``run_id``, ``tickers``, ``title``, ``line``; ``eligible`` backtests over ``sessions``, the best's annual
            ``sharpe_ratio``, ``p`` over the run and ``p_family``; ``forward_sharpe``, the annual Sharpe ratio out of
            sample, from ``forward_low`` to ``forward_high`` in 95 of 100 cases.
        """
        forward = (math.nan,) * 3 if self.walk is None else (self.walk.sharpe_ratio, *self.walk.interval)
        numbers = {"sharpe_ratio": self.luck.sharpe, "p": self.p_value, "p_family": self.family.p_value}
        numbers |= dict(zip(("forward_sharpe", "forward_low", "forward_high"), forward, strict=True))
        said = {"run_id": self.run_id, "tickers": list(self.tickers), "title": self.title, "line": self.line}
        counts = {"eligible": self.luck.trials, "sessions": self.luck.sessions}
        return said | counts | {name: float(one) if math.isfinite(one) else None for name, one in numbers.items()}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Show it in a notebook, and leave its outcome in the notebook's file."""
        return {"text/plain": repr(self), "text/html": self._repr_html_(), MIME: self.outcome()}

    def __repr__(self) -> str:
        return "\n".join([f"verdict on {self.title}", *(f"  {line}" for line in self.lines)])

    def _repr_html_(self) -> str:
        rows = (line.partition(": ") for line in self.lines)
        cells = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, _, text in rows
        )
        return f"<p>verdict on {html.escape(self.title)}</p><table>{cells}</table>"
