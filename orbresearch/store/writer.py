"""Writing results: a chunk's rows and its ledger row in one transaction, so that doing it twice changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from orbresearch import schema
from orbresearch.errors import Corrupt
from orbresearch.store.connection import Store, utc_now, writing
from orbresearch.store.failures import is_duplicate, reason_of
from orbresearch.store.literals import check_batch, to_sql, to_tuples
from orbresearch.store.records import encode_run

ROWS_PER_STATEMENT = 2000  # at most 1.3 MB of text: below every server's max_allowed_packet, and the fastest measured


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
    what = f"chunk {first} of run {run_id}"
    check_batch(batch, run_id, what)
    seconds = (batch.schema.metadata or {}).get(b"seconds")
    entry = {
        "run_id": run_id,
        "first": int(first),
        "row_count": batch.num_rows,
        "persisted_at": utc_now(),
        "duration": None if seconds is None else float(seconds),
    }
    with writing(store) as connection:
        if not _insert_new(connection, store.tables.chunks, entry):
            return 0
        _insert_rows(connection, store, batch, what)
    return int(batch.num_rows)


def _insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> bool:
    """Insert one row; False when its key is there. Every other complaint is raised."""
    try:
        connection.execute(table.insert(), row)
    except IntegrityError as error:
        if is_duplicate(error):
            return False
        raise
    return True


def _insert_rows(connection: sa.Connection, store: Store, batch: pa.RecordBatch, what: str) -> None:
    insert = store.tables.results.insert()
    statement = str(insert.compile(dialect=connection.dialect, column_keys=schema.RESULTS.names))
    head = statement.partition(" VALUES ")[0] + " VALUES "
    fill = _fill_mysql if store.settings.is_mysql else _fill_sqlite
    try:
        written = fill(connection, head, batch) if batch.num_rows else 0
    except (IntegrityError, DataError) as error:
        raise Corrupt(what, reason_of(error)) from None
    if written != batch.num_rows:
        raise Corrupt(what, f"{written} of {batch.num_rows} rows written")


def _fill_sqlite(connection: sa.Connection, head: str, batch: pa.RecordBatch) -> int:
    marks = ", ".join("?" * batch.num_columns)
    return connection.exec_driver_sql(f"{head}({marks})", to_tuples(batch)).rowcount


def _fill_mysql(connection: sa.Connection, head: str, batch: pa.RecordBatch) -> int:
    rows, literal = 0, {"no_parameters": True}
    for start in range(0, batch.num_rows, ROWS_PER_STATEMENT):
        text = head + ",".join(to_sql(batch.slice(start, ROWS_PER_STATEMENT)))
        rows += connection.exec_driver_sql(text, execution_options=literal).rowcount
    return rows
