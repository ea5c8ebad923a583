from __future__ import annotations

from pathlib import Path

import pymysql
import pytest

from orbresearch.errors import Unreachable
from orbresearch.sql.failures import FILE_ASKED
from orbresearch.sql.loadlocal import FileAsked, GuardedConnection
from orbresearch.store.connection import open_store
from tests.servers_mysql import MySQLServer
from tests.sql.rogue import PING, QUERY, Rogue, rogue_server

SECRET = "the-secret-that-must-stay"
LOCAL_FILES = 0x80


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    return str(file)


def login(port: int, **changes: object) -> GuardedConnection:
    facts = {"host": "127.0.0.1", "port": port, "user": "orb", "password": "pw", "read_timeout": 10, **changes}
    return GuardedConnection(**facts)


def check_nothing_was_given(rogue: Rogue) -> None:
    assert rogue.asked == 1
    assert rogue.given == b""
    assert SECRET.encode() not in rogue.received


@pytest.mark.parametrize("local_infile", [False, True])
@pytest.mark.parametrize("trigger", [QUERY + b"SET sql_mode", QUERY + b"SELECT 1"])
def test_a_server_that_answers_a_query_with_a_request_for_a_file_gets_nothing(
    secret: str, trigger: bytes, local_infile: bool
) -> None:
    def use() -> None:
        login(rogue.port, local_infile=local_infile, sql_mode="TRADITIONAL").query("SELECT 1")

    with rogue_server(secret, trigger) as rogue, pytest.raises(FileAsked, match="it was sent nothing"):
        use()
    check_nothing_was_given(rogue)


@pytest.mark.parametrize("path", ["/etc/passwd", "rows", ""])
def test_no_name_of_a_file_makes_a_difference(path: str) -> None:
    with rogue_server(path, QUERY + b"SELECT") as rogue:
        connection = login(rogue.port, local_infile=True)
        with pytest.raises(FileAsked):
            connection.query("SELECT 1")
        assert not connection.open
    check_nothing_was_given(rogue)


def test_the_driver_itself_would_send_the_file(secret: str) -> None:
    with rogue_server(secret, QUERY + b"SELECT") as rogue:
        connection = pymysql.connect(host="127.0.0.1", port=rogue.port, user="orb", password="pw", local_infile=True)
        connection.query("SELECT 1")
        connection.close()
    assert rogue.given == SECRET.encode()


@pytest.mark.parametrize("trigger", [b"", QUERY + b"SET NAMES", QUERY + b"COMMIT", PING])
def test_no_other_packet_is_answered_with_a_file(secret: str, trigger: bytes) -> None:
    def use() -> None:
        connection = login(rogue.port, local_infile=True)
        connection.commit() if b"COMMIT" in trigger else connection.ping(reconnect=False)

    with rogue_server(secret, trigger) as rogue, pytest.raises(pymysql.MySQLError):
        use()
    assert rogue.asked == 1
    assert SECRET.encode() not in rogue.received


def test_an_armed_connection_sends_what_it_was_armed_with_whatever_file_is_named(secret: str) -> None:
    with rogue_server(secret, QUERY + b"LOAD") as rogue:
        connection = login(rogue.port, local_infile=True)
        with connection.armed(iter([memoryview(b"one\n"), memoryview(b"two\n")])):
            connection.query("LOAD DATA LOCAL INFILE 'rows' INTO TABLE results")
        connection.close()
    assert rogue.given == b"one\ntwo\n"


def test_an_armed_connection_answers_once(secret: str) -> None:
    with rogue_server(secret, QUERY + b"LOAD", times=2) as rogue:
        connection = login(rogue.port, local_infile=True)
        with pytest.raises(FileAsked), connection.armed([memoryview(b"rows\n")]):
            connection.query("LOAD DATA LOCAL INFILE 'rows' INTO TABLE results")
        assert not connection.open
    assert rogue.asked == 2
    assert rogue.given == b"rows\n"


def test_a_connection_is_disarmed_when_no_file_was_asked_for(secret: str) -> None:
    with rogue_server(secret, QUERY + b"SELECT") as rogue:
        connection = login(rogue.port, local_infile=True)
        with connection.armed([memoryview(b"rows\n")]):
            connection.query("LOAD DATA LOCAL INFILE 'rows' INTO TABLE results")
        with pytest.raises(FileAsked):
            connection.query("SELECT 1")
    check_nothing_was_given(rogue)


@pytest.mark.parametrize("trigger", [QUERY + b"SET sql_mode", QUERY + b"SELECT"])
def test_a_store_on_such_a_server_is_refused_with_what_happened(secret: str, trigger: bytes) -> None:
    with rogue_server(secret, trigger) as rogue:
        server = MySQLServer(rogue.port, "rogue", password="pw")
        with pytest.raises(Unreachable, match=r"asked for a file of this machine .* check DB_ENDPOINT"):
            open_store(server.settings("orb"))
    check_nothing_was_given(rogue)
    assert int.from_bytes(rogue.login[:4], "little") & LOCAL_FILES == 0


def test_the_errors_number_is_none_of_the_drivers_own() -> None:
    assert FILE_ASKED == 2027
