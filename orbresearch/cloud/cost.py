"""What a run in the cloud will take and cost, before anything is started: measured here, multiplied there.

A few chunks are computed in this process by the functions that workers use. What a Fargate vCPU makes of them is an
assumption, as are the minutes until tasks run and the pace of the database: :mod:`orbresearch.cloud.forecast` has each
with its reason, and the plan says them. Everything else is arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from math import ceil
from statistics import median
from typing import Any

from orbresearch.cloud.forecast import REDIS_MINUTES, ROWS_A_SECOND, SLOWER, START_MINUTES, CloudPlan
from orbresearch.cloud.hourly import (
    LIFETIME_HOURS,
    REDIS_SIZE,
    SCHEDULER_CPU,
    SPOT_SHARE,
    RunningCost,
    running_cost,
)
from orbresearch.cloud.quota import beyond_quota, quota
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid, Points
from orbresearch.keep import Keep, check_keep
from orbresearch.plan import SLOTS_SERVED, Chunk, Plan, fit_chunks, make_plan
from orbresearch.rules import Rules
from orbresearch.sessions.dataset import Sessions

__all__ = ["CloudPlan", "RunningCost", "plan", "quota", "running_cost"]

_MEASURED_SECONDS = 0.5  # of chunks computed here, at least, or five times the same
_MEASURED_TIMES = 5


def plan(
    sessions: Sessions | Mapping[str, Sessions],
    grid: Points,
    range_duration: int | Iterable[int] = 300,
    rules: Rules | None = None,
    *,
    n_workers: int,
    worker_cpu: float = 1,
    worker_memory: float = 4,
    spot_share: float = SPOT_SHARE,
    redis_size: str = REDIS_SIZE,
    lifetime_hours: float = LIFETIME_HOURS,
    region: str | None = None,
    prices: Mapping[str, Any] | None = None,
    pool: bool = False,
    keep: Keep = "all",
) -> CloudPlan:
    """Say what a run in the cloud will take and cost. Computes a few chunks here, for a second or a few.

    Parameters
    ----------
    sessions, grid, range_duration, rules, pool, keep
        As of ``Lab.submit``.
    n_workers : int
        Tasks that compute.
    worker_cpu, worker_memory : float
        vCPUs and GB of each.
    spot_share : float
        Of workers, from 0 to 1.
    redis_size : str
        ElastiCache's node type.
    lifetime_hours : float
        After which the cluster ends by itself.
    region : str, optional
        Default: the profile's.
    prices : mapping, optional
        Instead of what ``prices.yaml`` says, in the shape of a region's part of it.

    Returns
    -------
    CloudPlan
        Print it.

    Raises
    ------
    BadInput
        Whatever cannot be computed, or is no cluster.

    Examples
    --------
    >>> orb.cloud.plan(sessions, grid, n_workers=100)  # doctest: +SKIP
    """
    region = region or _own_region()
    cluster = {"n_workers": n_workers, "worker_cpu": worker_cpu, "worker_memory": worker_memory}
    running = running_cost(
        **cluster,  # type: ignore[arg-type]
        spot_share=spot_share,
        lifetime_hours=lifetime_hours,
        region=region,
        redis_size=redis_size,
        prices=prices,
    )
    made = make_plan(sessions, grid, range_duration, rules, pool=pool)
    slots = _slots(n_workers, worker_cpu)
    run = fit_chunks(made, slots, check_keep(keep))
    each, preparing = measure(fit_chunks(made, min(slots, SLOTS_SERVED), keep), keep)
    return reckon(run, keep, each, preparing, running, worker_cpu, spot_share, quota(region))


def measure(run: Plan, keep: Keep = "all") -> tuple[float, float]:
    """Compute a chunk from the middle of a run here; return what workers take for it, were they as fast as this core.

    Returns
    -------
    each : float
        Seconds of a backtest.
    preparing : float
        Seconds that a worker takes for an input it has not computed before.
    """
    _warm_up()
    chunks = list(run.chunks())
    chunk = chunks[len(chunks) // 2]
    first = _seconds(run, chunk, keep)
    times: list[float] = []
    while not times or (sum(times) < _MEASURED_SECONDS and len(times) < _MEASURED_TIMES):
        times.append(_seconds(run, chunk, keep))
    usual = median(times)
    return usual / chunk.rows, max(0.0, first - usual) / len(list(chunk.cut(len(run.grid))))


def reckon(
    run: Plan,
    keep: Keep,
    each: float,
    preparing: float,
    running: RunningCost,
    worker_cpu: float,
    spot_share: float,
    vcpus: Mapping[str, float | str],
) -> CloudPlan:
    """Return the plan that follows from what was measured: arithmetic, nothing is asked or computed.

    Parameters
    ----------
    run : Plan
        Its chunks fitted to the cluster.
    keep : "all" or Best
    each, preparing : float
        As :func:`measure` returns them.
    running : RunningCost
    worker_cpu, spot_share : float
    vcpus : mapping
        As :func:`~orbresearch.cloud.quota.quota` returns it.
    """
    pieces = [sum(1 for _ in chunk.cut(len(run.grid))) for chunk in run.chunks()]
    prepared = min(sum(pieces), running.n_workers * len(run.inputs))  # each worker prepares what it meets, once
    measured = (len(run) * each + prepared * preparing) / len(pieces)
    chunk_seconds = measured * SLOWER / min(1.0, worker_cpu)  # a chunk computes on one core
    slots = _slots(running.n_workers, worker_cpu)
    compute = ceil(len(pieces) / slots) * chunk_seconds
    store = _rows(run, keep, len(pieces)) / ROWS_A_SECOND
    hours = START_MINUTES / 60 + max(compute, store) / 3600
    redis = running.redis * ceil(hours + REDIS_MINUTES / 60)
    return CloudPlan(
        len(run),
        len(pieces),
        measured,
        chunk_seconds,
        START_MINUTES,
        compute / 60,
        store / 60,
        (running.n_workers * worker_cpu + SCHEDULER_CPU) * hours,
        (running.scheduler + running.workers_on_demand) * hours + redis,
        (running.scheduler + running.workers) * hours + redis,
        redis,
        running,
        vcpus,
        (
            *beyond_quota(running.n_workers, worker_cpu, spot_share, vcpus),
            *_idle(slots, len(pieces), compute, store),
            *([f"it takes {hours:,.1f} h, longer than its lifetime"] if hours > running.lifetime_hours else []),
        ),
    )


def _warm_up() -> None:
    """Load what a first run loads: kernels, and whatever is imported or compiled on the way to its rows."""
    from orbresearch.analysis.performance import run_grid
    from orbresearch.kernels.warm import warm_kernels
    from orbresearch.sources.synthetic.sessions import synthetic_sessions

    warm_kernels()
    run_grid(synthetic_sessions(1), ParameterGrid(1.0, 1, 0, 1.0))


def _seconds(run: Plan, chunk: Chunk, keep: Keep) -> float:
    """Compute a chunk as a worker does; return the seconds."""
    from orbresearch.analysis.best import compute_best
    from orbresearch.analysis.performance import compute_rows
    from orbresearch.summary import check_summary

    start = time.perf_counter()
    for piece in chunk.cut(len(run.grid)):
        item = run.inputs[piece.input]
        if keep == "all":
            compute_rows(run.run_id, item, run.grid, run.rules, piece)
        else:
            compute_best(run.run_id, item, check_summary(run.grid), run.rules, piece, keep)
    return time.perf_counter() - start


def _rows(run: Plan, keep: Keep, chunks: int) -> int:
    """Return how many rows go into the store."""
    return len(run) if keep == "all" else min(len(run), chunks * keep.n)


def _slots(n_workers: int, worker_cpu: float) -> int:
    """Return how many chunks are computed at once: each on a vCPU of its own."""
    return n_workers * max(1, int(worker_cpu))


def _idle(slots: int, chunks: int, compute: float, store: float) -> list[str]:
    """Return why some workers would wait for others."""
    said = []
    if slots > chunks:
        said.append(f"the workers compute {slots:,} chunks at once and the run has {chunks:,}: some have nothing to do")
    if store > max(compute, 60):
        said.append("the database takes longer than computing: more workers gain nothing, keep=orb.Best(...) does")
    return said


def _own_region() -> str | None:
    """Return the profile's region, if any: a plan needs no account."""
    from orbresearch.cloud.aws import open_account

    try:
        return open_account().region
    except BadInput:
        return None
