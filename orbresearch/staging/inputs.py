"""Inputs in Redis: tick series by session (db 2) and opening ranges (db 1), each filed under its content hash.

The hash is ``content_hash(payload)``. A session is staged once, whatever run or range of dates uses it; whatever comes
back is checked against the hash it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orbresearch.errors import Corrupt, InputsMissing
from orbresearch.sessions.series import content_hash
from orbresearch.staging import keys
from orbresearch.staging.connection import Staging, speaking

if TYPE_CHECKING:
    from redis import Redis

_BATCH_BYTES = 64_000_000  # of values in one command
_BATCH_KEYS = 5_000


def missing_sessions(staging: Staging, hashes: Sequence[str]) -> list[str]:
    """Return those of the sessions that are not staged, in their order and once each."""
    with speaking(staging.where):
        return _missing(staging.ticks, hashes, keys.session)


def stage_sessions(staging: Staging, sessions: Mapping[str, bytes]) -> None:
    """Stage sessions, content hash to encoded ticks, in commands of bounded size."""
    with speaking(staging.where):
        _stage(staging.ticks, sessions, keys.session)


def load_sessions(staging: Staging, hashes: Sequence[str]) -> list[bytes]:
    """Load sessions in the order given, in replies of about 64 MB.

    Raises
    ------
    InputsMissing
        One of them is not staged (a flush).
    Corrupt
        One of them is not what it was filed as.
    """
    with speaking(staging.where):
        return _load(staging.ticks, hashes, keys.session, "tick series")


def drop_sessions(staging: Staging, hashes: Sequence[str]) -> int:
    """Remove sessions that are staged; return how many there were. The server frees their memory in the background."""
    with speaking(staging.where):
        dropped = 0
        for start in range(0, len(hashes), _BATCH_KEYS):
            names = [keys.session(item) for item in hashes[start : start + _BATCH_KEYS]]
            dropped += int(staging.ticks.unlink(*names))
        return dropped


def stage_document(staging: Staging, document_hash: str, document: bytes) -> None:
    """Stage the JSON document that names a series' sessions."""
    with speaking(staging.where):
        _stage(staging.ticks, {document_hash: document}, keys.document)


def load_document(staging: Staging, document_hash: str) -> bytes:
    """Load a series' document. Raises as :func:`load_sessions` does."""
    with speaking(staging.where):
        return _load(staging.ticks, [document_hash], keys.document, "tick series")[0]


def missing_ranges(staging: Staging, hashes: Sequence[str]) -> list[str]:
    """Return those of the opening ranges that are not staged, in their order and once each."""
    with speaking(staging.where):
        return _missing(staging.ranges, hashes, keys.ranges)


def stage_ranges(staging: Staging, ranges: Mapping[str, bytes]) -> None:
    """Stage opening ranges, content hash to encoded records."""
    with speaking(staging.where):
        _stage(staging.ranges, ranges, keys.ranges)


def load_ranges(staging: Staging, hashes: Sequence[str]) -> list[bytes]:
    """Load opening ranges in the order given. Raises as :func:`load_sessions` does."""
    with speaking(staging.where):
        return _load(staging.ranges, hashes, keys.ranges, "opening ranges")


_Key = Callable[[str], str]


def _missing(client: Redis, hashes: Sequence[str], key: _Key) -> list[str]:
    wanted = list(dict.fromkeys(hashes))
    staged = _ask(client, "EXISTS", [key(item) for item in wanted])
    return [item for item, there in zip(wanted, staged, strict=True) if not there]


def _ask(client: Redis, command: str, names: Sequence[str]) -> list[int]:
    """Return one number for every key, in pipelines of bounded length."""
    answers: list[int] = []
    for start in range(0, len(names), _BATCH_KEYS):
        pipeline = client.pipeline(transaction=False)
        ask = pipeline.exists if command == "EXISTS" else pipeline.strlen
        for name in names[start : start + _BATCH_KEYS]:
            ask(name)
        answers += pipeline.execute()
    return answers


def _stage(client: Redis, payloads: Mapping[str, bytes], key: _Key) -> None:
    for item, payload in payloads.items():
        _check(key(item), item, payload)
    for items in _batches(list(payloads), [len(payload) for payload in payloads.values()]):
        client.mset({key(item): payloads[item] for item in items})


def _load(client: Redis, hashes: Sequence[str], key: _Key, kind: str) -> list[bytes]:
    found: list[bytes] = []
    for items in _batches(hashes, _ask(client, "STRLEN", [key(item) for item in hashes])):
        payloads: Any = client.mget([key(item) for item in items])
        for item, payload in zip(items, payloads, strict=True):
            if payload is None:
                raise InputsMissing(kind, item)
            _check(key(item), item, payload)
            found.append(payload)
    return found


def _batches(items: Sequence[str], sizes: Sequence[int]) -> Iterator[list[str]]:
    """Cut the items, in order, where a batch would pass its bound in bytes or in keys."""
    batch: list[str] = []
    held = 0
    for item, size in zip(items, sizes, strict=True):
        if batch and (held + size > _BATCH_BYTES or len(batch) == _BATCH_KEYS):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size
    if batch:
        yield batch


def _check(key: str, expected: str, payload: bytes) -> None:
    found = content_hash(payload)
    if found != expected:
        raise Corrupt(key, f"its content hash is {found}")
