from __future__ import annotations

import pickle
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from orbresearch.errors import BadInput, OrbError, Unreachable, WrongTable
from orbresearch.settings import StoreSettings
from orbresearch.store.connection import close_store, open_store
from orbresearch.store.reader import persisted_chunks, read_runs
from orbresearch.store.writer import persist_chunk, register_run
from tests.servers_mysql import MySQLServer
from tests.store.rows import RUN, list_names, make_batch, make_record, run_sql, start_python

OLD_TABLE = "CREATE TABLE results (backtest_id VARCHAR(5) PRIMARY KEY, backtest_profit DOUBLE, trade_stats TEXT)"
NAMES = {"results", "runs", "chunks", "summaries", "store_info", "best_per_run"}


def refuse(settings: StoreSettings, kind: type[OrbError], *, create: bool = True) -> str:
    """Return the message with which opening is refused."""
    with pytest.raises(kind) as caught:
        open_store(settings, create=create)
    return str(caught.value)


def test_opening_creates_the_tables_and_the_view(settings: StoreSettings) -> None:
    close_store(open_store(settings))
    assert list_names(settings) == NAMES


def test_a_store_keeps_its_uuid(settings: StoreSettings) -> None:
    first, second = open_store(settings), open_store(settings, create=False)
    assert first.uuid == second.uuid
    assert len(first.uuid) == 36
    close_store(first)
    close_store(second)


def test_another_store_has_another_uuid(settings: StoreSettings, tmp_path: Path) -> None:
    first, second = open_store(settings), open_store(StoreSettings(tmp_path / "folder" / "other.sqlite"))
    assert first.uuid != second.uuid
    close_store(first)
    close_store(second)


def test_a_store_says_what_and_where_it_is_without_its_password(settings: StoreSettings) -> None:
    store = open_store(settings)
    assert store.dialect == ("MySQL" if settings.is_mysql else "SQLite")
    assert store.where == settings.where
    assert not settings.password or settings.password not in f"{store!r} {store.engine!r} {store.where}"
    close_store(store)


def test_eight_processes_may_open_an_empty_database_at_once(settings: StoreSettings) -> None:
    code = "print(connection.open_store(settings).uuid)"
    processes = [start_python(code, settings) for _ in range(8)]
    told = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert len(set(told)) == 1
    assert list_names(settings) == NAMES


def test_an_interrupted_creation_is_completed(settings: StoreSettings) -> None:
    close_store(open_store(settings))
    on_table = " ON results" if settings.is_mysql else ""
    run_sql(settings, f"DROP INDEX ix_results_run_id{on_table}", "DROP VIEW best_per_run", "DROP TABLE chunks")
    close_store(open_store(settings))
    assert list_names(settings) == NAMES
    run_sql(settings, f"DROP INDEX ix_results_run_id{on_table}")  # was there again


def test_the_old_table_is_refused_and_nothing_is_created_beside_it(settings: StoreSettings) -> None:
    run_sql(settings, OLD_TABLE)
    message = refuse(settings, WrongTable)
    assert "ALTER TABLE results RENAME TO results_old" in message
    assert "run_id" in message
    assert ("DB_TABLE" if settings.is_mysql else "ORB_HOME") in message
    assert refuse(settings, WrongTable, create=False) == message
    assert list_names(settings) == {"results"}


def test_the_remedies_in_the_refusal_work(settings: StoreSettings) -> None:
    run_sql(settings, OLD_TABLE)
    close_store(open_store(replace(settings, table="orb")))
    run_sql(settings, "ALTER TABLE results RENAME TO results_old")
    close_store(open_store(settings))
    prefixed = {name if name == "results" else f"orb_{name}" for name in NAMES} - {"results"}
    assert list_names(settings) == {*NAMES, *prefixed, "orb", "results_old"}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("CREATE TABLE runs (id INT)", "table 'runs'"),
        ("CREATE TABLE chunks (run_id CHAR(16), first BIGINT, row_count BIGINT)", "has no column persisted_at"),
        ("CREATE TABLE best_per_run (run_id CHAR(16))", "is a table, not a view"),
        ("CREATE VIEW best_per_run AS SELECT 1 AS one", "is a view with other columns"),
        ("CREATE VIEW results AS SELECT 1 AS one", "is a view"),
    ],
)
def test_any_table_of_another_shape_is_refused_before_any_is_created(
    settings: StoreSettings, change: str, difference: str
) -> None:
    run_sql(settings, change)
    before = list_names(settings)
    assert difference in refuse(settings, WrongTable)
    assert list_names(settings) == before


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (("backtest_id CHAR(27)", "backtest_id CHAR(26)"), "column backtest_id is CHAR(26), not CHAR(27)"),
        (("sessions BIGINT NOT NULL", "sessions BIGINT"), "column sessions allows NULL"),
        (("sharpe_ratio DOUBLE", "sharpe_ratio TEXT"), "column sharpe_ratio is TEXT, not DOUBLE"),
        (("PRIMARY KEY (backtest_id)", "PRIMARY KEY (run_id)"), "primary key is (run_id), not (backtest_id)"),
    ],
)
def test_the_difference_is_named(sqlite_settings: StoreSettings, changed: tuple[str, str], difference: str) -> None:
    close_store(open_store(sqlite_settings))
    [(statement,)] = run_sql(sqlite_settings, "SELECT sql FROM sqlite_master WHERE name = 'results'")
    assert changed[0] in str(statement)
    run_sql(sqlite_settings, "DROP TABLE results", str(statement).replace(*changed))
    assert difference in refuse(sqlite_settings, WrongTable)


