"""Real, dirty files: each loads, its report names its faults, and nothing happens outside a session."""

import re

import numpy as np
import pandas as pd
import pytest

from orbresearch import ParameterGrid, Rules, load_sessions, organize_opening_range_data, run_backtest, run_grid
from orbresearch.errors import BadInput
from orbresearch.sources.files.tables import open_table
from tests.sessions import real

SPY, SPY_EXT = "spy_1min_2024_2025", "spy_1min_ext_2024jun_endstamped"
VIX, UPRO, EQKER = "vix_1min_2023_2026", "upro_1min_2020", "eqker_1min_2019_24tickers"
FAKE, IMPERIAL = "FAKE_qqq_1min_2025", "imperial_1min_2026_530tickers"
MINUTES, SECONDS = "lean_minute_trades_dev", "lean_second_trades_dev"
TICKS, QUOTES, GREEKS = "lean_tick_trades_dev", "lean_second_quotes_dev", "greeks_spy_0dte_10s_2025_dev"
EPOCH = pd.Timestamp(0, tz="UTC")

#: file, ticker, options, sessions
FILES = [
    (SPY, "SPY", {}, 256),
    (SPY, "SPY", {"path": "farther"}, 256),
    (SPY, "SPY", {"bar": 0}, 256),
    (SPY_EXT, "SPY", {}, 30),
    (VIX, "VIX", {}, 756),
    (UPRO, "UPRO", {}, 231),
    (EQKER, "AAPL", {}, 5),
    (EQKER, "UGA", {"bar": 60}, 5),
    (EQKER, "TSLA", {"stamp": "end"}, 5),
    (FAKE, "QQQ", {}, 44),
    (IMPERIAL, "A", {}, 10),
    (IMPERIAL, "SPY", {}, 10),
    (MINUTES, "SPY", {}, 5),
    (MINUTES, "GOOG", {}, 3),
    (MINUTES, "SHY", {}, 2),
    (MINUTES, "TWX", {}, 4),
    (SECONDS, "SPY", {}, 3),
    (SECONDS, "BAC", {"bar": 0}, 3),
    (TICKS, "SPY", {}, 3),
    (TICKS, "BAC", {}, 3),
    (QUOTES, "SPY", {}, 3),
    (QUOTES, "BAC", {}, 3),
]
IDS = [f"{name}-{ticker}-{'-'.join(map(str, options.values()))}" for name, ticker, options, _ in FILES]


@pytest.mark.parametrize(("name", "ticker", "options", "count"), FILES, ids=IDS)
def test_every_session_of_a_file_is_one_of_the_exchange(name, ticker, options, count, market_data):
    found = real.load(market_data, name, ticker, **options)
    assert len(found) == count
    for day, opened, closed in zip(found.dates, found.schedule.opens, found.schedule.closes, strict=True):
        assert real.calendar().is_session(day)
        assert (opened, closed) == real.bounds(day)


@pytest.mark.parametrize(("name", "ticker", "options", "count"), FILES, ids=IDS)
def test_no_observation_lies_outside_a_session(name, ticker, options, count, market_data):
    found = real.load(market_data, name, ticker, **options)
    assert found.columns["price"].min() > 0
    for i, day in enumerate(found.dates):
        opened, closed = real.bounds(day)
        time = found.observations(i)["time"]
        assert time[0] >= 0
        assert time[-1] <= closed - opened
        assert (np.diff(time) > 0).all()


RUNS = [
    (300, "auto", (0.05, 3, 0, 0.1)),
    (1800, "seen", (0.3, 2, 60, 1.0)),
    (3600, "level", (2.0, 1, 300, 5.0)),
    (60, "auto", (0.01, 8, 1, 0.02)),
]


