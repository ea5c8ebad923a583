"""The work that faults fall into: 200,000 backtests in 200 chunks, and their rows as one process computes them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd

import orbresearch as orb
from orbresearch.analysis.performance import compute_rows
from orbresearch.plan import Chunk, Plan

CHUNK = 1000  # backtests
CHUNK_SECONDS = 0.05  # that the hooks add to a chunk: computing alone is over before a fault could fall into it

GRID = orb.ParameterGrid(
    stop_distance=orb.frange(0.1, 5.1, 0.05),
    stop_count_limit=range(1, 6),
    stop_cooloff_period=range(30, 330, 30),
    limit_distance=orb.frange(0.5, 20.5, 1),
)
DURATIONS = (300, 600)


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


def compute_payload(plan: Plan, chunk: Chunk) -> bytes:
    """Return a chunk's results as a worker would stage them."""
    from orbresearch import staging

    batch = compute_rows(plan.run_id, plan.inputs[chunk.input], plan.grid, plan.rules, chunk)
    return staging.encode_batch(batch.replace_schema_metadata({b"seconds": b"0.001"}))
