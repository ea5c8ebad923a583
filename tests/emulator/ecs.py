"""The tasks' part of the ECS API: RunTask, DescribeTasks, ListTasks, StopTask, and what clusters say of their tasks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends

from tests.emulator.faults import CAPACITY, QUOTA
from tests.emulator.gate import Gate
from tests.emulator.protocol import Refused, Request
from tests.emulator.site import Site
from tests.emulator.sizes import refuse_size
from tests.emulator.task import Task

_PAGE = 100
_OVERRIDES = 8192  # characters that overrides may have
_FARGATE = ("FARGATE", "FARGATE_SPOT")
_NOT_ASSOCIATED = (
    "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the "
    "cluster. Associate the capacity provider with the cluster and try again."
)
_ALONE = "When you specify startedBy as the filter, it must be the only filter that you use."


class Tasks:
    """All tasks of the account.

    Parameters
    ----------
    site : Site
    gate : Gate
        Whose ECS operations are answered here.
    moto : botocore.client.ECS
        A client that moto answers alone.
    """

    def __init__(self, site: Site, gate: Gate, moto: Any) -> None:
        self._site, self._moto = site, moto
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._asked: dict[str, dict[str, Any]] = {}  # by client token: a request sent again is answered as before
        gate.handle("ecs", RunTask=self._run, DescribeTasks=self._describe, ListTasks=self._list, StopTask=self._stop)
        gate.handle("ecs", DescribeClusters=self._clusters, DeleteCluster=self._delete_cluster)
        gate.handle("ecs", ListAccountSettings=_account_settings, TagResource=self._tag)
        for operation in ("GetLogEvents", "FilterLogEvents", "DescribeLogStreams"):
            gate.before["logs", operation] = lambda _: self.ship()

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks.values()))

    def active(self) -> list[Task]:
        """Return the tasks that are not STOPPED."""
        return [task for task in self if task.status != "STOPPED"]

    def find(self, name: str) -> Task | None:
        """Return a task by its ARN or id."""
        return next((task for task in self if name.rpartition("/")[2] == task.id), None)

    def ship(self) -> None:
        """Send to the logs what tasks have said."""
        for task in self:
            task.ship()

    def close(self) -> None:
        """End all tasks at once."""
        active = self.active()
        for task in active:
            task.kill()
        for task in active:
            task.join()

    def _run(self, request: Request) -> dict[str, Any]:
        asked, region = request.params, request.region
        token = asked.get("clientToken", "")
        if token in self._asked:
            return self._asked[token]
        cluster = _cluster(request)
        definition = _definition(asked, region)
        provider = _provider(asked, cluster)
        _check_network(asked, region)
        _check_overrides(asked, definition)
        started, failures = [], []
        with self._lock:
            for _ in range(asked.get("count", 1)):
                if reason := self._refusal(asked, definition, provider):
                    failures.append({"reason": reason})
                    continue
                task = Task(self._site, asked, cluster, definition, provider, region)
                self._tasks[task.id] = task
                started.append(task)
        described = [{**describe(task), "tags": task.tags} for task in started]
        for task in started:
            task.start()
        answer = {"tasks": described, "failures": failures}
        if token and started:
            self._asked[token] = answer
        return answer

    def _refusal(self, asked: dict[str, Any], definition: Any, provider: str | None) -> str | None:
        """Return why a task finds no place, if it does not: RunTask answers it among its failures."""
        faults = self._site.faults
        if (provider or "FARGATE") in faults.without_capacity:
            return CAPACITY
        wanted = int(asked.get("overrides", {}).get("cpu") or definition.cpu) / 1024
        spot = provider == "FARGATE_SPOT"
        used = sum(task.vcpus for task in self.active() if (task.provider == "FARGATE_SPOT") == spot)
        return QUOTA if faults.vcpus is not None and used + wanted > faults.vcpus else None

    def _describe(self, request: Request) -> dict[str, Any]:
        cluster, named = _cluster(request), request.params["tasks"]
        if len(named) > _PAGE:
            raise Refused("InvalidParameterException", f"Tasks cannot be more than {_PAGE}.")
        tasks, failures = [], []
        for name in named:
            task = self.find(name)
            if task is None or task.cluster_arn != cluster.arn or task.age < self._site.faults.unknown:
                arn = name if name.startswith("arn:") else cluster.arn.replace(":cluster/", ":task/") + f"/{name}"
                failures.append({"arn": arn, "reason": "MISSING"})
                continue
            tagged = {"tags": task.tags} if "TAGS" in request.params.get("include", []) else {}
            tasks.append({**describe(task), **tagged})
        return {"tasks": tasks, "failures": failures}

    def _list(self, request: Request) -> dict[str, Any]:
        asked, cluster = request.params, _cluster(request)
        if "startedBy" in asked and {"family", "serviceName", "containerInstance"} & {*asked}:
            raise Refused("InvalidParameterException", _ALONE)
        desired = asked.get("desiredStatus", "RUNNING")
        found = [
            task.arn
            for task in self
            if task.cluster_arn == cluster.arn and task.desired == desired and _fits(task, asked)
        ]
        first, size = int(asked.get("nextToken", 0)), asked.get("maxResults", _PAGE)
        more = {"nextToken": str(first + size)} if len(found) > first + size else {}
        return {"taskArns": found[first : first + size], **more}

    def _stop(self, request: Request) -> dict[str, Any]:
        cluster, task = _cluster(request), self.find(request.params["task"])
        if task is None or task.cluster_arn != cluster.arn:
            raise Refused("InvalidParameterException", "The referenced task was not found.")
        task.stop("UserInitiated", request.params.get("reason") or "Task stopped by user")
        return {"task": describe(task)}

    def _tag(self, request: Request) -> dict[str, Any]:
        task = self.find(request.params["resourceArn"]) if ":task/" in request.params["resourceArn"] else None
        if task is None:
            self._moto.tag_resource(**request.params)
            return {}
        given = {tag["key"]: tag["value"] for tag in [*task.tags, *request.params["tags"]]}
        task.tags = [{"key": key, "value": value} for key, value in given.items()]
        return {}

    def _clusters(self, request: Request) -> dict[str, Any]:
        found = self._moto.describe_clusters(**request.params)
        for cluster in found["clusters"]:
            statuses = [task.status for task in self if task.cluster_arn == cluster["clusterArn"]]
            cluster["runningTasksCount"] = sum(status == "RUNNING" for status in statuses)
            cluster["pendingTasksCount"] = sum(status in ("PROVISIONING", "PENDING") for status in statuses)
        return {"clusters": found["clusters"], "failures": found["failures"]}

    def _delete_cluster(self, request: Request) -> dict[str, Any]:
        cluster = _cluster(request)
        if any(task.cluster_arn == cluster.arn for task in self.active()):
            raise Refused("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        return {"cluster": self._moto.delete_cluster(**request.params)["cluster"]}


def describe(task: Task) -> dict[str, Any]:
    """Return a task as DescribeTasks does."""
    attached = task.status not in ("PROVISIONING", "STOPPED")
    interface = {
        "networkInterfaceId": task.eni.id,
        "macAddress": task.eni.mac_address,
        "privateIPv4Address": task.address,
    }
    details = {"subnetId": task.subnet, **(interface if task.status != "PROVISIONING" else {})}
    described = {
        "taskArn": task.arn,
        "clusterArn": task.cluster_arn,
        "taskDefinitionArn": task.definition.arn,
        "group": f"family:{task.definition.family}",
        "startedBy": task.asked.get("startedBy"),
        "overrides": task.overrides,
        "lastStatus": task.status,
        "desiredStatus": task.desired,
        "stopCode": task.stop_code,
        "stoppedReason": task.stop_reason,
        "capacityProviderName": task.provider,
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
        "connectivity": "CONNECTED",
        "cpu": str(task.overrides.get("cpu") or task.definition.cpu),
        "memory": str(task.overrides.get("memory") or task.definition.memory),
        "attachments": [
            {
                "id": task.id,
                "type": "ElasticNetworkInterface",
                "status": "ATTACHED" if attached else "PRECREATED" if task.status == "PROVISIONING" else "DELETED",
                "details": [{"name": name, "value": value} for name, value in details.items()],
            }
        ],
        "containers": [_container(task)],
        **task.times,
    }
    return {name: value for name, value in described.items() if value is not None}


def _container(task: Task) -> dict[str, Any]:
    running = {"STOPPED": "STOPPED", "RUNNING": "RUNNING", "DEACTIVATING": "RUNNING"}.get(task.status, "PENDING")
    cannot = task.stop_reason if task.stop_code == "TaskFailedToStart" else None
    described = {
        "containerArn": task.arn.replace(":task/", ":container/") + "/0",
        "taskArn": task.arn,
        "name": task.name,
        "image": task.definition.container_definitions[0]["image"],
        "lastStatus": running,
        "exitCode": task.exit_code,
        "reason": cannot,
        "networkInterfaces": [{"privateIpv4Address": task.address}],
    }
    return {name: value for name, value in described.items() if value is not None}


def _fits(task: Task, asked: dict[str, Any]) -> bool:
    family = "family" not in asked or task.definition.family == asked["family"]
    return family and ("startedBy" not in asked or task.asked.get("startedBy") == asked["startedBy"])


def _cluster(request: Request) -> Any:
    name = request.params.get("cluster", "default").rpartition("/")[2]
    cluster = ecs_backends[DEFAULT_ACCOUNT_ID][request.region].clusters.get(name)
    if cluster is None:
        raise Refused("ClusterNotFoundException", "Cluster not found.")
    if cluster.status != "ACTIVE" and request.operation == "RunTask":
        raise Refused("ClusterNotFoundException", "The referenced cluster was inactive.")
    return cluster


def _definition(asked: dict[str, Any], region: str) -> Any:
    ecs = ecs_backends[DEFAULT_ACCOUNT_ID][region]
    try:
        definition = ecs.describe_task_definition(asked["taskDefinition"])
    except Exception:
        raise Refused("ClientException", "TaskDefinition not found.") from None
    if definition.status != "ACTIVE":
        raise Refused("ClientException", "TaskDefinition is inactive")
    return definition


def _provider(asked: dict[str, Any], cluster: Any) -> str | None:
    """Return the capacity provider that a task gets; nothing for the launch type FARGATE."""
    strategy = asked.get("capacityProviderStrategy")
    if strategy and asked.get("launchType"):
        raise Refused(
            "InvalidParameterException",
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        )
    if not strategy and not asked.get("launchType"):
        strategy = cluster.default_capacity_provider_strategy
    if not strategy:
        if asked.get("launchType") != "FARGATE":
            raise Refused("InvalidParameterException", "No Container Instances were found in your cluster.")
        return None
    provider = max(strategy, key=lambda one: (one.get("base", 0), one.get("weight", 0)))["capacityProvider"]
    if provider not in (cluster.capacity_providers or []) or provider not in _FARGATE:
        raise Refused("InvalidParameterException", _NOT_ASSOCIATED)
    return provider


def _check_network(asked: dict[str, Any], region: str) -> None:
    """Refuse a network configuration that is missing or names what is not there."""
    network = asked.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if not network or not network.get("subnets"):
        raise Refused(
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )
    ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][region]
    subnets = {identifier for zone in ec2.subnets.values() for identifier in zone}
    for subnet in network["subnets"]:
        if subnet not in subnets:
            said = f"The subnet ID '{subnet}' does not exist (ErrorCode: InvalidSubnetID.NotFound)"
            raise Refused("InvalidParameterException", f"Error retrieving subnet information for [{subnet}]: {said}")
    for group in network.get("securityGroups", []):
        if not ec2.get_security_group_from_id(group):
            said = f"The security group '{group}' does not exist (ErrorCode: InvalidGroup.NotFound)"
            raise Refused(
                "InvalidParameterException", f"Error retrieving security group information for [{group}]: {said}"
            )


def _check_overrides(asked: dict[str, Any], definition: Any) -> None:
    overrides = asked.get("overrides", {})
    if len(json.dumps(overrides)) > _OVERRIDES:
        raise Refused("InvalidParameterException", f"Container Overrides length must be at most {_OVERRIDES}")
    refuse_size(overrides.get("cpu") or definition.cpu, overrides.get("memory") or definition.memory)
    names = {container["name"] for container in definition.container_definitions}
    for given in overrides.get("containerOverrides", []):
        if given.get("name") not in names:
            said = f"Override for container named {given.get('name')} is not a container in the TaskDefinition."
            raise Refused("InvalidParameterException", said)
    if not 1 <= asked.get("count", 1) <= 10:
        raise Refused("InvalidParameterException", "Task count must be between 1 and 10.")


def _account_settings(request: Request) -> dict[str, Any]:
    principal = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:root"
    names = [request.params["name"]] if "name" in request.params else ["taskLongArnFormat", "serviceLongArnFormat"]
    return {"settings": [{"name": name, "value": "enabled", "principalArn": principal} for name in names]}
