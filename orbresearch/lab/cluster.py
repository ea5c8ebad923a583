"""A local Dask cluster with the two queues: ``worker_main`` slots for backtests, threads more for priority work."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from orbresearch.errors import BadInput, Unreachable
from orbresearch.lab.plugin import MAIN
from orbresearch.settings import Settings


def default_workers() -> int:
    """Return how many worker processes suit this machine: one per usable core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_cluster(settings: Settings, n_workers: int | None, slots: int, scheduler_port: int = 0) -> Any:
    """Start a scheduler and workers on this machine's loopback interface.

    Parameters
    ----------
    settings : Settings
        Given to the workers through their environment, secrets included; never through tasks.
    n_workers : int, optional
        Worker processes; default: one per usable core.
    slots : int
        Backtests' chunks that a worker computes at once; it has two threads more, for priority work: one may be the
        reaper's for seconds.
    scheduler_port : int
        0: any free port.
    """
    import dask
    from distributed import LocalCluster

    for name, value in (("n_workers", n_workers), ("slots", slots)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise BadInput(name, f"{value!r} is no number of 1 or more", "give a whole number")
    with dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 30,  # chunks are idempotent: a lost worker is no verdict on them
            "distributed.worker.daemon": True,
            "distributed.worker.profile.enabled": False,  # a sampler that stops the kernels' thread every 10 ms
            # Dask trims memory at every turn: the arrays of each chunk would be mapped and faulted in anew
            "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 256 * 2**20,
            # one slot computes and the reaper writes now and then: an arena for each thread would only hoard
            "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
            "distributed.nanny.pre-spawn-environ.ARROW_DEFAULT_MEMORY_POOL": "system",
            "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
        }
    ):
        return _start(
            LocalCluster,
            n_workers=n_workers or default_workers(),
            threads_per_worker=slots + 2,
            processes=True,
            host="127.0.0.1",
            scheduler_port=scheduler_port,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address=None,
            resources={MAIN: slots},
            env=settings.to_environ(),
            silence_logs=logging.CRITICAL,  # of workers: what fails is told by ``run.status()``
            memory_limit=0,
            preload=["orbresearch.lab.preload"],
        )


CONNECT_SECONDS = 10
_LOOK_SECONDS = 5.0  # between two looks whether a scheduler that is waited for is there


def refuse_worker_import() -> None:
    """End a worker process that starts a lab of its own because it imports a script without a guard."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit("orbresearch: put what starts a Lab under if __name__ == '__main__': workers import the script, too")


def _start(kind: Any, **options: Any) -> Any:
    """Start a cluster; say what to do where its workers do not start."""
    try:
        return kind(**options)
    except RuntimeError as error:
        fix = "in a script, put what starts a Lab under if __name__ == '__main__':"
        raise Unreachable("local cluster", "127.0.0.1", str(error).splitlines()[0], fix) from None


def refuse_local_store(settings: Settings, address: str) -> None:
    """Refuse a file on this machine as the store of a cluster that may have workers on others.

    Raises
    ------
    BadInput
        The scheduler is not on this machine's loopback interface, and results go to SQLite.
    """
    if settings.store.is_mysql or _is_loopback(address):
        return
    wrong = f"its workers may be on other machines and cannot write the file {settings.store.where} here"
    fix = "name a MySQL database that they and this process reach: set DB_ENDPOINT, DB_USERNAME, DB_PASSWORD, DB_NAME"
    raise BadInput(f"the cluster at {address}", wrong, fix)


def _is_loopback(address: str) -> bool:
    """Return whether an address leads to this machine alone; one that leads nowhere is for connecting to tell."""
    from distributed.comm import get_address_host, parse_address

    try:
        scheme, _ = parse_address(address)
        if scheme == "inproc":
            return True
        found = socket.getaddrinfo(get_address_host(address), None)
    except (OSError, ValueError):
        return True
    return all(ip_address(str(where[0]).split("%")[0]).is_loopback for *_, where in found)


def connect_client(address: str, security: Any = None, away_seconds: float | None = None) -> Any:
    """Return a client of a running scheduler.

    Parameters
    ----------
    address : str
    security : distributed.Security, optional
        Certificate and key, where the scheduler wants to know who it talks to.
    away_seconds : float, optional
        For how long to try again when the connection is lost; default: as long as at first.

    Raises
    ------
    Unreachable
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fix = "check the address; `python -m orbresearch up` prints that of a running lab"
        raise Unreachable("Dask scheduler", address, reason, fix) from None
    if away_seconds is not None:
        client._timeout = away_seconds  # Dask has one number for both
    return client


def require_scheduler(client: Any, address: str, ended: bool = False) -> None:
    """Refuse a scheduler that has ended: what is submitted to it would be waited for in vain.

    Raises
    ------
    Unreachable
    """
    if ended or client.scheduler is None or client.status not in ("running", "connecting"):
        fix = "start a lab and submit the run again: what is in the store is kept"
        raise Unreachable("Dask scheduler", address, "it has ended", fix)


def ask_scheduler(client: Any, address: str, operation: str, **arguments: Any) -> Any:
    """Send a message to a plugin in the scheduler, and return its answer.

    Raises
    ------
    Unreachable
        The scheduler has ended.
    """
    require_scheduler(client, address)
    try:
        return client.sync(getattr(client.scheduler, operation), **arguments)
    except OSError as error:
        fix = "start a lab and submit the run again: what is in the store is kept"
        raise Unreachable("Dask scheduler", address, str(error).splitlines()[0], fix) from None


def require_workers(client: Any, address: str) -> None:
    """Refuse a cluster without a worker that could answer.

    Raises
    ------
    Unreachable
    """
    fix = "submit the run again later: what is in the store is kept"
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"]
    except OSError as error:
        raise Unreachable("Dask scheduler", address, str(error).splitlines()[0], fix) from None
    if not workers:
        raise Unreachable("Dask scheduler", address, "it has no workers", fix)


def await_answer(future: Any, address: str, check: Callable[[], None], patience: float | None) -> Any:
    """Return what a future returns; ask every few seconds whether there is still a scheduler to wait for.

    A client that has lost its scheduler may try to reach it for ever, and its futures are never done.

    Raises
    ------
    Unreachable
        What ``check`` says; no answer within ``patience`` seconds.
    """
    end = time.monotonic() + (math.inf if patience is None else patience)
    while True:
        try:
            return future.result(timeout=_LOOK_SECONDS)
        except TimeoutError:
            if future.status == "error":  # its own
                raise
            check()
        if time.monotonic() > end:
            fix = "submit the run again later: what is in the store is kept"
            raise Unreachable("Dask scheduler", address, f"no answer within {patience} s", fix)


def count_slots(client: Any) -> int:
    """Return how many chunks the workers of a cluster compute at once."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return int(sum(worker["resources"].get(MAIN, 0) for worker in workers))


def require_slots(client: Any, address: str) -> None:
    """Refuse a cluster on which no backtest would ever run."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise Unreachable("Dask scheduler", address, "it has no workers", "start some; in AWS sweep() and start anew")
    if not count_slots(client):
        wrong = f"none of its {len(workers)} workers has the resource {MAIN}"
        raise BadInput("Lab(address=...)", wrong, f"start them with --resources {MAIN}=N and two threads more than N")
