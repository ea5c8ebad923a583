"""A verdict in plain words, and the table behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.evidence import BLOCKS
from orbresearch.analysis.selection.significance import (
    deflated_sharpe,
    effective_trials,
    implied_trials,
    min_backtest_years,
    min_track_record,
    probabilistic_sharpe,
    to_z,
)

if TYPE_CHECKING:
    from orbresearch.analysis.selection.overfitting import Overfitting
    from orbresearch.analysis.walkforward import WalkForward
from orbresearch.analysis.luck import LEVEL, YEAR, Luck
from orbresearch.analysis.verdict import Family


def cost_line(stats: Any, rules: Mapping[str, Any]) -> str:
    """Return what the best can bear, in words."""
    bears = stats["break_even_cost"]
    bears = f"{bears:.4f} $ per share and side" if bears == bears else "nothing that can be told: it has no trade"
    if not rules["commission"] and not rules["slippage"]:
        return f"costs: NONE were assumed; the best breaks even at {bears}"
    assumed = f"commission {rules['commission']:g} and slippage {rules['slippage']:g}"
    return f"costs: {assumed} $ per share and fill were assumed; before them the best breaks even at {bears}"


def headline(luck: Luck, family: Family) -> str:
    """Return the headline: this run's own, and what is left of it beside everything else that was tried."""
    if not family.runs:
        return luck.line
    lost = luck.p_value < LEVEL <= family.p_value
    return f"{luck.line}{' by itself' * lost}; {family.words}{', NO more than luck' * lost}"


def walk_line(walk: WalkForward | None, why_not: str = "") -> str:
    """Return what would have happened, in words."""
    if walk is None:
        return f"forward: nothing can be said: {why_not}"
    low, high = walk.interval
    span = f"{len(walk.choices)} choices by {walk.by}, {len(walk.returns)} sessions out of sample"
    if walk.choices["backtest_id"].isna().all():
        return f"forward: nothing can be said: in none of {len(walk.choices)} windows a backtest traded often enough"
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
    count, own, years = luck.sessions, 1.0 / (luck.sessions - 1), luck.sessions / YEAR
    effective = effective_trials(float(found.together @ found.together), count, found.trials)
    implied = implied_trials(float(to_z(found.maxima, count).mean()))
    rows = [
        ("N", found.trials, "trials on the best's sessions"),
        ("N effective", effective, "by their average correlation"),
        ("N implied", implied, "independent trials whose best luck shows as high: by the bootstrap"),
        ("MinBTL, years", _shortest(implied, luck.sharpe), f"in fewer luck's best is as high; there are {years:.1f}"),
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


def _shortest(trials: float, sharpe: float) -> float:
    """Return MinBTL, undefined for a best that earns nothing."""
    return float(min_backtest_years(trials, sharpe)) if sharpe > 0 else math.nan


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
