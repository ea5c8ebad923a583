"""``LOAD DATA LOCAL INFILE`` from memory, over connections that open no file, whatever the server asks for.

A MySQL server may answer any statement with a request for a file of the client's machine, and PyMySQL, where its
``local_infile`` is on, sends the file that the request names. The connections of this module answer one request after
they were armed, with the bytes they were armed with, whatever file it names; on any other request they send nothing
and close. All of a store's connections are such; ``local_infile`` is on only for those that load rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CLIENT
from pymysql.err import OperationalError

from orbresearch.sql.failures import FILE_ASKED

PACKET_BYTES = 64 * 1024  # fewer system calls than the usual 16 KiB; larger ones are no faster


class FileAsked(OperationalError):
    """The server asked for a file when it should not have."""


class GuardedConnection(Connection):
    """A connection that answers one request for a file, if it is armed, from memory."""

    server_capabilities: int
    _force_close: Callable[[], None]
    _pieces: Iterator[memoryview] | None = None

    @property
    def may_load(self) -> bool:
        """Whether client and server told each other that they know LOAD DATA LOCAL."""
        return bool(self.server_capabilities & self.client_flag & CLIENT.LOCAL_FILES)

    @contextmanager
    def armed(self, pieces: Iterable[memoryview], most: int = PACKET_BYTES) -> Iterator[None]:
        """Let the next request be answered with these bytes, in packets of at most ``most``.

        They are made while the server reads.
        """
        self._pieces = (part for piece in pieces for part in _cut(piece, min(most, PACKET_BYTES)))
        try:
            yield
        finally:
            self._pieces = None

    def count_warnings(self) -> int:
        """Return how many warnings the last statement caused."""
        return self._result.warning_count if self._result else 0

    def answer_file(self) -> Any:
        """Send what the connection is armed with; return the packet in which the server says what it made of it."""
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            self._force_close()
            raise FileAsked(FILE_ASKED, "the server asked for a file of this machine (it was sent nothing)")
        try:
            for piece in pieces:
                self.write_packet(piece)
        except BaseException:
            self._force_close()  # some of the rows must not end like all of them
            raise
        self.write_packet(b"")
        return self._read_packet()  # type: ignore[no-untyped-call]

    def _read_query_result(self, unbuffered: bool = False) -> int | None:
        self._result = None
        answer = _Answer(self)
        if unbuffered:
            answer.init_unbuffered_query()
        else:
            answer.read()
        self._result = answer
        if answer.server_status is not None:
            self.server_status = answer.server_status
        return answer.affected_rows


class _Answer(MySQLResult):
    """What a statement gave; PyMySQL's own would open the file."""

    connection: GuardedConnection
    _read_ok_packet: Callable[[Any], None]

    def _read_load_local_packet(self, _: object) -> None:
        packet = self.connection.answer_file()
        if not packet.is_ok_packet():
            self.connection._force_close()
            raise FileAsked(FILE_ASKED, "the server answered rows with something else than their number")
        self._read_ok_packet(packet)


def _cut(piece: memoryview, size: int) -> Iterator[memoryview]:
    return (piece[start : start + size] for start in range(0, len(piece), size))
