"""Sessions from a warehouse are those that a file of the same rows gives."""

from __future__ import annotations

import logging
import sqlite3

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput, Unreachable
from orbresearch.sources.warehouse import collect
from tests.sources import greek_files, market
from tests.sources.greek_files import fill, same_prices, warehouse

POINT = orb.ParameterGrid(stop_distance=1, stop_count_limit=1, stop_cooloff_period=0, limit_distance=None)
WHOLE = {"start": "2024-07-02", "end": "2024-07-05"}


def ranges(sessions, duration):
    return orb.organize_opening_range_data(sessions, duration)


def mean_volatility(frame, day, duration):
    """Return a window's mean implied volatility near the money, row by row."""
    first = market.opened(day)
    found = [
        row.implied_volatility
        for row in frame.itertuples()
        if first <= row.timestamp_utc < first + duration and 0.4 < abs(row.delta) < 0.6 and row.implied_volatility > 0
    ]
    return sum(found) / len(found) if len(found) >= 2 else float("nan")


@pytest.mark.parametrize(
    "days", [market.DAYS, greek_files.MARCH, greek_files.NOVEMBER, ("2024-07-03",), ("2024-11-27", "2024-11-29")]
)
def test_sessions_are_those_of_a_file_of_the_same_rows(tmp_path, days):
    frame = greek_files.rows(days)
    found = orb.load_sessions(warehouse(fill(tmp_path / "w.sqlite", frame)), "TEST", start=days[0], end=days[-1])
    expected = orb.load_sessions(frame, "TEST")
    same_prices(found, expected)
    columns = ["rows", "dropped", "overruled", "reordered", "rounded", "observations", "open", "high", "low", "close"]
    columns += ["first", "last", "early_end", "gaps", "longest_gap"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(found.quality)[columns], pd.DataFrame(expected.quality)[columns], check_dtype=False
    )
    assert found.quality.severe == expected.quality.severe
    inside = [
        ((frame.timestamp_utc >= market.opened(day)) & (frame.timestamp_utc <= market.closed(day))) for day in days
    ]
    assert found.quality["rows"].tolist() == [int(one.sum()) for one in inside]
    assert found.quality.facts["rows"] == sum(int(one.sum()) for one in inside)  # extended hours are not asked for


@pytest.mark.parametrize("day", [*greek_files.MARCH, *greek_files.NOVEMBER, *greek_files.HALF_DAYS])
def test_a_session_opens_and_closes_when_the_calendar_says(tmp_path, day):
    found = orb.load_sessions(
        warehouse(fill(tmp_path / "w.sqlite", greek_files.rows((day,)))), "TEST", start=day, end=day
    )
    assert found.schedule.opens.tolist() == [market.opened(day)]
    assert found.columns["time"].tolist() == list(range(0, market.closed(day) - market.opened(day) + 1, 60))


def test_avg_vol_is_that_of_the_rows_up_to_the_window_that_was_collected(tmp_path):
    frame = greek_files.rows(step=20)
    found = orb.load_sessions(warehouse(fill(tmp_path / "w.sqlite", frame), volatility=900), "TEST", **WHOLE)
    whole = orb.load_sessions(frame, "TEST")
    for duration in (240, 300, 900):
        expected = [mean_volatility(frame, day, duration) for day in market.DAYS]
        assert ranges(found, duration).avg_vol.tolist() == pytest.approx(expected, rel=1e-12)
        assert ranges(found, duration).avg_vol.tolist() == ranges(whole, duration).avg_vol.tolist()
    for duration in (901, 1800):
        assert ranges(found, duration).avg_vol.isna().all()
        assert ranges(whole, duration).avg_vol.notna().all()


def test_a_rule_that_needs_more_volatility_than_was_collected_is_told_how_to_get_it(tmp_path):
    found = orb.load_sessions(
        warehouse(fill(tmp_path / "w.sqlite", greek_files.rows()), volatility=300), "TEST", **WHOLE
    )
    rules = orb.Rules(select=("avg_vol", ">", 0))
    assert len(orb.run_grid(found, POINT, range_duration=300, rules=rules)) == 1
    with pytest.raises(
        BadInput, match=r"up to 300 s: load from orb\.Warehouse\(volatility=\.\.\.\), or give a shorter"
    ):
        orb.run_grid(found, POINT, range_duration=301, rules=rules)


