"""The books (db 0): which chunks are computed, the stream of results on its way to the store, the reaper's lease.

A chunk goes submitted -> running -> staged -> persisted, or to failed, from where it may run again. Each step changes
its state, the counters and the stream in one atomic command, and repeating it changes nothing. The store's ledger is
the truth: books that are lost cost re-work, never results. A chunk is known by its first backtest; a run's chunk plan
must be the same each time the run is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orbresearch.errors import InputsMissing
from orbresearch.staging import _scripts, keys
from orbresearch.staging.connection import Staging, speaking

_COUNTED, _STAMPS = ("total", "staged", "persisted", "staged_bytes"), ("opened_at", "staged_at", "persisted_at")
_RETIRED_SECONDS = 7 * 86_400
_READ_BYTES = 64_000_000  # of payloads that one call of read_staged returns, unless a single one is larger


@dataclass(frozen=True)
class Staged:
    """One computed chunk on the result stream: ``rows`` backtests from ``first`` on."""

    entry_id: str
    run_id: str
    first: int
    rows: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True)
class Counts:
    """Where a run stands, in backtests; ``staged_bytes`` are on the stream. computed = staged + persisted.

    ``opened_at``, ``staged_at`` and ``persisted_at`` are UTC epoch seconds, of the last time; 0: never.
    """

    total: int
    computed: int
    staged: int
    persisted: int
    staged_bytes: int
    opened_at: int = field(default=0, compare=False)
    staged_at: int = field(default=0, compare=False)
    persisted_at: int = field(default=0, compare=False)

    @property
    def queued(self) -> int:
        """Backtests not computed yet (0 where a flush has taken the total)."""
        return max(0, self.total - self.computed)


def open_run(
    staging: Staging,
    uuid: str,
    run_id: str,
    spec: bytes,
    total: int,
    persisted: Mapping[int, int],
    submitted: Iterable[tuple[int, int]],
) -> list[int]:
    """Write a run's books so that they agree with the store's ledger, whatever they said before.

    Parameters
    ----------
    uuid : str
        The store's.
    spec : bytes
        What a worker needs to know of the run, for :func:`load_spec`.
    total : int
        Backtests of the run.
    persisted : mapping of int to int
        First backtest to rows of the chunks in the ledger.
    submitted : iterable of (int, int)
        First backtest and rows of the chunks that are not.

    Returns
    -------
    list of int
        First backtests of the chunks that are on the stream already, ascending: they need no computing.
    """
    done, to_do = _flat(persisted.items()), _flat(submitted)
    found = _run(staging, _scripts.OPEN, _book_keys(uuid, run_id), run_id, spec, total, done, to_do)
    return sorted(int(first) for first in found)


def load_spec(staging: Staging, uuid: str, run_id: str) -> bytes:
    """Return what :func:`open_run` was given, or raise InputsMissing after a flush."""
    with speaking(staging.where):
        spec: Any = staging.books.hget(keys.run(uuid, run_id), "spec")
    if spec is None:
        raise InputsMissing("run", run_id)
    return bytes(spec)


def complete_chunk(staging: Staging, uuid: str, run_id: str, first: int, rows: int, payload: bytes) -> bool:
    """Stage a computed chunk's results. Books that a flush has taken are begun anew: the results are not lost.

    Returns
    -------
    bool
        False where the chunk was staged or persisted already: nothing has changed. (Also where the answer to a first
        attempt was lost on its way and redis-py asked again.)
    """
    return bool(_run(staging, _scripts.COMPLETE, _book_keys(uuid, run_id), run_id, first, rows, payload))


def note_chunk(staging: Staging, uuid: str, run_id: str, first: int, rows: int, state: str) -> bool:
    """Write down that a chunk is ``running`` or has ``failed``; False where it is staged or persisted already."""
    return bool(_run(staging, _scripts.NOTE, [keys.chunks(uuid, run_id)], first, state, rows))


def read_staged(staging: Staging, uuid: str, consumer: str, count: int) -> list[Staged]:
    """Read up to ``count`` results: first those read before and not acknowledged, by whomever, then new ones.

    Reading stops early where 64 MB would be passed: an empty list means that nothing is staged, a short one does not.

    Only the holder of the lease may call this: it takes entries from other consumers without asking whether they live.
    What is read and not acknowledged is read again by the next call. A consumer group that is missing (a new stream,
    a flush) is made.
    """
    from redis.exceptions import ResponseError

    with speaking(staging.where):
        try:
            return _read(staging, uuid, consumer, count)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
        _make_group(staging, uuid)
        return _read(staging, uuid, consumer, count)


def acknowledge(staging: Staging, uuid: str, staged: Staged) -> None:
    """Take a result off the stream, after the store has committed it; its chunk is persisted. Repeating is harmless."""
    where = _book_keys(uuid, staged.run_id)
    facts = staged.run_id, staged.first, staged.rows, staged.entry_id, keys.GROUP
    _run(staging, _scripts.ACKNOWLEDGE, where, *facts)


def reject(staging: Staging, uuid: str, staged: Staged) -> None:
    """Take a result off the stream that the store cannot hold; its chunk may be computed anew. Repeatable."""
    facts = staged.first, staged.rows, staged.entry_id, keys.GROUP
    _run(staging, _scripts.REJECT, _book_keys(uuid, staged.run_id), *facts)


def counts(staging: Staging, uuid: str, run_id: str | None = None) -> Counts:
    """Return where one run stands, or all runs of this store together."""
    with speaking(staging.where):
        members: Any = staging.books.smembers(keys.runs(uuid)) if run_id is None else [run_id.encode()]
        pipeline = staging.books.pipeline(transaction=False)  # a full server refuses transactions
        for member in members:
            pipeline.hmget(keys.run(uuid, member.decode()), [*_COUNTED, *_STAMPS])
        found = [[int(value or 0) for value in values] for values in pipeline.execute()]
    columns = list(zip([0] * (len(_COUNTED) + len(_STAMPS)), *found, strict=True))
    total, staged, persisted, staged_bytes = (sum(column) for column in columns[: len(_COUNTED)])
    stamps = (max(column) for column in columns[len(_COUNTED) :])
    return Counts(total, staged + persisted, staged, persisted, staged_bytes, *stamps)


def chunk_states(staging: Staging, uuid: str, run_id: str) -> dict[int, str]:
    """Return first backtest -> "submitted", "running", "failed", "staged" or "persisted", for one run."""
    with speaking(staging.where):
        found: Any = staging.books.hgetall(keys.chunks(uuid, run_id))
    return {int(first): state.split()[0].decode() for first, state in sorted(found.items(), key=lambda x: int(x[0]))}


def retire_others(staging: Staging, uuid: str, run_id: str, order: str) -> None:
    """Let the books of other orders of a run go: what is staged of them the reaper takes off the stream."""
    with speaking(staging.where):
        members: Any = staging.books.smembers(keys.runs(uuid))
    for name in {member.decode() for member in members} - {order}:
        if name.startswith(f"{run_id}."):
            retire_run(staging, uuid, name)


def retire_run(staging: Staging, uuid: str, run_id: str) -> None:
    """Let the books of a run that is finished go in a week. Opening it again keeps them."""
    with speaking(staging.where):
        pipeline = staging.books.pipeline(transaction=False)
        for key in (keys.run(uuid, run_id), keys.chunks(uuid, run_id)):
            pipeline.expire(key, _RETIRED_SECONDS)
        pipeline.srem(keys.runs(uuid), run_id)
        pipeline.execute()


def staged_count(staging: Staging, uuid: str) -> int:
    """Return the number of results on the stream, over all runs of this store."""
    with speaking(staging.where):
        found: Any = staging.books.xlen(keys.stream(uuid))
    return int(found)


def acquire_lease(staging: Staging, uuid: str, token: str, milliseconds: int) -> bool:
    """Become the one reaper of this store for so long. True where ``token`` holds the lease now."""
    where = [keys.lease(uuid), keys.stream(uuid)]
    return bool(_run(staging, _scripts.ACQUIRE, where, token, milliseconds, keys.GROUP))


def renew_lease(staging: Staging, uuid: str, token: str, milliseconds: int) -> bool:
    """Hold the lease for so long from now. False where it has expired or is another's: stop reaping."""
    return bool(_run(staging, _scripts.RENEW, [keys.lease(uuid)], token, milliseconds))


