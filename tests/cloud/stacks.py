"""A stack deployed in an emulated account of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orbresearch.cloud.stack import Stack, deploy
from tests.emulator import Emulator, emulate

DATABASE = "DB_ENDPOINT=127.0.0.1\nDB_USERNAME=quant\nDB_PASSWORD=not-asked-for-here\nDB_NAME=warehouse\n"


@contextmanager
def deployed(folder: Path) -> Iterator[tuple[Emulator, Stack]]:
    """Deploy it; this process' credentials are the emulated account's meanwhile."""
    (folder / "env.list").write_text(DATABASE)
    with emulate(folder) as cloud, pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environ.items():
            patch.setenv(name, value)
        yield cloud, deploy(allow="203.0.113.7/32", env_file=folder / "env.list")
