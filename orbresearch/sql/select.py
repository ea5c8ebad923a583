"""One's own queries: read-only, with bound parameters, as a DataFrame."""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orbresearch.errors import BadInput
from orbresearch.sql.failures import Place, is_of_place, reason_of, translated

_VERBS = {"SELECT", "WITH", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "TABLE", "VALUES"}
_INTO = re.compile(r"\bINTO\s+(OUTFILE|DUMPFILE|@)", re.IGNORECASE)
_COMMENT = re.compile(r"\s+|--[^\n]*|#[^\n]*|/\*.*?\*/|\(", re.DOTALL)
_SQLITE_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
}
_SQLITE_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "database_list"}


def fetch_frame(engine: sa.Engine, place: Place, sql: str, params: Mapping[str, object] | None = None) -> pd.DataFrame:
    """Run a query; ``:name`` in it stands for ``params["name"]``, of a list for all of its values (``IN :names``).

    Raises
    ------
    BadInput
        What the database has to say about the query.
    Unreachable
        No server, or no way in.
    """
    is_mysql = engine.dialect.name == "mysql"
    fix = f"give one SELECT for {'MySQL' if is_mysql else 'SQLite'}"
    if is_mysql and not _reads(sql):
        raise BadInput("query", "it is none that only reads", fix)
    given = {name: _plain(value) for name, value in dict(params or {}).items()}
    statement = _statement(sql, given)
    with translated(place), engine.connect() as connection:
        connection.detach()  # closed afterwards: the next to borrow one may want to write
        _only_read(connection, is_mysql)
        try:
            result = connection.execute(statement, given)
            return pd.DataFrame.from_records(result.fetchall(), columns=list(result.keys()), coerce_float=True)
        except (SQLAlchemyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            if isinstance(error, DBAPIError) and is_of_place(error):
                raise
            raise BadInput("query", reason_of(error), fix) from None


def _reads(sql: str) -> bool:
    """Return whether a statement begins as a query does. A transaction that only reads still lets GRANT and SET by."""
    start = 0
    while found := _COMMENT.match(sql, start):
        start = found.end()
    verb = re.match(r"\w*", sql[start:])
    return bool(verb and verb.group().upper() in _VERBS and not _INTO.search(sql))


def _only_read(connection: sa.Connection, is_mysql: bool) -> None:
    if is_mysql:
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        return
    connection.exec_driver_sql("PRAGMA query_only = ON")
    driver: Any = connection.connection.dbapi_connection
    driver.set_authorizer(_authorize)  # query_only lets ATTACH and VACUUM INTO make files


def _authorize(action: int, first: str | None, *_: object) -> int:
    known = action in _SQLITE_READS or (action == sqlite3.SQLITE_PRAGMA and str(first).lower() in _SQLITE_PRAGMAS)
    return sqlite3.SQLITE_OK if known else sqlite3.SQLITE_DENY


def _plain(value: Any) -> Any:
    """Return what drivers know: lists, and Python's own numbers and text rather than numpy's and pandas'."""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, dt.date):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):  # numpy's and pandas' arrays, and their scalars
        return _plain(list(value) if getattr(value, "ndim", 0) else value.tolist())
    return value


def _statement(sql: str, given: Mapping[str, object]) -> sa.TextClause:
    text = sa.text(sql)
    named = set(text.compile().params)
    for wrong, names in (("no value for", named - set(given)), ("the query has no", set(given) - named)):
        if names:
            fix = f"it has {', '.join(f':{name}' for name in sorted(named)) or 'none'}"
            raise BadInput("params", f"{wrong} :{min(names)}", fix)
    lists = [name for name, value in given.items() if isinstance(value, list)]
    return text.bindparams(*(sa.bindparam(name, expanding=True) for name in lists))
