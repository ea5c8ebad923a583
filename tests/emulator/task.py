"""One Fargate task: a process with a life cycle, a network interface of its own and a log."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.logs.models import logs_backends

from tests.emulator.access import make_key
from tests.emulator.containers import CannotStart, Container, prepare
from tests.emulator.network import Wire
from tests.emulator.site import Site

_PORTS = (8786, 8787)  # the ports that are forwarded from a public address
_LINES = 1000  # lines of log sent at once


class Task:
    """A task from RunTask to STOPPED.

    Parameters
    ----------
    site : Site
    asked : dict
        What RunTask was given.
    cluster, definition : moto's objects
    provider : str, optional
        Capacity provider; without one the launch type is FARGATE.
    region : str
    """

    def __init__(
        self, site: Site, asked: dict[str, Any], cluster: Any, definition: Any, provider: str | None, region: str
    ) -> None:
        self._site, self.asked, self.definition, self.provider, self.region = site, asked, definition, provider, region
        self.id, self.key = uuid.uuid4().hex, make_key()
        self.cluster_arn = cluster.arn
        self.arn = cluster.arn.replace(":cluster/", ":task/") + f"/{self.id}"
        self.name = definition.container_definitions[0]["name"]
        self.overrides: dict[str, Any] = asked.get("overrides", {})
        self.tags = list(asked.get("tags", []))
        self.folder: Path = site.folder / "tasks" / self.id
        self.status, self.desired = "PROVISIONING", "RUNNING"
        self.stop_code = self.stop_reason = None
        self.exit_code: int | None = None
        self.times = {"createdAt": datetime.now(UTC)}
        self._born = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._container: Container | None = None
        self._wires: list[Wire] = []
        self._shipped = 0
        self._lock, self._stop = threading.RLock(), threading.Event()
        self._interface()
        site.access.tasks[self.key] = getattr(definition, "task_role_arn", None) or ""
        self._thread = threading.Thread(target=self._live, name=f"task {self.id}", daemon=True)

    @property
    def role(self) -> str:
        """What it is to Dask: ``"scheduler"`` or ``"worker"``."""
        return self.name.removeprefix("dask-")

    @property
    def age(self) -> float:
        """Seconds since RunTask."""
        return time.monotonic() - self._born

    @property
    def pid(self) -> int | None:
        """The process id of its container's first process."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Say whether its container's first process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def vcpus(self) -> float:
        """How much of the account's quota it takes."""
        return int(self.overrides.get("cpu") or self.definition.cpu) / 1024

    @property
    def log(self) -> str:
        """What it has said so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Begin to provision it."""
        self._thread.start()

    def stop(self, code: str, reason: str) -> None:
        """Send SIGTERM, and SIGKILL once ``stopTimeout`` is over; only the first stop counts."""
        with self._lock:
            if self._stop.is_set():
                return
            self.desired, self.stop_code, self.stop_reason = "STOPPED", code, reason
            self.times["stoppingAt"] = datetime.now(UTC)
            self._stop.set()
            if self._process:
                self._end(self._process, self._container.stop_timeout)

    def kill(self) -> None:
        """End it at once, with everything it started; for the end of the emulator."""
        with self._lock:
            self._stop.set()
            if self.alive:
                _kill(self._process)

    def join(self) -> None:
        """Wait until it is STOPPED."""
        self._thread.join(10)

    def ship(self) -> None:
        """Send new lines of its output to its log stream."""
        if not (self._container and self._container.log):
            return
        group, stream = self._container.log
        with self._lock, contextlib.suppress(FileNotFoundError):
            logs = logs_backends[DEFAULT_ACCOUNT_ID][self.region]
            if group not in logs.groups:
                return
            if stream not in logs.groups[group].streams:
                logs.create_log_stream(group, stream)
            said = (self.folder / "log").read_bytes()[self._shipped :]
            complete = said if self.status == "STOPPED" else said[: said.rfind(b"\n") + 1]
            self._shipped += len(complete)
            now = int(time.time() * 1000)
            events = [
                {"timestamp": now, "message": line} for line in complete.decode(errors="replace").splitlines() if line
            ]
            for start in range(0, len(events), _LINES):
                logs.put_log_events(group, stream, events[start : start + _LINES])

    def _interface(self) -> None:
        """Give it a network interface: a private address, and a public one if asked for."""
        network = self.asked["networkConfiguration"]["awsvpcConfiguration"]
        self.address = self._site.addresses.give(77)
        public = network.get("assignPublicIp") == "ENABLED"
        self.public = self._site.addresses.give(88) if public else None
        self._ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][self.region]
        self.subnet = network["subnets"][hash(self.id) % len(network["subnets"])]
        self.eni = self._ec2.create_network_interface(
            self.subnet, self.address, group_ids=network.get("securityGroups")
        )
        self.eni.public_ip, self.eni.status, self.eni.requester_managed = self.public, "in-use", True
        self.eni.description = self.arn.replace(":task/", ":attachment/")

    def _live(self) -> None:
        """Go through the life cycle."""
        try:
            self._stop.wait(self._site.provisioning)
            self._become("PENDING")
            self._stop.wait(self._site.pulling)
            if not self._stop.is_set():
                self._run()
        except CannotStart as cannot:
            self._fail(str(cannot))
        self._finish()

    def _run(self) -> None:
        """Start the container's process and stay with it until it ends."""
        self._container = prepare(self._site, self)
        command = self._container.command
        if not command or not shutil.which(command[0], path=self._container.environ["PATH"]):
            missing = f'exec: "{(command or [""])[0]}": executable file not found in $PATH: unknown'
            raise CannotStart(
                f"CannotStartContainerError: Error response from daemon: failed to create task: {missing}"
            )
        (self.folder / "lab").mkdir(parents=True)
        with (self.folder / "log").open("wb") as log, self._lock:
            if self._stop.is_set():
                return
            self._process = start_process(command, self._container.environ, self.folder, log)
        self._lay()
        self._become("RUNNING")
        self.times["startedAt"] = datetime.now(UTC)
        code = self._process.wait()
        _kill(self._process)  # a container's other processes end with its first one
        self.exit_code = code if code >= 0 else 128 - code
        if not self._stop.is_set():
            self.stop("EssentialContainerExited", "Essential container in task exited")

    def _lay(self) -> None:
        if self.public and not self._site.stub:
            for port in _PORTS:
                opened = lambda port=port: self._site.admits(self.eni.group_set, port)  # noqa: E731
                self._wires.append(self._site.wires.lay((self.public, port), (self.address, port), opened))

    def _fail(self, reason: str) -> None:
        with self._lock:
            self.desired, self.stop_code, self.stop_reason = "STOPPED", "TaskFailedToStart", reason
            self.times["stoppingAt"] = datetime.now(UTC)

    def _finish(self) -> None:
        self._become("DEPROVISIONING")
        for wire in self._wires:
            self._site.wires.cut(wire)
        with contextlib.suppress(Exception):  # the subnet may be gone with its stack
            self._ec2.delete_network_interface(self.eni.id)
        self._site.access.tasks.pop(self.key, None)
        self.times["stoppedAt"] = datetime.now(UTC)
        self._become("STOPPED")
        self.ship()

    def _become(self, status: str) -> None:
        self.status = status

    def _end(self, process: subprocess.Popen[bytes], patience: float) -> None:
        """Tell a process to end, and see to it that it does."""
        self._become("DEACTIVATING")
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        timer = threading.Timer(patience, _kill, [process])
        timer.daemon = True
        timer.start()
        threading.Thread(target=lambda: (process.wait(), timer.cancel()), daemon=True).start()


def start_process(command: list[str], environ: dict[str, str], folder: Path, output: Any) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own that dies with the thread that started it, and so with this process."""
    dying = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--"]
    return subprocess.Popen(
        [*dying, *command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
