"""A schedule: which fault at which moment of a run, drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

KINDS = ("worker", "reaper", "database", "flush", "redis", "client", "raises", "twice", "reapers")
LAST_MOMENT = 5.0  # seconds: what an undisturbed run takes at the least, 200 chunks of .05 s on two workers
LONGEST = 8.0  # seconds that a server is away; mostly it is less than two
TOGETHER = 1.5  # seconds
HASTY = 0.2  # of all schedules
BEST_EVERY = 3  # of so many consecutive seeds one keeps its best rows
SQLITE_EVERY = 4  # of so many consecutive seeds one has SQLite


class Fault(NamedTuple):
    """What happens, how many seconds after the run was submitted, and to which (a share of what there is)."""

    moment: float
    what: str
    share: float = 0.0

    def __str__(self) -> str:
        return f"{self.moment:.2f} s {self.what}"


@dataclass(frozen=True)
class Schedule:
    """Faults in the order of their moments.

    Parameters
    ----------
    faults : tuple of Fault
    sqlite : bool
        SQLite in place of MariaDB.
    hasty : float
        Seconds after which the first client is killed, on its way to submit; 0: it is not.
    best : bool
        The run keeps its best rows and a summary, not all rows.
    """

    faults: tuple[Fault, ...]
    sqlite: bool = False
    hasty: float = 0.0
    best: bool = False

    def __str__(self) -> str:
        hasty = f"first client killed after {self.hasty} s; " if self.hasty else ""
        kept = "keeps its best; " if self.best else ""
        return f"{'SQLite' if self.sqlite else 'MariaDB'}: {kept}{hasty}{'; '.join(map(str, self.faults))}"

    def has(self, *words: str) -> bool:
        """Whether a fault with one of these words is in it."""
        return any(word in fault.what for fault in self.faults for word in words)


def draw(seed: int) -> Schedule:
    """Return three to five faults at random moments, often close together; the same seed draws the same."""
    rng = random.Random(seed)
    sqlite = seed % SQLITE_EVERY == SQLITE_EVERY - 1
    first, last = 0.2, LAST_MOMENT
    if rng.random() < 0.5:  # faults seldom come alone
        first = rng.uniform(first, LAST_MOMENT - TOGETHER)
        last = first + TOGETHER
    drawn: list[Fault] = []
    for kind in rng.sample(KINDS, rng.randint(3, 5)):
        drawn += _draw_one(rng, kind, round(rng.uniform(first, last), 2), sqlite)
    hasty = round(rng.uniform(0.1, 1.5), 2) if rng.random() < HASTY else 0.0
    faults = tuple(sorted(drawn, key=lambda fault: fault.moment))  # what begins comes first
    return Schedule(faults, sqlite, hasty, best=seed % BEST_EVERY == 0)


def _draw_one(rng: random.Random, kind: str, moment: float, sqlite: bool) -> list[Fault]:
    """Return a fault, and the end of one that lasts."""
    if kind == "database":
        begins, ends = ("lock database", "unlock database") if sqlite else (rng.choice(_ENDS), "start database")
        return _lasting(rng, moment, begins, ends)
    if kind == "redis":
        return _lasting(rng, moment, "kill redis", "start redis")
    if kind == "client":
        return _lasting(rng, moment, "kill client", "start client")
    if kind == "raises":  # a chunk that is not computed yet
        return [Fault(round(moment / 2, 2), "chunk raises twice", rng.uniform(0.6, 1))]
    what = {
        "worker": "kill worker",
        "reaper": rng.choice(("kill reaper before commit", "kill reaper after commit")),
        "flush": "flush redis",
        "twice": "complete chunk twice",
        "reapers": "second reaper",
    }[kind]
    return [Fault(moment, what, rng.random())]


_ENDS = ("stop database", "kill database")


def _lasting(rng: random.Random, moment: float, begins: str, ends: str) -> list[Fault]:
    return [Fault(moment, begins), Fault(round(moment + LONGEST * rng.random() ** 3, 2), ends)]
