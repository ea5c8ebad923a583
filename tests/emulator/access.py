"""Who asks, and whether IAM lets them: identity policies with actions, resources and the commonest conditions."""

from __future__ import annotations

import fnmatch
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

from tests.emulator.context import context
from tests.emulator.protocol import Refused, Request
from tests.emulator.resources import needed

_ELEMENTS = {"Sid", "Effect", "Action", "Resource", "NotResource", "Condition"}
_ALWAYS = {"sts:GetCallerIdentity"}  # AWS lets everybody, whatever their policies say
_QUERY_DENIED = {"ec2": "UnauthorizedOperation"}
_QUERY = {"cloudformation", "elasticache", "elasticloadbalancing", "iam", "sts"}


def make_key() -> str:
    """Return a new access key id, of the form that AWS gives."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return "AKIA" + "".join(secrets.choice(letters) for _ in range(16))


@dataclass
class Access:
    """Keys and what they allow.

    Parameters
    ----------
    owner : str
        Access key of the account's owner, who may do everything.
    tasks : dict
        Access key of a task's own role -> the role's ARN; empty where a task has none.
    """

    owner: str = field(default_factory=make_key)
    tasks: dict[str, str] = field(default_factory=dict)

    @property
    def iam(self) -> Any:
        """Moto's memory of users, roles and policies."""
        return iam_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def name(self, key: str) -> str:
        """Return the ARN behind an access key, "unknown" where there is none."""
        if key == self.owner:
            return f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:root"
        if key in self.tasks:
            return assumed(self.tasks[key])
        user = self._user(key)
        return user.arn if user else "unknown"

    def check(self, request: Request) -> None:
        """Refuse a request whose key nobody has, or whose caller no policy allows it."""
        if request.key == self.owner:
            return
        user = self._user(request.key)
        if user is None and request.key not in self.tasks:
            raise _unknown_key(request)
        policies = self.policies_of_user(user) if user else self.policies_of_role(self.tasks[request.key])
        for action, resources in needed(request):
            for resource in resources:
                require(policies, self.name(request.key), action, resource, request)

    def policies_of_user(self, user: Any) -> list[dict[str, Any]]:
        """Return the policy documents of a user: attached ones and the user's own."""
        return [_document(policy) for policy in user.managed_policies.values()] + _inline(user.policies)

    def policies_of_role(self, arn: str) -> list[dict[str, Any]]:
        """Return the policy documents of a role; none, where there is no such role."""
        role = next((role for role in self.iam.roles.values() if role.arn == arn), None)
        if role is None:
            return []
        return [_document(policy) for policy in role.managed_policies.values()] + _inline(role.policies)

    def _user(self, key: str) -> Any:
        users = self.iam.users.values()
        return next((user for user in users for owned in user.access_keys if owned.access_key_id == key), None)


def require(
    policies: list[dict[str, Any]], who: str, action: str, resource: str, request: Request | None = None
) -> None:
    """Refuse an action on a resource, in AWS's words, unless a policy allows it and none denies it."""
    if action in _ALWAYS:
        return
    verdicts = {
        statement["Effect"]
        for policy in policies
        for statement in _list(policy["Statement"])
        if _about(statement, action, resource, request)
    }
    if verdicts == {"Allow"}:
        return
    because = "with an explicit deny in an identity-based policy"
    if "Deny" not in verdicts:
        because = f"because no identity-based policy allows the {action} action"
    on = "" if resource == "*" else f" on resource: {resource}"
    raise Refused(
        _denied_code(request.prefix if request else action.partition(":")[0]),
        f"User: {who} is not authorized to perform: {action}{on} {because}",
    )


def assumed(role: str) -> str:
    """Return the ARN under which a task acts in a role."""
    return role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/task"


def _about(statement: dict[str, Any], action: str, resource: str, request: Request | None) -> bool:
    if unknown := {*statement} - _ELEMENTS:
        raise NotImplementedError(f"the emulator does not know {unknown} in policies")
    actions = [pattern.lower() for pattern in _list(statement.get("Action", []))]
    if not any(fnmatch.fnmatchcase(action.lower(), pattern) for pattern in actions):
        return False
    # a statement about one resource does not allow an action that is about none or all of them
    matches = [
        _matches(resource, pattern) for pattern in _list(statement.get("Resource", statement.get("NotResource")))
    ]
    if any(matches) == ("NotResource" in statement):
        return False
    values = context(action, resource, request) if "Condition" in statement else {}
    return all(_holds(*condition, values) for condition in statement.get("Condition", {}).items())


def _matches(resource: str, pattern: str) -> bool:
    """Say whether a pattern covers a resource; a bracket in it is no set of letters."""
    return fnmatch.fnmatchcase(resource, pattern.replace("[", "[[]"))


def _holds(operator: str, tests: dict[str, Any], values: dict[str, str]) -> bool:
    """Say whether a condition holds; a key that the request has no value for makes it fail, as with AWS."""
    for key, wanted in tests.items():
        found = values.get(key.lower())
        if operator.removesuffix("IfExists") not in ("StringEquals", "StringLike", "ArnEquals", "ArnLike"):
            raise NotImplementedError(f"the emulator does not know the condition operator {operator}")
        if found is None and operator.endswith("IfExists"):
            continue
        if found is None or not any(fnmatch.fnmatchcase(found, str(pattern)) for pattern in _list(wanted)):
            return False
    return True


def _document(policy: Any) -> dict[str, Any]:
    default = next(version for version in policy.versions if version.is_default)
    return json.loads(default.document) if isinstance(default.document, str) else default.document


def _inline(policies: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(document) if isinstance(document, str) else document for document in policies.values()]


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def _denied_code(prefix: str) -> str:
    return _QUERY_DENIED.get(prefix, "AccessDenied" if prefix in _QUERY else "AccessDeniedException")


def _unknown_key(request: Request) -> Refused:
    if request.prefix == "ec2":
        return Refused("AuthFailure", "AWS was not able to validate the provided access credentials")
    code = "InvalidClientTokenId" if request.prefix in _QUERY else "UnrecognizedClientException"
    return Refused(code, "The security token included in the request is invalid.")
