"""Real Redis servers of a test's own, with every redis-server that this machine has."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from orbresearch.settings import RedisSettings
from orbresearch.staging import EmbeddedRedis, Staging, connect, start_embedded
from orbresearch.staging.embedded import _candidates, _free_port


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
