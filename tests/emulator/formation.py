"""CloudFormation: stacks are moto's; failures, updates and deletions go as in AWS, and more kinds of resources exist.

Moto ignores the kinds that it does not know, forgets half of what task definitions say, answers a failing resource with
HTTP 500 and makes resources anew that an output of a deleted stack names. All that is mended here for as long as an
emulator runs; the additional kinds are in ``kinds``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Event, Stack
from moto.cloudformation.parsing import OutputMap, ResourceMap, clean_json, parse_and_delete_resource
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends

from tests.emulator.kind import Kind, Maker
from tests.emulator.kinds import KINDS

_LATER = 6  # attempts at deleting what something else still needs


@contextlib.contextmanager
def formation(client: Callable[[str, str], Any]) -> Iterator[None]:
    """Have CloudFormation behave for the length of a block.

    Parameters
    ----------
    client : callable
        Returns a client for a service and a region, with which resources are made.
    """
    models = {kind: _model(kind, maker, client) for kind, maker in KINDS.items()}
    known, names = parsing.get_model_map(), parsing.resource_name_property_from_type
    patches = {
        (parsing, "get_model_map"): lambda: {**known, **models},
        (parsing, "resource_name_property_from_type"): lambda kind: KINDS[kind].name if kind in KINDS else names(kind),
        (Stack, "create_resources"): _create,
        (Stack, "update"): _update,
        (CloudFormationBackend, "delete_stack"): _delete,
    }
    with contextlib.ExitStack() as patched:
        for (owner, attribute), new in patches.items():
            patched.enter_context(mock.patch.object(owner, attribute, new))
        yield


def _model(kind: str, maker: Maker, client: Callable[[str, str], Any]) -> type[Kind]:
    return type(kind.rpartition(":")[2], (Kind,), {"kind": kind, "maker": maker, "client": staticmethod(client)})


def _create(stack: Stack) -> None:
    """Make all resources of a stack; when one fails, take back what was made."""
    stack.status = "CREATE_IN_PROGRESS"
    stack.description = stack.template_dict.get("Description")
    try:
        stack.resource_map.create(stack.template_dict)
    except Exception as error:
        _tell(stack, "CREATE_FAILED", f"{error}", _failing(stack))
        stack._add_stack_event(
            "ROLLBACK_IN_PROGRESS", f"The following resource(s) failed to create: [{_failing(stack)}]."
        )
        stack.status = "ROLLBACK_FAILED" if _remove(stack) else "ROLLBACK_COMPLETE"
        _forget_outputs(stack)
        stack._add_stack_event(stack.status)
        return
    stack.mark_creation_complete()
    list(stack.output_map.values())  # evaluated while there is something to evaluate


def _failing(stack: Stack) -> str:
    """Return the resource at which a stack's creation stopped: the first that is not there."""
    made = stack.resource_map._parsed_resources
    return next((name for name in stack.template_dict["Resources"] if name not in made), stack.name)


def _tell(stack: Stack, status: str, reason: str, resource: str) -> None:
    kind = stack.template_dict["Resources"].get(resource, {}).get("Type", "AWS::CloudFormation::Stack")
    stack.events.append(Event(stack.stack_id, stack.name, resource, "", kind, status, reason, None))


def _forget_outputs(stack: Stack) -> None:
    stack.output_map = OutputMap(stack.resource_map, {}, stack.stack_id)


def _update(stack: Stack, template: Any, role_arn: Any = None, parameters: Any = None, tags: Any = None) -> None:
    """Change a stack to another template or other parameters: make what is new, change what differs, drop the rest."""
    if (template, parameters or stack.parameters, tags or stack.tags) == (stack.template, stack.parameters, stack.tags):
        raise ValidationError(message="No updates are to be performed.")
    stack._add_stack_event("UPDATE_IN_PROGRESS", "User Initiated")
    old, old_tags = stack.resource_map, stack.tags
    before = {name: _resolved(old, name) for name in old.resources}
    stack.template, stack.parameters = template, parameters or stack.parameters
    stack.tags = tags if tags is not None else old_tags
    stack._parse_template()
    stack.resource_map = new = stack._create_resource_map()
    new._template, new._resource_json_map = stack.template_dict, stack.template_dict["Resources"]
    try:
        for name in new._ResourceMap__get_resources_in_dependency_order():
            _change(new, old, name, before)
        for name in [name for name in before if name not in new.resources and name in old._parsed_resources]:
            _remove_one(old, name)
    except Exception as error:
        _tell(stack, "UPDATE_FAILED", str(error), "")
        stack.status = "UPDATE_ROLLBACK_FAILED"
        return
    stack.output_map = stack._create_output_map()
    stack.status = "UPDATE_COMPLETE"
    stack._add_stack_event("UPDATE_COMPLETE")
    list(stack.output_map.values())


