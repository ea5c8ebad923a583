"""The cloud: a stack of one's own in AWS, Redis, workers on Fargate, what they cost, and how nothing stays behind.

``orb.Lab.fargate(...)`` makes a lab of it. Nothing here is imported before it is used, and none of it is needed on one
machine (``pip install 'orbresearch[cloud]'``).

============  ========================================================================================
aws           the one door to AWS: clients, and its refusals in words
stack         the CloudFormation stack that everything else stands on: deployed, found, deleted
certificates  the authority and the certificates by which scheduler, workers and client know each other
redis         ElastiCache: started, found, stopped
balancer      the exception: a way for one address to reach Redis from outside
image         the image that tasks run: the notebook's own packages, frozen
cost, prices  what a run will take and cost, before it does
fargate       scheduler and workers as tasks, through dask-cloudprovider
guard         in the scheduler: ends it when its time is over, whatever else happens
drain         in every worker's nanny: a Spot interruption loses nothing
tasks, sweep  what runs, stopping one of it, removing what was left
============  ========================================================================================

This folder stands below ``lab``, which makes a lab of a cluster here as it does of one on this machine; nothing here
knows of labs.
"""

from __future__ import annotations

from importlib import import_module

_HOMES: dict[str, str] = {}

__all__: list[str] = []


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'orbresearch.cloud' has no attribute {name!r}")
    found = getattr(import_module(f"orbresearch.cloud.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
