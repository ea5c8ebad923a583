"""Supervisor of one redis-server, which ends with the process that started it.

Run by path, ``python -I -S _guard.py REDIS_SERVER FOLDER``, with the standard library only: it is up in milliseconds.
Its stdin brings the configuration, closed by a blank line, and then nothing: the end of that pipe means that the owner
is gone, however it went. Its stdout carries the server's last words once the server has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

_LAST_WORDS = 4096  # bytes of the server's output that are kept


def main(binary: str, folder: str) -> None:
    """Start the server in a new folder of its own; when it or its owner ends, leave neither behind."""
    bell = _ring_on_signals()
    config = _read_config()
    os.mkdir(folder, 0o700)  # noqa: PTH102  (pathlib would double the start time)
    os.chdir(folder)
    server, output = _start(binary, config)
    try:
        words = _watch(bell, output)
    finally:
        os.kill(server, signal.SIGKILL)  # nothing is persisted: there is nothing to shut down
        os.waitpid(server, 0)
        _remove(folder)
    with contextlib.suppress(OSError):
        os.write(1, words)


def _ring_on_signals() -> int:
    """Return a descriptor that becomes readable on SIGTERM or SIGHUP; SIGINT is for the notebook, not for Redis."""
    bell, ringer = os.pipe()
    os.set_blocking(ringer, False)
    signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return bell


def _read_config() -> bytes:
    config = b""
    while not config.endswith(b"\n\n"):
        said = os.read(0, 65536)
        if not said:
            sys.exit(1)
        config += said
    return config


def _start(binary: str, config: bytes) -> tuple[int, int]:
    """Fork the server; return its process id and a descriptor of what it says."""
    stdin, configuring = os.pipe()
    output, stdout = os.pipe()
    os.write(configuring, config)
    os.close(configuring)
    guard, server = os.getpid(), os.fork()
    if server == 0:
        try:
            _become(binary, guard, stdin, stdout)
        finally:
            os._exit(127)
    os.close(stdin)
    os.close(stdout)
    return server, output


def _become(binary: str, guard: int, stdin: int, stdout: int) -> None:
    for source, target in ((stdin, 0), (stdout, 1), (stdout, 2)):
        os.dup2(source, target)
    _die_with_guard(guard)
    try:
        os.execv(binary, [binary, "-"])  # noqa: S606
    except OSError as error:
        os.write(2, f"{binary}: {error.strerror}\n".encode())


def _die_with_guard(guard: int) -> None:
    """Ask Linux for a SIGKILL when the guard itself is killed; elsewhere the owner sees to it."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != guard:
        os._exit(1)


def _watch(bell: int, output: int) -> bytes:
    """Wait for the end of the owner, a signal or the end of the server; return what the server said last."""
    words = b""
    while True:
        ready, _, _ = select.select([0, bell, output], [], [])
        if output in ready:
            said = os.read(output, 65536)
            if not said:
                return words
            words = (words + said)[-_LAST_WORDS:]
        if 0 in ready or bell in ready:
            return words


def _remove(folder: str) -> None:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            os.unlink(entry.path)  # noqa: PTH108
        os.rmdir(folder)  # noqa: PTH106


if __name__ == "__main__":
    main(*sys.argv[1:])
