"""The reaper acknowledges after the commit: a death in between neither loses nor doubles a row."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch import staging
from orbresearch.analysis.performance import compute_rows
from orbresearch.keep import order_of
from orbresearch.lab import begin
from orbresearch.lab.reaper import lifecycle, reap
from orbresearch.lab.services import Services, open_services
from orbresearch.lab.worker import encode_spec
from orbresearch.plan import Plan, make_plan
from orbresearch.settings import Settings, StoreSettings, read_settings
from orbresearch.sources.cache import save_sessions
from orbresearch.store.reader import persisted_chunks, read_results
from tests.lab.conftest import GRID
from tests.servers_redis import fresh_redis

DIES = """
import os
from orbresearch import staging
from orbresearch.lab.reaper import reap
from orbresearch.lab.services import open_services
from orbresearch.settings import read_settings
from orbresearch.store import writer

def die(*arguments):
    os._exit(9)

if {moment!r} == "between commit and acknowledgement":
    staging.acknowledge = die
else:
    writer._insert_rows = die
reap(open_services(read_settings()))
"""


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def settings(request: pytest.FixtureRequest, own_home: Path) -> Iterator[Settings]:
    """Settings of a Redis of the test's own and of an empty store of either kind."""
    found = read_settings()
    with fresh_redis() as redis:
        found = replace(found, redis=redis.settings)
        if request.param == "sqlite":
            yield found
            return
        server = request.getfixturevalue("server")
        database = server.create_database()
        yield replace(found, store=server.settings(database))
        server.drop_database(database)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    opened = open_services(settings)
    yield opened
    opened.close()


@pytest.fixture
def plan(sessions: orb.Sessions) -> Plan:
    return replace(make_plan(sessions, GRID, [300, 600]), chunk_rows=5)


def order(plan: Plan) -> str:
    return order_of(plan.run_id, "all", plan.chunk_rows)


def stage_results(services: Services, plan: Plan, settings: Settings) -> None:
    """Do what a lab and its workers do before the reaper's turn."""
    cached = {ticker: save_sessions(settings.cached_data, item) for ticker, item in plan.sessions.items()}
    chunks = list(plan.chunks())
    record = begin.run_record(plan, cached, "all", orb.__version__, "")
    begin.begin_run(
        services, record, encode_spec(plan, "all"), [(chunk.first, chunk.rows) for chunk in chunks], anew=False
    )
    for chunk in chunks:
        batch = compute_rows(plan.run_id, plan.inputs[chunk.input], plan.grid, plan.rules, chunk)
        payload = staging.encode_batch(batch)
        where = services.staging, services.store.uuid, order(plan)
        assert staging.complete_chunk(*where, chunk.first, chunk.rows, payload)
        assert not staging.complete_chunk(*where, chunk.first, chunk.rows, payload)


def check_rows(services: Services, plan: Plan) -> None:
    expected = orb.run_grid(plan.sessions, plan.grid, plan.durations, plan.rules)
    pd.testing.assert_frame_equal(read_results(services.store, plan.run_id), expected, check_exact=True)
    assert persisted_chunks(services.store, plan.run_id) == {chunk.first: chunk.rows for chunk in plan.chunks()}
    assert staging.staged_count(services.staging, services.store.uuid) == 0


