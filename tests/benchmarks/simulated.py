"""A scheduler as a lab has it, and simulated workers: real connections, many to a process, whose chunks take only time.

Their CPU time is the simulation's; what the scheduler's process needs is what it would need with real workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

Span = tuple[float, float]

spans: list[Span] = []  # when the chunks of this process began and ended, by the system's monotonic clock


async def serve_scheduler() -> None:
    """Run a scheduler, dashboard and all, until the standard input ends; its address is printed."""
    from distributed import Scheduler

    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        await _serve(scheduler.address)


async def serve_workers(address: str, count: int) -> None:
    """Run so many workers of a scheduler, with a slot and a thread for priority work each, until the input ends."""
    import dask
    from distributed import Worker

    from orbresearch.lab.plugin import MAIN

    stand_in()
    options: Any = {"nthreads": 2, "resources": {MAIN: 1}, "dashboard": False, "memory_limit": 0, "host": "127.0.0.1"}
    with dask.config.set({"distributed.worker.profile.enabled": False}), tempfile.TemporaryDirectory() as folder:
        started = [Worker(address, local_directory=folder, **options) for _ in range(count)]
        await asyncio.gather(*started)
        await _serve(f"{count} workers")
        await asyncio.gather(*(worker.close(nanny=False) for worker in started))


async def _serve(word: str) -> None:
    """Say that all stands; return when the standard input ends."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


def stand_in() -> None:
    """Let chunks and the reaper of this process take time and nothing else: tasks name them by their module."""
    from orbresearch.lab import reaper, worker

    changed: Any = worker
    changed.compute_chunk, changed.worker_services = take_time, contextlib.nullcontext
    reaper.reap = reap_nothing


def take_time(uuid: str, run_id: str, chunk: Sequence[int]) -> dict[str, Any]:
    """Stand in for ``compute_chunk``: the store's name says how long chunks take on average, and what they stage.

    Lengths are spread evenly from half of that to half more, so that slots do not fall into step.
    """
    seconds, size = (float(part) for part in uuid.split())
    start = time.monotonic()
    time.sleep(seconds * (0.5 + chunk[0] * 0.6180339887 % 1))
    spans.append((start, time.monotonic()))
    return {"rows": chunk[1], "seconds": spans[-1][1] - start, "bytes": int(size)}


def reap_nothing(services: object, seconds: float) -> dict[str, Any]:
    """Stand in for the reaper, which finds that all is in the store."""
    return {"rows": {}, "left": 0, "left_bytes": 0, "busy": False, "refused": []}


def take_spans() -> list[Span]:
    """Return the spans of this process since they were last taken."""
    taken = spans[:]
    del spans[: len(taken)]
    return taken
