"""Verdicts on runs of the store: everything a run tried, computed again from the cached prices, and judged."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.backtests import Backtest, backtest_of
from orbresearch.analysis.evidence import BLOCKS, Evidence, Question, count_once, examine, merge, rank_picks
from orbresearch.analysis.performance import compute_rows, run_grid
from orbresearch.analysis.selection.central_moments import skew_kurtosis
from orbresearch.analysis.selection.overfitting import Overfitting, find_overfitting, merge_picks, merge_ranks
from orbresearch.analysis.selection.significance import false_discoveries, p_value
from orbresearch.analysis.verdict import (
    LEVEL,
    Family,
    Luck,
    Verdict,
    bar_line,
    cost_line,
    judge,
    tell_details,
    walk_line,
)
from orbresearch.analysis.walkforward import (
    Choices,
    Walk,
    WalkForward,
    choose,
    daily_returns,
    merge_choices,
    stitch,
)
from orbresearch.errors import BadInput, OrbError
from orbresearch.grid import ParameterGrid
from orbresearch.lab.drawing import find_sharpes
from orbresearch.lab.recompute import each_piece, replan
from orbresearch.plan import Chunk, Plan, backtest_ids
from orbresearch.pool import Pool
from orbresearch.settings import read_settings

if TYPE_CHECKING:
    from orbresearch.lab.run import Run

_QUICK = 300e6  # backtests × sessions that are judged unasked: some ten seconds of two cores
_PACE = 15e6  # and a second of one core
_FEW_BLOCKS = "its {} sessions are too few for {} blocks of which {} are chosen over"


def verdict(
    run: str | Run, *, draws: int = 1000, seed: int = 0, walk: Walk | None = None, family: bool = True
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
    case = _open(run)
    walk = walk or Walk()
    windows = walk.windows(case.dates)
    question = Question(draws, seed=seed, windows=windows, walk=walk, validated=case.validated)
    evidence = _examine(case, question)
    luck = judge((case.plan.inputs[at].dates, one) for at, one in evidence.items())
    kin = _family(case, luck, question) if family and luck.of_group else Family(0, 0, 0, luck.p_value)
    forward = (
        _follow(case.plan, windows, merge_choices(one.choices for one in evidence.values()), walk) if windows else None
    )
    return _compose(case, luck, kin, forward, walk, _overfitting(case, evidence, question))


def luck_of(run: str | Run, *, draws: int = 1000, seed: int = 0) -> Luck:
    """Return what the Reality Check says of a run: the first line of its verdict."""
    case = _open(run)
    evidence = _examine(case, Question(draws, seed=seed))
    return judge((case.plan.inputs[at].dates, one) for at, one in evidence.items())


def luck_line(run: Run) -> str:
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


def walk_forward(run: str | Run, walk: Walk | None = None) -> WalkForward:
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
    case, walk = _open(run), walk or Walk()
    windows = walk.windows(case.dates)
    if not windows:
        wrong = _FEW_BLOCKS.format(len(case.dates), walk.blocks, walk.train)
        raise BadInput(f"run {case.plan.run_id}", wrong, "give an orb.Walk of fewer blocks")
    found = [result for _, result in each_piece(case.plan, case.lab, choose, windows, walk, say="walk-forward")]
    return _follow(case.plan, windows, merge_choices(found), walk)


def verdicts(runs: str | Run | Iterable[str | Run], *, draws: int = 1000, seed: int = 0) -> Any:
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
    rows = [row for run in listed for row in _by_ticker(_open(run), Question(draws, seed=seed))]
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


@dataclass(frozen=True, eq=False)
class _Case:
    """A run, its plan with prices, and the lab that computes it, if it is open."""

    run: Run
    facts: dict[str, Any]
    plan: Plan
    lab: Any

    @property
    def dates(self) -> Any:
        """All tradable sessions of its inputs."""
        return np.unique(np.concatenate([item.dates for item in self.plan.inputs]))

    @property
    def validated(self) -> Any:
        """The sessions of all inputs, for cross-validation; None of several tickers, or of too few."""
        common = reduce(np.intersect1d, [item.dates for item in self.plan.inputs])
        return common if len(common) >= 2 * BLOCKS and len(self.plan.tickers) == 1 else None


def _open(run: str | Run) -> _Case:
    from orbresearch.lab.archive import open_run

    found = open_run(run) if isinstance(run, str) else run
    facts, lab = found.facts(), found._lab if found.attached else None
    cached_data = (lab.settings if lab else read_settings()).cached_data
    return _Case(found, facts, replan(facts, cached_data), lab)


def _examine(case: _Case, question: Question) -> dict[int, Evidence]:
    """Return what is known of each input's backtests."""
    parts: dict[int, list[Evidence]] = {}
    for piece, found in each_piece(case.plan, case.lab, examine, question, say="verdict"):
        parts.setdefault(piece.input, []).append(found)
    return {at: merge(parts[at]) for at in sorted(parts)}


