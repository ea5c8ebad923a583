"""The report on real files: no false alarm where they are read well, a loud one where they are not."""

import functools

import numpy as np
import pyarrow.parquet as pq
import pytest

from orbresearch import load_sessions
from orbresearch.sessions.quality import quality_of
from tests.sessions.test_real_data import (
    EQKER,
    FAKE,
    GREEKS,
    IMPERIAL,
    MINUTES,
    QUOTES,
    SECONDS,
    SPY,
    SPY_EXT,
    TICKS,
    UPRO,
    VIX,
)

SHIFTED, MISREAD = "a wrong time zone", "bars that look stamped at the other end"
CRASH, SPLIT, REVERSED = "2020-03-16", "2026-01-15", "AMCR"

#: file, ticker, length of bars, what their stamps are
READ_WELL = [
    (SPY, "SPY", 60, "start"),
    (SPY_EXT, "SPY", 60, "end"),
    (VIX, "VIX", 60, "end"),
    (UPRO, "UPRO", 60, "start"),
    (FAKE, "QQQ", 60, "start"),
    (EQKER, "AAPL", 60, "end"),
    (EQKER, "TSLA", 60, "end"),
    (IMPERIAL, "A", 60, "start"),
    (IMPERIAL, "SPY", 60, "start"),
    (MINUTES, "SPY", 60, "start"),
    (MINUTES, "GOOG", 60, "start"),
    (SECONDS, "SPY", 0, None),
    (SECONDS, "BAC", 0, None),
    (TICKS, "BAC", 0, None),
    (QUOTES, "BAC", 0, None),
]
IDS = [f"{name}-{ticker}" for name, ticker, *_ in READ_WELL]


@functools.cache
def _frame(path, ticker):
    frame = pq.read_table(path, filters=[("ticker", "=", ticker)]).to_pandas()
    if frame["timestamp_utc"].iloc[0] > 10**12:
        frame["timestamp_utc"] //= 10**9
    return frame


def severe(folder, name, ticker, bar, stamp, shift=0):
    """Return the kinds of severe findings when a file's rows are moved in time."""
    frame = _frame(folder / f"{name}.parquet", ticker)
    found = load_sessions(
        frame.assign(timestamp_utc=frame["timestamp_utc"] + shift), ticker, bar=bar, stamp=stamp, cache=False
    )
    return [finding.kind for finding in found.quality.findings if finding.severity == "severe"]


@pytest.mark.parametrize(("name", "ticker", "bar", "stamp"), READ_WELL, ids=IDS)
def test_a_file_that_is_read_well_is_not_said_to_be_shifted(name, ticker, bar, stamp, market_data):
    assert not {SHIFTED, MISREAD, "a suspected split"} & {*severe(market_data, name, ticker, bar, stamp)}


@pytest.mark.parametrize("hours", [-5, -1, 1, 5])
@pytest.mark.parametrize(("name", "ticker", "bar", "stamp"), READ_WELL, ids=IDS)
def test_a_file_that_is_hours_off_is_said_to_be(name, ticker, bar, stamp, hours, market_data):
    assert SHIFTED in severe(market_data, name, ticker, bar, stamp, hours * 3600)


BARS = [row for row in READ_WELL if row[3]]


@pytest.mark.parametrize(("name", "ticker", "bar", "stamp"), BARS, ids=[f"{row[0]}-{row[1]}" for row in BARS])
def test_a_file_whose_stamps_are_misread_is_said_to_be(name, ticker, bar, stamp, market_data):
    other = {"start": "end", "end": "start"}[stamp]
    assert severe(market_data, name, ticker, bar, other).count(MISREAD) == 1


@pytest.mark.parametrize("name", [EQKER, MINUTES])
def test_no_ticker_of_a_file_is_said_to_be_shifted_or_split(name, market_data):
    path = market_data / f"{name}.parquet"
    tickers = sorted(set(pq.read_table(path, columns=["ticker"])["ticker"].to_pylist()))
    found = quality_of(load_sessions(path, tickers, bar=60, cache=False))
    assert "severe" not in found.summary
    assert len(found.summary.splitlines()) < 12


