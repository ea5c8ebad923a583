"""cached_data/: what is there is not read again, what is damaged is made anew, nothing appears by halves."""

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from orbresearch import load_sessions, synthetic_sessions
from orbresearch.errors import Corrupt
from orbresearch.sources import load
from orbresearch.sources.cache import load_cached, save_sessions
from orbresearch.sources.manifests import cache_folder
from tests.sources import market

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path):
    """Return a file of bars with something to remark: a zero price, a half-day that goes on."""
    frame = market.bars()
    frame.loc[5, "price"] = 0.0
    frame.loc[len(frame)] = [market.closed("2024-07-03") + 600, "TEST", 1.0, 2.0, 1.0, 1.5, 1]
    path = tmp_path / "prices.parquet"
    frame.sort_values("timestamp_utc").to_parquet(path, index=False)
    return path


@pytest.fixture
def opened(monkeypatch):
    """Count how often a source is opened."""
    calls, really = [], load.open_table

    def count(*arguments):
        calls.append(arguments)
        return really(*arguments)

    monkeypatch.setattr(load, "open_table", count)
    return calls


def folder_of(home, sessions):
    return cache_folder(home / "cached_data", sessions.ticker, sessions.fingerprint)


def files(home):
    return sorted(path for path in (home / "cached_data").rglob("*") if path.is_file())


def test_what_is_cached_is_not_read_again_and_is_the_same(source, opened):
    first = load_sessions(source, "TEST")
    assert len(opened) == 1
    market.same(load_sessions(source, "TEST"), first)
    market.same(load_sessions(str(source), "TEST"), first)
    assert len(opened) == 1
    assert "1 zero price" in first.quality.summary
    assert "1 row after the early close of 1 half-day" in first.quality.summary


def test_a_report_from_the_cache_has_the_types_of_the_first(source):
    first, second = load_sessions(source, "TEST"), load_sessions(source, "TEST")
    assert second.quality.dtypes.to_dict() == first.quality.dtypes.to_dict()


def test_the_cache_serves_a_stretch_of_dates(source, opened):
    whole = load_sessions(source, "TEST")
    stretch = load_sessions(source, "TEST", start="2024-07-03", end="2024-07-05")
    assert len(opened) == 1
    market.same(stretch, whole.between("2024-07-03", "2024-07-05"))


def test_loading_a_stretch_caches_everything(source, opened):
    load_sessions(source, "TEST", start="2024-07-05")
    load_sessions(source, "TEST", start="2024-07-02", end="2024-07-02")
    assert len(opened) == 1


def test_what_was_derived_from_cached_sessions_is_the_same(source):
    first, second = load_sessions(source, "TEST"), load_sessions(source, "TEST")
    assert second.series.hash == first.series.hash
    pd.testing.assert_frame_equal(second.features, first.features)


def test_several_tickers_are_cached_apart_and_only_the_missing_one_is_read(tmp_path, opened):
    path = tmp_path / "prices.parquet"
    pd.concat([market.prices(), market.prices(ticker="A/B C", seed=3)]).to_parquet(path, index=False)
    load_sessions(path, "TEST")
    both = load_sessions(path, ["TEST", "A/B C"])
    assert len(opened) == 2
    market.same(load_sessions(path, "A/B C"), both["A/B C"])
    assert len(opened) == 2


def test_a_folder_holds_one_file_per_session_and_a_manifest(source, own_home):
    found = load_sessions(source, "TEST")
    folder = folder_of(own_home, found)
    assert [path.name for path in sorted(folder.iterdir())] == [
        *(f"{day}.parquet" for day in market.DAYS),
        "manifest.json",
    ]
    assert files(own_home) == sorted(folder.iterdir())


def test_without_the_cache_nothing_is_written(source, own_home):
    load_sessions(source, "TEST", cache=False)
    assert not (own_home / "cached_data").exists()


def test_a_missing_session_file_is_made_again_from_the_source(source, own_home, opened):
    first = load_sessions(source, "TEST")
    (folder_of(own_home, first) / "2024-07-03.parquet").unlink()
    market.same(load_sessions(source, "TEST", start="2024-07-05"), first.between("2024-07-05"))
    assert len(opened) == 1  # the others are still served
    market.same(load_sessions(source, "TEST"), first)
    assert len(opened) == 2
    market.same(load_sessions(source, "TEST"), first)
    assert len(opened) == 2


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def empty(path):
    path.write_bytes(b"")


