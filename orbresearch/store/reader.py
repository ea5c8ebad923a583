"""Reading results: DataFrames with the same columns, types and order on both dialects, also when empty."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, ProgrammingError

from orbresearch import schema
from orbresearch.errors import BadInput
from orbresearch.store.connection import Store, reading
from orbresearch.store.failures import reason_of
from orbresearch.store.records import decode_run
from orbresearch.store.tables import MIN_SESSIONS

_TEXTS = {field.name for field in schema.RESULTS if pa.types.is_string(field.type)}
_RANKING = ("ticker", "range_duration", *schema.PARAMETERS)


def persisted_chunks(store: Store, run_id: str) -> dict[int, int]:
    """Return the ledger of one run: index of a chunk's first backtest → rows persisted."""
    chunks = store.tables.chunks.c
    first = chunks["first"]
    query = sa.select(first, chunks.row_count).where(chunks.run_id == run_id).order_by(first)
    with reading(store) as connection:
        return {int(index): int(rows) for index, rows in connection.execute(query)}


def read_results(
    store: Store,
    run_id: str,
    *,
    order_by: str = "backtest_id",
    descending: bool | None = None,
    limit: int | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return one run's rows.

    Parameters
    ----------
    store : Store
    run_id : str
    order_by : str
        A column. Missing values come last, ties in the order of ``backtest_id``.
    descending : bool, optional
        Default: True for numbers, False for ids and tickers.
    limit : int, optional
        At most so many rows.
    columns : sequence of str, optional
        Only these, in this order. Default: all of :data:`orbresearch.schema.RESULTS`.

    Raises
    ------
    BadInput
        An unknown column or a negative limit.
    """
    _check_columns("order_by", [order_by])
    names = _check_columns("columns", schema.RESULTS.names if columns is None else columns)
    rows = store.tables.results.c
    falling = order_by not in _TEXTS if descending is None else descending
    query = sa.select(*(rows[name] for name in names)).where(rows.run_id == run_id)
    query = query.order_by(*_order(store.tables.results, order_by, falling))
    return _read(store, _limited(query, "limit", limit), _types(names))


def read_best(
    store: Store,
    run_id: str,
    n: int,
    *,
    by: str = "sharpe_ratio",
    min_sessions: int = MIN_SESSIONS,
    unresolved: bool = False,
) -> pd.DataFrame:
    """Return the ``n`` rows with the highest ``by``, ties in the order of ``backtest_id``.

    Only resolved backtests with at least ``min_sessions`` traded sessions count, and only where ``by`` is defined.
    ``unresolved=True`` lets those in whose distances the bars cannot resolve.

    Raises
    ------
    BadInput
        ``by`` is no number column, or ``n`` is negative.
    """
    numbers = [name for name in schema.RESULTS.names if name not in _TEXTS]
    _check_columns("by", [by], numbers)
    rows = store.tables.results.c
    query = sa.select(*(rows[name] for name in schema.RESULTS.names)).where(
        rows.run_id == run_id, rows.sessions_traded >= int(min_sessions), rows[by].is_not(None)
    )
    query = query if unresolved else query.where(rows.resolved == 1)
    return _read(
        store, _limited(query.order_by(*_order(store.tables.results, by, True)), "n", n), _types(schema.RESULTS.names)
    )


def read_ranking(store: Store, run_id: str, n: int) -> pd.DataFrame:
    """Return the first ``n`` rows of the ranking by risk-adjusted win rate, as SQL computes it.

    ``(stop_distance / backtest_profit) * stop_count_limit``, descending, among rows with ``win_rate_percent > 0``;
    undefined (a profit of zero) last. Columns: the query's own five, then ticker, duration and parameters.
    """
    rows = store.tables.results.c
    rate = ((rows.stop_distance / rows.backtest_profit) * rows.stop_count_limit).label("risk_adjusted_win_rate")
    shown = (rows.backtest_profit, rows.win_rate_percent, rows.average_holding_period)
    query = (
        sa.select(rows.backtest_id, rate, *shown, *(rows[name] for name in _RANKING))
        .where(rows.run_id == run_id, rows.win_rate_percent > 0)
        .order_by(rate.desc(), rows.backtest_id)
    )
    types = _types(["backtest_id", *(column.name for column in shown), *_RANKING])
    first = {"backtest_id": types.pop("backtest_id"), "risk_adjusted_win_rate": pa.float64()}
    return _read(store, _limited(query, "n", n), {**first, **types})


def read_backtest(store: Store, backtest_id: str) -> dict[str, object]:
    """Return one backtest's row, ``trade_stats`` included; what is undefined is None.

    Raises
    ------
    BadInput
        No such backtest is stored.
    """
    table = store.tables.results
    with reading(store) as connection:
        found = connection.execute(sa.select(table).where(table.c.backtest_id == backtest_id)).mappings().first()
    if found is None:
        wrong = f"{backtest_id!r} is not in {store.where}"
        raise BadInput("backtest_id", wrong, "take one from the results; it may also not be persisted yet")
    row = {name: found[name] for name in table.columns.keys()}  # noqa: SIM118  (not a dict: iterates columns)
    if row["trade_stats"] is not None:
        row["trade_stats"] = json.loads(str(row["trade_stats"]))
    return row


def read_runs(store: Store) -> pd.DataFrame:
    """Return all runs, newest first, as stored (lists and JSON as text, ``created_at`` in UTC)."""
    return _read_runs(store, sa.true())


def read_family(store: Store, family: str) -> pd.DataFrame:
    """Return the runs of one family (the same work on other sessions), newest first."""
    return _read_runs(store, store.tables.runs.c.family == family)


def read_run(store: Store, run_id: str) -> dict[str, object] | None:
    """Return one run's facts as Python values, None when it is not stored."""
    table = store.tables.runs
    with reading(store) as connection:
        found = connection.execute(sa.select(table).where(table.c.run_id == run_id)).mappings().first()
    return None if found is None else decode_run({str(key): value for key, value in found.items()})


def fetch(store: Store, sql: str, params: Mapping[str, object] | None = None) -> pd.DataFrame:
    """Run one's own query; ``:name`` in it stands for ``params["name"]``. Nothing can be written with it.

    Raises
    ------
    BadInput
        What the database has to say about the query.
    """
    read_only = "SET SESSION TRANSACTION READ ONLY" if store.settings.is_mysql else "PRAGMA query_only = ON"
    with reading(store) as connection:
        connection.detach()  # closed afterwards: the next to borrow one may want to write
        connection.exec_driver_sql(read_only)
        try:
            result = connection.execute(sa.text(sql), dict(params or {}))
            return pd.DataFrame.from_records(result.fetchall(), columns=list(result.keys()), coerce_float=True)
        except (ProgrammingError, OperationalError, sa.exc.ResourceClosedError) as error:
            raise BadInput("query", reason_of(error), f"give one SELECT for {store.dialect}") from None


def _read_runs(store: Store, condition: sa.ColumnElement[bool]) -> pd.DataFrame:
    runs = store.tables.runs
    query = sa.select(runs).where(condition).order_by(runs.c.created_at.desc(), runs.c.run_id)
    return _read(store, query, {column.name: _arrow_type(column) for column in runs.columns})


def _read(store: Store, query: sa.Select[Any], types: Mapping[str, pa.DataType]) -> pd.DataFrame:
    """Return the query's rows with exactly these column types; NULL is NaN."""
    with reading(store) as connection:
        rows = connection.execute(query).fetchall()
    columns: Iterable[Sequence[object]] = zip(*rows, strict=True) if rows else ([] for _ in types)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types.values(), strict=True)]
    return pa.Table.from_arrays(arrays, names=list(types)).to_pandas(date_as_object=False)


