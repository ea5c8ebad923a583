"""Where the time of run_grid goes: what is called once per block or chunk is timed where it is called."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np

import orbresearch as orb
from orbresearch.kernels._jit import jit
from orbresearch.kernels.parts import move_equity
from orbresearch.plan import make_plan
from tests.benchmarks.growth import prepare
from tests.benchmarks.market import DURATION, market, nested_grid
from tests.benchmarks.measure import Effort, Line, cpu

CALLS = {
    "share_grid": "orbresearch.kernels.grid",
    "total_parts": "orbresearch.kernels.parts",
    "collect_sums": "orbresearch.kernels.parts",
    "finish_rows": "orbresearch.kernels.statistics",
    "backtest_ids": "orbresearch.analysis.performance",
    "compute_sums": "orbresearch.analysis.performance",
    "compute_rows": "orbresearch.analysis.performance",
    "make_plan": "orbresearch.analysis.performance",
}
Block = tuple[Any, int, int]  # type and shape of the equity; limits; sessions with a trade


def shares(effort: Effort) -> Iterator[Line]:
    """Show the shares of run_grid's time: of the 9,747 and of a million; of preparation, beside them."""
    for name, grid in (("9,747", orb.seed_grid()), ("a million", nested_grid(1_000_000))):
        orb.run_grid(market(), grid, DURATION)
        pass_densely(np.zeros((2, 0), np.int32), np.zeros(1, np.int32), 0)
        found = [split(grid) for _ in range(effort.few + 2)]
        totals = [sum(one.values()) for one in found]
        note = f"of {np.median(totals) * 1e3:,.0f} ms"
        for part in found[0]:
            yield Line(
                f"share of {name}: {part}", [100 * one[part] / sum(one.values()) for one in found], "%", note=note
            )
        item = make_plan(market(), grid, DURATION).inputs[0]
        ready = [cpu(lambda item=item: prepare(item)) for _ in range(effort.few)]
        what = f"links and entries, once per input, beside {name}"
        beside = [100 * one / (one + np.median(totals)) for one in ready]
        yield Line(f"preparation: {what}", beside, "%", note=f"{np.median(ready) * 1e3:,.0f} ms")


def split(grid: orb.ParameterGrid) -> dict[str, float]:
    """Run a grid; return the CPU seconds of its parts.

    The dense pass is timed alone on the same cells and sessions, for inside the kernel it cannot be: a lower bound,
    because alone it has the cache to itself. What the kernel needs beyond it are ladders, chains and their sums.
    """
    spent, blocks = defaultdict[str, float](float), list[Block]()
    with ExitStack() as stack:
        for name, home in CALLS.items():
            module = import_module(home)
            stack.enter_context(patch.object(module, name, timed(name, getattr(module, name), spent, blocks)))
        spent["run_grid"] = cpu(lambda: orb.run_grid(market(), grid, DURATION))
    dense = cpu_of_dense(blocks)
    sums = spent["total_parts"] + spent["collect_sums"]
    return {
        "plan": spent["make_plan"],
        "kernel: ladders and chains": spent["share_grid"] - dense,
        "kernel: dense pass of the equity (alone)": dense,
        "sums: totals of differences, SUMS": sums,
        "cutting into blocks, allocation, distances": spent["compute_sums"] - spent["share_grid"] - sums,
        "statistics (finish_rows)": spent["finish_rows"],
        "ids and Arrow columns": spent["compute_rows"] - spent["compute_sums"] - spent["finish_rows"],
        "to pandas": spent["run_grid"] - spent["compute_rows"] - spent["make_plan"],
    }


def timed(name: str, function: Callable[..., Any], spent: dict[str, float], blocks: list[Block]) -> Callable[..., Any]:
    """Return a function that notes its CPU time, and of the grid kernel its blocks."""

    def call(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        found = function(*args, **options)
        spent[name] += time.process_time() - start
        if name == "share_grid":
            limits, state = args[6], args[7]
            blocks.append(((state.dtype, state.shape), limits.shape[2], found))
        return found

    return call


@jit
def pass_densely(state: Any, row: Any, sessions: int) -> None:
    """Move the equity of all cells by the same returns, session by session."""
    for _ in range(sessions):
        for cell in range(0, state.shape[1], len(row)):
            move_equity(state, cell, row)


def cpu_of_dense(blocks: list[Block]) -> float:
    """Return the CPU seconds of the dense pass alone over blocks."""
    rng, spent = np.random.default_rng(0), 0.0
    for (kind, shape), limits, sessions in blocks:
        state, row = np.zeros(shape, kind), rng.integers(-1_000_000, 1_000_000, limits).astype(kind)
        spent += cpu(lambda state=state, row=row, sessions=sessions: pass_densely(state, row, sessions))
    return spent