@pytest.mark.slow
def test_of_530_tickers_one_was_split(market_data):
    path = market_data / f"{IMPERIAL}.parquet"
    tickers = sorted(set(pq.read_table(path, columns=["ticker"])["ticker"].to_pylist()))
    found = quality_of(load_sessions(path, tickers, bar=60, cache=False)).summary.splitlines()
    assert [line.split(":")[:2] for line in found if line.startswith("severe")] == [["severe", f" {REVERSED}"]]
    assert "notable: sessions missing in 530 of 530 tickers" in "\n".join(found)
    assert len(found) < 12


def reverse_split(folder, splits=None):
    return load_sessions(folder / f"{IMPERIAL}.parquet", REVERSED, bar=60, cache=False, splits=splits)


def test_a_real_reverse_split_is_suspected_until_it_is_declared(market_data):
    raw = reverse_split(market_data)
    assert len(raw.quality.severe) == 1
    assert f"at the open of {SPLIT}: this looks like a split of 1-for-5; if it is one" in raw.quality.severe[0]
    declared = reverse_split(market_data, [(REVERSED, SPLIT, 0.2)])
    assert declared.quality.severe == []
    assert "split" not in declared.quality.summary
    assert raw.features["gap"].abs().max() > 30
    assert declared.features["gap"].abs().max() < 2


def test_a_split_declared_for_prices_without_one_is_doubted(market_data):
    splits = [("SPY", "2024-08-05", 2)]
    found = load_sessions(market_data / f"{SPY}.parquet", "SPY", cache=False, splits=splits).quality
    assert found.severe == []
    assert "notable: a split of 2-for-1 is declared" in found.summary


def test_the_crash_of_a_leveraged_fund_is_no_split(market_data):
    found = load_sessions(market_data / f"{UPRO}.parquet", "UPRO", cache=False)
    assert np.log(found.quality.loc[CRASH, "open"] / found.quality["close"].shift()[CRASH]) < -0.35
    assert "split" not in found.quality.summary


@pytest.mark.parametrize("factor", [0.5, 0.1, 5.0])
@pytest.mark.parametrize(("name", "ticker"), [(SPY, "SPY"), (UPRO, "UPRO"), (VIX, "VIX")])
def test_a_split_put_into_a_real_file_is_named(name, ticker, factor, market_data):
    frame = _frame(market_data / f"{name}.parquet", ticker)
    found = load_sessions(frame, ticker, bar=60, stamp="end" if name == VIX else "start", cache=False)
    at = len(found) // 2
    day, after = str(found.schedule.labels[at]), frame["timestamp_utc"] >= found.schedule.opens[at]
    changed = frame.assign(
        **{column: frame[column] * np.where(after, factor, 1) for column in ("open", "high", "low", "price")}
    )
    options = {"bar": 60, "stamp": "end" if name == VIX else "start", "increment": 0.0001, "cache": False}
    said = [sentence for sentence in load_sessions(changed, ticker, **options).quality.severe if "split" in sentence]
    assert len(said) == 1
    assert f"at the open of {day}:" in said[0]


def test_the_file_that_poses_as_real_is_said_to_be_no_markets(market_data):
    found = load_sessions(market_data / f"{FAKE}.parquet", "QQQ", cache=False).quality
    assert len(found.severe) == 2
    assert all("does not look like the market's own" in sentence for sentence in found.severe)


def test_the_hole_of_an_otherwise_whole_file_is_named(market_data):
    found = load_sessions(market_data / f"{SPY_EXT}.parquet", "SPY", cache=False).quality
    assert "holes of half an hour and more: 2024-06-03" in found.summary


def test_the_options_file_is_said_to_cover_a_part_of_its_days(market_data):
    columns = {"price": "underlying"}
    found = load_sessions(market_data / f"{GREEKS}.parquet", "SPY", columns=columns, cache=False).quality
    assert found.severe == []
    assert "2025-07-08, 2025-07-09; the earliest ends 13493 s before the close" in found.summary
    assert "the longest 9185 s on 2025-07-08; holes of half an hour and more: 2025-07-08" in found.summary


def test_a_stretch_of_a_real_file_reports_on_itself(market_data):
    whole = load_sessions(market_data / f"{SPY}.parquet", "SPY", cache=False)
    part = whole.between("2024-07-01", "2024-07-31").quality
    assert "rows after the early close of 1 half-day" in part.summary
    assert "rounded" not in part.summary or part["rounded"].sum() > 0
    assert "extended hours" not in whole.between("2024-05-01", "2024-05-31").quality.summary
