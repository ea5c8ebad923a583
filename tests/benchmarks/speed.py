"""The grid and the list against the plain scan, and what a bootstrap costs. CPU time of one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

import orbresearch as orb
from orbresearch.analysis.moments import compute_moments, draw_days
from orbresearch.plan import Chunk, make_plan
from tests.benchmarks.market import DURATION, compute_all, market, nested_grid, scan
from tests.benchmarks.measure import Effort, Line, alternate, ask_child, cpu, number

MILLION = 1_000_000
DRAWS = 1_000


def against_scan(effort: Effort) -> Iterator[Line]:
    """Compare run_grid with the scan, per backtest: the two grids of the targets, then other rules."""
    yield compare("run_grid / scan: the user's 9,747, second call", orb.seed_grid(), effort, effort.pairs, least=400)
    yield compare_cold("nothing loaded or prepared", effort, least=200)
    yield compare_cold("kernels loaded", effort)
    yield compare("run_grid / scan: a million points", nested_grid(MILLION), effort, effort.few + 2, least=2_000)
    for name, rules, by_percent in other_rules():
        for points, grid in (("9,747", orb.seed_grid()), ("a million", nested_grid(MILLION))):
            asked = to_percent(grid) if by_percent else grid
            yield compare(f"run_grid / scan: {points}, {name}", asked, effort, effort.few, rules)


def other_rules() -> list[tuple[str, orb.Rules, bool]]:
    """Return rules by name, and whether their distances are percent."""
    return [
        ("level fills", orb.Rules(fill="level"), False),
        ("distances in percent", orb.Rules(stop_unit="percent", limit_unit="percent"), True),
        ("limits in R", orb.Rules(limit_unit="R"), False),
        ("stops beyond the other edge", orb.Rules(stop_anchor="opposite_edge"), False),
    ]


def to_percent(grid: orb.ParameterGrid) -> orb.ParameterGrid:
    """Return about the same distances as percent of the market's 400 dollars."""
    stops, limits = ([value / 4 for value in values] for values in (grid.stop_distance, grid.limit_distance))
    return orb.ParameterGrid(stops, grid.stop_count_limit, grid.stop_cooloff_period, limits)


def compare(
    name: str, grid: Any, effort: Effort, pairs: int, rules: orb.Rules | None = None, least: float | None = None
) -> Line:
    """Time run_grid, all columns, against the scan, in turn; whatever can be prepared is."""
    walk = scan(make_plan(market(), grid, DURATION, rules), effort.sample)
    orb.run_grid(market(), grid, DURATION, rules)
    found = alternate(pairs, lambda: cpu(walk), lambda: cpu(lambda: orb.run_grid(market(), grid, DURATION, rules)))
    return ratio(name, found, effort.sample, len(grid), least)


def ratio(name: str, found: list[tuple[float, ...]], sample: int, points: int, least: float | None) -> Line:
    """Return how many times as fast as the scan the other thing is, per backtest."""
    slow, fast = (np.median([pair[i] for pair in found]) for i in (0, 1))
    note = f"{sample / slow:,.0f} and {points / fast:,.0f} backtests/s"
    return Line(name, [one / sample * points / other for one, other in found], "x", least=least, note=note)


def compare_cold(what: str, effort: Effort, least: float | None = None) -> Line:
    """Time the first run_grid of a fresh process against the scan here; kernels are compiled on disk."""
    grid = orb.seed_grid()
    walk = scan(make_plan(market(), grid, DURATION), effort.sample)
    found = alternate(effort.few + 2, lambda: cpu(walk), lambda: ask_child("first_call", what)["seconds"])
    return ratio(f"run_grid / scan: the user's 9,747, fresh process, {what}", found, effort.sample, len(grid), least)


def first_call(effort: Effort) -> Iterator[Line]:
    """Say what the first call in a fresh process is made of."""
    found = [ask_child("first_call_parts") for _ in range(effort.few)]
    for name in found[0]:
        yield Line(f"first call: {name}", [one[name] * 1e3 for one in found], "ms")


def lists(effort: Effort) -> Iterator[Line]:
    """Compare a list of random parameter sets with the scan."""
    size = 10_000
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "stop_distance": rng.uniform(0.02, 2, size).round(4),
            "stop_count_limit": rng.integers(1, 6, size),
            "stop_cooloff_period": rng.integers(0, 600, size),
            "limit_distance": rng.uniform(0.1, 10, size).round(4),
        }
    )
    name = "run_grid / scan: a ParameterList of 10,000 random sets"
    yield compare(name, orb.ParameterList(frame), effort, effort.few, least=10)


def bootstrap(effort: Effort) -> Iterator[Line]:
    """Say what a thousand bootstrap draws cost per backtest, beside its row."""
    for name, grid in (("9,747", orb.seed_grid()), ("10^5 points", nested_grid(100_000))):
        plan = make_plan(market(), grid, DURATION)
        item, chunk = plan.inputs[0], Chunk(0, len(grid), 0, 0)
        draws = draw_days(len(item.days), DRAWS)
        given = item, plan.grid, plan.rules, chunk
        compute_moments(*given, draws=draws)
        found = alternate(
            effort.few,
            lambda given=given, draws=draws: cpu(lambda: compute_moments(*given, draws=draws)),
            lambda plan=plan: cpu(lambda: compute_all(plan)),
        )
        times = np.median([one / other for one, other in found])
        note = f"{number(float(times))} x compute_rows"
        micros = [one / len(grid) * 1e6 for one, _ in found]
        yield Line(f"bootstrap maxima of {DRAWS:,} draws: {name}", micros, "µs/backtest", note=note)
