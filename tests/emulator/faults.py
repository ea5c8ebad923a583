"""What goes wrong on purpose: errors, expired credentials, throttling, no capacity, quotas, missing images."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from tests.emulator.protocol import Refused, Request

_EXPIRED = {"ec2": "RequestExpired", "json": "ExpiredTokenException", "query": "ExpiredToken"}
_THROTTLED = {"ec2": "RequestLimitExceeded", "json": "ThrottlingException", "query": "Throttling"}
_QUERY = {"cloudformation", "elasticache", "elbv2", "iam", "sts"}
CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
QUOTA = "You’ve reached the limit on the number of vCPUs you can run concurrently"  # noqa: RUF001  (AWS's own apostrophe)


@dataclass
class _Planned:
    operation: str
    code: str
    message: str
    left: int


@dataclass
class Faults:
    """What will go wrong.

    Parameters
    ----------
    expired : bool
        Every call is refused for expired credentials.
    per_second : float, optional
        Calls beyond so many within a second are throttled.
    without_capacity : set of str
        Capacity providers that start no task.
    vcpus : float, optional
        Quota of vCPUs running at once, of either capacity provider.
    broken_image : bool
        No task's image can be pulled.
    unknown : float
        Seconds in which DescribeTasks does not know a new task yet.
    """

    expired: bool = False
    per_second: float | None = None
    without_capacity: set[str] = field(default_factory=set)
    vcpus: float | None = None
    broken_image: bool = False
    unknown: float = 0.0
    _planned: list[_Planned] = field(default_factory=list)
    _lost: list[_Planned] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def throttle(self, per_second: float | None) -> None:
        """Refuse calls beyond so many within a second, counted from now; None lets all through."""
        with self._lock:
            self._recent.clear()
            self.per_second = per_second

    def plan(self, operation: str, code: str, message: str, times: int) -> None:
        """Refuse the next calls of an operation with an error."""
        with self._lock:
            self._planned.append(_Planned(operation, code, message, times))

    def check(self, request: Request) -> None:
        """Refuse a request that one of the faults is about."""
        if self.expired:
            raise Refused(_EXPIRED[_protocol(request)], "The security token included in the request is expired")
        if self.per_second and self._too_many():
            raise Refused(_THROTTLED[_protocol(request)], "Rate exceeded")
        self._take(self._planned, request)

    def lose(self, operation: str, times: int) -> None:
        """Do what the next calls of an operation ask for, and answer them with an error."""
        with self._lock:
            self._lost.append(_Planned(operation, "ServerException", "Service Unavailable", times))

    def check_answer(self, request: Request) -> None:
        """Lose the answer of a request that was planned to have none."""
        self._take(self._lost, request)

    def _take(self, plans: list[_Planned], request: Request) -> None:
        """Refuse a request that a plan is about."""
        with self._lock:
            planned = next((one for one in plans if one.operation == request.operation and one.left), None)
            if planned:
                planned.left -= 1
        if planned:
            raise Refused(planned.code, planned.message)

    def _too_many(self) -> bool:
        """Count a call, unless it is one too many: a throttled call does not use up the allowance."""
        now = time.monotonic()
        with self._lock:
            while self._recent and self._recent[0] <= now - 1:
                self._recent.popleft()
            if len(self._recent) >= self.per_second:
                return True
            self._recent.append(now)
            return False


def _protocol(request: Request) -> str:
    if request.service == "ec2":
        return "ec2"
    return "query" if request.service in _QUERY else "json"
