"""CloudFormation itself: a template brought into being, changed, taken away, waited for; and why it failed.

What the template holds is :mod:`orbresearch.cloud.stack`'s business; here it is text with parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orbresearch.cloud.aws import Account, code_of, speaking
from orbresearch.cloud.waiting import wait_while
from orbresearch.errors import CloudFailed

PASSING = {
    "CREATE_IN_PROGRESS",
    "ROLLBACK_IN_PROGRESS",
    "DELETE_IN_PROGRESS",
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",  # what was replaced is being removed
    "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
}
# What a creation or a deletion that failed leaves: it cannot be updated, only removed
HALF_MADE = {
    "CREATE_FAILED",
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
    "DELETE_FAILED",
    "REVIEW_IN_PROGRESS",
}
# Roles that AWS' services take in this account; in a new account the first cluster fails for want of the first
_SERVICES = ("ecs.amazonaws.com", "elasticache.amazonaws.com", "elasticloadbalancing.amazonaws.com")
# It is there; or one may not make it, but it may be there all the same, and otherwise the stack will tell
_ROLE_MAY_BE_THERE = {"InvalidInput", "EntityAlreadyExists", "AccessDenied"}


def describe_stack(account: Account, name: str) -> dict[str, Any] | None:
    """Return what CloudFormation says of a stack; None where there is none.

    Parameters
    ----------
    account : Account
    name : str
        Name, or the ARN, by which a stack is found even when it is deleted.
    """
    from botocore.exceptions import ClientError

    with speaking(f"looking for stack {name}"):
        try:
            found = account.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    return found[0] if found and found[0]["StackStatus"] != "DELETE_COMPLETE" else None


def put_stack(
    account: Account, name: str, template: str, parameters: Mapping[str, str], tags: Mapping[str, str]
) -> bool:
    """Create a stack, or bring the one that exists to the template and the parameters; wait until that is done.

    Parameters
    ----------
    account : Account
    name : str
    template : str
    parameters : mapping of str to str
        Those not named here keep the value they have, or get the template's default.
    tags : mapping of str to str
        On the stack and on everything in it.

    Returns
    -------
    bool
        Whether anything was changed.

    Raises
    ------
    CloudFailed
        With the reason of the first thing that failed. Of a creation nothing is left, after an update all is as before.
    """
    found = settled(account, name)
    if found and found["StackStatus"] in HALF_MADE:
        remove_stack(account, found["StackId"], name)
        found = None
    given = {
        "StackName": name,
        "TemplateBody": template,
        "Parameters": _parameters(found, template, parameters),
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }
    return _update(account, name, given) if found else _create(account, name, given)


def make_service_roles(account: Account) -> None:
    """Make the roles that AWS' own services need in an account, once in its life; whoever may not, goes on without."""
    from botocore.exceptions import ClientError

    iam = account.client("iam")
    with speaking("making AWS' own roles"):
        for service in _SERVICES:
            try:
                iam.create_service_linked_role(AWSServiceName=service)
            except ClientError as error:
                if code_of(error) not in _ROLE_MAY_BE_THERE:
                    raise


def remove_stack(account: Account, stack_id: str, name: str) -> None:
    """Delete a stack and wait until it is gone.

    Parameters
    ----------
    account : Account
    stack_id : str
        Its ARN: the name no longer finds what is deleted.
    name : str
        For the sentences.

    Raises
    ------
    CloudFailed
        Something in it cannot be deleted: what, and why.
    """
    with speaking(f"deleting stack {name}"):
        account.client("cloudformation").delete_stack(StackName=stack_id)
    status = _wait(account, stack_id, "deleting")
    if status != "DELETE_COMPLETE":
        reason = _first_reason(account, stack_id, "DELETE") or status
        raise CloudFailed(f"deleting stack {name}", reason, "remove what the reason names, and delete again")


