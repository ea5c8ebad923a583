"""Writing results: a chunk's rows and its ledger row in one transaction, so that doing it twice changes nothing."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from orbresearch.errors import Corrupt
from orbresearch.keep import order_of, read_keep
from orbresearch.sql.failures import is_duplicate, reason_of
from orbresearch.sql.loading import LoadRefused
from orbresearch.store.bulk import insert_mysql, insert_sqlite, load_mysql
from orbresearch.store.connection import Store, reading, utc_now, writing
from orbresearch.store.keeping import add_summaries, keep_best, lock_runs
from orbresearch.store.literals import check_batch, in_key_order
from orbresearch.store.records import encode_run
from orbresearch.summary import Summary

log = logging.getLogger(__name__)


def register_run(store: Store, record: Mapping[str, object]) -> bool:
    """Write one run's facts, unless they are there.

    Parameters
    ----------
    store : Store
    record : mapping
        One value per column of the table ``runs``; see :func:`orbresearch.store.records.encode_run`.

    Returns
    -------
    bool
        True if the run is new.
    """
    row = encode_run(store.tables.runs, record)
    with writing(store) as connection:
        return _insert_new(connection, store.tables.runs, row)


class Chunk(NamedTuple):
    """The results of one chunk, as they come off the stream.

    Parameters
    ----------
    first : int
        Index of the chunk's first backtest in its run: the ledger's key.
    batch : pyarrow.RecordBatch
        Rows as :data:`orbresearch.schema.RESULTS`. The schema's metadata may say ``seconds`` of computing; of a chunk
        that keeps its best only, what it ``kept`` and how many ``backtests`` it had.
    summaries : mapping of int to Summary
        Of all its backtests, by input, where not all rows are kept.
    order : str
        For what it was computed: :func:`orbresearch.keep.order_of`. "": whatever the run is.
    """

    run_id: str
    first: int
    batch: pa.RecordBatch
    summaries: Mapping[int, Summary] = MappingProxyType({})
    order: str = ""


def persist_chunk(store: Store, run_id: str, first: int, batch: pa.RecordBatch) -> int:
    """Write one chunk's rows and its ledger row: both or, whatever happens, neither. See :class:`Chunk`.

    Returns
    -------
    int
        Backtests new to the ledger: 0 when it has the chunk, or when the run is kept in another way by now.

    Raises
    ------
    Corrupt
        Rows that the table cannot hold, or that are there under another chunk. Nothing is written.
    Unreachable
        The database failed. Nothing is written.
    """
    return persist_chunks(store, [Chunk(run_id, first, batch)])[0]


def persist_chunks(store: Store, chunks: Iterable[Chunk | tuple[str, int, pa.RecordBatch]]) -> list[int]:
    """Write several chunks in one transaction: all of them or none.

    Small chunks go in faster together than one by one. Returns what :func:`persist_chunk` would for each, in the order
    given. After ``Corrupt``, which may not know whose rows are at fault, the sound ones can be written one by one.
    """
    checked = sorted(map(_check, chunks, itertools.count()), key=lambda chunk: chunk.key)
    try:
        written = _persist(store, checked)
    except LoadRefused as refusal:
        _insert_from_now_on(store, str(refusal))
        written = _persist(store, checked)
    return [written[place] for place in range(len(checked))]


@dataclass(frozen=True)
class _Checked:
    """A checked chunk, its rows in key order."""

    place: int  # among those given
    entry: Mapping[str, Any]  # row of the ledger
    batch: pa.RecordBatch
    kept: str
    summaries: Mapping[int, Summary]
    order: str

    @property
    def key(self) -> tuple[str, int]:
        return self.entry["run_id"], self.entry["first"]


def _check(chunk: Chunk | tuple[str, int, pa.RecordBatch], place: int) -> _Checked:
    run_id, first, batch, summaries, order = Chunk(*chunk)
    check_batch(batch, run_id, f"chunk {first} of run {run_id}")
    said = batch.schema.metadata or {}
    entry = {
        "run_id": run_id,
        "first": int(first),
        "row_count": int(said.get(b"backtests", batch.num_rows)),
        "persisted_at": utc_now(),
        "duration": float(said[b"seconds"]) if b"seconds" in said else None,
    }
    return _Checked(place, entry, in_key_order(batch), said.get(b"kept", b"all").decode(), summaries, order)


def _persist(store: Store, chunks: Sequence[_Checked]) -> dict[int, int]:
    """Write the ledger's rows, then the rows of the chunks that were not in it; return how many backtests of each."""
    with writing(store, rows=True) as connection:
        kept = lock_runs(connection, store, (chunk.key[0] for chunk in chunks))
        timely = [chunk for chunk in chunks if _is_wanted(chunk, kept.get(chunk.key[0]))]
        new = [chunk for chunk in timely if _insert_new(connection, store.tables.chunks, chunk.entry)]
        batches = [batch for batch in _to_keep(connection, store, new) if batch.num_rows]
        if batches:
            names = " or ".join(f"chunk {first} of run {run_id}" for run_id, first in (chunk.key for chunk in new))
            _insert_rows(connection, store, batches, names)
    written = {chunk.place: chunk.entry["row_count"] for chunk in new}
    return dict.fromkeys((chunk.place for chunk in chunks), 0) | written


