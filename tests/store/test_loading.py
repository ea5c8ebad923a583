"""Loading and inserting in MySQL and MariaDB: what is sent, what is refused, what is rolled back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pymysql
import pytest
from sqlalchemy.exc import OperationalError

from orbresearch import schema
from orbresearch.errors import Corrupt, Unreachable
from orbresearch.settings import StoreSettings
from orbresearch.sql import loading as sql_loading
from orbresearch.sql import loadlocal
from orbresearch.store import bulk
from orbresearch.store.connection import Store, close_store, open_store, reading
from orbresearch.store.literals import to_sql, to_tsv
from orbresearch.store.reader import persisted_chunks, read_results
from orbresearch.store.writer import persist_chunk, persist_chunks
from tests.servers_mysql import MySQLServer
from tests.store.rows import RUN, make_batch, run_sql

pytestmark = pytest.mark.mysql


@pytest.fixture(params=["mysql", "refusing"])
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    """An empty database of a server that lets rows be loaded, and of one that does not."""
    found: StoreSettings = request.getfixturevalue(f"{request.param}_settings")
    return found


@pytest.fixture
def loading(mysql_settings: StoreSettings) -> Store:
    opened = open_store(mysql_settings)
    yield opened
    close_store(opened)


def count_loads(settings: StoreSettings) -> int:
    [(_, loads)] = run_sql(settings, "SHOW GLOBAL STATUS LIKE 'Com_load'")
    return int(str(loads))


def check_nothing_is_there(store: Store) -> None:
    assert run_sql(store.settings, "SELECT COUNT(*) FROM results") == [(0,)]
    assert persisted_chunks(store, RUN) == {}


def test_rows_are_loaded_where_the_server_lets_them(loading: Store) -> None:
    before = count_loads(loading.settings)
    assert persist_chunk(loading, RUN, 0, make_batch(n=5000)) == 5000
    assert count_loads(loading.settings) == before + 1
    assert loading.loading.refusal == ""


def test_chunks_together_are_loaded_at_once(loading: Store) -> None:
    before = count_loads(loading.settings)
    assert persist_chunks(loading, [(RUN, k, make_batch(first=k)) for k in (0, 5, 10)]) == [5, 5, 5]
    assert count_loads(loading.settings) == before + 1


def test_rows_are_inserted_where_the_server_refuses_and_it_is_said_once(
    refusing_settings: StoreSettings, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(refusing_settings)
    before = count_loads(store.settings)
    with caplog.at_level(logging.WARNING):
        assert persist_chunk(store, RUN, 0, make_batch()) == 5
        assert persist_chunk(store, RUN, 5, make_batch(first=5)) == 5
    assert count_loads(store.settings) <= before + 1
    assert "local" in store.loading.refusal.lower()
    [record] = caplog.records
    assert store.loading.refusal in record.getMessage()
    assert "SET GLOBAL local_infile = 1" in record.getMessage()
    assert store.settings.password not in record.getMessage()
    assert persisted_chunks(store, RUN) == {0: 5, 5: 5}
    close_store(store)


@pytest.mark.parametrize("code", [1047, 1148, 1235, 2068, 3948, 4166])
def test_every_known_refusal_leads_to_inserts(loading: Store, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    execute = sql_loading.execute

    def refuse(connection: object, statement: str, what: str) -> int:
        if statement.startswith("LOAD"):
            raise OperationalError("LOAD", None, pymysql.err.OperationalError(code, "not here"))
        return execute(connection, statement, what)

    monkeypatch.setattr(sql_loading, "execute", refuse)
    assert persist_chunk(loading, RUN, 0, make_batch()) == 5
    assert loading.loading.refusal == "not here"


def test_a_server_that_does_not_know_local_is_not_asked(loading: Store) -> None:
    assert loading.loading.engine is not None
    with loading.loading.engine.connect() as connection:  # which goes back to the pool
        connection.connection.dbapi_connection.server_capabilities &= ~pymysql.constants.CLIENT.LOCAL_FILES
    before = count_loads(loading.settings)
    assert persist_chunk(loading, RUN, 0, make_batch()) == 5
    assert count_loads(loading.settings) == before
    assert "knows no LOAD DATA LOCAL" in loading.loading.refusal


def test_nothing_is_loaded_where_a_cluster_would_commit_in_between(
    loading: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"max_allowed_packet": "1048576", "wsrep_on": "ON", "wsrep_load_data_splitting": "ON"}
    rows = " UNION ".join(f"SELECT '{name}', '{value}'" for name, value in variables.items())
    monkeypatch.setattr(sql_loading, "VARIABLES", rows)
    assert persist_chunk(loading, RUN, 0, make_batch()) == 5
    assert "wsrep_load_data_splitting" in loading.loading.refusal


def test_the_question_about_clusters_is_one_the_server_understands(server: MySQLServer) -> None:
    assert dict(server.run(sql_loading.VARIABLES)).items() >= {("max_allowed_packet", "16777216")}


def test_only_the_loading_connection_lets_the_server_ask(loading: Store) -> None:
    assert loading.loading.engine is not None
    flags = []
    for engine in (loading.engine, loading.loading.engine):
        with engine.connect() as connection:
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, loadlocal.GuardedConnection)
            flags.append(bool(driver.client_flag & pymysql.constants.CLIENT.LOCAL_FILES))
    assert flags == [False, True]


def test_a_statement_of_ones_own_loads_no_file(loading: Store, tmp_path: Path) -> None:
    file = tmp_path / "mine.tsv"
    file.write_text("secret\n")
    statement = f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE results (ticker)"
    with pytest.raises(Unreachable), reading(loading) as connection:
        connection.exec_driver_sql(statement)
    assert loading.loading.engine is not None
    with pytest.raises(OperationalError, match="it was sent nothing"), loading.loading.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    check_nothing_is_there(loading)
    assert persist_chunk(loading, RUN, 0, make_batch()) == 5  # over a new connection


@pytest.mark.parametrize("local", [0, 1])
def test_packets_stay_within_what_the_server_allows(
    server: MySQLServer, mysql_settings: StoreSettings, local: int
) -> None:
    close_store(open_store(mysql_settings))
    [(before,)] = server.run("SELECT @@GLOBAL.max_allowed_packet")
    try:
        server.run(f"SET GLOBAL max_allowed_packet = {16 * 1024}")
        server.run(f"SET GLOBAL local_infile = {local}")
        store = open_store(mysql_settings)
        assert persist_chunk(store, RUN, 0, make_batch(n=3000)) == 3000
        assert len(read_results(store, RUN)) == 3000
        assert bool(store.loading.refusal) != bool(local)
        close_store(store)
    finally:
        server.run(f"SET GLOBAL max_allowed_packet = {before}")
        server.run("SET GLOBAL local_infile = 1")


def test_no_row_is_wider_than_reckoned() -> None:
    widest = dict.fromkeys(schema.RESULTS.names, -2.2250738585072014e-308)
    for field in schema.RESULTS:
        if pa.types.is_integer(field.type):
            widest[field.name] = np.iinfo(field.type.to_pandas_dtype()).min
    for name in ("backtest_id", "run_id", "ticker"):
        del widest[name]
    for value in (-2.2250738585072014e-308, -1.2345678901234567e-05, -0.00012345678901234567, -123456789012345680.0):
        floats = {name: value for name in widest if pa.types.is_floating(schema.RESULTS.field(name).type)}
        for ticker in ("😀" * 32, "'" * 32):
            [row] = to_sql(make_batch(n=1, ticker=ticker, **{**widest, **floats}))
            assert len(row.encode()) < bulk.ROW_BYTES


def test_lines_are_tabs_and_escapes() -> None:
    batch = make_batch(n=2, ticker=["a\tb\\c\nd", "'\""], win_rate=[None, np.nan], backtest_profit=[-0.0, 5e-324])
    first, second, end = bytes(to_tsv(batch)).split(b"\n")
    assert end == b""
    names = schema.RESULTS.names
    rows = [dict(zip(names, line.split(b"\t"), strict=True)) for line in (first, second)]
    assert [row["ticker"] for row in rows] == [rb"a\tb\\c\nd", b"'\""]
    assert [row["win_rate"] for row in rows] == [rb"\N", rb"\N"]
    assert [row["backtest_profit"] for row in rows] == [b"0", b"5e-324"]
    assert bytes(to_tsv(batch.slice(0, 0))) == b""


@pytest.mark.parametrize(
    ("batch", "wrong"),
    [
        (lambda: make_batch(ticker=["SPY", "x" * 33, "SPY", "SPY", "SPY"]), "ticker"),
        (lambda: make_batch(sharpe_ratio=[1.0, 2.0, np.inf, 3.0, 4.0]), "sharpe_ratio|inf"),
        (lambda: make_batch(trades=[1, 2, None, 4, 5]), "trades"),
        (lambda: make_batch(backtest_id=[f"{RUN}-{k:011d}" for k in range(5)]), "backtest_id"),
        (lambda: make_batch(backtest_id=[f"{RUN}-{k % 4:010d}" for k in range(5)]), "Duplicate"),
        (lambda: make_batch(backtest_id=[f"{RUN}-é{k:08d}" for k in range(5)]), "backtest_id"),
    ],
)
def test_what_a_server_would_bend_is_rolled_back(
    settings: StoreSettings, monkeypatch: pytest.MonkeyPatch, batch: Callable[[], pa.RecordBatch], wrong: str
) -> None:
    """Nothing is checked beforehand here: the server's own complaint is enough."""
    monkeypatch.setattr("orbresearch.store.writer.check_batch", lambda *_: None)
    store = open_store(settings)
    with pytest.raises((Corrupt, Unreachable), match=wrong):
        persist_chunk(store, RUN, 0, batch())
    check_nothing_is_there(store)
    assert persist_chunk(store, RUN, 0, make_batch()) == 5
    close_store(store)


