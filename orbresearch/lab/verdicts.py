"""Verdicts on runs of the store: everything a run tried, computed again from the cached prices, and judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.evidence import Question
from orbresearch.analysis.luck import LEVEL, Luck, judge
from orbresearch.analysis.selection.central_moments import skew_kurtosis
from orbresearch.analysis.selection.overfitting import Overfitting
from orbresearch.analysis.selection.significance import false_discoveries
from orbresearch.analysis.telling import cost_line, headline, tell_details, walk_line
from orbresearch.analysis.verdict import Family, Verdict
from orbresearch.analysis.walkforward import (
    Walk,
    WalkForward,
    choose,
    merge_choices,
)
from orbresearch.errors import BadInput, OrbError
from orbresearch.lab.drawing import find_sharpes
from orbresearch.lab.judging import (
    Case,
    backtest_at,
    cross_validate,
    examine_inputs,
    find_family,
    follow,
    open_case,
    other_path_line,
    returns_at,
)
from orbresearch.lab.recompute import each_piece
from orbresearch.plan import backtest_ids

if TYPE_CHECKING:
    from orbresearch.lab.stored import StoredRun

_QUICK = 300e6  # backtests × sessions that are judged unasked: some ten seconds of two cores
_PACE = 9e6  # and a whole verdict's in a second of one core: `make bench ARGS="--only verdict"`
_FEW_BLOCKS = "its {} sessions are too few for {} blocks of which {} are chosen over"


def verdict(
    run: str | StoredRun, *, draws: int = 1000, seed: int = 0, walk: Walk | None = None, family: bool = True
) -> Verdict:
    """Return the verdict on a run: is its best more than luck, what would have happened, what can it bear.

    Everything the run tried is computed again, on the run's lab or in this process: a million backtests over a year
    take about a minute of a core. Nothing is stored.

    Parameters
    ----------
    run : str or Run
    draws : int
        Bootstrap samples: p is at least 1 / (draws + 1).
    seed : int
        Of the draws.
    walk : orb.Walk, optional
        How to walk forward. Default: twelve runs of sessions, choose over six, follow over the next.
    family : bool
        Whether to count in what other runs of the store tried on the same prices.

    Raises
    ------
    BadInput
        No such run; prices that are no longer cached.

    Examples
    --------
    >>> orb.verdict(run)  # doctest: +SKIP
    verdict on run 4f0d…: SPY, 2024-01-02 to 2024-12-31, …
      luck: best Sharpe 2.31 of 9,700 eligible, 252 sessions: Reality Check p = 0.340, NO more than luck: …
      forward: 6 choices by sharpe_ratio, 126 sessions out of sample: Sharpe -0.32, 95 % between -3.09 and 2.45
      costs: NONE were assumed; the best breaks even at 0.0021 $ per share and side
    """
    case = open_case(run)
    walk = walk or Walk()
    windows = walk.windows(case.dates)
    question = Question(draws, seed=seed, windows=windows, walk=walk, validated=case.validated)
    evidence = examine_inputs(case, question)
    luck = judge((case.plan.inputs[at].dates, one) for at, one in evidence.items())
    kin = find_family(case, luck, question) if family and luck.of_group else Family(0, 0, 0, luck.p_value)
    forward = follow(case, windows, merge_choices(one.choices for one in evidence.values()), walk) if windows else None
    return _compose(case, luck, kin, forward, walk, cross_validate(case, evidence, question))


def luck_of(run: str | StoredRun, *, draws: int = 1000, seed: int = 0) -> Luck:
    """Return what the Reality Check says of a run: the first line of its verdict."""
    case = open_case(run)
    evidence = examine_inputs(case, Question(draws, seed=seed))
    return judge((case.plan.inputs[at].dates, one) for at, one in evidence.items())


def luck_line(run: StoredRun) -> str:
    """Return what to say beside a run's best rows: the verdict in one line, or why it cannot be given so quickly."""
    facts = run.facts()
    if not run.complete:
        return "luck: not judged before the run is complete"
    if run.total * facts["sessions"] > _QUICK:
        minutes = run.total * facts["sessions"] / _PACE / 60
        return f"luck: NOT judged: orb.verdict(run) does, in about {max(1, round(minutes))} minutes of a core"
    try:
        return luck_of(run).line
    except OrbError as error:
        return f"luck: NOT judged: {error}"


