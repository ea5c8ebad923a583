"""The exception: a network load balancer by which one address outside reaches Redis.

Nothing in the cluster needs it: staging, reaping and status run there as priority work. It is for looking into Redis
from a laptop. It passes TLS through: the certificate is Redis' own, verified against Redis' own name, and the token is
asked for as always. Its security group admits one address; Redis' group admits it only while it stands.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orbresearch.cloud.admission import admit_balancer, admit_only, admitted, find_group, make_group, shut, tag_of
from orbresearch.cloud.allowed import narrow_range
from orbresearch.cloud.aws import STACK, TAG, Account, code_of, open_account, speaking
from orbresearch.cloud.prices import find_prices
from orbresearch.cloud.redis import PORT, Redis, find_redis, resource_name
from orbresearch.cloud.stack import Stack, find_stack
from orbresearch.cloud.waiting import wait_while
from orbresearch.console import tell
from orbresearch.errors import BadInput, CloudFailed, OrbError

_STARTING, _STOPPING = "starting the load balancer", "stopping the load balancer"
_AGAIN = "call start_load_balancer() again to go on waiting, or stop_load_balancer() to be rid of it"
_STOP_AGAIN = "call stop_load_balancer() again to go on"
_USED, _GONE = "in use", "gone"


@dataclass(frozen=True)
class Balancer:
    """A load balancer before a stack's Redis.

    Parameters
    ----------
    name : str
    dns_name : str
        Where one connects to.
    port : int
    allow : str
        Who is let in, such as ``"203.0.113.7/32"``.
    tls_name : str
        Redis' own name, which its certificate must be for.
    """

    name: str
    dns_name: str
    port: int
    allow: str
    tls_name: str

    @property
    def environ(self) -> dict[str, str]:
        """What a laptop sets beside ``REDIS_PASSWORD``, which stays in the stack's secret."""
        return {
            "REDIS_ENDPOINT": self.dns_name,
            "REDIS_PORT": str(self.port),
            "REDIS_TLS": "1",
            "REDIS_TLS_NAME": self.tls_name,
        }

    def __repr__(self) -> str:
        return f"Balancer({self.name}: {self.dns_name}:{self.port}, open to {self.allow or 'nobody'})"


def start_load_balancer(*, allow: str, stack: str = STACK, region: str | None = None) -> Balancer:
    """Open a stack's Redis to one address outside; it takes 3 minutes and costs until it is stopped.

    This is the exception: with it Redis is one firewall rule and one password away from the world. Labs in the cloud
    work without it. After a failover of Redis, call it again: it passes on to an address, and that has changed.

    Parameters
    ----------
    allow : str
        Who is let in: your own address (``curl https://checkip.amazonaws.com``) with ``/32``, never wider than ``/24``.
        Another one than before takes its place.
    stack, region : str, optional

    Returns
    -------
    Balancer
        Its ``environ`` is what ``orbresearch.settings`` reads.

    Raises
    ------
    BadInput
        ``allow`` is too wide; no Redis is available; no such stack.
    CloudFailed
        AWS refused, or it did not come about: what was half made is deleted.

    Examples
    --------
    >>> balancer = orb.cloud.start_load_balancer(allow="203.0.113.7/32")  # doctest: +SKIP
    >>> os.environ.update(balancer.environ)  # doctest: +SKIP
    >>> orb.cloud.stop_load_balancer()  # doctest: +SKIP
    """
    allow, name = narrow_range(allow), resource_name(stack)
    account = open_account(region)
    redis, where = _require_redis(account, stack), find_stack(account, stack)
    address = _resolve(redis.endpoint)
    tell(f"opening Redis of stack {stack!r} to {allow}: it takes 3 minutes, and {_price(account, where)}")
    stood = _describe(account, name) is not None
    try:
        dns_name = _build(account, where, name, allow, address)
    except (OrbError, KeyboardInterrupt) as error:
        if not stood:
            tell(f"{str(error) or 'interrupted'}: what was half made of the load balancer is being deleted")
            _remove(account, where, name)
        raise
    tell(f"Redis of stack {stack!r} is open to {allow} at {dns_name}:{PORT} until stop_load_balancer()")
    return Balancer(name, dns_name, PORT, allow, redis.endpoint)


