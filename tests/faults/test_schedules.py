"""Faults in the middle of a run of 200,000 backtests: rows, books and words afterwards."""

from __future__ import annotations

import re
import time

import pytest

from orbresearch.errors import RunFailed
from tests.faults import hooks
from tests.faults.check import check_all
from tests.faults.play import begin, play
from tests.faults.schedule import KINDS, LAST_MOMENT, Fault, Schedule, draw
from tests.faults.stage import open_stage, wait_for
from tests.faults.work import CHUNK, make_plan, small_plan

FIRST = 5176223  # `make chaos` draws new ones
RANDOM = 8
LASTING = {"database": ("stop", "kill", "lock"), "redis": ("kill",), "client": ("kill",)}


def test_a_seed_draws_the_same_schedule_again():
    drawn = [draw(seed) for seed in range(200)]
    assert drawn == [draw(seed) for seed in range(200)]
    assert sum(schedule.sqlite for schedule in drawn) == 50
    assert any(schedule.hasty for schedule in drawn)
    told = " ".join(str(schedule) for schedule in drawn)
    for kind in ("worker", "reaper before", "reaper after", "stop database", "kill database", "lock", "flush", "redis"):
        assert kind in told
    for kind in ("kill client", "raises", "twice", "second reaper"):
        assert kind in told
    assert len(KINDS) == 9


def test_what_a_schedule_ends_it_starts_again():
    for schedule in map(draw, [*range(2000), 11035570]):  # the last: a server is away for less than .01 s
        moments = [fault.moment for fault in schedule.faults]
        assert moments == sorted(moments)
        assert schedule.faults[0].moment <= LAST_MOMENT
        for thing, ends in LASTING.items():
            begun = [i for i, f in enumerate(schedule.faults) if f.what in {f"{end} {thing}" for end in ends}]
            ended = [i for i, f in enumerate(schedule.faults) if f.what in (f"start {thing}", f"unlock {thing}")]
            assert len(begun) == len(ended) <= 1
            assert begun <= ended


@pytest.mark.slow
@pytest.mark.mysql
@pytest.mark.parametrize("seed", range(FIRST, FIRST + RANDOM))
def test_a_random_schedule(servers, own_home, seed):
    schedule = draw(seed)
    print(f"seed {seed}: {schedule}")  # noqa: T201
    print(play(schedule, servers, own_home))  # noqa: T201


@pytest.mark.slow
@pytest.mark.mysql
def test_a_database_that_is_away_is_named_and_waited_for(servers, own_home):
    away = Schedule((Fault(1, "stop database"), Fault(8, "start database")))
    said = play(away, servers, own_home).said
    port = servers.mysql.server.port
    assert re.search(
        rf"results do not get into the store; trying again: .*MySQL at 127.0.0.1:{port} cannot be used: .*;", said
    )
    assert "that the server runs" in said


@pytest.mark.slow
@pytest.mark.mysql
def test_what_redis_has_lost_is_named_and_computed_again(servers, own_home):
    """A new worker finds no inputs: the run halts until they are staged anew."""
    lost = Schedule(
        (Fault(1, "kill redis"), Fault(1.5, "start redis"), Fault(2, "kill worker", 0), Fault(2, "kill worker", 0.9))
    )
    said = play(lost, servers, own_home).said
    run = make_plan().run_id
    assert re.search(rf"Redis has lost [\d,]+ backtests of run {run} or what they need; computing them again", said)


@pytest.mark.slow
@pytest.mark.mysql
def test_a_new_client_goes_on_where_the_killed_one_was(servers, own_home):
    played = play(Schedule((Fault(2, "kill client"), Fault(2, "start client"))), servers, own_home)
    assert played.clients == 2
    known = re.findall(r"200,000 backtests, ([\d,]+) of them known already", played.said)
    assert len(known) == 1
    assert 0 < int(known[0].replace(",", "")) <= 200_000


@pytest.mark.slow
@pytest.mark.mysql
def test_a_chunk_that_always_raises_keeps_no_other_from_the_store(servers, own_home):
    servers.revive()
    plan, bad = make_plan(), 77_000
    with open_stage(servers, own_home, chunk_seconds=0.01) as stage, stage.attached() as lab:
        stage.chunk_raises_twice(0.25)
        stage.mark(f"{hooks.RAISES_ALWAYS} {bad}")
        run = lab.submit_plan(plan)
        sentence = rf"backtests {bad} to {bad + CHUNK - 1}: SpoiltError: spoilt for good"
        words = rf"run {plan.run_id}: not all .* submit it again to compute the rest\n  {sentence}$"
        with pytest.raises(RunFailed, match=words):
            run.wait()
        assert stage.unused_marks() == []
        found = run.status()
        assert (found["state"], found["persisted"], found["failed"]) == ("failed", len(plan) - CHUNK, CHUNK)
        assert [(one["first"], one["rows"], one["error"]) for one in found["failures"]] == [
            (bad, CHUNK, "SpoiltError: spoilt for good")
        ]
        (stage.folder / f"{hooks.RAISES_ALWAYS} {bad}").unlink()
        assert run.retry_failed() == CHUNK
        assert run.wait().complete
        check_all(stage, plan, books_lost=False)


@pytest.mark.slow
@pytest.mark.mysql
def test_two_labs_with_two_stores_share_a_redis(servers, own_home):
    """The same run in both, so that nothing but the store's uuid keeps them apart; a flush disturbs both."""
    servers.revive()
    one = open_stage(servers, own_home / "one")
    two = open_stage(servers, own_home / "two", sqlite=True)
    with one as first, two as second:
        for stage in (first, second):
            begin(stage, hasty=0)
        time.sleep(1)
        first.flush()
        second.kill_worker(0.5)
        for stage in (first, second):
            stage.finish()
        for stage in (first, second):
            check_all(stage, make_plan(), books_lost=True)


@pytest.mark.slow
@pytest.mark.mysql
def test_a_redis_that_is_away_is_no_fault_of_any_chunk(servers, own_home):
    """New workers find no Redis and fail at once, a chunk three times within a second: it waits all the same."""
    servers.revive()
    with open_stage(servers, own_home, chunk_seconds=0.2) as stage, stage.attached() as lab:
        run = lab.submit_plan(small_plan())
        wait_for(lambda: run.status()["waiting"] <= 800, 60, "the run does not go on")
        servers.redis.kill()
        for share in (0, 0.9):
            stage.kill_worker(share)
        end, failures = time.monotonic() + 10, []
        while time.monotonic() < end:
            failures += run.status()["failures"]
            time.sleep(0.2)
        assert failures == []
        servers.redis.start()
        assert run.wait().complete
        check_all(stage, small_plan(), books_lost=True)


@pytest.mark.slow
@pytest.mark.mysql
def test_a_lab_that_is_killed_is_named_and_another_one_goes_on(servers, own_home):
    """Scheduler and workers at once; Redis and the database stay."""
    servers.revive()
    with open_stage(servers, own_home) as stage:
        begin(stage, hasty=0)
        time.sleep(2)
        stage.kill_lab()
        wait_for(stage.client_ended, 60, "the client does not notice")
        words = (
            rf"Unreachable: Dask scheduler at {stage.address} cannot be used: .*; start a lab and submit the run again"
        )
        assert re.search(words, stage.said())
        stage.open_lab()
        stage.start_client()
        stage.finish()
        assert "of them known already" in stage.said()
        check_all(stage, make_plan(), books_lost=False)
