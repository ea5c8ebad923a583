"""Sizes of tasks that Fargate has: so many GiB with so many vCPUs, and no others.

Source: Amazon ECS Developer Guide, "Amazon ECS task definition parameters for Fargate", task size, of Linux.
"""

from __future__ import annotations

from orbresearch.errors import BadInput

SIZES: dict[float, tuple[float, ...]] = {  # GiB by vCPUs
    0.25: (0.5, 1, 2),
    0.5: (*range(1, 5),),
    1: (*range(2, 9),),
    2: (*range(4, 17),),
    4: (*range(8, 31),),
    8: (*range(16, 61, 4),),
    16: (*range(32, 121, 8),),
}


def require_size(cpu: float, memory: float, least: float = 0.25) -> None:
    """Refuse a worker of a size that Fargate does not have.

    Parameters
    ----------
    cpu, memory : float
        vCPUs and GiB.
    least : float
        The fewest vCPUs that will do.

    Raises
    ------
    BadInput
        With the nearest that there are.

    Examples
    --------
    >>> require_size(8, 30)
    Traceback (most recent call last):
    orbresearch.errors.BadInput: worker_memory: Fargate has no task of 8 vCPUs and 30 GiB; give 28 or 32 GiB
    """
    known = [many for many in SIZES if many >= least]
    if cpu not in known:
        named = ", ".join(f"{many:g}" for many in known)
        raise BadInput("worker_cpu", f"Fargate has no task of {cpu!r} vCPUs", f"give one of {named}")
    if memory not in SIZES[cpu]:
        wrong = f"Fargate has no task of {cpu:g} vCPU{'s' * (cpu > 1)} and {memory!r} GiB"
        raise BadInput("worker_memory", wrong, f"give {_nearest(SIZES[cpu], memory)} GiB")


def _nearest(known: tuple[float, ...], memory: float) -> str:
    """Return the next smaller and the next larger, so far as there are such; all the range for what is no number."""
    below, above = [one for one in known if one < memory][-1:], [one for one in known if one > memory][:1]
    return " or ".join(f"{one:g}" for one in (*below, *above)) or f"{known[0]:g} to {known[-1]:g}"
