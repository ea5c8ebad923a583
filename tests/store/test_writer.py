from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import schema
from orbresearch.errors import BadInput, Corrupt, Unreachable
from orbresearch.settings import StoreSettings
from orbresearch.store import writer
from orbresearch.store.connection import Store, close_store, open_store
from orbresearch.store.reader import persisted_chunks, read_results, read_run
from orbresearch.store.writer import persist_chunk, persist_chunks, register_run
from tests.store.rows import OTHER, RUN, make_batch, make_record, run_sql, start_python

FLOATS = [field.name for field in schema.RESULTS if pa.types.is_floating(field.type)]
OPTIONAL = [field.name for field in schema.RESULTS if field.nullable]
EXTREMES = [0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1 + 0.2, -1 / 3, 1e16, 123456789.12345679]


@pytest.fixture(
    params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql), pytest.param("refusing", marks=pytest.mark.mysql)]
)
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    """An empty database of either kind, and one whose server lets no rows be loaded."""
    found: StoreSettings = request.getfixturevalue(f"{request.param}_settings")
    return found


def any_floats(n: int) -> np.ndarray:
    """Return finite numbers with random bits: every exponent, subnormal ones too."""
    bits = np.random.default_rng(7).integers(0, 2**64, 2 * n, dtype=np.uint64).view(np.float64)
    return bits[np.isfinite(bits)][:n]


def count_rows(store: Store) -> int:
    [(rows,)] = run_sql(store.settings, "SELECT COUNT(*) FROM results")
    return int(str(rows))


def test_every_column_comes_back_to_the_bit(store: Store) -> None:
    n = 3000
    columns: dict[str, object] = {name: np.roll(any_floats(n), 17 * k) for k, name in enumerate(FLOATS)}
    for name in FLOATS:
        columns[name][: len(EXTREMES)] = EXTREMES
    for k, name in enumerate(OPTIONAL):
        columns[name][k::7] = math.nan
    integers = [field for field in schema.RESULTS if pa.types.is_integer(field.type) and field.name != "resolved"]
    for field in integers:
        kind = np.iinfo(field.type.to_pandas_dtype())
        columns[field.name] = np.resize([kind.max, kind.min, 0, -1, 2**31 - 1], n)
    batch = make_batch(n=n, **columns)
    assert persist_chunk(store, RUN, 0, batch) == n
    found, expected = read_results(store, RUN), batch.to_pandas()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    for name in FLOATS:
        bits = [np.where(np.isnan(f[name]), 0, f[name].to_numpy().view(np.int64)) for f in (found, expected)]
        np.testing.assert_array_equal(*bits)


def test_a_negative_zero_becomes_zero_on_both_databases(store: Store) -> None:
    persist_chunk(store, RUN, 0, make_batch(backtest_profit=-0.0, max_drawdown=-0.0))
    found = read_results(store, RUN)
    assert not np.signbit(found[["backtest_profit", "max_drawdown"]]).to_numpy().any()


def test_a_missing_value_is_null_for_other_tools(store: Store) -> None:
    nothing = pa.array([None, None, 1.0], pa.float64()).to_pylist()
    persist_chunk(store, RUN, 0, make_batch(n=3, sharpe_ratio=[math.nan, 0.5, math.nan], win_rate=nothing))
    rows = run_sql(store.settings, "SELECT sharpe_ratio, win_rate FROM results ORDER BY backtest_id")
    assert rows == [(None, None), (0.5, None), (None, 1.0)]


@pytest.mark.parametrize(
    "ticker",
    [
        "BRK.B",
        "",
        " x ",
        r"\N",
        "NULL",
        "\\N\t",
        "a\0b",
        "a\r\nb",
        "😀" * 32,
        "y" * 32,
        "it's",
        'qu"ote',
        "back\\slash\\",
        "100%s",
        "'); DROP TABLE results; --",
        "日経225",
        "a\nb\tc",
        ":x",
    ],
)
def test_a_ticker_is_stored_as_it_is(store: Store, ticker: str) -> None:
    persist_chunk(store, RUN, 0, make_batch(ticker=ticker))
    assert read_results(store, RUN)["ticker"].tolist() == [ticker] * 5


counter = itertools.count()