def test_without_a_volatility_window_there_is_no_avg_vol(tmp_path):
    found = orb.load_sessions(warehouse(fill(tmp_path / "w.sqlite", greek_files.rows()), volatility=0), "TEST", **WHOLE)
    assert found.volatility is None
    assert ranges(found, 300).avg_vol.isna().all()


def test_bad_prices_take_no_part(tmp_path):
    frame = greek_files.rows()
    bad = np.random.default_rng(5).random(len(frame)) < 0.3
    frame.loc[bad, "underlying"] = np.resize([np.nan, 0.0, -1.0], bad.sum())
    found = orb.load_sessions(warehouse(fill(tmp_path / "w.sqlite", frame)), "TEST", **WHOLE)
    expected = orb.load_sessions(frame, "TEST")
    same_prices(found, expected)
    assert ranges(found, 900).avg_vol.tolist() == ranges(expected, 900).avg_vol.tolist()


def test_where_nothing_can_be_cached_sessions_are_loaded_all_the_same(tmp_path, own_home, caplog):
    (own_home / "cached_data").write_text("no folder")
    frame = greek_files.rows()
    found = orb.load_sessions(warehouse(fill(tmp_path / "w.sqlite", frame)), "TEST", **WHOLE)
    same_prices(found, orb.load_sessions(frame, "TEST"))
    assert "TEST is not cached" in caplog.text


def test_a_session_without_any_usable_price_is_missing(tmp_path):
    frame = greek_files.rows()
    day = (frame.timestamp_utc >= market.opened("2024-07-03")) & (frame.timestamp_utc <= market.closed("2024-07-03"))
    frame.loc[day, "underlying"] = np.resize([np.nan, 0.0, -1.0, 0.00001], day.sum())
    found = orb.load_sessions(warehouse(fill(tmp_path / "w.sqlite", frame)), "TEST", **WHOLE)
    assert [str(label) for label in found.schedule.labels] == ["2024-07-02", "2024-07-05"]
    assert found.quality.facts["missing"] == ["2024-07-03"]


def test_one_session_below_a_cent_makes_all_increments_finer(tmp_path):
    frame = greek_files.rows()
    frame.loc[frame.timestamp_utc == market.opened("2024-07-05"), "underlying"] = 100.125
    found = orb.load_sessions(warehouse(fill(tmp_path / "w.sqlite", frame)), "TEST", **WHOLE)
    assert found.increment == 0.005
    same_prices(found, orb.load_sessions(frame, "TEST"))
    cents = orb.load_sessions(warehouse(tmp_path / "w.sqlite"), "TEST", start="2024-07-02", end="2024-07-03")
    assert cents.increment == 0.01
    assert (found.columns["price"][: cents.pointers[-1]] == 2 * cents.columns["price"]).all()
    same_prices(orb.load_sessions(warehouse(tmp_path / "w.sqlite"), "TEST", **WHOLE), found)


def test_a_price_beyond_the_finer_increments_is_told(tmp_path):
    frame = greek_files.rows()
    frame.loc[frame.timestamp_utc == market.opened("2024-07-05"), "underlying"] = 100.0001
    frame.loc[frame.timestamp_utc == market.opened("2024-07-02"), "underlying"] = 700_000.0
    path = fill(tmp_path / "w.sqlite", frame)
    with pytest.raises(
        BadInput, match=r"700,000\.00 dollars are beyond int32 increments of 0\.0001.*increment="
    ) as told:
        orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    assert told.value.what == "increment"
    assert orb.load_sessions(warehouse(path), "TEST", increment=0.01, **WHOLE).increment == 0.01


