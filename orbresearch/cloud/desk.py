"""ECS as a cluster asks it: few calls a second, every task known by name, every stop with its reason.

dask-cloudprovider describes each starting task in a loop without a pause, 132 calls in four seconds; ECS grants an
account about 20 a second, its other users included. Here one call describes up to a hundred tasks, and calls keep a
distance.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from orbresearch.cloud.aws import Account, speaking
from orbresearch.cloud.stack import Stack
from orbresearch.errors import CloudFailed

CALLS_PER_SECOND = 8.0
_TOGETHER = 100  # tasks that one DescribeTasks takes
_WORDS = 4  # last lines of a log that a failure shows


@dataclass(frozen=True)
class Seen:
    """A task as ECS described it last."""

    arn: str
    status: str  # PROVISIONING, PENDING, RUNNING, STOPPED ...
    wanted: str  # RUNNING or STOPPED
    reason: str  # why it stopped, in ECS' words; "" while it has not
    spot_ended: bool
    interface: str = ""  # its network interface
    address: str = ""  # private

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status == "STOPPED"

    @property
    def leaving(self) -> bool:
        """Whether it has ended or is about to."""
        return self.ended or self.wanted == "STOPPED"


def read_task(found: dict[str, Any]) -> Seen:
    """Return what matters of an answer of DescribeTasks or RunTask."""
    details = {
        detail["name"]: detail["value"] for one in found.get("attachments", []) for detail in one.get("details", [])
    }
    return Seen(
        found["taskArn"],
        found["lastStatus"],
        found.get("desiredStatus", ""),
        _reason(found),
        found.get("stopCode") == "SpotInterruption",
        details.get("networkInterfaceId", ""),
        details.get("privateIPv4Address", ""),
    )


def _reason(found: dict[str, Any]) -> str:
    """Return why a task stopped: ECS' sentence, and what its container says beside it."""
    container = (found.get("containers") or [{}])[0]
    code = container.get("exitCode")
    said = [found.get("stoppedReason", ""), container.get("reason", ""), "" if code is None else f"exit code {code}"]
    return "; ".join(dict.fromkeys(one for one in said if one))


class Desk:
    """Calls of one cluster, made in threads so that the event loop goes on; safe for one loop at a time."""

    def __init__(self, account: Account, stack: Stack) -> None:
        self.stack = stack
        self._ecs, self._ec2, self._logs = (account.client(name) for name in ("ecs", "ec2", "logs"))
        self._turn = asyncio.Lock()
        self._next = 0.0
        self.seen: dict[str, Seen] = {}

    async def run(self, request: dict[str, Any]) -> Seen:
        """Start a task.

        Raises
        ------
        CloudFailed
            With ECS' reason: no capacity, the quota, no permission.
        """
        token = uuid.uuid4().hex  # a request that is sent again after a lost answer starts no second task
        answer = await self._call("starting a task", self._ecs.run_task, clientToken=token, **request)
        if not answer["tasks"]:
            reasons = [f"{one.get('reason', '')} {one.get('detail', '')}".strip() for one in answer.get("failures", [])]
            raise CloudFailed("starting a task", "; ".join(reasons) or "ECS gave no task and no reason", "try later")
        return self._keep(answer["tasks"])[0]

    async def describe(self, arns: Iterable[str]) -> dict[str, Seen]:
        """Return tasks as they are now; one that ECS has forgotten has ended."""
        wanted, found = list(arns), dict[str, Seen]()
        for first in range(0, len(wanted), _TOGETHER):
            some = wanted[first : first + _TOGETHER]
            asked = {"cluster": self.stack.cluster_arn, "tasks": some}
            answer = await self._call("describing tasks", self._ecs.describe_tasks, **asked)
            found |= {seen.arn: seen for seen in self._keep(answer["tasks"])}
            for arn in set(some) - set(found):
                found[arn] = self.seen[arn] = Seen(arn, "STOPPED", "STOPPED", "ECS knows it no longer", False)
        return found

    async def stop(self, arn: str, reason: str) -> None:
        """Ask ECS to stop a task; one that has ended stays as it is."""
        if arn in self.seen and not self.seen[arn].leaving:
            asked = {"cluster": self.stack.cluster_arn, "task": arn, "reason": reason}
            await self._call("stopping a task", self._ecs.stop_task, **asked)

    async def public_address(self, seen: Seen) -> str:
        """Return the public address of a running task."""
        asked = {"NetworkInterfaceIds": [seen.interface]}
        answer = await self._call("looking up an address", self._ec2.describe_network_interfaces, **asked)
        try:
            return str(answer["NetworkInterfaces"][0]["Association"]["PublicIp"])
        except (KeyError, IndexError):
            raise CloudFailed("looking up an address", "the task has no public address", "see its subnets") from None

    async def last_words(self, arn: str, container: str) -> str:
        """Return the last lines of a task's log, "" where there are none."""
        stream = f"{container}/{container}/{arn.split('/')[-1]}"
        asked = {"logGroupName": self.stack.log_group, "logStreamName": stream, "limit": _WORDS}
        try:
            answer = await self._call("reading a log", self._logs.get_log_events, startFromHead=False, **asked)
        except CloudFailed:
            return ""
        return " | ".join(event["message"].strip() for event in answer["events"][-_WORDS:])

    def alive(self) -> list[str]:
        """Return the tasks that had not ended when they were last described."""
        return [arn for arn, seen in self.seen.items() if not seen.ended]

    def _keep(self, found: list[dict[str, Any]]) -> list[Seen]:
        """Remember tasks; return them."""
        tasks = [read_task(one) for one in found]
        self.seen |= {seen.arn: seen for seen in tasks}
        return tasks

    async def _call(self, what: str, operation: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        """Make a call in its turn."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + 1 / CALLS_PER_SECOND
        return await asyncio.to_thread(_spoken, what, operation, arguments)


def _spoken(what: str, operation: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    with speaking(what):
        answer: dict[str, Any] = operation(**arguments)
    return answer
