"""Two Dask workers against two bare processes over the same chunks, by the clock."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from orbresearch.keep import order_of
from orbresearch.plan import make_plan
from tests.benchmarks.market import DURATION, market, nested_grid, work, work_chunk
from tests.benchmarks.measure import ROOT, Effort, Line, alternate, wall

POINTS, WORKERS = 1_000_000, 2
POLL_SECONDS, NO_REAPER_SECONDS = 0.02, 3_600.0

Work = Callable[[int], object]  # computes all chunks so many times
Found = list[tuple[float, ...]]


def workers(effort: Effort) -> Iterator[Line]:
    """Compare Dask with bare processes: the same function per chunk, then a lab's whole way to staged results."""
    times = 1 if effort.quick else 4  # so often each chunk is computed: some seconds of work for each side
    beside = "/ two bare processes"
    with bare_processes() as bare, dask_workers() as plain:
        found = compare(effort.few + 2, times, bare, plain)
    yield line(f"two workers of a plain LocalCluster {beside}: rows per future", found, times, least=0.95)
    with bare_processes() as bare, own_workers() as own:
        found = compare(effort.few + 2, times, bare, own)
    yield line(f"two workers of the package's cluster {beside}: rows per future", found, times, least=0.95)
    with bare_processes() as bare, lab_workers() as (submit, wait, discard):
        found = compare(effort.pairs, 1, bare, wait, submit, discard)
    yield line(f"two workers of a Lab {beside}: computed and staged", [(one, other) for one, other, *_ in found], 1)
    whole = [(one, other + begun) for one, other, begun, _ in found]
    yield line(f"two workers of a Lab {beside}: submitted, computed and staged", whole, 1)


def compare(rounds: int, times: int, bare: Work, other: Work, *around: Work) -> Found:
    """Time both ways in turn, after one round that does not count; ``around``: before and after the other way.

    Returns
    -------
    list of tuple
        Seconds of both ways, and of what is around the other.
    """
    before, after = around or (int, int)
    order = before, other, after, bare
    seconds = alternate(rounds + 1, *(lambda one=one: wall(lambda: one(times)) for one in order))[1:]
    return [(one, did, begun, ended) for begun, did, ended, one in seconds]


def line(name: str, found: Found, times: int, least: float | None = None) -> Line:
    """Return how fast the other way is as a fraction of the bare processes' speed."""
    one, other = (np.median([pair[i] for pair in found]) for i in (0, 1))
    note = f"{times * POINTS:,} points in {other:.2f} and {one:.2f} s"
    return Line(name, [pair[0] / pair[1] for pair in found], "x", least=least, note=note)


@contextmanager
def bare_processes() -> Iterator[Work]:
    """Two plain processes with everything loaded; yields what makes them compute all chunks so many times."""
    command = [sys.executable, "-m", "tests.benchmarks.children", "serve", str(POINTS)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    started = [subprocess.Popen(command, **pipes) for _ in range(WORKERS)]
    try:
        for one in started:
            one.stdout.readline()
        yield lambda times: _compute_bare(started, times)
    finally:
        for one in started:
            one.communicate()


def _compute_bare(started: list[Any], times: int) -> None:
    """Give every process its share of the chunks, and wait for all."""
    chunks = list(range(len(work(POINTS)[1]))) * times
    for i, one in enumerate(started):
        one.stdin.write(json.dumps(chunks[i::WORKERS]) + "\n")
        one.stdin.flush()
    assert sum(int(one.stdout.readline()) for one in started) == times * POINTS


@contextmanager
def dask_workers() -> Iterator[Work]:
    """Two Dask workers of one thread with everything loaded, as Dask starts them."""
    from distributed import Client, LocalCluster

    options: Any = {"n_workers": WORKERS, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1"}
    quiet: Any = {"dashboard_address": ":0", "memory_limit": 0, "silence_logs": logging.CRITICAL}
    with temporary_home(), LocalCluster(**options, **quiet) as cluster, Client(cluster) as client:
        client.run(work_chunk, POINTS, 0)
        yield lambda times: _compute_futures(client, times)


@contextmanager
def own_workers() -> Iterator[Work]:
    """Two Dask workers as the package starts them: a slot each, and a thread more for priority work."""
    from orbresearch.lab.cluster import connect_client, start_cluster
    from orbresearch.lab.plugin import MAIN
    from orbresearch.settings import read_settings

    with temporary_home(), ExitStack() as stack:
        cluster = stack.enter_context(start_cluster(read_settings(), WORKERS, 1))
        client = stack.enter_context(connect_client(cluster.scheduler_address))
        client.run(work_chunk, POINTS, 0)
        yield lambda times: _compute_futures(client, times, resources={MAIN: 1})


def _compute_futures(client: Any, times: int, **options: Any) -> None:
    """Compute all chunks so many times, a future each."""
    chunks = list(range(len(work(POINTS)[1]))) * times
    done = client.gather(client.map(work_chunk, [POINTS] * len(chunks), chunks, pure=False, **options))
    assert sum(done) == times * POINTS


@contextmanager
def lab_workers() -> Iterator[tuple[Work, Work, Work]]:
    """Yield what submits the grid to a lab of two workers, waits until all is staged, and throws that away.

    The reaper rests: the store takes no part.
    """
    import orbresearch as orb
    from orbresearch.lab.services import open_services

    plan = make_plan(market(), nested_grid(POINTS), DURATION)
    quiet: Any = {"reap_seconds": NO_REAPER_SECONDS, "quiet": True}
    with temporary_home(), redirect_stdout(StringIO()), orb.Lab(n_workers=WORKERS, staged_bytes=2**40, **quiet) as lab:
        services = open_services(lab.settings)
        try:
            yield lambda _: lab.submit_plan(plan), lambda _: _await_staged(lab, plan), lambda _: _discard(services)
        finally:
            services.close()


def _await_staged(lab: Any, plan: Any) -> None:
    """Wait until a plan is computed and staged."""
    while (found := lab.progress(order_of(plan.run_id, "all", plan.chunk_rows)))["computed"] < len(plan):
        assert not found["failed"], found["failures"]
        time.sleep(POLL_SECONDS)


def _discard(services: Any) -> None:
    """Take all results off the stream: the run can be computed again."""
    from orbresearch import staging

    uuid = services.store.uuid
    while entries := staging.read_staged(services.staging, uuid, "bench", 1):
        for entry in entries:
            staging.reject(services.staging, uuid, entry)


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Give a cluster a home and servers of its own, whatever the environment names; yield the home.

    Afterwards the environment is as it was: Dask leaves settings in it that would slow other processes down.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith(("ORB_", "REDIS_", "DB_")):
            del os.environ[name]
    with tempfile.TemporaryDirectory() as home:
        os.environ["ORB_HOME"] = home
        try:
            yield Path(home)
        finally:
            os.environ.clear()
            os.environ.update(before)
