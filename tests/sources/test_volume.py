"""Volumes: from any source, through seconds and bars, into the cache and out of it; and nothing else changes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import load_sessions, make_plan, synthetic_sessions
from orbresearch.errors import Corrupt
from orbresearch.grid import ParameterGrid
from orbresearch.sources import load
from orbresearch.sources.cache import load_cached, save_sessions
from orbresearch.sources.manifests import cache_folder
from tests.sources import market
from tests.sources.test_load import write

OPEN = market.opened(market.DAYS[0])
GRID = ParameterGrid([0.5, 1], [1, 3], 60, 2)


def numbered(frame, name="volume"):
    """Return rows with volumes of which every sum tells what is in it, within a few rows."""
    return frame.assign(**{name: 1 + np.arange(len(frame)) % 1000})


BARS, PRICES = numbered(market.bars()), numbered(market.prices())
SOURCES = ["frame", "p.parquet", "p.csv", "p.csv.gz"]


def placed(frame, kind, folder):
    return frame if kind == "frame" else write(frame, folder / kind)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", ["volume", "Volume", "size"])
@pytest.mark.parametrize("numbers", ["int64", "float64"])
def test_every_price_has_the_volume_of_its_row(kind, name, numbers, tmp_path):
    frame = PRICES.astype({"volume": numbers}).rename(columns={"volume": name})
    found = load_sessions(placed(frame, kind, tmp_path), "TEST")
    assert found.volume.dtype == np.float64
    np.testing.assert_array_equal(found.volume, PRICES["volume"])


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("path", ["nearer", "farther"])
def test_the_volume_of_a_bar_stands_at_its_first_observation(kind, path, tmp_path):
    found = load_sessions(placed(BARS, kind, tmp_path), "TEST", path=path)
    np.testing.assert_array_equal(found.volume.reshape(-1, 4)[:, 0], BARS["volume"])
    assert not found.volume.reshape(-1, 4)[:, 1:].any()
    np.testing.assert_array_equal(found.volume > 0, found.columns["first_of_bar"])


def test_a_bar_that_is_its_close_only_keeps_its_volume():
    broken = BARS.copy()
    broken.loc[[0, 7], "high"] = [np.nan, -1.0]
    found = load_sessions(broken, "TEST")
    assert found.volume[:2].tolist() == [1, 2]
    assert found.volume.sum() == BARS["volume"].sum()
    seconds = numbered(market.bars(market.DAYS[:1], bar=1))
    np.testing.assert_array_equal(load_sessions(seconds, "TEST").volume, seconds["volume"])
    np.testing.assert_array_equal(load_sessions(BARS, "TEST", bar=0).volume, BARS["volume"])


def test_the_volume_of_the_bar_at_the_close_stands_at_its_print():
    last = BARS.tail(1).assign(timestamp_utc=market.closed(market.DAYS[-1]), volume=5000)
    later = last.assign(timestamp_utc=last["timestamp_utc"] + 60, volume=7000)
    found = load_sessions(pd.concat([BARS, last, later]), "TEST", stamp="start")
    assert found.volume[-1] == 5000
    assert found.volume.sum() == BARS["volume"].sum() + 5000


def test_end_stamped_and_descending_bars_have_the_same_volumes():
    expected = load_sessions(BARS, "TEST").volume
    for frame in (numbered(market.bars(stamp="end")), BARS.iloc[::-1]):
        np.testing.assert_array_equal(load_sessions(frame, "TEST").volume, expected)


def test_the_same_bar_twice_has_its_volume_once():
    again = BARS.iloc[[3]].assign(volume=900)
    found = load_sessions(pd.concat([BARS, again]), "TEST", stamp="start")
    assert found.quality["overruled"].sum() == 1
    assert found.volume[3 * 4] == 900
    assert found.volume.sum() == BARS["volume"].sum() - BARS["volume"][3] + 900


def test_bars_off_their_raster_have_their_volumes_once():
    odd = BARS.drop(columns="ticker").head(300)
    odd.loc[[100, 101], "timestamp_utc"] += [39, -20]
    found = load_sessions(odd, "TEST", bar=60, stamp="start")
    assert found.volume.sum() == odd["volume"].sum()


def test_all_volumes_of_a_second_add_up_those_of_overruled_rows_as_well():
    rows = [(0, 100.0, 5), (0, 101.0, 7), (1, 100.0, 1), (3, 99.0, 2), (3, 99.0, 3), (3, 98.0, 4)]
    frame = pd.DataFrame([(OPEN + time, price, volume) for time, price, volume in rows])
    found = load_sessions(frame.set_axis(["timestamp_utc", "price", "volume"], axis=1), "TEST")
    assert found.columns["time"].tolist() == [0, 1, 3]
    assert found.columns["price"].tolist() == [10_100, 10_000, 9_800]
    assert found.volume.tolist() == [12, 1, 9]


def test_rows_with_a_bad_price_count_for_nothing():
    frame = PRICES.copy()
    frame.loc[[10, 11, 12], "price"] = [0.0, np.nan, -1.0]
    found = load_sessions(frame, "TEST")
    np.testing.assert_array_equal(found.volume, frame["volume"].drop([10, 11, 12]))
    early = PRICES.head(1).assign(timestamp_utc=OPEN - 1, volume=999)
    late = PRICES.tail(1).assign(timestamp_utc=market.closed(market.DAYS[-1]) + 1, volume=999)
    np.testing.assert_array_equal(load_sessions(pd.concat([early, PRICES, late]), "TEST").volume, PRICES["volume"])


@pytest.mark.parametrize("frame", [BARS, PRICES], ids=["bars", "prices"])
def test_volumes_that_are_none_count_as_nothing_and_are_reported(frame):
    bad = frame.astype({"volume": float})
    bad.loc[[0, 5, 6, 7], "volume"] = [np.nan, -3.0, np.inf, -np.inf]
    found = load_sessions(bad, "TEST")
    assert found.volume.sum() == frame["volume"].drop([0, 5, 6, 7]).sum()
    assert found.quality["no_volume"].tolist() == [4, 0, 0]
    assert "notable: 4 rows without a usable volume, counted as 0" in found.quality.summary
    assert "volume" not in load_sessions(frame, "TEST").quality.summary


def test_missing_volumes_of_every_kind_of_source_count_as_nothing(tmp_path):
    frame = PRICES.astype({"volume": "Int64"})
    frame.loc[4, "volume"] = pd.NA
    expected = PRICES["volume"].where(PRICES.index != 4, 0)
    for kind in SOURCES:
        np.testing.assert_array_equal(load_sessions(placed(frame, kind, tmp_path), "TEST").volume, expected)
    nothing = PRICES.assign(volume=None)
    assert not load_sessions(nothing, "TEST").volume.any()


SECONDS = st.lists(
    st.tuples(
        st.integers(-2, 25),  # before the open there is no session
        st.sampled_from([1.0, 2.0, 2.01, 0.0, float("nan")]),
        st.sampled_from([0.0, 1.0, 2.5, 300.0, -1.0, float("nan"), float("inf")]),
    ),
    max_size=40,
).map(lambda rows: [*rows, (30, 1.0, 1.0)])  # a last row in the session: what is left is never nothing


@given(SECONDS)
def test_seconds_have_the_volumes_that_a_slow_count_finds(rows):
    frame = pd.DataFrame(rows, columns=["timestamp_utc", "price", "volume"])
    found = load_sessions(frame.assign(timestamp_utc=frame["timestamp_utc"] + OPEN), "TEST")
    expected = {}
    for time, price, volume in rows:
        if time >= 0 and price > 0:
            expected[time] = expected.get(time, 0.0) + (volume if 0 < volume < 1e9 else 0.0)
    assert found.columns["time"].tolist() == sorted(expected)
    assert found.volume.tolist() == [expected[time] for time in sorted(expected)]


def test_a_source_without_volumes_has_none():
    assert load_sessions(market.prices(), "TEST").volume is None
    assert load_sessions(PRICES, "TEST", columns={"volume": None}).volume is None
    assert synthetic_sessions(1).volume is None


@pytest.mark.parametrize("frame", [BARS, PRICES], ids=["bars", "prices"])
def test_volumes_change_no_tick_no_range_and_no_id(frame):
    found, bare = load_sessions(frame, "TEST"), load_sessions(frame.drop(columns="volume"), "TEST")
    market.same(replace(found, volume=None, quality=bare.quality), bare)
    surgeless = [pd.DataFrame(one.quality).drop(columns="surge") for one in (found, bare)]  # measured by volume
    pd.testing.assert_frame_equal(*surgeless)
    assert found.quality.findings == bare.quality.findings
    assert found.series.hash == bare.series.hash
    plans = [make_plan({"TEST": one}, GRID, 300) for one in (found, bare)]
    assert plans[0].run_id == plans[1].run_id


def test_a_stretch_and_the_other_path_keep_their_volumes():
    found = load_sessions(BARS, "TEST")
    part = found.between(market.DAYS[1], market.DAYS[1])
    first, last = found.pointers[1:3]
    np.testing.assert_array_equal(part.volume, found.volume[first:last])
    np.testing.assert_array_equal(found.other_path().volume, found.volume)
    assert load_sessions(market.prices(), "TEST").between(market.DAYS[1]).volume is None


# The cache


@pytest.fixture
def opened(monkeypatch):
    """Count how often a source is opened."""
    calls, really = [], load.open_table
    monkeypatch.setattr(load, "open_table", lambda *arguments: (calls.append(arguments), really(*arguments))[1])
    return calls


def folder_of(home, sessions):
    return cache_folder(home / "cached_data", sessions.ticker, sessions.fingerprint)


@pytest.mark.parametrize("volume", [True, False])
@pytest.mark.parametrize("frame", [BARS, PRICES], ids=["bars", "prices"])
def test_a_round_trip_through_the_cache_is_exact(frame, volume, tmp_path, own_home, opened):
    path = write(frame if volume else frame.drop(columns="volume"), tmp_path / "p.parquet")
    first, second = (load_sessions(path, "TEST") for _ in range(2))
    assert len(opened) == 1
    market.same(second, first)
    assert (second.volume is not None) == volume
    stored = pq.read_schema(folder_of(own_home, first) / "2024-07-02.parquet").names
    assert ("volume" in stored) == volume
    market.same(load_sessions(path, "TEST", start=market.DAYS[1]), first.between(market.DAYS[1]))


def test_what_is_read_without_volumes_is_cached_apart(tmp_path, opened):
    path = write(PRICES, tmp_path / "p.parquet")
    one, other = load_sessions(path, "TEST"), load_sessions(path, "TEST", columns={"volume": None})
    assert one.fingerprint != other.fingerprint
    assert load_sessions(path, "TEST", columns={"volume": None}).volume is None
    assert load_sessions(path, "TEST").volume is not None
    assert len(opened) == 2


def change_the_volume(table):
    volume = table["volume"].to_numpy().copy()
    volume[3] += 1
    return table.set_column(table.column_names.index("volume"), "volume", pa.array(volume))


def lose_the_volume(table):
    return table.drop_columns(["volume"])


@pytest.mark.parametrize("damage", [change_the_volume, lose_the_volume])
def test_a_damaged_volume_is_noticed_and_repaired(damage, tmp_path, own_home, opened):
    path = write(PRICES, tmp_path / "p.parquet")
    first = load_sessions(path, "TEST")
    damaged = folder_of(own_home, first) / "2024-07-03.parquet"
    pq.write_table(damage(pq.read_table(damaged)), damaged)
    with pytest.raises(Corrupt, match=r"2024-07-03\.parquet is damaged"):
        load_cached(own_home / "cached_data", "TEST", first.fingerprint)
    for _ in range(2):
        market.same(load_sessions(path, "TEST"), first)
    assert len(opened) == 2


def test_a_manifest_that_counts_otherwise_than_its_files_is_noticed(tmp_path, own_home, opened):
    path = write(PRICES, tmp_path / "p.parquet")
    first = load_sessions(path, "TEST")
    manifest = folder_of(own_home, first) / "manifest.json"
    found = json.loads(manifest.read_text())
    found["sessions"][market.DAYS[1]]["observations"] -= 1
    manifest.write_text(json.dumps(found))
    with pytest.raises(Corrupt, match=r"2024-07-03\.parquet is damaged: 1801 observations, not 1800 as its manifest"):
        load_cached(own_home / "cached_data", "TEST", first.fingerprint)
    for _ in range(2):
        market.same(load_sessions(path, "TEST"), first)
    assert len(opened) == 2


def make_old(folder):
    """Turn a folder into what the version before volumes wrote."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["columns"]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 1}))
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.select([name for name in table.column_names if name != "volume"]), path)


