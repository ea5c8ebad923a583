"""Redis in ElastiCache: started when work begins, found again by its name and tag, stopped when it ends.

It is a replication group with cluster mode disabled: what is staged wants three databases, and cluster mode, like
ElastiCache Serverless, has one. Every connection is TLS with the token of the stack's secret, from the workers'
security group alone. It keeps nothing: what is staged in it is lost when it stops.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orbresearch.cloud.aws import STACK, TAG, Account, open_account, speaking
from orbresearch.cloud.listing import running_arns
from orbresearch.cloud.prices import say_cache_price
from orbresearch.cloud.secrets import read_token
from orbresearch.cloud.stack import Stack, find_stack, require_name
from orbresearch.cloud.waiting import wait_while
from orbresearch.console import many, tell
from orbresearch.errors import BadInput, CloudFailed

PORT = 6379
#: Engine -> the version that is started. Both take an AUTH token and have cluster mode disabled on every size.
ENGINES = {"valkey": "8.1", "redis": "7.1"}
_GONE, _PASSING = "gone", {"creating", "modifying", "snapshotting"}
_AGAIN = "call start_redis() again to go on waiting, or stop_redis() to be rid of it"
_STARTING = "starting Redis"


@dataclass(frozen=True)
class Redis:
    """A stack's Redis. Its password is in the stack's secret and nowhere else.

    Parameters
    ----------
    name : str
        Of the replication group.
    endpoint : str
        Host name of the primary; workers of the stack reach it, nobody else does. Empty until ``status`` is available.
    port : int
    status : str
        As ElastiCache gives it: ``"creating"``, ``"available"``, ``"deleting"`` and so on.
    size : str
        Such as ``"cache.t4g.small"``.
    engine : str
        ``"valkey"`` or ``"redis"``.
    nodes : int
        The primary and its replicas; each has its price.
    """

    name: str
    endpoint: str
    port: int
    status: str
    size: str
    engine: str
    nodes: int = 1

    @property
    def environ(self) -> dict[str, str]:
        """The ``REDIS_`` variables of a worker, without the password."""
        return {"REDIS_ENDPOINT": self.endpoint, "REDIS_PORT": str(self.port), "REDIS_TLS": "1"}

    def __repr__(self) -> str:
        return f"Redis({self.name}: {self.engine} on {self.size}, {self.status})"


def start_redis(
    *,
    size: str = "cache.t4g.small",
    engine: str = "valkey",
    stack: str = STACK,
    region: str | None = None,
    replicas: int = 0,
) -> Redis:
    """Start a stack's Redis, or return the one that runs; it takes 5 to 10 minutes and costs until it is stopped.

    Parameters
    ----------
    size : str
        ElastiCache's node type. ``cache.t4g.small`` has 1.4 GB, of which it keeps a quarter for itself.
    engine : str
        ``"valkey"`` or ``"redis"``, as the stack's parameter ``CacheFamily`` has it.
    stack, region : str, optional
    replicas : int
        0 to 5 more nodes, each at the price of the first, in another zone: one takes over when the primary is lost.

    Returns
    -------
    Redis

    Raises
    ------
    BadInput
        No such stack; one of another size or engine runs; an engine that the stack is not made for.
    CloudFailed
        AWS refused, or gave it up: what was half made is deleted. Or it was not available within half an hour.

    Examples
    --------
    >>> redis = orb.cloud.start_redis(size="cache.m7g.large")  # doctest: +SKIP
    >>> orb.cloud.stop_redis()  # doctest: +SKIP
    """
    name = resource_name(stack)
    _check(size, engine, replicas)
    account = open_account(region)
    client = account.client("elasticache")
    wait_while("waiting until the Redis before it is gone", lambda: _status(client, name), {"deleting"}, _AGAIN)
    if (found := _describe(client, name)) is None:
        _create(account, find_stack(account, stack), size, engine, replicas)
    else:
        _require_same(found, size, engine, replicas)
    return _await(account, name, stack)


def stop_redis(*, stack: str = STACK, region: str | None = None, force: bool = False) -> None:
    """Stop a stack's Redis and wait until it is gone, with all that is staged in it. Nothing happens where none runs.

    Parameters
    ----------
    stack, region : str, optional
    force : bool
        Even while tasks of the stack run; what they stage and what the reaper has not fetched is lost.

    Raises
    ------
    BadInput
        Tasks of the stack run.
    CloudFailed
        AWS refused, or it was not gone within half an hour.
    """
    account = open_account(region)
    client, name = account.client("elasticache"), resource_name(stack)
    if _describe(client, name) is None:
        tell(f"no Redis runs in stack {stack!r}")
        return
    if not force:
        _refuse_while_tasks_run(account, stack)
    _delete(client, name, stack)
    tell(f"Redis of stack {stack!r} is gone")


def find_redis(account: Account, stack: str = STACK) -> Redis | None:
    """Return a stack's Redis, whatever its status, or None."""
    found = _describe(account.client("elasticache"), resource_name(stack))
    return None if found is None else _as_redis(found)


