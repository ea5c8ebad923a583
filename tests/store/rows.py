"""Rows to store, and other people's ways into the same database."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pymysql

from orbresearch import schema
from orbresearch.settings import StoreSettings

RUN, OTHER = "0123456789abcdef", "fedcba9876543210"


def make_batch(run_id: str = RUN, first: int = 0, n: int = 5, **columns: object) -> pa.RecordBatch:
    """Return `n` plausible rows; keyword arguments replace whole columns (one value: in every row)."""
    rng = np.random.default_rng([first, n])
    values = {field.name: _column(field, rng, n) for field in schema.RESULTS}
    values["backtest_id"] = [f"{run_id}-{index:010d}" for index in range(first, first + n)]
    values["run_id"], values["ticker"] = [run_id] * n, ["SPY"] * n
    values["resolved"], values["sessions_traded"] = [1] * n, [40] * n
    for name, given in columns.items():
        values[name] = list(given) if isinstance(given, list | tuple | np.ndarray) else [given] * n
    arrays = [pa.array(values[field.name], field.type, from_pandas=False) for field in schema.RESULTS]
    return pa.RecordBatch.from_arrays(arrays, schema=schema.RESULTS)


def _column(field: pa.Field, rng: np.random.Generator, n: int) -> list[object]:
    if pa.types.is_floating(field.type):
        return rng.normal(size=n).tolist()
    return rng.integers(1, 100, n).tolist()


def make_record(run_id: str = RUN, **changes: object) -> dict[str, object]:
    """Return the facts of one run."""
    return {
        "run_id": run_id,
        "family": "f" * 16,
        "tickers": ["SPY", "QQQ"],
        "first_session": date(2024, 1, 2),
        "last_session": date(2025, 12, 31),
        "sessions": 500,
        "range_durations": [300, 900],
        "bar_seconds": 60,
        "path": "nearer",
        "fill": "level",
        "commission": 0.0,
        "slippage": 0.01,
        "rules": {"side": "both", "entry_buffer": 0.1},
        "grid": {"stop_distance": [0.1, 0.2], "limit_distance": [None, 1.5]},
        "inputs": {"SPY": "a" * 32},
        "quality": "3 rows dropped",
        "backtests": 4000,
        "chunk_size": 1000,
        "source": "synthetic market, seed 0",
        "orbresearch_version": "0.1.0",
        **changes,
    }


def run_sql(settings: StoreSettings, *statements: str) -> list[tuple[object, ...]]:
    """Run statements as another tool would; return the last one's rows."""
    connection = _connect(settings)
    with closing(connection), closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
        rows = [tuple(row) for row in cursor.fetchall()]
        connection.commit()
    return rows


def _connect(settings: StoreSettings):
    if not settings.is_mysql:
        return sqlite3.connect(settings.sqlite)
    return pymysql.connect(
        host=settings.endpoint,
        port=settings.port,
        user=settings.username,
        password=settings.password.encode(),
        database=settings.database,
    )


def list_names(settings: StoreSettings) -> set[str]:
    """Return every table and view of the database."""
    query = "SHOW TABLES" if settings.is_mysql else "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    return {str(name) for (name,) in run_sql(settings, query)}


def start_python(code: str, settings: StoreSettings) -> subprocess.Popen[str]:
    """Run `code` in a process of its own, with `settings` and everything of this file at hand."""
    facts = {**settings.__dict__, "sqlite": str(settings.sqlite)}
    prelude = (
        "import json, os, time\n"
        "from pathlib import Path\n"
        "from orbresearch.settings import StoreSettings\n"
        "from orbresearch.store import connection, reader, writer\n"
        "from tests.store.rows import *\n"
        "facts = json.loads(os.environ['FACTS'])\n"
        "settings = StoreSettings(**{**facts, 'sqlite': Path(facts['sqlite'])})\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", prelude + code],
        env={**os.environ, "PYTHONPATH": path, "FACTS": json.dumps(facts)},
        stdout=subprocess.PIPE,
        text=True,
    )
