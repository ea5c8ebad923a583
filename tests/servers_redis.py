"""Real Redis servers of a test's own, with every redis-server that this machine has."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from orbresearch.errors import Unreachable
from orbresearch.settings import RedisSettings
from orbresearch.staging import EmbeddedRedis, Staging, connect, start_embedded
from orbresearch.staging.embedded import _GUARD, _await_answer, _candidates, _config, _free_port


def redis_servers() -> list[Path]:
    """Every redis-server found, one of a kind: PATH may name the wheel's own binary once more."""
    found: dict[bytes, Path] = {}
    for binary in _candidates():
        said = subprocess.run([binary, "--version"], capture_output=True, check=True).stdout
        found.setdefault(said, binary)
    return list(found.values())


@contextmanager
def fresh_redis(*directives: str, binary: Path | None = None) -> Iterator[EmbeddedRedis]:
    """A server that nobody else uses, empty, gone at the end; ``directives`` are lines of redis.conf."""
    with start_embedded(directives, binary) as server:
        yield server


@contextmanager
def fresh_staging(*directives: str, binary: Path | None = None) -> Iterator[Staging]:
    """A connection to such a server."""
    with fresh_redis(*directives, binary=binary) as server, connect(server.settings) as staging:
        yield staging


@contextmanager
def tls_redis(certificate: Path, key: Path) -> Iterator[RedisSettings]:
    """A server that speaks TLS with that certificate, by the first redis-server here that can."""
    port = _free_port()
    directives = (
        f"tls-port {port}",
        f"tls-cert-file {certificate}",
        f"tls-key-file {key}",
        f"tls-ca-cert-file {certificate}",
        "tls-auth-clients no",
    )
    with ExitStack() as stack:
        for binary in redis_servers():
            with suppress(Unreachable):  # built without TLS, as the wheel's is
                server = stack.enter_context(start_embedded(directives, binary))
                break
        else:
            pytest.skip("no redis-server here speaks TLS")
        yield replace(server.settings, port=port, tls=True)


class RestartableRedis:
    """A server that can be killed and started again: same port, same password, empty. It ends with this process."""

    def __init__(self) -> None:
        self._server = start_embedded()
        self.settings, self.running = self._server.settings, True

    def kill(self) -> None:
        """End it; nothing happens where it does not run."""
        if self.running:
            self._server.stop()
        self.running = False

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self.running:
            return
        old = self._server
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(old.binary), str(old._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        guard.stdin.write(_config(self.settings, ()).encode())
        self._server, self.running = EmbeddedRedis(self.settings, old.version, old.binary, guard, old._folder), True
        if words := _await_answer(self._server):
            self.kill()
            raise RuntimeError(f"Redis does not start again: {words}")


@contextmanager
def restartable_redis() -> Iterator[RestartableRedis]:
    """Start such a server; it is gone at the end."""
    server = RestartableRedis()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def bare_redis(*directives: str, port: int | None = None) -> Iterator[RedisSettings]:
    """A server as somebody else would set it up: no password, no policy, no guard."""
    settings = RedisSettings("127.0.0.1", port or _free_port())
    binary = shutil.which("redis-server") or redis_servers()[0]
    lines = ("bind 127.0.0.1", f"port {settings.port}", 'save ""', *directives)
    with subprocess.Popen([binary, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as server:
        try:
            server.stdin.write("\n".join(lines).encode())
            server.stdin.close()
            _await(settings.port)
            yield settings
        finally:
            server.kill()


def _await(port: int) -> None:
    with redis.Redis("127.0.0.1", port) as client:
        for _ in range(200):
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            except redis.ResponseError:
                return
            else:
                return
    raise AssertionError(f"no Redis came up on port {port}")
