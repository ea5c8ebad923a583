"""One's own queries: read-only, with bound parameters, as a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError, ResourceClosedError, StatementError

from orbresearch.errors import BadInput
from orbresearch.sql.failures import Place, reason_of, translated


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
    given = dict(params or {})
    with translated(place), engine.connect() as connection:
        connection.detach()  # closed afterwards: the next to borrow one may want to write
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY" if is_mysql else "PRAGMA query_only = ON")
        try:
            result = connection.execute(_statement(sql, given), given)
            return pd.DataFrame.from_records(result.fetchall(), columns=list(result.keys()), coerce_float=True)
        except (ArgumentError, ProgrammingError, OperationalError, ResourceClosedError, StatementError) as error:
            fix = f"give one SELECT for {'MySQL' if is_mysql else 'SQLite'}"
            raise BadInput("query", reason_of(error), fix) from None


def _statement(sql: str, given: Mapping[str, object]) -> sa.TextClause:
    lists = [name for name, value in given.items() if isinstance(value, (list, tuple))]
    return sa.text(sql).bindparams(*(sa.bindparam(name, expanding=True) for name in lists))
