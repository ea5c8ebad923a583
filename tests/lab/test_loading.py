"""Many tickers loaded by a lab's workers are those that orb.load_sessions loads; a run needs its warehouse no more."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput, Unreachable
from orbresearch.lab import loading
from orbresearch.lab.display import backtest
from tests.lab.conftest import GRID
from tests.sources import greek_files, market
from tests.sources.greek_files import fill, warehouse

pytestmark = pytest.mark.usefixtures("lab_home")
TICKERS = ["AAA", "BRK.B", "C/D", "ä", "EEE", "FFF", "GGG", "HHH", "III", "JJJ"]
DAYS = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-07-01", "2024-07-12"))


@pytest.fixture(scope="module")
def frame():
    many = [market.prices(ticker=name, seed=seed, step=60) for seed, name in enumerate(TICKERS)]
    return pd.concat(many).sort_values("timestamp_utc", kind="stable", ignore_index=True)


@pytest.fixture(scope="module")
def source(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("prices") / "prices.parquet"
    frame.to_parquet(path, index=False)
    return path


@pytest.fixture
def batches(lab, monkeypatch):
    """Keep what is sent to the workers."""
    sent, really = [], lab.client.map

    def send(function, given, **options):
        sent.extend(names for _, names, _ in given)
        return really(function, given, **options)

    monkeypatch.setattr(lab.client, "map", send)
    return sent


def same(found, expected):
    assert list(found) == list(expected)
    for name, item in found.items():
        market.same(item, expected[name])
        assert item.series.hash == expected[name].series.hash
        assert (item.source, item.fingerprint) == (expected[name].source, expected[name].fingerprint)
        assert item.quality.facts == expected[name].quality.facts


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("ticker", [None, TICKERS[:4], ("JJJ", "AAA", "JJJ")], ids=["all", "list", "twice"])
def test_the_workers_load_what_is_loaded_here(lab, source, batches, ticker, cache):
    options = {"start": "2024-07-03", "increment": 0.01, "splits": [("AAA", "2024-07-05", 2)], "cache": cache}
    found = lab.load_sessions(source, ticker, **options)
    same(found, orb.load_sessions(source, ticker, **options))
    assert sorted(name for names in batches for name in names) == sorted(found)
    assert len(batches) > 1
    assert lab.closed is False


def test_paths_are_understood_as_they_are_here(lab, source, monkeypatch):
    expected = orb.load_sessions(source)
    monkeypatch.chdir(source.parent)
    same(lab.load_sessions("prices.parquet"), expected)
    monkeypatch.setenv("HOME", str(source.parent))
    same(lab.load_sessions("~/prices.parquet"), expected)
    same(lab.load_sessions("~/prices.parquet", "EEE"), {"EEE": expected["EEE"]})


def test_a_folder_of_files_is_loaded_by_the_workers(lab, frame, tmp_path, batches):
    for name in ("AAA", "EEE", "FFF"):
        frame[frame.ticker == name].drop(columns="ticker").to_csv(tmp_path / f"{name}.csv", index=False)
    same(lab.load_sessions(tmp_path), orb.load_sessions(tmp_path))
    assert len(batches) == 3


def test_one_ticker_a_frame_and_a_warehouse_are_loaded_here(lab, frame, source, tmp_path, batches):
    same(lab.load_sessions(source, "AAA"), {"AAA": orb.load_sessions(source, "AAA")})
    same(lab.load_sessions(source, ["AAA"]), {"AAA": orb.load_sessions(source, "AAA")})
    same(lab.load_sessions(frame), orb.load_sessions(frame))
    rows = pd.concat([greek_files.rows(), greek_files.rows(ticker="OTHER", seed=2)])
    path = fill(tmp_path / "w.sqlite", rows.sort_values("timestamp_utc", kind="stable"))
    same(lab.load_sessions(warehouse(path)), orb.load_sessions(warehouse(path)))
    assert batches == []


def test_what_goes_wrong_in_a_worker_is_told_here(lab, source, tmp_path):
    with pytest.raises(BadInput, match=r"GONE"):
        lab.load_sessions(source, ["AAA", "GONE", "EEE"])
    with pytest.raises(BadInput, match="no session with prices from 2030-01-01"):
        lab.load_sessions(source, start="2030-01-01")
    with pytest.raises(BadInput, match="does not exist"):
        lab.load_sessions(tmp_path / "none.parquet")
    with pytest.raises(BadInput, match="ticker"):
        lab.load_sessions(source, [])


def test_batches_hold_every_ticker_once_and_leave_no_slot_idle(source):
    sent = []
    client = SimpleNamespace(map=lambda _, given, **__: sent.extend(given), gather=lambda _: [])
    loading.load_over(client, 2, source, [f"T{i}" for i in range(100)], {})
    names = [name for _, batch, _ in sent for name in batch]
    assert names == [f"T{i}" for i in range(100)]
    assert len(sent) == 8
    assert max(len(batch) for _, batch, _ in sent) - min(len(batch) for _, batch, _ in sent) <= 4


def test_one_report_on_many_tickers_is_told_and_stored(lab, frame, capsys):
    spoiled = frame.copy()
    zero = spoiled.ticker.isin(TICKERS[:7]) & (spoiled.timestamp_utc == market.opened("2024-07-05") + 600)
    spoiled.loc[zero, "price"] = 0.0
    sessions = lab.load_sessions(spoiled)
    capsys.readouterr()
    run = submit(lab, sessions)
    said = capsys.readouterr().out
    severe = [line for line in said.splitlines() if line.startswith("severe")]
    assert len(severe) == 1
    assert "zero prices in 7 of 10 tickers (" in severe[0]
    stored = run.facts()["quality"]
    assert stored == orb.quality_of(sessions).summary
    assert severe[0] in stored.splitlines()


# --- runs over a warehouse


@pytest.fixture
def place(tmp_path):
    return fill(tmp_path / "w.sqlite", greek_files.rows(DAYS))


def stats_of(run):
    return {row.backtest_id: orb.trade_stats(row.backtest_id) for row in run.results().head(3).itertuples()}


def profits(run, stats):
    """Assert that what was done on each session adds up to what the store says."""
    stored = run.results().set_index("backtest_id").backtest_profit
    for backtest_id, days in stats.items():
        assert sum(day["snp"] for day in days.values()) == pytest.approx(stored[backtest_id], abs=1e-9)


def load(place, first, last):
    return orb.load_sessions(warehouse(place), "TEST", start=DAYS[first], end=DAYS[last])


def submit(lab, sessions):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return lab.submit(sessions, GRID, range_duration=300).wait()


def test_a_run_is_open_without_its_warehouse_and_beside_sessions_that_came_later(lab, place):
    run = submit(lab, load(place, 2, 5))
    before = stats_of(run)
    profits(run, before)
    assert all(set(days) == set(DAYS[2:6]) for days in before.values())
    load(place, 0, 8)
    assert stats_of(run) == before
    place.unlink()
    assert stats_of(run) == before
    assert backtest(run.results().backtest_id[0]).trade_stats() == before[run.results().backtest_id[0]]
    with pytest.raises(Unreachable):
        warehouse(place).tickers()
    assert len(orb.cached().query("ticker == 'TEST'").query(f"source == '{place}'")) == 1  # nothing was kept twice


def test_a_run_over_sessions_of_different_increments_is_open_without_its_warehouse(lab, tmp_path):
    rows = greek_files.rows(DAYS)
    rows.loc[rows.timestamp_utc == market.opened(DAYS[4]), "underlying"] = 100.125
    place = fill(tmp_path / "w.sqlite", rows)
    run = submit(lab, load(place, 2, 5))
    stretch = submit(lab, load(place, 0, 8).between(DAYS[0], DAYS[2]))  # in finer increments than its own
    before, other = stats_of(run), stats_of(stretch)
    profits(run, before)
    profits(stretch, other)
    place.unlink()
    assert stats_of(run) == before
    assert stats_of(stretch) == other
    orb.forget("TEST", start=DAYS[8])  # no session of theirs
    assert stats_of(run) == before


def test_a_run_whose_session_is_forgotten_says_so_and_is_open_again_once_it_is_loaded(lab, place):
    sessions = load(place, 0, 3)
    run = submit(lab, sessions)
    before = stats_of(run)
    orb.forget(fingerprint=sessions.fingerprint, start=DAYS[1], end=DAYS[1])
    with pytest.raises(BadInput, match=rf"TEST's prices from {DAYS[0]} to {DAYS[3]} are not in"):
        stats_of(run)
    load(place, 0, 3)
    assert stats_of(run) == before


def test_a_url_is_refused_without_its_password(lab):
    with pytest.raises(BadInput, match=r"give orb\.Warehouse\(url\)") as caught:
        lab.load_sessions("mysql://user:sec-ret@host:3306", ["A", "B"])
    assert "sec-ret" not in str(caught.value)