@given(
    floats=st.lists(
        st.floats(allow_infinity=False, allow_nan=False)
        | st.floats(-2.3e-308, 2.3e-308)  # among them subnormal ones
        | st.sampled_from([*EXTREMES, -0.0, -1.7976931348623157e308]),
        min_size=1,
        max_size=20,
    ),
    ticker=st.text(st.characters(exclude_categories=["Cs"]), max_size=32) | st.text("\\\t\n'\"N,;% \r\0", max_size=32),
)
def test_any_float_and_any_ticker_come_back(store: Store, floats: list[float], ticker: str) -> None:
    run_id, n = f"{next(counter):016x}", len(floats)
    values = np.array(floats)
    batch = make_batch(run_id, n=n, ticker=ticker, backtest_profit=values, sharpe_ratio=values[::-1])
    assert persist_chunk(store, run_id, 0, batch) == n
    found = read_results(store, run_id)
    assert found["ticker"].tolist() == [ticker] * n
    positive = values + 0.0  # no -0.0
    np.testing.assert_array_equal(found["backtest_profit"].to_numpy().view(np.int64), positive.view(np.int64))
    np.testing.assert_array_equal(found["sharpe_ratio"].to_numpy()[::-1].view(np.int64), positive.view(np.int64))


def test_rows_arrive_in_many_statements_but_one_transaction(store: Store) -> None:
    n = 4501
    assert persist_chunk(store, RUN, 0, make_batch(n=n)) == n
    assert count_rows(store) == n


def test_a_second_delivery_writes_nothing(store: Store) -> None:
    assert persist_chunk(store, RUN, 0, make_batch()) == 5
    before = run_sql(store.settings, "SELECT * FROM results")
    assert persist_chunk(store, RUN, 0, make_batch(backtest_profit=99.0)) == 0
    assert run_sql(store.settings, "SELECT * FROM results") == before
    assert persisted_chunks(store, RUN) == {0: 5}


def test_the_ledger_tells_chunks_and_runs_apart(store: Store) -> None:
    persist_chunk(store, RUN, 10, make_batch(first=10, n=3))
    persist_chunk(store, RUN, 0, make_batch())
    persist_chunk(store, OTHER, 0, make_batch(OTHER, n=2))
    assert persisted_chunks(store, RUN) == {0: 5, 10: 3}
    assert persisted_chunks(store, OTHER) == {0: 2}
    assert persisted_chunks(store, "0" * 16) == {}


def test_rows_go_in_in_the_order_of_their_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    insert = writer._insert_rows

    def look(connection: object, store: Store, batches: list[pa.RecordBatch], what: str) -> None:
        for batch in batches:
            seen.extend(batch["backtest_id"].to_pylist())
        insert(connection, store, batches, what)

    monkeypatch.setattr(writer, "_insert_rows", look)
    chunks = [(RUN, first, make_batch(first=first, n=100)) for first in (0, 100)]
    shuffled = [(run, first, batch.take(np.random.default_rng(first).permutation(100))) for run, first, batch in chunks]
    assert persist_chunks(store, shuffled[::-1]) == [100, 100]
    assert seen[-200:] == [f"{RUN}-{index:010d}" for index in range(200)]  # where loading is refused, the second try
    expected = pa.Table.from_batches([batch for _, _, batch in chunks]).to_pandas()
    pd.testing.assert_frame_equal(read_results(store, RUN), expected, check_exact=True)


def test_several_chunks_are_written_together_and_each_once(store: Store) -> None:
    persist_chunk(store, RUN, 5, make_batch(first=5))
    chunks = [(RUN, 5, make_batch(first=5)), (OTHER, 0, make_batch(OTHER, n=3)), (RUN, 0, make_batch())]
    assert persist_chunks(store, [*chunks, chunks[-1], (RUN, 10, make_batch(n=0))]) == [0, 3, 5, 0, 0]
    assert persisted_chunks(store, RUN) == {0: 5, 5: 5, 10: 0}
    assert persisted_chunks(store, OTHER) == {0: 3}
    assert count_rows(store) == 13
    assert persist_chunks(store, []) == []


@pytest.mark.parametrize("damaged", [make_batch(ticker="x" * 33, first=5), make_batch(first=4)])
def test_of_several_chunks_one_that_is_damaged_keeps_all_out(store: Store, damaged: pa.RecordBatch) -> None:
    with pytest.raises(Corrupt, match=f"chunk 5 of run {RUN}"):
        persist_chunks(store, [(RUN, 0, make_batch()), (RUN, 5, damaged)])
    assert persisted_chunks(store, RUN) == {}
    assert count_rows(store) == 0


def test_a_chunk_that_kept_no_row_is_in_the_ledger(store: Store) -> None:
    assert persist_chunk(store, RUN, 0, make_batch(n=0)) == 0
    assert persisted_chunks(store, RUN) == {0: 0}


