"""Addresses, security groups and forwarders: what can be reached from where.

A task's private address is 127.77.x.y, its public one 127.88.x.y, a cache's 127.66.x.y, a balancer's 127.99.x.y, where
x is this emulator's own: several run beside each other. Whoever asks at a public address is taken for the pretended
caller; between private addresses nothing is filtered, as all of them are this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CLAIMS = range(1, 255)
_OF_A_BLOCK = 250  # addresses 127.net.x.1 to 127.net.x.250
_CLAIM_PORT = 40004  # where an emulator claims its addresses for as long as it runs
_SPEAK = 0.2  # seconds that somebody who is not let in has to say something
_POLL = 0.05  # seconds between looks at which private ports are listened on


class Addresses:
    """Addresses of one emulator, each given out once."""

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise RuntimeError("the emulator needs Linux, where all of 127.0.0.0/8 is this machine")
        self._claims = [_claim_block()]
        self._given = {net: itertools.count() for net in (66, 77, 88, 99)}
        self._lock = threading.Lock()

    def give(self, net: int) -> str:
        """Return the next address of ``127.net``, one that nobody had."""
        with self._lock:
            block, number = divmod(next(self._given[net]), _OF_A_BLOCK)
            while block >= len(self._claims):
                self._claims.append(_claim_block())
            return loopback(f"127.{net}.{self._claims[block][1]}.{number + 1}")

    def close(self) -> None:
        """Leave the addresses to others."""
        for claim, _ in self._claims:
            claim.close()


def _claim_block() -> tuple[socket.socket, int]:
    """Return a third byte for addresses that no other emulator on this machine has, and the socket that claims it."""
    for block in _CLAIMS:
        claim = socket.socket()
        try:
            claim.bind((f"127.77.{block}.251", _CLAIM_PORT))
        except OSError:
            claim.close()
            continue
        claim.listen(1)  # a bound port that listens cannot be had twice, not even with SO_REUSEADDR
        return claim, block
    raise RuntimeError("254 emulators run on this machine already")


def loopback(address: str) -> str:
    """Return an address that is this machine's own; any other is refused."""
    if ipaddress.ip_address(address) not in ipaddress.ip_network("127.0.0.0/8"):
        raise RuntimeError(f"the emulator listens on and dials 127.0.0.0/8 only, not {address}")
    return address


def admits(groups: list[Any], source: str, port: int) -> bool:
    """Say whether security groups of moto's let a TCP connection from an address in."""
    return any(_covers(rule, source, port) for group in groups for rule in group.ingress_rules)


def _covers(rule: Any, source: str, port: int) -> bool:
    everything = str(rule.ip_protocol) == "-1"
    if not everything and str(rule.ip_protocol).lower() not in ("tcp", "6"):
        return False
    if not everything and not int(rule.from_port) <= port <= int(rule.to_port):
        return False
    cidr = (rule.ip_range or {}).get("CidrIp")
    return bool(cidr) and ipaddress.ip_address(source) in ipaddress.ip_network(cidr)


@dataclass
class Wire:
    """A public address and port before a private one.

    Parameters
    ----------
    public, private : tuple of str and int
    open : callable
        Says at each connection whether the pretended caller is let in.
    """

    public: tuple[str, int]
    private: tuple[str, int]
    open: Callable[[], bool]
    server: asyncio.Server | None = field(default=None, repr=False)
    cut: bool = False


class Wires:
    """All forwarders, in one thread: a public port listens while its private one does, as if it were the same."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._wires: list[Wire] = []
        self._pipes: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="wires", daemon=True)
        self._thread.start()

    def lay(self, public: tuple[str, int], private: tuple[str, int], open_: Callable[[], bool]) -> Wire:
        """Forward a public address to a private one from now on."""
        loopback(public[0])
        wire = Wire(public, (loopback(private[0]), private[1]), open_)
        self._loop.call_soon_threadsafe(self._wires.append, wire)
        return wire

    def cut(self, wire: Wire) -> None:
        """End a forwarder and what goes through it."""
        asyncio.run_coroutine_threadsafe(self._cut(wire), self._loop).result(5)

    def drop(self) -> None:
        """End every connection through them; others may be made."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(5)

    def close(self) -> None:
        """End all of them."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        watching = self._loop.create_task(self._watch())
        self._loop.run_forever()
        tasks = [watching, *self._pipes]
        for task in tasks:
            task.cancel()
        for wire in self._wires:
            if wire.server:
                wire.server.close()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _watch(self) -> None:
        while True:
            if self._wires:
                await self._follow(listening())
            await asyncio.sleep(_POLL)

    async def _follow(self, ports: set[tuple[str, int]]) -> None:
        for wire in list(self._wires):
            if wire.server is None and wire.private in ports and not wire.cut:
                with contextlib.suppress(OSError):  # somebody else has the port: tried again
                    wire.server = await asyncio.start_server(
                        lambda r, w, wire=wire: self._pass(wire, r, w), *wire.public
                    )
            elif wire.server is not None and wire.private not in ports:
                wire.server.close()
                wire.server = None

    async def _cut(self, wire: Wire) -> None:
        wire.cut = True
        if wire in self._wires:
            self._wires.remove(wire)
        if wire.server:
            wire.server.close()
        for pipe in [pipe for pipe in self._pipes if pipe.get_name() == str(wire.public)]:
            pipe.cancel()

    async def _drop(self) -> None:
        for pipe in self._pipes:
            pipe.cancel()

    async def _pass(self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        task.set_name(str(wire.public))
        self._pipes.add(task)
        try:
            if wire.open():
                await _join(wire.private, reader, writer)
            else:
                await _reset(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._pipes.discard(task)
            writer.close()


async def _join(private: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes both ways until either side ends."""
    behind, before = await asyncio.open_connection(*private)
    ways = [asyncio.ensure_future(_carry(reader, before)), asyncio.ensure_future(_carry(behind, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        before.close()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while said := await source.read(1 << 16):
        sink.write(said)
        await sink.drain()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Have a connection end with a reset. (AWS drops packets, and the caller waits for its timeout.)

    Only once the caller has spoken: a reset before it begins with TLS makes Python lose the socket without closing it.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1), _SPEAK)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def listening() -> set[tuple[str, int]]:
    """Return addresses and ports of this machine that a TCP server listens on."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, _, state = line.split()[1:4]
        if state == "0A":
            address, port = local.split(":")
            found.add((socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)))
    return found
