"""docker-compose.yml: valid, closed to other machines, of one mind with the package about commands and variables."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import orbresearch as orb
from orbresearch.errors import Unreachable
from orbresearch.lab import cluster
from orbresearch.lab.plugin import MAIN
from orbresearch.settings import RedisSettings, read_settings, read_warehouse
from tests.servers_redis import redis_servers

FILE = Path(__file__).parents[2] / "docker-compose.yml"
GIVEN = {"REDIS_PASSWORD": "a1b2c3", "DB_PASSWORD": "d4e5f6"}


def interpolate(value: Any, given: Mapping[str, str]) -> Any:
    """Return a document with compose's variables in it: ${NAME:-default}, ${NAME:?message}, $$."""
    if isinstance(value, dict):
        return {key: interpolate(one, given) for key, one in value.items()}
    if isinstance(value, list):
        return [interpolate(one, given) for one in value]
    if not isinstance(value, str):
        return value

    def put(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, operator, rest = found.groups()
        if given.get(name):
            return given[name]
        if operator == ":?":
            raise LookupError(f"{name}: {rest}")
        return rest

    return re.sub(r"\$\$|\$\{(\w+)(:-|:\?)([^}]*)\}", put, value)


def compose(**given: str) -> dict[str, Any]:
    return interpolate(yaml.safe_load(FILE.read_text()), given)


@pytest.fixture
def services() -> dict[str, Any]:
    return compose(**GIVEN)["services"]


def test_it_is_valid_by_the_compose_specification():
    vendored = pytest.importorskip("check_jsonschema.builtin_schemas", reason="needs the extra `tests`")
    schema = json.loads((Path(vendored.__file__).parent / "vendor" / "compose-spec.json").read_text())
    import jsonschema

    jsonschema.Draft7Validator(schema).validate(yaml.safe_load(FILE.read_text()))


def test_nothing_is_published_beyond_this_machine(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), ports
    assert not [service for service in services.values() if {"network_mode", "privileged"} & set(service)]


@pytest.mark.parametrize("name", ["REDIS_PASSWORD", "DB_PASSWORD"])
def test_a_password_that_is_missing_is_said_and_none_has_a_default(name):
    with pytest.raises(LookupError, match=f"{name}: set it in env.list"):
        compose(**{key: value for key, value in GIVEN.items() if key != name})


def test_the_header_says_how_to_make_the_passwords_that_are_needed():
    header = [line for line in FILE.read_text().splitlines() if line.startswith("#")]
    assert all(f"{name}=%s" in "".join(header) for name in GIVEN)


def test_its_passwords_stand_in_a_file_that_git_and_images_never_take():
    header = [line for line in FILE.read_text().splitlines() if line.startswith("#")]
    assert [line for line in header if "> env.list" in line]
    commands = [line for line in header if "docker compose " in line]
    assert len(commands) == 3
    assert all("--env-file env.list " in line for line in commands)
    assert {"env.list", "cloud.env"} <= {*(FILE.parent / ".gitignore").read_text().splitlines()}
    named = (FILE.parent / ".dockerignore").read_text().splitlines()
    assert "*" in named
    assert not [line for line in named if line.startswith("!") and "env" in line]


@pytest.mark.parametrize("name", ["workers", "jupyter"])
def test_variables_are_those_that_settings_read(services, name):
    settings = read_settings(environ={key: str(value) for key, value in services[name]["environment"].items()})
    assert (settings.redis.endpoint, settings.redis.port, settings.redis.password) == ("redis", 6379, "a1b2c3")
    assert (settings.store.endpoint, settings.store.password, settings.store.table) == ("mysql", "d4e5f6", "results")
    assert settings.store.username == services["mysql"]["environment"]["MYSQL_USER"]
    assert settings.store.database == services["mysql"]["environment"]["MYSQL_DATABASE"]
    assert {"redis", "mysql"} < set(services)


def test_the_warehouse_of_env_list_reaches_the_notebook():
    given = {"SQL_HOSTNAME": "prices.example.com", "SQL_USERNAME": "reader", "SQL_PASSWORD": "g7h8", "SQL_TLS": "1"}
    found = read_warehouse(environ=compose(**GIVEN, **given)["services"]["jupyter"]["environment"])
    assert (found.host, found.port, found.username, found.tls) == ("prices.example.com", 3306, "reader", True)


def test_who_needs_no_password_has_none(services):
    assert not {"REDIS_PASSWORD", "DB_PASSWORD"} & set(services["scheduler"]["environment"])
    assert all(secret not in str(service.get("command")) for service in services.values() for secret in GIVEN.values())


def test_workers_are_those_of_a_lab_on_this_machine(services, monkeypatch):
    import dask

    def describe(_kind, **options):
        names = ("distributed.scheduler.allowed-failures", "distributed.worker.profile.enabled")
        environ = dict(dask.config.get("distributed.nanny.pre-spawn-environ"))
        return options, [dask.config.get(name) for name in names], environ

    monkeypatch.setattr(cluster, "_start", describe)
    options, (failures, profile), environ = cluster.start_cluster(read_settings(), None, slots=1)
    workers, scheduler = services["workers"], services["scheduler"]["environment"]
    assert f"--nthreads={options['threads_per_worker']}" in workers["command"]
    assert f"--resources={MAIN}={options['resources'][MAIN]}" in workers["command"]
    assert f"--memory-limit={options['memory_limit']}" in workers["command"]
    assert [f"--preload={name}" for name in options["preload"]] == [
        one for one in workers["command"] if "--preload" in one
    ]
    assert scheduler["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] == str(failures)
    assert workers["environment"]["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] == str(profile)
    own = {name: str(value) for name, value in environ.items() if name.startswith(("MALLOC", "ARROW"))}
    assert own.items() <= workers["environment"].items()
    # Dask's own defaults give way to the process's environment
    assert "os.environ.get(k, str(v))" in Path(sys.modules["distributed.nanny"].__file__).read_text()


def test_dask_understands_the_commands(services):
    from distributed.cli import dask_scheduler, dask_worker

    for name, main in (("scheduler", dask_scheduler.main), ("workers", dask_worker.main)):
        program, kind, *arguments = services[name]["command"]
        assert (program, kind) == ("dask", name.removesuffix("s"))
        parsed = main.make_context(kind, list(arguments)).params
    assert (parsed["n_workers"], parsed["nthreads"], parsed["dashboard"]) == ("-1", 3, False)
    assert parsed["scheduler"] == "tcp://scheduler:8786"


# --- what runs on this machine, too


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def running(command: list[str], **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def composed_redis(service: dict[str, Any], tmp_path: Path) -> Iterator[tuple[RedisSettings, subprocess.Popen[bytes]]]:
    """Start Redis by the command of docker-compose.yml, on a port of its own."""
    shell, flag, script = service["command"]
    port = free_port()
    script = script.replace('save ""', f'save ""\nport {port}\nbind 127.0.0.1\ndir {tmp_path}')
    (tmp_path / "redis-server").symlink_to(redis_servers()[0])
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    settings = RedisSettings("127.0.0.1", port, service["environment"]["REDIS_PASSWORD"])
    with running([shell, flag, script], PATH=path, **service["environment"]) as process:
        end = time.monotonic() + 20
        while not listens(port):
            assert time.monotonic() < end
            time.sleep(0.02)
        yield settings, process


def test_redis_starts_with_its_password_on_no_command_line(services, tmp_path):
    import psutil
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with composed_redis(services["redis"], tmp_path) as (settings, process):
        words = " ".join(psutil.Process(process.pid).cmdline())
        assert "redis-server" in words
        assert GIVEN["REDIS_PASSWORD"] not in words
        with pytest.raises(redis.AuthenticationError):
            redis.Redis("127.0.0.1", settings.port, retry=Retry(NoBackoff(), 0)).ping()
        client = redis.Redis("127.0.0.1", settings.port, password=settings.password)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("save") == {"save": ""}
        client.close()


@pytest.mark.slow
@pytest.mark.mysql
def test_a_run_through_the_composed_services_is_in_the_store(services, tmp_path, mysql_settings, monkeypatch):
    """The processes are those of the file; only names of hosts and ports are this machine's."""
    from urllib.request import urlopen

    scheduler, dashboard = free_port(), free_port()
    address = f"tcp://127.0.0.1:{scheduler}"
    swapped = {"8786": str(scheduler), ":8787": f"127.0.0.1:{dashboard}", "tcp://scheduler:8786": address}
    swapped |= {"--nworkers=-1": "--nworkers=1", "dask": str(Path(sys.executable).parent / "dask")}
    commands = {
        name: [swapped.get(word, word) for word in services[name]["command"]] + ["--host", "127.0.0.1"]
        for name in ("scheduler", "workers")
    }
    with composed_redis(services["redis"], tmp_path) as (redis_settings, _):
        environ = {**services["workers"]["environment"], **redis_settings.to_environ(), **mysql_settings.to_environ()}
        environ |= {"ORB_HOME": os.environ["ORB_HOME"], "PYTHONPATH": str(FILE.parent)}
        with (
            running(commands["scheduler"], **services["scheduler"]["environment"]),
            running(commands["workers"], **environ),
        ):
            for name in set(environ) - {"PYTHONPATH"}:
                monkeypatch.setenv(name, environ[name])
            with attached(address) as lab:
                with urlopen(f"http://127.0.0.1:{dashboard}/health", timeout=3) as answer:  # the file's health check
                    assert answer.status == 200
                grid = orb.ParameterGrid([0.5, 1.0], [1, 2], 60, [1.0, 2.0])
                run = lab.submit(orb.synthetic_sessions(3), grid).wait()
                assert len(run.results()) == len(grid)


def attached(address: str) -> orb.Lab:
    """Attach once a worker is there."""
    end = time.monotonic() + 40
    while True:
        try:
            return orb.Lab(address=address, quiet=True)
        except Unreachable:
            assert time.monotonic() < end
            time.sleep(0.2)
