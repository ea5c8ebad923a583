"""Rows into a MySQL table by one LOAD DATA LOCAL INFILE whose file is memory, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from orbresearch.errors import Corrupt
from orbresearch.sql.failures import LOAD_REFUSALS, code_of, reason_of

if TYPE_CHECKING:
    from orbresearch.sql.loadlocal import GuardedConnection

VARIABLES = "SHOW VARIABLES WHERE Variable_name IN ('max_allowed_packet', 'wsrep_on', 'wsrep_load_data_splitting')"

_LITERALS = {"no_parameters": True}  # a % in the text is a %
_FORMAT = (
    r"CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\t' ENCLOSED BY '' ESCAPED BY '\\' "
    r"LINES STARTING BY '' TERMINATED BY '\n'"
)


class LoadRefused(Exception):
    """The server loads no rows for this client. Says why."""


def load_rows(connection: sa.Connection, table: str, columns: str, pieces: Iterable[memoryview], what: str) -> int:
    r"""Load text (tabs, newlines, backslash escapes, ``\N`` for a missing value, UTF-8); return the rows written.

    With LOCAL a server never fails on a row: it cuts, clips, or drops it, and warns.

    Parameters
    ----------
    table, columns : str
        As SQL.
    pieces : iterable of memoryview
        Whole rows; they are made while the server reads.
    what : str
        What the rows are, for an error.

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
    statement = f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE {table} {_FORMAT} ({columns})"
    try:
        with driver.armed(pieces, packet_bytes(connection) // 2):
            return execute(connection, statement, what)
    except DBAPIError as error:
        if code_of(error) in LOAD_REFUSALS:
            raise LoadRefused(reason_of(error)) from None
        raise
    finally:
        if not driver.open:
            connection.invalidate()  # else the end of the transaction would hide what happened


def execute(connection: sa.Connection, statement: str, what: str) -> int:
    """Run a statement that holds its values; return the rows written.

    Raises
    ------
    Corrupt
        The server warned of something.
    """
    rows = connection.exec_driver_sql(statement, execution_options=_LITERALS).rowcount
    if warnings := _driver(connection).count_warnings():
        first = connection.exec_driver_sql("SHOW WARNINGS LIMIT 1").first()
        raise Corrupt(
            what, f"the server warned {warnings} times, first: {first[2] if first else 'of nothing it names'}"
        )
    return rows


def packet_bytes(connection: sa.Connection) -> int:
    """Return how long a statement may be."""
    return int(_variables(connection)["max_allowed_packet"])


def _why_not_load(connection: sa.Connection) -> str:
    """Return why loading need not be tried, "" where it may work."""
    if not _driver(connection).may_load:
        return "the server says that it knows no LOAD DATA LOCAL"
    variables = _variables(connection)
    if variables.get("wsrep_on") == variables.get("wsrep_load_data_splitting") == "ON":
        return "wsrep_load_data_splitting is on, which commits every 10,000 rows"
    return ""


def _variables(connection: sa.Connection) -> dict[str, str]:
    """Return the server's variables that matter here, asked for once per connection."""
    if "orb_variables" not in connection.info:
        connection.info["orb_variables"] = {str(row[0]): str(row[1]) for row in connection.exec_driver_sql(VARIABLES)}
    found: dict[str, str] = connection.info["orb_variables"]
    return found


def _driver(connection: sa.Connection) -> GuardedConnection:
    return cast("GuardedConnection", connection.connection.dbapi_connection)
