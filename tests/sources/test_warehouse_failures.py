"""Warehouses that cannot be used, and connections that break: said in one line, without any secret, or tried again."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
import traceback

import pymysql
import pytest
import sqlalchemy as sa

import orbresearch as orb
from orbresearch.errors import BadInput, Unreachable
from orbresearch.sources.warehouse import connections as module
from tests.servers_mysql import require_server, restartable_mysql
from tests.sources.warehouses import Making

SECRET = "hunter2-do-not-print"
ROWS = [(second, "SPY", 10.0) for second in range(50)]

USES = [
    lambda warehouse: warehouse.tickers(),
    lambda warehouse: warehouse.span("SPY"),
    lambda warehouse: warehouse.opening_ranges(300, "2024-01-03", tickers=["SPY"]),
    lambda warehouse: warehouse.query("SELECT * FROM options.greeks"),
]


@pytest.fixture
def making(server):
    found = Making(server)
    yield found
    found.clear()


def check(kind, message, warehouse, uses=tuple(USES), caplog=None):
    for use in uses:
        with pytest.raises(kind, match=message) as caught:
            use(warehouse)
        text = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
        assert SECRET not in text + (caplog.text if caplog else "")
        assert len(str(caught.value).splitlines()) == 1
        assert "DB_" not in str(caught.value)


# --- files


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "notes.sqlite").write_text("notes" * 1000)
    for name, message in [
        ("none.sqlite", r"none\.sqlite cannot be used: there is no such file; name another file"),
        ("", "cannot be used: that is a folder; name another file"),
        ("notes.sqlite", "file is not a database; it is no SQLite file"),
    ]:
        check(Unreachable, message, orb.Warehouse(f"sqlite:///{tmp_path / name}"))
    assert not (tmp_path / "none.sqlite").exists()


def test_tables_and_columns_of_a_file_that_are_missing_are_named(tmp_path):
    making = Making(tmp_path / "w.sqlite")
    making.make(ROWS, renamed={"underlying": "spot"})
    check(BadInput, "no column 'underlying'; its columns are timestamp_utc, ticker, spot; say columns=", orb.Warehouse(
        making.url
    ), USES[:3])  # fmt: skip
    check(
        BadInput,
        "no table options.none; there is options.greeks",
        orb.Warehouse(making.url, greeks="options.none"),
        USES[:3],
    )
    check(
        BadInput, "no column 'iv'", orb.Warehouse(making.url, columns={"underlying": "spot", "delta": "iv"}), USES[:3]
    )
    with pytest.raises(BadInput, match=r"no table stocks\.daily_underlying; there is"):
        orb.Warehouse(making.url).daily_closes()


@pytest.mark.parametrize("kind", ["DATETIME", "TIMESTAMP", "VARCHAR(20)", "DOUBLE", "FLOAT", "DECIMAL(14, 3)"])
def test_moments_that_are_no_whole_seconds_are_refused(tmp_path, kind):
    making = Making(tmp_path / "w.sqlite")
    message = r"options\.greeks\.timestamp_utc is .*, not whole seconds since the epoch; name a column that has it"
    check(BadInput, message, making.make(ROWS, types={"timestamp_utc": kind}), USES[:3])


def test_prices_that_are_text_are_refused(tmp_path):
    making = Making(tmp_path / "w.sqlite")
    check(BadInput, "underlying is TEXT, not a number", making.make(ROWS, types={"underlying": "TEXT"}), USES[:3])


# --- servers


@pytest.mark.mysql
@pytest.mark.parametrize("kind", ["DATETIME", "TIMESTAMP", "DOUBLE"])
def test_moments_of_a_server_that_are_no_whole_seconds_are_refused(making, kind):
    message = "timestamp_utc is .*, not whole seconds since the epoch"
    check(BadInput, message, making.make([], types={"timestamp_utc": f"{kind} NULL"}), USES[:3])


@pytest.mark.mysql
def test_tables_and_columns_of_a_server_that_are_missing_are_named(making):
    making.make(ROWS, types={"underlying": "DOUBLE"}, renamed={"underlying": "spot"})
    check(BadInput, "no column 'underlying'; its columns are id, timestamp_utc", orb.Warehouse(making.url), USES[:3])
    for name, message in [
        ("options.none", r"no table options\.none; there is .*options\.greeks.*; say greeks="),
        ("nowhere.greeks", r"no table nowhere\.greeks; there is"),
        ("greeks", "'greeks' names no database; write \"database.table\""),
    ]:
        check(BadInput, message, orb.Warehouse(making.url, greeks=name), USES[:3])
    with pytest.raises(BadInput, match=r"no table stocks\.daily_underlying"):
        orb.Warehouse(making.url).daily_closes()


@pytest.mark.mysql
def test_a_wrong_password_or_port_names_its_variable(server, caplog):
    wrong = orb.Warehouse(f"mysql://orb:{SECRET}@{server.host}:{server.port}")
    check(Unreachable, "Access denied for user 'orb'.*; check SQL_USERNAME and SQL_PASSWORD", wrong, caplog=caplog)
    began = time.monotonic()
    nobody = orb.Warehouse(f"mysql://orb:{SECRET}@127.0.0.1:1")
    check(Unreachable, r"127\.0\.0\.1:1 cannot be used: .*; check SQL_HOSTNAME and SQL_PORT", nobody, caplog=caplog)
    assert time.monotonic() - began < 5


@pytest.fixture
def reader(server, making):
    """Return a function that makes an account with these rights, and opens the warehouse as it."""
    making.make(ROWS)
    making.run(
        "CREATE DATABASE stocks", "CREATE TABLE stocks.daily_underlying (ticker INT, date DATE, close_price INT)"
    )
    making.run(f"CREATE USER analyst@'%' IDENTIFIED BY '{SECRET}'")

    def opened(*grants):
        making.run(*(f"GRANT {grant} TO analyst@'%'" for grant in grants)) if grants else None
        return orb.Warehouse(f"mysql://analyst:{SECRET}@{server.host}:{server.port}")

    yield opened
    server.run("DROP USER IF EXISTS analyst@'%'")


GRANT = r"command denied to user 'analyst'@.*; GRANT SELECT ON (options|its_database)\.greeks TO 'analyst';$"


@pytest.mark.mysql
@pytest.mark.parametrize(
    "grants",
    [
        (),
        ("SELECT ON stocks.*",),
        ("INSERT ON options.*",),
        ("SELECT (ticker) ON options.greeks",),
    ],
)
def test_an_account_that_may_not_read_is_told_what_to_grant(reader, grants):
    check(Unreachable, GRANT, reader(*grants))


@pytest.mark.mysql
def test_an_account_that_may_read_options_alone_reads_them(reader):
    warehouse = reader("SELECT ON options.greeks")
    assert warehouse.span("SPY") == (0, 49)
    with pytest.raises(Unreachable, match=r"GRANT SELECT ON stocks\.daily_underlying TO 'analyst';$"):
        warehouse.daily_closes()


# --- connections that break


def slowly(connection, _, item):
    """Ask the server for something that takes a while."""
    connection.execute(sa.text("SELECT SLEEP(0.15)"))
    return item, connection.execute(sa.text("SELECT :item * 2"), {"item": item}).scalar()


@pytest.mark.mysql
def test_what_a_lost_connection_interrupts_is_done_again(making, server, monkeypatch, caplog):
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.1, 0.1, 0.1, 0.1, 0.1, 0.1))
    warehouse = making.make(ROWS)
    warehouse.span("SPY")
    done = threading.Event()

    def disturb():
        for _ in range(3):
            time.sleep(0.3)
            for number, info in server.run("SELECT id, info FROM information_schema.processlist"):
                if "SLEEP" in str(info):
                    with contextlib.suppress(pymysql.MySQLError):  # gone already
                        server.run(f"KILL {number}")
        done.set()

    thread = threading.Thread(target=disturb)
    thread.start()
    with caplog.at_level(logging.WARNING):
        assert list(warehouse.each(list(range(40)), slowly)) == [(item, item * 2) for item in range(40)]
    thread.join()
    assert done.is_set()
    assert any("try again" in record.getMessage() for record in caplog.records)


@pytest.mark.mysql
def test_results_come_in_order_and_several_at_once(making):
    warehouse = making.make(ROWS, connections=4)
    began = time.monotonic()

    def work(connection, _, item):
        connection.execute(sa.text("SELECT SLEEP(:s)"), {"s": 0.4 if item == 0 else 0.1})
        return item

    assert list(warehouse.each(list(range(12)), work)) == list(range(12))
    assert time.monotonic() - began < 1.2


def test_an_error_ends_the_work_and_cancels_the_rest(tmp_path):
    warehouse = Making(tmp_path / "w.sqlite").make(ROWS, connections=2)
    begun = []

    def work(_, __, item):
        begun.append(item)
        time.sleep(0.02)
        if item == 3:
            raise BadInput("item", "3", "give another")
        return item

    found = warehouse.each(list(range(200)), work)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BadInput, match="item: 3"):
        next(found)
    assert len(begun) < 20


def test_who_stops_asking_cancels_the_rest(tmp_path):
    warehouse = Making(tmp_path / "w.sqlite").make(ROWS, connections=2)
    begun = []
    found = warehouse.each(list(range(200)), lambda _, __, item: begun.append(item) or time.sleep(0.02))
    next(found)
    found.close()
    assert len(begun) < 20


@pytest.mark.mysql
def test_a_server_that_comes_back_is_asked_again_and_one_that_stays_away_is_told(monkeypatch):
    require_server()
    with restartable_mysql() as restartable:
        making = Making(restartable.server)
        warehouse = making.make(ROWS)
        found = warehouse.each(list(range(30)), slowly)
        assert next(found) == (0, 0)
        restartable.stop()
        restartable.start()
        assert list(found) == [(item, item * 2) for item in range(1, 30)]
        monkeypatch.setattr(module, "_RETRY_SECONDS", (0.1, 0.2, 0.3))
        found = warehouse.each(list(range(30)), slowly)
        next(found)
        restartable.kill()
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"check SQL_HOSTNAME and SQL_PORT, that|try again"):
            list(found)
        assert time.monotonic() - began < 10
        check(Unreachable, "check SQL_HOSTNAME and SQL_PORT|try again", warehouse, USES[3:])


def test_a_file_in_use_by_a_writer_is_read(tmp_path):
    making = Making(tmp_path / "w.sqlite")
    warehouse = making.make(ROWS)
    writer = sqlite3.connect(making.place)
    writer.execute("BEGIN IMMEDIATE")
    assert warehouse.span("SPY") == (0, 49)
    writer.close()