def resource_name(stack: str) -> str:
    """Return what a stack's Redis and its balancer are called; AWS allows the latter 32 characters."""
    require_name(stack)
    return f"{stack}-redis"


def _check(size: str, engine: str, replicas: int) -> None:
    """Refuse what ElastiCache would, before anything is asked."""
    if engine not in ENGINES:
        raise BadInput("engine", f"{engine!r} is not known", f"give {' or '.join(map(repr, ENGINES))}")
    if not re.fullmatch(r"cache\.[a-z0-9-]+\.[a-z0-9]+", size):
        raise BadInput("size", f"{size!r} is no node type of ElastiCache", 'give one such as "cache.t4g.small"')
    if isinstance(replicas, bool) or not isinstance(replicas, int) or not 0 <= replicas <= 5:
        raise BadInput("replicas", f"{replicas!r} is no number from 0 to 5", "give a whole number")


def _describe(client: Any, name: str) -> dict[str, Any] | None:
    with speaking("looking for Redis"):
        try:
            answer = client.describe_replication_groups(ReplicationGroupId=name)
        except client.exceptions.ReplicationGroupNotFoundFault:
            return None
    return dict(answer["ReplicationGroups"][0])


def _status(client: Any, name: str) -> str:
    found = _describe(client, name)
    return _GONE if found is None else str(found["Status"])


def _as_redis(found: dict[str, Any]) -> Redis:
    primary = (found.get("NodeGroups") or [{}])[0].get("PrimaryEndpoint") or {}
    return Redis(
        found["ReplicationGroupId"],
        primary.get("Address", ""),
        int(primary.get("Port", PORT)),
        found["Status"],
        found["CacheNodeType"],
        found.get("Engine", "redis"),
        len(found.get("MemberClusters", ())) or 1,
    )


def _create(account: Account, stack: Stack, size: str, engine: str, replicas: int) -> None:
    """Ask for it; nothing is waited for."""
    token = read_token(account, stack)
    client = account.client("elasticache")
    try:
        with speaking(_STARTING):
            client.create_replication_group(
                ReplicationGroupId=resource_name(stack.name),
                ReplicationGroupDescription=f"Redis of the stack {stack.name}",
                Engine=engine,
                EngineVersion=ENGINES[engine],
                CacheNodeType=size,
                ClusterMode="disabled",
                NumCacheClusters=1 + replicas,
                AutomaticFailoverEnabled=replicas > 0,
                MultiAZEnabled=replicas > 0,
                Port=PORT,
                TransitEncryptionEnabled=True,
                AuthToken=token,
                AtRestEncryptionEnabled=True,
                SnapshotRetentionLimit=0,
                CacheSubnetGroupName=stack.cache_subnet_group,
                CacheParameterGroupName=stack.cache_parameter_group,
                SecurityGroupIds=[stack.redis_group],
                Tags=[{"Key": TAG, "Value": stack.name}],
            )
    except CloudFailed as failed:
        raise _plainer(failed, size, engine) from None
    cost = say_cache_price(account.region, size, engine, 1 + replicas)
    tell(f"starting Redis: {engine} on {size} takes 5 to 10 minutes; it {cost}")


