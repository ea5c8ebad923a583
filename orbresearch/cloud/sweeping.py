"""Removing what a notebook that was killed has left: found by our own tags, told line by line."""

from __future__ import annotations

import time

from orbresearch.cloud.aws import CLUSTER_TAG, STACK, Account, open_account, speaking
from orbresearch.cloud.balancer import find_load_balancer, stop_load_balancer
from orbresearch.cloud.redis import find_redis, stop_redis
from orbresearch.cloud.running import RunningTask, running_tasks
from orbresearch.cloud.stack import Stack, find_stack
from orbresearch.console import tell
from orbresearch.errors import CloudFailed

_CALLS_PER_SECOND = 8
_END_SECONDS = 240.0


def sweep(
    cluster: str | None = None, *, redis: bool = True, stack: str = STACK, region: str | None = None
) -> dict[str, int]:
    """Stop what runs on a stack and costs by the hour: tasks, the load balancer, Redis. The stack itself stays.

    What is staged in Redis and not yet in the store is computed again when its run is submitted again.

    Parameters
    ----------
    cluster : str, optional
        Only this cluster's tasks, and nothing else.
    redis : bool
        Stop Redis and the load balancer, too.
    stack, region : str
        As of ``orb.cloud.deploy``.

    Returns
    -------
    dict
        ``tasks``, ``balancers`` and ``redis``: how many were stopped.

    Examples
    --------
    >>> orb.cloud.sweep()  # doctest: +SKIP
    """
    account = open_account(region)
    home = find_stack(account, stack)
    found = [task for task in running_tasks(account, home) if cluster in (None, task.tags.get(CLUSTER_TAG))]
    names = sorted({task.tags.get(CLUSTER_TAG, "?") for task in found})
    tell(f"sweep: {len(found)} tasks{' of ' + ', '.join(names) if names else ''}")
    _stop(account, home, found)
    swept = {"tasks": len(found), "balancers": 0, "redis": 0}
    if redis and cluster is None:
        swept["balancers"] = int(find_load_balancer(account, stack) is not None)
        swept["redis"] = int(find_redis(account, stack) is not None)
        stop_load_balancer(stack=stack, region=region)  # also what a start that was cut short has left of one
        stop_redis(stack=stack, region=region)
    return swept


def _stop(account: Account, home: Stack, found: list[RunningTask]) -> None:
    """Stop tasks, schedulers last (they end their workers), and wait until all have ended."""
    ecs, end = account.client("ecs"), time.monotonic() + _END_SECONDS
    with speaking("stopping tasks"):
        for task in found:
            ecs.stop_task(cluster=home.cluster_arn, task=task.arn, reason="swept")
            time.sleep(1 / _CALLS_PER_SECOND)
    wanted = {task.arn for task in found}
    while left := [task.id for task in running_tasks(account, home) if task.arn in wanted]:
        if time.monotonic() > end:
            raise CloudFailed("sweep", f"tasks still run: {', '.join(left)}", "look at them in the ECS console")
        time.sleep(1.0)
