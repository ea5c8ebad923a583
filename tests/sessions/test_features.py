"""Per-session features against slow, exact counts; columns of one's own; real volumes."""

import datetime
from fractions import Fraction
from statistics import fmean

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orbresearch import load_sessions, organize_opening_range_data, synthetic_sessions
from orbresearch.errors import BadInput
from orbresearch.sessions.features import (
    KNOWN_AFTER_CLOSE,
    PRICE_VALUED,
    RANGE_FEATURES,
    SESSION_FEATURES,
    feature_column,
)
from tests.sessions import real
from tests.sources import market

DAYS = [f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-01-02", "2024-12-31")]
OPENS = [market.opened(day) for day in DAYS]
DURATION = 300

#: One session: (second since the open, cents, quarter shares), many a session without a range or nothing after it.
SESSION = st.lists(
    st.tuples(st.sampled_from([0, 5, 299, 300, 4000]), st.integers(980, 1020), st.integers(0, 40)),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
).map(sorted)
MARKET = st.lists(SESSION, min_size=1, max_size=45)


def frame_of(sessions, volume=True):
    rows = [
        (OPENS[i] + time, cents / 100, quarters / 4)
        for i, rows in enumerate(sessions)
        for time, cents, quarters in rows
    ]
    frame = pd.DataFrame(rows, columns=["timestamp_utc", "price", "volume"])
    return frame if volume else frame.drop(columns="volume")


def nearest(numbers, parts=1):
    """The float64 nearest to a mean of whole numbers; NaN where one is missing."""
    if any(number is None for number in numbers):
        return float("nan")
    return float(sum(map(Fraction, numbers)) / len(numbers) / parts)


def slow_features(sessions):
    """Day by day, in exact fractions, straight from strategy.md."""
    bars = [(r[0][1], max(x[1] for x in r), min(x[1] for x in r), r[-1][1]) for r in sessions]
    ranges, nearer, table = [], [], []
    for i, (opening, high, low, _) in enumerate(bars):
        before = bars[i - 1][3] if i else None
        atr = nearest(ranges[-14:], 100) if len(ranges) >= 14 else float("nan")
        stretch = nearest(nearer[-10:], 100) if len(nearer) >= 10 else float("nan")
        gap = float("nan") if before is None else float(Fraction(opening - before, 100))
        table.append((atr, stretch, gap))
        ranges.append(None if before is None else max(high, before) - min(low, before))
        nearer.append(min(opening - low, high - opening))
    return table


@given(MARKET)
def test_atr_stretch_and_gap_are_the_floats_nearest_to_the_exact_means(sessions):
    features = load_sessions(frame_of(sessions), "TEST", increment=0.01).features
    expected = np.array(slow_features(sessions))
    for at, name in enumerate(("atr", "stretch", "gap")):
        np.testing.assert_array_equal(features[name], expected[:, at])


@given(MARKET, st.sampled_from([0.01, 0.005, 0.0001]))
@settings(max_examples=25)
def test_features_do_not_depend_on_the_increment(sessions, increment):
    plain, finer = (load_sessions(frame_of(sessions), "TEST", increment=size) for size in (0.01, increment))
    pd.testing.assert_frame_equal(finer.features, plain.features, check_exact=True)


def slow_volumes(sessions):
    """(range_volume, relative_volume) day by day: quarter shares before the second, and against the 14 before."""
    known, table = [], []
    for rows in sessions:
        inside = [quarters for time, _, quarters in rows if time < DURATION]
        if not inside or len(inside) == len(rows):  # no range, or nothing after it
            table.append((float("nan"), float("nan")))
            continue
        volume, before = sum(inside), sum(known[-14:])
        enough = len(known) >= 14 and before > 0
        table.append((volume / 4, float(Fraction(14 * volume, before)) if enough else float("nan")))
        known.append(volume)
    return table


@given(MARKET)
def test_range_and_relative_volume_are_those_of_a_slow_count(sessions):
    found = load_sessions(frame_of(sessions), "TEST").features_of(DURATION)
    expected = np.array(slow_volumes(sessions))
    np.testing.assert_array_equal(found["range_volume"], expected[:, 0])
    np.testing.assert_array_equal(found["relative_volume"], expected[:, 1])


@given(MARKET)
@settings(max_examples=25)
def test_the_range_columns_are_those_of_the_opening_range(sessions):
    loaded = load_sessions(frame_of(sessions), "TEST")
    found, table = loaded.features_of(DURATION), organize_opening_range_data(loaded, DURATION)
    for i, rows in enumerate(sessions):
        cents = [price for time, price, _ in rows if time < DURATION]
        tradable = 0 < len(cents) < len(rows)
        expected = (max(cents) - min(cents)) / 100 if tradable else float("nan")
        np.testing.assert_equal(found["range"].iloc[i], expected)
        np.testing.assert_equal(found["count_trades"].iloc[i], len(cents) if tradable else float("nan"))
        assert table["tradable"].iloc[i] == tradable
    np.testing.assert_array_equal(found["width"], found["range"])
    np.testing.assert_array_equal(found["avg_vol"], table["avg_vol"])


def steady(count=20, **changes):
    """Return sessions of one trade of 100 shares in the range and one after it, some of them otherwise."""
    usual = [(0, 1000, 400), (400, 1000, 400)]
    return [changes.get(f"at_{i}", usual) for i in range(count)]


def test_a_session_without_a_range_is_passed_over_in_the_mean():
    hole = [(400, 1000, 400), (500, 1001, 400)]
    found = load_sessions(frame_of(steady(at_5=hole, at_16=[(0, 1000, 1200), (400, 1000, 4)])), "TEST")
    column = feature_column(found, DURATION, "relative_volume")
    assert np.isnan(column[:15]).all(), "14 sessions with a range before it are needed"
    assert column[15:17].tolist() == [1.0, 3.0]
    np.testing.assert_array_equal(column[17:], 100 / ((13 * 100 + 300) / 14))


def test_without_volumes_the_volume_columns_are_missing_and_the_others_are_not():
    found = load_sessions(frame_of(steady(), volume=False), "TEST").features_of(DURATION)
    assert found[["range_volume", "relative_volume"]].isna().all().all()
    assert found["range"].notna().all()


def test_a_mean_volume_of_nothing_gives_no_ratio():
    quiet = [[(0, 1000, 0), (400, 1000, 0)]] * 16
    found = load_sessions(frame_of(quiet), "TEST").features_of(DURATION)
    assert (found["range_volume"] == 0).all()
    assert found["relative_volume"].isna().all()


def test_bars_count_once_in_the_volume_of_a_range():
    found = load_sessions(market.bars(), "TEST").features_of(300)
    assert found["range_volume"].tolist() == [500.0] * 3
    assert found["count_trades"].tolist() == [5.0] * 3


def test_the_columns_come_in_the_order_that_is_promised():
    found = load_sessions(market.bars(), "TEST").join(pd.Series([1.0], [market.DAYS[0]], name="mine"))
    assert found.features.columns.tolist() == [*SESSION_FEATURES, "mine"]
    assert found.features_of(300).columns.tolist() == [*SESSION_FEATURES, *RANGE_FEATURES, "mine"]
    assert set(KNOWN_AFTER_CLOSE) < set(SESSION_FEATURES)
    ours = found.features_of(300)[list(PRICE_VALUED)]
    assert not (ours < 0).any().any()


def test_a_frame_of_features_is_nobodys_but_the_callers():
    found = synthetic_sessions(2)
    mine = found.features
    mine["open"], mine["mine"] = 0.0, 1.0
    assert (found.features["open"] > 0).all()
    assert "mine" not in found.features


def test_a_duration_that_is_none_is_refused():
    found = load_sessions(market.bars(), "TEST")
    with pytest.raises(BadInput, match="no whole number of TEST's 60 s bars"):
        found.features_of(90)


def test_every_column_can_be_had_as_numbers():
    found = synthetic_sessions(17).join(pd.Series([1], ["2024-01-03"], name="mine"))
    table = found.features_of(DURATION)
    for name in table.columns:
        column = feature_column(found, DURATION, name)
        assert (column.dtype, column.shape) == (np.dtype(float), (17,))
        np.testing.assert_array_equal(column, table[name])
    column[:] = 7
    assert np.isnan(found.features["mine"].iloc[0])


@pytest.mark.parametrize("name", ["mine", "Range", "", None, 5])
def test_an_unknown_column_is_refused_with_those_there_are(name):
    found = synthetic_sessions(2).join(pd.Series([1], ["2024-01-03"], name="vix"))
    with pytest.raises(BadInput, match=rf"feature: no column {name!r}; there are open, .* relative_volume, vix; "):
        feature_column(found, DURATION, name)


def test_a_stretch_of_dates_has_the_features_of_its_own_sessions_only():
    whole = synthetic_sessions(20)
    part = whole.between(whole.dates[4])
    assert part.features["atr"].notna().sum() == 1
    assert part.features["atr"].iloc[-1] == whole.features["atr"].iloc[-1]
    assert np.isnan(part.features["gap"].iloc[0])


# Columns of one's own

SESSIONS = load_sessions(market.bars(), "TEST")
INDICES = {
    "DatetimeIndex": pd.DatetimeIndex(market.DAYS),
    "date objects": [datetime.date.fromisoformat(day) for day in market.DAYS],
    "datetimes": [datetime.datetime.fromisoformat(day) for day in market.DAYS],
    "text": list(market.DAYS),
    "sessions": SESSIONS.dates,
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_columns_are_joined_by_date(index):
    frame = pd.DataFrame({"vix": [13.0, 14.0, 15.0], "event": [True, False, True]}, index=index)
    found = SESSIONS.join(frame).features
    assert found["vix"].tolist() == [13.0, 14.0, 15.0]
    assert found["event"].tolist() == [1.0, 0.0, 1.0]
    assert (found.dtypes[["vix", "event"]] == np.float64).all()
    pd.testing.assert_frame_equal(found.drop(columns=["vix", "event"]), SESSIONS.features)


def test_other_dates_take_no_part_and_dates_not_covered_are_missing():
    days = ["2024-07-05", "2024-07-04", "2024-07-02", "1901-01-01", "2901-01-01"]
    found = SESSIONS.join(pd.Series([5.0, 4.0, 2.0, 1.0, 9.0], days, name="vix")).features["vix"]
    np.testing.assert_array_equal(found, [2.0, np.nan, 5.0])


@pytest.mark.parametrize("kind", ["int64", "Int64", "float32", "boolean", "uint8"])
def test_numbers_of_any_kind_are_joined(kind):
    column = pd.Series([1, 0, 1], list(market.DAYS), name="x", dtype=kind)
    assert SESSIONS.join(column).features["x"].tolist() == [1.0, 0.0, 1.0]
    if kind in ("Int64", "boolean"):
        column.iloc[1] = pd.NA
        np.testing.assert_array_equal(SESSIONS.join(column).features["x"], [1.0, np.nan, 1.0])


def test_several_joins_add_up_and_are_kept():
    one = SESSIONS.join(pd.Series([1, 2, 3], list(market.DAYS), name="one"))
    both = one.join(pd.Series([4, 5, 6], list(market.DAYS), name="two"))
    assert "two" not in one.features
    assert SESSIONS.joined is None
    assert both.between(market.DAYS[1]).features[["one", "two"]].to_numpy().tolist() == [[2, 5], [3, 6]]
    pd.testing.assert_frame_equal(both.other_path().features[["one", "two"]], both.features[["one", "two"]])
    assert both.series.hash == SESSIONS.series.hash
    with pytest.raises(BadInput, match="'one' is joined already"):
        both.join(pd.Series([4, 5, 6], list(market.DAYS), name="one"))


def test_what_is_joined_does_not_change_with_the_users_frame():
    frame = pd.DataFrame({"vix": [1.0, 2.0, 3.0]}, index=list(market.DAYS))
    found = SESSIONS.join(frame)
    frame["vix"] = 9.0
    assert found.features["vix"].tolist() == [1.0, 2.0, 3.0]


DAY = market.DAYS[0]
BAD = [
    (pd.Series([1.0], [DAY]), "a column is called (None|0); name it with text"),
    (pd.Series([1.0], [DAY], name=7), "a column is called 7; name it"),
    (pd.Series([1.0], [DAY], name=""), "a column is called ''"),
    (pd.DataFrame(index=[DAY]), "it has no columns"),
    (pd.DataFrame([[1.0, 2.0]], index=[DAY], columns=["x", "x"]), "several columns 'x'; give each name once"),
    *((pd.Series([1.0], [DAY], name=name), f"the name '{name}' is taken") for name in ("atr", "range", "R", "dollars")),
    (pd.Series(["high"], [DAY], name="x"), "column 'x' holds .*, no numbers; convert it, or leave it out"),
    (pd.Series([1j], [DAY], name="x"), "column 'x' holds complex128"),
    (pd.Series([pd.Timestamp(DAY)], [DAY], name="x"), "column 'x' holds datetime64"),
    (pd.Series([1.0], pd.DatetimeIndex([DAY], tz="UTC"), name="x"), "has a zone; .*tz_localize"),
    (pd.Series([1.0], pd.DatetimeIndex([f"{DAY} 16:00"]), name="x"), "has a time of day; .*normalize"),
    (pd.Series([1.0, 2.0], [DAY, DAY], name="x"), f"{DAY} is in the index 2 times; give each date once"),
    (pd.Series([1.0, 2.0], [DAY, datetime.date.fromisoformat(DAY)], name="x"), "is in the index 2 times"),
    (pd.Series([1.0], name="x"), "the index entry 0 is no date; give dates without time and zone"),
    (pd.Series([1.0], pd.DatetimeIndex([pd.NaT]), name="x"), "index entry NaT is no date"),
    (pd.Series([1.0], pd.MultiIndex.from_tuples([(DAY, "SPY")]), name="x"), r"index entry \('2024-07-02', 'SPY'\)"),
    *((pd.Series([1.0], [text], name="x"), "is no date") for text in ("2024-07", "20240702", "02.07.2024", "soon")),
    (pd.Series([1.0], ["2024-13-45"], name="x"), "'2024-13-45' is no date"),
    (pd.Series([1.0], ["2024-07-04"], name="x"), "no date in common: .* 2024-07-04 to 2024-07-04, the sessions are"),
    (pd.Series([], [], name="x", dtype=float), "no date in common: the index has none"),
    ([1.0], "join: a list; give a DataFrame or a Series"),
    (None, "join: a NoneType"),
]


@pytest.mark.parametrize(("frame", "message"), BAD, ids=[message for _, message in BAD])
def test_what_cannot_be_joined_is_refused_with_what_would_be_right(frame, message):
    with pytest.raises(BadInput, match=message):
        SESSIONS.join(frame)


# Real files


def volumes(folder, name, ticker, column="volume"):
    table = pq.read_table(folder / f"{name}.parquet")
    return table.filter(pc.equal(table["ticker"], ticker))[column].to_numpy()


FILES = [
    ("spy_1min_2024_2025", "SPY", 0, 300),
    ("spy_1min_ext_2024jun_endstamped", "SPY", 60, 900),
    ("upro_1min_2020", "UPRO", 0, 300),
    ("eqker_1min_2019_24tickers", "AAPL", 60, 300),
    ("lean_minute_trades_dev", "SPY", 0, 600),
    ("lean_second_trades_dev", "SPY", 0, 60),
    ("lean_second_trades_dev", "BAC", 0, 300),
]


@pytest.mark.parametrize(("name", "ticker", "shift", "duration"), FILES)
def test_the_volume_of_a_real_range_is_that_of_its_rows(name, ticker, shift, duration, market_data):
    time = real.raw(market_data, name, ticker)["timestamp_utc"] - shift
    volume = volumes(market_data, name, ticker)
    found = real.load(market_data, name, ticker)
    features, known = found.features_of(duration), []
    for day, row in features.iterrows():
        opened, _ = real.bounds(day)
        if np.isnan(row["range"]):
            assert np.isnan(row["range_volume"])
            continue
        assert row["range_volume"] == volume[(time >= opened) & (time < opened + duration)].sum()
        if len(known) >= 14:
            assert row["relative_volume"] == pytest.approx(row["range_volume"] / fmean(known[-14:]), rel=1e-12)
        else:
            assert np.isnan(row["relative_volume"])
        known.append(row["range_volume"])
    assert len(known) > 0


@pytest.mark.parametrize("ticker", ["SPY", "BAC"])
def test_the_sizes_of_all_trades_of_a_second_add_up(ticker, market_data):
    name = "lean_tick_trades_dev"
    time, size = real.raw(market_data, name, ticker)["timestamp_utc"], volumes(market_data, name, ticker, "size")
    found = real.load(market_data, name, ticker)
    for i, day in enumerate(found.dates):
        opened, closed = real.bounds(day)
        inside = (time >= opened) & (time <= closed)
        expected = np.bincount(time[inside] - opened, size[inside])
        first, last = found.pointers[i : i + 2]
        np.testing.assert_array_equal(found.volume[first:last], expected[found.observations(i)["time"]])
        assert found.volume[first:last].sum() == size[inside].sum()


@pytest.mark.parametrize("name", ["imperial_1min_2026_530tickers", "lean_second_quotes_dev"])
def test_a_file_without_volumes_has_none(name, market_data):
    assert real.load(market_data, name, "SPY").volume is None


def test_the_true_ranges_of_a_real_file_are_those_of_its_sessions(market_data):
    found = real.load(market_data, "spy_1min_2024_2025", "SPY").features
    before = found["close"].shift()
    true = np.maximum(found["high"], before) - np.minimum(found["low"], before)
    expected = [fmean(true.iloc[i - 14 : i]) for i in range(15, len(found))]
    np.testing.assert_allclose(found["atr"].iloc[15:], expected, rtol=1e-11)
    assert found["atr"].iloc[:15].isna().all()
