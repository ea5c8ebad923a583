"""The condition keys that policies may ask for: what a request, an action of it and the resource give values to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.secretsmanager.models import secretsmanager_backends

from tests.emulator.protocol import Request

_TAGGING = {"ecs:TagResource": "ecs:createaction", "ec2:CreateTags": "ec2:createaction"}


def context(action: str, resource: str, request: Request | None) -> dict[str, str]:
    """Return condition keys, in lower case, with their values.

    Parameters
    ----------
    action, resource : str
        The action that is asked for, and the ARN it is about.
    request : Request, optional
        The request that needs the action; ECS acting for a task has none.
    """
    if request is None:
        return {}
    known = {"aws:requestedregion": request.region}
    if action == "iam:PassRole":
        known["iam:passedtoservice"] = "ecs-tasks.amazonaws.com"  # nothing here passes roles to anybody else
    if action in _TAGGING and not action.endswith(request.operation):
        known[_TAGGING[action]] = request.operation
    if cluster := request.params.get("cluster"):
        name = str(cluster).rpartition("/")[2]
        known["ecs:cluster"] = f"arn:aws:ecs:{request.region}:{DEFAULT_ACCOUNT_ID}:cluster/{name}"
    known |= {f"aws:requesttag/{key}".lower(): value for key, value in _given(request.params)}
    return known | {f"aws:resourcetag/{key}".lower(): value for key, value in _tags_of(resource, request.region)}


def _given(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the tags that a request gives."""
    listed = [*params.get("tags", []), *params.get("Tags", [])]
    for specification in params.get("TagSpecifications", []):
        listed += specification.get("Tags", [])
    for tag in listed:
        yield tag.get("key", tag.get("Key")), tag.get("value", tag.get("Value", ""))


def _tags_of(resource: str, region: str) -> Iterator[tuple[str, str]]:
    """Yield the tags of a resource of EC2's, or of a secret."""
    if resource.startswith("arn:aws:secretsmanager:"):
        held = secretsmanager_backends[DEFAULT_ACCOUNT_ID][region].secrets.get(resource)
        yield from ((tag["Key"], tag["Value"]) for tag in (held.tags if held else None) or [])
    if resource.startswith("arn:aws:ec2:"):
        yield from ec2_backends[DEFAULT_ACCOUNT_ID][region].tags.get(resource.rpartition("/")[2], {}).items()