@pytest.mark.parametrize("run", RUNS, ids=str)
@pytest.mark.parametrize(("name", "ticker", "options", "count"), FILES, ids=IDS)
def test_no_trade_happens_outside_a_session(name, ticker, options, count, run, market_data):
    found = real.load(market_data, name, ticker, **options)
    duration, fill, (stop, stop_count, cooloff, limit) = run
    one = run_backtest(found, duration, stop, stop_count, cooloff, limit, Rules(fill=fill))
    start = organize_opening_range_data(found, duration)["trading_start"]
    trades = one.trades
    assert len(trades) == one.stats["trades"] > 0
    entries, exits = ((trades[f"{what}_time"] - EPOCH) // pd.Timedelta(seconds=1) for what in ("entry", "exit"))
    opened, closed = (trades["session"].map(lambda day, i=i: real.bounds(day)[i]) for i in (0, 1))
    assert (entries >= opened + duration).all()
    assert (entries >= trades["session"].map(start)).all()
    assert (exits >= entries).all()
    assert (exits <= closed).all()
    again = trades["session"].eq(trades["session"].shift())
    assert (entries - exits.shift() >= max(1, cooloff))[again].all()
    assert (trades["exit_reason"].shift() == "stop")[again].all()
    stops = (trades["exit_reason"] == "stop").groupby(trades["session"]).sum()
    assert stops.max() <= stop_count
    assert trades["exit_reason"].isin(["limit", "stop", "close"]).all()


FAULTS = [
    (SPY, "SPY", "notable: 393 rows after the early close of 3 half-days, dropped"),
    (SPY, "SPY", "255 bars? .*at the close"),
    (SPY, "SPY", "note: 1,325 rows before the open, dropped"),
    (SPY, "SPY", "note: 999 rows after the regular close, dropped"),
    (SPY, "SPY", "note: 5 rows with a price rounded to whole increments of 0.0001"),
    (SPY, "SPY", "notable: 1 session without prices in the last two minutes: 2025-04-02"),
    (SPY_EXT, "SPY", "note: bars are stamped at their end; stamps were moved back by 60 s"),
    (SPY_EXT, "SPY", "notable: 162 rows after the early close of 1 half-day, dropped"),
    (SPY_EXT, "SPY", "note: 6,173 rows before the open, dropped"),
    (VIX, "VIX", r"severe: 431 zero prices, dropped \(37 of them inside sessions"),
    (VIX, "VIX", "note: bars are stamped at their end; stamps were moved back by 60 s"),
    (VIX, "VIX", "notable: 1,409 rows in trading hours of 22 days on which .* closed"),
    (VIX, "VIX", "note: 458 rows on days without a session, dropped"),
    (VIX, "VIX", "notable: 37 rows in sessions without a usable price, dropped"),
    (VIX, "VIX", "notable: 103 rows after the early close of 8 half-days, dropped"),
    (VIX, "VIX", "notable: 108 sessions begin late, the latest 420 s after the open"),
    (VIX, "VIX", "note: 13,363 gaps of more than a minute"),
    (UPRO, "UPRO", "notable: 15 rows in trading hours of 2 days on which .* closed"),
    (UPRO, "UPRO", "note: 115 rows on days without a session, dropped"),
    (UPRO, "UPRO", "notable: time jumps back 1 time in the file; rows were sorted"),
    (UPRO, "UPRO", "notable: 19 sessions begin late, the latest 4140 s after the open"),
    (UPRO, "UPRO", "notable: 12,817 gaps of more than a minute, .* holes of half an hour and more: 2020-01-02"),
    (EQKER, "AAPL", "notable: the file is in descending order; it was reversed"),
    (EQKER, "AAPL", "note: bars are stamped at their end; stamps were moved back by 60 s"),
    (EQKER, "AAPL", "note: 2 gaps of more than a minute"),
    (FAKE, "QQQ", r"severe: 4,434 bars \(26\.1%\) whose high or low .*does not look like the market's own"),
    (FAKE, "QQQ", r"severe: 1,080 rows in trading hours of 3 days .*closed.*does not look like the market's own"),
    (FAKE, "QQQ", "notable: 179 rows after the early close of 1 half-day"),
    (IMPERIAL, "A", "notable: 7 sessions begin late, the latest 1140 s after the open"),
    (IMPERIAL, "A", "note: 855 gaps of more than a minute"),
    (IMPERIAL, "A", "notable: no observation in 2 sessions of the calendar: 2026-01-27, 2026-01-28"),
    (MINUTES, "GOOG", "notable: 14 rows after the early close of 1 half-day"),
    (MINUTES, "SHY", "note: 96 gaps of more than a minute"),
    (TICKS, "SPY", "note: 1,055,333 rows overruled by a later row of the same second"),
    (TICKS, "BAC", "note: 2,168 rows before the open, dropped"),
]


@pytest.mark.parametrize(("name", "ticker", "fault"), FAULTS)
def test_the_report_names_the_faults_of_a_file(name, ticker, fault, market_data):
    summary = real.load(market_data, name, ticker).quality.summary
    assert re.search(fault, summary), summary


@pytest.mark.parametrize("name", [SPY, SPY_EXT, EQKER, IMPERIAL, MINUTES, SECONDS, TICKS, QUOTES])
def test_the_report_raises_no_alarm_about_a_market_file(name, market_data):
    assert real.load(market_data, name, "SPY").quality.severe == []


def placed(folder, name, ticker, shift=0):
    """Return the rows' times (starts of bars), the New York day of each, and that day's close (-1: no session)."""
    time = real.raw(folder, name, ticker)["timestamp_utc"] - shift
    days = pd.to_datetime(time, unit="s", utc=True).tz_convert("America/New_York").tz_localize(None).normalize()
    closes = {day: real.bounds(day)[1] for day in days.unique() if real.calendar().is_session(day)}
    return time, days, np.array([closes.get(day, -1) for day in days])


def test_the_half_days_of_the_report_are_those_of_the_rows(market_data):
    time, days, closes = placed(market_data, SPY, "SPY")
    lengths = pd.Series(closes, days).groupby(level=0).first() - [real.bounds(d)[0] for d in sorted(set(days))]
    half = lengths.index[lengths < 23_400]
    assert [str(day.date()) for day in half] == ["2024-07-03", "2024-11-29", "2024-12-24"]
    assert (days.isin(half) & (time > closes)).sum() == 393
    assert ((days.isin(half)) & (time > closes + 3600)).any(), "they go on trading long after the close"


def test_rows_on_days_without_a_session_are_counted_and_take_no_part(market_data):
    for name, ticker, shift, expected in ((UPRO, "UPRO", 0, 130), (VIX, "VIX", 60, 1867), (FAKE, "QQQ", 0, 1170)):
        _, days, closes = placed(market_data, name, ticker, shift)
        assert (closes < 0).sum() == expected
        assert not set(days[closes < 0]) & set(real.load(market_data, name, ticker).dates)


def test_the_independence_day_of_the_fake_file_is_none(market_data):
    found = real.load(market_data, FAKE, "QQQ")
    assert str(found.dates[-1].date()) == "2025-07-03"
    assert len(found.quality.severe) == 2


def test_a_zero_price_never_triggers_a_short(market_data):
    raw = real.raw(market_data, VIX, "VIX")
    assert (raw["price"] == 0).sum() == 431
    found = real.load(market_data, VIX, "VIX")
    assert found.columns["price"].min() * found.increment > 5
    one = run_backtest(found, 300, 0.2, 3, 60, 0.5)
    assert one.trades[["entry_price", "exit_price"]].min().min() > 5


def test_the_bar_at_four_counts_with_its_open_only(market_data):
    found, raw = real.load(market_data, SPY, "SPY"), real.raw(market_data, SPY, "SPY")
    rows = {int(time): i for i, time in enumerate(raw["timestamp_utc"])}
    checked = 0
    for i, day in enumerate(found.dates):
        opened, closed = real.bounds(day)
        seen = found.observations(i)
        if closed in rows:
            assert seen["time"][-1] == closed - opened
            assert seen["price"][-1] == round(raw["open"][rows[closed]] * 10_000)
            checked += 1
        assert (seen["time"] == closed - opened).sum() <= 1
    assert checked == 255


def test_of_several_prices_in_a_second_the_last_stands(market_data):
    found, raw = real.load(market_data, TICKS, "BAC"), real.raw(market_data, TICKS, "BAC")
    for i, day in enumerate(found.dates):
        opened, closed = real.bounds(day)
        inside = (raw["timestamp_utc"] >= opened) & (raw["timestamp_utc"] <= closed)
        last = dict(zip(raw["timestamp_utc"][inside].tolist(), raw["price"][inside].tolist(), strict=True))
        seen = found.observations(i)
        assert (seen["time"] + opened).tolist() == sorted(last)
        assert seen["price"].tolist() == [round(last[time] * 100) for time in sorted(last)]


def test_mids_of_half_a_cent_are_kept(market_data):
    found, raw = real.load(market_data, QUOTES, "BAC"), real.raw(market_data, QUOTES, "BAC")
    assert found.increment == 0.005
    assert found.quality["rounded"].sum() == 0
    opened, closed = real.bounds(found.dates[0])
    inside = (raw["timestamp_utc"] >= opened) & (raw["timestamp_utc"] <= closed)
    np.testing.assert_allclose(found.observations(0)["price"] * 0.005, raw["price"][inside], rtol=0, atol=1e-9)


def test_a_descending_file_comes_out_rising(market_data):
    raw, found = real.raw(market_data, EQKER, "AAPL"), real.load(market_data, EQKER, "AAPL")
    assert (np.diff(raw["timestamp_utc"]) < 0).all()
    first = raw["timestamp_utc"] == real.bounds(found.dates[0])[0] + 60
    assert found.observations(0)["price"][0] * found.increment == pytest.approx(raw["open"][first].item())


def test_minutes_without_a_trade_stay_empty(market_data):
    raw, found = real.raw(market_data, IMPERIAL, "A"), real.load(market_data, IMPERIAL, "A")
    expected = 0
    for day in found.dates:
        opened, closed = real.bounds(day)
        expected += ((raw["timestamp_utc"] >= opened) & (raw["timestamp_utc"] < closed)).sum()
    assert found.columns["first_of_bar"].sum() == expected
    assert expected < 0.7 * 390 * len(found)


def test_a_ticker_too_thin_to_show_how_long_its_bars_are_is_refused_with_the_fix(market_data):
    with pytest.raises(BadInput, match=r"UGA: bars are mostly 120 s apart, .*; give bar= in seconds"):
        real.load(market_data, EQKER, "UGA")
    assert real.load(market_data, EQKER, "UGA", bar=60).columns["first_of_bar"].sum() == 388


def test_a_session_that_begins_after_the_opening_range_is_not_traded(market_data):
    found = real.load(market_data, UPRO, "UPRO")
    table = organize_opening_range_data(found, 300)
    late = found.quality["first"] >= 300
    assert late.sum() > 0
    assert (table["reason"][late] == "no observation in the opening range").all()
    assert not table["tradable"][late].any()
    one = run_backtest(found, 300, 0.1, 3, 60, 0.5)
    assert not one.trades["session"].isin(found.dates[late]).any()
    assert one.stats["sessions"] == table["tradable"].sum() == len(one.daily)


def test_daylight_saving_comes_from_the_calendar(market_data):
    found = real.load(market_data, SPY, "SPY")
    hours = pd.Series(found.schedule.opens % 86_400 / 3600, found.dates)
    assert set(hours[:"2024-11-01"]) == {13.5}
    assert set(hours["2024-11-04":"2025-03-07"]) == {14.5}
    assert set(hours["2025-03-10":]) == {13.5}
    assert (found.quality["first"] == 0).all()


def opening_range(raw, first_stamp, count):
    """Return (open, high, low) of so many bars from a stamp on, straight from the rows."""
    at = np.isin(raw["timestamp_utc"], first_stamp + 60 * np.arange(count))
    assert at.sum() == count
    return raw["open"][at][0], raw["high"][at].max(), raw["low"][at].min()


@pytest.mark.parametrize("minutes", [1, 5, 30])
def test_misreading_the_stamp_shifts_the_opening_range_by_a_bar(minutes, market_data):
    raw = real.raw(market_data, SPY_EXT, "SPY")
    right = organize_opening_range_data(real.load(market_data, SPY_EXT, "SPY"), 60 * minutes)
    wrong = organize_opening_range_data(real.load(market_data, SPY_EXT, "SPY", stamp="start"), 60 * minutes)
    columns = ["open_price", "high", "low"]
    for day in right.index:
        opened, _ = real.bounds(day)
        np.testing.assert_allclose(right.loc[day, columns].astype(float), opening_range(raw, opened + 60, minutes))
        np.testing.assert_allclose(wrong.loc[day, columns].astype(float), opening_range(raw, opened, minutes))
    assert (right["open_price"] != wrong["open_price"]).mean() > 0.8
    assert ((right["high"] != wrong["high"]) | (right["low"] != wrong["low"])).mean() > 0.2


def test_a_file_with_extended_hours_and_no_word_about_its_stamps_is_refused(market_data):
    frame = open_table(market_data / f"{SPY_EXT}.parquet").table.to_pandas()
    with pytest.raises(BadInput, match=r'do not say whether .*stamp="start" or stamp="end"'):
        load_sessions(frame, "SPY")
    assert len(load_sessions(frame, "SPY", stamp="end")) == 30


def test_a_file_that_settles_its_own_stamps_needs_no_word(market_data):
    for name, ticker, stamp in ((SPY, "SPY", "start"), (EQKER, "AAPL", "end"), (IMPERIAL, "SPY", "start")):
        frame = open_table(market_data / f"{name}.parquet").table.to_pandas()
        found = load_sessions(frame[frame["ticker"] == ticker], ticker)
        assert ("moved back" in found.quality.summary) == (stamp == "end")


def test_the_options_file_serves_the_price_of_its_underlying(market_data):
    columns = {"price": "underlying"}
    found = load_sessions(market_data / f"{GREEKS}.parquet", "SPY", columns=columns, cache=False)
    assert len(found) == 2
    assert "2 sessions begin late, the latest 3516 s after the open" in found.quality.summary
    assert "2 sessions without prices in the last two minutes" in found.quality.summary
    with pytest.raises(BadInput, match="no tradable session for a range of 300 s"):
        run_backtest(found, 300, 0.1, 3, 60, 0.5)
    one = run_backtest(found, 7200, 0.1, 3, 60, 0.5)
    for row in one.trades.itertuples():
        opened, closed = real.bounds(row.session)
        assert opened + 7200 <= row.entry_time.timestamp() <= row.exit_time.timestamp() <= closed


def test_many_tickers_of_a_wide_file_load_and_run_together(market_data):
    path = market_data / f"{IMPERIAL}.parquet"
    tickers = np.random.default_rng(5).choice(open_table(path).tickers, 8, replace=False).tolist()
    found = load_sessions(path, tickers, stamp="start", cache=False)
    assert list(found) == tickers
    grid = ParameterGrid([0.5, 1], [1, 3], 60, 2)
    with pytest.warns(UserWarning, match="prices span"):
        table = run_grid(found, grid, 600)
    assert table["ticker"].drop_duplicates().tolist() == tickers
    assert len(table) == 8 * len(grid)
