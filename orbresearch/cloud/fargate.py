"""Scheduler and workers as Fargate tasks: dask-cloudprovider's cluster, mended.

As it is shipped (2025.9) it does not start with distributed 2026.6 or newer, whose console scripts are gone; opens the
scheduler to the world; hides why tasks stop; replaces no lost worker; and does not clean up. On the stack of
:mod:`orbresearch.cloud.stack` it makes nothing but tasks, and what is overridden here is how they are started, watched
and stopped: through :class:`~orbresearch.cloud.desk.Desk`, which paces its calls.

A worker that cannot be started or is lost is replaced under another name, once the first has connected; why is counted
in ``troubles`` and told. While the notebook's network is gone the cluster works on; afterwards it is watched again.
However a cluster ends (closed, interrupted while it starts or closes, with its process), every task that may have been
started is asked to stop: see :meth:`orbresearch.cloud.desk.Desk.end_all`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from contextlib import suppress
from typing import Any

from dask_cloudprovider.aws import FargateCluster
from distributed.core import Status
from distributed.deploy import SpecCluster

from orbresearch.cloud.aws import CLUSTER_TAG, TAG, Account
from orbresearch.cloud.desk import Desk
from orbresearch.cloud.guard import LIFETIME
from orbresearch.cloud.hourly import count_on_demand
from orbresearch.cloud.roles import LOOK_SECONDS, START_SECONDS, Options, Scheduler, Worker, failure
from orbresearch.cloud.stack import Stack
from orbresearch.cloud.troubles import Troubles
from orbresearch.console import tell
from orbresearch.errors import CloudFailed, OrbError

_REST_SECONDS = 5.0  # between two looks at tasks while every worker is there
_END_SECONDS = 240.0  # until all tasks have ended: they are given 120 to end in good order
_PAUSES = (0.0, 2.0, 5.0, 15.0, 30.0, 60.0)  # after so many workers in a row that did not come to run
MEMORY_SHARE = 0.9  # of a task's memory that its worker process may take before its nanny restarts it

log = logging.getLogger(__name__)


class Cluster(FargateCluster):  # type: ignore[misc]
    """A scheduler and workers on a stack's infrastructure. ``orbresearch.cloud.hosted.start_hosted`` makes one."""

    status: Any
    _watch_worker_status_task: Any

    def __init__(self, account: Account, stack: Stack, options: Options, security: Any) -> None:
        self.account, self.stack, self.asked = account, stack, options
        self.troubles = Troubles()
        self._numbers, self._failed, self._pause_until = itertools.count(), 0, 0.0
        self._connected = set[Any]()
        self._starting = True  # until a worker has connected: what fails before is not tried again
        self._watcher: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.over = ""  # why the scheduler has ended
        self.desk = Desk(account, stack, options.name)
        try:
            super().__init__(name=options.name, security=security, **self._theirs())
        except BaseException:  # Ctrl-C, too: a scheduler may be on its way
            if getattr(self, "status", Status.closed) != Status.closed:
                self.close(timeout=2 * _END_SECONDS)
            raise

    def _theirs(self) -> dict[str, Any]:
        """Return what dask-cloudprovider is told: everything is there already, it makes nothing of its own."""
        account, stack, options = self.account, self.stack, self.asked
        return {
            "skip_cleanup": True,
            "n_workers": 0,
            "fargate_spot": True,
            "region_name": account.region,
            "cluster_arn": stack.cluster_arn,
            "execution_role_arn": stack.execution_role_arn,
            "task_role_arn": stack.task_role_arn,
            "cloudwatch_logs_group": stack.log_group,
            "vpc": stack.vpc,
            "subnets": list(stack.subnets),
            "security_groups": [stack.scheduler_group],
            "scheduler_task_definition_arn": stack.scheduler_task_definition,
            "worker_task_definition_arn": stack.worker_task_definition,
            "scheduler_timeout": f"{options.idle_timeout:g}s",
            "scheduler_extra_args": ["--preload", "orbresearch.cloud.guard", "--dashboard-address", "127.0.0.1:8787"],
            "environment": {},
            "tags": {TAG: stack.name, CLUSTER_TAG: options.name},
        }

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
        wanted = count_on_demand(len(self.worker_spec) + 1, self.asked.spot_share)
        provider = "FARGATE" if on_demand < wanted else "FARGATE_SPOT"
        options = {**self.new_spec["options"], "fargate_capacity_provider": provider}
        return {next(self._numbers): {**self.new_spec, "options": options}}

    def _check_scheduler_tls_config(self) -> None:
        """Take it for right: the scheduler's certificate comes from its secret, not from its command."""

    async def _start(self) -> None:
        self.cluster_name = self.stack.cluster_arn.split("/")[-1]
        await super()._start()
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Look at the tasks again and again: replace those that are lost."""
        while self.status == Status.running:
            busy = len(self._connected) < len(self.worker_spec)
            await asyncio.sleep(LOOK_SECONDS if busy else _REST_SECONDS)
            try:
                if not await self._look():
                    return await self.desk.end_all("the scheduler has ended", _END_SECONDS)
                await self._correct_state()
            except OrbError as error:  # a call that AWS refuses now it may grant later
                self.troubles.tell_now_and_then(
                    f"cloud: lost workers are not replaced while AWS cannot be asked: {error}"
                )
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
        arns = {worker.task_arn: name for name, worker in self.workers.items() if worker.task_arn}
        found = await self.desk.describe([self.scheduler.task_arn, *arns])
        if (scheduler := found[self.scheduler.task_arn]).leaving:
            if not self.over:
                self.over = (await failure(self.desk, scheduler, "scheduler")).reason
                tell(f"cloud: the scheduler has ended: {self.over}")
            return False
        await self._hear_of_workers()
        for name, worker in list(self.workers.items()):
            seen = found.get(worker.task_arn)
            if worker.trouble is not None:
                self._lost(name, worker.trouble)
            elif seen is not None and seen.leaving and name in self.worker_spec:
                self._lost(name, await failure(self.desk, seen, "worker"), seen.spot_ended)
        return True

    async def _hear_of_workers(self) -> None:
        """See who has connected; have the scheduler tell of it again where that connection was lost: Dask would not."""
        if self._watch_worker_status_task.done():
            with suppress(OSError, asyncio.TimeoutError):
                comm = await self.scheduler_comm.live_comm()
                await comm.write({"op": "subscribe_worker_status"})
                self.scheduler_info.update(await comm.read())
                self._watch_worker_status_comm = comm
                self._watch_worker_status_task = asyncio.ensure_future(self._watch_worker_status(comm))
        here = {worker["name"] for worker in self.scheduler_info["workers"].values()} & set(self.workers)
        if here - self._connected:
            self._failed = 0  # workers come to run again
        self._connected = (self._connected | here) & set(self.workers)

    def _lost(self, name: Any, reason: CloudFailed, interrupted: bool = False) -> None:
        """Count a lost worker; let another take its place, later where several in a row have failed.

        Not before one has connected: others may be on their way while some are refused, and what fails for all is
        told once.
        """
        becomes = "did not start" if self._starting else "is lost and will be replaced"
        self.troubles.count("interrupted by Spot" if interrupted else reason.reason, becomes)
        log.info("worker %s: %s", name, reason)
        self._failed = 0 if interrupted or name in self._connected else self._failed + 1
        if self._failed:
            self._pause_until = time.monotonic() + _PAUSES[min(self._failed // 3, len(_PAUSES) - 1)]
        self._connected.discard(name)
        self.workers.pop(name, None)
        removed = self.worker_spec.pop(name, None) is not None
        if removed and self.status == Status.running and not self._starting:
            self.worker_spec.update(self.new_worker_spec())

    async def _correct_state_internal(self) -> None:
        """Make the tasks those that are wanted, whoever asks for it: not while a pause after failures lasts."""
        if self.status == Status.closing or time.monotonic() < self._pause_until:
            self._correct_state_waiting = None
            return
        await super()._correct_state_internal()

    def _update_worker_status(self, op: str, message: Any) -> None:
        """Hear of workers that come and go; which task is lost ECS says.

        Dask would take a worker that its nanny restarts for lost after 15 s, and start another under its name.
        """
        super(SpecCluster, self)._update_worker_status(op, message)

    async def first_worker(self) -> None:
        """Wait until a worker has connected; from then on those that failed are started anew.

        Raises
        ------
        CloudFailed
            All have failed.
        """
        asked = len(self.worker_spec)
        end = time.monotonic() + START_SECONDS
        while not self.scheduler_info["workers"]:
            if self.over:
                fix = f"see its log; idle_timeout={self.asked.idle_timeout:g} may be too short for a worker to start in"
                raise CloudFailed("starting workers", f"the scheduler has ended: {self.over}", fix)
            if not self.worker_spec or time.monotonic() > end:
                reason = next(iter(self.troubles.most_frequent(1)), f"none in {START_SECONDS:.0f} s")
                raise CloudFailed("starting workers", reason, "nothing was left running")
            await asyncio.sleep(0.2)
        self._starting, self._pause_until = False, 0.0
        self.scale(asked)

    async def _close(self) -> None:
        """Stop every task and see that it has ended. Once begun it goes on, even where the caller waits no longer."""
        if self.status == Status.closed:
            return
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        was, self.status, self.desk.closing = self.status, Status.closing, True
        if self._watcher is not None:
            self._watcher.cancel()
        with suppress(AttributeError):
            self._adaptive.stop()
        try:
            if was == Status.running:
                with suppress(Exception):  # whatever became of it: its tasks are stopped below
                    await asyncio.wait_for(self.scheduler_comm.terminate(), 5)  # it ends its workers
            await self.desk.end_all("the lab was closed", _END_SECONDS)
        finally:
            self.worker_spec.clear()
            self.workers.clear()
            self.status = Status.stopping  # of which SpecCluster makes no more tasks to stop
            await super()._close()


def _variable(key: str) -> str:
    """Return the environment variable that sets a key of Dask's configuration."""
    return "DASK_" + key.upper().replace(".", "__").replace("-", "_")
