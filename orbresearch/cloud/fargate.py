"""Scheduler and workers as Fargate tasks: dask-cloudprovider's cluster, mended.

As it is shipped (2025.9) it does not start with distributed 2026.6 or newer, whose console scripts are gone; opens the
scheduler to the world; hides why tasks stop; replaces no lost worker; and does not clean up. On the stack of
:mod:`orbresearch.cloud.stack` it makes nothing but tasks, and what is overridden here is how they are started, watched
and stopped: through :class:`~orbresearch.cloud.desk.Desk`, which paces its calls.

A worker that cannot be started or is lost is replaced under another name; the first reason is kept, for a person.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dask_cloudprovider.aws import FargateCluster
from dask_cloudprovider.aws import ecs as theirs
from distributed.core import Status

from orbresearch.cloud.aws import CLUSTER_TAG, ROLE_TAG, TAG, Account
from orbresearch.cloud.desk import Desk, Seen
from orbresearch.cloud.guard import LIFETIME
from orbresearch.cloud.stack import Stack
from orbresearch.errors import CloudFailed, OrbError

SPOT_SHARE = 10 / 11
PORT = 8786
_LOOK_SECONDS = 1.0  # between two looks at tasks while some are on their way
_REST_SECONDS = 5.0  # while none is
_START_SECONDS = 600.0  # until a scheduler that pulls its image runs
_END_SECONDS = 240.0  # until all tasks have ended: they are given 120 to end in good order
_PAUSES = (0.0, 2.0, 5.0, 15.0, 30.0, 60.0)  # after so many workers in a row that did not come to run
MEMORY_SHARE = 0.9  # of a task's memory that its worker process may take before its nanny restarts it

log = logging.getLogger(__name__)


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
        self.task_arn, end = seen.arn, time.monotonic() + _START_SECONDS
        while seen.status != "RUNNING":
            if seen.leaving or time.monotonic() > end:
                raise await failure(self.desk, seen, self.role)
            await asyncio.sleep(_LOOK_SECONDS)
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
    reason = seen.reason or f"it is {seen.status} after {_START_SECONDS:.0f} s"
    return CloudFailed(f"the {role}'s task", f"{reason}{': ' + words if words else ''}", "see what the reason names")


class Cluster(FargateCluster):  # type: ignore[misc]
    """A scheduler and workers on a stack's infrastructure. ``start_cluster`` makes one."""

    status: Any

    def __init__(self, account: Account, stack: Stack, options: Options, security: Any) -> None:
        self.account, self.stack, self.asked = account, stack, options
        self.troubles: Counter[str] = Counter()  # why workers did not come to run, or were lost
        self._numbers, self._failed, self._pause_until = itertools.count(), 0, 0.0
        self._connected = set[Any]()
        self._watcher: asyncio.Task[None] | None = None
        self.over = ""  # why the scheduler has ended
        task = {"skip_cleanup": True, "n_workers": 0, "fargate_spot": True, "region_name": account.region}
        super().__init__(
            **task,
            name=options.name,
            security=security,
            cluster_arn=stack.cluster_arn,
            execution_role_arn=stack.execution_role_arn,
            task_role_arn=stack.task_role_arn,
            cloudwatch_logs_group=stack.log_group,
            vpc=stack.vpc,
            subnets=list(stack.subnets),
            security_groups=[stack.scheduler_group],
            scheduler_task_definition_arn=stack.scheduler_task_definition,
            worker_task_definition_arn=stack.worker_task_definition,
            scheduler_timeout=f"{options.idle_timeout:g}s",
            scheduler_extra_args=["--preload", "orbresearch.cloud.guard", "--dashboard-address", "127.0.0.1:8787"],
            environment={},
            tags={TAG: stack.name, CLUSTER_TAG: options.name},
        )

    @property
    def tags(self) -> dict[str, str]:
        """What is written on every task."""
        return dict(self._tags)

    @property
    def scheduler_spec(self) -> Any:
        """The scheduler, as dask-cloudprovider specifies it, with the class above and its own role's options."""
        return self._scheduler_spec

    @scheduler_spec.setter
    def scheduler_spec(self, spec: Any) -> None:
        if spec:
            environment = {_variable(LIFETIME): f"{self.asked.lifetime:g}"}
            own = {"desk": self.desk, "size": {}, "environment": environment}
            spec = {"cls": Scheduler, "options": {**spec["options"], **own}}
        self._scheduler_spec = spec

    @property
    def new_spec(self) -> Any:
        """A worker, likewise."""
        return self._new_spec

    @new_spec.setter
    def new_spec(self, spec: Any) -> None:
        if spec:
            asked = self.asked
            size = {"cpu": str(asked.worker_cpu * 1024), "memory": str(round(asked.worker_memory * 1024))}
            own = {
                "desk": self.desk,
                "size": size,
                "environment": {**asked.environment, _variable(LIFETIME): f"{asked.lifetime:g}"},
                "security_groups": [self.stack.worker_group],
                "extra_args": self._worker_arguments(),
                "nthreads": asked.worker_cpu + 2,  # two more than slots, for priority work: one may be the reaper's
            }
            spec = {"cls": Worker, "options": {**spec["options"], **own}}
        self._new_spec = spec

    def _worker_arguments(self) -> list[str]:
        """Return what the command says beside dask-cloudprovider's own; the last of two that differ counts."""
        asked = self.asked
        return [
            *("--memory-limit", f"{round(asked.worker_memory * 1024 * MEMORY_SHARE)}MiB"),
            *("--death-timeout", f"{asked.death_timeout:g}"),
            *("--resources", f"worker_main={asked.worker_cpu}"),
            *("--preload-nanny", "orbresearch.cloud.drain"),
            "--no-dashboard",
        ]

    def new_worker_spec(self) -> dict[int, Any]:
        """Return the next worker: a name never used before, on Spot or on demand as the share asks for."""
        on_demand = sum(spec["options"]["fargate_capacity_provider"] == "FARGATE" for spec in self.worker_spec.values())
        wanted = int((1 - self.asked.spot_share) * (len(self.worker_spec) + 1) + 1e-9)
        provider = "FARGATE" if on_demand < wanted else "FARGATE_SPOT"
        options = {**self.new_spec["options"], "fargate_capacity_provider": provider}
        return {next(self._numbers): {**self.new_spec, "options": options}}

    def _check_scheduler_tls_config(self) -> None:
        """Take it for right: the scheduler's certificate comes from its secret, not from its command."""

    async def _start(self) -> None:
        self.desk = Desk(self.account, self.stack)
        self.cluster_name = self.stack.cluster_arn.split("/")[-1]
        await super()._start()
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Look at the tasks again and again: replace those that are lost."""
        while self.status == Status.running:
            busy = len(self._connected) < len(self.worker_spec)
            await asyncio.sleep(_LOOK_SECONDS if busy else _REST_SECONDS)
            try:
                if not await self._look():
                    return await self._end_tasks()
                if time.monotonic() >= self._pause_until:
                    await self._correct_state()
            except OrbError as error:  # a call that AWS refuses now it may grant later
                self.troubles[str(error)] += 1
            except Exception:
                log.exception("watching the tasks failed; trying again")
        return None

    async def _look(self) -> bool:
        """Describe the tasks; take workers that are leaving off the books, so that others take their place.

        Returns
        -------
        bool
            Whether the scheduler is there: without it no worker is started.
        """
        self._connected |= {worker["name"] for worker in self.scheduler_info["workers"].values()} & set(self.workers)
        arns = {worker.task_arn: name for name, worker in self.workers.items() if worker.task_arn}
        found = await self.desk.describe([self.scheduler.task_arn, *arns])
        if (scheduler := found[self.scheduler.task_arn]).leaving:
            self.over = (await failure(self.desk, scheduler, "scheduler")).reason
            return False
        for name, worker in list(self.workers.items()):
            seen = found.get(worker.task_arn)
            if worker.trouble is not None:
                self._lost(name, worker.trouble)
            elif seen is not None and seen.leaving and name in self.worker_spec:
                self._lost(name, await failure(self.desk, seen, "worker"), seen.spot_ended)
        return True

    def _lost(self, name: Any, reason: CloudFailed, interrupted: bool = False) -> None:
        """Count a lost worker; let another take its place, later where several in a row have failed."""
        self.troubles["interrupted by Spot" if interrupted else reason.reason] += 1
        log.warning("worker %s: %s", name, reason)
        self._failed = 0 if interrupted or name in self._connected else self._failed + 1
        if self._failed:
            self._pause_until = time.monotonic() + _PAUSES[min(self._failed // 3, len(_PAUSES) - 1)]
        self._connected.discard(name)
        self.workers.pop(name, None)
        if self.worker_spec.pop(name, None) is not None and self.status == Status.running:
            self.worker_spec.update(self.new_worker_spec())

    async def first_worker(self, failures: int) -> None:
        """Wait until a worker has connected.

        Raises
        ------
        CloudFailed
            So many have failed and none has connected.
        """
        end = time.monotonic() + _START_SECONDS
        while not self.scheduler_info["workers"]:
            if self.over:
                raise CloudFailed("starting workers", f"the scheduler has ended: {self.over}", "see its log")
            if self._failed >= failures or time.monotonic() > end:
                reason = self.troubles.most_common(1)[0][0] if self.troubles else f"none in {_START_SECONDS:.0f} s"
                raise CloudFailed("starting workers", reason, "nothing was left running")
            await asyncio.sleep(0.2)

    async def _close(self) -> None:
        """Stop every task and see that it has ended; nothing else was made."""
        if self.status in (Status.closing, Status.closed):
            return
        self.status, was = Status.closing, self.status
        if self._watcher is not None:
            self._watcher.cancel()
        with suppress(AttributeError):
            self._adaptive.stop()
        try:
            if was == Status.running:
                with suppress(OSError, TimeoutError, asyncio.TimeoutError):
                    await asyncio.wait_for(self.scheduler_comm.terminate(), 5)  # it ends its workers
            await self._end_tasks()
        finally:
            for task in self._created:
                task.status = Status.closed
            self.worker_spec.clear()
            self.workers.clear()
            self.shutdown_scheduler, self.status = False, was
            await super()._close()

    async def _end_tasks(self) -> None:
        end, desk = time.monotonic() + _END_SECONDS, self.desk
        with suppress(CloudFailed):
            await desk.describe(desk.alive())
        for arn in desk.alive():
            await desk.stop(arn, "the lab was closed")
        while alive := desk.alive():
            if time.monotonic() > end:
                names = ", ".join(arn.split("/")[-1] for arn in alive)
                raise CloudFailed("closing the cluster", f"tasks still run: {names}", "run orb.cloud.sweep()")
            await asyncio.sleep(_LOOK_SECONDS / 2)
            await desk.describe(alive)


def _variable(key: str) -> str:
    """Return the environment variable that sets a key of Dask's configuration."""
    return "DASK_" + key.upper().replace(".", "__").replace("-", "_")
