"""Sessions from the warehouse: fetched over several connections at once, cached one by one, and only once."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from orbresearch.console import somebody_looks, tell
from orbresearch.errors import BadInput, Corrupt, Unreachable
from orbresearch.schema import CACHE_VERSION
from orbresearch.sessions.calendar import Schedule, schedule_around
from orbresearch.sessions.dataset import Sessions, build_sessions
from orbresearch.sessions.quality import Quality
from orbresearch.sessions.rows import INCREMENTS, Rows, rounds_to_price
from orbresearch.sessions.series import content_hash
from orbresearch.sources.cache import SessionSaver, load_cached, save_empty
from orbresearch.sources.manifests import cache_folder, drop_sessions, known_sessions, read_manifest
from orbresearch.sources.warehouse.layout import Layout
from orbresearch.sources.warehouse.prices import Seconds, read_seconds, read_volatility

if TYPE_CHECKING:
    import sqlalchemy as sa

    from orbresearch.sources.warehouse.warehouse import Warehouse

_SETTLED_SECONDS = 3600  # after its close, from when on a session is taken for complete
_NAMES_SHOWN = 5

log = logging.getLogger(__name__)


class Collector:
    """Loads tickers of a warehouse through the cache.

    Parameters
    ----------
    warehouse : Warehouse
    calendar : str
        Exchange code.
    nanos : int, optional
        The increment; default: the coarsest that holds every price of the sessions that are loaded.
    cached_data : Path, optional
        None: nothing is kept.
    """

    def __init__(self, warehouse: Warehouse, calendar: str, nanos: int | None, cached_data: Path | None) -> None:
        self.warehouse, self.calendar, self.nanos, self.cached_data = warehouse, calendar, nanos, cached_data

    def tickers(self) -> list[str]:
        """Return all tickers of the warehouse."""
        return self.warehouse.tickers()

    def load(self, ticker: str, start: Any, end: Any) -> Sessions:
        """Return one ticker's sessions from date ``start`` to ``end``; what is cached is not asked for again."""
        schedule = self._schedule(ticker, start, end)
        found = self._load(ticker, schedule)
        if found is None:
            remembered = self.cached_data is not None and _Ticker(self, ticker, self.cached_data).remembers(schedule)
            wrong = f"no prices from {schedule.labels[0]} to {schedule.labels[-1]} in {self.warehouse.where}"
            fix = "check the ticker and the dates"
            fix += f'; if they came after it was asked first, orb.forget("{ticker}")' if remembered else ""
            raise BadInput(f"ticker {ticker}", wrong, fix)
        asked, first, last = schedule.labels, found.schedule.labels[0], found.schedule.labels[-1]
        if first > asked[0] or last < asked[-1]:  # what is missing in between, the report says
            log.warning("%s has prices from %s to %s only, not from %s to %s", ticker, first, last, asked[0], asked[-1])
        return found

    def _load(self, ticker: str, schedule: Schedule) -> Sessions | None:
        """Load through the cache; through a folder that goes afterwards where nothing is, or can be, kept."""
        if self.cached_data is not None:
            try:
                return _Ticker(self, ticker, self.cached_data).load(schedule)
            except Unreachable:  # which is an OSError too
                raise
            except OSError as error:
                log.warning("%s is not cached: %s", ticker, error)
        with tempfile.TemporaryDirectory(prefix="orb-") as folder:
            return _Ticker(self, ticker, Path(folder)).load(schedule)

    def _schedule(self, ticker: str, start: Any, end: Any) -> Schedule:
        """Return the sessions that are asked for and over; without dates, all that the warehouse has."""
        if start is None or end is None:
            span = self.warehouse.span(ticker)
            if span is None:
                raise BadInput(f"ticker {ticker}", f"no prices in {self.warehouse.where}", "check the ticker")
            first, last = (pd.Timestamp(second, unit="s").date() for second in span)
            start, end = start if start is not None else first, end if end is not None else last
            if str(end) < str(start):
                wrong = f"{self.warehouse.where} has prices from {first} to {last} only"
                raise BadInput(f"ticker {ticker}", wrong, "give other dates")
        first, last = (int(pd.Timestamp(str(day)).timestamp()) for day in (start, end))
        schedule = schedule_around(self.calendar, min(first, last), max(first, last)).between(start, end)
        over = schedule.closes + _SETTLED_SECONDS <= time.time()
        if not over.all():
            log.warning("%s is not over, or only just: left out", schedule.labels[~over][0])
        kept = schedule.between(None, schedule.labels[over][-1]) if over.any() else None
        if kept is None or not len(kept):
            wrong = f"{self.calendar} has no session from {start} to {end} that is over"
            raise BadInput(f"ticker {ticker}", wrong, "give other dates")
        return kept


