"""What a backtest costs as the grid grows, and what a run costs as sessions, grid and ticks double."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

import orbresearch as orb
from orbresearch.inputs import Input
from orbresearch.plan import Plan, make_plan
from orbresearch.sessions.dataset import build_sessions
from orbresearch.sessions.rows import Rows
from orbresearch.sources.synthetic.sessions import CENTS, synthetic_prices, synthetic_schedule
from tests.benchmarks.market import COOLOFFS, COUNTS, DURATION, STEPS, compute_all, market, nested_grid
from tests.benchmarks.measure import Effort, Line, alternate, cpu

DOUBLED = (1, 2, 4, 8)


def per_backtest(effort: Effort) -> Iterator[Line]:
    """Compare the cost of a backtest in nested grids, each ten times the one before; rows are thrown away."""
    sizes = [size for size in STEPS if size < 10_000_000 or not effort.quick]
    plans = {size: make_plan(market(), nested_grid(size), DURATION) for size in sizes}
    compute_all(plans[sizes[0]])
    for small, large in pairwise(sizes):
        rounds = effort.few if large > 100_000 else effort.pairs
        found = alternate(rounds, cost(plans[small], 5 if small < 1_000_000 else 1), cost(plans[large], 1))
        one, other = (np.median([pair[i] for pair in found]) * 1e6 for i in (0, 1))
        shape = " x ".join(str(length) for length in nested_grid(large).shape)
        name = f"cost of a backtest: {large:,} points ({shape}) / {small:,}"
        yield Line(name, [b / a for a, b in found], "x", most=1.1, note=f"{other:.2f} and {one:.2f} µs")


def cost(plan: Plan, times: int) -> Callable[[], float]:
    """Return what measures the CPU seconds of a backtest of a plan."""
    return lambda: cpu(lambda: [compute_all(plan) for _ in range(times)]) / times / len(plan)


def doubled(effort: Effort) -> Iterator[Line]:
    """Compare what doubles: sessions, grid, ticks."""
    base = 10 if effort.quick else 50
    most = market(8 * base)
    days = {k: most.between(None, most.schedule.labels[k * base - 1]) for k in DOUBLED}
    thin = {k: thinned(2 * base, DOUBLED[-1] // k) for k in DOUBLED}
    same = nested_grid(100_000)
    yield from grown(f"{base} sessions", {k: make_plan(days[k], same, DURATION) for k in DOUBLED}, effort)
    grids = {k: make_plan(days[2], doubled_grid(k), DURATION) for k in DOUBLED}
    yield from grown(f"grid of {len(grids[1]):,}", grids, effort)
    yield from grown(
        "ticks (every 8th price, 4th, 2nd, all)", {k: make_plan(thin[k], same, DURATION) for k in DOUBLED}, effort
    )
    yield from prepared("sessions", {k: make_plan(days[k], same, DURATION) for k in DOUBLED}, effort)
    yield from prepared("ticks", {k: make_plan(thin[k], same, DURATION) for k in DOUBLED}, effort)


def doubled_grid(times: int) -> orb.ParameterGrid:
    """Return a grid that grows along stops and limits in turn."""
    stops, limits = {1: (20, 25), 2: (40, 25), 4: (40, 50), 8: (80, 50)}[times]
    stop, limit = 2 / stops, 10 / limits
    return orb.ParameterGrid(
        orb.frange(stop, 2 + stop / 2, stop), COUNTS, COOLOFFS, orb.frange(limit, 10 + limit / 2, limit)
    )


def thinned(sessions: int, nth: int) -> orb.Sessions:
    """Return a market of which only every nth price was seen."""
    schedule = synthetic_schedule(sessions, "2024-01-02")
    time, price = synthetic_prices(schedule, 0)
    return build_sessions(Rows("THIN", time[::nth], price[::nth]), schedule, "nearer", CENTS, f"every {nth}th price")


def grown(name: str, plans: Mapping[int, Plan], effort: Effort) -> Iterator[Line]:
    """Compare what the rows of plans cost with the smallest one."""
    for plan in plans.values():
        compute_all(plan)
    works = [lambda plan=plan: cpu(lambda: compute_all(plan)) for plan in plans.values()]
    yield from relative(f"cost of {name}", plans, alternate(effort.few + 2, *works))


def prepared(name: str, plans: Mapping[int, Plan], effort: Effort) -> Iterator[Line]:
    """Compare what preparing inputs costs with the smallest one."""
    works = [lambda plan=plan: cpu(lambda: prepare(plan.inputs[0])) for plan in plans.values()]
    yield from relative(f"preparing {name}", plans, alternate(effort.few + 2, *works))


def prepare(item: Input) -> Any:
    """Link ticks and entries anew."""
    fresh = replace(item, series=replace(item.series))
    return fresh.series.nodes, fresh.entries, fresh.reach_of_days


def relative(name: str, plans: Mapping[int, Plan], found: list[tuple[float, ...]]) -> Iterator[Line]:
    """Return the costs relative to the first plan's."""
    ticks = {k: len(plan.inputs[0].series.columns["time"]) for k, plan in plans.items()}
    for i, k in enumerate(plans):
        note = f"{len(plans[k]):,} points, {ticks[k]:,} ticks"
        if i:
            yield Line(f"{name}, x {k}", [one[i] / one[0] for one in found], "x", note=note)
