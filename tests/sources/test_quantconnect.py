"""Lean's data folder: minutes, seconds and ticks of US equities, by the wall clock of New York."""

import numpy as np
import pandas as pd
import pytest

from orbresearch import load_sessions
from orbresearch.errors import BadInput
from orbresearch.sources import load
from tests.sources import lean, market

#: Fridays and Mondays around both clock changes of 2024, and a half-day.
DAYS = ("2024-03-08", "2024-03-11", "2024-07-03", "2024-11-01", "2024-11-04")
MINUTES = market.bars(DAYS)
SECONDS = market.bars(market.DAYS[:1], bar=1)


def ticks(days=market.DAYS, seed=1):
    frame = market.prices(days, seed=seed).assign(size=100, exchange="P", condition="20000", suspicious=0)
    frame["timestamp_utc"] += np.random.default_rng(seed).integers(0, 1000, len(frame)) / 1000
    return frame


def read(root, ticker="TEST", **options):
    return load_sessions(root, ticker, layout="quantconnect", **options)


def plain(sessions):
    """Return what the sessions hold, without the report."""
    return sessions.series.hash, sessions.volume.tolist(), [str(label) for label in sessions.schedule.labels]


def test_minutes_are_those_of_the_frame_on_both_sides_of_every_clock_change(tmp_path):
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    found = read(tmp_path, bar=60)
    assert plain(found) == plain(load_sessions(MINUTES, "TEST", stamp="start"))
    assert (found.bar_seconds, len(found)) == (60, 5)
    assert found.quality["first"].tolist() == [0] * 5


@pytest.mark.parametrize("day", ["20240310", "20241103"])
def test_a_day_of_a_clock_change_is_read_by_the_wall_clock(day, tmp_path):
    """No exchange is open on such a Sunday: a row beside it shows which second its 09:30 is."""
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    lean.write_day(tmp_path, "minute", "TEST", day, "34200000,100,100,100,100,1\n")
    source = load.find_source(tmp_path, load.Reading(layout="quantconnect"), None)
    part = next(part for part in source.parts_of("TEST") if day in part.where)
    rows, _ = load.read_rows(source, "TEST", load.Reading(layout="quantconnect"))
    expected = pd.Timestamp(f"{day} 09:30", tz=lean.NEW_YORK).timestamp()
    assert part.table.num_rows == 1
    assert expected in rows.time


def test_seconds_are_those_of_the_frame(tmp_path):
    lean.write(tmp_path, "second", "TEST", SECONDS)
    found = read(tmp_path, bar=1)
    assert plain(found) == plain(load_sessions(SECONDS, "TEST"))
    assert found.bar_seconds == 1


@pytest.mark.parametrize("bar", [0, None])
def test_ticks_are_those_of_the_frame_and_suspicious_ones_take_no_part(bar, tmp_path):
    frame = ticks()
    doubted = frame.iloc[50:60].assign(price=999.0, suspicious=1)
    lean.write(tmp_path, "tick", "TEST", pd.concat([frame, doubted]).sort_values("timestamp_utc", ignore_index=True))
    found = read(tmp_path, bar=bar)
    expected = load_sessions(frame.drop(columns=["exchange", "condition"]), "TEST")
    assert plain(found) == plain(expected)
    assert "note: 10 ticks marked as suspicious, dropped" in found.quality.summary
    assert "closes of bars" not in found.quality.summary
    assert found.bar_seconds == 0


def test_auto_is_the_finest_resolution_that_the_ticker_has_and_is_named(tmp_path):
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    lean.write(tmp_path, "minute", "FINE", MINUTES)
    lean.write(tmp_path, "second", "FINE", SECONDS)
    found = read(tmp_path, None)
    assert {ticker: one.bar_seconds for ticker, one in found.items()} == {"FINE": 1, "TEST": 60}
    assert "note: read in resolution second, the finest there is" in found["FINE"].quality.summary
    assert "note: read in resolution minute, the finest there is" in found["TEST"].quality.summary
    assert list(read(tmp_path, None, bar=1)) == ["FINE"]
    assert "resolution" not in read(tmp_path, bar=60).quality.summary


def test_a_ticker_is_found_in_any_case(tmp_path):
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    assert read(tmp_path, "test").series.hash == read(tmp_path).series.hash


def test_prices_are_ten_thousandths(tmp_path):
    text = "".join(f"{34_200_000 + 60_000 * i},1234567,1234567,1234567,1234567,5\n" for i in range(390))
    lean.write_day(tmp_path, "minute", "TEST", "20240702", text)
    found = read(tmp_path, bar=60)
    assert found.increment == 0.0001
    assert set(found.columns["price"]) == {1_234_567}


