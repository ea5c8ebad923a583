"""What is benchmarked: a synthetic market, grids, and the plain scan that everything is measured against."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import orbresearch as orb
from orbresearch.analysis.grids import kernel_arguments, most_trades
from orbresearch.analysis.performance import compute_rows
from orbresearch.inputs import day_distances
from orbresearch.kernels.scan import scan_grid
from orbresearch.plan import Chunk, Plan, make_plan
from orbresearch.schema import SUMS, TRADE

SESSIONS, DURATION = 250, 300
COUNTS, COOLOFFS = range(1, 6), range(0, 600, 30)

#: Grids of 10**4 … 10**7 points, each inside the next: 5 stop counts × 20 cool-offs × (stops × limits). Stops end at
#: 2.00, limits at 10.00 dollars; their steps grow finer.
STEPS = {10_000: (0.2, 1.0), 100_000: (0.1, 0.2), 1_000_000: (0.02, 0.1), 10_000_000: (0.01, 0.02)}


@cache
def market(sessions: int = SESSIONS) -> orb.Sessions:
    """Return the synthetic market."""
    return orb.synthetic_sessions(sessions)


def nested_grid(points: int) -> orb.ParameterGrid:
    """Return the grid of 10**4, 10**5, 10**6 or 10**7 points."""
    stop, limit = STEPS[points]
    return orb.ParameterGrid(orb.frange(stop, 2 + stop, stop), COUNTS, COOLOFFS, orb.frange(limit, 10 + limit, limit))


def scan(plan: Plan, sample: int) -> Callable[[], object]:
    """Return the plain scan of a random sample of a plan's points; it has run once."""
    item = plan.inputs[0]
    at = np.random.default_rng(0).choice(len(plan.grid), sample, replace=False)
    drawn = {name: values[at] for name, values in plan.grid.points(0, len(plan.grid)).items()}
    stops, limits = (day_distances(item, plan.rules, name, drawn[name]) for name in ("stop_distance", "limit_distance"))
    counts, cooloffs = drawn["stop_count_limit"], drawn["stop_cooloff_period"]
    ticks, _, days, terms = kernel_arguments(item, plan.rules)
    trades = np.zeros(most_trades(item, int(counts.max())), TRADE)

    def walk() -> None:
        scan_grid(ticks, days, terms, stops, counts, cooloffs, limits, trades, np.zeros(sample, SUMS))

    walk()
    return walk


def compute_all(plan: Plan) -> int:
    """Compute a plan's rows chunk by chunk and keep none; return how many there were."""
    return sum(rows_of(plan, chunk) for chunk in plan.chunks())


def rows_of(plan: Plan, chunk: Chunk) -> int:
    """Compute a chunk's rows and keep none; return how many there were."""
    batch: Any = compute_rows(plan.run_id, plan.inputs[chunk.input], plan.grid, plan.rules, chunk)
    return int(batch.num_rows)


@cache
def work(points: int) -> tuple[Plan, tuple[Chunk, ...]]:
    """Return what a worker process computes, prepared once: a plan and its chunks."""
    plan = make_plan(market(), nested_grid(points), DURATION)
    return plan, tuple(plan.chunks())


def work_chunk(points: int, at: int) -> int:
    """Compute a chunk of :func:`work` by its number: the task of a worker process."""
    plan, chunks = work(points)
    return rows_of(plan, chunks[at])
