"""``load_sessions``: from a file or a DataFrame to sessions, through the cache."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from orbresearch.errors import BadInput, Corrupt
from orbresearch.rules import to_nanos
from orbresearch.schema import CACHE_VERSION
from orbresearch.sessions.bars import PATHS
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, schedule_around
from orbresearch.sessions.dataset import Sessions, build_sessions
from orbresearch.sessions.series import content_hash
from orbresearch.settings import read_settings
from orbresearch.sources.cache import load_cached, save_sessions
from orbresearch.sources.tables import PriceTable, Reading, describe, file_hash, open_table, read_rows

log = logging.getLogger(__name__)


@overload
def load_sessions(
    source: Any,
    ticker: str,
    *,
    start: Any = ...,
    end: Any = ...,
    bar: int | str | None = ...,
    stamp: str | None = ...,
    path: str = ...,
    tz: str | None = ...,
    columns: Mapping[str, str] | None = ...,
    increment: float | None = ...,
    calendar: str = ...,
    cache: bool = ...,
) -> Sessions: ...
@overload
def load_sessions(
    source: Any,
    ticker: list[str] | tuple[str, ...],
    *,
    start: Any = ...,
    end: Any = ...,
    bar: int | str | None = ...,
    stamp: str | None = ...,
    path: str = ...,
    tz: str | None = ...,
    columns: Mapping[str, str] | None = ...,
    increment: float | None = ...,
    calendar: str = ...,
    cache: bool = ...,
) -> dict[str, Sessions]: ...
def load_sessions(
    source: Any,
    ticker: str | list[str] | tuple[str, ...],
    *,
    start: Any = None,
    end: Any = None,
    bar: int | str | None = "auto",
    stamp: str | None = None,
    path: str = "nearer",
    tz: str | None = None,
    columns: Mapping[str, str] | None = None,
    increment: float | None = None,
    calendar: str = DEFAULT_CALENDAR,
    cache: bool = True,
) -> Sessions | dict[str, Sessions]:
    """Load one ticker's sessions, or several tickers' as a mapping.

    Parameters
    ----------
    source : path or DataFrame
        Parquet, CSV (plain, .gz, .bz2, .zst) or a DataFrame. Default columns: ``timestamp_utc``, ``ticker`` (optional),
        ``price``; for bars ``open``, ``high``, ``low`` and ``price`` or ``close``. A ``volume`` (also called vol, size,
        qty or quantity) is read where there is one.
    ticker : str or list of str
        Which ticker; of a source without a ticker column, what to call it.
    start, end : date-like, optional
        First and last session, both inclusive.
    bar : int, "auto" or None
        Seconds of a bar; 0 or None reads closes as single prices; "auto" takes bars where there are OHLC columns, with
        their commonest spacing.
    stamp : "start" or "end", optional
        What a bar's time says. Default: what a Parquet file's metadata says (``bar_label``), else what the data settle.
    path : "nearer" or "farther"
        Which extreme of a bar comes first: the one nearer its open, or the other. A guess: look at both.
    tz : str, optional
        Zone of times that name none.
    columns : mapping, optional
        Canonical name -> the source's own name: ``{"timestamp_utc": "Date", "price": "Close"}``; ``"volume": None``
        leaves a column of that name alone.
    increment : float, optional
        Dollars; default: the coarsest of .01, .005, .001, .0005, .0001 that holds every price.
    calendar : str
        Exchange code; only its sessions are kept.
    cache : bool
        Whether a file's sessions are kept in ``cached_data/``, so that the next call need not read the file again.

    Returns
    -------
    Sessions or dict of Sessions

    Raises
    ------
    BadInput
        Whatever cannot be read, by file, column, row or value, with what would be right.
    """
    if path not in PATHS:
        raise BadInput("path", f"{path!r} is no path inside a bar", f"choose one of {', '.join(PATHS)}")
    reading = Reading(bar, stamp, tz, columns, calendar)
    start, end = _date("start", start), _date("end", end)
    if start is not None and end is not None and end < start:
        raise BadInput("end", f"{end} lies before start {start}", "exchange them")
    tickers = [ticker] if isinstance(ticker, str) else list(ticker)
    if not tickers or not all(isinstance(name, str) and name for name in tickers):
        raise BadInput("ticker", f"{ticker!r} names none", "give a ticker, or a list of them")
    nanos = None if increment is None else _increment_nanos(increment)
    loader = _Loader(source, reading, path, nanos, cache)
    found = {name: loader.load(name, start, end) for name in tickers}
    for item in found.values():
        item.ready()
    return found[ticker] if isinstance(ticker, str) else found


class _Loader:
    """One source and its options: opens the source at the first ticker that the cache cannot serve."""

    def __init__(self, source: Any, reading: Reading, path: str, nanos: int | None, cache: bool) -> None:
        self.where = describe(source)
        self.source, self.reading, self.path, self.nanos = source, reading, path, nanos
        is_file = isinstance(source, (str, Path))
        self.cached_data = read_settings().cached_data if cache and is_file else None
        self.content = file_hash(Path(source)) if self.cached_data else ""
        self.prices: PriceTable | None = None

    def load(self, ticker: str, start: Any, end: Any) -> Sessions:
        """Return one ticker's sessions, from the cache where it holds them."""
        if self.cached_data is None:
            return self.read(ticker).between(start, end)
        fingerprint = self.fingerprint(ticker)
        try:
            found = load_cached(self.cached_data, ticker, fingerprint, start, end)
        except Corrupt as error:
            log.warning("%s; reading %s again", error, self.where)
            found = None
        if found is None:
            found = replace(self.read(ticker), fingerprint=fingerprint)
            try:
                save_sessions(self.cached_data, found)
            except OSError as error:
                log.warning("%s is not cached: %s", ticker, error)
        return replace(found.between(start, end), source=self.where)

    def fingerprint(self, ticker: str) -> str:
        """Return the hash of source, options and content under which a ticker is cached."""
        options = {**self.reading.__dict__, "columns": dict(self.reading.columns or {})}
        parts = [CACHE_VERSION, self.content, ticker, self.path, self.nanos, options]
        return content_hash(json.dumps(parts, sort_keys=True, default=str).encode())

    def read(self, ticker: str) -> Sessions:
        """Read one ticker from the source."""
        if self.prices is None:
            self.prices = open_table(self.source, self.reading.columns)
        rows = read_rows(self.prices, ticker, self.reading)
        schedule = schedule_around(self.reading.calendar, int(rows.time.min()), int(rows.time.max()))
        return build_sessions(rows, schedule, self.path, self.nanos, self.where)


def _increment_nanos(increment: Any) -> int:
    number = isinstance(increment, (int, float)) and not isinstance(increment, bool)
    if not number or not 1e-9 <= increment < 1e9:  # NaN is in no interval
        raise BadInput("increment", f"{increment!r} is no amount above 0", "give dollars, such as .01")
    return to_nanos(increment)


def _date(name: str, given: Any) -> Any:
    """Return a date-like argument as datetime64[D], None as None."""
    if given is None:
        return None
    text = str(given)[:10]
    try:
        found: Any = np.datetime64(text if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else "NaT", "D")
    except ValueError:
        found = np.datetime64("NaT")
    if np.isnat(found):
        raise BadInput(name, f"{given!r} is no date", "give e.g. 2024-03-26")
    return found
