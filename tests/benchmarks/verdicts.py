"""What a verdict costs beside computing the grid that it judges, on two cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

import orbresearch as orb
from tests.benchmarks.cluster import temporary_home
from tests.benchmarks.market import DURATION, market, nested_grid
from tests.benchmarks.measure import Effort, Line, ask_child

GIB = 2**30


def judged(effort: Effort) -> Iterator[Line]:
    """Judge a million backtests in a fresh process, and compute them there."""
    points = 100_000 if effort.quick else 1_000_000
    with temporary_home(), redirect_stdout(StringIO()):
        with orb.Lab(quiet=True) as lab:
            run = lab.submit(market(), nested_grid(points), DURATION, keep=orb.Best(10)).wait()
        found = [ask_child("judge", run.run_id, str(points)) for _ in range(effort.few)]
    ratios = [one["verdict"] / one["grid"] for one in found]
    middle = sorted(found, key=lambda one: one["verdict"] / one["grid"])[len(found) // 2]
    note = f"{middle['verdict']:.1f} and {middle['grid']:.2f} s of CPU; {middle['clock']:.0f} s by the clock"
    yield Line(f"verdict on {points:,} backtests / run_grid", ratios, "x", most=40, note=note)
    yield Line("peak memory of that verdict", [one["peak"] / GIB for one in found], "GiB", most=1.5)
