"""What a schedule is played on: servers that can be ended, a lab of two workers, and a client of it, each a process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from distributed import Client as DaskClient

import orbresearch as orb
from orbresearch import staging
from orbresearch.errors import OrbError
from orbresearch.keep import Keep, order_of, write_keep
from orbresearch.lab import daemon
from orbresearch.lab.reaper import reap
from orbresearch.lab.services import Services, open_services
from orbresearch.settings import Settings, StoreSettings
from tests.faults import client, hooks
from tests.faults.hooks import Hooks
from tests.faults.work import CHUNK_SECONDS, chunk_at, compute_payload, make_plan
from tests.servers_mysql import RestartableMySQL, restartable_mysql
from tests.servers_redis import RestartableRedis, restartable_redis

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0  # for a lab, and for a client to submit
END_SECONDS = 120.0  # for a run to be complete after its last fault
RESUMES = 5  # clients started because the one before could not submit


@dataclass(frozen=True)
class Servers:
    """Redis and MariaDB of all schedules."""

    redis: RestartableRedis
    mysql: RestartableMySQL

    def revive(self) -> None:
        """Start what a schedule has left dead; forget what Redis holds."""
        self.redis.start()
        self.mysql.start()
        with staging.connect(self.redis.settings) as connection:
            connection.books.flushall()


@contextmanager
def open_servers() -> Iterator[Servers]:
    """Start both servers; they are gone at the end."""
    with restartable_redis() as redis, restartable_mysql() as mysql:
        yield Servers(redis, mysql)


class Notebook:
    """A client process: python -m tests.faults.client."""

    def __init__(self, words: Path, environ: dict[str, str]) -> None:
        self.words = words
        with words.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.client"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environ,
            )

    def attach(self, address: str, keep: Keep) -> None:
        """Tell it the lab's address, and what to keep: now it submits."""
        self.process.stdin.write(f"{address} {write_keep(keep)}\n".encode())
        self.process.stdin.close()

    def said(self) -> str:
        """Return its words so far."""
        return self.words.read_text(errors="replace")

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self.process.kill()
        self.process.wait()
        with suppress(OSError):
            self.process.stdin.close()


