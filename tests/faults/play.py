"""Plays a schedule: starts a lab and a client, lets the faults happen at their moments, checks what is left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults import hooks
from tests.faults.check import check_all
from tests.faults.schedule import Fault, Schedule
from tests.faults.stage import Servers, Stage, open_stage
from tests.faults.work import KEEP, make_plan


@dataclass(frozen=True)
class Played:
    """What came of a schedule that passed."""

    seconds: float  # from the submission until the run was complete
    said: str
    clients: int
    missed: list[str]  # faults without an occasion

    def __str__(self) -> str:
        missed = f", without occasion: {', '.join(self.missed)}" if self.missed else ""
        return f"run {self.seconds:.1f} s, {self.clients} clients{missed}"


def play(schedule: Schedule, servers: Servers, home: Path) -> Played:
    """Play a schedule in an empty folder; raise AssertionError where anything is not as it must be."""
    servers.revive()
    keep = KEEP if schedule.best else "all"
    with open_stage(servers, home, sqlite=schedule.sqlite, keep=keep) as stage:
        begin(stage, schedule.hasty)
        for fault in schedule.faults:
            time.sleep(max(0.0, stage.submitted + fault.moment - time.monotonic()))
            inject(stage, fault)
        stage.finish()
        seconds = time.monotonic() - stage.submitted
        check_all(stage, make_plan(), books_lost=schedule.has("redis"))
        return Played(seconds, stage.said(), len(stage.notebooks), stage.unused_marks())


def begin(stage: Stage, hasty: float) -> None:
    """Submit the run; with a client that is killed on its way there, then with another."""
    stage.attach_client()
    if hasty:
        time.sleep(hasty)
        stage.kill_client()
        stage.start_client()
    stage.await_submission()


def inject(stage: Stage, fault: Fault) -> None:
    """Let a fault happen. One that lasts already, or has ended already, does not happen again."""
    servers = stage.servers
    {
        "kill worker": lambda: stage.kill_worker(fault.share),
        "kill reaper before commit": lambda: stage.mark(hooks.BEFORE_COMMIT),
        "kill reaper after commit": lambda: stage.mark(hooks.AFTER_COMMIT),
        "stop database": servers.mysql.stop,
        "kill database": servers.mysql.kill,
        "start database": servers.mysql.start,
        "lock database": stage.lock_database,
        "unlock database": stage.unlock_database,
        "flush redis": stage.flush,
        "kill redis": servers.redis.kill,
        "start redis": servers.redis.start,
        "kill client": stage.kill_client,
        "start client": stage.start_client,
        "chunk raises twice": lambda: stage.chunk_raises_twice(fault.share),
        "complete chunk twice": lambda: stage.complete_twice(fault.share),
        "second reaper": stage.reap_too,
    }[fault.what]()