def test_the_ledger_keeps_the_seconds_and_the_time(store: Store) -> None:
    batch = make_batch()
    persist_chunk(store, RUN, 0, batch.replace_schema_metadata({b"seconds": b"1.25"}))
    persist_chunk(store, RUN, 5, make_batch(first=5))
    rows = run_sql(store.settings, "SELECT duration, persisted_at FROM chunks ORDER BY first")
    assert [row[0] for row in rows] == [1.25, None]
    age = datetime.now(UTC) - datetime.fromisoformat(str(rows[0][1])).replace(tzinfo=UTC)
    assert timedelta(0) <= age < timedelta(minutes=5)


@pytest.mark.parametrize("n", [6, 2600])
def test_a_row_twice_in_a_chunk_leaves_nothing(store: Store, n: int) -> None:
    batch = make_batch(n=n)
    ids = batch["backtest_id"].to_pylist()
    with pytest.raises(Corrupt, match=f"chunk 0 of run {RUN}"):
        persist_chunk(store, RUN, 0, make_batch(n=n, backtest_id=[*ids[:-1], ids[0]]))
    assert count_rows(store) == 0
    assert persisted_chunks(store, RUN) == {}
    assert persist_chunk(store, RUN, 0, batch) == n


def test_a_row_of_another_chunk_leaves_nothing(store: Store) -> None:
    persist_chunk(store, RUN, 0, make_batch())
    with pytest.raises(Corrupt):
        persist_chunk(store, RUN, 4, make_batch(first=4))
    assert persisted_chunks(store, RUN) == {0: 5}
    assert count_rows(store) == 5


@pytest.mark.parametrize(
    ("batch", "wrong"),
    [
        (lambda: make_batch(sharpe_ratio=math.inf), "column sharpe_ratio holds an infinite value"),
        (
            lambda: make_batch(backtest_profit=[1.0, -math.inf, 1.0, 1.0, 1.0]),
            "backtest_profit holds an infinite value",
        ),
        (lambda: make_batch(backtest_profit=math.nan), "column backtest_profit holds a missing value"),
        (lambda: make_batch(trades=None), "column trades holds a missing value"),
        (lambda: make_batch(ticker="x" * 33), "column ticker holds a text of more than 32 characters"),
        (lambda: make_batch(OTHER), "column run_id holds other runs"),
        (lambda: make_batch(backtest_id=[f"{OTHER}-{k:010d}" for k in range(5)]), "column backtest_id holds others"),
        (lambda: make_batch(backtest_id=[f"{RUN}-{k:09d}" for k in range(5)]), "column backtest_id holds others"),
        (lambda: make_batch(backtest_id=[f"{RUN}-{k:010d}\n" for k in range(5)]), "28|more than 27|holds others"),
        (lambda: make_batch().select(["run_id", "ticker"]), "not those of schema.RESULTS"),
    ],
)
def test_rows_that_no_table_holds_are_refused_whole(
    store: Store, batch: Callable[[], pa.RecordBatch], wrong: str
) -> None:
    with pytest.raises(Corrupt, match=wrong):
        persist_chunk(store, RUN, 0, batch())
    assert persisted_chunks(store, RUN) == {}
    assert count_rows(store) == 0


@pytest.mark.parametrize("run_id", ["", "0123456789abcde\t", "run.1", "rün"])
def test_what_is_no_run_id_is_refused(store: Store, run_id: str) -> None:
    with pytest.raises(Corrupt, match="is no run id"):
        persist_chunk(store, run_id, 0, make_batch(run_id))


def test_a_store_that_fails_says_so_and_keeps_nothing(store: Store) -> None:
    run_sql(store.settings, "ALTER TABLE results RENAME TO elsewhere")
    with pytest.raises(Unreachable):
        persist_chunk(store, RUN, 0, make_batch())
    run_sql(store.settings, "ALTER TABLE elsewhere RENAME TO results")
    assert persisted_chunks(store, RUN) == {}
    assert persist_chunk(store, RUN, 0, make_batch()) == 5


KILLED = """
insert = writer._insert_rows
def and_wait(*arguments):
    insert(*arguments)
    print("written, not committed", flush=True)
    time.sleep(60)
writer._insert_rows = and_wait
writer.persist_chunk(connection.open_store(settings), RUN, 0, make_batch(n=5000))
"""