@pytest.mark.parametrize("moment", ["between commit and acknowledgement", "between insert and commit"])
def test_a_reaper_that_dies_loses_no_row_and_doubles_none(services, plan, settings, moment, monkeypatch):
    monkeypatch.setattr("orbresearch.lab.reaper.LEASE_MILLISECONDS", 500)
    stage_results(services, plan, settings)
    environ = {**os.environ, **settings.to_environ()}
    script = DIES.format(moment=moment).replace(
        "reap(open", "import orbresearch.lab.reaper as r\nr.LEASE_MILLISECONDS = 500\nreap(open"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 9, ended.stderr
    assert len(persisted_chunks(services.store, plan.run_id)) == (8 if "acknowledgement" in moment else 0)  # together
    report = lifecycle(services)
    rows = len(plan) - (sum(chunk.rows for chunk in list(plan.chunks())[:8]) if "acknowledgement" in moment else 0)
    assert report["message"] == (
        f"Reaper successfully lifecycled {rows} rows to {services.store.dialect}. "
        "0 completed tasks still need to be lifecycled. 0 tasks are queued but have not been executed yet."
    )
    check_rows(services, plan)


def test_one_reaper_at_a_time(services, plan, settings):
    stage_results(services, plan, settings)
    assert staging.acquire_lease(services.staging, services.store.uuid, "somebody", 60_000)
    found = reap(services)
    assert found.pop("left_bytes") > 0
    assert found == {"rows": {}, "left": len(list(plan.chunks())), "busy": True, "refused": []}
    staging.release_lease(services.staging, services.store.uuid, "somebody")
    assert reap(services)["rows"] == {plan.run_id: len(plan)}
    check_rows(services, plan)


def test_nothing_is_acknowledged_when_the_store_fails(services, plan, settings, monkeypatch):
    stage_results(services, plan, settings)

    def fail(*arguments):
        raise ConnectionError("the database went away")

    monkeypatch.setattr("orbresearch.store.writer._insert_rows", fail)
    with pytest.raises(ConnectionError):
        reap(services)
    assert persisted_chunks(services.store, plan.run_id) == {}
    monkeypatch.undo()
    assert reap(services)["rows"] == {plan.run_id: len(plan)}
    check_rows(services, plan)


def test_what_is_queued_and_staged_is_counted_in_the_report(services, plan, settings):
    stage_results(services, plan, settings)
    assert begin.run_counts(services)["staged"] == len(plan)
    other = make_plan(plan.sessions, orb.ParameterGrid([0.3, 0.4], 1, 0, 1), 300)
    cached = {ticker: save_sessions(settings.cached_data, item) for ticker, item in other.sessions.items()}
    record = begin.run_record(other, cached, "all", orb.__version__, "")
    begin.begin_run(services, record, encode_spec(other, "all"), [(0, 2)], anew=False)
    assert "2 tasks are queued but have not been executed yet" in lifecycle(services)["message"]


def test_two_stores_on_one_redis_never_mix(services, plan, settings, tmp_path):
    other_settings = replace(settings, store=StoreSettings(tmp_path / "other.sqlite"))
    other = open_services(other_settings)
    stage_results(services, plan, settings)
    assert reap(other) == {"rows": {}, "left": 0, "left_bytes": 0, "busy": False, "refused": []}
    assert reap(services)["rows"] == {plan.run_id: len(plan)}
    check_rows(services, plan)
    other.close()


def test_a_result_that_the_store_cannot_hold_keeps_no_other_from_it(services, plan, settings):
    where = services.staging, services.store.uuid, order(plan)
    first = next(plan.chunks())
    cached = {ticker: save_sessions(settings.cached_data, item) for ticker, item in plan.sessions.items()}
    chunks = [(chunk.first, chunk.rows) for chunk in plan.chunks()]
    record = begin.run_record(plan, cached, "all", orb.__version__, "")
    begin.begin_run(services, record, encode_spec(plan, "all"), chunks, anew=False)
    assert staging.complete_chunk(*where, first.first, first.rows, b"rubbish")
    for chunk in list(plan.chunks())[1:]:
        batch = compute_rows(plan.run_id, plan.inputs[chunk.input], plan.grid, plan.rules, chunk)
        assert staging.complete_chunk(*where, chunk.first, chunk.rows, staging.encode_batch(batch))
    done = reap(services)
    assert done["rows"] == {plan.run_id: len(plan) - first.rows}
    assert [entry[:3] for entry in done["refused"]] == [(order(plan), first.first, first.rows)]
    assert begin.run_counts(services, order(plan))["queued"] == first.rows
    batch = compute_rows(plan.run_id, plan.inputs[0], plan.grid, plan.rules, first)
    assert staging.complete_chunk(*where, first.first, first.rows, staging.encode_batch(batch))
    reap(services)
    check_rows(services, plan)