def alter(path):
    frame = pd.read_parquet(path)
    frame.loc[3, "price"] += 1
    frame.to_parquet(path, index=False)


def lose_a_column(path):
    pd.read_parquet(path).drop(columns="stands").to_parquet(path, index=False)


def exchange(path):
    path.write_bytes(path.with_name("2024-07-02.parquet").read_bytes())


@pytest.mark.parametrize("damage", [truncate, empty, alter, lose_a_column, exchange])
def test_a_damaged_session_file_is_noticed_and_repaired(damage, source, own_home, opened, caplog):
    first = load_sessions(source, "TEST")
    damaged = folder_of(own_home, first) / "2024-07-03.parquet"
    damage(damaged)
    with caplog.at_level(logging.WARNING):
        market.same(load_sessions(source, "TEST"), first)
    assert "2024-07-03.parquet is damaged" in caplog.text
    assert len(opened) == 2
    caplog.clear()
    market.same(load_sessions(source, "TEST"), first)
    assert len(opened) == 2, "the damaged file was not repaired: the source is read every time"
    assert not caplog.text


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "labels"', b"{}", b'{"version": 0}'])
def test_a_damaged_manifest_is_noticed_and_repaired(content, source, own_home, opened):
    first = load_sessions(source, "TEST")
    (folder_of(own_home, first) / "manifest.json").write_bytes(content)
    market.same(load_sessions(source, "TEST"), first)
    assert len(opened) == 2
    market.same(load_sessions(source, "TEST"), first)
    assert len(opened) == 2


def test_a_folder_without_a_manifest_is_unfinished(source, own_home, opened):
    first = load_sessions(source, "TEST")
    (folder_of(own_home, first) / "manifest.json").unlink()
    market.same(load_sessions(source, "TEST"), first)
    assert len(opened) == 2


def test_a_corrupt_file_is_told_by_name(source, own_home):
    first = load_sessions(source, "TEST")
    alter(folder_of(own_home, first) / "2024-07-05.parquet")
    with pytest.raises(Corrupt, match=r"2024-07-05\.parquet is damaged: its content is not what its manifest says"):
        load_cached(own_home / "cached_data", "TEST", first.fingerprint)


def test_the_fingerprint_changes_with_every_option_that_changes_what_is_read(source):
    plain = load_sessions(source, "TEST").fingerprint
    options = [
        {"bar": 0},
        {"stamp": "end"},
        {"path": "farther"},
        {"tz": "UTC"},
        {"increment": 0.001},
        {"calendar": "XNAS"},
        {"columns": {"price": "low"}},
    ]
    found = [load_sessions(source, "TEST", **option).fingerprint for option in options]
    assert len({plain, *found}) == len(options) + 1


def test_the_fingerprint_does_not_change_with_the_dates(source):
    whole = load_sessions(source, "TEST")
    assert load_sessions(source, "TEST", start="2024-07-05").fingerprint == whole.fingerprint


def test_a_changed_source_is_read_again(source, opened):
    first = load_sessions(source, "TEST")
    frame = pd.read_parquet(source)
    frame.loc[100, "price"] = frame.loc[100, "high"]
    frame.loc[100, "low"] = frame.loc[100, "high"] - 1
    frame.to_parquet(source, index=False)
    second = load_sessions(source, "TEST")
    assert len(opened) == 2
    assert second.fingerprint != first.fingerprint
    assert second.series.hash != first.series.hash


def test_a_changed_source_of_the_same_size_and_age_is_read_again(tmp_path, opened):
    path = tmp_path / "prices.csv"
    path.write_text("timestamp_utc,price\n1711459800,1.00\n1711459801,2.00\n1711459802,1.00\n")
    age = path.stat().st_mtime_ns
    assert load_sessions(path, "X").columns["price"].tolist() == [100, 200, 100]
    path.write_text(path.read_text().replace("2.00", "3.00"))
    os.utime(path, ns=(age, age))
    assert load_sessions(path, "X").columns["price"].tolist() == [100, 300, 100]
    assert len(opened) == 2


def test_the_same_content_under_another_name_is_named_as_it_was_asked_for(source, opened):
    load_sessions(source, "TEST")
    moved = source.rename(source.with_name("moved.parquet"))
    assert load_sessions(moved, "TEST").source == "file moved.parquet"


def test_a_source_that_is_gone_is_said_to_be_gone(source):
    load_sessions(source, "TEST")
    source.unlink()
    with pytest.raises(ValueError, match=r"prices\.parquet: does not exist"):
        load_sessions(source, "TEST")


