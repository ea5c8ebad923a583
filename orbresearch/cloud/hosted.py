"""A cluster on Fargate as a lab holds it: started or found, with its address, certificates and end."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orbresearch.cloud.aws import CLUSTER_TAG, ROLE_TAG, STACK, Account, open_account, speaking
from orbresearch.cloud.certificates import days_left, read_security
from orbresearch.cloud.fargate import Cluster
from orbresearch.cloud.hourly import RunningCost, running_cost
from orbresearch.cloud.image import image_of
from orbresearch.cloud.quota import beyond_quota, describe_quota, quota
from orbresearch.cloud.redis import Redis, find_redis
from orbresearch.cloud.roles import PORT, Options
from orbresearch.cloud.running import running_tasks
from orbresearch.cloud.stack import Stack, find_stack
from orbresearch.console import many, tell
from orbresearch.errors import BadInput, CloudFailed, OrbError

if TYPE_CHECKING:
    from orbresearch.cloud.forecast import CloudPlan

CONNECT_SECONDS = 60  # until a scheduler that runs listens
ADAPT_SECONDS = 10  # between two looks at how much work is left; three that agree let workers go


@dataclass(frozen=True)
class Hosted:
    """A scheduler in AWS that a lab talks to.

    Parameters
    ----------
    name, address : str
    security : distributed.Security
        The client's certificate and key.
    stack : Stack
    cluster : Cluster, optional
        None where it was started by another notebook.
    slots : int
        Chunks that it computes at once when all workers that were asked for are there; 0 where that is not known.
    """

    name: str
    address: str
    security: Any = field(repr=False)
    stack: Stack
    cluster: Cluster | None = field(default=None, repr=False)
    slots: int = 0

    @property
    def troubles(self) -> str:
        """What befell the tasks of a cluster started here, the most frequent first; "" where nothing did."""
        if self.cluster is None:
            return ""
        over = [f"the scheduler has ended: {self.cluster.over}"] if self.cluster.over else []
        return "; ".join(over + self.cluster.troubles.most_frequent())

    def ended(self, connected: bool) -> bool:
        """Return whether its scheduler has ended, as far as the cluster started here, or ECS without one, tells."""
        if self.cluster is not None or connected:
            return self.cluster is not None and bool(self.cluster.over)
        try:
            found = running_tasks(open_account(self.stack.region), self.stack)
        except OrbError:  # AWS is out of reach, too
            return False
        return self.name not in {one.tags.get(CLUSTER_TAG) for one in found if one.tags.get(ROLE_TAG) == "scheduler"}

    def close(self) -> None:
        """End every task of it, where it was started here; again does nothing."""
        if self.cluster is not None:
            self.cluster.close(timeout=600)
            tell(f"cloud: no task of cluster {self.name} runs any more; Redis goes on until orb.cloud.stop_redis()")


def start_hosted(
    n_workers: int,
    options: dict[str, Any],
    *,
    price_cap: float | None = None,
    maximum: int | None = None,
    plan: CloudPlan | None = None,
    stack: str = STACK,
    region: str | None = None,
) -> Hosted:
    """Start a scheduler and workers; return when the first worker has connected.

    Parameters
    ----------
    n_workers : int
    options : dict
        Of :class:`~orbresearch.cloud.fargate.Options`, without ``name`` and ``environment``.
    price_cap : float, optional
        Dollars that it may cost until its lifetime ends, at the most.
    maximum : int, optional
        Workers up to which it grows while there is work for them, ``n_workers`` being the least.
    plan : CloudPlan, optional
        Told before anything starts, beside what the cluster costs.

    Raises
    ------
    BadInput
        It could cost more than the cap; there is no stack, no Redis, no valid certificate.
    CloudFailed
        With the reason that AWS gave. Nothing is left running.
    """
    account = open_account(region)
    home = find_stack(account, stack)
    image_of(home)
    redis = _require_redis(account, stack)
    asked = Options(f"orb-{uuid.uuid4().hex[:8]}", environment=redis.environ, **options)
    most = max(n_workers, maximum or 0)
    cost = _cost(home, redis, asked, most)
    allowed = quota(account.region) if plan is None else plan.quota
    if plan is not None:
        tell(f"cloud: {plan!r}")
    tell(f"cloud: {cost}\n  Fargate quota: {describe_quota(allowed)}")
    for warning in beyond_quota(most, asked.worker_cpu, asked.spot_share, allowed):
        tell(f"cloud: warning: {warning}")
    _check_cap(cost, price_cap)
    security = _client_security(account, home, asked.lifetime)
    return _start(account, home, asked, security, n_workers, maximum)


def attach_hosted(name: str | None = None, *, stack: str = STACK, region: str | None = None) -> Hosted:
    """Find the running cluster of a stack, whoever started it.

    Parameters
    ----------
    name : str, optional
        Needed where several run.

    Raises
    ------
    BadInput
        None runs, or several and none was named.
    """
    account = open_account(region)
    home = find_stack(account, stack)
    schedulers = [one for one in running_tasks(account, home) if one.tags.get(ROLE_TAG) == "scheduler"]
    found = {one.tags[CLUSTER_TAG]: one for one in schedulers if one.status == "RUNNING"}
    if not found:
        raise BadInput("Lab.fargate(attach=...)", f"no cluster runs in stack {stack!r}", "start one: orb.Lab.fargate()")
    if name is None and len(found) > 1:
        raise BadInput("Lab.fargate(attach=True)", f"several run: {', '.join(found)}", "name one: attach='...'")
    chosen = name or next(iter(found))
    if chosen not in found:
        raise BadInput(f"cluster {chosen}", "it does not run", f"running: {', '.join(found)}")
    security = _client_security(account, home, 0)
    with speaking("looking up an address"):
        ids = [found[chosen].interface]
        answer = account.client("ec2").describe_network_interfaces(NetworkInterfaceIds=ids)
    address = next((one.get("Association", {}).get("PublicIp") for one in answer["NetworkInterfaces"]), None)
    if address is None:
        raise CloudFailed(f"attaching to cluster {chosen}", "its scheduler has no public address", "start another one")
    return Hosted(chosen, f"tls://{address}:{PORT}", security, home)


def _require_redis(account: Account, stack: str) -> Redis:
    """Return the stack's Redis; the embedded one of a notebook is out of a task's reach."""
    redis = find_redis(account, stack)
    if redis is None or redis.status != "available":
        wrong = f"stack {stack!r} has none" if redis is None else f"it is {redis.status}"
        raise BadInput("Redis of the cloud", wrong, "start it first, and wait for it: orb.cloud.start_redis()")
    return redis


def _cost(home: Stack, redis: Redis, asked: Options, most_workers: int) -> RunningCost:
    """Return what it costs with the scheduler and the Redis that this stack has."""
    return running_cost(
        most_workers,
        asked.worker_cpu,
        asked.worker_memory,
        asked.spot_share,
        asked.lifetime / 3600,
        home.region,
        redis.size,
        redis_engine=redis.engine,
        redis_nodes=redis.nodes,
        scheduler_cpu=int(home.scheduler_cpu) / 1024,
        scheduler_memory=int(home.scheduler_memory) / 1024,
        arm=home.architecture == "ARM64",
    )


def _check_cap(cost: RunningCost, cap: float | None) -> None:
    if cap is not None and cost.most > cap:
        wrong = f"the cluster can cost ${cost.most:.2f} until its lifetime ends"
        raise BadInput(f"price_cap={cap:g}", wrong, "ask for fewer workers or a shorter lifetime, or raise the cap")


def _client_security(account: Account, home: Stack, lifetime: float) -> Any:
    """Return the client's certificate and key, valid until the cluster ends.

    Raises
    ------
    BadInput
        They expire before.
    """
    with speaking("reading the client's certificate"):
        document = account.client("secretsmanager").get_secret_value(SecretId=home.client_secret)["SecretString"]
    if days_left(document) * 86400 < lifetime + 86400:
        wrong = f"they are valid for {days_left(document):.0f} days more"
        raise BadInput(f"certificates of stack {home.name!r}", wrong, "run orb.cloud.deploy(...) again: it renews them")
    return read_security(document)


def _start(account: Account, home: Stack, asked: Options, security: Any, n_workers: int, maximum: int | None) -> Hosted:
    import dask

    from orbresearch.cloud.adapt import Wanted

    tell(
        f"cloud: starting a scheduler and {many(n_workers, 'worker')} as cluster {asked.name}; it takes a minute or two"
    )
    cluster = None
    try:
        with dask.config.set({"distributed.comm.timeouts.connect": CONNECT_SECONDS}):
            cluster = Cluster(account, home, asked, security)
            tell(f"cloud: the scheduler runs at {cluster.scheduler.external_address}")
            cluster.scale(n_workers)
            cluster.sync(cluster.first_worker)
            if maximum is not None and maximum > n_workers:
                cluster.adapt(Adaptive=Wanted, minimum=n_workers, maximum=maximum, interval=f"{ADAPT_SECONDS}s")
    except BaseException as error:
        if cluster is not None:
            cluster.close(timeout=600)
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
            raise _plain(error.__cause__) from None
        raise
    slots = max(n_workers, maximum or 0) * asked.worker_cpu
    return Hosted(asked.name, cluster.scheduler.external_address, security, home, cluster, slots)


def _plain(error: Exception) -> Exception:
    """Return what kept a cluster from starting, for a person."""
    if isinstance(error, OSError):
        fix = "see that your address is the one that deploy(allow=...) admits, and that the client's certificate is new"
        return CloudFailed("connecting to the scheduler", str(error).splitlines()[0], fix)
    return error
