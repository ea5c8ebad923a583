"""What a run in the cloud will take and cost, before anything is started: measured here, multiplied there.

A few chunks are computed in this process by the functions that workers use. What a Fargate vCPU makes of them is an
assumption (:data:`SLOWER`), as are the minutes until tasks run and the pace of the database; each stands below with
its reason. Everything else is arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

from orbresearch.cloud.hourly import LIFETIME_HOURS, REDIS_SIZE, SCHEDULER_CPU, SPOT_SHARE, RunningCost, running_cost
from orbresearch.cloud.quota import quota
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid, Points
from orbresearch.keep import Keep, check_keep
from orbresearch.plan import SLOTS_SERVED, Chunk, Plan, fit_chunks, make_plan
from orbresearch.rules import Rules
from orbresearch.sessions.dataset import Sessions

__all__ = ["CloudPlan", "RunningCost", "plan", "quota", "running_cost"]

SLOWER = 1.5  # a Fargate vCPU is half a core of a server: a chunk takes so many times as long as on a core here
START_MINUTES = 3.0  # until tasks compute: an address for each, the image fetched and unpacked
REDIS_MINUTES = 8.0  # before that, where it does not run: ElastiCache takes 5 to 10
ROWS_A_SECOND = 70_000  # that one reaper moves into MySQL: README, "How long it takes"
_MEASURED_SECONDS = 0.5  # of chunks computed here, at least, or five times the same
_MEASURED_TIMES = 5
_WORDS = {"on_demand": "on demand", "spot": "on Spot"}


@dataclass(frozen=True)
class CloudPlan:
    """A run in the cloud before it is started: how long, how many dollars, and what stands in its way.

    Parameters
    ----------
    backtests, chunks : int
    chunk_seconds : float
        Of one chunk on a worker.
    start_minutes, compute_minutes, store_minutes : float
        Until tasks run; until the last chunk is computed; what the database takes for the rows, at the same time.
    vcpu_hours : float
        Of all tasks from start to end.
    on_demand, with_spot : float
        Dollars of the run with every worker on demand, and with Spot at its typical price; Redis included.
    redis : float
        Its share of them: ElastiCache counts begun hours.
    running : RunningCost
        What it costs while it is up, whatever it computes.
    quota : dict
        The account's Fargate vCPUs, ``on_demand`` and ``spot``, or why they are not known.
    warnings : tuple of str
    """

    backtests: int
    chunks: int
    chunk_seconds: float
    start_minutes: float
    compute_minutes: float
    store_minutes: float
    vcpu_hours: float
    on_demand: float
    with_spot: float
    redis: float
    running: RunningCost
    quota: Mapping[str, float | str]
    warnings: tuple[str, ...]

    @property
    def wall_minutes(self) -> float:
        """Minutes from the start to the last row in the store."""
        return self.start_minutes + max(self.compute_minutes, self.store_minutes)

    @property
    def per_hour(self) -> float:
        """Dollars an hour while it is up, Spot at its typical price."""
        return self.running.per_hour

    @property
    def most(self) -> float:
        """The most dollars that it can cost until its lifetime ends."""
        return self.running.most

    def __repr__(self) -> str:
        lines = [
            f"{self.backtests:,} backtests in {self.chunks:,} chunks of {self.chunk_seconds:.3g} s "
            f"(as measured here, times {SLOWER:g} for a Fargate vCPU)",
            f"{self.wall_minutes:,.1f} minutes: {self.start_minutes:g} to start, {self.compute_minutes:,.1f} to "
            f"compute, meanwhile {self.store_minutes:,.1f} for rows into MySQL; {self.vcpu_hours:,.1f} vCPU-hours",
            f"${self.with_spot:,.2f} with Spot, ${self.on_demand:,.2f} were every worker on demand; "
            f"${self.redis:.2f} of it Redis",
            repr(self.running),
            f"Fargate quota: {_say_quota(self.quota)}",
            *(f"warning: {warning}" for warning in self.warnings),
        ]
        return "CloudPlan: " + "\n  ".join(lines)


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
    run = fit_chunks(made, n_workers, check_keep(keep))
    each, preparing = measure(fit_chunks(made, min(n_workers, SLOTS_SERVED), keep), keep)
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
    seconds = (len(run) * each + prepared * preparing) * SLOWER / min(1.0, worker_cpu)  # a chunk computes on one core
    chunk_seconds = seconds / len(pieces)
    compute = ceil(len(pieces) / running.n_workers) * chunk_seconds
    store = _rows(run, keep, len(pieces)) / ROWS_A_SECOND
    hours = START_MINUTES / 60 + max(compute, store) / 3600
    redis = running.redis * ceil(hours + REDIS_MINUTES / 60)
    return CloudPlan(
        len(run),
        len(pieces),
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
            *_too_many(running.n_workers, worker_cpu, spot_share, vcpus),
            *_idle(running.n_workers, len(pieces), compute, store),
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


def _too_many(n_workers: int, cpu: float, spot_share: float, vcpus: Mapping[str, float | str]) -> list[str]:
    """Return what the account's quota does not admit."""
    spot = round(n_workers * spot_share)
    wanted = {"on_demand": (n_workers - spot) * cpu + SCHEDULER_CPU, "spot": spot * cpu}
    return [
        f"{need:g} vCPUs {_WORDS[name]} are more than the quota of {allowed:g}: "
        "ask for more under Service Quotas, AWS Fargate, or take fewer workers"
        for name, need in wanted.items()
        if not isinstance(allowed := vcpus.get(name, ""), str) and need > allowed
    ]


def _idle(n_workers: int, chunks: int, compute: float, store: float) -> list[str]:
    """Return why some workers would wait for others."""
    said = []
    if n_workers > chunks:
        said.append(f"{n_workers:,} workers are more than the run's chunks ({chunks:,}): some have nothing to do")
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


def _say_quota(vcpus: Mapping[str, float | str]) -> str:
    """Return the quotas in words; one reason for all of them once."""
    if len(set(vcpus.values())) == 1 and isinstance(reason := next(iter(vcpus.values())), str):
        return reason
    said = {name: value if isinstance(value, str) else f"{value:g} vCPUs" for name, value in vcpus.items()}
    return ", ".join(f"{value} {_WORDS[name]}" for name, value in said.items())
