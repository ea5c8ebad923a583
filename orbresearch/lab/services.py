"""Redis and the store of one process: the lab's own, or a worker's, each from its own environment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from orbresearch.settings import Settings, read_settings

if TYPE_CHECKING:
    from orbresearch.staging import Staging
    from orbresearch.store.connection import Store

_OPENING = threading.Lock()


@dataclass(frozen=True)
class Services:
    """What the functions of begin, worker and reaper work with. Never travels: a process makes its own."""

    staging: Staging = field(repr=False)
    store: Store = field(repr=False)

    def close(self) -> None:
        """Close every connection."""
        from orbresearch.store.connection import close_store

        self.staging.close()
        close_store(self.store)


def open_services(settings: Settings) -> Services:
    """Connect to Redis and to the store.

    Raises
    ------
    Unreachable, WrongTable
        What is wrong with either, before any work starts.
    """
    from orbresearch.staging import connect
    from orbresearch.store.connection import open_store

    staging = connect(settings.redis)
    try:
        return Services(staging, open_store(settings.store))
    except BaseException:
        staging.close()
        raise


def start_redis(stack: ExitStack, settings: Settings) -> tuple[Settings, str]:
    """Start a Redis of our own where the settings name none; return the settings that name one, and what it is."""
    from orbresearch.staging import start_embedded

    if settings.redis.endpoint is not None:
        return settings, "Redis"
    server = stack.enter_context(start_embedded())
    return replace(settings, redis=server.settings), f"embedded Redis {server.version}"


def worker_staging() -> Staging:
    """Return this worker process's Redis, opened once from its environment: secrets never travel in tasks."""
    with _OPENING:
        return _worker_staging()


@contextmanager
def worker_services() -> Iterator[Services]:
    """Lend this worker process's Redis and store; afterwards the database's server keeps no connection of it.

    Such a server grants a hundred or two, and workers may be more: chunks are computed without any.
    """
    from orbresearch.store.connection import close_store

    staging = worker_staging()
    with _OPENING:
        store = _worker_store()
    try:
        yield Services(staging, store)
    finally:
        close_store(store)


@cache
def _worker_staging() -> Staging:
    from orbresearch.staging import connect

    return connect(read_settings().redis)


@cache
def _worker_store() -> Store:
    from orbresearch.store.connection import open_store

    return open_store(read_settings().store)
