"""A pool's members in a worker: one after the other, because all of them may not fit into its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orbresearch.inputs import Input

KEPT_BYTES = 300_000_000  # of a pool's members in one worker process
_TICK_BYTES = 48  # of a tick with all its links


class Members:
    """Members that are loaded when their turn comes. The first that fit stay, for every chunk goes through them all.

    (What was used last is what is needed last: a cache that drops the oldest would never hold the next.)

    Parameters
    ----------
    load : callable
        Returns the member at an index.
    count : int
        Members.
    most_bytes : int
        That those which stay may take, about.
    """

    def __init__(self, load: Callable[[int], Input], count: int, most_bytes: int = KEPT_BYTES) -> None:
        self._load, self._count, self._room = load, count, most_bytes
        self._kept: dict[int, Input] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Input]:
        for at in range(self._count):
            member = self._kept.get(at)
            if member is None:
                member = self._load(at)
                self._keep(at, member)
            yield member

    def _keep(self, at: int, member: Input) -> None:
        size = _TICK_BYTES * int(member.series.pointers[-1])
        if size <= self._room:
            self._room -= size
            self._kept[at] = member
