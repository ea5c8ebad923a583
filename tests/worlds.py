"""Markets whose truth is known: without any edge, or with one that a breakout earns; as seconds or as minute bars.

Run as a program it counts in how many of them the verdict finds more than luck:

    python -m tests.worlds 200          # of those without an edge
    python -m tests.worlds 40 0.0002    # of those with one
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

import numpy as np
import pytest

import orbresearch as orb
from orbresearch.analysis.evidence import Question, examine
from orbresearch.analysis.luck import LEVEL, judge
from orbresearch.plan import Chunk, make_plan
from orbresearch.sessions.calendar import Schedule
from orbresearch.sessions.dataset import build_sessions
from orbresearch.sessions.rows import Rows
from orbresearch.sources.synthetic.sessions import synthetic_prices, synthetic_schedule

SESSIONS, RANGE = 250, 300
GRID = orb.ParameterGrid(
    orb.frange(0.2, 1.8, 0.2), [1, 2, 3], [0, 60, 300, 900], [0.5, 1, 1.5, 2, 2.5, 3, 4, None]
)  # 768
EDGE = 2.0e-4  # dollars a second, in the direction of the first breakout: 4 by the close, which is 3 away without it


def seconds(seed: int, edge: float = 0.0) -> orb.Sessions:
    """Return one-second prices of a world."""
    return _build(*_prices(seed, edge))


def minutes(seed: int, edge: float = 0.0) -> orb.Sessions:
    """Return the same world as minute bars."""
    schedule, time, price = _prices(seed, edge)
    start = np.flatnonzero(np.diff(time // 60, prepend=-1))
    bars = [reduce(price, start) for reduce in (np.maximum.reduceat, np.minimum.reduceat)]
    closes = price[np.append(start[1:], len(price)) - 1]
    rows = Rows("WORLD", time[start] // 60 * 60, closes, price[start], *bars, 60, "start")
    return build_sessions(rows, schedule, "nearer", None, "a world", f"{seed} {edge} minutes").ready()


def _build(schedule: Schedule, time: Any, price: Any) -> orb.Sessions:
    return build_sessions(Rows("WORLD", time, price), schedule, "nearer", None, "a world", "seconds").ready()


def _prices(seed: int, edge: float) -> tuple[Schedule, Any, Any]:
    schedule = synthetic_schedule(SESSIONS, "2024-01-02")
    time, price = synthetic_prices(schedule, seed)
    if edge:
        for opened, closed in zip(schedule.opens, schedule.closes, strict=True):
            one = slice(*np.searchsorted(time, [opened, closed + 1]))
            price[one] += _drift(time[one] - opened, price[one], edge)
    return schedule, time, np.round(price, 2)


def _drift(second: Any, price: Any, edge: float) -> Any:
    """Return what an edge adds to one session's prices: a drift from the first breakout on, in its direction."""
    window = price[second < RANGE]
    outside = (second >= RANGE) & ((price > window.max()) | (price < window.min()))
    if not outside.any():
        return np.zeros(len(price))
    at = int(outside.argmax())
    return np.maximum(second - second[at], 0) * edge * (1 if price[at] > window.max() else -1)


def judge_world(world: tuple[int, float]) -> tuple[float, float]:
    """Return the Reality Check's p-value over the grid of 768 in a world, (seed, edge): as seconds, as minute bars."""
    seed, edge = world
    return _p_of(seconds(seed, edge), seed), _p_of(minutes(seed, edge), seed)


def _p_of(sessions: orb.Sessions, seed: int) -> float:
    plan = make_plan(sessions, GRID, RANGE)
    item = plan.inputs[0]
    found = examine(item, GRID, plan.rules, Chunk(0, len(GRID), 0, 0), Question(seed=seed))
    return judge([(item.dates, found)]).p_value


def reject(worlds: int, edge: float = 0.0, first: int = 0) -> dict[str, float]:
    """Return in which share of the worlds the verdict finds more than luck: as seconds, as minute bars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "1")  # of the processes started now
        with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
            found = pool.map(judge_world, [(seed, edge) for seed in range(first, first + worlds)], chunksize=5)
    return dict(zip(("seconds", "minutes"), (np.array(found) < LEVEL).mean(axis=0).tolist(), strict=True))


if __name__ == "__main__":
    worlds, *edge = sys.argv[1:]
    for kind, share in reject(int(worlds), *map(float, edge)).items():
        print(
            f"{kind}: more than luck in {share:.1%} of {worlds} worlds"
            + (f" with an edge of {edge[0]}" if edge else "")
        )
