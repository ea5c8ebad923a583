"""The tick series: the price of each session as a step function, in columns. What backtests walk along.

A series is staged and shared session by session, each under the hash of its own bytes; its document lists those
hashes and whatever else decides a number, and the hash of the document is the series' identity.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import zip_longest
from typing import Any

import numpy as np

from orbresearch.errors import Corrupt
from orbresearch.schema import NODES, STAGING_VERSION, TICKS

_ROW_BYTES = sum(kind.itemsize for kind in TICKS.values())


def content_hash(*parts: Any, joined: bool = False) -> str:
    """Return 32 hex digits that stand for the parts, in order and apart.

    Parameters
    ----------
    *parts : bytes or contiguous arrays
    joined : bool
        The parts are pieces of one, as if put together before.
    """
    digest = sha256()  # of those at hand the one that processors compute themselves
    sizes = [memoryview(part).nbytes for part in parts]
    heads = [size.to_bytes(8, "little") for size in ([sum(sizes)] if joined else sizes)]
    for head, part in zip_longest(heads, parts, fillvalue=b""):
        digest.update(head)
        digest.update(part)
    return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Series:
    """Ticks of many sessions of one ticker.

    Parameters
    ----------
    labels : datetime64[D] array, shape (sessions,)
    opens, closes : int64 array, shape (sessions,)
        UTC epoch seconds.
    pointers : int64 array, shape (sessions + 1,)
        Ticks of session i are ``pointers[i]:pointers[i + 1]``.
    columns : dict of arrays, shape (ticks,)
        As schema.TICKS.
    increment_nanos : int
        One increment, in 1e-9 dollars.
    bar_seconds : int
        Length of the bars the ticks were made from; 0 for prices.
    path : str
        Of bars: which extreme came first; "" for prices.
    bar_range_twice : int
        Twice the median bar range, increments (a median may end in a half); 0 for prices.
    """

    labels: Any
    opens: Any
    closes: Any
    pointers: Any
    columns: dict[str, Any]
    increment_nanos: int
    bar_seconds: int
    path: str
    bar_range_twice: int

    def __len__(self) -> int:
        return len(self.labels)

    def payload(self, session: int) -> bytes:
        """Return the ticks of one session as bytes: the columns one after the other, little-endian."""
        at = slice(self.pointers[session], self.pointers[session + 1])
        return b"".join(self.columns[name][at].tobytes() for name in TICKS)

    @cached_property
    def nodes(self) -> Any:
        """Return the ticks as NODES, linked from record to record: what kernels hop over."""
        from orbresearch.kernels.arguments import Ticks
        from orbresearch.kernels.records import link_records

        found = np.empty(self.pointers[-1], NODES)
        link_records(Ticks(*self.columns.values()), self.pointers, found)
        return found

    @cached_property
    def jumps(self) -> tuple[Any, Any]:
        """Return (higher, lower): int32 long links along the chains of :attr:`nodes`."""
        from orbresearch.kernels.records import link_jumps

        found = []
        for up in (True, False):
            depth, jump = (np.empty(self.pointers[-1], np.int32) for _ in range(2))
            link_jumps(self.nodes, up, self.pointers, depth, jump)
            found.append(jump)
        return found[0], found[1]

    @cached_property
    def session_hashes(self) -> list[str]:
        """Return the content hash of each session's payload."""
        bounds = zip(self.pointers[:-1].tolist(), self.pointers[1:].tolist(), strict=True)
        return [content_hash(*(self.columns[name][slice(*at)] for name in TICKS), joined=True) for at in bounds]

    @cached_property
    def document(self) -> bytes:
        """Return everything about the series but the ticks themselves, as JSON bytes."""
        return json.dumps(
            {
                "version": STAGING_VERSION,
                "increment_nanos": self.increment_nanos,
                "bar_seconds": self.bar_seconds,
                "path": self.path,
                "bar_range_twice": self.bar_range_twice,
                "labels": [str(label) for label in self.labels],
                "opens": self.opens.tolist(),
                "closes": self.closes.tolist(),
                "sessions": self.session_hashes,
            }
        ).encode()

    @cached_property
    def hash(self) -> str:
        """Return the identity of the series: the hash of its document, and so of every tick."""
        return content_hash(self.document)


def read_series(document: bytes, payloads: list[bytes]) -> Series:
    """Return the series of a document and its sessions' payloads, in the document's order.

    Raises
    ------
    Corrupt
        A payload that is no whole number of ticks, or a document of another version.
    """
    found = json.loads(document)
    if found["version"] != STAGING_VERSION or len(found["sessions"]) != len(payloads):
        raise Corrupt("tick series", f"version {found['version']} or {len(payloads)} sessions do not fit its document")
    if any(len(payload) % _ROW_BYTES for payload in payloads):
        raise Corrupt("tick series", f"a payload is no multiple of {_ROW_BYTES} bytes")
    sizes = [len(payload) // _ROW_BYTES for payload in payloads]
    pointers = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
    columns, skipped = {}, 0
    for name, kind in TICKS.items():
        column = np.empty(pointers[-1], kind)
        for payload, size, start in zip(payloads, sizes, pointers, strict=False):
            column[start : start + size] = np.frombuffer(payload, kind, size, skipped * size)
        columns[name] = column
        skipped += kind.itemsize
    return Series(
        np.array(found["labels"], "datetime64[D]"),
        np.array(found["opens"], np.int64),
        np.array(found["closes"], np.int64),
        pointers,
        columns,
        found["increment_nanos"],
        found["bar_seconds"],
        found["path"],
        found["bar_range_twice"],
    )