def walk_forward(run: str | StoredRun, walk: Walk | None = None) -> WalkForward:
    """Return what would have happened had each window's best backtest of a run been traded over the next sessions.

    Parameters
    ----------
    run : str or Run
    walk : orb.Walk, optional
        Default: twelve runs of sessions, choose over six by Sharpe ratio, follow over the next.

    Raises
    ------
    BadInput
        Too few sessions; prices that are no longer cached.

    Examples
    --------
    >>> orb.walk_forward(run, orb.Walk("months", train=6, by="profit_factor")).choices  # doctest: +SKIP
    """
    case, walk = open_case(run), walk or Walk()
    windows = walk.windows(case.dates)
    if not windows:
        wrong = _FEW_BLOCKS.format(len(case.dates), walk.blocks, walk.train)
        raise BadInput(f"run {case.plan.run_id}", wrong, "give an orb.Walk of fewer blocks")
    found = [result for _, result in each_piece(case.plan, case.lab, choose, windows, walk, say="walk-forward")]
    return follow(case, windows, merge_choices(found), walk)


def verdicts(runs: str | StoredRun | Iterable[str | StoredRun], *, draws: int = 1000, seed: int = 0) -> Any:
    """Return whether the best of each ticker is more than luck, for many tickers at once.

    Parameters
    ----------
    runs : Run, str or iterable of them
        Each of one ticker or of many.
    draws, seed
        As of :func:`verdict`.

    Returns
    -------
    DataFrame
        A row per run and ticker, the least p first: ``ticker, run_id, sharpe_ratio`` (of the best), ``backtest_id``,
        ``eligible, sessions, p, q``: q is p adjusted by Benjamini and Hochberg, at most q of the tickers up to q are
        there by luck. ``attrs["summary"]`` says how many are below 5 %, and how many luck alone would put there.

    Examples
    --------
    >>> found = orb.verdicts(run)  # doctest: +SKIP
    31 of 500 below 5 %; luck alone gives 25
    """
    import pandas as pd

    from orbresearch.console import tell

    listed = runs if isinstance(runs, Iterable) and not isinstance(runs, str) else [runs]
    rows = [row for run in listed for row in _by_ticker(open_case(run), Question(draws, seed=seed))]
    names = ["ticker", "run_id", "backtest_id", "sharpe_ratio", "eligible", "sessions", "p"]
    found = pd.DataFrame(rows, columns=names)
    found["q"] = false_discoveries(found["p"].to_numpy())
    found = found.sort_values(["p", "sharpe_ratio"], ascending=[True, False], ignore_index=True)
    found.attrs["summary"] = count_found(found["p"].to_numpy())
    tell(found.attrs["summary"])
    return found


def count_found(p: Any) -> str:
    """Return how many p-values are below 5 %, and how many luck alone would put there, in words.

    Examples
    --------
    >>> count_found(np.array([.01, .2, .9, .5]))
    '1 of 4 below 5 %; luck alone gives 0.2'
    """
    judged = int((~np.isnan(p)).sum())
    words = f"{int((p < LEVEL).sum())} of {judged} below {100 * LEVEL:.0f} %; luck alone gives {judged * LEVEL:g}"
    return words + (f"; of {len(p) - judged} nothing can be said" if judged < len(p) else "")


def _by_ticker(case: Case, question: Question) -> Iterator[tuple[Any, ...]]:
    evidence, inputs = examine_inputs(case, question), case.plan.inputs
    for ticker in case.plan.tickers:
        luck = judge((inputs[at].dates, one) for at, one in evidence.items() if inputs[at].ticker == ticker)
        name = backtest_ids(case.plan.run_id, [luck.index])[0].as_py() if luck.index >= 0 else None
        yield ticker, case.plan.run_id, name, luck.sharpe, luck.trials, luck.sessions, luck.p_value


def _compose(
    case: Case,
    luck: Luck,
    family: Family,
    forward: WalkForward | None,
    walk: Walk,
    pbo: Overfitting | None,
) -> Verdict:
    """Put a verdict into words."""
    persisted = case.run.persisted()
    title = f"run {case.plan.run_id}: {case.run.conditions()}, {len(case.plan):,} backtests"
    if persisted < len(case.plan):
        title += f"; NOT FINISHED: {persisted:,} are in the store, all are judged"
    few = _FEW_BLOCKS.format(len(case.dates), walk.blocks, walk.train)
    lines = [headline(luck, family), walk_line(forward, few)]
    stats, best, shape = None, None, (math.nan, math.nan)
    if luck.index >= 0:
        stats, best = backtest_at(case.plan, luck.index)
        lines.append(cost_line(stats, case.facts))
        lines += other_path_line(case, luck.index, stats)
        shape = skew_kurtosis(returns_at(case.plan, luck.index).to_numpy())
    details = tell_details(luck, family, stats, forward, pbo, shape)
    known = case.plan.run_id, case.plan.tickers, partial(find_sharpes, case.run)
    return Verdict(title, tuple(lines), details, luck, family, best, forward, pbo, *known)
