"""The grid kernel against the plain scan, in one process: ``make bench``. CPU time; medians of alternating pairs.

A machine is slow or noisy; a ratio of two things measured in turn is neither. The scan is timed on a random sample of
the grid's points, because it takes an hour for a million.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import orbresearch as orb
from orbresearch.analysis.grids import fill_arguments
from orbresearch.kernels.scan import scan_grid
from orbresearch.kernels.warm import warm_kernels
from orbresearch.plan import Plan, make_plan, run_points
from orbresearch.rules import find_costs
from orbresearch.schema import SUMS, TRADE

SAMPLE, PAIRS, DURATION = 200, 5, 300
GRIDS = {
    "the user's 9,747": orb.seed_grid(),
    "1,000,000 points": orb.ParameterGrid(
        orb.frange(0.02, 2.02, 0.02), range(1, 6), range(0, 600, 30), orb.frange(0.1, 10.1, 0.1)
    ),
}


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process that work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def scan(plan: Plan) -> Callable[[], object]:
    """Return the plain scan of a sample of a plan's points."""
    item = plan.inputs[0]
    nanos, costs = item.series.increment_nanos, find_costs(plan.rules, item.series.increment_nanos)
    at = np.random.default_rng(0).choice(len(plan), SAMPLE)
    points = np.concatenate([run_points(plan.grid, int(i), 1, nanos) for i in at])
    ticks, fill = tuple(item.series.columns.values()), fill_arguments(plan.rules, nanos)
    given = item.ranges, points, *fill, costs.q, costs.trade, costs.limit_trade
    return lambda: scan_grid(*ticks, *given, np.zeros(100, TRADE), np.zeros(SAMPLE, SUMS))


def compare(name: str, grid: orb.ParameterGrid, sessions: orb.Sessions) -> dict[str, object]:
    """Time run_grid, all columns, against the scan, in turn."""
    walk = scan(make_plan(sessions, grid, DURATION))
    walk()
    orb.run_grid(sessions, orb.ParameterGrid(1.0, 1, 0, 1.0), DURATION)  # what depends on the sessions only
    pairs = [
        (cpu(walk) / SAMPLE, cpu(lambda: orb.run_grid(sessions, grid, DURATION)) / len(grid)) for _ in range(PAIRS)
    ]
    return {
        "grid": name,
        "scan, backtests/s": round(statistics.median(1 / one for one, _ in pairs)),
        "grid, backtests/s": round(statistics.median(1 / other for _, other in pairs)),
        "ratio": round(statistics.median(one / other for one, other in pairs)),
    }


def main() -> None:
    """Print the table, and write it as JSON where the first argument says."""
    sessions = orb.synthetic_sessions(250)
    warm_kernels()
    rows = [compare(name, grid, sessions) for name, grid in GRIDS.items()]
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "ticks": len(sessions.series.columns["time"]),
        "peak memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "grids": rows,
    }
    for row in rows:
        print("  ".join(f"{key}: {value:,}" if isinstance(value, int) else str(value) for key, value in row.items()))
    print({key: value for key, value in facts.items() if key != "grids"})
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
