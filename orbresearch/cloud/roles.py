"""A cluster's members as Fargate tasks: how each is asked for, and why one did not come to run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from dask_cloudprovider.aws import ecs as theirs
from distributed.core import Status

from orbresearch.cloud.aws import CLUSTER_TAG, ROLE_TAG
from orbresearch.cloud.desk import Desk, Seen
from orbresearch.cloud.hourly import SPOT_SHARE
from orbresearch.errors import CloudFailed, OrbError

PORT = 8786
LOOK_SECONDS = 1.0  # between two looks at tasks while some are on their way
START_SECONDS = 600.0  # until a scheduler that pulls its image runs


@dataclass(frozen=True)
class Options:
    """A cluster, as it is asked for.

    Parameters
    ----------
    name : str
    worker_cpu : int
        vCPUs of a worker, each a slot.
    worker_memory : float
        GiB.
    spot_share : float
        Of the workers, on Fargate Spot.
    idle_timeout, lifetime : float
        Seconds.
    environment : dict
        Of the workers; no secret: anyone who may describe tasks reads it.
    death_timeout : float
        Seconds after which a worker without a scheduler ends.
    """

    name: str
    worker_cpu: int = 1
    worker_memory: float = 4
    spot_share: float = SPOT_SHARE
    idle_timeout: float = 900
    lifetime: float = 12 * 3600
    environment: dict[str, str] = field(default_factory=dict)
    death_timeout: float = 60


class _Task:
    """A task that the desk starts and stops. Mixed into dask-cloudprovider's classes."""

    role: str

    def __init__(self, *args: Any, desk: Desk, size: dict[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.desk, self.size = desk, size
        self.trouble: CloudFailed | None = None
        self._overrides: dict[str, Any]
        self._overrides["command"][:1] = ["dask", self.role]

    def __await__(self) -> Generator[Any, Any, Any]:
        async def once() -> Any:
            async with self.lock:  # type: ignore[attr-defined]
                if self.status == Status.created:
                    await self.start()
            return self

        return once().__await__()

    status: Any
    task_arn: str | None

    def request(self) -> dict[str, Any]:
        """Return the arguments of RunTask."""
        own: Any = self
        container = {
            "name": f"dask-{self.role}",
            "environment": [{"name": name, "value": value} for name, value in own.environment.items()],
            **self._overrides,
        }
        network = {
            "subnets": own._vpc_subnets,
            "securityGroups": own._security_groups,
            "assignPublicIp": "ENABLED",  # to pull the image; the security groups decide who may come in
        }
        return {
            "cluster": own.cluster_arn,
            "taskDefinition": own.task_definition_arn,
            "count": 1,
            "capacityProviderStrategy": [{"capacityProvider": own._fargate_capacity_provider}],
            "networkConfiguration": {"awsvpcConfiguration": network},
            "overrides": {"containerOverrides": [container], **self.size},
            "startedBy": own.tags[CLUSTER_TAG],
            "tags": [{"key": key, "value": value} for key, value in {**own.tags, ROLE_TAG: self.role}.items()],
        }

    async def start(self) -> None:
        """Ask for the task."""
        self.task_arn = (await self.desk.run(self.request())).arn
        self.status = Status.running

    async def close(self, **_: Any) -> None:
        """Ask for its end."""
        self.status = Status.closed
        if self.task_arn:
            await self.desk.stop(self.task_arn, "no longer wanted")


class Scheduler(_Task, theirs.Scheduler):  # type: ignore[misc]
    """The scheduler's task; started when it runs and has its addresses."""

    role = "scheduler"

    async def start(self) -> None:
        """Ask for the task, wait until it runs."""
        seen = await self.desk.run(self.request())
        self.task_arn, end = seen.arn, time.monotonic() + START_SECONDS
        while seen.status != "RUNNING":
            if seen.leaving or time.monotonic() > end:
                raise await failure(self.desk, seen, self.role)
            await asyncio.sleep(LOOK_SECONDS)
            seen = (await self.desk.describe([seen.arn]))[seen.arn]
        self.private_ip, self.public_ip = seen.address, await self.desk.public_address(seen)
        self.status = Status.running


class Worker(_Task, theirs.Worker):  # type: ignore[misc]
    """A worker's task; started when ECS has taken it on. What becomes of it the cluster watches."""

    role = "worker"

    async def start(self) -> None:
        """Ask for the task; keep the reason where there is none."""
        try:
            await super().start()
        except OrbError as error:
            self.status = Status.failed
            self.trouble = error if isinstance(error, CloudFailed) else CloudFailed("starting a task", str(error), "")


async def failure(desk: Desk, seen: Seen, role: str) -> CloudFailed:
    """Return why a task did not come to run, or ran no longer: ECS' reason and its last words."""
    words = await desk.last_words(seen.arn, f"dask-{role}")
    reason = seen.reason or f"it is {seen.status} after {START_SECONDS:.0f} s"
    return CloudFailed(f"the {role}'s task", f"{reason}{': ' + words if words else ''}", "see what the reason names")