def stop_load_balancer(*, stack: str = STACK, region: str | None = None) -> None:
    """Close the way from outside to a stack's Redis and wait until nothing of it is left. May be called at any time.

    Parameters
    ----------
    stack, region : str, optional

    Raises
    ------
    CloudFailed
        AWS refused, or it was not gone within half an hour; the way is closed first of all.
    """
    account, name = open_account(region), resource_name(stack)
    _remove(account, find_stack(account, stack), name)
    tell(f"nothing outside leads to Redis of stack {stack!r}")


def find_load_balancer(account: Account, stack: str = STACK) -> Balancer | None:
    """Return a stack's load balancer, or None."""
    name = resource_name(stack)
    found = _describe(account, name)
    if found is None:
        return None
    redis, group = find_redis(account, stack), find_group(account, find_stack(account, stack), name)
    allow = ", ".join(sorted(admitted(group))) if group else ""
    return Balancer(name, found["DNSName"], PORT, allow, redis.endpoint if redis else "")


def _price(account: Account, stack: Stack) -> str:
    """Return what it costs with a public address in each zone, for a person."""
    table = find_prices(account.region).table
    dollars = table["balancer"] + len(stack.subnets) * table["address"]
    return f"that costs about ${dollars:.3f} an hour until stop_load_balancer()"


def _require_redis(account: Account, stack: str) -> Redis:
    redis = find_redis(account, stack)
    if redis is None or redis.status != "available":
        wrong = "none runs" if redis is None else f"it is {redis.status!r}"
        raise BadInput(f"Redis of stack {stack!r}", wrong, "run orb.cloud.start_redis() first")
    return redis


def _resolve(endpoint: str) -> str:
    """Return the primary's address: a balancer passes on to addresses, not to names."""
    try:
        found = socket.getaddrinfo(endpoint, PORT, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        fix = "some networks drop names that lead to private addresses: ask another name server, such as 1.1.1.1"
        raise CloudFailed("finding Redis' address", f"{endpoint} does not resolve here: {error}", fix) from None
    return str(found[0][4][0])


def _build(account: Account, stack: Stack, name: str, allow: str, address: str) -> str:
    """Make what is not there yet, in an order in which nobody else is ever let in; return the balancer's name."""
    group = make_group(account, stack, name)
    admit_only(account, group, allow)
    admit_balancer(account, stack, group["GroupId"])
    target = _make_target(account, stack, name, address)
    elb, found = account.client("elbv2"), _describe(account, name)
    with speaking(_STARTING):
        if found is None:
            found = elb.create_load_balancer(
                Name=name,
                Type="network",
                Scheme="internet-facing",
                IpAddressType="ipv4",
                Subnets=list(stack.subnets),
                SecurityGroups=[group["GroupId"]],  # at once or never: AWS adds none to a balancer made without
                Tags=[tag_of(stack)],
            )["LoadBalancers"][0]
        arn, action = found["LoadBalancerArn"], {"Type": "forward", "TargetGroupArn": target}
        if not elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]:
            elb.create_listener(
                LoadBalancerArn=arn, Protocol="TCP", Port=PORT, DefaultActions=[action], Tags=[tag_of(stack)]
            )
    _await(account, name, target)
    return str(found["DNSName"])


def _describe(account: Account, name: str) -> dict[str, Any] | None:
    """Return the balancer; one of that name that has no tag of ours is refused."""
    elb = account.client("elbv2")
    with speaking("looking for the load balancer"):
        try:
            found: dict[str, Any] = elb.describe_load_balancers(Names=[name])["LoadBalancers"][0]
        except elb.exceptions.LoadBalancerNotFoundException:
            return None
        tagged = elb.describe_tags(ResourceArns=[found["LoadBalancerArn"]])["TagDescriptions"][0]["Tags"]
    if not any(tag["Key"] == TAG for tag in tagged):
        raise BadInput(
            "load balancer", f"{name} has no tag {TAG}: it is somebody else's", "deploy a stack of another name"
        )
    return found


