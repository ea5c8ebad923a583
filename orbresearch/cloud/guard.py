"""Preloaded by the scheduler: ends it when its lifetime is over, whatever it waits for.

Dask's idle timeout ends a cluster on which nothing is to be done. It never does while work cannot run (every Spot task
lost) or is tried again and again (the database gone): a lifetime is the guard against those. It is kept in a thread of
its own, so that a blocked event loop cannot keep the task alive, and it is set by the environment of the task
(``DASK_ORBRESEARCH__LIFETIME``, seconds), so that it holds whether or not a notebook is there.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask

from orbresearch.cloud.connector import mend_connector

LIFETIME = "orbresearch.lifetime"  # Dask's configuration key, which the environment of a task sets
GRACE_SECONDS = 60.0  # to end in good order
CODE = 75  # of a process that had to be ended: EX_TEMPFAIL

log = logging.getLogger("distributed.orbresearch")


def dask_setup(scheduler: Any) -> None:
    """Begin to count the lifetime."""
    mend_connector()

    def close() -> None:
        scheduler.loop.add_callback(scheduler.close, reason="lifetime is over")

    end_after(dask.config.get(LIFETIME, default=None), close, "scheduler")


def end_after(seconds: Any, close: Callable[[], None], what: str) -> threading.Thread | None:
    """Call ``close`` after so many seconds, and end the process where that does not.

    Parameters
    ----------
    seconds : float or None
        None: never.
    close : callable
        Asks for an end in good order; it is given a minute.
    """
    if seconds is None:
        return None
    after = float(seconds)  # what is no number fails here, before there is anything to guard

    def wait() -> None:
        pause = threading.Event()
        pause.wait(after)
        log.warning("the %s ends: its lifetime of %s s is over", what, seconds)
        with suppress(Exception):  # a loop that is closed already
            close()
        pause.wait(GRACE_SECONDS)
        os._exit(CODE)

    thread = threading.Thread(target=wait, name="orbresearch lifetime", daemon=True)
    thread.start()
    return thread