def test_sessions_without_rows_are_missing_and_not_asked_for_again(tmp_path, monkeypatch):
    days = ("2024-07-01", "2024-07-05", "2024-07-08")
    path = fill(tmp_path / "w.sqlite", greek_files.rows(days))
    asked = []
    really = collect.read_seconds
    monkeypatch.setattr(collect, "read_seconds", lambda *given: asked.append(given[3]) or really(*given))
    found = orb.load_sessions(warehouse(path), "TEST", start="2024-06-28", end="2024-07-08")
    assert found.quality.facts["missing"] == ["2024-07-02", "2024-07-03"]
    assert len(asked) == 6
    again = orb.load_sessions(warehouse(path), "TEST", start="2024-06-28", end="2024-07-08")
    assert len(asked) == 6
    market.same(again, found)
    assert "2 of" in found.quality.summary or "2024-07-02" in found.quality.summary


def test_sessions_that_the_warehouse_does_not_have_yet_are_asked_for_again(tmp_path, caplog):
    path = fill(tmp_path / "w.sqlite", greek_files.rows(("2024-07-02", "2024-07-03")))
    first = orb.load_sessions(warehouse(path), "TEST", start="2024-07-02", end="2024-07-09")
    assert len(first) == 2
    assert "TEST has prices from 2024-07-02 to 2024-07-03 only, not from 2024-07-02 to 2024-07-09" in caplog.text
    with pytest.raises(BadInput, match="no prices from 2024-07-05 to 2024-07-09"):
        orb.load_sessions(warehouse(path), "TEST", start="2024-07-05", end="2024-07-09")
    fill(path, greek_files.rows(("2024-07-05", "2024-07-09")))
    found = orb.load_sessions(warehouse(path), "TEST", start="2024-07-02", end="2024-07-09")
    assert [str(label) for label in found.schedule.labels] == ["2024-07-02", "2024-07-03", "2024-07-05", "2024-07-09"]
    assert found.quality.facts["missing"] == ["2024-07-08"]


def test_sessions_remembered_as_empty_are_asked_for_again_once_they_are_forgotten(tmp_path):
    path, before = fill(tmp_path / "w.sqlite", greek_files.rows(("2024-07-03",))), {"end": "2024-07-02"}
    orb.load_sessions(warehouse(path), "TEST", start="2024-07-02", end="2024-07-03")
    fill(path, greek_files.rows(("2024-07-02",)))
    with pytest.raises(BadInput, match=r'if they came after it was asked first, orb\.forget\("TEST"\)'):
        orb.load_sessions(warehouse(path), "TEST", start="2024-07-02", **before)
    orb.forget("TEST", **before)
    assert len(orb.load_sessions(warehouse(path), "TEST", start="2024-07-02", **before)) == 1


def test_a_ticker_without_rows_is_told_and_found_once_it_has_some(tmp_path):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    for dates in ({}, WHOLE, {"start": "2024-07-02"}):
        with pytest.raises(BadInput, match=r"ticker GONE: no prices .*w\.sqlite"):
            orb.load_sessions(warehouse(path), "GONE", **dates)
    fill(path, greek_files.rows(ticker="GONE"))
    assert len(orb.load_sessions(warehouse(path), "GONE", **WHOLE)) == 3


def test_dates_without_a_session_are_told(tmp_path):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    with pytest.raises(BadInput, match="XNYS has no session from 2024-07-06 to 2024-07-07"):
        orb.load_sessions(warehouse(path), "TEST", start="2024-07-06", end="2024-07-07")
    with pytest.raises(BadInput, match=r"has prices from 2024-07-02 to 2024-07-05 only"):
        orb.load_sessions(warehouse(path), "TEST", start="2024-08-01")
    with pytest.raises(BadInput, match=r"has prices from 2024-07-02 to 2024-07-05 only"):
        orb.load_sessions(warehouse(path), "TEST", end="2024-06-01")


def test_without_dates_all_that_there_is(tmp_path):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    whole = orb.load_sessions(warehouse(path), "TEST")
    market.same(whole, orb.load_sessions(warehouse(path), "TEST", **WHOLE))
    market.same(orb.load_sessions(warehouse(path), "TEST", start="2024-07-03"), whole.between("2024-07-03"))
    market.same(orb.load_sessions(warehouse(path), "TEST", end="2024-07-03"), whole.between(None, "2024-07-03"))


