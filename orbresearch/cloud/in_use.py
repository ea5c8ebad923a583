"""What still stands on a stack and keeps it from being deleted: tasks, caches, balancers, strangers, people."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orbresearch.cloud.aws import Account, code_of, pages, speaking
from orbresearch.cloud.listing import ending_ids, running_arns
from orbresearch.console import many
from orbresearch.errors import BadInput

_POLICIES = ("ResearcherPolicy", "LoadBalancerPolicy")
_HOLDERS = (("PolicyUsers", "UserName"), ("PolicyGroups", "GroupName"), ("PolicyRoles", "RoleName"))


def refuse_in_use(account: Account, stack: str, outputs: Mapping[str, str]) -> None:
    """Refuse to delete a stack on which something stands: AWS would delete half of it and stop there.

    Parameters
    ----------
    account : Account
    stack : str
    outputs : mapping of str to str
        The stack's; of a deletion that failed half-way some may name what is gone.

    Raises
    ------
    BadInput
        What it is, and what ends it.
    """
    what = f"stack {stack!r}"
    if running := running_arns(account, outputs.get("ClusterArn")):
        some = ", ".join(arn.split("/")[-1] for arn in running[:5])
        raise BadInput(
            what, f"{many(len(running), 'task')} at work on it: {some}", "close their labs, or orb.cloud.sweep()"
        )
    if ending := ending_ids(account, outputs.get("ClusterArn")):
        wrong = f"{many(len(ending), 'task')} of it still ending: {', '.join(ending[:5])}"
        raise BadInput(what, wrong, "delete again in two minutes, by when a task that was told to stop has ended")
    if balancers := _balancers(account, outputs.get("Vpc")):
        wrong = f"a load balancer stands in its network: {', '.join(balancers)}"
        raise BadInput(what, wrong, "orb.cloud.stop_load_balancer(), then delete again")
    if caches := _caches(account, outputs.get("CacheSubnetGroup")):
        wrong = f"Redis runs in its network: {', '.join(caches)}"
        raise BadInput(what, wrong, "orb.cloud.stop_redis(), then delete again")
    if strangers := _strangers(account, stack, outputs) + _groups(account, outputs):
        wrong = f"what is not its own stands in its network: {'; '.join(strangers[:5])}"
        raise BadInput(what, wrong, "move or delete that first: with the stack its network goes")
    for policy in _POLICIES:
        if holders := _holders(account, outputs.get(policy)):
            fix = f"aws iam detach-user-policy (-group-, -role-) --policy-arn {outputs[policy]}"
            raise BadInput(what, f"its {policy} is attached to {', '.join(holders)}", f"detach it first: {fix}")


def _groups(account: Account, outputs: Mapping[str, str]) -> list[str]:
    """Return the security groups in the network that others made: AWS deletes no network that has one."""
    if "Vpc" not in outputs:
        return []
    with speaking("listing security groups"):
        asked = {"Filters": [{"Name": "vpc-id", "Values": [outputs["Vpc"]]}]}
        found = list(pages(account.client("ec2").describe_security_groups, "SecurityGroups", **asked))
    own = {outputs.get(name) for name in ("SchedulerGroup", "WorkerGroup", "RedisGroup")}
    others = [one for one in found if one["GroupId"] not in own and one["GroupName"] != "default"]
    return [f"{one['GroupId']} (security group {one['GroupName']})" for one in others]


def _strangers(account: Account, stack: str, outputs: Mapping[str, str]) -> list[str]:
    """Return what stands in a network beside tasks, Redis and balancer of the stack: a database, most likely.

    Theirs are known by how AWS describes them, and left to CloudFormation, which waits for the last of them.
    """
    if "Vpc" not in outputs:
        return []
    own = re.compile(rf"arn:[\w-]+:ecs:.*:attachment/|ElastiCache {stack}-|ELB net/{stack}-")
    with speaking("listing what stands in the network"):
        asked = {"Filters": [{"Name": "vpc-id", "Values": [outputs["Vpc"]]}]}
        found = list(pages(account.client("ec2").describe_network_interfaces, "NetworkInterfaces", **asked))
    others = [one for one in found if not own.match(one.get("Description", ""))]
    return [
        f"{one['NetworkInterfaceId']} ({one.get('Description') or one.get('InterfaceType', 'interface')})"
        for one in others
    ]


def _balancers(account: Account, vpc: str | None) -> list[str]:
    """Return the names of load balancers in a network."""
    if vpc is None:
        return []
    with speaking("listing load balancers"):
        found = pages(account.client("elbv2").describe_load_balancers, "LoadBalancers")
        return [one["LoadBalancerName"] for one in found if one.get("VpcId") == vpc]


def _caches(account: Account, subnet_group: str | None) -> list[str]:
    """Return the names of replication groups in a subnet group, which only their members tell."""
    if subnet_group is None:
        return []
    with speaking("listing caches"):
        found = pages(account.client("elasticache").describe_cache_clusters, "CacheClusters")
        ours = (one for one in found if one.get("CacheSubnetGroupName") == subnet_group)
        return sorted({one.get("ReplicationGroupId", one["CacheClusterId"]) for one in ours})


def _holders(account: Account, policy_arn: str | None) -> list[str]:
    """Return who has a policy attached: users, groups and roles."""
    from botocore.exceptions import ClientError

    if policy_arn is None:
        return []
    with speaking("asking who holds the stack's policies"):
        try:
            found = account.client("iam").list_entities_for_policy(PolicyArn=policy_arn)
        except ClientError as error:
            if code_of(error) == "NoSuchEntity":
                return []
            raise
    return [one[name] for kind, name in _HOLDERS for one in found.get(kind, [])]
