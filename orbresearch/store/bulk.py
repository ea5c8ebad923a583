"""Rows into the table ``results``, inside the caller's transaction: loaded, or inserted where that is refused.

Measured on MariaDB 10.11, rows of 26 columns, one busy machine: LOAD DATA 90,000 rows a second, multi-row INSERT
50,000, PyMySQL's ``executemany`` 16,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from orbresearch import schema
from orbresearch.errors import Corrupt
from orbresearch.sql.failures import LOAD_REFUSALS, code_of, reason_of
from orbresearch.store.literals import to_sql, to_tsv, to_tuples

if TYPE_CHECKING:
    from orbresearch.sql.loadlocal import GuardedConnection

ROWS_AT_ONCE = 2000  # of text or tuples: a statement's at most, the fastest measured
HEAD_BYTES, ROW_BYTES = 1024, 800  # at most: an INSERT up to its first row, and a row of 26 literals

_LITERALS = {"no_parameters": True}  # a % in the text is a %
_FORMAT = (
    r"CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\t' ENCLOSED BY '' ESCAPED BY '\\' "
    r"LINES STARTING BY '' TERMINATED BY '\n'"
)


_VARIABLES = "SHOW VARIABLES WHERE Variable_name IN ('max_allowed_packet', 'wsrep_on', 'wsrep_load_data_splitting')"


class LoadRefused(Exception):
    """The server loads no rows for this client. Says why."""


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
    size = max(1, min(ROWS_AT_ONCE, (_packet_bytes(connection) - HEAD_BYTES) // ROW_BYTES))
    return sum(_execute(connection, head + ",".join(to_sql(part)), what) for part in _parts(batches, size))


def load_mysql(connection: sa.Connection, table: sa.Table, batches: Sequence[pa.RecordBatch], what: str) -> int:
    """Load all rows by one LOAD DATA LOCAL INFILE whose file is memory; return the rows written.

    With LOCAL a server never fails on a row: it cuts, clips, or drops it, and warns.

    Raises
    ------
    LoadRefused
        Nothing is loaded: the server, or something before it, does not want to.
    Corrupt
        The server warned of something.
    """
    driver = _driver(connection)
    if reason := _why_not_load(connection):
        raise LoadRefused(reason)
    name, columns = _names(connection, table)
    statement = f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE {name} {_FORMAT} ({columns})"
    try:
        with driver.armed((to_tsv(part) for part in _parts(batches)), _packet_bytes(connection) // 2):
            return _execute(connection, statement, what)
    except DBAPIError as error:
        if code_of(error) in LOAD_REFUSALS:
            raise LoadRefused(reason_of(error)) from None
        raise
    finally:
        if not driver.open:
            connection.invalidate()  # else the end of the transaction would hide what happened


def _execute(connection: sa.Connection, statement: str, what: str) -> int:
    rows = connection.exec_driver_sql(statement, execution_options=_LITERALS).rowcount
    if warnings := _driver(connection).count_warnings():
        first = connection.exec_driver_sql("SHOW WARNINGS LIMIT 1").first()
        raise Corrupt(
            what, f"the server warned {warnings} times, first: {first[2] if first else 'of nothing it names'}"
        )
    return rows


def _why_not_load(connection: sa.Connection) -> str:
    """Return why loading need not be tried, "" where it may work."""
    if not _driver(connection).may_load:
        return "the server says that it knows no LOAD DATA LOCAL"
    variables = _variables(connection)
    if variables.get("wsrep_on") == variables.get("wsrep_load_data_splitting") == "ON":
        return "wsrep_load_data_splitting is on, which commits every 10,000 rows"
    return ""


def _packet_bytes(connection: sa.Connection) -> int:
    return int(_variables(connection)["max_allowed_packet"])


def _variables(connection: sa.Connection) -> dict[str, str]:
    """Return the server's variables that matter here, asked for once per connection."""
    if "orb_variables" not in connection.info:
        connection.info["orb_variables"] = {str(row[0]): str(row[1]) for row in connection.exec_driver_sql(_VARIABLES)}
    found: dict[str, str] = connection.info["orb_variables"]
    return found


def _driver(connection: sa.Connection) -> GuardedConnection:
    return cast("GuardedConnection", connection.connection.dbapi_connection)


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
