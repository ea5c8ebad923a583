"""The image that tasks run: built from the project's Dockerfile with this notebook's packages, kept in ECR.

The password of ECR goes to docker through its standard input: it stands on no command line and in no log, and docker
forgets it when the image is there. docker or podman do the work; both take the same commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from orbresearch.cloud.aws import STACK, Account, open_account, speaking
from orbresearch.cloud.lock import (
    BESIDE,
    CHECKOUT,
    PACKAGE,
    PLATFORM,
    build_arguments,
    image_tag,
    lock,
    package_files,
)
from orbresearch.console import tell
from orbresearch.errors import BadInput, CloudFailed

if TYPE_CHECKING:
    from orbresearch.cloud.stack import Stack

__all__ = ["image_tag", "lock", "push_image", "require_image"]

TOOLS = ("docker", "podman")
LOCK = "lock.txt"  # as the Dockerfile calls it
_LINES_SHOWN = 12  # of what a tool said before it failed


def push_image(
    *, stack: str = STACK, region: str | None = None, tool: str | None = None, platform: str = PLATFORM
) -> str:
    """Build the image that fits this notebook and push it into the stack's repository, unless it is there already.

    The first time takes minutes: packages are downloaded, kernels compiled, some hundred megabytes uploaded.

    Parameters
    ----------
    stack : str
        The stack's name, as given to ``orb.cloud.deploy``.
    region : str, optional
        Default: the profile's.
    tool : str, optional
        ``"docker"`` or ``"podman"``, or a path to one; default: whichever is on PATH.
    platform : str
        ``"linux/amd64"``, or ``"linux/arm64"`` for a stack of that architecture.

    Returns
    -------
    str
        The tag, to give to ``orb.cloud.deploy(..., image_tag=tag)``.

    Raises
    ------
    BadInput
        No stack, no tool, no checkout of the project, packages that no image can have.
    CloudFailed
        What the tool or AWS refused, in their words.

    Examples
    --------
    >>> tag = orb.cloud.push_image()  # doctest: +SKIP
    >>> orb.cloud.deploy(allow="203.0.113.7/32", image_tag=tag)  # doctest: +SKIP
    """
    from orbresearch.cloud.stack import find_stack

    account = open_account(region)
    tag = push_to(account, find_stack(account, stack).repository_uri, tool=tool, platform=platform)
    tell(f'the tasks take it from the next orb.cloud.deploy(allow=..., image_tag="{tag}")')
    return tag


def require_image(*, stack: str = STACK, region: str | None = None) -> str:
    """Return the image that a stack's tasks run; refuse to go on without one, before anything costs by the hour.

    Parameters
    ----------
    stack, region : str, optional
        As of :func:`push_image`.

    Raises
    ------
    BadInput
        No stack, or no image was ever named to it.

    Examples
    --------
    >>> orb.cloud.require_image()  # doctest: +SKIP
    '….dkr.ecr.us-east-1.amazonaws.com/orbresearch:0f1e2d3c4b5a6978'
    """
    from orbresearch.cloud.stack import find_stack

    return image_of(find_stack(open_account(region), stack))


def image_of(home: Stack) -> str:
    """Return the image that a stack's tasks run.

    Raises
    ------
    BadInput
        It has none.
    """
    if home.image is None:
        fix = "tag = orb.cloud.push_image(), then orb.cloud.deploy(..., image_tag=tag)"
        raise BadInput(f"image of stack {home.name!r}", "none was pushed yet", fix)
    return home.image


def push_to(account: Account, repository_uri: str, *, tool: str | None = None, platform: str = PLATFORM) -> str:
    """Build and push into a repository of ECR, unless its tag is there; return the tag."""
    tag = image_tag(platform)
    name = f"{repository_uri}:{tag}"
    if _is_there(account, repository_uri, tag):
        tell(f"image {tag} is in the repository already")
        return tag
    program = find_tool(tool)
    with TemporaryDirectory(prefix="orbresearch-image-") as folder:
        make_context(Path(folder))
        tell(f"building image {tag} for {platform} with {Path(program).name}: minutes, the first time")
        options = [f"--build-arg={key}={value}" for key, value in build_arguments().items()]
        _run(program, "building the image", ["build", f"--platform={platform}", *options, "--tag", name, folder])
    with _logged_in(account, program, repository_uri):
        tell(f"pushing image {tag}")
        _run(program, "pushing the image", ["push", name])
    return tag


def find_tool(tool: str | None = None) -> str:
    """Return the path of docker or podman, or of the tool that is named.

    Raises
    ------
    BadInput
        It is not on PATH.
    """
    for name in (tool,) if tool else TOOLS:
        if found := shutil.which(name):
            return found
    wrong = f"{tool!r} is not a program on PATH" if tool else f"neither {' nor '.join(TOOLS)} is on PATH"
    raise BadInput("tool", wrong, "install docker or podman, or push from a machine that has one")


def make_context(folder: Path) -> None:
    """Copy what the image is built from into a folder: the project's files, and the lock beside them.

    Raises
    ------
    BadInput
        orbresearch was installed without its checkout, where the Dockerfile is.
    """
    missing = [name for name in BESIDE if not (CHECKOUT / name).is_file()]
    if missing:
        fix = "clone the project and pip install --editable '.[cloud]'"
        raise BadInput("orbresearch's checkout", f"{missing[0]} is not beside the package", fix)
    (folder / LOCK).write_text(lock())
    for name in BESIDE:
        shutil.copy(CHECKOUT / name, folder)
    for path in package_files():
        copied = folder / PACKAGE.name / path.relative_to(PACKAGE)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)


def _is_there(account: Account, repository_uri: str, tag: str) -> bool:
    """Return whether ECR has the tag."""
    client = account.client("ecr")
    with speaking("looking for the image"):
        try:
            client.describe_images(repositoryName=repository_uri.partition("/")[2], imageIds=[{"imageTag": tag}])
        except client.exceptions.ImageNotFoundException:
            return False
    return True


@contextmanager
def _logged_in(account: Account, program: str, repository_uri: str) -> Iterator[None]:
    """Log the tool in to ECR, and out again: its password is good for twelve hours and would lie in a file."""
    with speaking("asking for a password of ECR"):
        granted = account.client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = b64decode(granted["authorizationToken"]).decode().partition(":")
    registry = repository_uri.partition("/")[0]
    _run(program, "logging in to ECR", ["login", "--username", user, "--password-stdin", registry], password)
    try:
        yield
    finally:
        with suppress(CloudFailed):  # what was done, or what failed before, is what counts
            _run(program, "logging out of ECR", ["logout", registry])


def _run(program: str, what: str, arguments: list[str], given: str = "") -> None:
    """Run the tool; say its last lines where it fails.

    Raises
    ------
    CloudFailed
    """
    # buildx would push a second, untagged image of attestations beside each
    environ = {**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    ended = subprocess.run([program, *arguments], input=given, text=True, errors="replace", env=environ, **streams)  # type: ignore[call-overload]  # noqa: S603
    if ended.returncode:
        lines = [line for line in str(ended.stdout).splitlines() if line.strip()][-_LINES_SHOWN:]
        reason = "\n  ".join([f"{Path(program).name} ended with {ended.returncode}", *lines])
        raise CloudFailed(what, reason, "see what its last lines name")
