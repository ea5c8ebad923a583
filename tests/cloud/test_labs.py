"""A lab in the emulated cloud: real schedulers, workers, Redis with TLS and MariaDB behind AWS' own interfaces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.cloud import adapt, hosted
from orbresearch.cloud.aws import open_account
from orbresearch.cloud.redis import find_redis
from orbresearch.cloud.stack import find_stack
from orbresearch.errors import BadInput, Unreachable
from orbresearch.lab.cluster import CONNECT_SECONDS
from orbresearch.settings import read_settings
from orbresearch.staging import connect, staged_count
from orbresearch.store.connection import close_store, open_store
from tests.cloud.conftest import until
from tests.emulator import Emulator
from tests.servers_mysql import RestartableMySQL

pytestmark = [pytest.mark.slow, pytest.mark.mysql]

GRID = orb.ParameterGrid(orb.frange(0.1, 2.0, 0.1), [1, 2, 3], range(30, 300, 30), range(1, 100))
DURATIONS = [300, 600, 900]
ENDLESS = orb.ParameterGrid(orb.frange(0.1, 5.0, 0.05), [1, 2, 3, 4], range(0, 600, 5), range(1, 100))


@pytest.fixture(scope="module")
def sessions() -> orb.Sessions:
    return orb.synthetic_sessions(40, seed=3)


def same_rows(run: orb.Run, sessions: orb.Sessions) -> None:
    """Every row of a run is there once, with the numbers of this process's own kernels."""
    stored = run.results(order_by="backtest_id", limit=None)
    expected = pd.concat([orb.run_grid(sessions, GRID, duration) for duration in DURATIONS], ignore_index=True)
    assert len(stored) == len(expected) == stored.backtest_id.nunique()
    columns = ["stop_distance", "limit_distance", "backtest_profit", "sharpe_ratio", "trades", "max_drawdown"]
    pd.testing.assert_frame_equal(stored[columns], expected[columns], check_dtype=False, check_exact=True)


def test_a_third_of_the_workers_interrupted_loses_and_doubles_nothing(at_work: Emulator, sessions):
    with orb.Lab.fargate(3, spot_share=1.0) as lab:
        until(lambda: len(at_work.tasks("worker")) == 3 and lab.slots() == 3)
        before = {task.arn for task in at_work.tasks("worker")}
        run = lab.submit(sessions, GRID, DURATIONS)
        until(lambda: lab.progress(run.order)["computed"])
        at_work.interrupt(sorted(before)[0])
        assert run.persisted() < len(run)
        run.wait()
        assert run.persisted() == len(run)
        assert run.status()["failures"] == []
        same_rows(run, sessions)
        until(lambda: len(at_work.tasks("worker")) == 3)
        replaced = {task.arn for task in at_work.tasks("worker")}
        assert len(before & replaced) == 2
        until(lambda: lab.slots() == 3)
    with pytest.raises(BadInput, match="closed"):
        lab.runs()


NOTEBOOK = """
import sys
import orbresearch as orb
from tests.cloud.test_labs import ENDLESS, GRID
lab = orb.Lab.fargate(2, idle_timeout=float(sys.argv[1]), lifetime=float(sys.argv[2]), spot_share=1.0)
if sys.argv[3] == "endless":
    run = lab.submit(orb.synthetic_sessions(250), ENDLESS, range(300, 6000, 300), keep=orb.Best(100))
else:
    run = lab.submit(orb.synthetic_sessions(40, seed=3), GRID, range_duration=[300, 600])
while not lab.progress(run.order)["computed"]:
    pass
print("computing", run.run_id, flush=True)
run.wait()
"""


def killed_notebook(idle_timeout: float, lifetime: float, work: str = "") -> str:
    """Start a notebook's process, kill it in the middle of a run; return the run's id."""
    command = [sys.executable, "-c", NOTEBOOK, str(idle_timeout), str(lifetime), work]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as notebook:
        assert notebook.stdout is not None
        said = next(line for line in notebook.stdout if line.startswith("computing"))
        notebook.kill()
    return said.split()[1]


def test_a_killed_notebook_leaves_a_run_that_ends_and_a_cluster_that_ends(at_work: Emulator):
    run_id = killed_notebook(idle_timeout=20, lifetime=600)
    until(lambda: orb.open_run(run_id).complete, 90)
    until(lambda: not at_work.tasks(), 60)
    assert orb.open_run(run_id).complete
    assert staged() == 0, "the reaper has emptied the stream"


def staged() -> int:
    """Return how many results Redis holds that are not in the store."""
    account, settings = open_account(), read_settings()
    secret = account.client("secretsmanager").get_secret_value(SecretId=find_stack(account).redis_secret)
    password = json.loads(secret["SecretString"])["password"]
    redis = read_settings(environ={**find_redis(account).environ, "REDIS_PASSWORD": password}).redis
    store = open_store(settings.store, create=False)
    try:
        with connect(redis) as staging:
            return staged_count(staging, store.uuid)
    finally:
        close_store(store)


