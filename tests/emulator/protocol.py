"""Requests and answers of AWS's JSON, Query and EC2 protocols, by botocore's own models of the services."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

# Name in a signature -> name of botocore's model, where they differ.
_MODELS = {"elasticloadbalancing": "elbv2", "servicequotas": "service-quotas", "tagging": "resourcegroupstaggingapi"}
_PROTOCOLS = ("json", "query", "ec2")

Answer = tuple[str, list[tuple[str, str]], Iterable[bytes]]


class Refused(Exception):
    """An error that the API answers with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Request:
    """One signed call of an operation.

    Parameters
    ----------
    service : str
        As botocore names it, such as ``"elbv2"``.
    prefix : str
        As signatures and IAM policies name it, such as ``"elasticloadbalancing"``.
    operation, region, key : str
        The key is the caller's access key id.
    body : bytes
    """

    service: str
    prefix: str
    operation: str
    region: str
    key: str
    body: bytes = field(repr=False)

    @classmethod
    def read(cls, environ: dict[str, Any], body: bytes) -> Request | None:
        """Return the call that a WSGI request is; nothing, where it is not signed or names no operation."""
        scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0].split("/")
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2] or dict(_form(body)).get("Action", "")
        if len(scope) < 5 or not operation:
            return None
        key, _, region, prefix, _ = scope
        return cls(_MODELS.get(prefix, prefix), prefix, operation, region, key, body)

    @cached_property
    def params(self) -> dict[str, Any]:
        """What the call says, in the model's own names."""
        model = self._model
        if model.input_shape is None:
            return {}
        said = {"method": "POST", "values": dict(_form(self.body)), "headers": {}, "body": self.body}
        parsed = PROTOCOL_PARSERS[self._protocol](model, map_type=dict).parse(
            {**said, "url_path": "/", "url_params": {}}
        )
        return parsed or {}

    @property
    def _model(self) -> OperationModel:
        return get_service_model(self.service).operation_model(self.operation)

    @property
    def _protocol(self) -> str:
        protocol = get_service_model(self.service).metadata["protocol"]
        if protocol not in _PROTOCOLS:
            raise NotImplementedError(f"the emulator does not speak {protocol} ({self.service})")
        return protocol

    def answer(self, result: dict[str, Any]) -> Answer:
        """Return status, headers and body that say a result in the call's protocol."""
        said = get_serializer_class(self.service, self._protocol)(operation_model=self._model).serialize(result)
        body = said["body"].encode() if isinstance(said["body"], str) else said["body"]
        return "200 OK", [*((name, str(value)) for name, value in said["headers"].items()), _length(body)], [body]

    def refuse(self, refused: Refused) -> Answer:
        """Return status, headers and body that say an error in the call's protocol."""
        code, message = escape(refused.code), escape(refused.message)
        if self._protocol == "json":
            body = json.dumps({"__type": refused.code, "message": refused.message})
        elif self._protocol == "ec2":
            error = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            body = f"<Response>{error}<RequestID>{uuid.uuid4()}</RequestID></Response>"
        else:
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
        kind = "application/x-amz-json-1.1" if self._protocol == "json" else "text/xml"
        return "400 Bad Request", [("Content-Type", kind), _length(body.encode())], [body.encode()]


def _length(body: bytes) -> tuple[str, str]:
    return "Content-Length", str(len(body))


def _form(body: bytes) -> list[tuple[str, str]]:
    """Return a form's fields; nothing, where the body is JSON."""
    return [] if body[:1] == b"{" else parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
