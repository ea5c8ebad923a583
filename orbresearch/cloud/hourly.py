"""What a cluster costs while it is up, whatever it computes: known before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from orbresearch.cloud.prices import Prices, find_prices
from orbresearch.cloud.sizes import require_size
from orbresearch.console import many
from orbresearch.errors import BadInput

SPOT_SHARE = 10 / 11  # of workers: ten on Spot for each on demand
LIFETIME_HOURS = 12.0
REDIS_SIZE = "cache.t4g.small"
SCHEDULER_CPU, SCHEDULER_MEMORY = 1.0, 4.0  # vCPUs and GB, as the stack has them


@dataclass(frozen=True)
class RunningCost:
    """What a cluster costs by the hour, and the most that it can cost. US dollars, without tax.

    Parameters
    ----------
    n_workers : int
    lifetime_hours : float
        After which the cluster ends by itself.
    scheduler : float
        An hour of the scheduler, on demand.
    workers : float
        An hour of all workers, Spot at its typical price.
    workers_on_demand : float
        An hour of all workers, were every one of them on demand: Spot never costs more.
    redis : float
        An hour of Redis, which goes on until ``stop_redis()``.
    prices : Prices
    """

    n_workers: int
    lifetime_hours: float
    scheduler: float
    workers: float
    workers_on_demand: float
    redis: float
    prices: Prices

    @property
    def per_hour(self) -> float:
        """An hour of everything, Spot at its typical price."""
        return self.scheduler + self.workers + self.redis

    @property
    def per_hour_on_demand(self) -> float:
        """An hour of everything, were every worker on demand."""
        return self.scheduler + self.workers_on_demand + self.redis

    @property
    def most(self) -> float:
        """The most that it can cost until its lifetime ends: every worker at the price on demand all the while."""
        hourly = self.scheduler + self.workers_on_demand
        return hourly * self.lifetime_hours + self.redis * ceil(self.lifetime_hours)

    @property
    def facts(self) -> dict[str, str]:
        """What it costs, what goes on costing, and by which prices: lines that fit a notebook, by their names."""
        workers = f"{many(self.n_workers, 'worker')}: ${self.per_hour:,.2f} an hour"
        most = f"${self.most:,.2f} at the very most until the lifetime of {self.lifetime_hours:g} h ends"
        note = f" ({self.prices.note})" if self.prices.note else ""
        return {
            "while it is up": f"{workers}, {most}",
            **({"afterwards": f"Redis goes on at ${self.redis:.3f} an hour until stop_redis()"} if self.redis else {}),
            "counted with": f"prices of {self.prices.region} as of {self.prices.date}{note}",
        }

    def __repr__(self) -> str:
        return "\n  ".join(self.facts.values())


def running_cost(
    n_workers: int,
    worker_cpu: float = 1,
    worker_memory: float = 4,
    spot_share: float = SPOT_SHARE,
    lifetime_hours: float = LIFETIME_HOURS,
    region: str | None = None,
    redis_size: str | None = REDIS_SIZE,
    prices: Mapping[str, Any] | None = None,
    *,
    redis_engine: str = "valkey",
    redis_nodes: int = 1,
    scheduler_cpu: float = SCHEDULER_CPU,
    scheduler_memory: float = SCHEDULER_MEMORY,
    arm: bool = False,
) -> RunningCost:
    """Return what a cluster costs while it is up.

    Not counted, because it is cents: logs, the stack's secrets, image storage, what leaves AWS.

    Parameters
    ----------
    n_workers : int
    worker_cpu, worker_memory : float
        vCPUs and GB of each worker.
    spot_share : float
        Of workers, from 0 to 1; the scheduler is always on demand.
    lifetime_hours : float
    region : str, optional
        Whose prices.
    redis_size, redis_engine : str
        ElastiCache's node type; None: no Redis.
    redis_nodes : int
        The primary and its replicas.
    prices : mapping, optional
        Instead of what ``prices.yaml`` says.
    scheduler_cpu, scheduler_memory : float
        vCPUs and GB.
    arm : bool
        Whether tasks run on Graviton.

    Raises
    ------
    BadInput
        What makes no sense, a worker of a size that Fargate does not have, a Redis of one whose price is not known.

    Examples
    --------
    >>> round(running_cost(100, region="us-east-1", redis_size=None).per_hour, 4)
    2.6781
    """
    _check(n_workers, spot_share, lifetime_hours)
    require_size(worker_cpu, worker_memory)
    known = find_prices(region, prices)
    each = known.task_hour(worker_cpu, worker_memory, arm=arm)
    spot = known.task_hour(worker_cpu, worker_memory, spot=True, arm=arm)
    on_demand = count_on_demand(n_workers, spot_share)
    return RunningCost(
        n_workers,
        float(lifetime_hours),
        known.task_hour(scheduler_cpu, scheduler_memory, arm=arm),
        (n_workers - on_demand) * spot + on_demand * each,
        n_workers * each,
        redis_nodes * known.cache_hour(redis_size, redis_engine) if redis_size else 0.0,
        known,
    )


def count_on_demand(n_workers: int, spot_share: float) -> int:
    """Return how many of so many workers run on demand: whole ones, and Spot has the fraction.

    Examples
    --------
    >>> [count_on_demand(n_workers, 10 / 11) for n_workers in (1, 10, 11, 100)]
    [0, 0, 1, 9]
    """
    return int((1 - spot_share) * n_workers + 1e-9)


def _check(n_workers: int, spot_share: float, lifetime_hours: float) -> None:
    """Refuse what is no cluster."""
    if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
        raise BadInput("n_workers", f"{n_workers!r} is no number of 1 or more", "give a whole number")
    if not 0 <= spot_share <= 1:
        raise BadInput("spot_share", f"{spot_share!r} is no share", "give 0 to 1")
    if not 0 < lifetime_hours < float("inf"):
        raise BadInput("lifetime_hours", f"{lifetime_hours!r} is not above zero", "give a number above 0")