def settled(account: Account, name: str) -> dict[str, Any] | None:
    """Return a stack once nothing changes it any more: somebody, or a notebook that was killed, may be at it."""
    found = describe_stack(account, name)
    if found and found["StackStatus"] in PASSING:
        _wait(account, found["StackId"], "waiting for")
        found = describe_stack(account, name)
    return found


def _parameters(found: dict[str, Any] | None, template: str, given: Mapping[str, str]) -> list[dict[str, str]]:
    """Return parameters as an update wants them: what is not named keeps its value, if the template still has it."""
    before = {one["ParameterKey"]: one["ParameterValue"] for one in (found or {}).get("Parameters", [])}
    kept = {key: value for key, value in before.items() if f"\n  {key}:\n" in template}
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in {**kept, **given}.items()]


def _create(account: Account, name: str, given: dict[str, Any]) -> bool:
    """Create a stack. CloudFormation itself takes everything back if a part fails, even if nobody waits for it."""
    from botocore.exceptions import ClientError

    with speaking(f"creating stack {name}"):
        try:
            stack_id = account.client("cloudformation").create_stack(**given, OnFailure="DELETE")["StackId"]
        except ClientError as error:
            if code_of(error) == "AlreadyExistsException":
                raise _busy("creating", name) from None
            raise
    status = _wait(account, stack_id, "creating")
    if status == "CREATE_COMPLETE":
        return True
    reason = _first_reason(account, stack_id, "CREATE") or status
    if status != "DELETE_COMPLETE":
        remove_stack(account, stack_id, name)
    raise CloudFailed(f"creating stack {name}", reason, "mend what the reason names and deploy again; nothing was left")


def _update(account: Account, name: str, given: dict[str, Any]) -> bool:
    """Update a stack; return whether there was anything to update."""
    from botocore.exceptions import ClientError

    with speaking(f"updating stack {name}"):
        try:
            stack_id = account.client("cloudformation").update_stack(**given)["StackId"]
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return False
            if "_IN_PROGRESS" in str(error):
                raise _busy("updating", name) from None
            raise
    status = _wait(account, stack_id, "updating")
    if status == "UPDATE_COMPLETE":
        return True
    reason = _first_reason(account, stack_id, "UPDATE") or status
    fix = "mend what the reason names and deploy again; the stack is as it was"
    if status != "UPDATE_ROLLBACK_COMPLETE":
        fix = f"then: aws cloudformation continue-update-rollback --stack-name {name}"
    raise CloudFailed(f"updating stack {name}", reason, fix)


def _busy(doing: str, name: str) -> CloudFailed:
    """Return the sentence for two who deploy at once: the one who comes second."""
    wrong = "somebody has begun to deploy it at this moment"
    return CloudFailed(f"{doing} stack {name}", wrong, "deploy again: that waits until theirs is done")


def _wait(account: Account, stack_id: str, doing: str) -> str:
    """Return the status in which a stack comes to rest."""
    client, name = account.client("cloudformation"), stack_id.split("/")[1]

    def look() -> str:
        with speaking(f"{doing} stack {name}"):
            return str(client.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"])

    fix = f"look at it: aws cloudformation describe-stack-events --stack-name {name}"
    return wait_while(f"{doing} stack {name}", look, PASSING, fix)


def _first_reason(account: Account, stack_id: str, verb: str) -> str:
    """Return why the first thing failed in the last creation, update or deletion: what follows is its consequence."""
    reason = ""
    with speaking("reading the stack's events"):
        paginator = account.client("cloudformation").get_paginator("describe_stack_events")
        for page in paginator.paginate(StackName=stack_id):
            for event in page["StackEvents"]:  # newest first
                itself = event.get("PhysicalResourceId") == stack_id
                if itself and event["ResourceStatus"] == f"{verb}_IN_PROGRESS":
                    return reason
                said = event.get("ResourceStatusReason", "")
                if event["ResourceStatus"].endswith("_FAILED") and said and "cancelled" not in said and not itself:
                    reason = f"{event['LogicalResourceId']} ({event['ResourceType']}): {said}"
    return reason