def release_lease(staging: Staging, uuid: str, token: str) -> bool:
    """Give the lease back, if ``token`` still holds it."""
    return bool(_run(staging, _scripts.RELEASE, [keys.lease(uuid)], token))


def _run(staging: Staging, script: str, where: list[str], *facts: bytes | str | int) -> Any:
    """Run a script by its hash; redis-py sends its text when the server does not know it (yet, or any more)."""
    with speaking(staging.where):
        return staging.books.register_script(script)(keys=where, args=facts)


def _book_keys(uuid: str, run_id: str) -> list[str]:
    return [keys.run(uuid, run_id), keys.chunks(uuid, run_id), keys.runs(uuid), keys.stream(uuid)]


def _flat(chunks: Iterable[tuple[int, int]]) -> str:
    """Return [first, rows, first, rows, ...] in JSON, as text: Lua would make floats of numbers."""
    return json.dumps([str(number) for chunk in chunks for number in chunk])


def _read(staging: Staging, uuid: str, consumer: str, count: int) -> list[Staged]:
    found: list[Staged] = []
    cursor: bytes | None = b"0-0"
    while room := _room(found, count):
        if cursor:
            batch, cursor = _claim(staging, uuid, consumer, cursor, room)
        else:
            batch = _new(staging, uuid, consumer, room)
            if not batch:
                break
        found += batch
    return found


def _room(found: list[Staged], count: int) -> int:
    """How many more entries to ask for: one to begin with, then as many of the largest seen as the bound holds."""
    sizes = [len(staged.payload) for staged in found]
    fit = (_READ_BYTES - sum(sizes)) // max(1, *sizes) if sizes else 1
    return max(0, min(count - len(found), fit))


def _claim(staging: Staging, uuid: str, consumer: str, cursor: bytes, count: int) -> tuple[list[Staged], bytes | None]:
    """Take over entries that were delivered and not acknowledged; return them and where to go on, None at the end."""
    reply: Any = staging.books.xautoclaim(keys.stream(uuid), keys.GROUP, consumer, 0, cursor, count=count)
    found = [_staged(*entry) for entry in reply[1] if entry[0] is not None]  # Redis 6.2 shows deleted entries as nil
    return found, None if reply[0] == b"0-0" else reply[0]


def _new(staging: Staging, uuid: str, consumer: str, count: int) -> list[Staged]:
    reply: Any = staging.books.xreadgroup(keys.GROUP, consumer, {keys.stream(uuid): ">"}, count=count)
    return [_staged(*entry) for _, entries in reply or [] for entry in entries]


def _staged(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Staged:
    run_id, first, rows = fields[b"run"].decode(), int(fields[b"first"]), int(fields[b"rows"])
    return Staged(entry_id.decode(), run_id, first, rows, fields[b"payload"])


def _make_group(staging: Staging, uuid: str) -> None:
    from redis.exceptions import ResponseError

    try:
        staging.books.xgroup_create(keys.stream(uuid), keys.GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
