"""ECS' tasks as a listing has them: which run, which are ending. One call describes a hundred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orbresearch.cloud.aws import Account, code_of, pages, speaking

TOGETHER = 100  # tasks that one DescribeTasks takes


def running_arns(account: Account, cluster_arn: str | None) -> list[str]:
    """Return the ARNs of tasks that run, or are about to, in a cluster; none where there is no cluster."""
    return _list(account, cluster_arn, "RUNNING")


def ending_ids(account: Account, cluster_arn: str | None) -> list[str]:
    """Return the ids of tasks that were told to stop and have not ended: they hold addresses in the network."""
    stopped = _list(account, cluster_arn, "STOPPED")  # those that have ended, too, for an hour
    return unended(account, cluster_arn, stopped) if cluster_arn else []


def unended(account: Account, cluster_arn: str, arns: Sequence[str]) -> list[str]:
    """Return the ids of those tasks of which something still runs; a listing leaves out those that are ending."""
    described = describe(account, cluster_arn, arns)
    return [one["taskArn"].split("/")[-1] for one in described if one["lastStatus"] != "STOPPED"]


def describe(account: Account, cluster_arn: str, arns: Sequence[str], **asked: Any) -> Iterator[dict[str, Any]]:
    """Yield tasks as ECS describes them.

    Parameters
    ----------
    account : Account
    cluster_arn : str
    arns : sequence of str
    **asked
        Of DescribeTasks, beside these: ``include=["TAGS"]``.
    """
    ecs = account.client("ecs")
    for first in range(0, len(arns), TOGETHER):
        with speaking("describing tasks"):
            answer = ecs.describe_tasks(cluster=cluster_arn, tasks=arns[first : first + TOGETHER], **asked)
        yield from answer["tasks"]


def _list(account: Account, cluster_arn: str | None, wanted: str) -> list[str]:
    """Return the ARNs of tasks that ECS wants to run, or to have ended."""
    from botocore.exceptions import ClientError

    if cluster_arn is None:
        return []
    with speaking("listing tasks"):
        try:
            return list(pages(account.client("ecs").list_tasks, "taskArns", cluster=cluster_arn, desiredStatus=wanted))
        except ClientError as error:
            if code_of(error) == "ClusterNotFoundException":
                return []
            raise
