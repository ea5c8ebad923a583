"""Runs that keep their best rows and a summary: the same whatever order chunks come in, and however often."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest

from orbresearch import ParameterGrid
from orbresearch.keep import Best, order_of, write_keep
from orbresearch.store.connection import Store, close_store, open_store
from orbresearch.store.keeping import agree_keep, read_summaries
from orbresearch.store.reader import persisted_chunks, read_best, read_results, read_run
from orbresearch.store.writer import (
    Chunk,
    finish_run,
    persist_chunk,
    persist_chunks,
    register_run,
    unfinished_runs,
)
from orbresearch.summary import Tally, merge, to_cells
from tests.store.rows import OTHER, RUN, make_batch, make_record, run_sql

GRID = ParameterGrid(
    stop_distance=[0.1, 0.2], stop_count_limit=[1, 2], stop_cooloff_period=0, limit_distance=range(1, 26)
)
KEEP = Best(20)
EACH = 10
WAY = write_keep(KEEP), EACH


def best_chunk(first: int, keep: Best = KEEP, run_id: str = RUN) -> Chunk:
    """A chunk of ten backtests that sends all of its rows, in steps of .25 so that many are equal."""
    sharpe = np.round(np.random.default_rng(first).normal(size=EACH) * 4) / 4
    batch = make_batch(run_id, first, EACH, sharpe_ratio=sharpe)
    said = {"kept": write_keep(keep), "backtests": str(EACH)}
    tally = Tally(GRID.shape, first % len(GRID), first % len(GRID) + EACH)
    tally.add(first % len(GRID), batch["backtest_return"].to_numpy(), sharpe)
    summaries = {first // len(GRID): tally.summary()}
    return Chunk(run_id, first, batch.replace_schema_metadata(said), summaries)


@pytest.fixture
def kept(store: Store) -> Store:
    """A store with a run of 200 backtests, two inputs, that keeps its best."""
    register_run(store, make_record(backtests=200, chunk_size=EACH, kept=write_keep(KEEP)))
    return store


def check(store: Store, chunks: list[Chunk], keep: Best = KEEP) -> None:
    """Rows, ledger and summaries are those of the chunks, whatever happened on the way."""
    frame = pa.concat_tables([pa.Table.from_batches([chunk.batch]).replace_schema_metadata() for chunk in chunks])
    expected = frame.to_pandas().sort_values(["sharpe_ratio", "backtest_id"], ascending=[False, True]).head(keep.n)
    found = read_results(store, RUN)
    assert found["backtest_id"].tolist() == sorted(expected["backtest_id"])
    assert read_best(store, RUN, keep.n)["backtest_id"].tolist() == expected["backtest_id"].tolist()
    assert persisted_chunks(store, RUN) == {chunk.first: EACH for chunk in chunks}
    summaries = read_summaries(store, RUN)
    assert set(summaries) == {chunk.first // len(GRID) for chunk in chunks}
    for at, summary in summaries.items():
        assert summary == merge(c.summaries[at] for c in chunks if at in c.summaries)


def test_the_best_of_all_chunks_stay_whatever_their_order(kept: Store) -> None:
    chunks = [best_chunk(first) for first in range(0, 200, EACH)]
    order = np.random.default_rng(1).permutation(len(chunks))
    done: list[Chunk] = []
    for some in np.split(order, [1, 4, 5, 12]):
        batch = [chunks[i] for i in some]
        assert persist_chunks(kept, batch) == [EACH] * len(batch)
        done = sorted([*done, *batch], key=lambda chunk: chunk.first)
        check(kept, done)
    assert to_cells(read_summaries(kept, RUN)[1], GRID, ["stop_distance"])["backtests"].tolist() == [50, 50]


def test_a_chunk_that_comes_twice_changes_nothing(kept: Store) -> None:
    chunks = [best_chunk(first) for first in (0, 10, 100)]
    persist_chunks(kept, chunks)
    assert persist_chunks(kept, [best_chunk(20), *chunks]) == [EACH, 0, 0, 0]
    check(kept, [chunks[0], chunks[1], best_chunk(20), chunks[2]])


def test_a_chunk_without_a_row_is_counted(kept: Store) -> None:
    chunk = best_chunk(0)
    empty = chunk._replace(batch=chunk.batch.slice(0, 0))
    assert persist_chunks(kept, [empty]) == [EACH]
    assert len(read_results(kept, RUN)) == 0
    assert persisted_chunks(kept, RUN) == {0: EACH}
    assert read_summaries(kept, RUN) == chunk.summaries


def test_two_writers_at_once_keep_exactly_the_best(kept: Store) -> None:
    """Each sees what the other has committed: the run's row is locked."""
    chunks = [best_chunk(first) for first in range(0, 200, EACH)]
    failures: list[BaseException] = []

    def write(some: list[Chunk]) -> None:
        own = open_store(kept.settings)
        try:
            for chunk in some:
                persist_chunks(own, [chunk])
        except BaseException as error:
            failures.append(error)
        finally:
            close_store(own)

    writers = [threading.Thread(target=write, args=(some,)) for some in (chunks[::2], chunks[1::2], chunks[5:9])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert not failures
    check(kept, chunks)


def test_a_run_kept_in_another_way_starts_anew_and_takes_nothing_of_the_old(kept: Store) -> None:
    persist_chunks(kept, [best_chunk(0), best_chunk(10)])
    finish_run(kept, RUN, WAY, {})
    register_run(kept, make_record(OTHER))
    persist_chunk(kept, OTHER, 0, make_batch(OTHER))
    other = Best(5, min_sessions=0)
    assert agree_keep(kept, RUN, write_keep(other), 40, anew=False) is False
    check(kept, [best_chunk(0), best_chunk(10)])
    assert agree_keep(kept, RUN, write_keep(other), 40) is True
    assert agree_keep(kept, RUN, write_keep(other), 40, anew=False) is True
    assert agree_keep(kept, RUN, write_keep(other), 50, anew=False) is False
    run = read_run(kept, RUN)
    assert run is not None
    assert (run["kept"], run["chunk_size"], run["finished_at"]) == (write_keep(other), 40, None)
    assert persist_chunks(kept, [best_chunk(20), best_chunk(30, other)]) == [0, EACH]  # the first comes too late
    check(kept, [best_chunk(30, other)], other)
    assert persist_chunk(kept, RUN, 0, make_batch()) == 0  # as does one that kept all of its rows
    assert len(read_results(kept, OTHER)) == 5
    assert agree_keep(kept, RUN, "all", 100) is True
    assert persist_chunk(kept, RUN, 0, make_batch()) == 5
    assert read_summaries(kept, RUN) == {}


def test_a_chunk_of_another_plan_is_not_taken(kept: Store) -> None:
    chunk = best_chunk(0)
    assert persist_chunks(kept, [chunk._replace(order=order_of(RUN, write_keep(KEEP), 999))]) == [0]
    assert persisted_chunks(kept, RUN) == {}
    assert persist_chunks(kept, [chunk._replace(order=order_of(RUN, *WAY))]) == [EACH]
    check(kept, [chunk])


def test_a_large_summary_is_stored_in_parts(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orbresearch.store.keeping._PART_BYTES", 999)
    chunks = [best_chunk(0), best_chunk(10)]
    for chunk in chunks:
        persist_chunks(kept, [chunk])
    assert run_sql(kept.settings, "SELECT COUNT(*) FROM summaries")[0][0] > 2
    check(kept, chunks)


def test_a_run_is_finished_once_all_of_it_is_there(kept: Store) -> None:
    assert unfinished_runs(kept) == []
    persist_chunks(kept, [best_chunk(first) for first in range(0, 190, EACH)])
    assert unfinished_runs(kept) == []
    persist_chunks(kept, [best_chunk(190)])
    assert unfinished_runs(kept) == [(RUN, *WAY)]
    finish_run(kept, RUN, ("all", EACH), {})  # by a reaper that knew it otherwise
    assert unfinished_runs(kept) == [(RUN, *WAY)]
    best = read_best(kept, RUN, 3)["backtest_id"].tolist()
    finish_run(kept, RUN, WAY, dict.fromkeys(best[:2], '{"2024-03-26": "é"}'))
    assert unfinished_runs(kept) == []
    found = run_sql(kept.settings, "SELECT backtest_id FROM results WHERE trade_stats IS NOT NULL ORDER BY 1")
    assert [name for (name,) in found] == sorted(best[:2])
