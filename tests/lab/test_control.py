"""A run in trouble: chunks that raise or hang, too much staged, work that cannot wait, a run called off."""

from __future__ import annotations

import time
from dataclasses import replace

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch import staging
from orbresearch.errors import BadInput, RunFailed
from orbresearch.lab import plugin
from orbresearch.lab.watching import watch

SESSIONS = orb.synthetic_sessions(12, seed=31)
GRID = orb.ParameterGrid([0.3, 0.5, 0.7, 0.9], [1, 2], 60, [1, 2])
CHUNK = 4  # backtests, one stop distance each


@pytest.fixture
def plan():
    """Return a plan of four chunks whose numbers no other test has stored."""
    made = orb.make_plan(SESSIONS, GRID, 300, orb.Rules(commission=round(time.time() % 1 / 100, 9)))
    return replace(made, chunk_rows=CHUNK)


def expected(plan):
    return orb.run_grid(SESSIONS, GRID, 300, plan.rules)


@pytest.fixture
def spoil(lab):
    """Make the chunk of one backtest raise so many times, or take so long, in every worker; undone afterwards."""
    yield lambda **what: lab.client.run(_spoil, **what)
    lab.client.run(_mend)


def _spoil(first: int, times: int = 0, seconds: float = 0.0, folder: str = "") -> None:
    import time as clock
    from pathlib import Path

    from orbresearch.analysis.performance import compute_rows
    from orbresearch.lab import worker

    def spoilt(run_id, item, points, rules, chunk):
        if chunk.first == first:
            clock.sleep(seconds)
            tried = Path(folder) / f"{run_id}-{clock.time_ns()}"
            tried.touch()
            if len(list(Path(folder).glob(f"{run_id}-*"))) <= times:
                raise ValueError("spoilt for a test\nsecond line")
        return compute_rows(run_id, item, points, rules, chunk)

    worker.compute_rows = spoilt


def _mend() -> None:
    from orbresearch.analysis.performance import compute_rows
    from orbresearch.lab import worker

    worker.compute_rows = compute_rows


def test_a_chunk_that_raises_twice_is_computed_at_the_third_attempt(lab, plan, spoil, tmp_path):
    spoil(first=8, times=2, folder=str(tmp_path))
    run = lab.submit_plan(plan).wait()
    pd.testing.assert_frame_equal(run.results(), expected(plan), check_exact=True)
    assert len(list(tmp_path.glob("*-*"))) == 3
    assert run.status()["failures"] == []


def test_a_chunk_that_always_raises_is_set_aside_and_the_others_are_stored(lab, plan, spoil, tmp_path):
    spoil(first=8, times=99, folder=str(tmp_path))
    run = lab.submit_plan(plan)
    with pytest.raises(RunFailed, match="backtests 8 to 11: ValueError: spoilt for a test"):
        run.wait()
    assert len(list(tmp_path.glob("*-*"))) == plugin.ATTEMPTS
    found = run.status()
    assert (found["state"], found["failed"], found["persisted"]) == ("failed", 4, 12)
    assert [(one["first"], one["rows"], one["error"]) for one in found["failures"]] == [
        (8, 4, "ValueError: spoilt for a test")
    ]
    assert "in spoilt" in found["failures"][0]["traceback"]
    assert "spoilt for a test" in run._repr_html_()
    assert lab.runs().set_index("run_id").loc[run.run_id, ["state", "failed"]].tolist() == ["failed", 4]
    lab.client.run(_mend)
    assert run.retry_failed() == 4
    pd.testing.assert_frame_equal(run.wait().results(), expected(plan), check_exact=True)
    assert run.status()["state"] == "complete"


def test_a_run_called_off_keeps_what_is_stored_and_goes_on_when_submitted_again(lab, plan, spoil, tmp_path, capfd):
    spoil(first=0, seconds=1.5, folder=str(tmp_path))
    lab.client.run(_slow_down)
    run = lab.submit_plan(plan)
    left = run.cancel()
    run.wait()
    assert 0 <= left <= len(plan)
    if left:
        assert f"run {run.run_id} was cancelled: {len(plan) - left} of 16" in capfd.readouterr().out
        assert run.status()["state"] == "cancelled"
    lab.client.run(_mend)
    again = lab.submit_plan(plan).wait()
    pd.testing.assert_frame_equal(again.results(), expected(plan), check_exact=True)