@dataclass
class Stage:
    """A running lab on an empty database. Made by :func:`open_stage`."""

    servers: Servers
    settings: Settings
    chunk_seconds: float
    keep: Keep = "all"
    lab: subprocess.Popen[bytes] | None = None
    address: str = ""
    notebooks: list[Notebook] = field(default_factory=list)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    pending: list[Future[None]] = field(default_factory=list)
    lock: sqlite3.Connection | None = None
    submitted: float = 0.0

    @property
    def folder(self) -> Path:
        """Home of the lab; the hooks' files and everybody's words are there, too."""
        return self.settings.home

    @property
    def environ(self) -> dict[str, str]:
        """What children need of the environment: the settings, and this folder's modules."""
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, **self.settings.to_environ(), "PYTHONPATH": path}

    @contextmanager
    def attached(self) -> Iterator[orb.Lab]:
        """Attach to the lab in this process."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.settings.to_environ().items():
                patch.setenv(name, value)
            with orb.Lab(address=self.address, quiet=True) as lab:
                yield lab

    # --- beginning and end

    def open_lab(self) -> None:
        """Start the lab as ``python -m orbresearch up`` does, and put the hooks into its workers."""
        command = [sys.executable, "-m", "orbresearch", "serve", "--workers", "2"]
        with (self.folder / "lab.txt").open("wb") as out:
            self.lab = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env=self.environ,
                start_new_session=True,
            )
        wait_for(self._is_up, START_SECONDS, "the lab did not come up")
        self.address = str(daemon.read_state(self.settings)["address"])
        with DaskClient(self.address, set_as_default=False) as dask:
            dask.register_plugin(Hooks(str(self.folder), self.chunk_seconds))

    def _is_up(self) -> bool:
        if self.lab.poll() is not None:
            raise AssertionError(f"the lab has ended: {(self.folder / 'lab.txt').read_text()}")
        return daemon.read_state(self.settings) is not None

    def close(self) -> None:
        """End every process of the stage, however the schedule went."""
        for notebook in self.notebooks:
            notebook.kill()
        self.unlock_database()
        self.threads.shutdown(wait=True, cancel_futures=True)
        if self.lab is not None:
            self.kill_lab()

    def kill_lab(self) -> None:
        """End scheduler and workers: the lab leads a group of its own, and they are in it."""
        with suppress(ProcessLookupError):
            os.killpg(self.lab.pid, signal.SIGKILL)
        self.lab.wait()

    # --- the client

    def open_client(self) -> None:
        """Start a notebook; it makes its plan while the lab starts."""
        self.notebooks.append(Notebook(self.folder / f"client{len(self.notebooks)}.txt", self.environ))

    def attach_client(self) -> None:
        """Let the first notebook submit."""
        self.notebooks[0].attach(self.address, self.keep)

    def start_client(self) -> None:
        """Start a notebook that goes on with the run."""
        self.open_client()
        self.notebooks[-1].attach(self.address, self.keep)

    def kill_client(self) -> None:
        """End the notebook."""
        self.notebooks[-1].kill()

    def await_submission(self) -> None:
        """Wait until the run is under way: moments count from here."""
        words = f"run {make_plan().run_id}: "
        wait_for(lambda: words in self.said() or self.client_ended(), START_SECONDS, "the run was not submitted")
        assert words in self.said(), self.said()
        self.submitted = time.monotonic()

    def finish(self) -> None:
        """Wait for the end of the run, as its user: a client that could not submit is followed by another."""
        end = time.monotonic() + END_SECONDS
        for future in self.pending:
            future.result(END_SECONDS)
        for _ in range(RESUMES):
            if self.notebooks[-1].process.poll() in (-signal.SIGKILL, client.REFUSED):
                self.start_client()
            wait_for(self.client_ended, end - time.monotonic(), "the run does not end")
            if self.notebooks[-1].process.returncode != client.REFUSED:
                break
            time.sleep(1)  # a person's patience, too, is a retry
        assert self.notebooks[-1].process.returncode == client.COMPLETE, self.said()

    def client_ended(self) -> bool:
        """Whether the latest notebook has ended."""
        return self.notebooks[-1].process.poll() is not None

    def said(self) -> str:
        """Return what all clients have said."""
        return "".join(notebook.said() for notebook in self.notebooks)

    # --- the faults

    def kill_worker(self, share: float) -> None:
        """SIGKILL one of the worker processes there are."""
        workers = [child for child in psutil.Process(self.lab.pid).children() if "spawn_main" in _command(child)]
        if workers:
            with suppress(psutil.NoSuchProcess):
                workers[int(share * len(workers))].kill()

    def mark(self, *files: str) -> None:
        """Tell the hooks what to do."""
        for file in files:
            (self.folder / file).touch()

    def unused_marks(self) -> list[str]:
        """Return what the hooks had no occasion to do."""
        starts = hooks.BEFORE_COMMIT, hooks.AFTER_COMMIT, hooks.RAISES
        return sorted(path.name for path in self.folder.iterdir() if path.name.startswith(starts))

    def chunk_raises_twice(self, share: float) -> None:
        """Make a chunk raise at the next two attempts."""
        first = chunk_at(make_plan(), share).first
        self.mark(*(f"{hooks.RAISES} {first} {turn}" for turn in range(2)))

    def flush(self) -> None:
        """Take everything out of Redis, if it runs."""
        if self.servers.redis.running:
            with staging.connect(self.servers.redis.settings) as connection:
                connection.books.flushall()

    def lock_database(self) -> None:
        """Begin a write of SQLite's that does not end."""
        if self.lock is None:
            self.lock = sqlite3.connect(self.settings.store.sqlite, isolation_level=None, timeout=20)
            self.lock.execute("BEGIN IMMEDIATE")

    def unlock_database(self) -> None:
        """End it."""
        if self.lock is not None:
            self.lock.close()
        self.lock = None

    def complete_twice(self, share: float) -> None:
        """Complete a chunk once more and once more, as a worker does that was given up too early."""
        plan = make_plan()
        chunk = chunk_at(plan, share)
        payload = compute_payload(plan, chunk, self.keep)

        def complete(services: Services) -> None:
            for _ in range(2):
                order = order_of(plan.run_id, write_keep(self.keep), plan.chunk_rows)
                where = services.staging, services.store.uuid, order
                staging.complete_chunk(*where, chunk.first, chunk.rows, payload)

        self._aside(complete)

    def reap_too(self) -> None:
        """Reap here while the lab's reaper does."""
        self._aside(lambda services: reap(services, 5.0))

    def _aside(self, work: Callable[[Services], object]) -> None:
        """Do something without waiting for it; servers that are away are its bad luck."""

        def attempt() -> None:
            with suppress(OrbError), opened_services(self.settings) as services:
                work(services)

        self.pending.append(self.threads.submit(attempt))


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def opened_services(settings: Settings) -> Iterator[Services]:
    """Connect to Redis and to the store."""
    services = open_services(settings)
    try:
        yield services
    finally:
        services.close()


@contextmanager
def open_stage(
    servers: Servers,
    home: Path,
    *,
    sqlite: bool = False,
    chunk_seconds: float = CHUNK_SECONDS,
    keep: Keep = "all",
) -> Iterator[Stage]:
    """Start a lab on an empty database of its own; end everything afterwards."""
    with ExitStack() as stack:
        store = StoreSettings(home / "results.sqlite")
        if not sqlite:
            name = servers.mysql.server.create_database()
            stack.callback(lambda: (servers.mysql.start(), servers.mysql.server.drop_database(name)))
            store = servers.mysql.server.settings(name)
        stage = Stage(servers, Settings(home, servers.redis.settings, store), chunk_seconds, keep)
        stack.callback(stage.close)
        home.mkdir(exist_ok=True)
        stage.open_client()
        stage.open_lab()
        yield stage


def wait_for(condition: Callable[[], bool], seconds: float, wrong: str) -> None:
    """Wait until something holds; say what is wrong where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{wrong} within {seconds:.0f} s")
        time.sleep(0.05)