def test_a_column_that_somebody_made_narrower_leaves_nothing(settings: StoreSettings) -> None:
    store = open_store(settings)
    run_sql(settings, "ALTER TABLE results MODIFY range_duration TINYINT NOT NULL")
    with pytest.raises(Corrupt, match=f"chunk 0 of run {RUN}.*[Oo]ut of range value for column 'range_duration'"):
        persist_chunk(store, RUN, 0, make_batch(n=3000, range_duration=[5] * 2999 + [300]))
    check_nothing_is_there(store)
    close_store(store)


def test_a_server_that_goes_away_in_the_middle_leaves_nothing(
    loading: Store, server: MySQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = []

    def kill_then_write(batch: pa.RecordBatch) -> memoryview:
        if len(pieces) == 2:
            [(number,)] = server.run("SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'LOAD%'")
            server.run(f"KILL {number}")
        pieces.append(to_tsv(batch))
        return pieces[-1]

    monkeypatch.setattr(bulk, "to_tsv", kill_then_write)
    with pytest.raises(Unreachable):
        persist_chunk(loading, RUN, 0, make_batch(n=6000))  # what is left fits into the sockets
    monkeypatch.undo()
    assert loading.loading.refusal == ""
    check_nothing_is_there(loading)
    assert persist_chunk(loading, RUN, 0, make_batch()) == 5


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
def test_a_client_that_fails_in_the_middle_leaves_nothing(
    loading: Store, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    pieces = []

    def fail(batch: pa.RecordBatch) -> memoryview:
        if len(pieces) == 2:
            raise kind("in the middle")
        pieces.append(to_tsv(batch))
        return pieces[-1]

    monkeypatch.setattr(bulk, "to_tsv", fail)
    with pytest.raises(kind, match="in the middle"):
        persist_chunk(loading, RUN, 0, make_batch(n=10_000))
    monkeypatch.undo()
    check_nothing_is_there(loading)
    assert persist_chunk(loading, RUN, 0, make_batch()) == 5


def test_an_account_that_may_not_write_is_told_so(server: MySQLServer, mysql_settings: StoreSettings) -> None:
    close_store(open_store(mysql_settings))
    server.run("CREATE USER IF NOT EXISTS 'looker'@'%' IDENTIFIED BY 'read-only'")
    server.run(f"GRANT SELECT ON {mysql_settings.database}.* TO 'looker'@'%'")
    store = open_store(replace(mysql_settings, username="looker", password="read-only"), create=False)
    with pytest.raises(Unreachable, match="GRANT ALL ON"):
        persist_chunk(store, RUN, 0, make_batch())
    close_store(store)
