"""Rows into the table ``results``, inside the caller's transaction: loaded, or inserted where that is refused.

Measured on MariaDB 10.11, rows of 26 columns, one busy machine: LOAD DATA 90,000 rows a second, multi-row INSERT
50,000, PyMySQL's ``executemany`` 16,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import sqlalchemy as sa

from orbresearch import schema
from orbresearch.sql import loading
from orbresearch.store.literals import to_sql, to_tsv, to_tuples

ROWS_AT_ONCE = 2000  # of text or tuples: a statement's at most, the fastest measured
HEAD_BYTES, ROW_BYTES = 1024, 800  # at most: an INSERT up to its first row, and a row of 26 literals


def insert_sqlite(connection: sa.Connection, table: sa.Table, batches: Sequence[pa.RecordBatch]) -> int:
    """Insert through one prepared statement, which the driver keeps from call to call; return the rows written."""
    marks = ", ".join("?" * len(schema.RESULTS))
    statement = f"{_insert(connection, table)} VALUES ({marks})"
    return sum(connection.exec_driver_sql(statement, to_tuples(part)).rowcount for part in _parts(batches))


def insert_mysql(connection: sa.Connection, table: sa.Table, batches: Sequence[pa.RecordBatch], what: str) -> int:
    """Insert by statements of many rows, each within the server's ``max_allowed_packet``; return the rows written.

    Raises
    ------
    Corrupt
        The server warned of something.
    """
    head = f"{_insert(connection, table)} VALUES "
    size = max(1, min(ROWS_AT_ONCE, (loading.packet_bytes(connection) - HEAD_BYTES) // ROW_BYTES))
    return sum(loading.execute(connection, head + ",".join(to_sql(part)), what) for part in _parts(batches, size))


def load_mysql(connection: sa.Connection, table: sa.Table, batches: Sequence[pa.RecordBatch], what: str) -> int:
    """Load all rows by one statement; return the rows written.

    Raises
    ------
    orbresearch.sql.loading.LoadRefused
        Nothing is loaded: the server, or something before it, does not want to.
    Corrupt
        The server warned of something.
    """
    name, columns = _names(connection, table)
    return loading.load_rows(connection, name, columns, (to_tsv(part) for part in _parts(batches)), what)


def _insert(connection: sa.Connection, table: sa.Table) -> str:
    name, columns = _names(connection, table)
    return f"INSERT INTO {name} ({columns})"


def _names(connection: sa.Connection, table: sa.Table) -> tuple[str, str]:
    """Return the table and its columns as SQL."""
    preparer = connection.dialect.identifier_preparer
    return preparer.format_table(table), ", ".join(map(preparer.quote, schema.RESULTS.names))


def _parts(batches: Sequence[pa.RecordBatch], size: int = ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size)
