"""The one entrance: a request is recorded, may fail on purpose, is held to IAM, and answered here or by moto."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tests.emulator.protocol import Answer, Refused, Request

Handler = Callable[[Request], dict[str, Any]]
Check = Callable[[Request], None]
_CHANGES = {("cloudformation", name) for name in ("CreateStack", "UpdateStack", "DeleteStack")}


@dataclass(frozen=True)
class Call:
    """One call of the API.

    Parameters
    ----------
    time : float
        When it came, in seconds of ``time.monotonic``.
    service, operation, principal : str
        The principal is the caller's ARN.
    """

    time: float
    service: str
    operation: str
    principal: str


class Gate:
    """A WSGI application in front of moto's.

    Parameters
    ----------
    moto : callable
        Moto's WSGI application.
    name : callable
        Returns the ARN behind an access key.
    private : set of str
        Access keys of the emulator's own hands: neither recorded nor checked.
    """

    def __init__(self, moto: Any, name: Callable[[str], str], private: set[str]) -> None:
        self._moto, self._name, self._private = moto, name, private
        self._lock, self._changes = threading.Lock(), threading.Lock()
        self.calls: list[Call] = []
        self.checks: list[Check] = []
        self.after: list[Check] = []  # once what was asked for is done
        self.handlers: dict[tuple[str, str], Handler] = {}
        self.before: dict[tuple[str, str], Check] = {}
        self.direct: set[str] = set()

    def handle(self, service: str, **handlers: Handler) -> None:
        """Answer operations of a service here rather than by moto: ``handle("ecs", RunTask=...)``."""
        self.handlers.update({(service, operation): handler for operation, handler in handlers.items()})

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        request = Request.read(environ, body)
        if request is None or request.key in self.direct:
            return self._moto(environ, start)
        try:
            answer = self._answer(request)
        except Refused as refused:
            answer = request.refuse(refused)
        except ClientError as error:  # what moto said to a handler
            said = error.response["Error"]
            answer = request.refuse(Refused(said["Code"], said.get("Message", "")))
        if answer is None:
            # moto would begin a second stack of a name while it makes the first
            with self._changes if (request.service, request.operation) in _CHANGES else nullcontext():
                return self._moto(environ, start)
        status, headers, body = answer
        start(status, headers)
        return body

    def _answer(self, request: Request) -> Answer | None:
        """Return the answer; nothing, where it is moto's to give."""
        if request.key not in self._private:
            self._record(request)
            for check in self.checks:
                check(request)
        named = (request.service, request.operation)
        if named in self.before:
            self.before[named](request)
        if named not in self.handlers:
            return None
        found = self.handlers[named](request)
        for check in self.after:
            check(request)
        return request.answer(found)

    def _record(self, request: Request) -> None:
        call = Call(time.monotonic(), request.service, request.operation, self._name(request.key))
        with self._lock:
            self.calls.append(call)
