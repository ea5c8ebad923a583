"""The CloudFormation stack that everything else in the cloud stands on: deployed, found, deleted.

``stack.yaml`` beside this file is the stack. Nothing in it runs or costs by the hour; what does (tasks, Redis, the load
balancer) is started on it and must be gone before it goes.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from orbresearch.cloud.allowed import narrow_range
from orbresearch.cloud.aws import STACK, TAG, Account, open_account, pages, speaking
from orbresearch.cloud.formation import describe_stack, make_service_roles, put_stack, remove_stack, settled
from orbresearch.cloud.in_use import refuse_in_use
from orbresearch.cloud.listing import running_arns
from orbresearch.cloud.secrets import read_secret, refuse_loopback, remote_store, write_certificates, write_database
from orbresearch.console import many, tell
from orbresearch.errors import BadInput
from orbresearch.settings import read_settings

if TYPE_CHECKING:
    import os

NO_IMAGE = "none-yet"  # default of the template's ImageTag
_NAME = re.compile(r"(?=.{1,24}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")  # begins names of which some must be short
_IMAGE_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_OURS = "orbresearch:"  # so the template's description begins


@dataclass(frozen=True)
class Stack:
    """A deployed stack, as its outputs describe it.

    Parameters
    ----------
    name, region : str
    cluster_arn : str
        Of the ECS cluster.
    scheduler_task_definition, worker_task_definition : str
        ARNs with their revision.
    architecture, scheduler_cpu, scheduler_memory : str
        As the template's parameters of these names: what decides the scheduler's price.
    execution_role_arn : str
        By which ECS starts workers; the scheduler's own stands in its task definition.
    task_role_arn : str
        Of what runs in a task: it allows nothing.
    scheduler_group, worker_group, redis_group : str
        Ids of security groups.
    vpc : str
    subnets : tuple of str
    log_group, repository_uri, image_tag : str
    cache_subnet_group, cache_parameter_group : str
        Names, for ``start_redis``.
    scheduler_secret, worker_secret, client_secret, redis_secret, database_secret : str
        ARNs of secrets, never their values.
    researcher_policy, load_balancer_policy : str
        ARNs of the policies to attach to people.
    """

    name: str
    region: str
    cluster_arn: str
    scheduler_task_definition: str
    worker_task_definition: str
    architecture: str
    scheduler_cpu: str
    scheduler_memory: str
    execution_role_arn: str
    task_role_arn: str
    scheduler_group: str
    worker_group: str
    redis_group: str
    vpc: str
    subnets: tuple[str, ...]
    log_group: str
    repository_uri: str
    image_tag: str
    cache_subnet_group: str
    cache_parameter_group: str
    scheduler_secret: str
    worker_secret: str
    client_secret: str
    redis_secret: str
    database_secret: str
    researcher_policy: str
    load_balancer_policy: str

    @property
    def image(self) -> str | None:
        """The image that tasks run; None where none was ever named."""
        return None if self.image_tag == NO_IMAGE else f"{self.repository_uri}:{self.image_tag}"

    def __repr__(self) -> str:
        image = "no image was pushed yet" if self.image is None else f"tasks run image {self.image_tag}"
        return f"Stack({self.name} in {self.region}: {image})"


def deploy(
    *,
    allow: str,
    stack: str = STACK,
    region: str | None = None,
    image_tag: str | None = None,
    env_file: str | os.PathLike[str] | None = None,
    database: bool = True,
) -> Stack:
    """Create the stack, or bring the one that exists up to date, and fill its secrets; takes two to four minutes.

    Doing it again changes what differs and nothing else: an address, an image, the database's account, certificates
    that end within 90 days.

    Parameters
    ----------
    allow : str
        The address from which notebooks reach the scheduler, as ``"203.0.113.7/32"``; at most a /24.
    stack : str
        Name: small letters, digits and hyphens.
    region : str, optional
        Such as ``"us-east-1"``; default: ``AWS_DEFAULT_REGION`` or the profile's.
    image_tag : str, optional
        As ``push_image`` returns it; default: what the stack has.
    env_file : path, optional
        Where the database's ``DB_`` variables are, if not in the environment.
    database : bool
        False: leave the database's account as it is. There may be none yet, of a database that is to stand in the
        network made here; workers start once there is one.

    Raises
    ------
    BadInput
        An address or range that lets too many in; a results database that remote workers cannot reach; an image
        changed under running tasks. Nothing was done.
    CloudFailed
        With the reason of the first part that failed; nothing half made is left.

    Examples
    --------
    >>> orb.cloud.deploy(allow="203.0.113.7/32", env_file="env.list")  # doctest: +SKIP
    """
    parameters = {"ClientCidr": narrow_range(allow), **({"ImageTag": image_tag} if image_tag else {})}
    require_name(stack)
    _require_tag(image_tag)
    store = remote_store(read_settings(env_file).store) if database else None
    account = open_account(region)
    if store is not None:
        refuse_loopback(account, store)
    found = settled(account, stack)
    _refuse_strangers(found, stack)
    _refuse_new_image_under_tasks(account, found, image_tag)
    began = time.monotonic()
    tell(f"stack {stack} in {account.region}: {'updating' if found else 'creating'}; this takes minutes")
    if found is None:
        make_service_roles(account)
    news = {"stack": put_stack(account, stack, read_template(), parameters, {TAG: stack})}
    home = find_stack(account, stack)
    in_use = bool(running_arns(account, home.cluster_arn))
    news["certificates"] = write_certificates(account, home, in_use)
    news["database's account"] = store is not None and write_database(account, home, store)
    _tell_ready(home, time.monotonic() - began, [what for what, new in news.items() if new])
    if store is None and read_secret(account, home.database_secret) is None:
        tell("no results database yet: deploy again with DB_ENDPOINT and the rest of it before orb.Lab.fargate()")
    return home


def _tell_ready(home: Stack, seconds: float, news: list[str]) -> None:
    tell(f"stack {home.name}: ready after {seconds:.0f} s; new: {', '.join(news) or 'nothing'}")
    if home.image is None:
        tell("next: tag = orb.cloud.push_image(), and deploy again with image_tag=tag")


def read_template() -> str:
    """Return the stack's template."""
    return files("orbresearch.cloud").joinpath("stack.yaml").read_text()