def _types(names: Iterable[str]) -> dict[str, pa.DataType]:
    return {name: schema.RESULTS.field(name).type for name in names}


def _arrow_type(column: sa.Column[Any]) -> pa.DataType:
    if isinstance(column.type, sa.DateTime):
        return pa.timestamp("us", tz="UTC")
    if isinstance(column.type, sa.Date):
        return pa.date32()
    if isinstance(column.type, sa.Integer):
        return pa.int64()
    return pa.float64() if isinstance(column.type, sa.Double) else pa.string()


def _order(table: sa.Table, by: str, falling: bool) -> list[sa.ColumnElement[Any]]:
    """Return an ORDER BY that puts NULL last on both dialects and leaves no tie open."""
    key = table.c[by]
    terms: list[sa.ColumnElement[Any]] = [key.desc() if falling else key.asc()]
    if key.nullable:
        terms.insert(0, key.is_(None))
    return terms if by == "backtest_id" else [*terms, table.c.backtest_id.asc()]


def _limited(query: sa.Select[Any], what: str, limit: int | None) -> sa.Select[Any]:
    if limit is not None and limit < 0:
        raise BadInput(what, f"{limit} is negative", "give a number of rows")
    return query.limit(None if limit is None else int(limit))


def _check_columns(what: str, names: Sequence[str], known: Sequence[str] = schema.RESULTS.names) -> Sequence[str]:
    for name in names:
        if name not in known:
            raise BadInput(what, f"there is no column {name!r}", f"columns are {', '.join(known)}")
    return names


def persisted_rows(store: Store) -> dict[str, int]:
    """Return how many backtests of each run the ledger holds; runs without any are missing."""
    table = store.tables.chunks
    query = sa.select(table.c.run_id, sa.func.sum(table.c.row_count)).group_by(table.c.run_id)
    with reading(store) as connection:
        return {str(run_id): int(rows) for run_id, rows in connection.execute(query)}
