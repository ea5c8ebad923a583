"""What a kind of CloudFormation resource is: made by calls of the same API that anybody calls, as AWS does it.

A property that the API does not know, or a value of another type, fails as it would in AWS: botocore checks them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from moto.cloudformation.models import cloudformation_backends

Made = tuple[str, dict[str, str]]  # what Ref gives, and what GetAtt gives


@dataclass(frozen=True)
class Maker:
    """How resources of a kind come and go.

    Parameters
    ----------
    service : str
    name : str
        The property that names one; "" where none does.
    make, remove : callable
        ``make(client, name, properties, tags)`` returns what Ref and GetAtt give; ``remove(client, ref, properties)``.
    change : callable, optional
        ``change(client, ref, properties)``; without it the resource is replaced.
    """

    service: str
    name: str
    make: Callable[[Any, str, dict[str, Any], dict[str, str]], Made]
    remove: Callable[[Any, str, dict[str, Any]], None]
    change: Callable[[Any, str, dict[str, Any]], None] | None = None


class Kind:
    """A resource, as moto's CloudFormation wants to see one."""

    kind: ClassVar[str]
    maker: ClassVar[Maker]
    client: ClassVar[Callable[[str, str], Any]]

    def __init__(self, name: str, properties: dict[str, Any], region: str, stack: str) -> None:
        self._name, self._properties, self._region, self._stack = name, properties, region, stack
        tags = {tag["Key"]: str(tag["Value"]) for tag in _tag_list(properties)}
        self._tags = {**_stack_tags(stack, region), **tags}
        self._client = self.client(self.maker.service, region)
        self.physical_resource_id, self._attributes = self.maker.make(self._client, name, properties, self._tags)

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: Any
    ) -> Kind:
        """Make one."""
        return cls(resource_name, cloudformation_json.get("Properties") or {}, region_name, kwargs["StackId"])

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Say that every attribute may exist; what does not is found when it is asked for."""
        return True

    @property
    def type(self) -> str:
        """The kind's name."""
        return self.kind

    def get_cfn_attribute(self, name: str) -> str:
        """Return what GetAtt gives."""
        if name not in self._attributes:
            raise ValueError(
                f"Template error: resource {self._name} does not support attribute type {name} in Fn::GetAtt"
            )
        return self._attributes[name]

    def is_created(self) -> bool:
        """Say that it is ready."""
        return True

    def change(self, properties: dict[str, Any]) -> Kind:
        """Give it other properties; return it, or the one that replaces it."""
        if self.maker.change:
            self.maker.change(self._client, self.physical_resource_id, properties)
            self._properties = properties
            return self
        self.delete()
        new = type(self)(self._name, properties, self._region, self._stack)
        new.logical_resource_id, new.cf_resource_type = self.logical_resource_id, self.kind
        return new

    def delete(self) -> None:
        """Remove it."""
        self.maker.remove(self._client, self.physical_resource_id, self._properties)


def _tag_list(properties: dict[str, Any]) -> list[dict[str, Any]]:
    tags = properties.get("Tags", [])
    return tags if isinstance(tags, list) else [{"Key": key, "Value": value} for key, value in tags.items()]


def _stack_tags(stack: str, region: str) -> dict[str, str]:
    """Return the tags of a stack: AWS gives them to everything in it."""
    for backend in cloudformation_backends.values():
        if stack in backend[region].stacks:
            return dict(backend[region].stacks[stack].tags)
    return {}


def pairs(tags: dict[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Return tags as the API lists them."""
    return [{key: name, value: content} for name, content in tags.items()]


def fitted(client: Any, operation: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties as an operation's parameters: names of its own spelling, numbers and words of its own types."""
    return _fit(client.meta.service_model.operation_model(operation).input_shape, properties)


def _fit(shape: Any, value: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, dict):
        return dict(_fit_member(shape, name, content) for name, content in value.items())
    if shape.type_name == "list" and isinstance(value, list):
        return [_fit(shape.member, content) for content in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _fit(shape.value, content) for key, content in value.items()}
    plain = {"string": str, "integer": int, "long": int, "boolean": truth}.get(shape.type_name)
    return plain(value) if plain and not isinstance(value, (dict, list)) else value


def _fit_member(shape: Any, name: str, value: Any) -> tuple[str, Any]:
    for spelling in (name, name[0].lower() + name[1:]):
        if spelling in shape.members:
            return spelling, _fit(shape.members[spelling], value)
    raise ValueError(f"Properties validation failed: extraneous key [{name}] is not permitted")


def truth(value: Any) -> bool:
    """Return a template's yes or no, which may be a word."""
    return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]


def without(properties: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return properties without some of them, and without tags."""
    return {name: value for name, value in properties.items() if name not in (*names, "Tags")}
