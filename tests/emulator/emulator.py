"""The whole emulator, and what tests may ask of it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from botocore.config import Config
from botocore.session import Session
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.emulator.access import make_key
from tests.emulator.authority import Authority
from tests.emulator.balancers import Balancers, arn_of_balancer
from tests.emulator.caches import Caches
from tests.emulator.ecs import Tasks
from tests.emulator.formation import formation
from tests.emulator.gate import Call, Gate
from tests.emulator.leftovers import remaining
from tests.emulator.quotas import Quotas
from tests.emulator.site import Site
from tests.emulator.task import Task
from tests.emulator.users import Users

_ONE = threading.Lock()  # moto's memory is this process' own: there is one account


class _Quiet(MotoRequestHandler):
    """Moto's handler without a line on stderr per request."""

    def log(self, *_: Any) -> None:
        """Say nothing."""


class Emulator:
    """An AWS account on loopback.

    Parameters
    ----------
    folder : pathlib.Path
        Where tasks, caches and certificates have their files.
    region : str

    Attributes
    ----------
    endpoint : str
        URL of the API.
    environ : dict
        Environment that points a process at it, as the account's owner.
    calls : list of Call
        Every call of the API, in order.
    site : Site
        Delays and other settings.
    """

    def __init__(self, folder: Path, region: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.region, self.site, self._own = region, Site(folder), make_key()
        moto = DomainDispatcherApplication(create_backend_app)
        self._direct = make_key()
        self._gate = Gate(moto, self.site.access.name, {self._own})
        self._gate.direct.add(self._direct)
        self._gate.checks += [self.site.faults.check, self.site.access.check]
        self._gate.after.append(self.site.faults.check_answer)
        self._server = make_server("127.0.0.1", 0, self._gate, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="aws", daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        authority = Authority(folder)
        self.site.environ = self._pointing(str(authority.path))
        self._session, self._clients, self._lock = Session(), {}, threading.Lock()
        self._tasks = Tasks(self.site, self._gate, self._client("ecs", region, self._direct))
        self._caches = Caches(self.site, self._gate, authority)
        self._balancers = Balancers(
            self.site, self._gate, self._caches, lambda where: self._client("elbv2", where, self._direct)
        )
        self._users = Users(self.site.access)
        Quotas(self.site.faults, self._gate)

    @property
    def environ(self) -> dict[str, str]:
        """Environment of a process that acts as the account's owner."""
        return {**self.site.environ, **_keys(self.site.access.owner), "AWS_DEFAULT_REGION": self.region}

    @property
    def calls(self) -> list[Call]:
        """Every call so far, the emulator's own left out."""
        return list(self._gate.calls)

    @property
    def caller(self) -> str:
        """Address that everybody is taken for who comes to a public address; it may be set."""
        return self.site.caller

    @caller.setter
    def caller(self, address: str) -> None:
        self.site.caller = address

    def tasks(self, role: str | None = None) -> list[Task]:
        """Return the running tasks, all or those of a role (``"scheduler"``, ``"worker"``)."""
        return [task for task in self._tasks if task.status == "RUNNING" and role in (None, task.role)]

    def every_task(self) -> list[Task]:
        """Return all tasks that there ever were."""
        return list(self._tasks)

    def interrupt(self, task_arn: str) -> None:
        """Take a Spot task away: SIGTERM now, SIGKILL after its stopTimeout."""
        task = self._tasks.find(task_arn)
        if task is None or task.provider != "FARGATE_SPOT":
            raise ValueError(f"{task_arn} is no Spot task")
        task.stop("SpotInterruption", "Your Spot Task was interrupted.")

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Have the notebook's machine be without a way to any public address; AWS itself still answers it."""
        home, self.caller = self.caller, "198.51.100.99"
        self.site.wires.drop()
        try:
            yield
        finally:
            self.caller = home

    def leftovers(self) -> list[str]:
        """Return what the account still holds, and which processes still run."""
        tasks = [f"task {task.arn} is {task.status}" for task in self._tasks.active()]
        caches = [f"replication group {cache.id} is {cache.status}" for cache in self._caches.alive()]
        groups = [f"cache group {name}" for _, name in {**self._caches.subnet_groups, **self._caches.parameter_groups}]
        alive = [f"process {task.pid} of {task.arn}" for task in self._tasks if task.alive]
        return [*tasks, *caches, *groups, *alive, *remaining(self._users.names)]

    def fail(self, operation: str, code: str, message: str = "", times: int = 1) -> None:
        """Refuse the next calls of an operation with an error."""
        self.site.faults.plan(operation, code, message, times)

    def lose_answers(self, operation: str, times: int = 1) -> None:
        """Do what the next calls of an operation ask for, and answer them with an error."""
        self.site.faults.lose(operation, times)

    def throttle(self, per_second: float | None) -> None:
        """Refuse calls beyond so many within a second; None lets all through."""
        self.site.faults.throttle(per_second)

    def expire(self, expired: bool = True) -> None:
        """Have everybody's credentials be expired."""
        self.site.faults.expired = expired

    def no_capacity(self, provider: str, none: bool = True) -> None:
        """Have a capacity provider start no task, or do again."""
        (self.site.faults.without_capacity.add if none else self.site.faults.without_capacity.discard)(provider)

    def broken_image(self, broken: bool = True) -> None:
        """Have no task's image be there."""
        self.site.faults.broken_image = broken

    def task_quota(self, vcpus: float | None) -> None:
        """Set the quota of vCPUs that run at once, on demand and Spot each."""
        self.site.faults.vcpus = vcpus

    def stub(self, stubbed: bool = True) -> None:
        """Have containers sleep rather than run their command."""
        self.site.stub = stubbed

    def principal(self, policy_documents: list[dict[str, Any]]) -> dict[str, str]:
        """Return the environment of a new user who may do what some policies say and nothing else."""
        key = self._users.make(policy_documents)
        return {**self.site.environ, **_keys(key), "AWS_DEFAULT_REGION": self.region}

    def client(self, service: str, region: str | None = None, environ: dict[str, str] | None = None) -> Any:
        """Return a botocore client of the owner's, or of whoever an environment belongs to."""
        key = (environ or self.environ)["AWS_ACCESS_KEY_ID"]
        return self._client(service, region or self.region, key)

    def await_tasks(self, number: int, role: str | None = None, timeout: float = 20) -> list[Task]:
        """Wait until so many tasks of a role run; return them."""
        deadline = time.monotonic() + timeout
        while len(found := self.tasks(role)) != number:
            if time.monotonic() > deadline:
                ends = [(task.role, task.status, task.stop_reason, task.log[-2000:]) for task in self._tasks]
                raise AssertionError(f"{len(found)} tasks run, not {number}: {ends}")
            time.sleep(0.02)
        return found

    def _client(self, service: str, region: str, key: str) -> Any:
        with self._lock:
            if (service, region, key) not in self._clients:
                self._clients[service, region, key] = self._session.create_client(
                    service,
                    region_name=region,
                    endpoint_url=self.endpoint,
                    aws_access_key_id=key,
                    aws_secret_access_key=key,
                    config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
                )
            return self._clients[service, region, key]

    def _pointing(self, authority: str) -> dict[str, str]:
        """Return what points a process at the emulator, whatever its user has configured."""
        nowhere = os.devnull
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SSL_CERT_FILE": authority,
        }

    def _start(self) -> None:
        self._thread.start()

    def _close(self) -> None:
        self._tasks.close()
        self._caches.close()
        self.site.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        for client in self._clients.values():
            client.close()


@contextlib.contextmanager
def emulate(folder: Path, region: str = "us-east-1") -> Iterator[Emulator]:
    """Start an emulator for the length of a block; there can be one at a time in a process.

    Parameters
    ----------
    folder : pathlib.Path
        A folder of its own, such as pytest's ``tmp_path``.
    region : str
        The region that ``environ`` names.

    Examples
    --------
    >>> with emulate(tmp_path) as cloud:
    ...     for name, value in cloud.environ.items():
    ...         monkeypatch.setenv(name, value)
    """
    if not _ONE.acquire(blocking=False):
        raise RuntimeError("an emulator runs in this process already")
    try:
        moto_api_backend.reset()
        with contextlib.ExitStack() as ending:
            # 1,300 machine images, none of which runs here
            ending.enter_context(mock.patch.dict(os.environ, {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}))
            ending.enter_context(mock.patch("moto.elbv2.models.make_arn_for_load_balancer", arn_of_balancer))
            cloud = Emulator(folder / "aws", region)
            ending.callback(cloud._close)
            cloud._start()
            ending.enter_context(formation(lambda service, where: cloud._client(service, where, cloud._own)))
            yield cloud
    finally:
        moto_api_backend.reset()
        _ONE.release()


def _keys(key: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": key}
