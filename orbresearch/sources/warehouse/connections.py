"""Several connections to a warehouse at once; what a lost one has interrupted is done again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from orbresearch.errors import Unreachable
from orbresearch.sources.warehouse.layout import GREEKS, Layout, find_layout
from orbresearch.sources.warehouse.places import open_engine
from orbresearch.sql.failures import Place, is_lost, translated

_RETRY_SECONDS = (0.5, 2.0, 5.0)

log = logging.getLogger(__name__)


class Connected:
    """Lends connections to a warehouse, which is asked for the first time when the first is lent.

    Parameters
    ----------
    place : Place
    tables : (str, str)
        Those of options and of daily closes.
    columns : dict of str
        Canonical name -> the tables' own.
    connections : int
        Open at once.
    """

    def __init__(self, place: Place, tables: tuple[str, str], columns: dict[str, str], connections: int) -> None:
        self.place, self.columns, self.connections = place, columns, connections
        self.greeks, self.closes = tables
        self._lock, self._layouts = threading.Lock(), dict[str, Layout]()
        self._engine: sa.Engine | None = None

    def each(self, items: list[Any], work: Callable[[sa.Connection, Layout, Any], Any]) -> Iterator[Any]:
        """Yield ``work(connection, layout, item)`` of every item in order, over several connections at once.

        What a lost connection has interrupted is done again, up to three times.
        """
        with ThreadPoolExecutor(self.connections, "warehouse") as pool:
            futures = [pool.submit(self._retried, work, item) for item in items]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _retried(self, work: Callable[[sa.Connection, Layout, Any], Any], item: Any) -> Any:
        for pause in (*_RETRY_SECONDS, None):
            try:
                with self.reading(self.greeks, GREEKS) as (connection, layout):
                    return work(connection, layout, item)
            except Unreachable as error:
                if pause is None or not is_lost(error, was_there=bool(self._layouts)):
                    raise
                log.warning("%s", error)
                time.sleep(pause)
        raise AssertionError

    @contextmanager
    def reading(self, table: str, known: tuple[str, ...]) -> Iterator[tuple[sa.Connection, Layout]]:
        """Lend a connection and the layout of a table. What the driver raises becomes ``Unreachable``."""
        engine = self._open()
        with translated(self.place), engine.connect() as connection:
            with self._lock:
                if table not in self._layouts:
                    self._layouts[table] = self._look(connection, table, known)
            yield connection, self._layouts[table]

    def _look(self, connection: sa.Connection, table: str, known: tuple[str, ...]) -> Layout:
        own = {name: column for name, column in self.columns.items() if name in known}
        layout = find_layout(connection, self.place, table, known, own)
        if not layout.indexed and known == GREEKS:
            log.warning("%s has no index that begins with ticker and time: each session reads far more", table)
        return layout

    def _open(self) -> sa.Engine:
        with self._lock:
            if self._engine is None:
                schemas = tuple(table.rpartition(".")[0] for table in (self.greeks, self.closes) if "." in table)
                self._engine = open_engine(self.place, schemas, self.connections)
            return self._engine
