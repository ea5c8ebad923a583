"""A connection to a cluster, its Redis and its store: opened, described, asked, closed."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from orbresearch.console import many, tell
from orbresearch.errors import BadInput, OrbError, Unreachable
from orbresearch.lab import begin, cluster
from orbresearch.lab.plugin import CHUNK_SECONDS, NAME, PRIORITY, STAGED_BYTES, FeederPlugin
from orbresearch.lab.reaper import lifecycle
from orbresearch.lab.services import Services, open_services, start_redis
from orbresearch.lab.worker import call_with_services, describe_services, warm_up
from orbresearch.settings import read_settings

if TYPE_CHECKING:
    from orbresearch.cloud.hosted import Hosted

AWAY_SECONDS = 900.0  # that a notebook may be without a network before it gives its cluster up
SAVE_SECONDS = 300.0  # that a lab waits for its cluster when it is closed: the cluster costs while it does

open_labs: weakref.WeakSet[Connection] = weakref.WeakSet()


class Connection:
    """A cluster of our own or a running one, Redis and the store; ``Lab`` adds what is done with them."""

    def __init__(
        self,
        address: str | None = None,
        *,
        n_workers: int | None = None,
        slots: int = 1,
        env_file: str | os.PathLike[str] | None = None,
        reap_seconds: float = 0.25,
        staged_bytes: int = STAGED_BYTES,
        chunk_seconds: float = CHUNK_SECONDS,
        scheduler_port: int = 0,
        quiet: bool = False,
        hosted: Hosted | None = None,
    ) -> None:
        self.closed = True  # until everything stands
        self._services: Services | None = None
        with ExitStack() as stack:
            if hosted is not None:
                stack.callback(hosted.close)  # first of all: whatever fails here, it is paid for
            cluster.refuse_worker_import()
            self.address = address if hosted is None else hosted.address
            self.settings, self.hosted = read_settings(env_file), hosted
            if self.address is None:
                self._start(stack, n_workers, slots, scheduler_port)
            else:
                self._attach(stack, self.address)
            self._register(FeederPlugin(reap_seconds, staged_bytes, chunk_seconds))
            if not quiet:
                tell(self.describe())
            self._stack = stack.pop_all()
        self.closed = False
        open_labs.add(self)

    def _start(self, stack: ExitStack, n_workers: int | None, slots: int, port: int) -> None:
        """Start Redis (where none is named) and a cluster of our own."""
        self.settings, self.redis_name = start_redis(stack, self.settings)
        self._services = open_services(self.settings)
        stack.callback(self._services.close)
        self.store = self._services.store
        self.cluster = stack.enter_context(cluster.start_cluster(self.settings, n_workers, slots, port))
        self.client = stack.enter_context(cluster.connect_client(self.cluster.scheduler_address))

    def _attach(self, stack: ExitStack, address: str) -> None:
        """Connect to a running scheduler; make sure that its results come into the store that we read."""
        from orbresearch.store.connection import close_store, open_store

        cluster.refuse_local_store(self.settings, address)
        elsewhere = (self.hosted.security, AWAY_SECONDS) if self.hosted else ()
        self.client = stack.enter_context(cluster.connect_client(address, *elsewhere))
        if self.hosted:
            from orbresearch.cloud.versions import check_versions

            check_versions(self.client)
        self.cluster, self.redis_name = None, "Redis of the cluster"
        if self.settings.redis.endpoint is not None:
            self._services = open_services(self.settings)
            stack.callback(self._services.close)
        self.store = self._services.store if self._services else open_store(self.settings.store)
        if self._services is None:
            stack.callback(close_store, self.store)
        cluster.require_slots(self.client, address)
        there = self._in_cluster(describe_services)
        here = describe_services(self._services) if self._services else there
        if there["server"] != here["server"]:
            wrong = f"it is another than the cluster's at {there['redis']}"
            fix = "unset the REDIS_ variables: the cluster knows its own; or set them as the cluster has them"
            raise BadInput(f"Redis at {here['redis']}", wrong, fix)
        if there["uuid"] != self.store.uuid:
            wrong = f"the cluster at {address} writes to {there['store']}, this process reads {self.store.where}"
            fix = "set ORB_HOME or the DB_ variables as the cluster has them"
            raise BadInput("Lab(address=...)", wrong, f"{fix}{'; orb.cloud.deploy gives it yours' * bool(self.hosted)}")

    def _register(self, feeder: FeederPlugin) -> None:
        """Put the feeder into the scheduler, once, and warm up the workers in the background."""
        self.client.register_plugin(feeder, name=NAME)
        for worker in self.client.scheduler_info(n_workers=-1)["workers"]:
            self.client.submit(warm_up, workers=[worker], pure=False, key=f"warm-up-{worker}-{id(self)}")

    def describe(self) -> str:
        """Return where everything is, for a person."""
        workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
        place = f"{self.redis_name} at {self._services.staging.where}" if self._services else self.redis_name
        lines = [f"lab: {many(workers, 'worker')}, {place}, results in {self.store.where}"]
        if self.hosted is not None:
            ends = "it ends with this lab" if self.hosted.cluster else "it was there before this lab and stays"
            lost = f"\n     lost so far: {self.hosted.troubles}" if self.hosted.troubles else ""
            return f"{lines[0]}\n     cluster {self.hosted.name} at {self.address}, {ends}{lost}"
        lines.append(f"     home {self.settings.home}, dashboard {self.client.dashboard_link}")
        if self.cluster is not None:
            lines.append("     it ends with this process; `python -m orbresearch up` starts one that stays")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return "Lab(closed)" if self.closed else self.describe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the lab. One started here ends with its cluster, after what is staged was moved into the store."""
        if self.closed:
            return
        self.closed = True
        open_labs.discard(self)
        try:
            if self.cluster is not None or (self.hosted is not None and self.hosted.cluster is not None):
                self._save_staged()
        finally:
            self._stack.close()

    def _save_staged(self) -> None:
        """Move what is staged into the store; say what a run loses by closing now."""
        with suppress(Unreachable):  # a scheduler that has ended gives out nothing
            self._ask("orb_stop")
        try:
            if self._work(begin.run_counts, patience=SAVE_SECONDS)["staged"]:
                self._work(lifecycle, patience=SAVE_SECONDS)
            left = self._work(begin.run_counts, patience=SAVE_SECONDS)["queued"]
        except OrbError as error:
            tell(f"what was staged could not be moved into the store: {error}")
            return
        if left:
            tell(f"closed with {left:,} backtests not computed; submit the same run again to go on")

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(services, *args)`` here where this process reaches Redis, else in the cluster."""
        self._require_open()
        return self._work(function, *args)

    def _work(self, function: Callable[..., Any], *args: Any, patience: float | None = None) -> Any:
        if self._services is not None:
            return function(self._services, *args)
        return self._in_cluster(function, *args, patience=patience)

    def _in_cluster(self, function: Callable[..., Any], *args: Any, patience: float | None = None) -> Any:
        """Call ``function(services, *args)`` in a worker, as priority work.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait at the most, and not at all where there is no worker; default: until there is one.

        Raises
        ------
        Unreachable
            The scheduler has ended; nobody has answered within ``patience``.
        """
        from concurrent.futures import CancelledError

        self._require_scheduler()
        if patience is not None:
            cluster.require_workers(self.client, str(self.address))
        future = self.client.submit(call_with_services, function, *args, pure=False, priority=PRIORITY)
        try:
            return cluster.await_answer(future, str(self.address), self._require_scheduler, patience)
        except CancelledError:  # by a client that has lost its connection
            self._require_scheduler()
            fix = "ask again: the cluster goes on"
            raise Unreachable("Dask scheduler", str(self.address), "the connection was lost", fix) from None

    def _require_scheduler(self) -> None:
        """Refuse a scheduler that has ended, as far as its connection or ECS tells."""
        ended = self.hosted is not None and self.hosted.ended(connected=self.client.status == "running")
        cluster.require_scheduler(self.client, str(self.address), ended)

    def may_answer_again(self) -> bool:
        """Return whether a scheduler that does not answer may be there: elsewhere, and only the network is gone."""
        try:
            self._require_scheduler()
        except Unreachable:
            return False
        return self.hosted is not None

    def _require_open(self) -> None:
        if self.closed:
            raise BadInput(
                "lab", "it is closed", "make a new orb.Lab(); runs in the store open with orb.open_run(run_id)"
            )

    def _ask(self, operation: str, **arguments: Any) -> Any:
        """Send a message to the plugin in the scheduler."""
        address = self.address or self.cluster.scheduler_address
        return cluster.ask_scheduler(self.client, address, operation, **arguments)

    def slots(self) -> int:
        """Return how many chunks the cluster computes at once."""
        return max(1, cluster.count_slots(self.client))

    def slots_to_come(self) -> int:
        """Return how many chunks it will compute at once: a cluster in the cloud is there with its first worker."""
        return max(self.slots(), self.hosted.slots if self.hosted else 0)

    def submit_priority(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function in a worker now, while every slot computes backtests: first in, first out.

        Parameters
        ----------
        function : callable
            Short: each worker has two threads for such work, one of which may be the reaper's for seconds.
        *args, **kwargs
            Given to it.

        Returns
        -------
        distributed.Future
            ``.result()`` waits for what the function returns.
        """
        self._require_open()
        return self.client.submit(function, *args, pure=False, priority=PRIORITY, **kwargs)

    def lifecycle_result_data(self) -> dict[str, Any]:
        """Move what is staged into the store now, and report.

        Returns
        -------
        dict
            ``status``, ``message`` and ``duration`` (seconds).
        """
        found: dict[str, Any] = self._call(lifecycle)
        return found
