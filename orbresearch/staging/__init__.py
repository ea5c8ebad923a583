"""The only door to Redis: the embedded server, inputs on their way to workers, results on their way to the store.

========== =================================================================
embedded   a real redis-server that ends with this process
connection three checked databases: 0 books, 1 opening ranges, 2 tick series
keys       every key
codecs     bytes and back; pure
inputs     tick series and opening ranges, by content (db 1, db 2)
books      chunk states, counters, result stream, lease (db 0)
========== =================================================================

Importing this package imports no redis: ``connect`` does.
"""

from orbresearch.staging.books import (
    Counts,
    Staged,
    acknowledge,
    acquire_lease,
    chunk_states,
    complete_chunk,
    counts,
    load_spec,
    note_chunk,
    open_run,
    read_staged,
    reject,
    release_lease,
    renew_lease,
    retire_others,
    retire_run,
    staged_count,
)
from orbresearch.staging.codecs import (
    decode_batch,
    decode_days,
    encode_batch,
)
from orbresearch.staging.connection import Staging, connect, server_id
from orbresearch.staging.embedded import EmbeddedRedis, start_embedded
from orbresearch.staging.inputs import (
    drop_sessions,
    load_document,
    load_ranges,
    load_sessions,
    missing_ranges,
    missing_sessions,
    stage_document,
    stage_ranges,
    stage_sessions,
)

__all__ = [
    "Counts",
    "EmbeddedRedis",
    "Staged",
    "Staging",
    "acknowledge",
    "acquire_lease",
    "chunk_states",
    "complete_chunk",
    "connect",
    "counts",
    "decode_batch",
    "decode_days",
    "drop_sessions",
    "encode_batch",
    "load_document",
    "load_ranges",
    "load_sessions",
    "load_spec",
    "missing_ranges",
    "missing_sessions",
    "note_chunk",
    "open_run",
    "read_staged",
    "reject",
    "release_lease",
    "renew_lease",
    "retire_others",
    "retire_run",
    "server_id",
    "stage_document",
    "stage_ranges",
    "stage_sessions",
    "staged_count",
    "start_embedded",
]
