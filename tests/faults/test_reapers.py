"""Two reapers at once: one that died, one that was only taken for dead, and two that start together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

import orbresearch as orb
from orbresearch import staging
from orbresearch.keep import order_of
from orbresearch.lab import begin
from orbresearch.lab.reaper import lifecycle
from orbresearch.lab.services import Services
from orbresearch.lab.worker import encode_spec
from orbresearch.plan import Plan
from orbresearch.settings import Settings
from orbresearch.sources.cache import save_sessions
from tests.faults import hooks
from tests.faults.check import check_books, check_rows, leftovers
from tests.faults.stage import ROOT, wait_for
from tests.faults.work import compute_payload, small_plan

Reaper = subprocess.Popen[str]
MOMENTS = pytest.mark.parametrize("moment", [hooks.BEFORE_COMMIT, hooks.AFTER_COMMIT])


@pytest.fixture
def plan(services: Services, settings: Settings) -> Plan:
    """Return a plan all of whose results are staged."""
    made = small_plan()
    open_books(services, settings, made)
    for chunk in made.chunks():
        where = services.staging, services.store.uuid, order(made)
        assert staging.complete_chunk(*where, chunk.first, chunk.rows, compute_payload(made, chunk, "all"))
    return made


def order(plan: Plan) -> str:
    return order_of(plan.run_id, "all", plan.chunk_rows)


def open_books(services: Services, settings: Settings, plan: Plan) -> None:
    """Do what a lab does before it gives out chunks."""
    cached = {ticker: save_sessions(settings.cached_data, item) for ticker, item in plan.sessions.items()}
    chunks = [(chunk.first, chunk.rows) for chunk in plan.chunks()]
    record = begin.run_record(plan, cached, "all", orb.__version__, "")
    begin.begin_run(services, record, encode_spec(plan, "all"), chunks, anew=False)


@pytest.fixture
def start_reaper(settings: Settings) -> Iterator[Callable[..., Reaper]]:
    """Return a function that starts a reaper, which waits for a word; all of them are gone at the end."""
    started: list[Reaper] = []

    def start(ending: int = signal.SIGKILL) -> Reaper:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.reaping", str(settings.home), str(int(ending))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **settings.to_environ(), "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(*reapers: Reaper) -> None:
    for process in reapers:
        assert process.stdout.readline() == "ready\n"
    for process in reapers:
        process.stdin.write("go\n")
        process.stdin.flush()


def answer(process: Reaper) -> dict[str, object]:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(said)


def check_end(services: Services, plan: Plan) -> None:
    check_rows(services, plan)
    check_books(services, plan, order(plan))
    assert leftovers(services) == (0, 0)


@MOMENTS
def test_the_entries_of_a_killed_reaper_go_to_the_next(services, settings, plan, start_reaper, moment):
    (settings.home / moment).touch()
    killed = start_reaper()
    go(killed)
    assert killed.wait(30) == -signal.SIGKILL
    entries, pending = leftovers(services)
    assert (entries, pending) == (50, 8)  # it had read the first eight
    lost = 0 if moment == hooks.BEFORE_COMMIT else 8 * 100
    report = lifecycle(services)  # waits for the lease to expire
    assert report["message"].startswith(f"Reaper successfully lifecycled {len(plan) - lost:d} rows to ")
    check_end(services, plan)


@pytest.mark.slow
@MOMENTS
def test_a_reaper_that_was_taken_for_dead_comes_back_and_harms_nothing(services, settings, plan, start_reaper, moment):
    (settings.home / moment).touch()
    stopped = start_reaper(signal.SIGSTOP)
    go(stopped)
    process = psutil.Process(stopped.pid)
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, 30, "the reaper was not stopped")
    # in front of the commit its locks are held, and the next reaper waits for them
    back = threading.Timer(2.5, lambda: stopped.send_signal(signal.SIGCONT))
    back.start()
    start = time.monotonic()
    report = lifecycle(services)
    if moment == hooks.BEFORE_COMMIT:
        assert time.monotonic() - start > 2
    assert report["message"].startswith("Reaper successfully lifecycled 4200 rows to ")
    back.join()
    assert answer(stopped)["rows"] == {plan.run_id: 800}
    check_end(services, plan)


def test_two_reapers_that_start_together_share_no_row(services, plan, start_reaper):
    reapers = start_reaper(), start_reaper()
    go(*reapers)
    found = [answer(process) for process in reapers]
    assert sum(sum(one["rows"].values()) for one in found) == len(plan)
    assert sorted(one["busy"] for one in found) in (
        [False, True],
        [False, False],
    )  # the second may come after the first
    check_end(services, plan)


def test_a_chunk_completed_twice_is_stored_once(services, settings):
    plan = small_plan()
    open_books(services, settings, plan)
    where, chunks = (services.staging, services.store.uuid, order(plan)), list(plan.chunks())
    payloads = {chunk: compute_payload(plan, chunk, "all") for chunk in chunks}

    def complete() -> list[bool]:
        return [staging.complete_chunk(*where, chunk.first, chunk.rows, payloads[chunk]) for chunk in chunks]

    assert all(complete())
    assert not any(complete())  # while staged
    assert leftovers(services)[0] == len(chunks)
    assert lifecycle(services)["message"].startswith(f"Reaper successfully lifecycled {len(plan)} rows")
    assert not any(complete())  # when in the store
    check_end(services, plan)
    services.staging.books.flushall()
    assert all(complete())  # books that are lost know of nothing: the ledger does
    assert lifecycle(services)["message"].startswith("Reaper successfully lifecycled 0 rows")
    check_rows(services, plan)
    assert leftovers(services) == (0, 0)
    open_books(services, settings, plan)
    check_end(services, plan)