def _find_target(account: Account, name: str) -> str | None:
    elb = account.client("elbv2")
    with speaking("looking for the load balancer's target"):
        try:
            return str(elb.describe_target_groups(Names=[name])["TargetGroups"][0]["TargetGroupArn"])
        except elb.exceptions.TargetGroupNotFoundException:
            return None


def _make_target(account: Account, stack: Stack, name: str, address: str) -> str:
    """Return the group of targets that holds Redis' address and no other."""
    elb, arn = account.client("elbv2"), _find_target(account, name)
    with speaking(_STARTING):
        if arn is None:
            arn = elb.create_target_group(
                Name=name,
                Protocol="TCP",
                Port=PORT,
                VpcId=stack.vpc,
                TargetType="ip",
                HealthCheckProtocol="TCP",
                HealthCheckIntervalSeconds=10,
                HealthyThresholdCount=2,  # half a minute sooner than by default
                Tags=[tag_of(stack)],
            )["TargetGroups"][0]["TargetGroupArn"]
        health = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        old = [{"Id": each["Target"]["Id"]} for each in health if each["Target"]["Id"] != address]
        elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": address, "Port": PORT}])
        if old:  # Redis has moved
            elb.deregister_targets(TargetGroupArn=arn, Targets=old)
    return str(arn)


def _await(account: Account, name: str, target: str) -> None:
    """Wait until the balancer stands and reaches Redis."""
    elb = account.client("elbv2")

    def state() -> str:
        found = _describe(account, name)
        return str(found["State"]["Code"]) if found else _GONE

    def health() -> str:
        with speaking(_STARTING):
            seen = elb.describe_target_health(TargetGroupArn=target)["TargetHealthDescriptions"]
        states = {each["TargetHealth"]["State"] for each in seen} - {"draining"}
        return states.pop() if len(states) == 1 else "initial"

    if (status := wait_while(_STARTING, state, {"provisioning"}, _AGAIN)) != "active":
        raise CloudFailed(_STARTING, f"AWS says {status!r}", "try again")
    what = "waiting until the load balancer reaches Redis"
    wait_while(what, health, {"initial", "unused", "unhealthy"}, _AGAIN, 600)


def _remove(account: Account, stack: Stack, name: str) -> None:
    """Close the way, then delete what it was made of, each once nothing uses it any more."""
    group = find_group(account, stack, name)
    if group:
        shut(account, stack, group["GroupId"])
    elb, found = account.client("elbv2"), _describe(account, name)
    if found:
        with speaking(_STOPPING), suppress(elb.exceptions.LoadBalancerNotFoundException):
            elb.delete_load_balancer(LoadBalancerArn=found["LoadBalancerArn"])
    wait_while(_STOPPING, lambda: _GONE if _describe(account, name) is None else "deleting", {"deleting"}, _STOP_AGAIN)
    if target := _find_target(account, name):
        _delete_once_unused(lambda: elb.delete_target_group(TargetGroupArn=target), "ResourceInUse")
    if group:
        ec2, ident = account.client("ec2"), group["GroupId"]
        _delete_once_unused(lambda: ec2.delete_security_group(GroupId=ident), "DependencyViolation")


def _delete_once_unused(delete: Any, used: str) -> None:
    """Delete something that AWS takes for used for minutes after its user is gone."""
    from botocore.exceptions import ClientError

    def attempt() -> str:
        with speaking(_STOPPING):
            try:
                delete()
            except ClientError as error:
                if code_of(error) != used:
                    raise
                return _USED
        return _GONE

    wait_while(_STOPPING, attempt, {_USED}, _STOP_AGAIN)
