"""One's own queries: parameters as one has them, nothing written, what is wrong in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from tests.sources.warehouses import Making

ROWS = [(1, "SPY", 10.5), (2, "it's 100%", None), (3, "Ä:x", 12.0), (4, None, 13.0)]


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def making(request, tmp_path):
    found = Making(tmp_path / "w.sqlite" if request.param == "sqlite" else request.getfixturevalue("server"))
    yield found
    found.clear()


def times(warehouse, condition, params=None):
    found = warehouse.query(f"SELECT timestamp_utc FROM options.greeks WHERE {condition} ORDER BY 1", params)
    return found["timestamp_utc"].tolist()


def test_parameters_are_bound_as_they_are(making):
    warehouse = making.make(ROWS)
    for t, ticker, _ in ROWS[:3]:
        assert times(warehouse, "ticker = :t", {"t": ticker}) == [t]
        assert times(warehouse, "ticker = :t AND timestamp_utc <= :u", {"t": ticker, "u": np.int64(t)}) == [t]
    assert times(warehouse, "ticker = :t", {"t": "' OR 1=1 -- "}) == []
    assert times(warehouse, "underlying > :p", {"p": np.float32(10.5)}) == [3, 4]
    assert times(warehouse, "ticker LIKE '%100%' AND '12:30:00' <> ''") == [2]


@pytest.mark.parametrize(
    "kind", [list, tuple, set, np.array, pd.Series, pd.Index, lambda names: pd.Series(names).array]
)
def test_a_list_stands_for_all_its_values(making, kind):
    warehouse = making.make(ROWS)
    assert times(warehouse, "ticker IN :names", {"names": kind(["SPY", "Ä:x", "none"])}) == [1, 3]
    assert times(warehouse, "timestamp_utc IN :t", {"t": kind([1, 2])}) == [1, 2]


def test_an_empty_list_finds_nothing_and_the_columns_stay(making):
    found = making.make(ROWS).query("SELECT ticker, underlying AS p FROM options.greeks WHERE ticker IN :t", {"t": []})
    assert found.columns.tolist() == ["ticker", "p"]
    assert len(found) == 0


def test_what_is_null_is_missing(making):
    found = making.make(ROWS).query("SELECT * FROM options.greeks ORDER BY timestamp_utc")
    assert found["underlying"].isna().tolist() == [False, True, False, False]
    assert found["ticker"].isna().tolist() == [False, False, False, True]
    assert found["underlying"].dtype == float


def test_dates_are_parameters_too(making):
    warehouse = making.make_closes([("SPY", "2024-01-02", 1.25), ("SPY", "2024-01-03", 2.5)])
    for day in (pd.Timestamp("2024-01-03").date(), np.datetime64("2024-01-03").astype(object), "2024-01-03"):
        found = warehouse.query("SELECT close_price FROM stocks.daily_underlying WHERE date >= :d", {"d": day})
        assert found["close_price"].tolist() == [2.5]


WRITES = [
    "INSERT INTO options.greeks (timestamp_utc) VALUES (9)",
    "UPDATE options.greeks SET ticker = 'X'",
    "DELETE FROM options.greeks",
    "CREATE TABLE options.more (a INT)",
    "CREATE TEMPORARY TABLE more (a INT)",
    "DROP TABLE options.greeks",
    "WITH old AS (SELECT 1) DELETE FROM options.greeks",
    "/* SELECT */ DELETE FROM options.greeks",
    "SELECT 1; DELETE FROM options.greeks",
    "BEGIN; DELETE FROM options.greeks; COMMIT",
    "",
    "nonsense",
]
ON_A_SERVER = [
    "SET SESSION TRANSACTION READ WRITE",
    "SET GLOBAL max_connections = 7",
    "CREATE USER evil@'%'",
    "GRANT ALL ON *.* TO evil@'%'",
    "TRUNCATE options.greeks",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE options.greeks",
    "SELECT 1 INTO OUTFILE '{folder}/made.txt'",
    "SELECT 1 INTO @x",
    "-- SELECT\nDELETE FROM options.greeks",
    "# SELECT\nDELETE FROM options.greeks",
    "/*! DELETE FROM options.greeks */",
    "(DELETE FROM options.greeks)",
    "EXPLAIN ANALYZE DELETE FROM options.greeks",
    "ANALYZE DELETE FROM options.greeks",
    "KILL 1",
]
IN_A_FILE = [
    "ATTACH '{folder}/made.txt' AS other",
    "VACUUM INTO '{folder}/made.txt'",
    "VACUUM",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = 1",
    "PRAGMA main.user_version = 5",
    "PRAGMA journal_mode = WAL",
    "DETACH options",
    "SELECT load_extension('x')",
]


def check_it_writes_nothing(making, sql, folder):
    warehouse = making.make(ROWS)
    with pytest.raises(BadInput) as caught:
        warehouse.query(sql.format(folder=folder))
    assert caught.value.what == "query"
    assert len(str(caught.value).splitlines()) == 1
    assert times(warehouse, "1 = 1") == [1, 2, 3, 4]
    assert not (folder / "made.txt").exists()


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_can_be_written(making, sql, tmp_path):
    check_it_writes_nothing(making, sql, tmp_path)


@pytest.mark.parametrize("sql", IN_A_FILE)
def test_nothing_can_be_written_beside_a_file(tmp_path, sql):
    check_it_writes_nothing(Making(tmp_path / "w.sqlite"), sql, tmp_path)


@pytest.mark.mysql
@pytest.mark.parametrize("sql", ON_A_SERVER)
def test_nothing_can_be_written_on_a_server_whatever_the_account_may(server, sql, tmp_path):
    making = Making(server)
    try:
        check_it_writes_nothing(making, sql, tmp_path)
        assert server.run("SELECT COUNT(*) FROM mysql.user WHERE user = 'evil'") == ((0,),)
    finally:
        making.clear()


@pytest.mark.parametrize(
    "sql",
    [
        "  \n-- how many\n/* rows */ (SELECT COUNT(*) AS n FROM options.greeks)",
        "with all_of as (SELECT * FROM options.greeks) SELECT COUNT(*) AS n FROM all_of",
        "SELECT (SELECT COUNT(*) FROM options.greeks) AS n",
    ],
)
def test_whatever_only_reads_is_a_query(making, sql):
    warehouse = making.make(ROWS)
    if not making.is_mysql:
        sql = sql.replace("(SELECT COUNT(*) AS n FROM options.greeks)", "SELECT COUNT(*) AS n FROM options.greeks")
    assert warehouse.query(sql)["n"].tolist() == [4]


def test_the_tables_can_be_looked_at(making):
    warehouse = making.make(ROWS)
    sql = "SHOW COLUMNS FROM options.greeks" if making.is_mysql else "PRAGMA options.table_info(greeks)"
    found = warehouse.query(sql)
    assert "underlying" in found["Field" if making.is_mysql else "name"].tolist()
    assert len(warehouse.query("EXPLAIN SELECT * FROM options.greeks")) > 0


@pytest.mark.parametrize(
    ("sql", "params", "message"),
    [
        ("SELECT nothing FROM options.greeks", None, "query: .*nothing.*; give one SELECT for"),
        ("SELECT * FROM options.none", None, "query: .*none.*; give one SELECT for"),
        ("SELECT * FROM nowhere.greeks", None, "query: .*nowhere.*; give one SELECT for"),
        ("SELEC 1", None, "query: .*; give one SELECT for"),
        ("SELECT :a", None, "params: no value for :a; it has :a"),
        ("SELECT :a, :b", {"b": 1}, "params: no value for :a; it has :a, :b"),
        ("SELECT :a", {"a": 1, "c": [1]}, "params: the query has no :c; it has :a"),
        ("SELECT 1", {"c": 1}, "params: the query has no :c; it has none"),
        ("SELECT :a", {"a": {"b": 1}}, "query: .*; give one SELECT for"),
    ],
)
def test_what_is_wrong_with_a_query_is_said_in_one_line(making, sql, params, message):
    warehouse = making.make(ROWS)
    with pytest.raises(BadInput, match=message) as caught:
        warehouse.query(sql, params)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["options.greeks", "main.greeks", "greeks", "any.greeks"])
def test_a_files_table_may_be_named_in_any_way(tmp_path, name):
    making = Making(tmp_path / "prices #1 50%.sqlite")
    making.make(ROWS)
    warehouse = orb.Warehouse(making.url, greeks=name)
    assert warehouse.span("SPY") == (1, 1)
    assert warehouse.query(f"SELECT COUNT(*) AS n FROM {name}")["n"].tolist() == [4]
