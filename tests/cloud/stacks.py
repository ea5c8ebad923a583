"""A stack deployed in an emulated account of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orbresearch.cloud.stack import Stack, deploy

if TYPE_CHECKING:
    from tests.emulator import Emulator

DATABASE = "DB_ENDPOINT=127.0.0.1\nDB_USERNAME=quant\nDB_PASSWORD=not-asked-for-here\nDB_NAME=warehouse\n"


@contextmanager
def deployed(folder: Path) -> Iterator[tuple[Emulator, Stack]]:
    """Deploy it; this process' credentials are the emulated account's meanwhile."""
    from tests.emulator import emulate  # moto takes seconds to import

    (folder / "env.list").write_text(DATABASE)
    with emulate(folder) as cloud, pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environ.items():
            patch.setenv(name, value)
        yield cloud, deploy(allow="203.0.113.7/32", env_file=folder / "env.list")


def principal(cloud: Emulator, *policies: str) -> dict[str, str]:
    """Return the environment of a new user whom those managed policies are attached to."""
    iam, documents = cloud.client("iam"), []
    for arn in policies:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        documents.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
    return cloud.principal(documents)
