"""However a cluster ends, no task of it stays: starts and closings cut short, answers that are lost, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import pytest

import orbresearch as orb
from orbresearch.errors import CloudFailed
from tests.cloud.conftest import until
from tests.emulator import Emulator

pytestmark = [pytest.mark.slow, pytest.mark.mysql]

SCRIPT = "import orbresearch as orb; lab = orb.Lab.fargate({many}); print('up', flush=True)"


def ended(cloud: Emulator) -> bool:
    return all(task.status == "STOPPED" for task in cloud.every_task())


def script(many: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT.format(many=many)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root)


def test_ctrl_c_during_a_start_leaves_nothing(at_work: Emulator, monkeypatch):
    monkeypatch.setattr(at_work.site, "pulling", 3.0)
    with script() as process:
        before = len(at_work.every_task())
        until(lambda: len(at_work.every_task()) > before, 30)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=60)[0]
    assert ended(at_work)


def test_a_process_that_ends_without_closing_leaves_nothing(at_work: Emulator):
    with script(2) as process:
        said = process.communicate(timeout=90)[0]
    assert "up" in said
    assert "Traceback" not in said
    assert ended(at_work)


def test_a_start_whose_answer_is_lost_leaves_nothing(at_work: Emulator):
    at_work.lose_answers("RunTask")
    with pytest.raises(CloudFailed, match="Service Unavailable"):
        orb.Lab.fargate(1)
    assert ended(at_work)


def test_closing_while_workers_are_started_and_calls_are_refused_leaves_nothing(at_work: Emulator):
    at_work.site.faults.unknown = 2.0  # ECS does not know everywhere at once what it has just started
    lab = orb.Lab.fargate(1)
    cluster, asked = lab.hosted.cluster, len(at_work.every_task())
    at_work.stub(True)
    cluster.scale(30)
    until(lambda: len(at_work.every_task()) > asked + 2)
    at_work.fail("StopTask", "ThrottlingException", "Rate exceeded", times=6)
    at_work.fail("DescribeTasks", "ServerException", "Service Unavailable", times=2)
    lab.close()
    at_work.stub(False)
    at_work.site.faults.unknown = 0.0
    assert ended(at_work)
    assert len(at_work.every_task()) < asked + 30, "none was started once it closed"
    lab.close()


def test_lost_workers_are_told_and_replaced_and_nothing_waits_for_them(at_work: Emulator, capsys):
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "50ms"}):
        lab = orb.Lab.fargate(2, spot_share=1.0)
    until(lambda: lab.slots() == 2)
    before = {task.arn for task in at_work.tasks("worker")}
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "50ms"}):
        lab.client.restart_workers(list(lab.client.scheduler_info()["workers"])[:1])
        until(lambda: lab.slots() == 2)
        time.sleep(1)
    assert {task.arn for task in at_work.tasks("worker")} == before, "a worker that its nanny restarts is not lost"

    stopped = next(iter(before))
    scheduler = at_work.tasks("scheduler")[0]
    os.kill(scheduler.pid, signal.SIGSTOP)  # hangs
    at_work.interrupt(stopped)
    until(lambda: stopped not in {task.arn for task in at_work.tasks("worker")}, 40)
    os.kill(scheduler.pid, signal.SIGCONT)
    until(lambda: len(at_work.tasks("worker")) == 2 and lab.slots() == 2)
    assert capsys.readouterr().out.count("interrupted by Spot") == 1
    assert "1 x interrupted by Spot" in repr(lab)

    at_work.no_capacity("FARGATE_SPOT")
    for task in at_work.tasks("worker"):
        at_work.interrupt(task.arn)
    until(lambda: not lab.client.scheduler_info()["workers"])
    began = time.monotonic()
    lab.close()
    at_work.no_capacity("FARGATE_SPOT", False)
    assert time.monotonic() - began < 20, "nobody waits for workers that are gone"
    assert ended(at_work)
