"""Fargate's sizes in its own units, and how ECS refuses all others."""

from __future__ import annotations

from tests.emulator.protocol import Refused

_MIB = {  # by CPU units: the least, the most, the step
    256: (512, 2048, 512),
    512: (1024, 4096, 1024),
    1024: (2048, 8192, 1024),
    2048: (4096, 16384, 1024),
    4096: (8192, 30720, 1024),
    8192: (16384, 61440, 4096),
    16384: (32768, 122880, 8192),
}
_NOT_AFTER_ALL = (256, 1536)  # the one step that is left out


def refuse_size(cpu: object, memory: object) -> None:
    """Refuse a size that Fargate does not have."""
    units, mib = int(str(cpu)), int(str(memory))
    least, most, step = _MIB.get(units, (1, 0, 1))
    if mib not in range(least, most + 1, step) or (units, mib) == _NOT_AFTER_ALL:
        said = f"No Fargate configuration exists for given values: {units} CPU, {mib} memory. "
        raise Refused("ClientException", f"{said}See the Amazon ECS documentation for the valid values.")