@pytest.mark.parametrize("frame", [PRICES, market.prices()], ids=["volume", "none"])
def test_a_folder_of_an_older_version_is_read_from_its_source_again(frame, tmp_path, own_home, opened):
    path = write(frame, tmp_path / "p.parquet")
    first = load_sessions(path, "TEST")
    make_old(folder_of(own_home, first))
    assert load_cached(own_home / "cached_data", "TEST", first.fingerprint) is None
    for _ in range(2):
        market.same(load_sessions(path, "TEST"), first)
    assert len(opened) == 2


def test_sessions_of_a_frame_replace_their_older_folder(own_home):
    cached_data = own_home / "cached_data"
    bare = load_sessions(market.prices(), "TEST")
    saved = save_sessions(cached_data, bare)
    make_old(folder_of(own_home, saved))
    again = save_sessions(cached_data, bare)
    assert again.fingerprint == saved.fingerprint
    market.same(load_cached(cached_data, "TEST", saved.fingerprint), bare)


def test_volumes_are_part_of_what_a_frame_is_filed_under_and_their_absence_is_not(own_home):
    cached_data = own_home / "cached_data"
    one, more = load_sessions(PRICES, "TEST"), load_sessions(PRICES.assign(volume=3), "TEST")
    bare = load_sessions(market.prices(), "TEST")
    saved = [save_sessions(cached_data, found) for found in (one, more, bare)]
    assert len({found.fingerprint for found in saved}) == 3
    assert saved[2].fingerprint == "cd4047303f6a40009495efe4f71467f7"
    for found in saved:
        market.same(load_cached(cached_data, "TEST", found.fingerprint), found)
