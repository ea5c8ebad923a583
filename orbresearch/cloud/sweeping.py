"""Removing what a notebook that was killed has left: found by our own tags, told line by line."""

from __future__ import annotations

import time

from orbresearch.cloud.aws import CLUSTER_TAG, ROLE_TAG, STACK, Account, open_account, speaking
from orbresearch.cloud.balancer import find_load_balancer, stop_load_balancer
from orbresearch.cloud.redis import find_redis, stop_redis
from orbresearch.cloud.running import RunningTask, running_tasks, unended
from orbresearch.cloud.stack import Stack, find_stack
from orbresearch.console import many, tell
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
    swept = {"tasks": _stop(account, home, cluster), "balancers": 0, "redis": 0}
    if redis and cluster is None:
        swept["balancers"] = int(find_load_balancer(account, stack) is not None)
        swept["redis"] = int(find_redis(account, stack) is not None)
        stop_load_balancer(stack=stack, region=region)  # also what a start that was cut short has left of one
        stop_redis(stack=stack, region=region)
    return swept


def _stop(account: Account, home: Stack, cluster: str | None) -> int:
    """Stop tasks until none is listed, and wait until all have ended; return how many they were.

    Schedulers go first: a notebook that is alive starts no worker for one that is leaving. What a start under way adds
    is found at the next look.
    """
    known, end = set[str](), time.monotonic() + _END_SECONDS
    while True:
        listed = [task for task in running_tasks(account, home) if cluster in (None, task.tags.get(CLUSTER_TAG))]
        fresh = [task for task in listed if task.arn not in known]
        if fresh:
            names = sorted({task.tags.get(CLUSTER_TAG, "?") for task in fresh})
            tell(f"sweep: {many(len(fresh), 'task')} of {', '.join(names)}")
        known |= {task.arn for task in fresh}
        trouble = _ask_to_stop(account, home, sorted(listed, key=_schedulers_first))
        left = [] if listed else unended(account, home, list(known))
        if not listed and not left:
            if not known:
                tell("sweep: no tasks run")
            return len(known)
        if time.monotonic() > end:
            left += [task.id for task in listed]
            raise CloudFailed(
                "sweep", trouble or f"tasks still run: {', '.join(left)}", "look at them in the ECS console"
            )
        time.sleep(1.0)


def _schedulers_first(task: RunningTask) -> bool:
    return task.tags.get(ROLE_TAG) != "scheduler"


def _ask_to_stop(account: Account, home: Stack, listed: list[RunningTask]) -> str:
    """Ask for each task's end; return what the last refusal said. One that is refused keeps no other from it."""
    ecs, trouble = account.client("ecs"), ""
    for task in listed:
        try:
            with speaking("stopping a task"):
                ecs.stop_task(cluster=home.cluster_arn, task=task.arn, reason="swept")
        except CloudFailed as error:
            trouble = str(error)
        time.sleep(1 / _CALLS_PER_SECOND)
    return trouble
