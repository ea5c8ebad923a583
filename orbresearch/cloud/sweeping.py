"""Removing what a notebook that was killed has left: found by our own tags, told line by line."""

from __future__ import annotations

import time
from collections.abc import Callable

from orbresearch.cloud.aws import CLUSTER_TAG, ROLE_TAG, STACK, Account, open_account, speaking
from orbresearch.cloud.balancer import find_load_balancer, stop_load_balancer
from orbresearch.cloud.listing import ending_ids, unended
from orbresearch.cloud.redis import find_redis, stop_redis
from orbresearch.cloud.running import RunningTask, running_tasks
from orbresearch.cloud.stack import Stack, find_stack
from orbresearch.console import many, tell
from orbresearch.errors import CloudFailed, OrbError

_CALLS_PER_SECOND = 8
_END_SECONDS = 240.0


def sweep(
    cluster: str | None = None, *, redis: bool = True, stack: str = STACK, region: str | None = None
) -> dict[str, int]:
    """Stop what runs on a stack and costs by the hour: tasks, the load balancer, Redis. The stack itself stays.

    Everybody's: whoever else works on the stack loses cluster and Redis, too, unless one cluster is named. Redis never
    ends by itself. What is staged in it and not yet in the store is computed again when its run is submitted again.

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

    Raises
    ------
    CloudFailed
        Something could not be stopped: the first refusal, after everything else was.

    Examples
    --------
    >>> orb.cloud.sweep()  # doctest: +SKIP
    """
    account = open_account(region)
    home = find_stack(account, stack)
    swept = {"tasks": _stop(account, home, cluster), "balancers": 0, "redis": 0}
    return swept | _stop_services(account, stack) if redis and cluster is None else swept


def _stop_services(account: Account, stack: str) -> dict[str, int]:
    """Stop balancer and Redis; where one is refused the other is stopped all the same, and the first refusal raised.

    A researcher without ``LoadBalancerPolicy`` may not so much as look at a balancer that stands; Redis costs on.
    """
    services: dict[str, tuple[Callable[..., object], Callable[..., None]]] = {
        "balancers": (find_load_balancer, stop_load_balancer),  # also what a start that was cut short has left of one
        "redis": (find_redis, stop_redis),
    }
    stopped, refused = dict[str, int](), list[OrbError]()
    for service, (find, stop) in services.items():
        try:
            stopped[service] = int(find(account, stack) is not None)
            stop(stack=stack, region=account.region)
        except OrbError as error:
            tell(f"sweep: {error}")
            refused.append(error)
    if refused:
        raise refused[0]
    return stopped


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
        left = [] if listed else unended(account, home.cluster_arn, list(known))
        if cluster is None and not listed + left:  # what others have told to stop ends here, too, before a deletion
            left = ending_ids(account, home.cluster_arn)
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
