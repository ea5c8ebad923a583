"""The verdict on a run: is its best more than luck, what would have happened, what can it bear.

On a market without any edge the best of 768 configurations shows an annual Sharpe ratio of 2.2 on average. So the
headline is White's Reality Check: how often the best of all eligible backtests would look as good, did none of them
earn anything. Its bootstrap draws sessions, not backtests, so that backtests stay as alike as they are.

References
----------
H. White, A Reality Check for Data Snooping, Econometrica 68 (2000); the others stand in ``analysis.selection``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.evidence import BLOCKS, Evidence, merge
from orbresearch.analysis.selection.significance import (
    deflated_sharpe,
    effective_trials,
    implied_trials,
    min_track_record,
    p_value,
    probabilistic_sharpe,
    to_z,
)
from orbresearch.errors import BadInput

if TYPE_CHECKING:
    from orbresearch.analysis.backtests import Backtest
    from orbresearch.analysis.pictures import Picture
    from orbresearch.analysis.selection.overfitting import Overfitting
    from orbresearch.analysis.walkforward import WalkForward

MIME = "application/vnd.orbresearch.verdict+json"  # of the cell output by which a notebook tells its verdict
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

        Of a run that keeps only its best rows: from the summary of all, those that traded too seldom among them.

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


def cost_line(stats: Any, rules: Mapping[str, Any]) -> str:
    """Return what the best can bear, in words."""
    bears = stats["break_even_cost"]
    bears = f"{bears:.4f} $ per share and side" if bears == bears else "nothing that can be told: it has no trade"
    if not rules["commission"] and not rules["slippage"]:
        return f"costs: NONE were assumed; the best breaks even at {bears}"
    assumed = f"commission {rules['commission']:g} and slippage {rules['slippage']:g}"
    return f"costs: {assumed} $ per share and fill were assumed; before them the best breaks even at {bears}"


def walk_line(walk: WalkForward | None, why_not: str = "") -> str:
    """Return what would have happened, in words."""
    if walk is None:
        return f"forward: nothing can be said: {why_not}"
    low, high = walk.interval
    span = f"{len(walk.choices)} choices by {walk.by}, {len(walk.returns)} sessions out of sample"
    if math.isnan(walk.sharpe_ratio):
        return f"forward: {span}, and nothing came of them: no trade, or always the same"
    return f"forward: {span}: Sharpe {walk.sharpe_ratio:.2f}, 95 % between {low:.2f} and {high:.2f}"


def bar_line(stats: Any, profit: float, sharpe: float) -> str:
    """Return what the best makes when each bar's extremes come in the other order, in words."""
    now, then = stats["backtest_profit"], f"{profit:.2f} $ (Sharpe {sharpe:.2f})"
    return f"bars: with each bar's extremes in the other order the best makes {then} instead of {now:.2f} $"


def tell_details(
    luck: Luck,
    family: Family,
    stats: Any,
    walk: WalkForward | None,
    overfitting: Overfitting | None,
    shape: tuple[float, float],
) -> Any:
    """Return the table behind a verdict.

    Parameters
    ----------
    stats : Series or None
        The best's row.
    shape : (float, float)
        Skew and kurtosis of the best's daily returns.
    """
    import pandas as pd

    rows: list[tuple[str, Any, str]] = [
        ("eligible backtests", luck.trials, "resolved, traded in enough sessions, of a profit that varies"),
        ("p, this run", luck.p_value, "Reality Check: how often luck alone finds a best as good"),
        ("p, family", family.p_value, family.words),
    ]
    if luck.of_group is not None:
        rows += _of_best(luck, stats, shape)
        rows += _deflated(luck, shape)
    rows += _of_overfitting(overfitting)
    if walk is not None:
        low, high = walk.interval
        rows += [
            (
                "Sharpe out of sample",
                walk.sharpe_ratio,
                f"annual, walk-forward by {walk.by}, {len(walk.returns)} sessions",
            ),
            ("  from", low, "95 % interval"),
            ("  to", high, "95 % interval"),
            ("PSR out of sample", walk.psr, "probability that the true Sharpe ratio out of sample is above 0"),
        ]
    return pd.DataFrame(rows, columns=["measure", "value", "meaning"]).set_index("measure")


def _of_best(luck: Luck, stats: Any, shape: tuple[float, float]) -> list[tuple[str, Any, str]]:
    assert luck.of_group is not None
    sharpe, few = luck.of_group.sharpe, stats["trades"] < 30
    psr = math.nan if few else float(probabilistic_sharpe(sharpe, luck.sessions, *shape))
    return [
        ("best Sharpe", luck.sharpe, f"annual, of {stats['backtest_id']}"),
        (
            "luck's median best",
            float(np.median(luck.luckiest)),
            "annual Sharpe of the best of so many without any edge",
        ),
        ("luck's best in 20", float(np.quantile(luck.luckiest, 1 - LEVEL)), "which luck alone exceeds 1 time in 20"),
        ("PSR", psr, "as if it had been the only backtest tried: does NOT count the search"),
        ("MinTRL, sessions", float(min_track_record(sharpe, *shape)), f"needed for PSR .95; there are {luck.sessions}"),
        ("break-even cost", stats["break_even_cost"], "$ per share and side, before costs"),
    ]


def _deflated(luck: Luck, shape: tuple[float, float]) -> list[tuple[str, Any, str]]:
    found = luck.of_group
    assert found is not None
    count, own = luck.sessions, 1.0 / (luck.sessions - 1)
    effective = effective_trials(float(found.together @ found.together), count, found.trials)
    implied = implied_trials(float(to_z(found.maxima, count).mean()))
    rows = [
        ("N", found.trials, "trials on the best's sessions"),
        ("N effective", effective, "by their average correlation"),
        ("N implied", implied, "independent trials whose best luck shows as high: by the bootstrap"),
    ]
    for name, variance, trials, meaning in (
        (
            "DSR, V found",
            found.spread.variance,
            found.trials,
            "V among the trials, N all: cautious, V holds true differences too",
        ),
        ("DSR, V of luck", own, found.trials, "V = 1/(T-1), N all: cautious, trials are not independent"),
        ("DSR, N implied", own, implied, "V = 1/(T-1), N implied"),
    ):
        rows.append((name, float(deflated_sharpe(found.sharpe, count, *shape, variance, trials)), meaning))
    return rows


def _of_overfitting(found: Overfitting | None) -> list[tuple[str, Any, str]]:
    if found is None:
        return [("PBO", math.nan, f"nothing can be said: it takes one ticker and {2 * BLOCKS} sessions of all ranges")]
    return [
        ("N distinct", found.trials, "eligible backtests, those with the same days once"),
        (
            "PBO",
            found.pbo,
            "how often the best of half the sessions is in the lower half of the rest: of the choice, NOT the edge",
        ),
        ("  of them in the middle", found.middle, "share of splits, counted in PBO"),
        ("P(loss out of sample)", found.loss, "how often the best of half the sessions loses in the rest"),
    ]