@pytest.mark.mysql
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("MODIFY ticker VARCHAR(5) NOT NULL", "column ticker is VARCHAR(5), not VARCHAR(32)"),
        ("MODIFY sharpe_ratio FLOAT", "column sharpe_ratio is FLOAT, not DOUBLE"),
        ("MODIFY max_drawdown DOUBLE", "column max_drawdown allows NULL"),
        ("ENGINE = MyISAM", "storage engine is MyISAM"),
        ("DROP PRIMARY KEY", "primary key is (), not (backtest_id)"),
        ("ADD COLUMN mine INT NOT NULL", "has a further column mine"),
    ],
)
def test_the_difference_is_named_on_mysql(mysql_settings: StoreSettings, change: str, difference: str) -> None:
    close_store(open_store(mysql_settings))
    run_sql(mysql_settings, f"ALTER TABLE results {change}")
    assert difference in refuse(mysql_settings, WrongTable)


def test_a_column_of_ones_own_is_tolerated(settings: StoreSettings) -> None:
    close_store(open_store(settings))
    run_sql(settings, "ALTER TABLE results ADD COLUMN note VARCHAR(50)")
    store = open_store(settings)
    assert persist_chunk(store, RUN, 0, make_batch()) == 5
    close_store(store)


def test_tables_of_a_later_version_are_refused(settings: StoreSettings) -> None:
    close_store(open_store(settings))
    run_sql(settings, "UPDATE store_info SET schema_version = 99")
    assert "version 99" in refuse(settings, WrongTable)


def test_tables_of_an_earlier_version_are_refused_before_their_shape_is_looked_at(settings: StoreSettings) -> None:
    close_store(open_store(settings))
    run_sql(settings, "UPDATE store_info SET schema_version = 0", "ALTER TABLE runs DROP COLUMN chunk_size")
    message = refuse(settings, WrongTable)
    assert "tables are of version 0; this orbresearch writes version 2" in message
    assert "install the orbresearch that wrote them" in message
    assert ("DB_TABLE" if settings.is_mysql else "ORB_HOME") in message
    assert refuse(settings, WrongTable, create=False) == message


def test_tables_of_version_1_are_brought_up_to_date(settings: StoreSettings) -> None:
    store = open_store(settings)
    register_run(store, make_record())
    persist_chunk(store, RUN, 0, make_batch())
    close_store(store)
    older = ("UPDATE store_info SET schema_version = 1", "DROP TABLE summaries")
    run_sql(settings, *older, "ALTER TABLE runs DROP COLUMN kept", "ALTER TABLE runs DROP COLUMN finished_at")
    assert "open an orb.Lab() once" in refuse(settings, WrongTable, create=False)
    for _ in range(2):  # the second finds nothing to do
        store = open_store(settings)
        assert store.uuid == run_sql(settings, "SELECT uuid FROM store_info")[0][0]
        assert run_sql(settings, "SELECT schema_version FROM store_info") == [(2,)]
        assert run_sql(settings, "SELECT kept, finished_at FROM runs") == [("all", None)]
        assert persist_chunk(store, RUN, 0, make_batch()) == 0  # the ledger is as it was
        close_store(store)


def test_a_migration_that_was_interrupted_goes_on(settings: StoreSettings) -> None:
    close_store(open_store(settings))
    run_sql(settings, "UPDATE store_info SET schema_version = 1", "ALTER TABLE runs DROP COLUMN finished_at")
    store = open_store(settings)
    assert register_run(store, make_record()) is True
    close_store(store)


def test_two_results_tables_in_one_database_have_a_ledger_each(settings: StoreSettings) -> None:
    one, two = open_store(settings), open_store(replace(settings, table="mine"))
    persist_chunk(one, RUN, 0, make_batch())
    assert persisted_chunks(two, RUN) == {}
    assert persist_chunk(two, RUN, 0, make_batch()) == 5
    assert one.uuid != two.uuid
    close_store(one)
    close_store(two)


@pytest.mark.parametrize("name", ["re`sults", 'a"b', "a b", "x" * 49, "1st", "a.b"])
def test_a_name_that_sql_would_have_to_quote_is_refused(settings: StoreSettings, name: str) -> None:
    assert "DB_TABLE" in refuse(replace(settings, table=name), BadInput)


