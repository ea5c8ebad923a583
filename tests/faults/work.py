"""The work that faults fall into: 200,000 backtests in 200 chunks, and their rows as one process computes them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd

import orbresearch as orb
from orbresearch.analysis.best import compute_best
from orbresearch.analysis.performance import compute_rows
from orbresearch.keep import Best, Keep, write_keep
from orbresearch.plan import Chunk, Plan
from orbresearch.summary import Summary, Tally, write_summaries

CHUNK = 1000  # backtests
CHUNK_SECONDS = 0.05  # that the hooks add to a chunk: computing alone is over before a fault could fall into it

GRID = orb.ParameterGrid(
    stop_distance=orb.frange(0.1, 5.1, 0.05),
    stop_count_limit=range(1, 6),
    stop_cooloff_period=range(30, 330, 30),
    limit_distance=orb.frange(0.5, 20.5, 1),
)
DURATIONS = (300, 600)
KEEP = Best(500, min_sessions=5)


@cache
def make_plan() -> Plan:
    """Return the plan of every schedule."""
    return replace(orb.make_plan(orb.synthetic_sessions(20, seed=3), GRID, DURATIONS), chunk_rows=CHUNK)


@cache
def small_plan() -> Plan:
    """Return a plan of 5,000 backtests in 50 chunks, for faults that need no run of some length."""
    grid = orb.ParameterGrid(orb.frange(0.1, 5.1, 0.1), [1, 3], range(30, 180, 30), range(1, 11))
    return replace(orb.make_plan(orb.synthetic_sessions(20, seed=3), grid, 300), chunk_rows=100)


@cache
def undisturbed(plan: Plan) -> pd.DataFrame:
    """Return the rows that nothing has disturbed."""
    return orb.run_grid(plan.sessions, plan.grid, plan.durations, plan.rules)


def chunk_at(plan: Plan, share: float) -> Chunk:
    """Return the chunk at a share of the plan: 0 the first, just below 1 the last."""
    chunks = list(plan.chunks())
    return chunks[int(share * len(chunks))]


def compute_payload(plan: Plan, chunk: Chunk, keep: Keep) -> bytes:
    """Return a chunk's results as a worker would stage them."""
    from orbresearch import staging

    what, summaries = (plan.run_id, plan.inputs[chunk.input], plan.grid, plan.rules, chunk), {}
    if keep == "all":
        batch = compute_rows(*what)
    else:
        batch, summaries[chunk.input] = compute_best(*what, keep)
    facts = {"seconds": "0.001", "kept": write_keep(keep), "backtests": str(chunk.rows)}
    return staging.encode_batch(batch.replace_schema_metadata(facts), write_summaries(summaries))


@cache
def kept(plan: Plan, keep: Keep) -> tuple[pd.DataFrame, dict[int, Summary]]:
    """Return the rows and the summaries that the store must hold of an undisturbed run, from all of its rows."""
    rows = undisturbed(plan)
    if keep == "all":
        return rows, {}
    summaries = {}
    for at, start in enumerate(range(0, len(rows), len(plan.grid))):
        part, tally = rows.iloc[start : start + len(plan.grid)], Tally(plan.grid.shape, 0, len(plan.grid))
        tally.add(0, part["backtest_return"].to_numpy(), part["sharpe_ratio"].to_numpy())
        summaries[at] = tally.summary()
    fit = rows[(rows["sessions_traded"] >= keep.min_sessions) & rows[keep.by].notna() & (rows["resolved"] == 1)]
    return fit.sort_values([keep.by, "backtest_id"], ascending=[False, True]).head(keep.n), summaries