def test_only_a_change_of_its_own_days_reads_a_ticker_again(tmp_path, monkeypatch):
    reads, really = [], load.read_rows
    monkeypatch.setattr(load, "read_rows", lambda *given: reads.append(given[1]) or really(*given))
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    first = read(tmp_path)
    lean.write(tmp_path, "minute", "OTHER", MINUTES)
    market.same(read(tmp_path), first)
    assert reads == ["TEST"]
    lean.write(tmp_path, "minute", "TEST", market.bars(("2024-07-05",)))
    assert len(read(tmp_path)) == len(first) + 1
    assert read(tmp_path, bar=60).fingerprint != first.fingerprint
    assert reads == ["TEST"] * 3


def test_what_is_no_such_folder_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no folder equity/usa in it; .*read from the folder that holds equity/"):
        read(tmp_path)
    with pytest.raises(BadInput, match=r"DataFrame: no folder equity/usa"):
        read(MINUTES)
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    with pytest.raises(BadInput, match=r"it is laid out as QuantConnect's data are; say layout=\"quantconnect\""):
        load_sessions(tmp_path, "TEST")
    with pytest.raises(BadInput, match=r"layout: 'lean' is not known; known are quantconnect"):
        load_sessions(tmp_path, "TEST", layout="lean")


@pytest.mark.parametrize("option", [{"columns": {"price": "close"}}, {"tz": "UTC"}, {"stamp": "end"}])
def test_what_the_layout_says_cannot_be_said_otherwise(option, tmp_path):
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    (name,) = option
    with pytest.raises(BadInput, match=rf"{name}: layout=\"quantconnect\" says it already; leave {name}= out"):
        read(tmp_path, **option)


def test_a_resolution_that_is_not_there_is_refused(tmp_path):
    lean.write(tmp_path, "minute", "TEST", MINUTES)
    with pytest.raises(BadInput, match=r"bar: 300 s is no resolution that is read; give 60 for minutes, 1 for seconds"):
        read(tmp_path, bar=300)
    with pytest.raises(BadInput, match=r"ticker TEST: no trades in resolution tick; it has minute \(bar=60\)"):
        read(tmp_path, bar=0)
    with pytest.raises(BadInput, match=r"no ticker 'SPY' in resolution tick or second or minute; it has TEST$"):
        read(tmp_path, "SPY")
    with pytest.raises(BadInput, match=r"no ticker 'SPY' in resolution second; it has no trades in that resolution"):
        read(tmp_path, "SPY", bar=1)
    for name in ("daily", "hour"):
        (tmp_path / "equity" / "usa" / name).mkdir()
        (tmp_path / "equity" / "usa" / name / "ibm.zip").write_bytes(b"")
    with pytest.raises(BadInput, match=r"ticker IBM: only hour and daily bars are there, which show no opening range"):
        read(tmp_path, "IBM")
    with pytest.raises(BadInput, match="it names no tickers"):
        read(tmp_path, None, bar=1)


DAMAGED = {
    "columns": (
        "34200000,1,1,1\n",
        r"20240702_trade\.zip/20240702_test_minute_trade\.csv: no readable CSV .*[Cc]olumns",
    ),
    "price": ("34200000,1,1,1,x,5\n", r"column 'close': row 0 is 'x', which is no number"),
    "clock": (
        "34200000,1,1,1,1,5\n86400000,1,1,1,1,5\n",
        r"row 1 is 8\.64e\+07 ms since midnight; give 0 to 86,400,000",
    ),
    "nothing": ("", r"no readable CSV \(Empty CSV file\)"),
}


@pytest.mark.parametrize(("text", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_day_is_refused_by_name(text, message, tmp_path):
    lean.write_day(tmp_path, "minute", "TEST", "20240702", text)
    with pytest.raises(BadInput, match=message):
        read(tmp_path)


def test_a_day_that_is_no_date_and_a_ticker_of_which_nothing_is_left_are_refused(tmp_path):
    lean.write_day(tmp_path, "minute", "TEST", "20241340", "34200000,1,1,1,1,5\n")
    with pytest.raises(BadInput, match=r"20241340_trade\.zip: 20241340 is no date; name files as Lean does"):
        read(tmp_path)
    lean.write_day(tmp_path, "tick", "LONE", "20240702", "34200000.5,10000,100,P,0,1\n")
    with pytest.raises(BadInput, match="ticker LONE: its tick files have no trades"):
        read(tmp_path, "LONE")
    path = lean.write_day(tmp_path, "minute", "TWICE", "20240702", "34200000,1,1,1,1,5\n")
    import zipfile

    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.csv", "")
    with pytest.raises(BadInput, match=r"several CSV files in the zip \(20240702_twice_minute_trade\.csv, more\.csv\)"):
        read(tmp_path, "TWICE")
