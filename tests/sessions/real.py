"""The real files, read twice: by the package, and row by row for whoever wants to check it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orbresearch import Sessions, load_sessions
from tests.sources import market

#: What was loaded is kept for all tests of a process: loading takes longer than most checks.
_remember = functools.lru_cache(maxsize=None)

CALENDAR_YEARS = ("2008-01-01", "2026-12-31")
calendar = _remember(lambda: market.calendar(*CALENDAR_YEARS))


@_remember
def _load(path: Path, ticker: str, options: tuple) -> Sessions:
    return load_sessions(path, ticker, cache=False, **dict(options))


def load(folder: Path, name: str, ticker: str, **options) -> Sessions:
    """Load one ticker of a real file through the package."""
    return _load(folder / f"{name}.parquet", ticker, tuple(sorted(options.items())))


@_remember
def _raw(path: Path, ticker: str) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    table = table.filter(pc.equal(table["ticker"], ticker))
    columns = [name for name in ("timestamp_utc", "open", "high", "low", "price") if name in table.column_names]
    return {name: table[name].to_numpy() for name in columns}


def raw(folder: Path, name: str, ticker: str) -> dict[str, np.ndarray]:
    """Read one ticker's rows as they are, in file order; times in seconds, floored."""
    columns = dict(_raw(folder / f"{name}.parquet", ticker))
    if columns["timestamp_utc"][0] > 10**12:
        columns["timestamp_utc"] = columns["timestamp_utc"] // 10**9
    return columns


@_remember
def bounds(day) -> tuple[int, int]:
    """Return a session's open and close by exchange_calendars, UTC epoch seconds."""
    return int(calendar().session_open(day).timestamp()), int(calendar().session_close(day).timestamp())
