"""The cloud: a stack of one's own in AWS, Redis, workers on Fargate, what they cost, and how nothing stays behind.

``orb.Lab.fargate(...)`` makes a lab of it. Nothing here is imported before it is used, and none of it is needed on one
machine (``pip install 'orbresearch[cloud]'``).

============  ========================================================================================
aws           the one door to AWS: clients, and its refusals in words
stack         the CloudFormation stack that everything else stands on: deployed, found, deleted
formation     CloudFormation: made, changed, waited for, and why it failed
secrets       what the stack's secrets hold
listing       which tasks run, which are ending
in_use        what keeps a stack from being deleted or given another image
certificates  the authority and the certificates by which scheduler, workers and client know each other
redis         ElastiCache: started, found, stopped
balancer      the exception: a way for one address to reach Redis from outside
admission     who the balancer lets in
allowed       addresses that may be let in at all
waiting       what AWS takes minutes for, watched
image, lock   the image that tasks run: the notebook's own packages, frozen
versions      whether a cluster has the notebook's packages
cost          what a run will take and cost
forecast      such a plan as a person sees it, and what was assumed for it
hourly        what a cluster costs while it is up
prices        one dated table of prices
sizes         which tasks Fargate has
quota         how many vCPUs the account may run
hosted        a cluster as a lab holds it: started or found
fargate       scheduler and workers as tasks, through dask-cloudprovider
roles         how each of them is asked for
desk          ECS as a cluster asks it: few calls a second
troubles      why workers were lost, counted and told
adapt         how many workers there should be
guard         in the scheduler: ends it when its time is over, whatever else happens
drain         in every worker's nanny: a Spot interruption loses nothing
connector     Dask's TLS connections, mended
running       what runs, and stopping one of it
sweeping      removing what a killed notebook has left
============  ========================================================================================

This folder stands below ``lab``, which makes a lab of a cluster here as it does of one on this machine; nothing here
knows of labs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orbresearch.cloud.balancer import Balancer, start_load_balancer, stop_load_balancer
    from orbresearch.cloud.cost import plan
    from orbresearch.cloud.forecast import CloudPlan
    from orbresearch.cloud.hourly import RunningCost, running_cost
    from orbresearch.cloud.image import push_image, require_image
    from orbresearch.cloud.lock import image_tag
    from orbresearch.cloud.redis import Redis, start_redis, stop_redis
    from orbresearch.cloud.running import stop_task, tasks
    from orbresearch.cloud.stack import Stack, delete, deploy
    from orbresearch.cloud.sweeping import sweep

_HOMES = {
    "Balancer": "balancer",
    "CloudPlan": "forecast",
    "Redis": "redis",
    "Stack": "stack",
    "delete": "stack",
    "deploy": "stack",
    "image_tag": "lock",
    "running_cost": "hourly",
    "RunningCost": "hourly",
    "plan": "cost",
    "push_image": "image",
    "require_image": "image",
    "start_load_balancer": "balancer",
    "start_redis": "redis",
    "stop_load_balancer": "balancer",
    "stop_redis": "redis",
    "stop_task": "running",
    "sweep": "sweeping",
    "tasks": "running",
}

__all__ = [
    "Balancer",
    "CloudPlan",
    "Redis",
    "RunningCost",
    "Stack",
    "delete",
    "deploy",
    "image_tag",
    "plan",
    "push_image",
    "require_image",
    "running_cost",
    "start_load_balancer",
    "start_redis",
    "stop_load_balancer",
    "stop_redis",
    "stop_task",
    "sweep",
    "tasks",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'orbresearch.cloud' has no attribute {name!r}")
    found = getattr(import_module(f"orbresearch.cloud.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