def test_another_notebook_attaches_or_sweeps(at_work: Emulator, sessions):
    run_id = killed_notebook(idle_timeout=600, lifetime=600)
    lab = orb.Lab.fargate(attach=True)
    assert set(lab.runs().run_id) >= {run_id}
    lab.close()
    assert len(at_work.tasks("scheduler")) == 1, "an attached lab leaves the cluster as it was"
    listed = orb.cloud.tasks()
    assert sorted(set(listed.role)) == ["scheduler", "worker"]
    worker = listed[listed.role == "worker"].task.iloc[0]
    orb.cloud.stop_task(worker, "one too many")
    until(lambda: len(at_work.tasks("worker")) == len(listed) - 2)
    assert orb.cloud.sweep(redis=False)["tasks"] >= 1
    assert at_work.tasks() == []


def test_with_every_spot_task_lost_the_lifetime_ends_the_cluster(at_work: Emulator):
    killed_notebook(idle_timeout=600, lifetime=40, work="endless")
    for task in at_work.tasks("worker"):
        at_work.interrupt(task.arn)
    until(lambda: not at_work.tasks("worker"), 30)
    ended_by_its_lifetime(at_work)


def ended_by_its_lifetime(cloud: Emulator) -> None:
    """Wait until nothing runs; the scheduler's log says why."""
    log = until(lambda: [task for task in cloud.every_task() if task.role == "scheduler"])[-1]
    until(lambda: not cloud.tasks(), 60)
    assert "its lifetime of 40 s is over" in log.log


def test_with_the_database_gone_the_lifetime_ends_the_cluster(at_work: Emulator, database: RestartableMySQL):
    killed_notebook(idle_timeout=600, lifetime=40)
    database.kill()
    try:
        ended_by_its_lifetime(at_work)
    finally:
        database.start()


def test_workers_end_when_the_scheduler_dies(at_work: Emulator):
    lab = orb.Lab.fargate(2)
    until(lambda: lab.slots() == 2)
    os.kill(at_work.tasks("scheduler")[0].pid, signal.SIGKILL)
    until(lambda: not at_work.tasks(), 90)
    with pytest.raises(Unreachable, match="has ended"):
        lab.lifecycle_result_data()
    lab.close()


def test_a_notebook_whose_network_is_gone_for_a_while_goes_on_with_its_run(at_work: Emulator, sessions):
    def lose_network() -> None:
        with at_work.away():
            time.sleep(1.5 * CONNECT_SECONDS)

    with orb.Lab.fargate(2, spot_share=1.0) as lab:
        until(lambda: lab.slots() == 2)
        run = lab.submit(sessions, GRID, DURATIONS)
        until(lambda: lab.progress(run.order)["computed"])
        away = threading.Thread(target=lose_network)
        away.start()
        run.wait()
        away.join()
        same_rows(run, sessions)
        before = {task.arn for task in at_work.tasks("worker")}
        at_work.interrupt(min(before))
        until(lambda: len({task.arn for task in at_work.tasks("worker")} - before) == 1)
        until(lambda: lab.slots() == 2)


def test_a_start_goes_on_with_the_workers_that_come_and_the_rest_follows(at_work: Emulator):
    at_work.task_quota(1.0)
    try:
        with orb.Lab.fargate(4, spot_share=1.0) as lab:
            assert len(at_work.tasks("worker")) == 1, "three were refused before the first had connected"
            until(lambda: "limit on the number of vCPUs" in repr(lab))
            at_work.task_quota(None)
            until(lambda: lab.slots() == 4, 90)
    finally:
        at_work.task_quota(None)


def test_credentials_that_expire_are_told_as_what_they_are(at_work: Emulator, capsys):
    with orb.Lab.fargate(1, spot_share=1.0) as lab:
        until(lambda: lab.slots() == 1)
        at_work.expire()
        try:
            until(lambda: "expired" in capsys.readouterr().out, 30)
        finally:
            at_work.expire(False)
        assert "lost so far" not in repr(lab)


def test_it_grows_while_there_is_work_and_shrinks_after_it(at_work: Emulator, sessions, monkeypatch):
    monkeypatch.setattr(adapt, "END_SECONDS", 2.0)
    monkeypatch.setattr(hosted, "ADAPT_SECONDS", 1)
    with orb.Lab.fargate(1, maximum=3) as lab:
        assert len(at_work.tasks("worker")) == 1
        assert (lab.slots(), lab.slots_to_come()) == (1, 3), "chunks are cut for those that will come"
        run = lab.submit(sessions, ENDLESS, range(300, 6000, 300), keep=orb.Best(100))
        until(lambda: len(at_work.tasks("worker")) == 3, 60)
        run.cancel()
        until(lambda: len(at_work.tasks("worker")) == 1, 90)


def test_a_price_above_the_cap_starts_nothing(at_work: Emulator):
    calls = len(at_work.calls)
    with pytest.raises(BadInput, match=r"price_cap=0\.01"):
        orb.Lab.fargate(50, price_cap=0.01)
    assert not [call for call in at_work.calls[calls:] if call.operation == "RunTask"]
