"""Bytes in Redis: raw little-endian columns for inputs, Arrow IPC for results. Pure; no pickle.

Raw columns carry no checksum of their own: they are filed under their :func:`content_hash`, which the loader checks.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orbresearch.errors import BadInput, Corrupt
from orbresearch.schema import RANGES, TICKS

_COLUMNS: Mapping[str, np.dtype[Any]] = cast(Any, TICKS)
_TICK_BYTES = sum(dtype.itemsize for dtype in _COLUMNS.values())  # 13
_BATCH_MAGIC = b"ORB1"
_DIGEST_BYTES = 16


def content_hash(*parts: bytes) -> str:
    """Return 32 hex digits that stand for these parts in this order and with these boundaries (blake2b)."""
    return _digest(*parts).hex()


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(struct.pack("<q", len(part)))
        digest.update(part)
    return digest.digest()


def encode_ticks(columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Encode one session's ticks: the columns of ``schema.TICKS`` one after the other, 13 bytes a tick."""
    found = {name: column.dtype for name, column in columns.items()}
    if found != _COLUMNS:
        raise BadInput("tick columns", f"are {found}", f"give {_COLUMNS}")
    shapes = {name: column.shape for name, column in columns.items()}
    if len(set(shapes.values())) > 1 or columns["time"].ndim != 1:
        raise BadInput("tick columns", f"shapes {shapes}", "give one-dimensional columns of one length")
    return b"".join(columns[name].tobytes() for name in _COLUMNS)


def decode_ticks(payload: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of one session as read-only views of the payload.

    Raises
    ------
    Corrupt
        The length is no whole number of ticks, or a flag is neither 0 nor 1.
    """
    n, rest = divmod(len(payload), _TICK_BYTES)
    if rest:
        raise Corrupt("a session's ticks", f"{len(payload)} bytes are no multiple of {_TICK_BYTES}")
    columns, offset = {}, 0
    for name, dtype in _COLUMNS.items():
        columns[name] = np.frombuffer(payload, dtype, n, offset)
        offset += n * dtype.itemsize
    if n and columns["first_of_bar"].max() > 1:
        raise Corrupt("a session's ticks", "first_of_bar is neither 0 nor 1")
    return columns


def encode_ranges(ranges: npt.NDArray[Any]) -> bytes:
    """Encode a one-dimensional array of ``schema.RANGES``: its records as they are."""
    if ranges.dtype != RANGES or ranges.ndim != 1:
        raise BadInput("opening ranges", f"{ranges.ndim}-dimensional {ranges.dtype}", f"give one dimension of {RANGES}")
    return ranges.tobytes()


def decode_ranges(payload: bytes) -> npt.NDArray[Any]:
    """Return the records as a read-only view of the payload.

    Raises
    ------
    Corrupt
        The length is no whole number of records.
    """
    if len(payload) % RANGES.itemsize:
        raise Corrupt("opening ranges", f"{len(payload)} bytes are no multiple of {RANGES.itemsize}")
    return np.frombuffer(payload, RANGES)


def encode_batch(batch: pa.RecordBatch) -> bytes:
    """Encode one batch of results: a magic number, a digest, and a compressed Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)  # Dask owns the cores
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return _BATCH_MAGIC + _digest(body) + body


def decode_batch(payload: bytes) -> pa.RecordBatch:
    """Return the batch that ``encode_batch`` was given.

    Raises
    ------
    Corrupt
        Any byte is not what was written.
    """
    start = len(_BATCH_MAGIC) + _DIGEST_BYTES
    magic, digest, body = payload[: len(_BATCH_MAGIC)], payload[len(_BATCH_MAGIC) : start], payload[start:]
    if magic != _BATCH_MAGIC:
        raise Corrupt("a result batch", f"begins with {magic!r}, not {_BATCH_MAGIC!r}")
    if digest != _digest(body):
        raise Corrupt("a result batch", f"{len(body)} bytes do not match their digest")
    try:
        return _read_one(body)
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise Corrupt("a result batch", str(error) or "no batch inside") from None


def _read_one(body: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(body), options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
        return reader.read_next_batch()
