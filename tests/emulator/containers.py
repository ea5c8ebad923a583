"""What a task definition, its secrets and the overrides of one task come to: a command, an environment, a log."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends

from tests.emulator.access import assumed, require
from tests.emulator.protocol import Refused
from tests.emulator.site import Site

_ROOT = Path(__file__).parents[2]
_INIT = "ResourceInitializationError: "
_AUTH = _INIT + "unable to pull secrets or registry auth: execution resource retrieval failed: "
_MISSING = "ResourceNotFoundException: "
_STREAM = "failed to create Cloudwatch log stream: "
_LAB = "/lab"  # a folder of the image, which here is one of the task's own
_STOP_TIMEOUT = 30  # seconds from SIGTERM to SIGKILL, where the definition does not say


class CannotStart(Exception):
    """A task whose container does not come to run; the reason as ECS words it."""


@dataclass(frozen=True)
class Container:
    """One container, ready to be started.

    Parameters
    ----------
    command : list of str
    environ : dict
    stop_timeout : float
        Seconds from SIGTERM to SIGKILL.
    log : tuple of str, optional
        Log group and stream.
    """

    command: list[str]
    environ: dict[str, str] = field(repr=False)
    stop_timeout: float
    log: tuple[str, str] | None


def prepare(site: Site, task: Any) -> Container:
    """Return the container of a task, or raise why it cannot start."""
    defined = task.definition.container_definitions[0]
    given = next((one for one in task.overrides.get("containerOverrides", []) if one["name"] == defined["name"]), {})
    role = getattr(task.definition, "execution_role_arn", None)
    _pull(site, task, defined["image"], role)
    environ = {**_pairs(defined), **_secrets(site, task, defined, role), **_pairs(given)}
    log = _log(site, task, defined, role)
    command = [*(defined.get("entryPoint") or []), *(given.get("command") or defined.get("command") or [])]
    if site.stub:
        command = ["sleep", "86400"]
    environ = {**_outside(site, task), **{name: _inside(task, value) for name, value in environ.items()}}
    return Container(_hosted(command, task.address), environ, defined.get("stopTimeout", _STOP_TIMEOUT), log)


def _pairs(described: dict[str, Any]) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in described.get("environment") or []}


def _outside(site: Site, task: Any) -> dict[str, str]:
    """Return what the image and Fargate give: programs, folders, region, the keys of the task's own role."""
    paths = [str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    kept = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    return {
        **kept,
        **site.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(task.folder),
        "HOSTNAME": f"ip-{task.address.replace('.', '-')}.ec2.internal",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "AWS_REGION": task.region,
        "AWS_DEFAULT_REGION": task.region,
        "AWS_ACCESS_KEY_ID": task.key,
        "AWS_SECRET_ACCESS_KEY": task.key,
    }


def _inside(task: Any, value: str) -> str:
    """Return a value with the image's own folder where it is on this machine."""
    return str(task.folder / "lab") + value[len(_LAB) :] if value == _LAB or value.startswith(_LAB + "/") else value


def _hosted(command: list[str], address: str) -> list[str]:
    """Return a Dask command that listens on the task's own address only: a container has no other."""
    if command[:1] != ["dask"] or command[1:2] not in (["scheduler"], ["worker"]):
        return command
    port = {"scheduler": 8787, "worker": 0}[command[1]]
    hosted = [] if "--host" in command else ["--host", address]
    shown = (
        [] if {"--dashboard-address", "--no-dashboard"} & {*command} else ["--dashboard-address", f"{address}:{port}"]
    )
    return [*command, *hosted, *shown]


def _may(site: Site, role: str | None, task: Any, action: str, resource: str) -> None:
    """Refuse what the execution role does not allow."""
    policies = site.access.policies_of_role(role) if role else []
    require(policies, assumed(role).replace("/task", f"/{task.id}") if role else "nobody", action, resource)


def _pull(site: Site, task: Any, image: str, role: str | None) -> None:
    """Pull the image, in so far as there is one: with the right to, unless images are broken."""
    registry, _, rest = image.partition("/")
    if ".dkr.ecr." in registry:
        account, _, _, region = registry.split(".")[:4]
        repository = f"arn:aws:ecr:{region}:{account}:repository/{rest.partition(':')[0].partition('@')[0]}"
        retried = "service call has been retried 1 time(s): AccessDeniedException: "
        try:
            _may(site, role, task, "ecr:GetAuthorizationToken", "*")
        except Refused as refused:
            raise CannotStart(f"{_AUTH}unable to retrieve ecr registry auth: {retried}{refused}") from None
        try:
            for action in ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"):
                _may(site, role, task, action, repository)
        except Refused as refused:
            raise CannotStart(f"CannotPullContainerError: {refused}") from None
    if site.faults.broken_image:
        reason = f"pull image manifest has been retried 1 time(s): failed to resolve ref {image}: {image}: not found"
        raise CannotStart(f"CannotPullContainerError: {reason}")


def _secrets(site: Site, task: Any, defined: dict[str, Any], role: str | None) -> dict[str, str]:
    return {one["name"]: _secret(site, task, one["valueFrom"], role) for one in defined.get("secrets") or []}


def _secret(site: Site, task: Any, source: str, role: str | None) -> str:
    """Return a secret's value, or of one that is JSON the value of a key: ``arn:...:secret:name:key::``."""
    parts = source.split(":")
    arn, key = ":".join(parts[:7]), (parts[7:] or [""])[0]
    failed = f"{_AUTH}unable to retrieve secret from asm: service call has been retried 1 time(s): "
    try:
        _may(site, role, task, "secretsmanager:GetSecretValue", arn)
        found = secretsmanager_backends[DEFAULT_ACCOUNT_ID][parts[3]].get_secret_value(arn, "", "")["SecretString"]
    except Refused as refused:
        raise CannotStart(
            f"{failed}failed to fetch secret {arn} from secrets manager: AccessDeniedException: {refused}"
        ) from None
    except Exception:  # moto's error for a secret that is not there, or has no value yet
        missing = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"
        raise CannotStart(f"{failed}failed to fetch secret {arn} from secrets manager: {_MISSING}{missing}") from None
    if not key:
        return found
    try:
        value = json.loads(found)[key]
    except (KeyError, ValueError):
        raise CannotStart(f"{failed}retrieved secret from Secrets Manager did not contain json key {key}") from None
    return value if isinstance(value, str) else json.dumps(value)


def _log(site: Site, task: Any, defined: dict[str, Any], role: str | None) -> tuple[str, str] | None:
    """Return the log group and stream that a container's output goes to; the group must be there."""
    options = (defined.get("logConfiguration") or {}).get("options") or {}
    if "awslogs-group" not in options:
        return None
    group, stream = options["awslogs-group"], f"{options['awslogs-stream-prefix']}/{defined['name']}/{task.id}"
    failed = f"{_INIT}failed to validate logger args: create stream has been retried 1 times: {_STREAM}"
    if group not in logs_backends[DEFAULT_ACCOUNT_ID][task.region].groups:
        raise CannotStart(f"{failed}ResourceNotFoundException: The specified log group does not exist. : exit status 1")
    arn = f"arn:aws:logs:{task.region}:{DEFAULT_ACCOUNT_ID}:log-group:{group}:log-stream:{stream}"
    try:
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            _may(site, role, task, action, arn)
    except Refused as refused:
        raise CannotStart(f"{failed}AccessDeniedException: {refused}") from None
    return group, stream
