"""What runs in a stack's cluster, and stopping one of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orbresearch.cloud.aws import CLUSTER_TAG, ROLE_TAG, STACK, TAG, Account, open_account, speaking
from orbresearch.cloud.desk import read_task
from orbresearch.cloud.listing import describe, running_arns
from orbresearch.cloud.stack import Stack, find_stack
from orbresearch.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunningTask:
    """A task that ECS lists: on its way, running or ending."""

    arn: str
    status: str
    tags: dict[str, str]
    capacity: str  # FARGATE or FARGATE_SPOT
    started: datetime | None
    interface: str
    address: str

    @property
    def id(self) -> str:
        """The last part of its ARN."""
        return self.arn.split("/")[-1]


def running_tasks(account: Account, stack: Stack) -> list[RunningTask]:
    """Return the tasks of a stack, by its own tag."""
    arns = running_arns(account, stack.cluster_arn)
    found = describe(account, stack.cluster_arn, arns, include=["TAGS"])
    return [task for task in map(_read, found) if task.tags.get(TAG) == stack.name and task.status != "STOPPED"]


def _read(found: dict[str, Any]) -> RunningTask:
    seen = read_task(found)
    tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
    capacity, started = found.get("capacityProviderName", "FARGATE"), found.get("startedAt")
    return RunningTask(seen.arn, seen.status, tags, capacity, started, seen.interface, seen.address)


def tasks(*, stack: str = STACK, region: str | None = None) -> pd.DataFrame:
    """Return what runs in a stack's cluster, whoever started it.

    Returns
    -------
    DataFrame
        ``task`` (its id), ``cluster``, ``role`` (scheduler or worker), ``status``, ``capacity`` (FARGATE or
        FARGATE_SPOT), ``started`` (UTC) and ``address`` (private).

    Examples
    --------
    >>> orb.cloud.tasks()  # doctest: +SKIP
    """
    import pandas as pd

    account = open_account(region)
    found = running_tasks(account, find_stack(account, stack))
    columns = {
        "task": [task.id for task in found],
        "cluster": [task.tags.get(CLUSTER_TAG, "") for task in found],
        "role": [task.tags.get(ROLE_TAG, "") for task in found],
        "status": [task.status for task in found],
        "capacity": [task.capacity for task in found],
        "started": [task.started for task in found],
        "address": [task.address for task in found],
    }
    return pd.DataFrame(columns).sort_values(["cluster", "role", "task"], ignore_index=True)


def stop_task(task: str, reason: str, *, stack: str = STACK, region: str | None = None) -> None:
    """Stop one task: a worker is retired first and replaced by its cluster; with the scheduler the cluster ends.

    Parameters
    ----------
    task : str
        Its id or ARN, as ``tasks()`` shows it.
    reason : str
        Stands in ECS' records.

    Raises
    ------
    BadInput
        No such task runs in the stack.
    """
    account = open_account(region)
    home = find_stack(account, stack)
    known = {one.id: one for one in running_tasks(account, home)}
    chosen = task.split("/")[-1]
    if chosen not in known:
        raise BadInput(f"task {task}", f"it does not run in stack {stack!r}", f"running: {', '.join(known) or 'none'}")
    with speaking("stopping a task"):
        account.client("ecs").stop_task(cluster=home.cluster_arn, task=known[chosen].arn, reason=reason[:255])