def delete(stack: str = STACK, region: str | None = None) -> None:
    """Delete the stack with its image, logs and secrets; takes two to five minutes. Without a stack, do nothing.

    Parameters
    ----------
    stack, region : str
        As of :func:`deploy`.

    Raises
    ------
    BadInput
        Tasks, Redis or a load balancer run on it, or people hold its policies: which, and what ends that.
    CloudFailed
        Something in it cannot be deleted: what, and why.

    Examples
    --------
    >>> orb.cloud.delete()  # doctest: +SKIP
    """
    require_name(stack)
    account = open_account(region)
    found = settled(account, stack)
    if found is None:
        tell(f"stack {stack} in {account.region}: there is none")
        return
    _refuse_strangers(found, stack)
    refuse_in_use(account, stack, _outputs(found))
    began = time.monotonic()
    tell(f"stack {stack} in {account.region}: deleting; this takes minutes")
    remove_stack(account, found["StackId"], stack)
    _delete_task_definitions(account, stack)
    tell(f"stack {stack}: gone after {time.monotonic() - began:.0f} s")


def find_stack(account: Account, stack: str = STACK) -> Stack:
    """Return a deployed stack.

    Raises
    ------
    BadInput
        There is none, or not yet, or another version of this package deployed it.
    """
    require_name(stack)
    found = describe_stack(account, stack)
    deploy_it = 'run orb.cloud.deploy(allow="<your address>/32")'
    if found is None:
        fix = f"{deploy_it}, or give the region and the name of one that is there: region=, stack="
        raise BadInput(f"stack {stack!r}", f"there is none in {account.region}", fix)
    _refuse_strangers(found, stack)
    outputs = _outputs(found)
    named = {field: _camel(field) for field in Stack.__dataclass_fields__ if field not in ("name", "region")}
    missing = [output for output in named.values() if output not in outputs]
    if missing:
        wrong = f"it is {found['StackStatus']} and does not tell {', '.join(missing)}"
        raise BadInput(f"stack {stack!r}", wrong, f"once that is over, {deploy_it}")
    values: dict[str, Any] = {field: outputs[output] for field, output in named.items()}
    values["subnets"] = tuple(values["subnets"].split(","))
    return Stack(stack, account.region, **values)


def require_name(stack: str) -> None:
    """Refuse a name that others could not be made of.

    Raises
    ------
    BadInput
    """
    if not isinstance(stack, str) or not _NAME.fullmatch(stack):
        fix = "use 1 to 24 small letters, digits and single hyphens, a letter first"
        raise BadInput("stack", f"{stack!r} is no name for one", fix)


def _require_tag(image_tag: str | None) -> None:
    if image_tag is not None and not _IMAGE_TAG.fullmatch(image_tag):
        fix = "give the tag that orb.cloud.push_image() returned, without the repository before it"
        raise BadInput("image_tag", f"{image_tag!r} is no tag of an image", fix)


def _refuse_strangers(found: dict[str, Any] | None, stack: str) -> None:
    """Refuse to touch a stack of the same name that is something else."""
    said = str(found.get("Description", "without a description")) if found else _OURS
    if not said.startswith(_OURS):
        wrong = f"the one of that name is something else: {said}"
        raise BadInput(f"stack {stack!r}", wrong, "choose another name: stack=")


def _refuse_new_image_under_tasks(account: Account, found: dict[str, Any] | None, image_tag: str | None) -> None:
    """Refuse another image while tasks run: their cluster could not replace a lost worker by one of the same image."""
    outputs = _outputs(found)
    if not image_tag or image_tag == outputs.get("ImageTag"):
        return
    if running := running_arns(account, outputs.get("ClusterArn")):
        wrong = f"{many(len(running), 'task')} of it at work with {outputs['ImageTag']}"
        raise BadInput(
            "image_tag", wrong, "close their labs first (orb.cloud.tasks() lists them), or orb.cloud.sweep()"
        )


def _delete_task_definitions(account: Account, stack: str) -> None:
    """Delete the revisions that CloudFormation only retires."""
    ecs = account.client("ecs")
    with speaking("deleting task definitions"):
        for family in (f"{stack}-scheduler", f"{stack}-worker"):
            asked = {"familyPrefix": family, "status": "INACTIVE"}
            arns = list(pages(ecs.list_task_definitions, "taskDefinitionArns", **asked))
            for first in range(0, len(arns), 10):  # no more at once
                ecs.delete_task_definitions(taskDefinitions=arns[first : first + 10])


def _outputs(found: dict[str, Any] | None) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in (found or {}).get("Outputs", [])}


def _camel(field: str) -> str:
    return "".join(part.capitalize() for part in field.split("_"))
