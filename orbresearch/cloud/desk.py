"""ECS as a cluster asks it: few calls a second, every task known by name, every stop with its reason.

dask-cloudprovider describes each starting task in a loop without a pause, 132 calls in four seconds; ECS grants an
account about 20 a second, its other users included. Here one call describes up to a hundred tasks, and calls keep a
distance. A task that was asked for is known here whatever becomes of the caller, and ``end_all`` stops also what ECS
has begun without its answer having come.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orbresearch.cloud.aws import Account, speaking
from orbresearch.cloud.listing import TOGETHER
from orbresearch.cloud.stack import Stack
from orbresearch.errors import BadInput, CloudFailed

CALLS_PER_SECOND = 8.0
_SETTLE_SECONDS = 60.0  # within which ECS may not know a new task everywhere
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
    """Calls of one cluster, made in threads so that the event loop goes on; safe for one loop at a time.

    Parameters
    ----------
    account : Account
    stack : Stack
    name : str
        Of the cluster: ECS keeps it as ``startedBy``.
    """

    def __init__(self, account: Account, stack: Stack, name: str) -> None:
        self.stack, self.name = stack, name
        self._ecs, self._ec2, self._logs = (account.client(name) for name in ("ecs", "ec2", "logs"))
        self._turn = asyncio.Lock()
        self._next = 0.0
        self.seen: dict[str, Seen] = {}
        self.closing = False  # no task is started any more
        self._met: dict[str, float] = {}  # when a task was heard of first
        self._starts = set[asyncio.Task[Seen]]()  # under way

    async def run(self, request: dict[str, Any]) -> Seen:
        """Start a task; who stops waiting for it does not stop it.

        Raises
        ------
        CloudFailed
            With ECS' reason: no capacity, the quota, no permission.
        """
        start = asyncio.ensure_future(self._run(request))
        self._starts.add(start)
        start.add_done_callback(self._starts.discard)
        return await asyncio.shield(start)

    async def _run(self, request: dict[str, Any]) -> Seen:
        await self._wait()
        if self.closing:
            raise CloudFailed("starting a task", "its cluster is being closed", "start another one")
        token = uuid.uuid4().hex  # a request that is sent again after a lost answer starts no second task
        answer = await self._send("starting a task", self._ecs.run_task, clientToken=token, **request)
        if not answer["tasks"]:
            reasons = [f"{one.get('reason', '')} {one.get('detail', '')}".strip() for one in answer.get("failures", [])]
            raise CloudFailed("starting a task", "; ".join(reasons) or "ECS gave no task and no reason", "try later")
        return self._keep(answer["tasks"])[0]

    async def describe(self, arns: Iterable[str]) -> dict[str, Seen]:
        """Return tasks as they are now; one that ECS has forgotten has ended."""
        wanted, found = list(arns), dict[str, Seen]()
        for first in range(0, len(wanted), TOGETHER):
            some = wanted[first : first + TOGETHER]
            asked = {"cluster": self.stack.cluster_arn, "tasks": some}
            answer = await self._call("describing tasks", self._ecs.describe_tasks, **asked)
            found |= {seen.arn: seen for seen in self._keep(answer["tasks"])}
            for arn in set(some) - set(found):
                found[arn] = self._missing(arn)
        return found

    def _missing(self, arn: str) -> Seen:
        """Return what to think of a task that ECS does not know: a new one it may not know yet."""
        known = self.seen.get(arn)
        if known is None or known.ended or time.monotonic() - self._met[arn] > _SETTLE_SECONDS:
            known = self.seen[arn] = Seen(arn, "STOPPED", "STOPPED", "ECS knows it no longer", False)
        return known

    async def stop(self, arn: str, reason: str) -> None:
        """Ask ECS to stop a task; one that has ended stays as it is."""
        if arn in self.seen and not self.seen[arn].leaving:
            asked = {"cluster": self.stack.cluster_arn, "task": arn, "reason": reason}
            await self._call("stopping a task", self._ecs.stop_task, **asked)

    async def end_all(self, reason: str, seconds: float) -> None:
        """Stop every task of the cluster and see that it has ended; from now on none is started.

        Beside what is known here counts what ECS lists: a task whose start was never answered runs, too. A call that
        fails is made again, and keeps no other task from being stopped.

        Raises
        ------
        CloudFailed
            Tasks run on after so many seconds, or the credentials are no longer good.
        """
        self.closing, end = True, time.monotonic() + seconds
        while (trouble := await self._end_once(reason)) is not None:
            if time.monotonic() > end:
                raise CloudFailed("closing the cluster", trouble, "run orb.cloud.sweep()")
            await asyncio.sleep(0.5)

    async def _end_once(self, reason: str) -> str | None:
        """Ask every task to stop; return what is still to be waited for, None where all have ended."""
        try:
            await self._find()
            await self.describe(self.alive())
            for arn in self.alive():
                await self._try_to_stop(arn, reason)
        except CloudFailed as error:
            return str(error)
        except BadInput as error:
            fix = "the scheduler was told to end; log in again and run orb.cloud.sweep()"
            raise CloudFailed("closing the cluster", str(error), fix) from None
        names = [arn.split("/")[-1] for arn in self.alive()] + ["one whose start is under way"] * len(self._starts)
        return f"tasks still run: {', '.join(names)}" if names else None

    async def _try_to_stop(self, arn: str, reason: str) -> None:
        with suppress(CloudFailed):  # the next turn tries again
            await self.stop(arn, reason)

    async def _find(self) -> None:
        """Ask ECS for tasks of the cluster that are not known here."""
        asked = {"cluster": self.stack.cluster_arn, "startedBy": self.name}
        while True:
            answer = await self._call("listing tasks", self._ecs.list_tasks, **asked)
            for arn in set(answer["taskArns"]) - set(self.seen):
                self._meet(Seen(arn, "PROVISIONING", "RUNNING", "", False))
            if not answer.get("nextToken"):
                return
            asked["nextToken"] = answer["nextToken"]

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
        for seen in tasks:
            self._meet(seen)
        return tasks

    def _meet(self, seen: Seen) -> None:
        self.seen[seen.arn] = seen
        self._met.setdefault(seen.arn, time.monotonic())

    async def _call(self, what: str, operation: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        """Make a call in its turn."""
        await self._wait()
        return await self._send(what, operation, **arguments)

    async def _wait(self) -> None:
        """Wait for the next turn."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + 1 / CALLS_PER_SECOND

    async def _send(self, what: str, operation: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        """Make a call in a thread; where AWS had to be asked again, let the calls after it wait."""
        try:
            answer = await asyncio.to_thread(_spoken, what, operation, arguments)
        except RuntimeError:  # a process that is ending gives out no thread
            answer = _spoken(what, operation, arguments)
        again = answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        self._next = max(self._next, time.monotonic() + again) if again else self._next
        return answer


def _spoken(what: str, operation: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    with speaking(what):
        answer: dict[str, Any] = operation(**arguments)
    return answer
