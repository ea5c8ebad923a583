"""Reading results: tables with the same columns, types and order on both dialects, also when empty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from orbresearch import schema
from orbresearch.sql.select import fetch_frame
from orbresearch.store.blocks import read_table
from orbresearch.store.connection import Store, reading
from orbresearch.store.query import MOST_ROWS, NUMBERS, Query, check_columns, count_of, make_query
from orbresearch.store.records import decode_run

_RANKING = (
    "backtest_profit",
    "win_rate_percent",
    "average_holding_period",
    "ticker",
    "range_duration",
    *schema.PARAMETERS,
)


def persisted_chunks(store: Store, run_id: str) -> dict[int, int]:
    """Return the ledger of one run: index of a chunk's first backtest → rows persisted."""
    chunks = store.tables.chunks.c
    first = chunks["first"]
    query = sa.select(first, chunks.row_count).where(chunks.run_id == run_id).order_by(first)
    with reading(store) as connection:
        return {int(index): int(rows) for index, rows in connection.execute(query)}


def read_totals(store: Store) -> dict[str, tuple[int, int, str]]:
    """Return of every run, newest first: rows persisted (the ledger's word), backtests, tickers (comma-separated)."""
    runs, chunks = store.tables.runs.c, store.tables.chunks.c
    listed = sa.select(runs.run_id, runs.backtests, runs.tickers).order_by(runs.created_at.desc(), runs.run_id)
    counted = sa.select(chunks.run_id, sa.func.sum(chunks.row_count)).group_by(chunks.run_id)
    with reading(store) as connection:
        rows = {run_id: int(count) for run_id, count in connection.execute(counted)}
        found = connection.execute(listed).fetchall()
    return {run_id: (rows.get(run_id, 0), int(total), tickers) for run_id, total, tickers in found}


def read_results(store: Store, run_id: str | Iterable[str] | None = None, **options: Any) -> pd.DataFrame:
    """Return the rows of a run, of several or (None) of all.

    Parameters
    ----------
    store : Store
    run_id : str or iterable of str, optional
    **options
        As :func:`orbresearch.store.query.make_query` takes them.

    Raises
    ------
    BadInput
        See there.
    """
    return to_frame(read_rows(store, make_query(store.tables.results, run_id, **options)))


def read_rows(store: Store, query: Query) -> pa.Table:
    """Return all rows that a query asks for, typed as :data:`orbresearch.schema.RESULTS`; undefined is null."""
    tables, left = [query.shape.empty_table()], query.limit
    for part in query.parts():
        tables.append(read_table(store, part.statement(left), query.shape))
        left = None if left is None else left - tables[-1].num_rows
    return pa.concat_tables(tables)


def read_pages(store: Store, query: Query, rows: int) -> Iterator[pa.Table]:
    """Yield what :func:`read_rows` returns, ``rows`` rows at a time and no others in memory; only the last has fewer.

    Each page is a query of its own for what follows the last row seen. Nothing is held open in between, and rows stored
    meanwhile neither shift nor repeat any.
    """
    held = query.shape.empty_table()
    for table in _walk(store, query, rows):
        held = pa.concat_tables([held, table])
        if held.num_rows >= rows:
            yield held.slice(0, rows)
            held = held.slice(rows)
    if held.num_rows:
        yield held


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a DataFrame; null is NaN."""
    return table.to_pandas(date_as_object=False)


def read_best(
    store: Store,
    run_id: str,
    n: int,
    *,
    by: str = "sharpe_ratio",
    min_sessions: int = schema.MIN_SESSIONS,
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
    check_columns("by", [by], NUMBERS)
    resolved, limit = None if unresolved else True, count_of("n", n)
    where = {by: (-math.inf, math.inf), "sessions_traded": (int(min_sessions), None)}
    return read_results(store, run_id, where=where, order_by=by, descending=True, resolved=resolved, limit=limit)


def read_ranking(store: Store, run_id: str, n: int) -> pd.DataFrame:
    """Return the first ``n`` rows of the ranking by risk-adjusted win rate, as SQL computes it.

    ``(stop_distance / backtest_profit) * stop_count_limit``, descending, among rows with ``win_rate_percent > 0``;
    undefined (a profit of zero) last. Columns: the query's own five, then ticker, duration and parameters.
    """
    rows = store.tables.results.c
    rate = ((rows.stop_distance / rows.backtest_profit) * rows.stop_count_limit).label("risk_adjusted_win_rate")
    query = (
        sa.select(rows.backtest_id, rate, *(rows[name] for name in _RANKING))
        .where(rows.run_id == run_id, rows.win_rate_percent > 0)
        .order_by(rate.desc(), rows.backtest_id)
        .limit(count_of("n", n))
    )
    first = [schema.RESULTS.field("backtest_id"), pa.field("risk_adjusted_win_rate", pa.float64())]
    return to_frame(read_table(store, query, pa.schema([*first, *map(schema.RESULTS.field, _RANKING)])))


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
    return fetch_frame(store.engine, store.settings.place, sql, params)


def _walk(store: Store, query: Query, rows: int) -> Iterator[pa.Table]:
    """Yield the rows of a query in their order, at most ``rows`` of them by one SELECT."""
    left = MOST_ROWS if query.limit is None else query.limit
    for part in query.keyed().parts():
        after, full = None, True
        while full and left:
            table = read_table(store, part.statement(wanted := min(rows, left), after), part.shape)
            yield table.select(query.names)
            left, full = left - table.num_rows, table.num_rows == wanted
            after = tuple(table[name][-1].as_py() for name in (query.order_by, "backtest_id")) if full else None


def _read_runs(store: Store, condition: sa.ColumnElement[bool]) -> pd.DataFrame:
    runs = store.tables.runs
    query = sa.select(runs).where(condition).order_by(runs.c.created_at.desc(), runs.c.run_id)
    return to_frame(
        read_table(store, query, pa.schema([(column.name, _arrow_type(column)) for column in runs.columns]))
    )


def _arrow_type(column: sa.Column[Any]) -> pa.DataType:
    if isinstance(column.type, sa.DateTime):
        return pa.timestamp("us", tz="UTC")
    if isinstance(column.type, sa.Date):
        return pa.date32()
    if isinstance(column.type, sa.Integer):
        return pa.int64()
    return pa.float64() if isinstance(column.type, sa.Double) else pa.string()
