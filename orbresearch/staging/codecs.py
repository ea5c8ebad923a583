"""Bytes in Redis: opening ranges as their records, results as Arrow IPC. Pure; no pickle.

Ticks are encoded by ``sessions.series``: their bytes are part of a run's identity. Inputs carry no checksum of their
own: they are filed under their :func:`~orbresearch.sessions.series.content_hash`, which the loader checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orbresearch.errors import Corrupt
from orbresearch.schema import DAYS
from orbresearch.sessions.series import content_hash

_BATCH_MAGIC = b"ORB1"
_DIGEST_BYTES = 16


def decode_days(payload: bytes) -> npt.NDArray[Any]:
    """Return the records as a read-only view of the payload.

    Raises
    ------
    Corrupt
        The length is no whole number of records.
    """
    if len(payload) % DAYS.itemsize:
        raise Corrupt("opening ranges", f"{len(payload)} bytes are no multiple of {DAYS.itemsize}")
    return np.frombuffer(payload, DAYS)


def encode_batch(batch: pa.RecordBatch, more: bytes = b"") -> bytes:
    """Encode one batch of results: a magic number, a digest, a compressed Arrow IPC stream, and what belongs to it."""
    sink = pa.BufferOutputStream()
    # lz4: a third of zstd's time for a quarter more bytes; Dask owns the cores
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes() + more
    return _BATCH_MAGIC + bytes.fromhex(content_hash(body)) + body


def decode_batch(payload: bytes) -> tuple[pa.RecordBatch, bytes]:
    """Return the batch that ``encode_batch`` was given, and what came with it.

    Raises
    ------
    Corrupt
        Any byte is not what was written.
    """
    start = len(_BATCH_MAGIC) + _DIGEST_BYTES
    magic, digest, body = payload[: len(_BATCH_MAGIC)], payload[len(_BATCH_MAGIC) : start], payload[start:]
    if magic != _BATCH_MAGIC:
        raise Corrupt("a result batch", f"begins with {magic!r}, not {_BATCH_MAGIC!r}")
    if digest.hex() != content_hash(body):
        raise Corrupt("a result batch", f"{len(body)} bytes do not match their digest")
    try:
        return _read_one(body)
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise Corrupt("a result batch", str(error) or "no batch inside") from None


def _read_one(body: bytes) -> tuple[pa.RecordBatch, bytes]:
    buffer = pa.BufferReader(body)
    with pa.ipc.open_stream(buffer, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
        batch = reader.read_next_batch()
        reader.read_all()  # up to the end of its stream
        return batch, body[buffer.tell() :]
