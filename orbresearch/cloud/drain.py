"""Preloaded by every worker's nanny: on SIGTERM the worker is retired before it ends.

A Spot task gets SIGTERM two minutes before it is taken away (with ``stopTimeout: 120``). Dask's own answer is to end at
once: what runs is lost and computed again elsewhere, and so is every result the worker held (19 of 40, measured).
Retired, it takes no more work, ends what it has begun and hands over what it holds.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

import dask
from distributed.core import Status

from orbresearch.cloud.connector import mend_connector
from orbresearch.cloud.guard import LIFETIME, end_after

DRAIN_SECONDS = 100.0  # of the 120 that Fargate grants
_ANSWER_SECONDS = 3.0  # within which a scheduler that is there answers
_LATER_SECONDS = 300.0  # than the scheduler: it ends its workers itself, if it can

log = logging.getLogger("distributed.orbresearch")


def dask_setup(nanny: Any) -> None:
    """Take SIGTERM over from Dask; begin to count the lifetime."""
    mend_connector()
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def begin() -> None:
        if not tasks:  # SIGTERM may come twice
            tasks.add(loop.create_task(drain(nanny)))

    def close() -> None:
        loop.call_soon_threadsafe(begin)

    loop.add_signal_handler(signal.SIGTERM, begin)
    seconds = dask.config.get(LIFETIME, default=None)
    end_after(None if seconds is None else float(seconds) + _LATER_SECONDS, close, "worker")


async def drain(nanny: Any) -> None:
    """Retire the worker, then end its nanny, whatever becomes of the first.

    There is nothing to hand over where no scheduler answers, or the worker has not started or is closed already.
    """
    address = nanny.worker_address
    log.warning("interrupted: the worker at %s is retired", address)
    try:
        if address is not None and nanny.status == Status.running:
            await asyncio.wait_for(nanny.scheduler.identity(), _ANSWER_SECONDS)
            await asyncio.wait_for(nanny.scheduler.retire_workers(workers=[address]), DRAIN_SECONDS)
    except Exception as error:  # of whatever kind: a nanny that stays would be paid for
        log.warning("the worker could not be retired: %r", error)
    await nanny.close(timeout=10, reason="interrupted")
