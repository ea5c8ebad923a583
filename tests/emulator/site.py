"""What every part of the emulator shares: where it works, how long things take, who is taken for the caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.emulator.access import Access
from tests.emulator.faults import Faults
from tests.emulator.network import Addresses, Wires, admits


@dataclass
class Site:
    """The ground that an emulated account stands on.

    Parameters
    ----------
    folder : pathlib.Path
        Working folders of tasks and caches.
    environ : dict
        Environment by which processes find the emulator; without credentials.
    caller : str
        Address that everybody is taken for who comes to a public address.
    provisioning, pulling, creating_cache : float
        Seconds that a task's network, a task's image and a cache take.
    stub : bool
        Containers are a sleep.
    """

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    caller: str = "203.0.113.7"
    provisioning: float = 0.1
    pulling: float = 0.1
    creating_cache: float = 0.3
    stub: bool = False
    access: Access = field(default_factory=Access)
    faults: Faults = field(default_factory=Faults)
    addresses: Addresses = field(default_factory=Addresses)
    wires: Wires = field(default_factory=Wires)

    def admits(self, groups: list[Any], port: int) -> bool:
        """Say whether security groups let the pretended caller in, at this moment."""
        return admits(groups, self.caller, port)

    def close(self) -> None:
        """Let go of addresses and forwarders."""
        self.wires.close()
        self.addresses.close()
