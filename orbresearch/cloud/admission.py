"""Who reaches Redis from outside: the load balancer's security group, and the rule by which Redis' own admits it."""

from __future__ import annotations

from typing import Any

from orbresearch.cloud.aws import TAG, Account, code_of, speaking
from orbresearch.cloud.redis import PORT
from orbresearch.cloud.stack import Stack


def tag_of(stack: Stack) -> dict[str, str]:
    """Return the tag of what belongs to a stack."""
    return {"Key": TAG, "Value": stack.name}


def find_group(account: Account, stack: Stack, name: str) -> dict[str, Any] | None:
    """Return the balancer's own security group, or None."""
    filters = {"vpc-id": stack.vpc, "group-name": name, f"tag:{TAG}": stack.name}
    with speaking("looking for the load balancer's security group"):
        found = account.client("ec2").describe_security_groups(
            Filters=[{"Name": key, "Values": [value]} for key, value in filters.items()]
        )["SecurityGroups"]
    return found[0] if found else None


def make_group(account: Account, stack: Stack, name: str) -> dict[str, Any]:
    """Return the balancer's own security group; a new one admits nobody."""
    found = find_group(account, stack, name)
    if found:
        return found
    with speaking("making the load balancer's security group"):
        made = account.client("ec2").create_security_group(
            GroupName=name,
            Description="Who reaches Redis from outside",
            VpcId=stack.vpc,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": [tag_of(stack)]}],
        )
    return {"GroupId": made["GroupId"], "IpPermissions": []}


def admitted(group: dict[str, Any]) -> set[str]:
    """Return the networks that a security group lets in."""
    return {each["CidrIp"] for rule in group["IpPermissions"] for each in rule.get("IpRanges", ())}


def admit_only(account: Account, group: dict[str, Any], allow: str) -> None:
    """Close the balancer to everybody else, then open it to ``allow``."""
    ec2 = account.client("ec2")
    if _admits_only(group, allow):
        return
    with speaking(f"admitting {allow}"):
        if group["IpPermissions"]:
            ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
        ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[_rule(CidrIp=allow)])


def _admits_only(group: dict[str, Any], allow: str) -> bool:
    """Return whether there is the one rule and nothing that somebody has added since."""
    others = ("Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
    return admitted(group) == {allow} and all(
        (rule.get("FromPort"), rule.get("ToPort")) == (PORT, PORT) and not any(rule.get(kind) for kind in others)
        for rule in group["IpPermissions"]
    )


def _rule(CidrIp: str | None = None, GroupId: str | None = None) -> dict[str, Any]:  # noqa: N803
    """Return a rule that admits a network or a security group to Redis' port."""
    said = {"Description": "load balancer"}
    who = {"IpRanges": [{"CidrIp": CidrIp, **said}]} if CidrIp else {"UserIdGroupPairs": [{"GroupId": GroupId, **said}]}
    return {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, **who}


def admit_balancer(account: Account, stack: Stack, group: str) -> None:
    """Have Redis' own group let the balancer's in."""
    _change(account, "authorize_security_group_ingress", "InvalidPermission.Duplicate", stack, group)


def shut(account: Account, stack: Stack, group: str) -> None:
    """Have Redis' own group let the balancer's in no longer."""
    _change(account, "revoke_security_group_ingress", "InvalidPermission.NotFound", stack, group)


def _change(account: Account, operation: str, done: str, stack: Stack, group: str) -> None:
    """Add the balancer to those whom Redis admits, or take it away; ``done`` says that this was so already."""
    from botocore.exceptions import ClientError

    with speaking("changing who reaches Redis"):
        try:
            getattr(account.client("ec2"), operation)(GroupId=stack.redis_group, IpPermissions=[_rule(GroupId=group)])
        except ClientError as error:
            if code_of(error) != done:
                raise
