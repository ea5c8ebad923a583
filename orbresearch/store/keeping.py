"""What a run keeps: agreed before it is computed, and held to with every chunk that arrives.

A run keeps its rows in one way at a time; ``runs.kept`` says which, and the ledger's rows are of chunks kept so. While
one transaction writes for a run, its row of ``runs`` is locked: two reapers cannot both think theirs the best.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from orbresearch.keep import Best
from orbresearch.store.connection import Store, reading, writing
from orbresearch.summary import Summary, merge, write_summaries
from orbresearch.summary import read_summaries as read_payload

_PART_BYTES = 2**20  # of a summary in one row: MySQL's client doubles it, servers allow 16 MB and more
_IDS_AT_ONCE = 1000


def agree_keep(store: Store, run_id: str, kept: str, chunk_size: int, anew: bool = True) -> bool:
    """Have a run kept in this way, in chunks of this size; return whether it is.

    One that is kept in another way is emptied for it: rows, ledger and summaries, in one transaction.

    Parameters
    ----------
    kept : str
        As :func:`orbresearch.keep.write_keep` gives it.
    chunk_size : int
        Backtests per chunk of the new ledger.
    anew : bool
        Whether to empty it; where not, it stays as it is.
    """
    tables = store.tables
    with writing(store) as connection:
        there = lock_runs(connection, store, [run_id]).get(run_id)
        if there in (None, (kept, chunk_size)) or not anew:
            return there in (None, (kept, chunk_size))
        for table in (tables.results, tables.chunks, tables.summaries):
            connection.execute(table.delete().where(table.c.run_id == run_id))
        changed = {"kept": kept, "chunk_size": chunk_size, "finished_at": None}
        connection.execute(tables.runs.update().where(tables.runs.c.run_id == run_id).values(**changed))
    return True


def lock_runs(connection: sa.Connection, store: Store, run_ids: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Keep others from writing for runs until the transaction ends; return what each keeps, in chunks of which size."""
    runs = store.tables.runs.c
    query = (
        sa.select(runs.run_id, runs.kept, runs.chunk_size)
        .where(runs.run_id.in_(sorted(set(run_ids))))
        .order_by(runs.run_id)
    )
    found = connection.execute(query.with_for_update())
    return {row.run_id: (row.kept, int(row.chunk_size)) for row in found}


def keep_best(
    connection: sa.Connection, store: Store, run_id: str, keep: Best, batches: Sequence[pa.RecordBatch]
) -> pa.RecordBatch:
    """Return the new rows that are among a run's best, and delete those that are no longer.

    Parameters
    ----------
    batches : sequence of pyarrow.RecordBatch
        Rows that chunks thought might be among them, of chunks new to the ledger.
    """
    new = pa.concat_batches(batches)
    rows = store.tables.results.c
    query = sa.select(rows.backtest_id, rows[keep.by]).where(rows.run_id == run_id)
    there = connection.execute(query).fetchall()
    ids = np.array([*(name for name, _ in there), *new["backtest_id"].to_pylist()])
    values = np.array([*(value for _, value in there), *new[keep.by].to_pylist()], np.float64)
    order = np.lexsort([ids, -values])
    chosen, left = order[: keep.n], order[keep.n :]
    for some in _slices(ids[left[left < len(there)]].tolist()):
        connection.execute(store.tables.results.delete().where(rows.backtest_id.in_(some)))
    return new.take(pa.array(np.sort(chosen[chosen >= len(there)] - len(there))))


def add_summaries(connection: sa.Connection, store: Store, run_id: str, news: Mapping[int, Sequence[Summary]]) -> None:
    """Add new summaries to what is known of a run's inputs."""
    table = store.tables.summaries
    for at, summaries in sorted(news.items()):
        known = _read_summaries(connection, store, run_id, at)
        payload = write_summaries({at: merge([*known.values(), *summaries])}, "zstd")
        connection.execute(table.delete().where(table.c.run_id == run_id, table.c.input == at))
        parts = [payload[start : start + _PART_BYTES] for start in range(0, len(payload), _PART_BYTES)]
        for part, piece in enumerate(parts):
            connection.execute(table.insert(), {"run_id": run_id, "input": at, "part": part, "payload": piece})


def read_summaries(store: Store, run_id: str) -> dict[int, Summary]:
    """Return the summaries of a run's inputs, by their index; none for a run that keeps all of its rows."""
    with reading(store) as connection:
        return _read_summaries(connection, store, run_id)


def _read_summaries(connection: sa.Connection, store: Store, run_id: str, at: int | None = None) -> dict[int, Summary]:
    table = store.tables.summaries.c
    query = sa.select(table.input, table.payload).where(table.run_id == run_id).order_by(table.input, table.part)
    parts: dict[int, list[bytes]] = {}
    for index, payload in connection.execute(query if at is None else query.where(table.input == at)):
        parts.setdefault(int(index), []).append(bytes(payload))
    return {index: read_payload(b"".join(pieces))[index] for index, pieces in parts.items()}


def _slices(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _IDS_AT_ONCE):
        yield names[start : start + _IDS_AT_ONCE]