def test_sessions_without_a_file_are_filed_under_their_content(own_home):
    cached_data = own_home / "cached_data"
    bare = replace(load_sessions(market.bars(), "TEST"), fingerprint="")
    saved = save_sessions(cached_data, bare)
    again = save_sessions(cached_data, bare)
    assert saved.fingerprint == again.fingerprint
    market.same(load_cached(cached_data, "TEST", saved.fingerprint), bare)
    other = save_sessions(cached_data, replace(load_sessions(market.bars(seed=8), "TEST"), fingerprint=""))
    assert other.fingerprint != saved.fingerprint


def test_a_round_trip_is_exact(own_home):
    cached_data = own_home / "cached_data"
    made = save_sessions(cached_data, synthetic_sessions(3, start="2024-07-02"))
    found = load_cached(cached_data, made.ticker, made.fingerprint)
    market.same(found, made)
    assert (found.source, found.fingerprint) == (made.source, made.fingerprint)
    assert found.schedule.timezone == "America/New_York"
    assert found.series.hash == made.series.hash
    assert found.quality.summary == made.quality.summary


def test_what_was_never_saved_is_not_there(own_home):
    assert load_cached(own_home / "cached_data", "TEST", "0" * 32) is None


LOADER = """
import sys, time, pathlib
from orbresearch import load_sessions
pathlib.Path(sys.argv[2]).touch()
while not pathlib.Path(sys.argv[3]).exists():
    time.sleep(0.001)
found = load_sessions(sys.argv[1], "TEST")
print(found.series.hash)
"""


def test_two_processes_that_load_at_once_leave_whole_files(tmp_path, own_home, opened):
    path = tmp_path / "prices.parquet"
    days = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-01-02", "2024-03-28"))
    market.bars(days).to_parquet(path, index=False)
    ready, go = [tmp_path / f"ready{i}" for i in range(2)], tmp_path / "go"
    environ = {**os.environ, "ORB_HOME": str(own_home)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", LOADER, str(path), str(mark), str(go)],
            cwd=PROJECT,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mark in ready
    ]
    try:
        while not all(mark.exists() for mark in ready) and all(one.poll() is None for one in running):
            time.sleep(0.01)
        go.touch()
        said = [one.communicate(timeout=120)[0].strip() for one in running]
    finally:
        for one in running:
            one.kill()
    assert [one.returncode for one in running] == [0, 0]
    assert said[0] == said[1]
    assert load_sessions(path, "TEST").series.hash == said[0]
    assert opened == []
    names = [file.name for file in files(own_home)]
    assert sorted(names) == sorted([*(f"{day}.parquet" for day in days), "manifest.json"])


def test_an_interrupted_write_leaves_nothing(source, own_home, monkeypatch, opened):
    real, done = Path.replace, []

    def fail_on_the_third(self, target):
        done.append(target)
        if len(done) == 3:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_the_third)
    with pytest.raises(KeyboardInterrupt):
        load_sessions(source, "TEST")
    monkeypatch.setattr(Path, "replace", real)
    assert [path.name for path in files(own_home)] == ["2024-07-02.parquet", "2024-07-03.parquet"]
    fresh = load_sessions(source, "TEST", cache=False)
    market.same(load_sessions(source, "TEST"), fresh)
    assert len(files(own_home)) == 4


def test_a_manifest_says_what_a_person_wants_to_know(source, own_home):
    found = load_sessions(source, "TEST")
    manifest = json.loads((folder_of(own_home, found) / "manifest.json").read_text())
    assert manifest["ticker"] == "TEST"
    assert list(manifest["sessions"]) == list(market.DAYS)
    assert manifest["source"] == "file prices.parquet"
    opens = [entry["open"] for entry in manifest["sessions"].values()]
    assert opens == found.schedule.opens.tolist()


def test_a_subset_that_is_saved_takes_nothing_from_the_cache(source, own_home):
    whole = load_sessions(source, "TEST")
    part = load_sessions(source, "TEST", start=market.DAYS[1], end=market.DAYS[1])
    save_sessions(own_home / "cached_data", part)
    market.same(load_sessions(source, "TEST"), whole)


def test_a_longer_synthetic_market_is_added_to_the_shorter_one(own_home):
    three = synthetic_sessions(3)
    cached = own_home / "cached_data"
    saved = save_sessions(cached, three.between(None, three.dates[1]))
    save_sessions(cached, three)
    found = load_cached(cached, "SYNTHETIC", saved.fingerprint)
    assert found.series.hash == three.series.hash