def _is_wanted(chunk: _Checked, way: tuple[str, int] | None) -> bool:
    """Return whether a chunk was computed for the way in which its run is kept by now."""
    if way is None:
        return True
    return chunk.kept == way[0] and chunk.order in ("", order_of(chunk.key[0], *way))


def _to_keep(connection: sa.Connection, store: Store, chunks: Sequence[_Checked]) -> Iterator[pa.RecordBatch]:
    """Yield the rows to write; count what runs that keep their best do not write."""
    yield from (chunk.batch for chunk in chunks if chunk.kept == "all")
    best = [chunk for chunk in chunks if chunk.kept != "all"]
    for (run_id, kept), some in itertools.groupby(best, key=lambda chunk: (chunk.key[0], chunk.kept)):
        of_run, news = list(some), dict[int, list[Summary]]()
        for chunk in of_run:
            for at, summary in chunk.summaries.items():
                news.setdefault(at, []).append(summary)
        add_summaries(connection, store, run_id, news)
        keep = read_keep(kept)
        assert keep != "all"
        yield keep_best(connection, store, run_id, keep, [chunk.batch for chunk in of_run])


def _insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> bool:
    """Insert one row; False when its key is there. Every other complaint is raised."""
    try:
        connection.execute(table.insert(), row)
    except IntegrityError as error:
        if is_duplicate(error):
            return False
        raise
    return True


def _insert_rows(connection: sa.Connection, store: Store, batches: Sequence[pa.RecordBatch], what: str) -> None:
    """Write rows the fastest way that this connection knows; all of them, and without a warning, or raise."""
    table, expected = store.tables.results, sum(batch.num_rows for batch in batches)
    try:
        if not store.settings.is_mysql:
            written = insert_sqlite(connection, table, batches)
        elif connection.engine is store.loading.engine:
            written = load_mysql(connection, table, batches, what)
        else:
            written = insert_mysql(connection, table, batches, what)
    except (IntegrityError, DataError) as error:
        raise Corrupt(what, reason_of(error)) from None
    if written != expected:
        raise Corrupt(what, f"{written} of {expected} rows written")


def _insert_from_now_on(store: Store, refusal: str) -> None:
    store.loading.refusal = refusal
    log.warning(
        "rows go to %s by INSERT, which takes longer than LOAD DATA LOCAL INFILE: %s; where that is merely switched "
        "off, an administrator allows it by SET GLOBAL local_infile = 1",
        store.where,
        refusal,
    )
    if store.loading.engine is not None:
        store.loading.engine.dispose()


def unfinished_runs(store: Store) -> list[tuple[str, str, int]]:
    """Return id, what is kept and chunk size of runs that have all their backtests, but not the trades of the best."""
    runs, chunks = store.tables.runs.c, store.tables.chunks.c
    query = (
        sa.select(runs.run_id, runs.kept, runs.chunk_size)
        .join_from(store.tables.runs, store.tables.chunks, chunks.run_id == runs.run_id)
        .where(runs.finished_at.is_(None))
        .group_by(runs.run_id, runs.kept, runs.chunk_size, runs.backtests)
        .having(sa.func.sum(chunks.row_count) >= runs.backtests)
    )
    with reading(store) as connection:
        return [(run_id, kept, int(size)) for run_id, kept, size in connection.execute(query)]


def finish_run(store: Store, run_id: str, way: tuple[str, int], trade_stats: Mapping[str, str]) -> None:
    """Store the trades of a run's best backtests, as JSON by id, and that nothing is left to do for it.

    Nothing is stored where it is kept in another ``way`` (what is kept, chunk size) by now.
    """
    results, runs = store.tables.results, store.tables.runs
    with writing(store) as connection:
        if lock_runs(connection, store, [run_id]).get(run_id) != way:
            return
        for name, text in trade_stats.items():
            connection.execute(results.update().where(results.c.backtest_id == name).values(trade_stats=text))
        connection.execute(runs.update().where(runs.c.run_id == run_id).values(finished_at=utc_now()))
