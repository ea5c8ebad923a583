"""What was fetched from a warehouse is not fetched again: without the source, after damage, beside other processes."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput, Unreachable
from orbresearch.sources import cache
from orbresearch.sources.manifests import cache_folder
from orbresearch.sources.warehouse import collect
from tests.servers_mysql import require_server, restartable_mysql
from tests.sources import greek_files, market
from tests.sources.greek_files import fill, same_prices, warehouse
from tests.sources.standin import url_of

DAYS = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-07-01", "2024-07-12"))
FIRST, LAST = {"start": DAYS[0]}, {"end": DAYS[-1]}
WHOLE = {**FIRST, **LAST}


@pytest.fixture
def path(tmp_path):
    return fill(tmp_path / "w.sqlite", greek_files.rows(DAYS))


def folder_of(home, sessions):
    return cache_folder(home / "cached_data", sessions.ticker, sessions.fingerprint)


def names(home):
    return sorted(file.name for file in (home / "cached_data").rglob("*") if file.is_file())


def whole_of(days=DAYS):
    return sorted([*(f"{day}.parquet" for day in days), "manifest.json"])


def test_a_second_load_needs_no_source(path):
    first = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    path.rename(path.with_name("away.sqlite"))
    again = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    market.same(again, first)
    assert again.series.hash == first.series.hash
    assert again.quality.facts == first.quality.facts
    assert (again.source, again.fingerprint) == (first.source, first.fingerprint)
    assert again.volatility.total.tolist() == first.volatility.total.tolist()
    assert again.volatility.seconds == first.volatility.seconds == 1800


def test_a_stretch_of_what_is_cached_needs_no_source(path):
    first = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    path.unlink()
    market.same(orb.load_sessions(warehouse(path), "TEST", start=DAYS[2], end=DAYS[4]), first.between(DAYS[2], DAYS[4]))


def test_only_the_missing_sessions_are_fetched_and_where_they_are_is_named(path, asked):
    stretch = orb.load_sessions(warehouse(path), "TEST", start=DAYS[1], end=DAYS[4])
    away = path.rename(path.with_name("away.sqlite"))
    with pytest.raises(Unreachable, match=r"w\.sqlite cannot be used.*4 of 5 sessions of TEST") as told:
        orb.load_sessions(warehouse(path), "TEST", start=DAYS[1], end=DAYS[5])
    assert f"missing are {DAYS[5]}" in str(told.value)
    market.same(orb.load_sessions(warehouse(path), "TEST", start=DAYS[1], end=DAYS[4]), stretch)
    away.rename(path)
    asked.clear()
    longer = orb.load_sessions(warehouse(path), "TEST", start=DAYS[0], end=DAYS[5])
    assert sorted(asked) == [DAYS[0], DAYS[5]]
    same_prices(longer, orb.load_sessions(greek_files.rows(DAYS[:6]), "TEST"))


def test_stretches_that_were_fetched_apart_make_the_same_whole(path, asked):
    for first, last in ((7, 8), (0, 2), (2, 7)):
        orb.load_sessions(warehouse(path), "TEST", start=DAYS[first], end=DAYS[last])
    found = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    assert sorted(asked) == sorted(DAYS)
    apart = orb.load_sessions(warehouse(path, connections=1), "TEST", cache=False, **WHOLE)
    market.same(found, apart)
    assert found.quality.facts == apart.quality.facts


@pytest.mark.mysql
def test_a_server_that_dies_and_comes_back(monkeypatch, asked):
    require_server()
    monkeypatch.setattr("orbresearch.sources.warehouse.connections._RETRY_SECONDS", (0.1, 0.1))
    with restartable_mysql() as restartable:
        url = url_of(restartable.server)
        orb.synthetic_warehouse(url, ["SPY"], 5, start=DAYS[0], per_second=1, progress=False)
        first = orb.load_sessions(orb.Warehouse(url), "SPY", start=DAYS[0], end=DAYS[2])
        open_already = orb.Warehouse(url)
        assert open_already.tickers() == ["SPY"]
        restartable.kill()
        for place in (orb.Warehouse(url), open_already):
            again = orb.load_sessions(place, "SPY", start=DAYS[0], end=DAYS[2])
            assert again.series.hash == first.series.hash
            with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{restartable.server.port}.*3 of 5 sessions of SPY"):
                orb.load_sessions(place, "SPY", start=DAYS[0], end=DAYS[4])
        restartable.start()
        asked.clear()
        longer = orb.load_sessions(open_already, "SPY", start=DAYS[0], end=DAYS[4])
        assert sorted(asked) == list(DAYS[3:5])
        fresh = orb.load_sessions(orb.Warehouse(url), "SPY", start=DAYS[0], end=DAYS[4], cache=False)
        market.same(longer, fresh)


def dies_at(monkeypatch, day, error):
    """Let a session's fetch fail; return what undoes it."""
    really = collect.read_seconds

    def read(connection, layout, ticker, first, last):
        if first == market.opened(day):
            raise error
        return really(connection, layout, ticker, first, last)

    monkeypatch.setattr(collect, "read_seconds", read)
    return lambda: monkeypatch.setattr(collect, "read_seconds", really)


