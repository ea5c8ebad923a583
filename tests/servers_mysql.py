"""A private MariaDB or MySQL server for tests: on loopback, in a temporary folder, gone afterwards.

>>> with mysql_server() as server:                        # doctest: +SKIP
...     database = server.create_database()
...     store = open_store(server.settings(database))
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
import pytest

from orbresearch.settings import StoreSettings

SBIN = "/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin", "/opt/homebrew/bin", "/opt/homebrew/opt/mysql/bin"
INSTALL = "install mariadb-server or mysql-server (Debian: apt-get install mariadb-server; macOS: brew install mariadb)"
START_SECONDS = 60

_numbers = itertools.count(1)


@dataclass(frozen=True)
class MySQLServer:
    """A running server and the account that may do everything on it."""

    port: int
    version: str
    username: str = "orb"
    password: str = field(default_factory=lambda: "pw-€-" + secrets.token_hex(8), repr=False)
    host: str = "127.0.0.1"

    def settings(self, database: str, **changes: object) -> StoreSettings:
        """Return the settings with which a lab would use ``database`` on this server."""
        facts: dict[str, object] = {
            "sqlite": Path("unused.sqlite"),
            "endpoint": self.host,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "database": database,
        }
        return StoreSettings(**{**facts, **changes})  # type: ignore[arg-type]

    def connect(self, database: str | None = None, **changes: object) -> pymysql.Connection:
        """Return a plain driver connection, as another tool would have one."""
        facts: dict[str, object] = {
            "host": self.host,
            "port": self.port,
            "user": self.username,
            "password": self.password.encode(),
            "database": database,
            "charset": "utf8mb4",
            "autocommit": True,
        }
        return pymysql.connect(**{**facts, **changes})  # type: ignore[call-overload]

    def run(self, sql: str, database: str | None = None) -> tuple[tuple[object, ...], ...]:
        """Run one statement as another tool would; return its rows."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return tuple(cursor.fetchall())
        finally:
            connection.close()

    def create_database(self, name: str | None = None) -> str:
        """Create an empty database and return its name."""
        name = name or f"orb_{next(_numbers)}"
        self.run(f"CREATE DATABASE `{name}`")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and all it holds."""
        self.run(f"DROP DATABASE IF EXISTS `{name}`")


def find_server() -> tuple[str, str | None] | None:
    """Return the server program and, for MariaDB, the program that makes its data folder; None without a server."""
    maria, install = _which("mariadbd"), _which("mariadb-install-db") or _which("mysql_install_db")
    if maria and install:
        return maria, install
    mysql = _which("mysqld")
    return (mysql, None) if mysql and "MariaDB" not in _version(mysql) else None


def why_not() -> str | None:
    """Return why no server can be started here, or None."""
    return None if find_server() else f"no mariadbd or mysqld on this machine: {INSTALL}"


def require_server() -> None:
    """Skip the test where no server is installed; fail it on a CI machine, which is expected to have one."""
    reason = why_not()
    if reason and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@contextmanager
def mysql_server(*options: str) -> Iterator[MySQLServer]:
    """Start a private server, with options of the caller's; stop it and remove its data at the end."""
    with restartable_mysql(*options) as started:
        yield started.server


@dataclass
class RestartableMySQL:
    """A private server that can be stopped or killed and started again: same port, same data."""

    server: MySQLServer
    _program: str
    _folder: Path
    _process: subprocess.Popen[bytes]
    _options: tuple[str, ...] = ()

    def stop(self) -> None:
        """End it as its administrator would; nothing happens where it does not run."""
        self._process.terminate()
        _wait(self._process)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        _wait(self._process)

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process.poll() is None:
            return
        self._process = _launch(self._program, self._folder, self.server, self._options)
        if not _answers(self._process, self.server):
            self.kill()
            raise RuntimeError(f"{self._program} does not start again:\n{_last_words(self._folder)}")


@contextmanager
def restartable_mysql(*options: str) -> Iterator[RestartableMySQL]:
    """Start a private server that may go and come back; stop it and remove its data at the end."""
    found = find_server()
    if found is None:
        raise RuntimeError(why_not())
    program, install = found
    folder = Path(tempfile.mkdtemp(prefix="orb-db-"))
    try:
        _make_data_folder(program, install, folder)
        process, server = _start(program, folder, options)
        restartable = RestartableMySQL(server, program, folder, process, options)
        try:
            yield restartable
        finally:
            restartable.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _which(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(SBIN))


def _version(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _as_root() -> list[str]:
    """Return the option without which the servers refuse to run as root."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _make_data_folder(program: str, install: str | None, folder: Path) -> None:
    data = f"--datadir={folder / 'data'}"
    if install:
        command = [install, "--no-defaults", data, "--skip-test-db", "--skip-name-resolve", *_as_root()]
    else:
        command = [program, "--no-defaults", "--initialize-insecure", data, *_as_root()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=_environment(folder))
    if done.returncode:
        hint = "" if install else "Ubuntu's AppArmor confines mysqld to /var/lib/mysql: install mariadb-server instead"
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}\n{hint}")


def _start(program: str, folder: Path, options: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], MySQLServer]:
    """Start the server; try another port when somebody took the free one in between."""
    version = _version(program)
    for _ in range(3):
        server = MySQLServer(_free_port(), version)
        process = _launch(program, folder, server, options)
        if _answers(process, server):
            return process, server
        process.kill()
        _wait(process)
    raise RuntimeError(f"{program} does not start:\n{_last_words(folder)}")


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment whose temporary files are apart: a server that starts removes those of others."""
    return {**os.environ, "TMPDIR": str(folder)}


def _launch(program: str, folder: Path, server: MySQLServer, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start the server program; it does not answer yet."""
    with (folder / "server.out").open("ab") as out:
        return subprocess.Popen(
            [*_command(program, folder, server), *options],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )


def _last_words(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-4000:] for path in folder.glob("server.[lo]*"))


def _command(program: str, folder: Path, server: MySQLServer) -> list[str]:
    setup = folder / "setup.sql"
    setup.touch(mode=0o600)
    setup.write_text(
        "SET NAMES utf8mb4;\n"
        f"CREATE USER IF NOT EXISTS '{server.username}'@'%' IDENTIFIED BY '{server.password}';\n"
        f"ALTER USER '{server.username}'@'%' IDENTIFIED BY '{server.password}';\n"
        f"GRANT ALL ON *.* TO '{server.username}'@'%' WITH GRANT OPTION;\n"
    )
    own = [] if "MariaDB" in server.version else ["--mysqlx=OFF", "--secure-file-priv=NULL"]
    return [
        program,
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--socket={folder / 's.sock'}",
        f"--pid-file={folder / 'server.pid'}",
        f"--log-error={folder / 'server.log'}",
        f"--init-file={setup}",
        "--bind-address=127.0.0.1",
        f"--port={server.port}",
        "--skip-name-resolve",
        "--local-infile=1",
        *own,
        *_as_root(),
    ]


def _answers(process: subprocess.Popen[bytes], server: MySQLServer) -> bool:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            server.run("SELECT 1")
        except pymysql.MySQLError:
            time.sleep(0.1)
        else:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)