def _resolved(resources: ResourceMap, name: str) -> Any:
    return clean_json(resources._resource_json_map[name].get("Properties", {}), resources)


def _change(new: ResourceMap, old: ResourceMap, name: str, before: dict[str, Any]) -> None:
    """Take over a resource that stays as it is, or change or make it."""
    if name in new._parsed_resources:
        return
    there = old._parsed_resources.get(name)
    if there is None:
        new[name]
        return
    for other in parsing.get_references_from_template(new._resource_json_map[name]):
        if other in new._resource_json_map:
            _change(new, old, other, before)
    after = _resolved_with(new, old, name)
    if after == before[name]:
        new._parsed_resources[name] = there
    elif isinstance(there, Kind):
        new._parsed_resources[name] = there.change(after)
    else:
        _remove_one(old, name)
        new[name]


def _resolved_with(new: ResourceMap, old: ResourceMap, name: str) -> Any:
    """Return a resource's new properties; what they refer to and is not settled yet is taken over first."""
    for other in _named(new._resource_json_map[name].get("Properties", {}), {*new._resource_json_map} - {name}):
        if other not in new._parsed_resources and other in old._parsed_resources:
            _change(new, old, other, {key: _resolved(old, key) for key in old.resources})
    return _resolved(new, name)


def _named(value: Any, names: set[str]) -> set[str]:
    """Return which of some resources a template's value speaks of, in whatever way."""
    text = str(value)
    return {name for name in names if f"'{name}'" in text or f"${{{name}}}" in text or f"${{{name}." in text}


def _delete(backend: CloudFormationBackend, name_or_id: str) -> None:
    """Delete a stack with everything in it; what cannot go keeps it, as DELETE_FAILED. An unknown one is no error."""
    found = [stack for stack in backend.stacks.values() if name_or_id in (stack.name, stack.stack_id)]
    for stack in found:
        stack._add_stack_event("DELETE_IN_PROGRESS", "User Initiated")
        _forget_outputs(stack)
        if failed := _remove(stack):
            for name, reason in failed.items():
                _tell(stack, "DELETE_FAILED", reason, name)
            stack.status = "DELETE_FAILED"
            stack._add_stack_event(
                "DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]."
            )
            continue
        stack.status = "DELETE_COMPLETE"
        stack._add_stack_event("DELETE_COMPLETE")
        backend.deleted_stacks[stack.stack_id] = backend.stacks.pop(stack.stack_id)


def _remove(stack: Stack) -> dict[str, str]:
    """Delete a stack's resources, last made first; return those that would not go, with the reason."""
    resources, failed = stack.resource_map, {}
    for _ in range(_LATER):
        failed = {}
        for name in [name for name in reversed(resources._parsed_resources) if name in resources._resource_json_map]:
            if resources._resource_json_map[name].get("DeletionPolicy") == "Retain":
                continue
            try:
                _remove_one(resources, name)
            except Exception as error:
                failed[name] = str(error)
        if not failed:
            break
    return failed


def _remove_one(resources: ResourceMap, name: str) -> None:
    there, described = resources._parsed_resources[name], resources._resource_json_map[name]
    if isinstance(there, Kind):
        there.delete()
    elif there is not None:
        _remove_motos(resources, there, described)
    del resources._parsed_resources[name]


def _remove_motos(resources: ResourceMap, there: Any, described: dict[str, Any]) -> None:
    """Delete a resource that moto made, by whichever of its two ways the kind has."""
    account, region = resources._account_id, resources._region_name
    ref = getattr(there, "physical_resource_id", None)
    if used := _users(ref, ec2_backends[account][region], elbv2_backends[account][region]):
        raise DependencyViolationError(f"resource {ref} has a dependent object: {', '.join(used)}")
    cleaned = {**described, "Properties": clean_json(described.get("Properties", {}), resources)}
    try:
        there.delete(account, region)
    except (TypeError, AttributeError):
        parse_and_delete_resource(ref, cleaned, account, region)


def _users(ref: str | None, ec2: Any, elb: Any) -> list[str]:
    """Return what stands in a subnet or a security group, for which moto would not keep it."""
    interfaces = [one.id for one in ec2.enis.values() if ref in (one.subnet.id, *(group.id for group in one.group_set))]
    for one in elb.load_balancers.values():
        if ref in (*(subnet.id for subnet in one.subnets), *(one.security_groups or [])):
            interfaces.append(one.name)
    return interfaces
