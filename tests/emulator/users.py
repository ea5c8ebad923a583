"""Users of the emulated account, each restricted by policies of its own."""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.emulator.access import Access


class Users:
    """Makes users; their names are no leftovers.

    Parameters
    ----------
    access : Access
    """

    def __init__(self, access: Access) -> None:
        self._access, self._count = access, itertools.count(1)
        self.names: set[str] = set()

    def make(self, documents: list[dict[str, Any]]) -> str:
        """Make a user with these policies; return the access key id."""
        iam, name = self._access.iam, f"user{next(self._count)}"
        self.names.add(name)
        iam.create_user("us-east-1", user_name=name, tags=[])
        for number, document in enumerate(documents):
            text = document if isinstance(document, str) else json.dumps(document)
            iam.users[name].policies[f"policy{number}"] = text  # moto's own check asks for more than AWS' does
        return iam.create_access_key(name).access_key_id
