"""The lifetime ends a process even where its event loop is stuck."""

from __future__ import annotations

import subprocess
import sys
import time

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


def test_without_a_lifetime_nothing_is_counted():
    assert end_after(None, lambda: None, "test") is None