def test_a_writer_killed_in_mid_transaction_leaves_nothing(store: Store) -> None:
    process = start_python(KILLED, store.settings)
    assert process.stdout is not None
    assert process.stdout.readline() == "written, not committed\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert persist_chunk(store, RUN, 0, make_batch(n=5000)) == 5000  # waits until the server has noticed
    assert persisted_chunks(store, RUN) == {0: 5000}
    assert count_rows(store) == 5000


WRITING = """
store = connection.open_store(settings)
for k in range(30):
    assert writer.persist_chunk(store, RUN, 500 * k, make_batch(first=500 * k, n=500)) == 500
"""


def test_a_reader_reads_whole_chunks_while_another_process_writes(store: Store) -> None:
    process = start_python(WRITING, store.settings)
    reader, seen = open_store(store.settings, create=False), []
    while process.poll() is None:
        seen.append(len(read_results(reader, RUN, columns=["backtest_id"])))
        assert len(persisted_chunks(reader, RUN)) * 500 >= seen[-1]
    process.communicate()
    assert process.returncode == 0
    assert len(persisted_chunks(reader, RUN)) == 30
    assert seen == sorted(seen)
    assert not [rows for rows in seen if rows % 500]
    close_store(reader)


BOTH_WRITE = """
store = connection.open_store(settings)
print(sum(writer.persist_chunk(store, RUN, 500 * k, make_batch(first=500 * k, n=500)) for k in range(20)))
"""


def test_two_writers_of_the_same_chunks_write_each_once(store: Store) -> None:
    processes = [start_python(BOTH_WRITE, store.settings) for _ in range(2)]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(int(rows) for rows in told) == 10_000
    assert count_rows(store) == 10_000
    assert persisted_chunks(store, RUN) == {500 * k: 500 for k in range(20)}


def test_a_run_is_registered_once(store: Store) -> None:
    assert register_run(store, make_record()) is True
    assert register_run(store, make_record(source="somewhere else")) is False
    assert register_run(store, make_record(OTHER)) is True
    found = read_run(store, RUN)
    assert found is not None
    assert found["source"] == "synthetic market, seed 0"


def test_a_runs_facts_come_back(store: Store) -> None:
    made = datetime(2025, 3, 4, 5, 6, 7, 890123, tzinfo=timezone(timedelta(hours=-5)))
    record = make_record(created_at=made, results_version=1, inputs={"日経": "it's 100% \\ :x"}, quality="x" * 100_000)
    register_run(store, record)
    assert read_run(store, RUN) == record | {"kept": "all", "finished_at": None}
    assert run_sql(store.settings, "SELECT tickers, range_durations FROM runs") == [("SPY,QQQ", "300,900")]
    [(stored,)] = run_sql(store.settings, "SELECT created_at FROM runs")
    assert str(stored) == "2025-03-04 10:06:07.890123"


def test_a_run_may_be_told_in_text_and_in_numpys_numbers(store: Store) -> None:
    changes = {
        "tickers": "SPY",
        "rules": '{"side": "long"}',
        "first_session": "2024-01-02",
        "last_session": pd.Timestamp(2025, 12, 31),
        "created_at": pd.Timestamp("2025-03-04T05:06:07Z"),
        "sessions": np.int64(3),
        "slippage": np.float64(0.005),
    }
    register_run(store, make_record(**changes))
    found = read_run(store, RUN)
    assert found is not None
    assert (found["tickers"], found["rules"], found["sessions"]) == (["SPY"], {"side": "long"}, 3)
    assert (found["slippage"], found["last_session"]) == (0.005, date(2025, 12, 31))
    assert found["created_at"] == datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert found["results_version"] == schema.RESULTS_VERSION


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"colour": "red"}, "unknown keys .'colour'."),
        ({"sessions": "many"}, "run record, sessions: 'many'"),
        ({"slippage": math.nan}, "slippage: nan .not finite."),
        ({"path": "unknown path"}, "path: 'unknown path' .longer than 8"),
        ({"grid": {"stop_distance": math.inf}}, "grid"),
        ({"rules": "{"}, "rules"),
        ({"source": None}, "source: None"),
    ],
)
def test_facts_that_do_not_fit_are_refused(store: Store, changes: dict[str, object], wrong: str) -> None:
    with pytest.raises(BadInput, match=wrong):
        register_run(store, make_record(**changes))
    assert read_run(store, RUN) is None


def test_a_lacking_fact_is_named(store: Store) -> None:
    record = make_record()
    del record["family"]
    with pytest.raises(BadInput, match=r"lacks \['family'\]"):
        register_run(store, record)
