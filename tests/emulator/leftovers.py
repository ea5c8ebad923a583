"""What an account still holds: all that costs something, is open to somebody, or would have to be cleared away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.cloudformation.models import cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ecr.models import ecr_backends
from moto.ecs.models import ecs_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends


def remaining(spared: set[str]) -> Iterator[str]:
    """Yield a line for all that moto remembers, in every region that was spoken to.

    Parameters
    ----------
    spared : set of str
        Names of users and policies that are a test's own.
    """
    for region in _regions():
        for line in _in_region(region):
            yield f"{region}: {line}"
    yield from _identities(spared)


def _regions() -> list[str]:
    services = (cloudformation_backends, ec2_backends, ecs_backends, elbv2_backends, logs_backends)
    services = (*services, ecr_backends, secretsmanager_backends)
    return sorted({region for backends in services for region in dict.keys(backends[DEFAULT_ACCOUNT_ID])})


def _in_region(region: str) -> Iterator[str]:
    yield from _of_network(ec2_backends[DEFAULT_ACCOUNT_ID][region])
    yield from (f"stack {stack.name}" for stack in cloudformation_backends[DEFAULT_ACCOUNT_ID][region].stacks.values())
    yield from _of_ecs(ecs_backends[DEFAULT_ACCOUNT_ID][region])
    balancers = elbv2_backends[DEFAULT_ACCOUNT_ID][region]
    yield from (f"load balancer {one.name}" for one in balancers.load_balancers.values())
    yield from (f"target group {one.name}" for one in balancers.target_groups.values())
    yield from (f"secret {one.name}" for one in secretsmanager_backends[DEFAULT_ACCOUNT_ID][region].secrets.values())
    yield from (f"log group {name}" for name in logs_backends[DEFAULT_ACCOUNT_ID][region].groups)
    for repository in ecr_backends[DEFAULT_ACCOUNT_ID][region].repositories.values():
        yield f"repository {repository.name} with {len(repository.images)} images"


def _of_ecs(ecs: Any) -> Iterator[str]:
    yield from (f"cluster {cluster.name}" for cluster in ecs.clusters.values() if cluster.status == "ACTIVE")
    for revisions in ecs.task_definitions.values():
        yield from (
            f"task definition {one.family}:{one.revision}" for one in revisions.values() if one.status == "ACTIVE"
        )


def _of_network(ec2: Any) -> Iterator[str]:
    """Yield what is beside the default network that every account has."""
    ours = [vpc for vpc in ec2.vpcs.values() if str(vpc.is_default).lower() != "true"]
    yield from (f"network {vpc.id}" for vpc in ours)
    yield from (f"internet gateway {gateway.id}" for gateway in ec2.internet_gateways.values())
    for vpc in ours:
        yield from (
            f"security group {group.name}" for group in ec2.groups.get(vpc.id, {}).values() if group.name != "default"
        )
    yield from (f"network interface {eni.id}" for eni in ec2.enis.values())
    yield from (f"elastic address {allocation}" for allocation in ec2.addresses)


def _identities(spared: set[str]) -> Iterator[str]:
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    yield from (f"role {role.name}" for role in iam.roles.values())
    yield from (f"user {user.name}" for user in iam.users.values() if user.name not in spared)
    ours = [policy for policy in iam.managed_policies.values() if f":{DEFAULT_ACCOUNT_ID}:" in policy.arn]
    yield from (f"policy {policy.name}" for policy in ours if policy.name not in spared)
