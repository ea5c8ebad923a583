"""Several processes that fetch from a warehouse at once, and one that is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import orbresearch as orb
from tests.sources import greek_files, market
from tests.sources.greek_files import fill, same_prices, warehouse

PROJECT = Path(__file__).parents[2]
DAYS = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-07-01", "2024-07-12"))
WHOLE = {"start": DAYS[0], "end": DAYS[-1]}
FILES = sorted([*(f"{day}.parquet" for day in DAYS), "manifest.json"])


@pytest.fixture
def path(tmp_path):
    return fill(tmp_path / "w.sqlite", greek_files.rows(DAYS))


def names(home):
    return sorted(file.name for file in (home / "cached_data").rglob("*") if file.is_file())


def manifest_of(home):
    return json.loads(next((home / "cached_data").rglob("manifest.json")).read_text())


LOADER = """
import pathlib, sys, time
import orbresearch as orb
from orbresearch.sources.warehouse import collect

if __name__ == "__main__":
    place, start, end, ready, go, pause = sys.argv[1:]
    really = collect.read_seconds

    def read(*given):
        time.sleep(float(pause))
        return really(*given)

    collect.read_seconds = read
    pathlib.Path(ready).touch()
    while not pathlib.Path(go).exists():
        time.sleep(0.001)
    print(orb.load_sessions(orb.Warehouse(place), "TEST", start=start, end=end).series.hash)
"""


def start_loader(path, home, start, end, ready, go, pause=0.0):
    command = [sys.executable, "-c", LOADER, f"sqlite:///{path}", start, end, str(ready), str(go), str(pause)]
    environ = {**os.environ, "ORB_HOME": str(home)}
    return subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, text=True)


def wait_for(condition, running):
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until and all(one.poll() is None for one in running):
        time.sleep(0.005)
    assert condition()


@pytest.mark.parametrize("stretches", [((0, 8), (0, 8)), ((0, 5), (3, 8))], ids=["same", "overlapping"])
def test_two_processes_that_fetch_at_once_are_both_right(path, tmp_path, own_home, asked, stretches):
    ready, go = [tmp_path / f"ready{i}" for i in range(2)], tmp_path / "go"
    running = [
        start_loader(path, own_home, DAYS[first], DAYS[last], mark, go, 0.02)
        for (first, last), mark in zip(stretches, ready, strict=True)
    ]
    try:
        wait_for(lambda: all(mark.exists() for mark in ready), running)
        go.touch()
        said = [one.communicate(timeout=60)[0].split()[-1] for one in running]
    finally:
        for one in running:
            one.kill()
    assert [one.returncode for one in running] == [0, 0]
    path.unlink()
    whole = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    same_prices(whole, orb.load_sessions(greek_files.rows(DAYS), "TEST"))
    assert said == [whole.between(DAYS[first], DAYS[last]).series.hash for first, last in stretches]
    assert asked == []
    assert names(own_home) == FILES
    assert list(manifest_of(own_home)["sessions"]) == list(DAYS)


def test_a_process_that_is_killed_leaves_only_whole_sessions(path, tmp_path, own_home, asked):
    go = tmp_path / "go"
    go.touch()
    cached = own_home / "cached_data"
    one = start_loader(path, own_home, DAYS[0], DAYS[-1], tmp_path / "ready", go, 0.2)
    try:
        wait_for(lambda: list(cached.rglob("manifest.json")), [one])
    finally:
        one.send_signal(signal.SIGKILL)
        one.communicate(timeout=30)
    folder = next(cached.iterdir())
    known = manifest_of(own_home)["sessions"]
    assert 0 < len(known) < len(DAYS)
    (folder / ".left.part").write_bytes(b"half")  # as of a process that is killed while it writes
    found = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    assert sorted(asked) == sorted(set(DAYS) - set(known))
    same_prices(found, orb.load_sessions(greek_files.rows(DAYS), "TEST"))
    assert names(own_home) == FILES
