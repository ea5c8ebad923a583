"""The tables of the results database, for both dialects. :data:`orbresearch.schema.RESULTS` stays the one source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from orbresearch import schema
from orbresearch.errors import BadInput

SCHEMA_VERSION = 2  # of the tables; stored in store_info
RUN_ID_LENGTH = 16
KEPT_LENGTH = 200
BACKTEST_ID_LENGTH = 27  # run id, "-", ten digits
TICKER_LENGTH = 32
DEFAULT_RESULTS = "results"

_MYSQL = ("mysql", "mariadb")
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in _MYSQL
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"))
}
_TEXTS = {"backtest_id": BACKTEST_ID_LENGTH, "run_id": RUN_ID_LENGTH}
_INTEGERS = {pa.int8(): sa.SmallInteger, pa.int32(): sa.Integer, pa.int64(): sa.BigInteger}
_BESIDE_BEST = (
    "tickers",
    "first_session",
    "last_session",
    "path",
    "fill",
    "commission",
    "slippage",
    "source",
    "created_at",
)


@dataclass(frozen=True)
class Tables:
    """What a results database consists of. All but ``results`` carry its name in front unless it is the default."""

    metadata: sa.MetaData
    results: sa.Table
    runs: sa.Table
    chunks: sa.Table
    summaries: sa.Table
    info: sa.Table
    view: str

    @property
    def all(self) -> tuple[sa.Table, ...]:
        """Every table."""
        return self.results, self.runs, self.chunks, self.summaries, self.info


def make_tables(results: str = DEFAULT_RESULTS) -> Tables:
    """Return the table definitions for a results table of this name.

    Another name than the default also names the run table, the ledger and the view (``mine``: ``mine_runs``,
    ``mine_chunks``, ...): two results tables in one database each have a ledger that is true for them alone.

    Raises
    ------
    BadInput
        A name that is no plain SQL identifier of at most 48 characters.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,47}", results):
        raise BadInput("DB_TABLE", f"{results!r} is no table name", "use up to 48 letters, digits and underscores")
    prefix = "" if results == DEFAULT_RESULTS else f"{results}_"
    metadata = sa.MetaData()
    return Tables(
        metadata,
        _results(metadata, results),
        _runs(metadata, f"{prefix}runs"),
        _chunks(metadata, f"{prefix}chunks"),
        _summaries(metadata, f"{prefix}summaries"),
        _info(metadata, f"{prefix}store_info"),
        f"{prefix}best_per_run",
    )


def make_best_view(tables: Tables) -> sa.Select[Any]:
    """Return the query behind ``best_per_run``: per run the row that strategy.md calls best, and the run's facts."""
    rows = tables.results.c
    place = sa.func.row_number().over(partition_by=rows.run_id, order_by=(rows.sharpe_ratio.desc(), rows.backtest_id))
    names = schema.RESULTS.names
    ranked = (
        sa.select(*(rows[name] for name in names), place.label("place"))
        .where(rows.resolved == 1, rows.sessions_traded >= schema.MIN_SESSIONS, rows.sharpe_ratio.is_not(None))
        .subquery("ranked")
    )
    runs = tables.runs
    return (
        sa.select(*(ranked.c[name] for name in names), *(runs.c[name] for name in _BESIDE_BEST))
        .select_from(ranked.outerjoin(runs, runs.c.run_id == ranked.c.run_id))
        .where(ranked.c.place == 1)
    )


def _results(metadata: sa.MetaData, name: str) -> sa.Table:
    columns = [
        sa.Column(field.name, _sql_type(field), nullable=field.nullable, primary_key=field.name == "backtest_id")
        for field in schema.RESULTS
    ]
    stats = sa.Column("trade_stats", _long_text())  # JSON
    index = sa.Index(f"ix_{name}_run_id", "run_id")
    return sa.Table(name, metadata, *columns, stats, index, **_OPTIONS)


def _runs(metadata: sa.MetaData, name: str) -> sa.Table:
    def column(title: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
        return sa.Column(title, kind, nullable=False)

    return sa.Table(
        name,
        metadata,
        sa.Column("run_id", _ascii(RUN_ID_LENGTH), primary_key=True),
        column("family", _ascii(RUN_ID_LENGTH)),  # runs that differ in their sessions only
        column("created_at", _stamp()),  # UTC
        column("tickers", sa.Text()),  # comma separated
        column("first_session", sa.Date()),
        column("last_session", sa.Date()),
        column("sessions", sa.Integer()),
        column("range_durations", sa.Text()),  # seconds, comma separated
        column("bar_seconds", sa.Integer()),  # 0: ticks
        column("path", sa.String(8)),
        column("fill", sa.String(8)),
        column("commission", sa.Double()),  # dollars per share and fill
        column("slippage", sa.Double()),  # dollars per share and fill, resolved
        column("rules", _long_text()),  # JSON
        column("grid", _long_text()),  # JSON
        column("inputs", _long_text()),  # JSON
        column("quality", _long_text()),
        column("backtests", sa.BigInteger()),
        column("chunk_size", sa.BigInteger()),  # backtests
        column("source", sa.Text()),
        column("results_version", sa.Integer()),
        column("orbresearch_version", sa.String(32)),
        sa.Column("kept", sa.String(KEPT_LENGTH), nullable=False, server_default="all"),  # "all", or JSON of keep.Best
        sa.Column("finished_at", _stamp()),  # UTC: when the trades of its best were stored
        sa.Index(f"ix_{name}_family", "family"),
        **_OPTIONS,
    )


def _chunks(metadata: sa.MetaData, name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("run_id", _ascii(RUN_ID_LENGTH), primary_key=True),
        sa.Column("first", sa.BigInteger(), primary_key=True, autoincrement=False),  # index of its first backtest
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("persisted_at", _stamp(), nullable=False),  # UTC
        sa.Column("duration", sa.Double()),  # seconds of computing
        **_OPTIONS,
    )


def _summaries(metadata: sa.MetaData, name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("run_id", _ascii(RUN_ID_LENGTH), primary_key=True),
        sa.Column("input", sa.Integer(), primary_key=True, autoincrement=False),  # ticker by ticker, range by range
        sa.Column("part", sa.Integer(), primary_key=True, autoincrement=False),  # below what a statement may hold
        sa.Column("payload", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), *_MYSQL), nullable=False),
        **_OPTIONS,
    )


def _info(metadata: sa.MetaData, name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.SmallInteger(), primary_key=True, autoincrement=False),  # always 1
        sa.Column("uuid", _ascii(36), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("created_at", _stamp(), nullable=False),  # UTC
        **_OPTIONS,
    )


def _sql_type(field: pa.Field) -> sa.types.TypeEngine[Any]:
    if field.name in _TEXTS:
        return _ascii(_TEXTS[field.name])
    if pa.types.is_string(field.type):
        return sa.String(TICKER_LENGTH).with_variant(mysql.VARCHAR(TICKER_LENGTH, collation="utf8mb4_bin"), *_MYSQL)
    return sa.Double() if pa.types.is_floating(field.type) else _INTEGERS[field.type]()


def _ascii(length: int) -> sa.types.TypeEngine[Any]:
    """Return the type of an id: compared byte by byte, so that ids sort alike everywhere."""
    return sa.CHAR(length).with_variant(mysql.CHAR(length, charset="ascii", collation="ascii_bin"), *_MYSQL)


def _long_text() -> sa.types.TypeEngine[Any]:
    return sa.Text().with_variant(mysql.LONGTEXT(), *_MYSQL)


def _stamp() -> sa.types.TypeEngine[Any]:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
