"""In the scheduler: feeds chunks to the workers and submits the reaper, so that a run outlives its notebook.

The plugin does no I/O but Dask's own, through an asynchronous client inside the scheduler. Finished chunks and the
reaper's own answer tell it whether something is staged; one reaper runs at the start for leftovers. It submits nothing
when nothing is staged, so that an idle cluster is idle.

A chunk that raises is tried again, then set aside with its traceback; one that passes its time limit costs its worker a
restart and counts as raised. A chunk that could not reach Redis is no failure: it is given out again. Chunks whose
inputs Redis has lost wait until somebody stages them anew. While more bytes are staged than the limit, no chunk is
given out.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
import uuid
from collections import deque
from typing import Any

from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

from orbresearch.errors import Full, InputsMissing, Unreachable
from orbresearch.keep import run_of
from orbresearch.lab.feed import Feed, Piece
from orbresearch.lab.worker import call_with_services, compute_chunk

NAME = "orbresearch"
MAIN = "worker_main"  # the resource of a backtest's slot; priority work takes none
PRIORITY = 1_000_000
ATTEMPTS = 3  # of a chunk that raises
STAGED_BYTES = 256 * 2**20  # of results that may wait in Redis
CHUNK_SECONDS = 900.0  # after which a chunk is taken for stuck
_AWAY_SECONDS = 1.0  # after which a chunk that could not reach Redis is given out again
_CHUNKS_PER_SLOT = 2  # under way or waiting at a worker
_TOGETHER_SECONDS = 0.0005  # per slot, in which chunks that end are replaced in one message: 50 ms for 100 slots
_BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
_TURN_SECONDS = 2.0  # of a reaper: after each, its worker takes other work and the feeder learns what is staged
_UNKNOWN = (-1, -1)  # input and point of a chunk staged before this scheduler's time: submit its run again

log = logging.getLogger(__name__)


class FeederPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Feeds and reaps. Registered once per scheduler; labs talk to it through the scheduler's handlers.

    Parameters
    ----------
    reap_seconds : float
        Pause between two reapers.
    staged_bytes : int
        Results that may wait in Redis before no chunk is given out.
    chunk_seconds : float
        Of executing, after which a chunk is taken for stuck.
    """

    name = NAME
    idempotent = True

    def __init__(
        self, reap_seconds: float = 0.25, staged_bytes: int = STAGED_BYTES, chunk_seconds: float = CHUNK_SECONDS
    ) -> None:
        self.reap_seconds, self.staged_limit, self.chunk_seconds = reap_seconds, staged_bytes, chunk_seconds

    async def start(self, scheduler: Any) -> None:
        """Add the handlers; connect in a task of its own (a connection made here would wait for itself)."""
        self.scheduler = scheduler
        self.feeds: dict[str, Feed] = {}
        self.turn: deque[str] = deque()
        self.wake, self.reaper_error, self.reaper_failures = asyncio.Event(), "", 0
        self.reaping = True  # or about to
        self.staged_bytes, self.largest = 0, 0  # as far as known here; of one chunk
        self.client: Any = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.filling: asyncio.TimerHandle | None = None
        scheduler.handlers["orb_feed"] = self.feed
        scheduler.handlers["orb_progress"] = self.progress
        scheduler.handlers["orb_left"] = self.left
        scheduler.handlers["orb_stop"] = self.stop
        scheduler.handlers["orb_cancel"] = self.cancel
        scheduler.handlers["orb_retry"] = self.retry
        self.wake.set()
        self._spawn(self._serve())

    async def close(self) -> None:
        """Stop feeding and reaping."""
        if self.filling is not None:
            self.filling.cancel()
        for task in list(self.tasks):
            task.cancel()
        if self.client is not None:
            await self.client.close()

    def add_worker(self, scheduler: Any = None, worker: str = "", **_: Any) -> None:
        """Fill the slots of a new worker."""
        self._pump()

    async def feed(self, order: str, store: str, chunks: list[list[int]], computed: int) -> None:
        """Begin a run, or go on with it.

        Parameters
        ----------
        chunks : list of [first, rows, input, point]
            Those to compute.
        computed : int
            Backtests that the store or the stream hold already.
        """
        for other in self.feeds.values():
            if other.order != order and run_of(other.order) == run_of(order):
                other.drop()  # the run is kept in another way from now on
        old = self.feeds.get(order)
        if old is not None and not old.cancelled and (old.ready or old.running):
            return
        waiting = deque((first, rows, at, point) for first, rows, at, point in chunks)
        pieces = (old.pieces if old is not None else {}) | {chunk[0]: chunk for chunk in waiting}
        self.feeds[order] = Feed(order, store, waiting, pieces, computed=computed, known_before=computed)
        if old is not None:  # what was tried before counts
            self.feeds[order].attempts = old.attempts
        self.turn.append(order)
        self.wake.set()  # what the stream holds already
        self._pump()

    async def progress(self, order: str | None = None) -> dict[str, Any]:
        """Return where a run stands, or all of them by id; ``known`` is False for one never submitted here."""
        if order is None:
            return {name: feed.report() for name, feed in self.feeds.items()}
        found = self.feeds.get(order)
        if found is None:
            return {"known": False}
        return {
            **found.report(),
            "reaper_error": self.reaper_error,
            "held_back": found.ready and not self._has_room(),
            "staged_bytes": self.staged_bytes,
            "reaping": self.reaping or self.wake.is_set(),
        }

    async def left(self) -> dict[str, float]:
        """Return the ``chunks`` that are left, the ``seconds`` they take a slot, and ``slots_per_worker``.

        At the pace of each run so far; of a run without any, a second a chunk.
        """
        chunks, seconds = 0, 0.0
        for feed in self.feeds.values():
            rows = feed.running_rows + (sum(chunk[1] for chunk in feed.waiting) if feed.ready else 0)
            many = feed.running + (len(feed.waiting) if feed.ready else 0)
            done = feed.computed - feed.known_before
            chunks += many
            seconds += rows * feed.seconds / done if done else float(many)
        workers = len(self.scheduler.workers)
        return {"chunks": chunks, "seconds": seconds, "slots_per_worker": self._slots() / workers if workers else 1.0}

    async def cancel(self, order: str) -> int:
        """Give out no further chunk of a run; return how many backtests that leaves uncomputed."""
        feed = self.feeds.get(order)
        if feed is None:
            return 0
        return feed.drop()

    async def retry(self, order: str) -> int:
        """Give out the chunks that were set aside once more; return how many backtests they hold."""
        feed = self.feeds.get(order)
        if feed is None:
            return 0
        chunks = [chunk for chunk in feed.aside.values() if chunk[2:] != _UNKNOWN]
        feed.waiting.extend(chunks)
        for chunk in chunks:
            del feed.aside[chunk[0]], feed.attempts[chunk[0]]
        feed.failures = [failure for failure in feed.failures if failure["first"] in feed.aside]
        self.turn.append(order)
        self._pump()
        return sum(chunk[1] for chunk in chunks)

    async def stop(self) -> None:
        """Give out no further chunk: the lab is about to close."""
        for feed in self.feeds.values():
            feed.waiting.clear()

    async def _serve(self) -> None:
        """Connect, then reap whenever something is staged."""
        await self.scheduler.listen("inproc://")  # no sockets and no bytes between the scheduler and itself
        address = self.scheduler.listeners[-1].contact_address
        self.client = await Client(address, asynchronous=True, set_as_default=False)
        self._pump()
        while True:
            self.reaping = self.wake.is_set()
            await self.wake.wait()
            self.wake.clear()
            self.reaping = True
            await self._reap_once()

    async def _reap_once(self) -> None:
        from orbresearch.lab.reaper import reap

        try:
            done = await self.client.submit(
                call_with_services, reap, _TURN_SECONDS, pure=False, priority=PRIORITY, key=f"reap-{uuid.uuid4().hex}"
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
        self.staged_bytes = done["left_bytes"]
        for order, first, rows, reason in done["refused"]:
            if order in self.feeds:
                feed = self.feeds[order]
                feed.fail(feed.pieces.get(first, (first, rows, *_UNKNOWN)), reason)
        self._pump()
        if done["left"]:
            self.wake.set()
        if done["busy"] or not done["left"]:  # else at once: what is staged waits for nothing
            await asyncio.sleep(self.reap_seconds)

    def _has_room(self) -> bool:
        """Whether what is staged, and what is under way may yet be, stays below the limit. One chunk always may."""
        under_way = sum(feed.running for feed in self.feeds.values())
        return self.staged_bytes + (under_way + 1) * self.largest <= self.staged_limit or (
            under_way == 0 and self.staged_bytes == 0
        )

    def _slots(self) -> int:
        return int(sum(worker.resources.get(MAIN, 0) for worker in self.scheduler.workers.values()))

    def _pump(self) -> None:
        """Fill the window in a moment: chunks that end until then are replaced at once, for less than one by one."""
        if self.client is not None and self.filling is None:
            pause = _TOGETHER_SECONDS * self._slots()
            self.filling = asyncio.get_running_loop().call_later(pause, self._fill)

    def _fill(self) -> None:
        """Submit chunks until the window is full: run by run, in the order they were submitted."""
        self.filling = None
        window, given = self._slots() * _CHUNKS_PER_SLOT, list[tuple[Feed, Piece]]()
        under_way = sum(feed.running for feed in self.feeds.values())
        while self.turn and under_way < window and self._has_room():
            feed = self.feeds[self.turn[0]]
            if not feed.ready:
                self.turn.popleft()
                continue
            chunk = feed.waiting.popleft()
            feed.running += 1
            feed.running_rows += chunk[1]
            under_way += 1
            given.append((feed, chunk))
        if given:
            self._submit(given)

    def _submit(self, given: list[tuple[Feed, Piece]]) -> None:
        """Submit chunks in one message, a future each."""
        keys = [
            f"backtests-{feed.order}-{chunk[0]}-{feed.attempts[chunk[0]]}-{uuid.uuid4().hex[:8]}"
            for feed, chunk in given
        ]
        arguments = zip(*((feed.store, feed.order, chunk) for feed, chunk in given), strict=True)
        futures = self.client.map(compute_chunk, *map(list, arguments), key=keys, pure=False, resources={MAIN: 1})
        for (feed, chunk), future in zip(given, futures, strict=True):
            self._spawn(self._compute(feed, chunk, future))

    async def _compute(self, feed: Feed, chunk: Piece, future: Any) -> None:
        key = future.key
        try:
            done = await self._result(future, key)
            feed.computed += done["rows"]
            feed.seconds += done["seconds"]
            self.staged_bytes += done["bytes"]
            self.largest = max(self.largest, done["bytes"])
        except InputsMissing:
            feed.halted = True
            feed.waiting.appendleft(chunk)
        except Unreachable as error:
            if isinstance(error, Full):  # and stays full
                self._again(feed, chunk, _first_line(error), "".join(traceback.format_exception(error)))
            else:  # no fault of the chunk's; the reaper, which fails as well, says why
                await asyncio.sleep(_AWAY_SECONDS)
                self._requeue(feed, chunk)
        except TimeoutError:
            await self._restart_worker_of(key)
            self._again(feed, chunk, f"TimeoutError: passed {self.chunk_seconds:g} s", "")
        except Exception as error:  # a chunk that fails is set aside; the run goes on
            self._again(feed, chunk, _first_line(error), "".join(traceback.format_exception(error)))
        finally:
            future.release()
            feed.running -= 1
            feed.running_rows -= chunk[1]
            self.wake.set()  # a chunk that failed may have been staged before
            self._pump()

    async def _result(self, future: Any, key: str) -> Any:
        """Return what a chunk returns; raise TimeoutError where it executes for too long (waiting does not count)."""
        answer = asyncio.ensure_future(future.result())
        while not (await asyncio.wait({answer}, timeout=min(5.0, self.chunk_seconds)))[0]:
            task = self.scheduler.tasks.get(key)
            worker = task.processing_on if task is not None else None
            if worker is not None and worker.executing.get(task, 0.0) > self.chunk_seconds:  # as of its last heartbeat
                answer.cancel()
                raise TimeoutError
        return answer.result()

    def _again(self, feed: Feed, chunk: Piece, reason: str, trace: str) -> None:
        """Try a chunk that raised once more, or set it aside."""
        feed.attempts[chunk[0]] += 1
        if feed.attempts[chunk[0]] >= ATTEMPTS or feed.cancelled:
            feed.fail(chunk, reason, trace)
            return
        self._requeue(feed, chunk)

    def _requeue(self, feed: Feed, chunk: Piece) -> None:
        """Let a chunk be given out once more, unless its run was called off."""
        if not feed.cancelled:
            feed.waiting.append(chunk)
            self.turn.append(feed.order)

    async def _restart_worker_of(self, key: str) -> None:
        """End the worker process that is stuck with a task: a thread cannot be ended."""
        task = self.scheduler.tasks.get(key)
        worker = task.processing_on.address if task is not None and task.processing_on else None
        if worker is not None:
            log.warning("restarting %s, which is stuck with %s", worker, key)
            await self.client.restart_workers([worker], timeout=60, raise_for_error=False)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
