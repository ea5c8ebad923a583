"""The lifetime ends a process even where its event loop is stuck."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orbresearch.cloud.guard import CODE, end_after

STUCK = """
import time
from orbresearch.cloud import guard
guard.GRACE_SECONDS = 0.3
guard.end_after({seconds}, {close}, "test")
time.sleep(20)
"""


def ended(close: str, seconds: float = 0.2) -> tuple[int, float]:
    began = time.monotonic()
    code = subprocess.run([sys.executable, "-c", STUCK.format(close=close, seconds=seconds)], timeout=60).returncode
    return code, time.monotonic() - began


def test_a_process_that_does_not_end_in_good_order_is_ended():
    code, seconds = ended("lambda: None")
    assert code == CODE
    assert seconds < 15


def test_one_that_closes_itself_is_left_to_it():
    assert ended("lambda: __import__('os')._exit(0)")[0] == 0


BLOCKING = """
import time
from orbresearch.cloud import guard
guard.GRACE_SECONDS = 0.5
def dask_setup(scheduler):
    scheduler.loop.call_later(0.1, time.sleep, 60)
"""


def test_a_scheduler_whose_loop_is_blocked_is_ended(tmp_path):
    (tmp_path / "blocking.py").write_text(BLOCKING)
    command = [str(Path(sys.executable).with_name("dask")), "scheduler", "--host", "127.0.0.1", "--port", "0"]
    command += ["--no-dashboard", "--preload", str(tmp_path / "blocking.py"), "--preload", "orbresearch.cloud.guard"]
    environ = {**os.environ, "DASK_ORBRESEARCH__LIFETIME": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=50)
    assert done.returncode == CODE, done.stderr
    assert "its lifetime of 1 s is over" in done.stderr


def test_a_lifetime_that_is_no_number_fails_at_once():
    with pytest.raises(ValueError, match="twelve"):
        end_after("twelve", lambda: None, "test")


def test_without_a_lifetime_nothing_is_counted():
    assert end_after(None, lambda: None, "test") is None