class _Ticker:
    """One ticker of a warehouse, and the folder of its sessions."""

    def __init__(self, collector: Collector, ticker: str, cached_data: Path) -> None:
        self.warehouse, self.nanos = collector.warehouse, collector.nanos
        self.ticker, self.cached_data = ticker, cached_data
        parts = CACHE_VERSION, self.warehouse.identity, ticker, collector.calendar, self.nanos
        self.fingerprint = content_hash(repr(parts).encode())
        self.folder = cache_folder(cached_data, ticker, self.fingerprint)

    def load(self, schedule: Schedule) -> Sessions | None:
        """Return the sessions of a schedule; fetch what is missing or damaged."""
        dates = schedule.labels[0], schedule.labels[-1]
        self._warn(schedule)
        while True:
            empty = {label for label, entry in self._known(schedule).items() if not entry["observations"]}
            missing = self._missing(schedule)
            if len(missing):
                empty |= self._fetch(schedule, missing)
            if len(empty) == len(schedule):
                return None
            try:
                found = load_cached(self.cached_data, self.ticker, self.fingerprint, *dates)
            except Corrupt as error:
                log.warning("%s; fetching it again", error)
                drop_sessions(self.folder, [Path(error.what).stem])
                continue
            labels = set(map(str, schedule.labels)) - empty
            if found is not None and labels <= set(map(str, found.schedule.labels)):  # else somebody forgets meanwhile
                return replace(found, source=self.warehouse.where)

    def remembers(self, schedule: Schedule) -> bool:
        """Return whether any session of a schedule is taken for empty without asking again."""
        return any(not entry["observations"] for entry in self._known(schedule).values())

    def _known(self, schedule: Schedule) -> dict[str, Any]:
        known = known_sessions(self.folder)
        return {label: known[label] for label in map(str, schedule.labels) if label in known}

    def _gone(self, known: dict[str, Any]) -> set[str]:
        """Return the sessions whose file is gone."""
        full = [label for label, entry in known.items() if entry["observations"]]
        return {label for label in full if not (self.folder / f"{label}.parquet").exists()}

    def _warn(self, schedule: Schedule) -> None:
        """Say which of the files that were cached cannot be used any more."""
        try:
            read_manifest(self.folder)
        except Corrupt as error:
            log.warning("%s; fetching all of its sessions again", error)
        for label in sorted(self._gone(self._known(schedule))):
            log.warning("%s is gone; fetching it again", self.folder / f"{label}.parquet")

    def _missing(self, schedule: Schedule) -> Schedule:
        """Return the sessions that are not cached, or whose file is gone."""
        known = self._known(schedule)
        there = known.keys() - self._gone(known)
        return _chosen(schedule, np.array([str(label) not in there for label in schedule.labels], bool))

    def _fetch(self, schedule: Schedule, missing: Schedule) -> set[str]:
        """Fetch what is missing of a schedule, and cache each session as it comes; return those without a price."""
        from tqdm.auto import tqdm

        began, returned, empty = time.monotonic(), 0, []
        bar = tqdm(total=len(missing), desc=self.ticker, unit="session", leave=False, disable=not somebody_looks())
        try:
            with bar, SessionSaver(self.cached_data) as saver:
                work = self._reader(missing, saver)
                for i, count in enumerate(self.warehouse.each(list(range(len(missing))), work)):
                    returned += count
                    empty += [i] * (count == 0)
                    bar.update()
        except Unreachable as error:
            raise self._interrupted(error, schedule) from None
        nothing = _chosen(missing, np.isin(np.arange(len(missing)), empty))
        self._remember(nothing)
        tell(f"Returned {returned} rows of data in {time.monotonic() - began:.2f} seconds.")
        return set(map(str, nothing.labels))

    def _remember(self, empty: Schedule) -> None:
        """Write down which sessions the warehouse has nothing of, so that they are not asked for again.

        Those after the last session with prices are: the warehouse may only not have been filled so far.
        """
        full = [label for label, entry in known_sessions(self.folder).items() if entry["observations"]]
        before = np.array([str(label) < max(full, default="") for label in empty.labels], bool)
        save_empty(self.cached_data, self._head(), _chosen(empty, before))

    def _reader(self, missing: Schedule, saver: SessionSaver) -> Any:
        """Return what fetches and caches a session, given a connection; it returns how many rows came."""

        def read(connection: sa.Connection, layout: Layout, i: int) -> int:
            one = _chosen(missing, np.arange(len(missing)) == i)
            seconds = read_seconds(connection, layout, self.ticker, int(one.opens[0]), int(one.closes[0]))
            if not rounds_to_price(seconds.price, self.nanos or INCREMENTS[-1]).any():
                return 0
            session = self._build(seconds, one)
            if self.warehouse.volatility:
                session = self._with_volatility(connection, layout, session)
            saver.save(session)
            return seconds.returned

        return read

    def _build(self, seconds: Seconds, schedule: Schedule) -> Sessions:
        """Return a session, and what the server has reduced counted in its report."""
        rows = Rows(self.ticker, seconds.time, seconds.price)
        made = build_sessions(rows, schedule, "nearer", self.nanos, self.warehouse.where, self.fingerprint)
        overruled = seconds.rows - len(seconds.time)
        table = made.quality.assign(rows=made.quality["rows"] + overruled, overruled=overruled)
        facts = {**(made.quality.facts or {}), "rows": seconds.rows}
        return replace(made, quality=Quality(table, facts))

    def _with_volatility(self, connection: sa.Connection, layout: Layout, session: Sessions) -> Sessions:
        opened, closed = int(session.schedule.opens[0]), int(session.schedule.closes[0])
        last = min(opened + self.warehouse.volatility - 1, closed)
        at = opened + session.columns["time"].astype(np.int64)
        found = read_volatility(connection, layout, self.ticker, at, opened, last)
        return (
            session if found is None else replace(session, volatility=replace(found, seconds=self.warehouse.volatility))
        )

    def _head(self) -> dict[str, Any]:
        facts = {"ticker": self.ticker, "bar_seconds": 0, "path": "", "source": self.warehouse.where}
        return {**facts, "fingerprint": self.fingerprint}

    def _interrupted(self, error: Unreachable, schedule: Schedule) -> Unreachable:
        """Return the error with what is cached by now, and what is missing."""
        missing = self._missing(schedule).labels
        done = len(schedule) - len(missing)
        if not done:
            return error
        shown = ", ".join(map(str, missing[:_NAMES_SHOWN])) + (" …" if len(missing) > _NAMES_SHOWN else "")
        fix = f"{error.fix} ({done} of {len(schedule)} sessions of {self.ticker} are cached, missing are {shown})"
        return Unreachable(error.service, error.where, error.reason, fix)


def _chosen(schedule: Schedule, keep: Any) -> Schedule:
    columns = schedule.labels[keep], schedule.opens[keep], schedule.closes[keep]
    return Schedule(schedule.calendar, schedule.timezone, *columns)
