"""Which actions a request needs, and on which ARNs, as IAM's service authorization reference has it for these.

An action that names no resource, or that AWS only grants on all of them, is about ``*``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ecs.models import ecs_backends
from moto.secretsmanager.models import secretsmanager_backends

from tests.emulator.protocol import Request

_NAMES = {"tagging": "tag"}  # prefix in a signature -> in policies, where they differ


def needed(request: Request) -> Iterator[tuple[str, list[str]]]:
    """Yield the actions that a request needs, each with the ARNs it is about."""
    prefix = _NAMES.get(request.prefix, request.prefix)
    find = _FINDERS.get((request.service, request.operation))
    yield f"{prefix}:{request.operation}", (find(request) if find else None) or ["*"]
    if request.operation in ("CreateLoadBalancer", "SetSecurityGroups") and request.params.get("SecurityGroups"):
        yield "ec2:GetSecurityGroupsForVpc", ["*"]
    if request.operation == "RunTask":
        yield from _of_run_task(request)
    elif request.operation == "CreateSecurityGroup" and request.params.get("TagSpecifications"):
        yield "ec2:CreateTags", _security_group(request)
    elif request.operation in _TAGGED and request.params.get("Tags", request.params.get("tags")):
        yield _TAGGED[request.operation], (find(request) if find else None) or ["*"]


# Operations that need a second action once they are given tags.
_TAGGED = {
    "CreateLoadBalancer": "elasticloadbalancing:AddTags",
    "CreateTargetGroup": "elasticloadbalancing:AddTags",
    "CreateListener": "elasticloadbalancing:AddTags",
    "CreateReplicationGroup": "elasticache:AddTagsToResource",
    "CreateSecret": "secretsmanager:TagResource",
}


def _of_run_task(request: Request) -> Iterator[tuple[str, list[str]]]:
    if request.params.get("tags"):
        yield "ecs:TagResource", [_arn(request, "ecs", f"task/{_last(request.params.get('cluster', 'default'))}/*")]
    for role in _roles(request):
        yield "iam:PassRole", [role]


def _roles(request: Request) -> list[str]:
    """Return the roles that a task is given: whoever starts it must be allowed to pass them."""
    family, _, revision = _last(request.params["taskDefinition"]).partition(":")
    revisions = ecs_backends[DEFAULT_ACCOUNT_ID][request.region].task_definitions.get(family, {})
    definition = revisions.get(int(revision)) if revision else revisions.get(max(revisions, default=0))
    given = request.params.get("overrides", {})
    roles = [
        given.get(name) or getattr(definition, attribute, None)
        for name, attribute in (("executionRoleArn", "execution_role_arn"), ("taskRoleArn", "task_role_arn"))
    ]
    return [role for role in roles if role]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _arn(request: Request, service: str, rest: str, separator: str = ":") -> str:
    return f"arn:aws:{service}:{request.region}:{DEFAULT_ACCOUNT_ID}{separator}{rest}"


def _task_definition(request: Request) -> list[str]:
    name = _last(request.params["taskDefinition"])
    if ":" not in name:
        revisions = ecs_backends[DEFAULT_ACCOUNT_ID][request.region].task_definitions.get(name, {})
        name = f"{name}:{max(revisions, default=1)}"
    return [_arn(request, "ecs", f"task-definition/{name}")]


def _cluster(request: Request) -> list[str]:
    return [_arn(request, "ecs", f"cluster/{_last(request.params.get('cluster', 'default'))}")]


def _clusters(request: Request) -> list[str]:
    return [_arn(request, "ecs", f"cluster/{_last(name)}") for name in request.params.get("clusters", ["default"])]


def _tasks(request: Request) -> list[str]:
    named = request.params.get("tasks", [request.params.get("task", "")])
    cluster = _last(request.params.get("cluster", "default"))
    return [_arn(request, "ecs", f"task/{cluster}/{_last(name)}") for name in named]


def _list_tasks(request: Request) -> list[str]:
    return _cluster(request) if "cluster" in request.params else ["*"]


def _secret(request: Request) -> list[str]:
    named = request.params.get("SecretId", request.params.get("Name", ""))
    secret = secretsmanager_backends[DEFAULT_ACCOUNT_ID][request.region].secrets.get(named)
    return [
        secret.arn
        if secret
        else named
        if named.startswith("arn:")
        else _arn(request, "secretsmanager", f"secret:{named}-??????")
    ]


def _stack(request: Request) -> list[str]:
    named = request.params.get("StackName")
    if not named:
        return ["*"]
    return [named if named.startswith("arn:") else _arn(request, "cloudformation", f"stack/{named}/*")]


def _log_group(request: Request) -> list[str]:
    named = request.params.get("logGroupName") or request.params.get("logGroupNamePrefix", "*")
    stream = request.params.get("logStreamName")
    if request.operation == "GetLogEvents":
        return [_arn(request, "logs", f"log-group:{named}:log-stream:{stream}")]
    return [_arn(request, "logs", f"log-group:{named}:*")]


def _repository(request: Request) -> list[str]:
    named = request.params.get("repositoryNames") or [request.params.get("repositoryName", "*")]
    return [_arn(request, "ecr", f"repository/{name}") for name in named]


def _replication_group(request: Request) -> list[str]:
    named = request.params.get("ReplicationGroupId", "*")
    arns = [_arn(request, "elasticache", f"replicationgroup:{named}")]
    for parameter, kind in (("CacheParameterGroupName", "parametergroup"), ("CacheSubnetGroupName", "subnetgroup")):
        if parameter in request.params:
            arns.append(_arn(request, "elasticache", f"{kind}:{request.params[parameter]}"))
    return arns


def _resource_name(request: Request) -> list[str]:
    return [request.params["ResourceName"]]


def _balancer(request: Request) -> list[str]:
    if "Name" in request.params:
        kind = "targetgroup" if request.operation == "CreateTargetGroup" else "loadbalancer/net"
        return [_arn(request, "elasticloadbalancing", f"{kind}/{request.params['Name']}/*")]
    for name in ("ListenerArn", "TargetGroupArn", "LoadBalancerArn"):
        if name in request.params:
            return [request.params[name]]
    return list(request.params.get("ResourceArns", ["*"]))


def _security_group(request: Request) -> list[str]:
    return [_arn(request, "ec2", f"security-group/{request.params.get('GroupId', '*')}")]


def _new_security_group(request: Request) -> list[str]:
    return [_arn(request, "ec2", "security-group/*"), _arn(request, "ec2", f"vpc/{request.params.get('VpcId', '*')}")]


def _ecs_resource(request: Request) -> list[str]:
    return [request.params["resourceArn"]]


_FINDERS: dict[tuple[str, str], Callable[[Request], Any]] = {
    ("ecs", "RunTask"): _task_definition,
    ("ecs", "DescribeClusters"): _clusters,
    ("ecs", "DescribeTasks"): _tasks,
    ("ecs", "StopTask"): _tasks,
    ("ecs", "ListTasks"): _list_tasks,
    ("ecs", "TagResource"): _ecs_resource,
    ("ecs", "ListTagsForResource"): _ecs_resource,
    ("ec2", "CreateSecurityGroup"): _new_security_group,
    ("ec2", "DeleteSecurityGroup"): _security_group,
    ("ec2", "AuthorizeSecurityGroupIngress"): _security_group,
    ("ec2", "RevokeSecurityGroupIngress"): _security_group,
    ("ecs", "DeleteTaskDefinitions"): lambda request: list(request.params["taskDefinitions"]),
    ("iam", "ListEntitiesForPolicy"): lambda request: [request.params["PolicyArn"]],
    ("secretsmanager", "GetSecretValue"): _secret,
    ("secretsmanager", "DescribeSecret"): _secret,
    ("secretsmanager", "CreateSecret"): _secret,
    ("secretsmanager", "PutSecretValue"): _secret,
    ("secretsmanager", "UpdateSecret"): _secret,
    ("secretsmanager", "DeleteSecret"): _secret,
    **{("cloudformation", name): _stack for name in (
        "CreateStack", "UpdateStack", "DeleteStack", "DescribeStacks", "DescribeStackEvents", "DescribeStackResources",
        "ListStackResources", "GetTemplate", "CreateChangeSet", "ExecuteChangeSet", "DescribeChangeSet",
    )},
    **{("logs", name): _log_group for name in (
        "GetLogEvents", "FilterLogEvents", "DescribeLogStreams", "DescribeLogGroups", "CreateLogStream",
    )},
    **{("ecr", name): _repository for name in (
        "DescribeImages", "DescribeRepositories", "BatchGetImage", "PutImage", "InitiateLayerUpload", "UploadLayerPart",
        "CompleteLayerUpload", "BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "ListImages",
        "BatchDeleteImage",
    )},
    **{("elasticache", name): _replication_group for name in (
        "CreateReplicationGroup", "DeleteReplicationGroup", "DescribeReplicationGroups", "ModifyReplicationGroup",
    )},
    **{("elasticache", name): _resource_name for name in ("ListTagsForResource", "AddTagsToResource")},
    **{("elbv2", name): _balancer for name in (
        "CreateLoadBalancer", "DeleteLoadBalancer", "CreateTargetGroup", "DeleteTargetGroup", "CreateListener",
        "DeleteListener", "RegisterTargets", "DeregisterTargets", "AddTags", "SetSecurityGroups",
        "ModifyLoadBalancerAttributes", "ModifyTargetGroupAttributes",
    )},
}  # fmt: skip
