"""`python -m orbresearch`: the job, and a lab that stays beyond its notebooks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.lab import daemon
from orbresearch.settings import read_settings
from tests.lab.conftest import GRID

SUBMITS = """
import orbresearch as orb
from tests.lab.conftest import GRID
lab = orb.Lab(address={address!r}, quiet=True)
print(lab.submit(orb.synthetic_sessions(40, seed=3), GRID, range_duration=[300, 600, 900]).run_id)
"""


def orbresearch(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orbresearch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environ)


@pytest.fixture
def up(own_home: Path):
    """A lab that stays, in the test's own home."""
    environ = dict(os.environ)  # a test may change its home
    said = orbresearch("up", "--workers", "1")
    assert said.returncode == 0, said.stderr
    yield re.search(r'address="([^"]+)"', said.stdout).group(1)
    orbresearch("down", environ=environ)


def test_a_run_outlives_the_process_that_submitted_it(up, own_home, sessions):
    command = [sys.executable, "-c", SUBMITS.format(address=up)]
    gone = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert gone.returncode == 0, gone.stderr
    run = orb.open_run(gone.stdout.split()[-1])
    end = time.monotonic() + 60
    while not run.complete and time.monotonic() < end:
        time.sleep(0.2)
    pd.testing.assert_frame_equal(run.results(), orb.run_grid(sessions, GRID, [300, 600, 900]), check_exact=True)


def test_up_twice_is_one_lab_and_down_ends_it(up):
    assert f'address="{up}"' in orbresearch("up").stdout
    state = read_settings().home / ".orbresearch" / "lab.json"
    pid = json.loads(state.read_text())["pid"]
    with orb.Lab(address=up, quiet=True) as lab:
        assert lab.lifecycle_result_data()["status"] == "SUCCESS"
    assert "lab is down" in orbresearch("down").stdout
    assert not state.exists()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "no lab is up" in orbresearch("down").stdout


def test_a_lab_that_writes_elsewhere_is_refused(up, tmp_path, monkeypatch):
    monkeypatch.setenv("ORB_HOME", str(tmp_path))
    with pytest.raises(BadInput, match=r"writes to .*results.sqlite, this process reads"):
        orb.Lab(address=up)


def test_a_stale_state_file_does_not_end_somebody_elses_process(own_home):
    other = subprocess.Popen(["sleep", "60"])
    state = daemon.state_file(read_settings())
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"pid": other.pid, "started": 1.0, "address": "tcp://127.0.0.1:1"}))
    assert "no lab is up" in orbresearch("down").stdout
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_killed_lab_leaves_no_state_in_the_way(up, own_home):
    settings = read_settings()
    pid = daemon.read_state(settings)["pid"]
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while daemon.read_state(settings) is not None and time.monotonic() < end:
        time.sleep(0.1)
    assert daemon.read_state(settings) is None
    assert "lab is up" in orbresearch("up", "--workers", "1").stdout


def test_a_killed_notebook_leaves_no_process_behind(own_home):
    script = "import orbresearch as orb, time\nif __name__ == '__main__':\n lab = orb.Lab(n_workers=2)\n time.sleep(99)"
    path = own_home / "script.py"
    path.write_text(script)
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    assert "lab: 2 workers" in process.stdout.readline()
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4
    process.kill()
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


def test_ctrl_c_reaches_the_waiting_process_only(own_home):
    """A terminal sends SIGINT to every process of the group."""
    script = own_home / "script.py"
    script.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while "waiting" not in process.stdout.readline():
        pass
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    said, complained = process.communicate(timeout=120)
    assert "stopped waiting" in said
    assert "2 workers left, complete: True" in said
    assert "Traceback" not in complained


INTERRUPTED = """
import time
import orbresearch as orb
from orbresearch import plan
if __name__ == "__main__":
    plan.MAX_CHUNK_ROWS = 50
    made = orb.make_plan(orb.synthetic_sessions(5), orb.seed_grid(), 300)
    with orb.Lab(n_workers=2, quiet=True) as lab:
        blockers = [lab.client.submit(time.sleep, 10, resources={"worker_main": 1}, pure=False) for _ in range(2)]
        run = lab.submit_plan(made)
        print("waiting", flush=True)
        run.wait()
        run.wait()
        print(len(lab.client.scheduler_info()["workers"]), "workers left, complete:", run.complete)
"""


def test_the_main_job_runs_twice_and_has_its_rows_once(own_home):
    for turn in range(2):
        said = orbresearch("--sessions", "35", "--workers", "2")
        assert said.returncode == 0, said.stderr
        assert "SYNTHETIC" in said.stdout
        assert "best by Sharpe ratio" in said.stdout
        assert "your own ranking" in said.stdout
        assert "9,747 rows" in said.stdout
        assert ("9,747 of them known already" in said.stdout) == bool(turn)
    page = Path(re.search(r"picture is (.+\.html)", said.stdout).group(1))
    assert page.is_file()
    assert len(orb.runs()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prices", "nowhere.parquet", "--ticker", "SPY"], "file nowhere.parquet: does not exist"),
        (["--ticker", "SPY"], "given without --prices"),
        (["--sessions", "3", "--slippage", "lots"], "'lots' is no amount"),
        (["--sessions", "3", "--range", "90000"], "longest session"),
    ],
)
def test_bad_input_is_one_line_and_no_traceback(arguments, words):
    said = orbresearch(*arguments)
    assert said.returncode == 2
    assert words in said.stderr
    assert "Traceback" not in said.stderr