@pytest.mark.parametrize("after_close", [-1, 60])
def test_a_session_that_is_not_over_is_left_out(tmp_path, monkeypatch, caplog, after_close):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    monkeypatch.setattr(collect.time, "time", lambda: market.closed("2024-07-05") + after_close)
    with caplog.at_level(logging.WARNING):
        found = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    assert str(found.schedule.labels[-1]) == "2024-07-03"
    assert "2024-07-05 is not over" in caplog.text
    with pytest.raises(BadInput, match="that is over"):
        orb.load_sessions(warehouse(path), "TEST", start="2024-07-05", end="2024-07-05")
    monkeypatch.setattr(collect.time, "time", lambda: market.closed("2024-07-05") + 7200)
    assert len(orb.load_sessions(warehouse(path), "TEST", **WHOLE)) == 3


def test_several_tickers_or_all(tmp_path):
    frame = pd.concat([greek_files.rows(), greek_files.rows(ticker="A/B ä", seed=2)]).sort_values(
        "timestamp_utc", kind="stable"
    )
    path = fill(tmp_path / "w.sqlite", frame)
    whole = orb.load_sessions(frame)
    for ticker in (None, ["TEST", "A/B ä"]):
        found = orb.load_sessions(warehouse(path), ticker, **WHOLE)
        assert sorted(found) == ["A/B ä", "TEST"]
        for name in found:
            same_prices(found[name], whole[name])


@pytest.mark.parametrize("connections", [1, 8])
def test_the_number_of_connections_changes_nothing(tmp_path, connections):
    frame = greek_files.rows(
        tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-03-01", "2024-03-14"))
    )
    path = fill(tmp_path / "w.sqlite", frame)
    found = orb.load_sessions(warehouse(path, connections=connections), "TEST", start="2024-03-01", end="2024-03-14")
    same_prices(found, orb.load_sessions(frame, "TEST"))


def test_without_the_cache_nothing_is_kept(tmp_path, own_home, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(collect.tempfile, "tempdir", None)
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    found = orb.load_sessions(warehouse(path), "TEST", cache=False, **WHOLE)
    assert list(own_home.rglob("*.parquet")) == list((tmp_path / "tmp").rglob("*")) == []
    same_prices(found, orb.load_sessions(warehouse(path), "TEST", **WHOLE))
    path.unlink()
    with pytest.raises(Unreachable):
        orb.load_sessions(warehouse(path), "TEST", cache=False, **WHOLE)


def test_what_changes_what_is_read_is_cached_apart(tmp_path):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other AS SELECT * FROM greeks")
    connection.close()
    plain = orb.load_sessions(warehouse(path), "TEST", **WHOLE)
    found = [
        orb.load_sessions(warehouse(path), "TEST", increment=0.001, **WHOLE),
        orb.load_sessions(warehouse(path), "TEST", calendar="XNAS", **WHOLE),
        orb.load_sessions(warehouse(path, volatility=60), "TEST", **WHOLE),
        orb.load_sessions(warehouse(path, greeks="options.other"), "TEST", **WHOLE),
        orb.load_sessions(warehouse(path, columns={"underlying": "strike"}), "TEST", **WHOLE),
    ]
    assert len({one.fingerprint for one in [plain, *found]}) == 6
    assert found[0].increment == 0.001
    assert (found[0].columns["price"] == 10 * plain.columns["price"]).all()
    assert orb.load_sessions(warehouse(path, connections=1), "TEST", **WHOLE).fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    "option",
    [
        {"stamp": "end"},
        {"tz": "UTC"},
        {"columns": {"price": "p"}},
        {"layout": "quantconnect"},
        {"bar": 60},
        {"path": "farther"},
    ],
)
def test_options_about_files_are_refused(tmp_path, option):
    path = fill(tmp_path / "w.sqlite", greek_files.rows())
    with pytest.raises(BadInput, match=rf"{next(iter(option))}=: a warehouse holds single prices at UTC seconds"):
        orb.load_sessions(warehouse(path), "TEST", **WHOLE, **option)
