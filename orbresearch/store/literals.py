"""A batch of results as its database takes it fastest, column by column and checked first.

SQLite takes tuples: 90,000 rows of 26 columns a second, measured on one core. PyMySQL's own ``executemany`` formats
value by value in Python: 16,000 rows a second on MariaDB; statements whose text Arrow made: 40,000.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from orbresearch import schema
from orbresearch.errors import Corrupt
from orbresearch.store.tables import BACKTEST_ID_LENGTH, TICKER_LENGTH


def check_batch(batch: pa.RecordBatch, run_id: str, what: str) -> None:
    """Refuse a batch whose rows no table could hold as they are.

    Raises
    ------
    Corrupt
        Other columns than :data:`orbresearch.schema.RESULTS`, rows of another run, a missing value in a required
        column, an infinite value anywhere, an over-long ticker.
    """
    if batch.schema.names != schema.RESULTS.names or batch.schema.types != schema.RESULTS.types:
        raise Corrupt(what, f"columns are {batch.schema.names}, not those of schema.RESULTS")
    for field, column in zip(schema.RESULTS, batch.columns, strict=True):
        if wrong := _wrong_values(field, column):
            raise Corrupt(what, f"column {field.name} holds {wrong}")
    if not _all(pc.equal(batch["run_id"], run_id)):
        raise Corrupt(what, f"column run_id holds other runs than {run_id}")
    if not _all(pc.match_substring_regex(batch["backtest_id"], f"^{run_id}-[0-9]{{10}}$")):
        raise Corrupt(what, f"column backtest_id holds others than {run_id}- and ten digits")


def to_tuples(batch: pa.RecordBatch) -> list[tuple[object, ...]]:
    """Return the rows as tuples for sqlite3, which stores NaN as NULL."""
    columns = (
        _values(column).to_numpy(zero_copy_only=False).tolist()
        if pa.types.is_floating(column.type)
        else column.to_pylist()
        for column in batch.columns
    )
    return list(zip(*columns, strict=True))


def to_sql(batch: pa.RecordBatch) -> list[str]:
    """Return the rows as MySQL literals, ``('…',…,1.5e0,NULL)``: for strict SQL with backslash escapes, utf8mb4."""
    texts = [_text(column) for column in batch.columns]
    rows: list[str] = pc.binary_join_element_wise("(", _join(*texts, ","), ")", "").to_pylist()
    return rows


def _wrong_values(field: pa.Field, column: pa.Array) -> str:
    if pa.types.is_floating(field.type) and pc.any(pc.is_inf(column)).as_py():
        return "an infinite value"
    if not field.nullable and pc.any(pc.is_null(column, nan_is_null=True)).as_py():
        return "a missing value"
    limit = {"backtest_id": BACKTEST_ID_LENGTH, "ticker": TICKER_LENGTH}.get(field.name)
    if limit and len(column) and pc.max(pc.utf8_length(column)).as_py() > limit:
        return f"a text of more than {limit} characters"
    return ""


def _all(mask: pa.Array) -> bool:
    return bool(pc.all(mask, min_count=0).as_py())


def _values(column: pa.Array) -> pa.Array:
    """Return the floats with one zero: SQLite keeps no sign on it, and both stores hold the same bits."""
    return pc.add(column, 0.0)


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        escaped = pc.replace_substring(pc.replace_substring(column, "\\", "\\\\"), "'", "''")
        return _join("'", escaped, "'", "")
    if not pa.types.is_floating(column.type):
        return column.cast(pa.string())
    values = _values(column)
    text = pc.if_else(pc.is_nan(values), None, values).cast(pa.string())  # shortest text that reads back the same
    exact = pc.if_else(pc.match_substring(text, "e"), text, _join(text, "e0", ""))  # a double, not a DECIMAL
    return pc.fill_null(exact, "NULL")


def _join(*parts: object) -> pa.Array:
    """Return the parts of each row joined by the last argument."""
    return pc.binary_join_element_wise(*parts)
