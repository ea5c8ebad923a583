"""What verdicts are made of: a run opened with its prices, and everything that it tried computed again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from orbresearch.analysis.backtests import Backtest, backtest_of
from orbresearch.analysis.evidence import BLOCKS, Evidence, Question, count_once, examine, merge, rank_picks
from orbresearch.analysis.luck import Luck
from orbresearch.analysis.performance import compute_rows, run_grid
from orbresearch.analysis.selection.overfitting import Overfitting, find_overfitting, merge_picks, merge_ranks
from orbresearch.analysis.selection.significance import p_value
from orbresearch.analysis.telling import bar_line
from orbresearch.analysis.verdict import Family
from orbresearch.analysis.walkforward import (
    Choices,
    Walk,
    WalkForward,
    daily_returns,
    stitch,
)
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid
from orbresearch.lab.recompute import each_piece, replan
from orbresearch.lab.stored import StoredRun
from orbresearch.plan import Chunk, Plan, backtest_ids
from orbresearch.pool import Pool
from orbresearch.settings import read_settings


@dataclass(frozen=True, eq=False)
class Case:
    """A run, its plan with prices, and the lab that computes it, if it is open."""

    run: StoredRun
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


def open_case(run: str | StoredRun) -> Case:
    """Return a run with its prices.

    Raises
    ------
    BadInput
        No such run; prices that are no longer cached.
    """
    from orbresearch.lab.archive import open_run

    if not isinstance(run, (str, StoredRun)):
        raise BadInput("run", f"a {type(run).__name__}", "give a run, or its run_id as orb.runs() lists them")
    found = open_run(run) if isinstance(run, str) else run
    facts, lab = found.facts(), found._lab if found.attached else None
    cached_data = (lab.settings if lab else read_settings()).cached_data
    return Case(found, facts, replan(facts, cached_data), lab)


def examine_inputs(case: Case, question: Question) -> dict[int, Evidence]:
    """Return what is known of each input's backtests."""
    parts: dict[int, list[Evidence]] = {}
    for piece, found in each_piece(case.plan, case.lab, examine, question, say="verdict"):
        parts.setdefault(piece.input, []).append(found)
    return {at: merge(parts[at]) for at in sorted(parts)}


def cross_validate(case: Case, evidence: dict[int, Evidence], question: Question) -> Overfitting | None:
    """Return what cross-validation says, from the first pass; the second is made here."""
    if question.validated is None:
        return None
    marks = {first: marks for one in evidence.values() for first, marks in one.marks.items()}
    picks, counted = reduce(merge_picks, (one.picks for one in evidence.values() if one.picks)), count_once(marks)
    pieces = each_piece(case.plan, case.lab, rank_picks, question, picks, counted, say="cross-validation")
    ranks = reduce(merge_ranks, (found for _, found in pieces))
    return find_overfitting(picks, ranks, len(question.validated) // BLOCKS * BLOCKS // 2)


def backtest_at(plan: Plan, index: int) -> tuple[Any, Backtest | None]:
    """Return one of a run's backtests: its row, and what it did (None of a pool, which has no trades of its own)."""
    at, point = divmod(index, len(plan.grid))
    item, chunk = plan.inputs[at], Chunk(index, 1, at, point)
    if isinstance(item, Pool):
        return compute_rows(plan.run_id, item, plan.grid, plan.rules, chunk).to_pandas().iloc[0], None
    found = backtest_of(plan.run_id, item, plan.grid, plan.rules, chunk)
    return found.stats, found


def returns_at(plan: Plan, index: int) -> Any:
    """Return r_d of one of a run's backtests by session date, a Series."""
    import pandas as pd

    at, point = divmod(index, len(plan.grid))
    item = plan.inputs[at]
    dates = pd.DatetimeIndex(item.dates.astype("M8[ns]"), name="session")
    return pd.Series(daily_returns(item, plan.grid, plan.rules, point), index=dates, name="returns")


def follow(case: Case, windows: Sequence[Any], choices: Choices, walk: Walk) -> WalkForward:
    """Return what came of following each window's choice."""
    import pandas as pd

    plan = case.plan
    nothing = pd.Series(0.0, index=pd.DatetimeIndex(case.dates.astype("M8[ns]"), name="session"))
    followed: dict[int, tuple[dict[str, Any], Any]] = {-1: ({"backtest_id": None}, nothing)}
    for index in sorted({*choices.index.tolist()} - {-1}):
        at, point = divmod(index, len(plan.grid))
        item = plan.inputs[at]
        facts = {"backtest_id": backtest_ids(plan.run_id, [index])[0].as_py(), "ticker": item.ticker}
        facts |= {"range_duration": item.duration}
        facts |= {name: values[0].item() for name, values in plan.grid.points(point, point + 1).items()}
        followed[index] = facts, returns_at(plan, index)
    return stitch(windows, choices, followed, walk.by, case.run.conditions())


def find_family(case: Case, luck: Luck, question: Question) -> Family:
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


def _of_kin(case: Case, facts: dict[str, Any], dates: Any, question: Question) -> tuple[list[Any], int]:
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


def other_path_line(case: Case, index: int, stats: Any) -> list[str]:
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