@pytest.mark.parametrize("connections", [1, 4])
def test_a_source_that_dies_in_the_middle_leaves_what_came(path, monkeypatch, asked, connections):
    revive = dies_at(monkeypatch, DAYS[3], Unreachable("MySQL", "host:3306", "gone away", "start it"))
    with pytest.raises(Unreachable, match=r"MySQL at host:3306 cannot be used: gone away; start it") as told:
        orb.load_sessions(warehouse(path, connections=connections), "TEST", **WHOLE)
    came = sorted(set(asked))
    assert set(came) >= set(DAYS[:3])
    assert f"{len(came)} of {len(DAYS)} sessions of TEST are cached, missing are {DAYS[3]}" in str(told.value)
    revive()
    asked.clear()
    found = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    assert sorted(asked) == sorted(set(DAYS) - set(came))
    same_prices(found, orb.load_sessions(greek_files.rows(DAYS), "TEST"))


def test_a_source_that_dies_at_once_says_nothing_of_the_cache(path, monkeypatch, own_home):
    dies_at(monkeypatch, DAYS[0], Unreachable("MySQL", "host:3306", "gone away", "start it"))
    with pytest.raises(Unreachable) as told:
        orb.load_sessions(warehouse(path, connections=1), "TEST", start=DAYS[0], end=DAYS[0])
    assert str(told.value) == "MySQL at host:3306 cannot be used: gone away; start it"


def truncate(file):
    file.write_bytes(file.read_bytes()[:-20])


def alter(file):
    frame = pd.read_parquet(file)
    frame.loc[3, "vol_total"] += 1
    frame.to_parquet(file, index=False)


def lose_volatility(file):
    pd.read_parquet(file).drop(columns=["vol_total", "vol_rows"]).to_parquet(file, index=False)


@pytest.mark.parametrize("damage", [truncate, alter, lose_volatility, Path.unlink])
def test_a_damaged_session_is_named_and_fetched_again_alone(path, own_home, asked, caplog, damage):
    first = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    damage(folder_of(own_home, first) / f"{DAYS[4]}.parquet")
    asked.clear()
    with caplog.at_level(logging.WARNING):
        market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert f"{DAYS[4]}.parquet is" in caplog.text
    assert "again" in caplog.text
    assert asked == [DAYS[4]]
    caplog.clear()
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert asked == [DAYS[4]]
    assert not caplog.text
    assert names(own_home) == whole_of()


def test_two_damaged_sessions_are_both_fetched_again(path, own_home, asked):
    first = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    for day in DAYS[3:5]:
        truncate(folder_of(own_home, first) / f"{day}.parquet")
    asked.clear()
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert sorted(asked) == list(DAYS[3:5])


def test_a_lone_session_that_is_damaged_is_fetched_again(path, own_home, asked):
    first = orb.load_sessions(warehouse(path), "TEST", start=DAYS[0], end=DAYS[0])
    truncate(folder_of(own_home, first) / f"{DAYS[0]}.parquet")
    market.same(orb.load_sessions(warehouse(path), "TEST", start=DAYS[0], end=DAYS[0]), first)
    assert asked == [DAYS[0]] * 2


@pytest.mark.parametrize(
    "content", [b"", b'{"version": 4, "sess', b"[]", b"null", b'{"version": 4, "sessions": 3}', b"\xff"]
)
def test_a_damaged_manifest_is_named_and_made_again(path, own_home, asked, caplog, content):
    first = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    (folder_of(own_home, first) / "manifest.json").write_bytes(content)
    asked.clear()
    with caplog.at_level(logging.WARNING):
        market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert "manifest.json is damaged" in caplog.text
    assert sorted(asked) == sorted(DAYS)
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert sorted(asked) == sorted(DAYS)


def test_a_folder_of_an_older_version_is_fetched_anew(path, own_home, asked):
    first = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    manifest = folder_of(own_home, first) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 1}))
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert len(asked) == 2 * len(DAYS)


def test_an_error_in_the_prices_is_no_lost_connection(path):
    fill(path, greek_files.rows(("2024-07-15",)).assign(underlying=3e9))
    with pytest.raises(BadInput, match=r"ticker TEST: 3,000,000,000\.00 dollars are beyond int32"):
        orb.load_sessions(warehouse(path), "TEST", start=DAYS[0], end="2024-07-15")


def test_a_manifest_is_not_written_for_every_session(path, own_home, monkeypatch):
    written, really = [], cache.add_entries

    def add(folder, head, entries):
        written.append(len(entries))
        time.sleep(0.02)  # as a manifest of thousands of sessions takes
        really(folder, head, entries)

    monkeypatch.setattr(cache, "add_entries", add)
    found = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    assert sum(written) == len(DAYS)
    assert len(written) < len(DAYS) / 2
    monkeypatch.setattr(cache, "add_entries", really)
    path.unlink()
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), found)
