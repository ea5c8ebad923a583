"""What lies in cached_data/, how it is forgotten, and that nothing passes for the whole when some of it is gone."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress

import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.sources import load
from orbresearch.sources.cache import SessionSaver, keep_sessions, load_cached
from orbresearch.sources.manifests import cache_folder
from tests.sources import greek_files, market
from tests.sources.greek_files import fill, warehouse

WHOLE = {"start": "2024-07-02", "end": "2024-07-05"}
MIDDLE = {"start": "2024-07-03", "end": "2024-07-03"}
ODD = ["BRK.B", "A/B", "ä", "A-B", "../X"]
KINDS = {
    "first": "datetime64[s]",
    "last": "datetime64[s]",
    "sessions": "Int64",
    "empty": "Int64",
    "observations": "Int64",
    "bar_seconds": "Int64",
    "increment": "float64",
    "bytes": "Int64",
    "fetched_at": "datetime64[s, UTC]",
}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "prices.parquet"
    market.prices().to_parquet(path, index=False)
    return path


@pytest.fixture
def opened(monkeypatch):
    """Count how often a file is opened."""
    calls, really = [], load.open_table
    monkeypatch.setattr(load, "open_table", lambda *given: calls.append(given) or really(*given))
    return calls


def folder_of(home, sessions):
    return cache_folder(home / "cached_data", sessions.ticker, sessions.fingerprint)


def kinds(frame):
    return {name: str(frame[name].dtype) for name in KINDS}


def test_an_empty_home_has_nothing_cached(own_home):
    assert len(orb.cached()) == 0
    assert kinds(orb.cached()) == KINDS
    assert not (own_home / "cached_data").exists()


def test_a_row_says_what_is_cached(source, own_home, tmp_path):
    found = orb.load_sessions(source, "TEST")
    bars = tmp_path / "bars.csv"
    market.bars(ticker="BARS").to_csv(bars, index=False)
    orb.load_sessions(bars, "BARS", path="farther")
    listed = orb.cached()
    assert kinds(listed) == KINDS
    assert listed.ticker.tolist() == ["BARS", "TEST"]
    one = listed.iloc[1]
    assert (one.source, one.fingerprint) == ("file prices.parquet", found.fingerprint)
    assert (str(one["first"].date()), str(one["last"].date())) == ("2024-07-02", "2024-07-05")
    assert (one.sessions, one.empty, one.observations) == (3, 0, len(found.columns["time"]))
    assert (one.bar_seconds, one.path, one.increment) == (0, "", 0.01)
    assert one.bytes == sum(path.stat().st_size for path in folder_of(own_home, found).iterdir())
    assert abs(pd.Timestamp.now("UTC") - one.fetched_at) < pd.Timedelta(minutes=1)
    assert (listed.iloc[0].bar_seconds, listed.iloc[0].path) == (60, "farther")


def test_a_row_of_a_warehouse_counts_the_sessions_without_prices(tmp_path):
    frame = greek_files.rows()
    frame.loc[frame.timestamp_utc == market.opened("2024-07-05"), "underlying"] = 100.001
    path = fill(
        tmp_path / "w.sqlite",
        frame[~frame.timestamp_utc.between(*(market.opened("2024-07-03"), market.closed("2024-07-03")))],
    )
    found = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    one = orb.cached().iloc[0]
    assert (one.sessions, one["empty"], one.observations) == (2, 1, found.pointers[-1])
    assert (one.source, one.increment) == (str(path), 0.001)
    assert orb.forget("TEST", start="2024-07-03", end="2024-07-03") == 1
    assert orb.cached()["empty"].tolist() == [0]


def test_a_frame_that_a_run_has_kept_is_listed(own_home):
    kept = keep_sessions(own_home / "cached_data", orb.load_sessions(market.prices(), "TEST"))
    assert orb.cached().fingerprint.tolist() == [kept.fingerprint]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "damaged: "),
        (b"[]", "damaged: it is no manifest"),
        (b'{"version": 1}', "unfinished, or of an older version"),
        (None, "unfinished, or of an older version"),
    ],
)
def test_a_folder_that_cannot_be_read_says_so_and_can_be_forgotten(source, own_home, content, said):
    folder = folder_of(own_home, orb.load_sessions(source, "TEST"))
    (folder / "manifest.json").unlink() if content is None else (folder / "manifest.json").write_bytes(content)
    listed = orb.cached()
    assert listed.source[0].startswith(said)
    assert kinds(listed) == KINDS
    assert listed.bytes[0] > 0
    assert orb.forget("TEST", **MIDDLE) == 0
    assert folder.exists()
    assert orb.forget("TEST") == 0
    assert not folder.exists()


def test_what_is_not_ours_is_neither_listed_nor_removed(source, own_home):
    orb.load_sessions(source, "TEST")
    others = own_home / "cached_data" / "TEST-backup"
    others.mkdir()
    (others / "prices.csv").write_text("precious")
    (own_home / "cached_data" / ".gitkeep").touch()
    assert len(orb.cached()) == 1
    orb.forget("TEST")
    assert (others / "prices.csv").exists()
    assert len(orb.cached()) == 0


# --- forgetting


def test_a_session_forgotten_in_the_middle_of_a_file_is_read_again(source, opened):
    first = orb.load_sessions(source, "TEST")
    assert orb.forget("TEST", **MIDDLE) == 1
    assert orb.cached().sessions[0] == 2
    market.same(orb.load_sessions(source, "TEST"), first)
    assert len(opened) == 2
    market.same(orb.load_sessions(source, "TEST"), first)
    assert len(opened) == 2, "the source is read every time"


@pytest.mark.parametrize("gone", market.DAYS)
@pytest.mark.parametrize("dates", [{}, {"start": "2024-07-03"}, {"end": "2024-07-03"}, MIDDLE, WHOLE])
def test_no_stretch_of_a_file_lacks_what_was_forgotten(source, opened, gone, dates):
    expected = orb.load_sessions(source, "TEST", cache=False, **dates)
    orb.load_sessions(source, "TEST")
    orb.forget("TEST", start=gone, end=gone)
    opened.clear()
    market.same(orb.load_sessions(source, "TEST", **dates), expected)
    inside = dates.get("start", "") <= gone <= dates.get("end", "9999")
    assert len(opened) == inside  # a stretch that is whole is still served


def test_all_sessions_forgotten_take_their_folder_along(source, own_home, opened):
    first = orb.load_sessions(source, "TEST")
    assert orb.forget("TEST", start="2024-07-03") == 2
    assert folder_of(own_home, first).exists()
    assert orb.forget("TEST") == 1
    assert not folder_of(own_home, first).exists()
    market.same(orb.load_sessions(source, "TEST"), first)
    assert len(opened) == 2


def test_forgotten_sessions_of_a_warehouse_are_fetched_again_alone(tmp_path, asked):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    first = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    orb.forget("TEST", **MIDDLE)
    asked.clear()
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert asked == ["2024-07-03"]
    orb.forget("TEST")
    asked.clear()
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), first)
    assert sorted(asked) == list(market.DAYS)


def test_a_kept_run_whose_session_is_forgotten_is_not_there(own_home):
    sessions, cached = orb.load_sessions(market.prices(), "TEST"), own_home / "cached_data"
    kept = keep_sessions(cached, sessions)
    orb.forget("TEST", **MIDDLE)
    assert load_cached(cached, "TEST", kept.fingerprint, **WHOLE) is None
    assert keep_sessions(cached, sessions).fingerprint == kept.fingerprint
    market.same(load_cached(cached, "TEST", kept.fingerprint, **WHOLE), sessions)


def test_repairing_a_stretch_of_a_warehouse_leaves_the_facts_of_the_others(tmp_path, own_home):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    whole = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    folder, stretch = folder_of(own_home, whole), whole.between("2024-07-03")
    before = json.loads((folder / "manifest.json").read_text())
    (folder / "2024-07-05.parquet").write_bytes(b"")
    assert keep_sessions(own_home / "cached_data", stretch).fingerprint == whole.fingerprint
    assert json.loads((folder / "manifest.json").read_text()) == before
    path.unlink()
    market.same(orb.load_sessions(warehouse(path), "TEST", **WHOLE), whole)


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_listed_and_forgotten(tmp_path, own_home, name):
    path = tmp_path / "prices.parquet"
    frame = pd.concat([market.prices(ticker=name), market.prices()]).sort_values("timestamp_utc", kind="stable")
    frame.to_parquet(path, index=False)
    found = orb.load_sessions(path, name)
    orb.load_sessions(path, "TEST")
    assert folder_of(own_home, found).parent == own_home / "cached_data"
    assert sorted(orb.cached().ticker) == sorted([name, "TEST"])
    assert orb.forget(name) == 3
    assert orb.cached().ticker.tolist() == ["TEST"]
    market.same(orb.load_sessions(path, name), found)


def test_forgetting_by_list_and_by_fingerprint(tmp_path):
    path = tmp_path / "prices.parquet"
    frames = [market.prices(ticker=name) for name in ("A", "B", "C")]
    pd.concat(frames).to_parquet(path, index=False)
    plain = orb.load_sessions(path)
    finer = orb.load_sessions(path, "A", increment=0.001)
    assert orb.forget("A", fingerprint=finer.fingerprint) == 3
    assert orb.forget(fingerprint=plain["A"].fingerprint) == 3
    assert orb.forget(("B", "C"), end="2024-07-02") == 2
    assert orb.cached()[["ticker", "sessions"]].to_numpy().tolist() == [["B", 2], ["C", 2]]


@pytest.mark.parametrize(
    ("given", "what", "wrong"),
    [
        ({}, "forget", "neither a ticker nor a fingerprint"),
        ({"ticker": []}, "forget", "neither a ticker nor a fingerprint"),
        ({"ticker": "GONE"}, "ticker GONE", "is not in cached_data"),
        ({"ticker": ["TEST", "GONE"]}, "ticker GONE", "is not in cached_data"),
        ({"fingerprint": "0" * 32}, f"fingerprint {'0' * 32}", "is not in cached_data"),
        ({"ticker": "TEST", "fingerprint": "0" * 32}, f"fingerprint {'0' * 32}", "is not in cached_data"),
        ({"ticker": "TEST", "start": "soon"}, "start", "'soon' is no date"),
        (
            {"ticker": "TEST", "start": "2024-07-05", "end": "2024-07-02"},
            "end",
            "2024-07-02 lies before start 2024-07-05",
        ),
    ],
)
def test_what_cannot_be_forgotten_is_told_and_nothing_goes(source, given, what, wrong):
    orb.load_sessions(source, "TEST")
    with pytest.raises(BadInput) as told:
        orb.forget(**given)
    assert (told.value.what, told.value.wrong) == (what, wrong)
    assert orb.cached().sessions.tolist() == [3]


def test_in_an_empty_home_nothing_can_be_forgotten(own_home):
    with pytest.raises(BadInput, match="ticker SPY: is not in cached_data; there is nothing"):
        orb.forget("SPY")
    assert list(own_home.iterdir()) == []


def test_dates_without_cached_sessions_forget_nothing(source, opened):
    first = orb.load_sessions(source, "TEST")
    assert orb.forget("TEST", start="2030-01-01") == 0
    market.same(orb.load_sessions(source, "TEST"), first)
    assert len(opened) == 1


def test_a_fetch_beside_somebody_who_forgets_is_right(tmp_path, own_home):
    days = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-07-01", "2024-07-31"))
    path = fill(tmp_path / "w.sqlite", greek_files.rows(days, step=600))
    expected = orb.load_sessions(warehouse(path), "TEST", start=days[0], end=days[-1], cache=False)
    done = threading.Event()

    def forget():
        while not done.is_set():
            with suppress(BadInput):  # nothing is there at the moment
                orb.forget("TEST")
            orb.cached()
            time.sleep(0.05)

    other = threading.Thread(target=forget)
    other.start()
    try:
        for at in range(0, len(days), 4):
            with SessionSaver(own_home / "cached_data") as saver:
                saver.save(expected.between(days[at], days[at]))
        for at in range(0, len(days), 6):
            found = orb.load_sessions(warehouse(path), "TEST", start=days[at], end=days[min(at + 2, len(days) - 1)])
            assert found.series.hash == expected.between(found.dates[0], found.dates[-1]).series.hash
            assert len(found) == len(days[at : at + 3])
    finally:
        done.set()
        other.join()
    market.same(orb.load_sessions(warehouse(path), "TEST", start=days[0], end=days[-1]), expected)
    assert not list(own_home.rglob("*.part"))
