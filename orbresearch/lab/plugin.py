"""In the scheduler: feeds chunks to the workers and submits the reaper, so that a run outlives its notebook.

The plugin does no I/O but Dask's own, through an asynchronous client inside the scheduler. Finished chunks and the
reaper's own answer tell it whether something is staged; one reaper runs at the start for leftovers. It submits nothing
when nothing is staged, so that an idle cluster is idle.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

from orbresearch.lab.worker import call_with_services, compute_chunk

NAME = "orbresearch"
MAIN = "worker_main"  # the resource of a backtest's slot; priority work takes none
PRIORITY = 1_000_000
_CHUNKS_PER_SLOT = 2  # under way or waiting at a worker
_BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
_FAILURES_KEPT = 100

log = logging.getLogger(__name__)


@dataclass
class Feed:
    """Where a run stands, as the scheduler has seen it since the run was submitted here."""

    run_id: str
    store: str  # its uuid
    waiting: deque[tuple[int, int, int, int]] = field(default_factory=deque)
    running: int = 0
    computed: int = 0  # backtests
    seconds: float = 0.0  # of computing, over all workers
    failures: list[str] = field(default_factory=list)
    failed: int = 0  # backtests

    def fail(self, first: int, rows: int, reason: str) -> None:
        """Note a chunk that is set aside."""
        self.failed += rows
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append(f"backtests {first} to {first + rows - 1}: {reason}")


class FeederPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Feeds and reaps. Registered once per scheduler; labs talk to it through the scheduler's handlers.

    Parameters
    ----------
    reap_seconds : float
        Pause between two reapers.
    """

    name = NAME
    idempotent = True

    def __init__(self, reap_seconds: float = 1.0) -> None:
        self.reap_seconds = reap_seconds

    async def start(self, scheduler: Any) -> None:
        """Add the handlers; connect in a task of its own (a connection made here would wait for itself)."""
        self.scheduler = scheduler
        self.feeds: dict[str, Feed] = {}
        self.turn: deque[str] = deque()
        self.wake, self.reaper_error, self.reaper_failures = asyncio.Event(), "", 0
        self.client: Any = None
        self.tasks: set[asyncio.Task[None]] = set()
        scheduler.handlers["orb_feed"] = self.feed
        scheduler.handlers["orb_progress"] = self.progress
        scheduler.handlers["orb_stop"] = self.stop
        self.wake.set()
        self._spawn(self._serve())

    async def close(self) -> None:
        """Stop feeding and reaping."""
        for task in list(self.tasks):
            task.cancel()
        if self.client is not None:
            await self.client.close()

    def add_worker(self, scheduler: Any = None, worker: str = "", **_: Any) -> None:
        """Fill the slots of a new worker."""
        self._pump()

    async def feed(self, run_id: str, store: str, chunks: list[list[int]], computed: int) -> None:
        """Begin a run, or go on with it.

        Parameters
        ----------
        chunks : list of [first, rows, input, point]
            Those to compute.
        computed : int
            Backtests that the store or the stream hold already.
        """
        old = self.feeds.get(run_id)
        if old is not None and (old.waiting or old.running):
            return
        waiting = deque((first, rows, at, point) for first, rows, at, point in chunks)
        self.feeds[run_id] = Feed(run_id, store, waiting, 0, computed)
        self.turn.append(run_id)
        self.wake.set()  # what the stream holds already
        self._pump()

    async def progress(self, run_id: str) -> dict[str, Any]:
        """Return where a run stands; ``known`` is False for one that was never submitted here."""
        found = self.feeds.get(run_id)
        if found is None:
            return {"known": False}
        return {
            "known": True,
            "computed": found.computed,
            "running": found.running,
            "waiting": len(found.waiting),
            "seconds": found.seconds,
            "failed": found.failed,
            "failures": list(found.failures),
            "reaper_error": self.reaper_error,
        }

    async def stop(self) -> None:
        """Give out no further chunk: the lab is about to close."""
        for feed in self.feeds.values():
            feed.waiting.clear()

    async def _serve(self) -> None:
        """Connect, then reap whenever something is staged."""
        address, security = self.scheduler.address, self.scheduler.security
        self.client = await Client(address, asynchronous=True, security=security, set_as_default=False)
        self._pump()
        while True:
            await self.wake.wait()
            self.wake.clear()
            await self._reap_once()

    async def _reap_once(self) -> None:
        from orbresearch.lab.reaper import reap

        try:
            done = await self.client.submit(
                call_with_services, reap, 30.0, pure=False, priority=PRIORITY, key=f"reap-{uuid.uuid4().hex}"
            )
        except Exception as error:  # an unreachable database must not end the reaping
            self.reaper_error = _first_line(error)
            log.warning("the reaper failed: %s", self.reaper_error)
            pause = _BACKOFF_SECONDS[min(self.reaper_failures, len(_BACKOFF_SECONDS) - 1)]
            self.reaper_failures += 1
            self.wake.set()
            await asyncio.sleep(pause)
            return
        self.reaper_error, self.reaper_failures = "", 0
        for run_id, first, rows, reason in done["refused"]:
            if run_id in self.feeds:
                self.feeds[run_id].fail(first, rows, reason)
        if done["left"]:
            self.wake.set()
        await asyncio.sleep(self.reap_seconds)

    def _pump(self) -> None:
        """Submit chunks until the window is full: run by run, in the order they were submitted."""
        if self.client is None:
            return
        slots = sum(worker.resources.get(MAIN, 0) for worker in self.scheduler.workers.values())
        window = int(slots) * _CHUNKS_PER_SLOT
        under_way = sum(feed.running for feed in self.feeds.values())
        while self.turn and under_way < window:
            feed = self.feeds[self.turn[0]]
            if not feed.waiting:
                self.turn.popleft()
                continue
            feed.running += 1
            under_way += 1
            self._spawn(self._compute(feed, feed.waiting.popleft()))

    async def _compute(self, feed: Feed, chunk: tuple[int, int, int, int]) -> None:
        key = f"backtests-{feed.run_id}-{chunk[0]}"
        arguments = feed.store, feed.run_id, chunk
        future = self.client.submit(compute_chunk, *arguments, key=key, pure=False, resources={MAIN: 1})
        try:
            done = await future
            feed.computed += done["rows"]
            feed.seconds += done["seconds"]
        except Exception as error:  # a chunk that fails is set aside; the run goes on
            feed.fail(chunk[0], chunk[1], _first_line(error))
        finally:
            future.release()  # a failed one would answer for the key when the chunk is submitted again
            feed.running -= 1
            self.wake.set()  # a chunk that failed may have been staged before
            self._pump()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
