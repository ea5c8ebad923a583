"""The main job on a lab: rows equal the kernel, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import time
import warnings

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch import plan as planning
from orbresearch.errors import BadInput, Unreachable
from tests.lab.conftest import GRID

pytestmark = pytest.mark.usefixtures("lab_home")


def same(rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)


def test_rows_in_the_store_equal_run_grid_to_the_bit(lab, sessions):
    rules = orb.Rules(commission=0.0005, slippage=0.005)
    run = lab.submit(sessions, GRID, range_duration=[300, 900], rules=rules).wait()
    same(run.results(), orb.run_grid(sessions, GRID, [300, 900], rules))
    assert run.results().attrs["complete"]


def test_submitting_again_computes_nothing_and_changes_nothing(lab, sessions, capsys):
    first = lab.submit(sessions, GRID, range_duration=300).wait()
    before = first.results()
    capsys.readouterr()
    again = lab.submit(sessions, GRID, range_duration=300).wait()
    assert again.run_id == first.run_id
    assert "32 of them known already" in capsys.readouterr().out
    same(again.results(), before)


def test_several_tickers_make_one_run_and_warn_of_their_prices(lab, sessions):
    cheap = orb.synthetic_sessions(10, seed=9, ticker="CHEAP")
    with pytest.warns(UserWarning, match=r"prices span .*CHEAP.*SYNTHETIC"):
        run = lab.submit({"SYNTHETIC": sessions, "CHEAP": cheap}, GRID, range_duration=300)
    run.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(run.results(), orb.run_grid({"SYNTHETIC": sessions, "CHEAP": cheap}, GRID, 300))


def test_a_session_more_is_a_new_run_and_says_so(lab, capsys):
    short, longer = orb.synthetic_sessions(31, seed=5), orb.synthetic_sessions(32, seed=5)
    first = lab.submit(short, GRID, range_duration=300).wait()
    second = lab.submit(longer, GRID, range_duration=300).wait()
    assert first.run_id != second.run_id
    assert f"new run: 1 session added since run {first.run_id}" in capsys.readouterr().out


def test_the_report_is_the_familiar_one(lab, sessions):
    lab.submit(sessions, GRID, range_duration=600).wait()
    report = lab.lifecycle_result_data()
    assert set(report) == {"status", "message", "duration"}
    assert report["status"] == "SUCCESS"
    assert report["message"] == (
        "Reaper successfully lifecycled 0 rows to SQLite. 0 completed tasks still need to be lifecycled. "
        "0 tasks are queued but have not been executed yet."
    )
    assert orb.lifecycle_result_data()["status"] == "SUCCESS"


def test_best_rows_have_sessions_and_the_ranking_is_the_users(lab, sessions):
    run = lab.submit(sessions, GRID, range_duration=300).wait()
    best, everything = run.best(5), run.results()
    eligible = everything[(everything.resolved == 1) & (everything.sessions_traded >= 30)]
    expected = eligible.sort_values(["sharpe_ratio", "backtest_id"], ascending=[False, True]).head(5)
    assert best.backtest_id.tolist() == expected.backtest_id.tolist()
    ranking = run.ranking(3)
    value = ranking.stop_distance / ranking.backtest_profit * ranking.stop_count_limit
    assert ranking.risk_adjusted_win_rate.tolist() == pytest.approx(value.tolist())
    assert value.is_monotonic_decreasing


def test_priority_work_and_the_reaper_run_while_every_slot_computes(lab):
    blockers = [lab.client.submit(time.sleep, 3, resources={"worker_main": 1}, pure=False) for _ in range(4)]
    time.sleep(0.5)
    started = time.monotonic()
    assert lab.client.submit(int, "7", priority=1_000_000, pure=False).result(timeout=10) == 7
    assert time.monotonic() - started < 2
    del blockers


def test_a_killed_worker_loses_nothing(lab, monkeypatch):
    monkeypatch.setattr(planning, "MAX_CHUNK_ROWS", 16)
    sessions = orb.synthetic_sessions(30, seed=11)
    grid = orb.ParameterGrid(orb.frange(0.1, 2, 0.1), [1, 2], [30, 60], range(1, 9))
    run = lab.submit(sessions, grid, range_duration=300)
    while not run.status()["computed"]:
        time.sleep(0.02)
    pids = lab.client.run(os.getpid)
    os.kill(next(iter(pids.values())), signal.SIGKILL)
    run.wait()
    same(run.results(), orb.run_grid(sessions, grid, 300))


def test_inputs_that_redis_lost_are_staged_anew(lab, capfd):
    sessions = orb.synthetic_sessions(33, seed=13)
    assert lab.submit(sessions, GRID, range_duration=300).wait().complete
    monkey = orb.ParameterGrid([0.5, 0.7], 1, 0, 1)
    with pytest.MonkeyPatch.context() as patch:
        flush_after(patch, lab, lab._services.staging.ticks.flushdb)
        run = lab.submit(sessions, monkey, range_duration=300)
    same(run.wait().results(), orb.run_grid(sessions, monkey, 300))
    assert f"Redis has lost 2 backtests of run {run.run_id} or what they need" in capfd.readouterr().out


def test_a_redis_that_lost_everything_costs_work_and_no_result(lab):
    sessions, grid = orb.synthetic_sessions(31, seed=14), orb.ParameterGrid([0.5, 0.7], [1, 2], 0, [1, 2])
    with pytest.MonkeyPatch.context() as patch:
        flush_after(patch, lab, lab._services.staging.books.flushall)
        run = lab.submit(sessions, grid, range_duration=[300, 600])
    same(run.wait().results(), orb.run_grid(sessions, grid, [300, 600]))
    assert lab.staged(run.run_id) == 0


def flush_after(patch, lab, flush) -> None:
    """Empty Redis after the next run was staged and before a chunk is given out."""
    give_out = lab._ask

    def ask(operation, **arguments):
        if operation == "orb_feed":
            flush()
            lab.client.run(_forget_inputs)
        return give_out(operation, **arguments)

    patch.setattr(lab, "_ask", ask)


def _forget_inputs() -> None:
    from orbresearch.lab import worker

    worker._load_input.cache_clear()
    worker._load_series.cache_clear()
    worker.load_spec.cache_clear()


def test_an_interrupt_stops_waiting_not_the_run(lab, sessions, monkeypatch, capsys):
    run = lab.submit(sessions, GRID, range_duration=1200)
    watched = []

    def interrupt(run_id):
        watched.append(run_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "progress", interrupt)
    if not run.complete:
        run.wait()
        assert watched
        assert "stopped waiting" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setenv("ORB_HOME", str(lab.settings.home))
    run.wait()
    assert run.complete


def test_unfinished_rows_warn_and_say_so(lab, sessions):
    run = lab.submit(sessions, GRID, range_duration=1500).wait()
    run.total += 1
    with pytest.warns(UserWarning, match="is unfinished: 32 of 33"):
        assert run.results().attrs["complete"] is False


def test_tomorrow_a_run_opens_without_a_lab_and_its_picture_too(lab, sessions, lab_home, monkeypatch):
    run = lab.submit(sessions, GRID, range_duration=300).wait()
    assert run.run_id in set(orb.runs().run_id)
    opened = orb.open_run(run.run_id)
    same(opened.results(), run.results())
    backtest_id = opened.best(1).backtest_id.iloc[0]
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    picture = orb.display(backtest_id)
    page = lab_home / "plots" / f"{backtest_id}.html"
    assert page.stat().st_size > 100_000
    assert picture.save(lab_home / "elsewhere" / "page.html").is_file()
    assert "http" not in picture.title
    with pytest.raises(BadInput, match="latest runs there are"):
        orb.open_run("0" * 16)


def test_a_recomputed_backtest_equals_its_row(lab, sessions):
    from orbresearch.lab.display import backtest

    run = lab.submit(sessions, GRID, range_duration=[300, 900]).wait()
    rows = run.results().set_index("backtest_id")
    for backtest_id in (rows.index[3], rows.index[-1]):
        one = backtest(backtest_id)
        assert one.stats["backtest_id"] == backtest_id
        pd.testing.assert_series_equal(one.stats.drop("backtest_id"), rows.loc[backtest_id], check_names=False)


def test_no_secret_shows_anywhere(lab):
    password = lab.settings.redis.password
    assert password
    shown = repr(lab) + repr(lab.settings) + repr(lab._services) + repr(lab.cluster) + str(lab.client.scheduler_info())
    assert password not in shown
    keys = lab.client.run_on_scheduler(lambda dask_scheduler: [str(key) for key in dask_scheduler.tasks])
    assert not [key for key in keys if password in key]
    for path in lab.settings.home.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes()


def test_bad_input_is_refused_before_anything_is_written(lab, sessions):
    before = len(orb.runs())
    for grid, duration, words in (
        (GRID, 86_400, "longest session"),
        (GRID, 0, "above 0"),
        (GRID, [], "at least one"),
        ({"stop_distance": 1}, 300, "ParameterGrid"),
    ):
        with pytest.raises(BadInput, match=words):
            lab.submit(sessions, grid, range_duration=duration)
    assert len(orb.runs()) == before


def test_an_unreachable_redis_is_named_at_once_and_its_password_is_not(monkeypatch):
    monkeypatch.setenv("REDIS_ENDPOINT", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", "1")
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2hunter2")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1") as caught:
        orb.Lab()
    assert "hunter2" not in str(caught.value)


def test_an_unreachable_database_is_named_at_once_and_its_password_is_not(monkeypatch):
    for name, value in {
        "ENDPOINT": "127.0.0.1",
        "PORT": "1",
        "USERNAME": "u",
        "PASSWORD": "hunter2",
        "NAME": "d",
    }.items():
        monkeypatch.setenv(f"DB_{name}", value)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1") as caught:
        orb.Lab()
    assert "hunter2" not in str(caught.value)


def test_an_unknown_scheduler_is_named(monkeypatch):
    monkeypatch.setattr("orbresearch.lab.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        orb.Lab(address="tcp://127.0.0.1:1")


def test_a_closed_lab_says_that_it_is_closed(tmp_path, monkeypatch, sessions):
    monkeypatch.setenv("ORB_HOME", str(tmp_path))
    with orb.Lab(n_workers=1, quiet=True) as other:
        run = other.submit(sessions, GRID, range_duration=300)
    with pytest.raises(BadInput, match="it is closed"):
        other.submit(sessions, GRID)
    other.close()
    if not run.complete:
        with pytest.raises(BadInput, match="submit it again"):
            run.wait()


def test_a_run_begun_in_other_chunks_is_continued_in_those(lab, monkeypatch):
    sessions = orb.synthetic_sessions(34, seed=17)
    monkeypatch.setattr(planning, "MAX_CHUNK_ROWS", 5)
    first = lab.submit(sessions, GRID, range_duration=300).wait()
    monkeypatch.setattr(planning, "MAX_CHUNK_ROWS", 10**6)
    again = lab.submit(sessions, GRID, range_duration=300).wait()
    assert again.run_id == first.run_id
    same(again.results(), orb.run_grid(sessions, GRID, 300))


def test_too_few_sessions_have_no_best_and_say_why(lab):
    run = lab.submit(orb.synthetic_sessions(3), GRID, range_duration=300).wait()
    with pytest.warns(UserWarning, match="no resolved backtest traded in 30 sessions"):
        assert len(run.best()) == 0
    assert len(run.best(min_sessions=1)) == 20


def test_results_that_redis_lost_are_computed_again(lab, monkeypatch):
    sessions = orb.synthetic_sessions(35, seed=19)
    lab.lifecycle_result_data()
    token_holder = lab._services.staging, lab._services.store.uuid
    from orbresearch import staging

    while not staging.acquire_lease(*token_holder, "test", 60_000):  # no reaper while we flush
        time.sleep(0.05)
    run = lab.submit(sessions, GRID, range_duration=300)
    while run.status()["computed"] < len(GRID):
        time.sleep(0.05)
    lab._services.staging.books.flushdb()
    monkeypatch.setattr("orbresearch.lab.watching._SILENCE_SECONDS", 1.0)
    same(run.wait().results(), orb.run_grid(sessions, GRID, 300))


def test_a_stretch_that_was_submitted_does_not_pass_for_the_whole(lab, lab_home):
    sessions = orb.synthetic_sessions(6, seed=23)
    part = sessions.between(sessions.dates[2], sessions.dates[3])
    first = lab.submit(sessions, GRID, range_duration=300).wait()
    lab.submit(part, GRID, range_duration=300).wait()
    from orbresearch.lab.display import backtest

    assert len(backtest(first.results().backtest_id.iloc[0]).daily) == 6


def test_sessions_under_another_name_are_refused(lab, sessions):
    with pytest.raises(BadInput, match="'A' names the sessions of 'SYNTHETIC'"):
        lab.submit({"A": sessions}, GRID)


def test_trade_stats_of_a_stored_backtest_are_made_again_exactly(lab, lab_home):
    sessions = orb.synthetic_sessions(9, seed=41)
    row = lab.submit(sessions, GRID, range_duration=300).wait().results().iloc[7]
    point = {name: row[name] for name in orb.schema.PARAMETERS}
    found = orb.trade_stats(row.backtest_id)
    assert found == orb.run_backtest(sessions, 300, **point).trade_stats()
    assert sum(day["tt"] for day in found.values()) == row["trades"]