def test_a_table_of_the_same_name_in_capitals_is_the_same_table_to_sqlite(sqlite_settings: StoreSettings) -> None:
    run_sql(sqlite_settings, OLD_TABLE.replace("results", "Results"))
    assert "run_id" in refuse(sqlite_settings, WrongTable)


def test_a_reader_creates_nothing_where_nothing_is(settings: StoreSettings) -> None:
    assert "no results yet at" in refuse(settings, BadInput, create=False)
    assert settings.is_mysql or not settings.sqlite.exists()
    assert not settings.is_mysql or list_names(settings) == set()


def test_a_reader_creates_nothing_in_an_empty_file(sqlite_settings: StoreSettings) -> None:
    sqlite_settings.sqlite.touch()
    assert "no results yet at" in refuse(sqlite_settings, BadInput, create=False)
    assert sqlite_settings.sqlite.stat().st_size == 0


def test_a_file_of_another_kind_is_refused(sqlite_settings: StoreSettings) -> None:
    sqlite_settings.sqlite.write_text("date,price\n" * 500)
    message = refuse(sqlite_settings, Unreachable)
    assert str(sqlite_settings.sqlite) in message
    assert "no SQLite file: move it away" in message


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    assert "check that its folder exists and is writable" in refuse(StoreSettings(tmp_path), Unreachable)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "ORB_HOME" in refuse(StoreSettings(tmp_path / "file" / "results.sqlite"), Unreachable)


@pytest.mark.mysql
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "SeCrEt-ü-ł"}, ["Access denied", "check DB_USERNAME and DB_PASSWORD"]),
        ({"username": "nobody"}, ["Access denied", "check DB_USERNAME and DB_PASSWORD"]),
        ({"database": "nowhere"}, ["Unknown database", "CREATE DATABASE nowhere;"]),
        ({"port": 1}, ["127.0.0.1:1", "refused", "check DB_ENDPOINT and DB_PORT"]),
        ({"endpoint": "no-such-host.invalid"}, ["no-such-host.invalid:", "check DB_ENDPOINT and DB_PORT"]),
        ({"endpoint": "no..host"}, ["no..host:", "label"]),
        ({"tls": True}, ["TLS"]),
    ],
)
def test_an_unreachable_server_is_named_with_the_remedy_and_without_the_password(
    mysql_settings: StoreSettings, change: dict[str, object], words: list[str]
) -> None:
    settings = replace(mysql_settings, **change)
    with pytest.raises(Unreachable) as caught:
        open_store(settings)
    message = str(caught.value)
    assert not [word for word in [*words, f"{settings.endpoint}:{settings.port}"] if word not in message]
    assert "\n" not in message
    seen = traceback.TracebackException(caught.type, caught.value, caught.tb.tb_next, capture_locals=True)
    assert settings.password not in "".join(seen.format()) + repr(caught.value)


def test_the_refusals_travel_between_processes(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    run_sql(sqlite_settings, OLD_TABLE)
    for settings, kind in ((sqlite_settings, WrongTable), (StoreSettings(tmp_path), Unreachable)):
        with pytest.raises(kind) as caught:
            open_store(settings)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.mysql
def test_an_account_without_rights_learns_which_it_needs(server: MySQLServer, mysql_settings: StoreSettings) -> None:
    server.run("CREATE USER IF NOT EXISTS 'reader'@'%' IDENTIFIED BY 'read-only'")
    server.run(f"GRANT SELECT ON {mysql_settings.database}.* TO 'reader'@'%'")
    settings = replace(mysql_settings, username="reader", password="read-only")
    assert f"GRANT ALL ON {settings.database}.* TO 'reader'" in refuse(settings, Unreachable)
    close_store(open_store(mysql_settings))
    store = open_store(settings, create=False)
    assert len(read_runs(store)) == 0
    close_store(store)


@pytest.mark.mysql
def test_a_connection_that_the_server_closed_is_replaced(server: MySQLServer, mysql_settings: StoreSettings) -> None:
    store = open_store(mysql_settings)
    with store.engine.connect() as connection:
        number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
    server.run(f"KILL {number}")
    assert persist_chunk(store, RUN, 0, make_batch()) == 5
    close_store(store)


@pytest.mark.mysql
def test_sessions_are_strict_utf8_and_read_committed(mysql_settings: StoreSettings) -> None:
    store = open_store(mysql_settings)
    with store.engine.connect() as connection:
        mode, charset = connection.exec_driver_sql("SELECT @@sql_mode, @@character_set_client").one()
        assert connection.get_isolation_level() == "READ COMMITTED"
    assert "STRICT_ALL_TABLES" in mode
    assert charset == "utf8mb4"
    close_store(store)


def test_a_sqlite_file_is_read_while_it_is_written(sqlite_settings: StoreSettings) -> None:
    close_store(open_store(sqlite_settings))
    assert run_sql(sqlite_settings, "PRAGMA journal_mode") == [("wal",)]


def test_importing_the_package_loads_no_driver() -> None:
    code = "import sys, orbresearch.store; print({'sqlalchemy', 'pymysql', 'sqlite3'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
