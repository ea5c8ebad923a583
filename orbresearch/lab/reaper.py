"""The reaper: moves results from the stream in Redis into the store. Acknowledges only what is committed."""

from __future__ import annotations

import os
import socket
import time
import uuid as uuids
from collections.abc import Iterator
from typing import Any

from orbresearch import staging
from orbresearch.errors import Corrupt
from orbresearch.keep import run_of
from orbresearch.lab.finish import finish_runs
from orbresearch.lab.services import Services
from orbresearch.summary import read_summaries

LEASE_MILLISECONDS = 15_000  # renewed before every chunk; a dead reaper's entries go to the next after this
_ENTRIES = 8  # read at once
_ROWS_TOGETHER = 100_000  # in one transaction: a few seconds of the slowest database measured

Refused = tuple[str, int, int, str]  # run, first backtest, rows, reason


def reap(services: Services, seconds: float = 3600.0, most: int | None = None) -> dict[str, Any]:
    """Move what is staged into the store, for at most about ``seconds`` and at most about ``most`` chunks.

    One reaper at a time holds the lease; entries of one that died are taken over. A chunk that the ledger has already
    (a crash between commit and acknowledgement) is acknowledged without a row: nothing is lost, nothing is doubled.

    Returns
    -------
    dict
        ``rows`` written by run, ``left`` entries on the stream and ``left_bytes`` in them, ``busy``: another reaper
        holds the lease; ``refused``: (run, first backtest, rows, reason) of results that the store cannot hold, taken
        off the stream.
    """
    redis, store = services.staging, services.store
    token = f"{socket.gethostname()}-{os.getpid()}-{uuids.uuid4().hex}"
    end, moved, rows = time.monotonic() + seconds, 0, dict[str, int]()
    refused: list[Refused] = []
    if not staging.acquire_lease(redis, store.uuid, token, LEASE_MILLISECONDS):
        return _report(services, rows, True, refused)
    try:
        while entries := staging.read_staged(redis, store.uuid, token, _ENTRIES):
            for together in _groups(entries):
                if not staging.renew_lease(redis, store.uuid, token, LEASE_MILLISECONDS):
                    return _report(services, rows, True, refused)
                _move(services, together, rows, refused)
            moved += len(entries)
            if time.monotonic() > end or (most is not None and moved >= most):
                break
        if not staging.staged_count(redis, store.uuid):
            finish_runs(services, lambda: staging.renew_lease(redis, store.uuid, token, LEASE_MILLISECONDS))
    finally:
        staging.release_lease(redis, store.uuid, token)
    return _report(services, rows, False, refused)


def _groups(entries: list[staging.Staged]) -> Iterator[list[staging.Staged]]:
    """Yield entries that one transaction writes: small chunks go in faster together, within the lease."""
    group: list[staging.Staged] = []
    for entry in entries:
        if group and sum(one.rows for one in group) + entry.rows > _ROWS_TOGETHER:
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def _move(services: Services, entries: list[staging.Staged], rows: dict[str, int], refused: list[Refused]) -> None:
    """Write entries into the store, then take them off the stream; count rows and refusals."""
    from orbresearch.store.writer import Chunk, persist_chunks

    redis, store = services.staging, services.store
    sound: list[tuple[staging.Staged, Chunk]] = []
    for entry in entries:
        try:
            run_id, (batch, more) = run_of(entry.run_id), staging.decode_batch(entry.payload)
            sound.append((entry, Chunk(run_id, entry.first, batch, read_summaries(more), entry.run_id)))
        except Corrupt as error:
            _refuse(services, entry, error, refused)
    try:
        written = persist_chunks(store, [chunk for _, chunk in sound])
    except Corrupt as error:
        if len(sound) > 1:  # one bad result must not keep all others from the store
            for entry, _ in sound:
                _move(services, [entry], rows, refused)
        else:
            _refuse(services, sound[0][0], error, refused)
        return
    for (entry, _), count in zip(sound, written, strict=True):
        staging.acknowledge(redis, store.uuid, entry)
        rows[run_of(entry.run_id)] = rows.get(run_of(entry.run_id), 0) + count


def _refuse(services: Services, entry: staging.Staged, error: Corrupt, refused: list[Refused]) -> None:
    """Take a result off the stream that the store cannot hold."""
    staging.reject(services.staging, services.store.uuid, entry)
    refused.append((entry.run_id, entry.first, entry.rows, str(error)))


def _report(services: Services, rows: dict[str, int], busy: bool, refused: list[Refused]) -> dict[str, Any]:
    redis, uuid = services.staging, services.store.uuid
    left, left_bytes = staging.staged_count(redis, uuid), staging.counts(redis, uuid).staged_bytes
    return {"rows": rows, "left": left, "left_bytes": left_bytes, "busy": busy, "refused": refused}


def lifecycle(services: Services, patience_seconds: float = 30.0) -> dict[str, Any]:
    """Move everything staged into the store and report in the familiar words.

    While another reaper is at work, wait for it (``patience_seconds`` at the most): what it moves is in the store as
    well.
    """
    start, moved = time.monotonic(), 0
    most = staging.staged_count(services.staging, services.store.uuid)  # what is staged later is the next reaper's
    while True:
        done = reap(services, most=most)
        moved += sum(done["rows"].values())
        if not done["busy"] or time.monotonic() - start > patience_seconds:
            break
        time.sleep(0.05)
    counts = staging.counts(services.staging, services.store.uuid)
    message = (
        f"Reaper successfully lifecycled {moved} rows to {services.store.dialect}. "
        f"{counts.staged} completed tasks still need to be lifecycled. "
        f"{counts.queued} tasks are queued but have not been executed yet."
    )
    return {"status": "SUCCESS", "message": message, "duration": round(time.monotonic() - start, 3)}