def _overfitting(case: _Case, evidence: dict[int, Evidence], question: Question) -> Overfitting | None:
    """Return what cross-validation says, from the first pass; the second is made here."""
    if question.validated is None:
        return None
    marks = {first: marks for one in evidence.values() for first, marks in one.marks.items()}
    picks, counted = reduce(merge_picks, (one.picks for one in evidence.values() if one.picks)), count_once(marks)
    pieces = each_piece(case.plan, case.lab, rank_picks, question, picks, counted, say="cross-validation")
    ranks = reduce(merge_ranks, (found for _, found in pieces))
    return find_overfitting(picks, ranks, len(question.validated) // BLOCKS * BLOCKS // 2)


def _by_ticker(case: _Case, question: Question) -> Iterator[tuple[Any, ...]]:
    evidence, inputs = _examine(case, question), case.plan.inputs
    for ticker in case.plan.tickers:
        luck = judge((inputs[at].dates, one) for at, one in evidence.items() if inputs[at].ticker == ticker)
        name = backtest_ids(case.plan.run_id, [luck.index])[0].as_py() if luck.index >= 0 else None
        yield ticker, case.plan.run_id, name, luck.sharpe, luck.trials, luck.sessions, luck.p_value


def _backtest(plan: Plan, index: int) -> tuple[Any, Backtest | None]:
    """Return one of a run's backtests: its row, and what it did (None of a pool, which has no trades of its own)."""
    at, point = divmod(index, len(plan.grid))
    item, chunk = plan.inputs[at], Chunk(index, 1, at, point)
    if isinstance(item, Pool):
        return compute_rows(plan.run_id, item, plan.grid, plan.rules, chunk).to_pandas().iloc[0], None
    found = backtest_of(plan.run_id, item, plan.grid, plan.rules, chunk)
    return found.stats, found


def _returns(plan: Plan, index: int) -> Any:
    """Return r_d of one of a run's backtests by session date, a Series."""
    import pandas as pd

    at, point = divmod(index, len(plan.grid))
    item = plan.inputs[at]
    dates = pd.DatetimeIndex(item.dates.astype("M8[ns]"), name="session")
    return pd.Series(daily_returns(item, plan.grid, plan.rules, point), index=dates, name="returns")


def _follow(plan: Plan, windows: Sequence[Any], choices: Choices, walk: Walk) -> WalkForward:
    import pandas as pd

    dates = np.unique(np.concatenate([item.dates for item in plan.inputs]))
    nothing = pd.Series(0.0, index=pd.DatetimeIndex(dates.astype("M8[ns]"), name="session"))
    followed: dict[int, tuple[dict[str, Any], Any]] = {-1: ({"backtest_id": None}, nothing)}
    for index in sorted({*choices.index.tolist()} - {-1}):
        at, point = divmod(index, len(plan.grid))
        item = plan.inputs[at]
        facts = {"backtest_id": backtest_ids(plan.run_id, [index])[0].as_py(), "ticker": item.ticker}
        facts |= {"range_duration": item.duration}
        facts |= {name: values[0].item() for name, values in plan.grid.points(point, point + 1).items()}
        followed[index] = facts, _returns(plan, index)
    return stitch(windows, choices, followed, walk.by)


def _family(case: _Case, luck: Luck, question: Question) -> Family:
    """Return p over all runs of the store on the same tickers whose dates overlap, identical sessions jointly."""
    import pandas as pd

    from orbresearch.store.reader import read_run, read_runs

    assert luck.of_group is not None
    own, facts = case.plan.inputs[luck.index // len(case.plan.grid)], case.facts
    maxima, joint, further, runs = [luck.of_group.maxima], 0, luck.groups - 1, 0
    listed = read_runs(case.run._store)
    first, last = (pd.Timestamp(str(facts[name])) for name in ("first_session", "last_session"))
    same = (listed["first_session"] <= last) & (listed["last_session"] >= first)
    for run_id in listed["run_id"][same & (listed["run_id"] != case.plan.run_id)]:
        other = read_run(case.run._store, run_id)
        if other is None or not {*other["tickers"]} & {*facts["tickers"]}:  # type: ignore[misc]
            continue
        runs += 1
        found, groups = _of_kin(case, other, own.dates, replace(question, windows=(), validated=None))
        maxima += found
        joint, further = joint + bool(found), further + groups
    p = p_value(luck.of_group.sharpe * math.sqrt(luck.sessions), reduce(np.maximum, maxima))
    return Family(runs, joint, further, min(1.0, p * (further + 1)))


def _of_kin(case: _Case, facts: dict[str, Any], dates: Any, question: Question) -> tuple[list[Any], int]:
    """Return another run's bootstrap maxima over the same sessions, and how many further groups of sessions it has."""
    settings = case.lab.settings if case.lab else read_settings()
    try:
        plan = replan(facts, settings.cached_data)
    except BadInput:
        return [], 1
    ours = [item for item in plan.inputs if item.ticker in case.plan.tickers]
    same = tuple(item for item in ours if np.array_equal(item.dates, dates))
    further = {item.dates.tobytes() for item in ours} - {dates.tobytes()}
    if not same:
        return [], len(further)
    pieces = each_piece(replace(plan, inputs=same), case.lab, examine, question, say=f"run {plan.run_id}")
    return [found.maxima for _, found in pieces], len(further)


def _compose(
    case: _Case,
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
    lines = [luck.line + (f"; {family.words}" if family.runs else ""), walk_line(forward, few)]
    stats, best, shape = None, None, (math.nan, math.nan)
    if luck.index >= 0:
        stats, best = _backtest(case.plan, luck.index)
        lines.append(cost_line(stats, case.facts))
        lines += _under_other_path(case, luck.index, stats)
        shape = skew_kurtosis(_returns(case.plan, luck.index).to_numpy())
    details = tell_details(luck, family, stats, forward, pbo, shape)
    known = case.plan.run_id, case.plan.tickers, partial(find_sharpes, case.run)
    return Verdict(title, tuple(lines), details, luck, family, best, forward, pbo, *known)


def _under_other_path(case: _Case, index: int, stats: Any) -> list[str]:
    """Return, on bars, what the best makes when each bar's extremes come in the other order."""
    at, point = divmod(index, len(case.plan.grid))
    item = case.plan.inputs[at]
    sessions = {name: one for name, one in case.plan.sessions.items() if case.plan.pooled or name == item.ticker}
    if not all(one.is_bars for one in sessions.values()):
        return []
    drawn = {name: values[0].item() for name, values in case.plan.grid.points(point, point + 1).items()}
    drawn["limit_distance"] = None if drawn["limit_distance"] != drawn["limit_distance"] else drawn["limit_distance"]
    other = {name: one.other_path() for name, one in sessions.items()}
    with warnings.catch_warnings(action="ignore"):
        row = run_grid(other, ParameterGrid(**drawn), item.duration, case.plan.rules, pool=case.plan.pooled).iloc[0]
    return [bar_line(stats, float(row["backtest_profit"]), float(row["sharpe_ratio"]))]
