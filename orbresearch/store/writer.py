"""Writing results: a chunk's rows and its ledger row in one transaction, so that doing it twice changes nothing."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from orbresearch.errors import Corrupt
from orbresearch.store.bulk import LoadRefused, insert_mysql, insert_sqlite, load_mysql
from orbresearch.store.connection import Store, utc_now, writing
from orbresearch.store.failures import is_duplicate, reason_of
from orbresearch.store.literals import check_batch, in_key_order
from orbresearch.store.records import encode_run

log = logging.getLogger(__name__)


def register_run(store: Store, record: Mapping[str, object]) -> bool:
    """Write one run's facts, unless they are there.

    Parameters
    ----------
    store : Store
    record : mapping
        One value per column of the table ``runs``; see :func:`orbresearch.store.records.encode_run`.

    Returns
    -------
    bool
        True if the run is new.
    """
    row = encode_run(store.tables.runs, record)
    with writing(store) as connection:
        return _insert_new(connection, store.tables.runs, row)


def persist_chunk(store: Store, run_id: str, first: int, batch: pa.RecordBatch) -> int:
    """Write one chunk's rows and its ledger row: both or, whatever happens, neither.

    Parameters
    ----------
    store : Store
    run_id : str
    first : int
        Index of the chunk's first backtest in its run: the ledger's key.
    batch : pyarrow.RecordBatch
        Rows as :data:`orbresearch.schema.RESULTS`; the schema's metadata may say ``seconds`` of computing.

    Returns
    -------
    int
        Rows written; 0 when the ledger already has the chunk.

    Raises
    ------
    Corrupt
        Rows that the table cannot hold, or that are there under another chunk. Nothing is written.
    Unreachable
        The database failed. Nothing is written.
    """
    return persist_chunks(store, [(run_id, first, batch)])[0]


def persist_chunks(store: Store, chunks: Iterable[tuple[str, int, pa.RecordBatch]]) -> list[int]:
    """Write several chunks, each ``(run_id, first, batch)``, in one transaction: all of them or none.

    Small chunks go in faster together than one by one. Returns what :func:`persist_chunk` would for each, in the order
    given. After ``Corrupt``, which may not know whose rows are at fault, the sound ones can be written one by one.
    """
    checked = sorted(map(_check, chunks, itertools.count()), key=lambda chunk: chunk.key)
    try:
        written = _persist(store, checked)
    except LoadRefused as refusal:
        _insert_from_now_on(store, str(refusal))
        written = _persist(store, checked)
    return [written[place] for place in range(len(checked))]


@dataclass(frozen=True)
class _Chunk:
    """A checked chunk, its rows in key order."""

    place: int  # among those given
    entry: Mapping[str, Any]  # row of the ledger
    batch: pa.RecordBatch

    @property
    def key(self) -> tuple[str, int]:
        return self.entry["run_id"], self.entry["first"]


def _check(chunk: tuple[str, int, pa.RecordBatch], place: int) -> _Chunk:
    run_id, first, batch = chunk
    check_batch(batch, run_id, f"chunk {first} of run {run_id}")
    seconds = (batch.schema.metadata or {}).get(b"seconds")
    entry = {
        "run_id": run_id,
        "first": int(first),
        "row_count": batch.num_rows,
        "persisted_at": utc_now(),
        "duration": None if seconds is None else float(seconds),
    }
    return _Chunk(place, entry, in_key_order(batch))


def _persist(store: Store, chunks: Sequence[_Chunk]) -> dict[int, int]:
    """Write the ledger's rows, then the rows of the chunks that were not in it; return how many of each."""
    with writing(store, rows=True) as connection:
        new = [chunk for chunk in chunks if _insert_new(connection, store.tables.chunks, chunk.entry)]
        if any(chunk.batch.num_rows for chunk in new):
            names = " or ".join(f"chunk {first} of run {run_id}" for run_id, first in (chunk.key for chunk in new))
            _insert_rows(connection, store, [chunk.batch for chunk in new], names)
    return dict.fromkeys((chunk.place for chunk in chunks), 0) | {chunk.place: chunk.batch.num_rows for chunk in new}


def _insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> bool:
    """Insert one row; False when its key is there. Every other complaint is raised."""
    try:
        connection.execute(table.insert(), row)
    except IntegrityError as error:
        if is_duplicate(error):
            return False
        raise
    return True


def _insert_rows(connection: sa.Connection, store: Store, batches: Sequence[pa.RecordBatch], what: str) -> None:
    """Write rows the fastest way that this connection knows; all of them, and without a warning, or raise."""
    table, expected = store.tables.results, sum(batch.num_rows for batch in batches)
    try:
        if not store.settings.is_mysql:
            written = insert_sqlite(connection, table, batches)
        elif connection.engine is store.loading.engine:
            written = load_mysql(connection, table, batches, what)
        else:
            written = insert_mysql(connection, table, batches, what)
    except (IntegrityError, DataError) as error:
        raise Corrupt(what, reason_of(error)) from None
    if written != expected:
        raise Corrupt(what, f"{written} of {expected} rows written")


def _insert_from_now_on(store: Store, refusal: str) -> None:
    store.loading.refusal = refusal
    log.warning(
        "rows go to %s by INSERT, which takes longer than LOAD DATA LOCAL INFILE: %s; where that is merely switched "
        "off, an administrator allows it by SET GLOBAL local_infile = 1",
        store.where,
        refusal,
    )
    if store.loading.engine is not None:
        store.loading.engine.dispose()