def _plainer(failed: CloudFailed, size: str, engine: str) -> Exception:
    """Return what AWS refused as the argument that it is about."""
    if "family" in failed.reason:
        fix = "give the other engine, or change the stack's parameter CacheFamily (redis7, valkey8)"
        return BadInput("engine", f"the stack is not made for {engine!r}: {failed.reason}", fix)
    if "node type" in failed.reason.lower():
        fix = 'give one such as "cache.t4g.small" or "cache.m7g.large"'
        return BadInput("size", f"{size!r} cannot be had here: {failed.reason}", fix)
    return failed


def _require_same(found: dict[str, Any], size: str, engine: str, replicas: int) -> None:
    """Refuse to take one Redis for another, or one that is open for one that is not."""
    redis = _as_redis(found)
    if not (found.get("TransitEncryptionEnabled") and found.get("AuthTokenEnabled")) or found.get("ClusterEnabled"):
        wrong = f"{redis.name} runs without TLS, without a token or in cluster mode: start_redis() made none such"
        raise BadInput("Redis", wrong, "remove it by the name it has there")
    runs = {"size": redis.size, "engine": redis.engine, "replicas": redis.nodes - 1}
    for what, wanted in (("size", size), ("engine", engine), ("replicas", replicas)):
        if runs[what] != wanted:
            fix = f"give {what}={runs[what]!r}, or stop_redis() first: what is staged is lost then"
            raise BadInput(what, f"Redis {redis.name} runs with {runs[what]!r}, not {wanted!r}", fix)


def _await(account: Account, name: str, stack: str) -> Redis:
    """Return Redis once it is available; delete one that AWS gave up."""
    client = account.client("elasticache")
    status = wait_while(_STARTING, lambda: _status(client, name), _PASSING, _AGAIN)
    found = _describe(client, name)
    if status != "available" or found is None:
        _delete(client, name, stack)
        fix = f"see why: aws elasticache describe-events --source-type replication-group --source-identifier {name}"
        raise CloudFailed(_STARTING, f"AWS says {status!r}; what was half made is deleted", fix)
    _require_ours(client, found, stack)
    redis = _as_redis(found)
    cost = say_cache_price(account.region, redis.size, redis.engine, redis.nodes)
    tell(f"Redis of stack {stack!r} is available: {redis.engine} on {redis.size}, {cost}")
    return redis


def _require_ours(client: Any, found: dict[str, Any], stack: str) -> None:
    """Refuse a group that has our name and another's tag; tags can be read of available groups only."""
    with speaking("reading Redis' tags"):
        tags = client.list_tags_for_resource(ResourceName=found["ARN"])["TagList"]
    if {"Key": TAG, "Value": stack} not in tags:
        wrong = f"the replication group {found['ReplicationGroupId']} has no tag {TAG}={stack}: it is somebody else's"
        raise BadInput("Redis", wrong, "deploy a stack of another name")


def _delete(client: Any, name: str, stack: str) -> None:
    """Delete the group and wait until it is gone; one that is being made can be deleted once it is there."""
    what, fix = "stopping Redis", "call stop_redis() again to go on waiting"
    status = wait_while(what, lambda: _status(client, name), _PASSING, fix)
    found = _describe(client, name)
    if found is not None and status != "deleting":
        if status == "available":
            _require_ours(client, found, stack)
        with speaking(what), suppress(client.exceptions.ReplicationGroupNotFoundFault):
            client.delete_replication_group(ReplicationGroupId=name, RetainPrimaryCluster=False)
    if (status := wait_while(what, lambda: _status(client, name), {"deleting"}, fix)) != _GONE:
        raise CloudFailed(what, f"AWS says {status!r}", fix)


def _refuse_while_tasks_run(account: Account, stack: str) -> None:
    running = len(running_arns(account, find_stack(account, stack).cluster_arn))
    if running:
        wrong = f"{many(running, 'task')} of stack {stack!r} would lose it"
        raise BadInput("Redis", wrong, "close the lab first, or give force=True: what is staged is lost then")
