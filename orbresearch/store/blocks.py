"""A query's rows as Arrow, block by block: never more than one block as Python objects.

Measured on one core, rows of 26 columns a second: SQLite 200,000 as tuples of the driver's own cursor (45,000 as
SQLAlchemy's rows, all at once). PyMySQL makes its values one by one in Python: 17,000; where the server writes each row
as one text, which Arrow reads: 60,000. Either way a double comes as the shortest text that reads back the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv

from orbresearch import schema
from orbresearch.store.connection import Store, reading

BLOCK_ROWS = 2000  # the fastest measured: such a block's objects fit the processor's cache


def read_table(store: Store, query: sa.Select[Any], shape: pa.Schema) -> pa.Table:
    """Return the rows of a query as a table of exactly this shape; NULL is null.

    Parameters
    ----------
    store : Store
    query : sqlalchemy.Select
    shape : pyarrow.Schema
        One field per selected column, in their order.
    """
    numbers_and_texts = not any(pa.types.is_temporal(kind) for kind in shape.types)  # as SQLite's driver gives them
    if store.settings.is_mysql and all(field in schema.RESULTS for field in shape):
        batches = [_from_text(block, shape) for block in _fetch(store, _packed(query))]
    else:
        batches = [_from_tuples(block, shape) for block in _fetch(store, query, plain=numbers_and_texts)]
    return pa.Table.from_batches(batches, shape)


def _fetch(store: Store, query: sa.Select[Any], *, plain: bool = False) -> Iterator[Sequence[Sequence[Any]]]:
    """Yield the rows as they arrive, none of them collected before: ``plain`` ones as SQLite's own tuples."""
    streams = store.settings.is_mysql
    with reading(store) as connection:
        result = connection.execute(query, execution_options={"stream_results": streams})
        assert result.cursor is not None
        fetch = result.cursor.fetchmany if plain and not streams else result.fetchmany
        try:
            while block := fetch(BLOCK_ROWS):
                yield block
        except sqlite3.Error as error:
            raise sa.exc.DBAPIError(None, None, error) from None


def _from_tuples(rows: Sequence[Sequence[Any]], shape: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type, size=len(rows)) for column, field in zip(columns, shape, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=shape)


def _packed(query: sa.Select[Any]) -> sa.Select[Any]:
    """Return the query with each row as one line of CSV: NULL is empty, tickers are quoted."""
    texts = []
    for column in query.selected_columns:
        quoted = sa.func.concat('"', sa.func.replace(column, '"', '""'), '"')
        shown = quoted if column.name == "ticker" else column
        texts.append(sa.func.coalesce(column, "") if column.nullable else shown)
    return query.with_only_columns(sa.func.concat_ws(",", *texts))


def _from_text(rows: Sequence[Sequence[str]], shape: pa.Schema) -> pa.RecordBatch:
    lines = "".join([f"{line}\n" for (line,) in rows]).encode()
    found = csv.read_csv(
        pa.BufferReader(lines),
        csv.ReadOptions(use_threads=False, column_names=shape.names, block_size=len(lines)),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types={field.name: field.type for field in shape}, null_values=[""], strings_can_be_null=False
        ),
    )
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in found.columns], schema=shape)