def _slow_down() -> None:
    import time as clock

    from orbresearch.analysis.performance import compute_rows
    from orbresearch.lab import worker

    def slow(*arguments):
        clock.sleep(0.7)
        return compute_rows(*arguments)

    worker.compute_rows = slow


def test_priority_work_starts_while_every_slot_computes(lab, plan):
    lab.client.run(_slow_down)
    try:
        run = lab.submit_plan(plan)
        while run.status()["running"] < 2 * CHUNK:
            time.sleep(0.02)
        waits = []
        for _ in range(5):
            start = time.perf_counter()
            assert lab.submit_priority(sum, [1, 2]).result() == 3
            waits.append(time.perf_counter() - start)
        assert min(waits) < 0.35  # a chunk takes 0.7 s: it did not wait for a slot
        run.wait()
    finally:
        lab.client.run(_mend)


def test_a_run_that_no_lab_computes_can_be_neither_cancelled_nor_retried(lab, lab_home, plan):
    run = orb.open_run(lab.submit_plan(plan).wait().run_id)
    assert run.status()["state"] == "complete"
    for refused in (run.cancel, run.retry_failed):
        with pytest.raises(BadInput, match="no lab computes it"):
            refused()


def test_no_chunk_is_given_out_while_too_much_is_staged(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("ORB_HOME", str(tmp_path))
    with orb.Lab(n_workers=1, reap_seconds=0.2, staged_bytes=1, quiet=True) as small:
        lease = small._services.staging, small._services.store.uuid, "test"
        while not staging.acquire_lease(*lease, 60_000):  # no reaper while we look
            time.sleep(0.02)
        run = small.submit_plan(plan)
        while not (found := run.status())["held_back"] or found["running"]:
            time.sleep(0.05)
        time.sleep(1)
        found = run.status()
        assert found["computed"] <= 2 * CHUNK  # one slot, two at its worker: both were given out before any was staged
        assert found["waiting"] == len(plan) - found["computed"]
        assert found["staged_bytes"] > 1
        staging.release_lease(*lease)
        pd.testing.assert_frame_equal(run.wait().results(), expected(plan), check_exact=True)


def test_a_chunk_that_hangs_costs_its_worker_a_restart_and_is_computed(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("ORB_HOME", str(tmp_path))
    with orb.Lab(n_workers=1, reap_seconds=0.2, chunk_seconds=4, quiet=True) as small:
        small.client.run(_spoil, first=8, seconds=300, folder=str(tmp_path))  # gone with the worker
        start = time.monotonic()
        run = small.submit_plan(plan).wait()
        assert time.monotonic() - start < 200  # it would sleep for 300
        pd.testing.assert_frame_equal(run.results(), expected(plan), check_exact=True)


def test_a_full_redis_is_waited_for(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("ORB_HOME", str(tmp_path))
    with orb.Lab(n_workers=1, reap_seconds=0.2, quiet=True) as small:
        small.client.run(_slow_down)
        run, books = small.submit_plan(plan), small._services.staging.books
        books.config_set("maxmemory", 100_000)  # less than it holds: it refuses what would add to it
        time.sleep(3)
        found = run.status()
        assert (found["computed"], found["failures"]) == (0, [])
        books.config_set("maxmemory", 0)
        pd.testing.assert_frame_equal(run.wait().results(), expected(plan), check_exact=True)


@pytest.mark.slow
def test_an_idle_cluster_ends_by_its_timeout(own_home, sessions):
    """Feeder and reaper do nothing when there is nothing to do; the lab still closes in peace."""
    import dask

    with dask.config.set({"distributed.scheduler.idle-timeout": "4 s"}):
        lab = orb.Lab(n_workers=1, quiet=True)
    scheduler = lab.cluster.scheduler
    try:
        run = lab.submit(sessions, GRID, range_duration=300).wait()
        assert run.complete
        end = time.monotonic() + 60
        while scheduler.status.name == "running" and time.monotonic() < end:
            time.sleep(0.2)
        assert scheduler.status.name in ("closing", "closed")
        watch(run, lab, None, 0)  # a notebook that slept meanwhile: all is there, and so it is content
    finally:
        lab.close()
