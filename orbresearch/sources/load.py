"""``load_sessions``: from a file or a DataFrame to sessions, through the cache."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from orbresearch.errors import BadInput, Corrupt
from orbresearch.rules import to_nanos
from orbresearch.schema import CACHE_VERSION
from orbresearch.sessions.bars import PATHS
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, schedule_around
from orbresearch.sessions.dataset import Sessions, build_sessions
from orbresearch.sessions.dates import read_date
from orbresearch.sessions.quality import Quality
from orbresearch.sessions.series import content_hash
from orbresearch.sessions.splits import apply_splits, read_splits
from orbresearch.settings import read_settings
from orbresearch.sources.cache import load_cached, save_sessions
from orbresearch.sources.files.files import file_hash
from orbresearch.sources.files.folders import find_source
from orbresearch.sources.files.reading import Remarks, read_rows
from orbresearch.sources.files.tables import Prices, Reading, describe, open_table

log = logging.getLogger(__name__)
READING_VERSION = 2  # raised when the same file under the same options is read as something else


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
    columns: Mapping[str, Any] | None = ...,
    layout: str | None = ...,
    increment: float | None = ...,
    calendar: str = ...,
    splits: Any = ...,
    cache: bool = ...,
) -> Sessions: ...
@overload
def load_sessions(
    source: Any,
    ticker: list[str] | tuple[str, ...] | None = ...,
    *,
    start: Any = ...,
    end: Any = ...,
    bar: int | str | None = ...,
    stamp: str | None = ...,
    path: str = ...,
    tz: str | None = ...,
    columns: Mapping[str, Any] | None = ...,
    layout: str | None = ...,
    increment: float | None = ...,
    calendar: str = ...,
    splits: Any = ...,
    cache: bool = ...,
) -> dict[str, Sessions]: ...
def load_sessions(
    source: Any,
    ticker: str | list[str] | tuple[str, ...] | None = None,
    *,
    start: Any = None,
    end: Any = None,
    bar: int | str | None = "auto",
    stamp: str | None = None,
    path: str = "nearer",
    tz: str | None = None,
    columns: Mapping[str, Any] | None = None,
    layout: str | None = None,
    increment: float | None = None,
    calendar: str = DEFAULT_CALENDAR,
    splits: Any = None,
    cache: bool = True,
) -> Sessions | dict[str, Sessions]:
    """Load one ticker's sessions, or several tickers' as a mapping.

    Parameters
    ----------
    source : path, DataFrame or Warehouse
        A file: Parquet, CSV (plain, .gz, .bz2, .zst; separated by comma, semicolon or tab) or a .zip of CSV files; a
        folder of such files, searched to its bottom; a DataFrame. Default columns: ``timestamp_utc`` (or the only one
        called timestamp, time, datetime or date), ``ticker`` (optional), ``price``; for bars ``open``, ``high``,
        ``low`` and ``price`` or ``close``; in any case. A ``volume`` (also called vol, size, qty or quantity) is read
        where there is one. ``underlying`` is the price where there is no other; with ``delta`` and
        ``implied_volatility`` beside single prices, opening ranges have an ``avg_vol``. Of an ``orb.Warehouse``,
        sessions that are over are fetched, each once.
    ticker : str or list of str, optional
        Which ticker; of a file without a ticker column, what to call it. In a folder such a file is the ticker's if its
        name says so: SPY.csv, SPY_2024.csv, SPY/2024.csv, ticker=SPY/2024.csv. Without it: all that the source names.
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
        Canonical name -> the source's own name: ``{"timestamp_utc": "When", "price": "Last"}``; a date and a time of
        day that stand apart are joined: ``{"timestamp_utc": ("Date", "Time")}``; ``"volume": None`` leaves a column of
        that name alone.
    layout : "quantconnect", optional
        The folder is a Lean data folder (the one that holds ``equity``): US trades by minute, second or tick, chosen by
        ``bar``: 60, 1 or 0; "auto" is the finest there is, and the report says which. Suspicious ticks take no part.
    increment : float, optional
        Dollars; default: the coarsest of .01, .005, .001, .0005, .0001 that holds every price of the ticker in the
        source; of a warehouse, in the sessions asked for.
    calendar : str
        Exchange code; only its sessions are kept.
    splits : DataFrame or iterable of (ticker, date, ratio), optional
        Splits that the prices are not adjusted for: ``[("NVDA", "2024-06-10", 10)]`` is 10-for-1 on that date's open,
        .1 a reverse split; other tickers' take no part. Trades stay in the dollars of their day; what looks back over
        a split (``gap``, ``atr``, ``stretch``, ``relative_volume``, pictures) is in one share's dollars.
    cache : bool
        Whether sessions of files and warehouses are kept in ``cached_data/``, so that the next call need not read them
        from there again: see ``orb.cached`` and ``orb.forget``.

    Returns
    -------
    Sessions or dict of Sessions

    Raises
    ------
    BadInput
        Whatever cannot be read, by file, column, row or value, with what would be right.
    Unreachable
        A warehouse that does not answer, or goes away in the middle: sessions that are complete by then are cached, and
        the message says which are missing.

    Notes
    -----
    Rows of several files follow each other in the order of the files' names, before anything is judged: the same second
    twice is two rows of a second, the later of which stands. All files of a ticker have the same columns.
    """
    if isinstance(source, (str, Path)) and str(source).startswith("~"):
        source = Path(source).expanduser()
    if path not in PATHS:
        raise BadInput("path", f"{path!r} is no path inside a bar", f"choose one of {', '.join(PATHS)}")
    reading = Reading(bar, stamp, tz, columns, calendar, layout)
    start, end = read_date("start", start), read_date("end", end)
    if start is not None and end is not None and end < start:
        raise BadInput("end", f"{end} lies before start {start}", "exchange them")
    tickers = None if ticker is None else [ticker] if isinstance(ticker, str) else list(ticker)
    if tickers is not None and (not tickers or not all(isinstance(name, str) and name for name in tickers)):
        raise BadInput("ticker", f"{ticker!r} names none", "give a ticker, or a list of them")
    nanos = None if increment is None else _increment_nanos(increment)
    declared = read_splits(splits)
    if _is_warehouse(source):
        from orbresearch.sources.warehouse.collect import Collector  # files need no SQLAlchemy

        _refuse_reading(reading, path)
        loader: Any = Collector(source, calendar, nanos, read_settings().cached_data if cache else None)
    else:
        loader = _Loader(source, reading, path, nanos, cache, tickers)
    names = loader.tickers() if tickers is None else tickers
    found = {name: apply_splits(loader.load(name, start, end), declared) for name in names}
    for item in found.values():
        item.ready()
    return found[ticker] if isinstance(ticker, str) else found


def list_tickers(
    source: Any, *, columns: Mapping[str, Any] | None = None, layout: str | None = None, **_: Any
) -> list[str]:
    """Return the tickers of a source, in alphabetical order; ``columns`` and ``layout`` as of :func:`load_sessions`."""
    if _is_warehouse(source):
        return list(source.tickers())
    return _Loader(source, Reading(columns=columns, layout=layout), PATHS[0], None, False, None).tickers()


def _is_warehouse(source: Any) -> bool:
    """Return whether a source is one, without loading SQLAlchemy to find out."""
    return hasattr(source, "opening_ranges") and not isinstance(source, type)


def _refuse_reading(reading: Reading, path: str) -> None:
    """Refuse options that say how to read a file where the source is a warehouse."""
    usual = {"stamp": None, "tz": None, "columns": None, "layout": None}
    given = [name for name, value in usual.items() if getattr(reading, name) != value]
    given += ["bar"] * (reading.bar not in ("auto", None, 0)) + ["path"] * (path != PATHS[0])
    if given:
        raise BadInput(f"{given[0]}=", "a warehouse holds single prices at UTC seconds", "leave it out")


class _Loader:
    """One source and its options: opens the source at the first ticker that the cache cannot serve."""

    def __init__(
        self, source: Any, reading: Reading, path: str, nanos: int | None, cache: bool, wanted: list[str] | None
    ) -> None:
        self.where = describe(source)
        self.source, self.reading, self.path, self.nanos = find_source(source, reading, wanted), reading, path, nanos
        is_file = isinstance(source, (str, Path))
        self.cached_data = read_settings().cached_data if cache and is_file else None
        self.content = file_hash(Path(source)) if self.cached_data and self.source is source else ""
        self.prices: Prices | None = None

    def tickers(self) -> list[str]:
        """Return all tickers of the source."""
        found = self.open().tickers
        if not found:
            raise BadInput(
                self.where, "it names no tickers", 'say what to call its own, as in load_sessions(path, "SPY")'
            )
        return found

    def open(self) -> Prices:
        """Open the source where it is not yet."""
        if self.prices is None:
            self.prices = open_table(self.source, self.reading.columns)
        return self.prices

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
        content = self.content or self.source.hash(ticker)
        parts = [CACHE_VERSION, READING_VERSION, content, ticker, self.path, self.nanos, options]
        return content_hash(json.dumps(parts, sort_keys=True, default=str).encode())

    def read(self, ticker: str) -> Sessions:
        """Read one ticker from the source."""
        rows, remarks = read_rows(self.open(), ticker, self.reading)
        schedule = schedule_around(self.reading.calendar, int(rows.time.min()), int(rows.time.max()))
        return _remark(build_sessions(rows, schedule, self.path, self.nanos, self.where), remarks)


def _remark(sessions: Sessions, remarks: Remarks) -> Sessions:
    """Add to the report what only the files show."""
    facts = {**(sessions.quality.facts or {}), **({"remarks": remarks} if remarks else {})}
    return replace(sessions, quality=Quality(sessions.quality, facts))


def _increment_nanos(increment: Any) -> int:
    number = isinstance(increment, (int, float)) and not isinstance(increment, bool)
    if not number or not 1e-9 <= increment < 1e9:  # NaN is in no interval
        raise BadInput("increment", f"{increment!r} is no amount above 0", "give dollars, such as .01")
    return to_nanos(increment)
