"""load_sessions: the same sessions from every kind of source, and a clear refusal of what cannot be read."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orbresearch import Warehouse, load_sessions, organize_opening_range_data, synthetic_sessions
from orbresearch.errors import BadInput
from orbresearch.sources.load import list_tickers
from tests.sources import market

BARS, PRICES = market.bars(), market.prices()


def write(frame, path, **metadata):
    """Write a frame as whatever the path's suffix says."""
    if path.suffix == ".parquet":
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table.replace_schema_metadata(metadata), path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["p.parquet", "p.csv", "p.csv.gz", "p.csv.bz2", "P.CSV"])
@pytest.mark.parametrize("frame", [BARS, PRICES], ids=["bars", "prices"])
def test_every_kind_of_file_gives_the_sessions_of_the_frame(frame, name, tmp_path):
    expected = load_sessions(frame, "TEST")
    market.same(load_sessions(write(frame, tmp_path / name), "TEST"), expected)
    market.same(load_sessions(str(tmp_path / name), "TEST", cache=False), expected)
    assert len(expected) == len(market.DAYS)


@pytest.mark.parametrize("unit", [1000, 1_000_000, 1_000_000_000])
def test_the_unit_of_time_makes_no_difference(unit):
    market.same(
        load_sessions(BARS.assign(timestamp_utc=BARS.timestamp_utc * unit), "TEST"), load_sessions(BARS, "TEST")
    )


def test_a_bar_may_end_in_a_close_instead_of_a_price():
    market.same(load_sessions(BARS.rename(columns={"price": "close"}), "TEST"), load_sessions(BARS, "TEST"))


def test_columns_of_other_names_give_the_same_sessions(tmp_path):
    own = {"timestamp_utc": "Datetime", "price": "Adj", "open": "O", "high": "H", "low": "L", "ticker": "Sym"}
    frame = BARS.rename(columns=own)
    expected = load_sessions(BARS, "TEST")
    market.same(load_sessions(frame, "TEST", columns=own), expected)
    market.same(load_sessions(write(frame, tmp_path / "p.csv"), "TEST", columns=own), expected)
    market.same(load_sessions(write(frame, tmp_path / "p.parquet"), "TEST", columns=own), expected)


def test_tickers_in_a_file_are_kept_apart_and_several_give_a_mapping(tmp_path):
    other = market.prices(ticker="OTHER", seed=9)
    mixed = pd.concat([PRICES, other]).sort_values("timestamp_utc", kind="stable")
    path = write(mixed, tmp_path / "p.parquet")
    found = load_sessions(path, ["OTHER", "TEST"])
    assert list(found) == ["OTHER", "TEST"]
    market.same(found["OTHER"], load_sessions(other, "OTHER"))
    market.same(found["TEST"], load_sessions(PRICES, "TEST"))
    assert list(load_sessions(path, ["TEST"])) == ["TEST"]


def test_the_ticker_column_may_hold_categories_or_numbers():
    expected = load_sessions(PRICES, "TEST")
    market.same(load_sessions(PRICES.astype({"ticker": "category"}), "TEST"), expected)
    assert len(load_sessions(PRICES.assign(ticker=7203), "7203")) == len(expected)


def test_an_unknown_ticker_is_refused_with_those_available(tmp_path):
    many = pd.concat([PRICES.head(2).assign(ticker=f"T{i:02d}") for i in range(13)])
    with pytest.raises(BadInput, match=r"DataFrame: no ticker 'SPY'; it has T00, T01, .*T09 and 3 more"):
        load_sessions(many, "SPY")
    with pytest.raises(BadInput, match=r"file p\.csv: no ticker 'SPY'; it has TEST$"):
        load_sessions(write(PRICES, tmp_path / "p.csv"), "SPY")


@pytest.mark.parametrize("ticker", ["", [], [""], ["TEST", 5]])
def test_what_names_no_ticker_is_refused(ticker):
    with pytest.raises(BadInput, match="ticker: "):
        load_sessions(PRICES, ticker)


def test_a_source_without_a_ticker_column_is_called_what_it_is_asked_as():
    found = load_sessions(PRICES.drop(columns="ticker"), "GOLD")
    assert found.ticker == "GOLD"
    np.testing.assert_array_equal(found.columns["price"], load_sessions(PRICES, "TEST").columns["price"])


@pytest.mark.parametrize("kind", [str, pd.Timestamp, datetime.date.fromisoformat, np.datetime64])
def test_dates_are_inclusive_on_both_ends(kind):
    def days(**dates):
        return [str(day.date()) for day in load_sessions(PRICES, "TEST", **dates).dates]

    first, half_day, last = market.DAYS
    assert days(start=kind(half_day)) == [half_day, last]
    assert days(end=kind(half_day)) == [first, half_day]
    assert days(start=kind(half_day), end=kind(half_day)) == [half_day]
    assert days(start=kind("2024-07-04"), end=kind("2030-01-01")) == [last]
    assert days() == list(market.DAYS)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    "dates",
    [
        {"start": "2024-07-06"},
        {"end": "2024-07-01"},
        {"start": "2024-07-04", "end": "2024-07-04"},
    ],
)
def test_dates_without_a_session_are_refused_with_those_there_are(dates, cached, tmp_path):
    path = write(PRICES, tmp_path / "p.parquet")
    if cached:
        load_sessions(path, "TEST")
    with pytest.raises(BadInput, match=r"TEST: no session .*; the source has sessions from 2024-07-02 to 2024-07-05"):
        load_sessions(path, "TEST", **dates)


@pytest.mark.parametrize("given", ["soon", "26.03.2024", "", pd.NaT, True, 20240702, "20240702", "2024-07", 2024])
@pytest.mark.parametrize("name", ["start", "end"])
def test_what_is_no_whole_date_is_refused_by_name(name, given):
    with pytest.raises(BadInput, match=rf"^{name}: .* is no date; give e\.g\. 2024-03-26"):
        load_sessions(PRICES, "TEST", **{name: given})


def test_a_descending_file_is_reversed_and_said_to_be():
    down = BARS.iloc[::-1]
    found, expected = load_sessions(down, "TEST"), load_sessions(BARS, "TEST")
    for name, column in expected.columns.items():
        np.testing.assert_array_equal(found.columns[name], column)
    assert "descending" in found.quality.summary


def test_in_a_descending_file_the_upper_of_two_rows_in_a_second_is_the_later():
    rows = PRICES.iloc[:50].iloc[::-1]
    later = rows.iloc[[20]].assign(price=77.0)
    found = load_sessions(pd.concat([rows.iloc[:20], later, rows.iloc[20:]]), "TEST")
    assert 7700 in found.columns["price"]
    assert found.quality["overruled"].sum() == 1


def test_bars_are_recognised_with_their_length():
    for bar in (5, 60, 300):
        found = load_sessions(market.bars(bar=bar), "TEST")
        assert (found.bar_seconds, found.path, found.is_bars) == (bar, "nearer", True)
    assert load_sessions(PRICES, "TEST").bar_seconds == 0


def test_a_missing_bar_does_not_change_the_length_of_the_others():
    thin = BARS.drop(BARS.index[5:200:3])
    assert load_sessions(thin, "TEST", stamp="start").bar_seconds == 60


def test_prices_at_odd_times_are_not_taken_for_bars():
    odd = market.bars(bar=60).iloc[:300]
    odd["timestamp_utc"] = market.opened("2024-07-02") + np.cumsum(np.random.default_rng(4).integers(3, 90, 300))
    with pytest.raises(BadInput, match=r"TEST: bars are mostly .* s apart, but \d+% .*give bar= in seconds, or bar=0"):
        load_sessions(odd, "TEST")


@pytest.mark.parametrize("bar", [0, None])
def test_bar_zero_reads_closes_as_single_prices(bar):
    found = load_sessions(BARS, "TEST", bar=bar)
    assert (found.bar_seconds, found.path, found.is_bars) == (0, "", False)
    plain = load_sessions(BARS[["timestamp_utc", "ticker", "price"]], "TEST")
    assert found.series.hash == plain.series.hash
    assert ["closes of bars 60 s apart" in sentence for sentence in found.quality.severe] == [True]
    assert plain.quality.severe == []


@pytest.mark.parametrize("bar", [1, 30, 120, 300])
def test_another_length_than_the_bars_have_is_refused(bar):
    with pytest.raises(BadInput, match=f"rows are mostly 60 s apart, not {bar} s"):
        load_sessions(BARS, "TEST", bar=bar)


def test_a_ticker_column_of_another_name_is_not_overlooked():
    with pytest.raises(BadInput, match=r"no column 'ticker', but one 'Symbol'; say columns="):
        load_sessions(BARS.rename(columns={"ticker": "Symbol"}), "TEST")


def test_dates_in_the_wrong_order_are_refused():
    with pytest.raises(BadInput, match="2024-07-02 lies before start 2024-07-05"):
        load_sessions(PRICES, "TEST", start="2024-07-05", end="2024-07-02")


def test_a_wrong_zone_is_suspected():
    local = BARS.assign(timestamp_utc=BARS.timestamp_utc - 4 * 3600)
    late = BARS.assign(timestamp_utc=BARS.timestamp_utc + 2 * 3600)
    for shifted in (local, late):
        found = load_sessions(shifted, "TEST", stamp="start").quality.severe
        assert any("looks like a wrong time zone" in sentence for sentence in found)


def test_bars_of_one_second_are_their_closes():
    day = market.DAYS[:1]
    found = load_sessions(market.bars(day, bar=1), "TEST")
    assert (found.bar_seconds, found.path, found.is_bars) == (1, "", False)
    closes = load_sessions(market.bars(day, bar=1), "TEST", bar=0)
    np.testing.assert_array_equal(found.columns["price"], closes.columns["price"])


@pytest.mark.parametrize("bar", [-60, 59.5, True, "60", float("nan"), "minute"])
def test_a_bar_that_is_no_length_is_refused(bar):
    with pytest.raises(BadInput, match=r'bar: .* is no length in seconds; give e\.g\. 60, 0 .*"auto"'):
        load_sessions(BARS, "TEST", bar=bar)


def test_bars_need_all_their_columns():
    with pytest.raises(BadInput, match="DataFrame: bars need the columns high, low; say columns=, or bar=0"):
        load_sessions(BARS.drop(columns=["high", "low"]), "TEST", bar=60)


def test_the_data_settle_what_their_stamps_say():
    start = load_sessions(BARS, "TEST")
    ends = market.bars(stamp="end")
    end = load_sessions(ends, "TEST")
    for name, column in start.columns.items():
        np.testing.assert_array_equal(end.columns[name], column)
    assert "moved back by 60 s" in end.quality.summary
    assert "moved back" not in start.quality.summary


@pytest.mark.parametrize(("label", "bars"), [("bar start", "start"), ("bar END", "end")])
def test_a_files_own_metadata_settle_what_its_stamps_say(label, bars, tmp_path):
    frame = market.extended(market.bars(stamp=bars))
    found = load_sessions(write(frame, tmp_path / "p.parquet", bar_label=label), "TEST")
    for name, column in load_sessions(BARS, "TEST").columns.items():
        np.testing.assert_array_equal(found.columns[name], column)


def test_stamps_that_nothing_settles_are_refused_with_the_fix():
    with pytest.raises(BadInput, match=r'TEST: .*60 s bars do not say .*stamp="start" or stamp="end"'):
        load_sessions(market.extended(BARS), "TEST")


def test_stamps_that_nothing_settles_are_read_as_one_says():
    both = {stamp: load_sessions(market.extended(BARS), "TEST", stamp=stamp) for stamp in ("start", "end")}
    ranges = {stamp: organize_opening_range_data(found, 300) for stamp, found in both.items()}
    day = BARS[:390]
    assert ranges["start"]["high"].iloc[0] == pytest.approx(day["high"].iloc[:5].max())
    assert ranges["end"]["high"].iloc[0] == pytest.approx(day["high"].iloc[1:6].max())


def test_what_one_says_of_stamps_wins_over_the_data_and_is_doubted():
    found = load_sessions(market.bars(stamp="end"), "TEST", stamp="start")
    assert found.quality.severe == ["read as stamped at the start of each bar, but 3 sessions look stamped at the end"]
    found = load_sessions(BARS, "TEST", stamp="end")
    assert found.quality.severe == ["read as stamped at the end of each bar, but 3 sessions look stamped at the start"]


def test_a_stamp_that_is_no_convention_is_refused():
    with pytest.raises(BadInput, match=r'stamp: \'middle\' is no convention; give "start" or "end"'):
        load_sessions(BARS, "TEST", stamp="middle")


def test_the_path_inside_bars_is_one_of_two():
    nearer, farther = (load_sessions(BARS, "TEST", path=path) for path in ("nearer", "farther"))
    assert (nearer.columns["price"] != farther.columns["price"]).any()
    np.testing.assert_array_equal(nearer.other_path().columns["price"], farther.columns["price"])
    assert nearer.other_path().path == "farther"
    with pytest.raises(BadInput, match="path: 'best' is no path inside a bar; choose one of nearer, farther"):
        load_sessions(BARS, "TEST", path="best")
    with pytest.raises(BadInput, match="single prices have no path"):
        load_sessions(PRICES, "TEST").other_path()


@pytest.mark.parametrize(
    ("extra", "increment"),
    [
        (0.01, 0.01),
        (0.005, 0.005),
        (0.001, 0.001),
        (0.0005, 0.0005),
        (0.0001, 0.0001),
        (0.003, 0.001),
        (0.0255, 0.0005),
    ],
)
def test_the_increment_is_the_coarsest_that_holds_every_price(extra, increment):
    frame = PRICES.copy()
    frame.loc[40, "price"] += extra
    found = load_sessions(frame, "TEST")
    assert found.increment == increment
    assert found.quality["rounded"].sum() == 0
    np.testing.assert_allclose(found.columns["price"] * increment, frame["price"], rtol=0, atol=1e-9)


def test_a_mid_that_somebody_computed_is_held_by_half_a_cent():
    frame = PRICES.assign(price=(PRICES.price + (PRICES.price + 0.01)) / 2)
    assert load_sessions(frame, "TEST").increment == 0.005


def test_an_extreme_of_a_bar_counts_for_the_increment_as_well():
    frame = BARS.copy()
    frame.loc[7, "high"] += 0.005
    assert load_sessions(frame, "TEST").increment == 0.005


def test_prices_finer_than_the_finest_increment_are_rounded_and_counted():
    frame = PRICES.copy()
    frame.loc[[40, 41], "price"] += 0.00004
    found = load_sessions(frame, "TEST")
    assert (found.increment, found.quality["rounded"].sum()) == (0.0001, 2)
    assert "2 rows with a price rounded to whole increments of 0.0001" in found.quality.summary


def test_an_increment_of_ones_own_rounds_and_is_counted():
    found = load_sessions(PRICES, "TEST", increment=0.05)
    cents = np.rint(PRICES.price * 100).astype(int)
    assert found.increment == 0.05
    assert found.quality["rounded"].sum() == (cents % 5 != 0).sum()
    np.testing.assert_array_equal(found.columns["price"], np.rint(cents / 5))
    fine = load_sessions(PRICES, "TEST", increment=0.001)
    np.testing.assert_array_equal(fine.columns["price"], cents * 10)
    assert fine.quality["rounded"].sum() == 0


@pytest.mark.parametrize("increment", [0, -0.01, float("nan"), float("inf"), "", True, 1e-10])
def test_an_increment_that_is_none_is_refused(increment):
    with pytest.raises(BadInput, match=r"increment: .* give dollars"):
        load_sessions(PRICES, "TEST", increment=increment)


def test_a_price_beyond_int32_increments_is_refused_with_the_fix():
    frame = PRICES.copy()
    frame.loc[40, "price"] = 600_000.0001  # a whole share of Berkshire Hathaway, and a fraction of a cent
    with pytest.raises(BadInput, match=r"TEST: .*600,000\.00 dollars .* beyond int32 .*increment=.*\.01"):
        load_sessions(frame, "TEST")
    assert load_sessions(frame, "TEST", increment=0.01).columns["price"].max() == 60_000_000


def test_prices_that_are_none_are_dropped_and_counted():
    frame = PRICES.copy()
    frame.loc[[10, 11, 12, 13], "price"] = [0.0, -1.0, float("nan"), float("inf")]
    found = load_sessions(frame, "TEST")
    assert found.quality["dropped"].sum() == 4
    assert len(found.columns["price"]) == len(frame) - 4
    assert found.columns["price"].min() > 0
    assert "severe: 1 zero price" in found.quality.summary


def test_the_print_at_the_close_belongs_to_the_session_and_nothing_after_it():
    first = market.DAYS[0]
    late = pd.DataFrame(
        {"timestamp_utc": market.closed(first) + np.arange(3), "ticker": "TEST", "price": [55.0, 56, 57]}
    )
    found = load_sessions(pd.concat([PRICES, late]), "TEST")
    day = found.observations(0)
    assert (day["time"][-1], day["price"][-1]) == (23_400, 5500)
    assert 5600 not in found.columns["price"]


def test_of_the_bar_at_the_close_only_the_open_counts():
    frame = BARS.copy()
    for day in market.DAYS:
        frame.loc[len(frame)] = [market.closed(day), "TEST", 55.0, 99.0, 11.0, 77.0, 1]
    found = load_sessions(frame.sort_values("timestamp_utc"), "TEST")
    for i in range(3):
        assert found.observations(i)["price"][-1] == 5500
    assert not np.isin([9900, 1100, 7700], found.columns["price"]).any()


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(
        BadInput, match=r"nowhere\.parquet: does not exist; give a Parquet, CSV or zip file, or a folder"
    ):
        load_sessions(tmp_path / "nowhere.parquet", "TEST")
    with pytest.raises(BadInput, match="source: a list"):
        load_sessions([1, 2], "TEST")
    for name in ("prices.xlsx", "prices"):
        (tmp_path / name).write_text("x")
        with pytest.raises(BadInput, match=r"is not known; give \.parquet, \.csv, \.csv\.gz or \.zip"):
            load_sessions(tmp_path / name, "TEST")
    for name in ("p.parquet", "p.csv", "p.csv.gz"):
        (tmp_path / name).write_bytes(b"\x00\x01 not at all")
        with pytest.raises(BadInput, match=name.replace(".", r"\.")):
            load_sessions(tmp_path / name, "TEST")


@pytest.mark.parametrize("url", ["mysql://user:sec-ret@host:3306", "sqlite:///prices.sqlite"])
@pytest.mark.parametrize("load", [load_sessions, list_tickers])
def test_a_url_is_no_file_and_its_password_is_not_shown(load, url):
    with pytest.raises(
        BadInput, match=r"source: a (mysql|sqlite):// URL; give orb\.Warehouse\(url\), or a path"
    ) as told:
        load(url)
    assert "sec-ret" not in str(told.value)


def test_a_warehouse_that_nobody_has_made_is_refused():
    with pytest.raises(BadInput, match="source: a type"):
        load_sessions(Warehouse, "SPY")


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_a_source_without_rows_is_refused(name, tmp_path):
    with pytest.raises(BadInput, match=r"it has no rows|no ticker"):
        load_sessions(write(PRICES.head(0), tmp_path / name), "TEST")


def test_rows_of_which_none_lies_in_a_session_are_refused_with_what_to_check():
    shifted = PRICES.assign(timestamp_utc=PRICES.timestamp_utc + 12 * 3600)
    with pytest.raises(BadInput, match=r"TEST: none of its [\d,]+ rows lies in a session of XNYS; check the time zone"):
        load_sessions(shifted, "TEST")


def test_another_calendar_keeps_its_own_sessions():
    with pytest.raises(BadInput, match="'NYSEX' is not known; give an exchange code such as XNYS"):
        load_sessions(PRICES, "TEST", calendar="NYSEX")
    assert load_sessions(PRICES, "TEST", calendar="XNAS").schedule.calendar == "XNAS"


def test_loading_changes_nothing_of_a_frame():
    before = BARS.copy(deep=True)
    load_sessions(BARS, "TEST")
    pd.testing.assert_frame_equal(BARS, before)


def test_a_frame_leaves_nothing_in_the_cache(own_home):
    load_sessions(BARS, "TEST")
    assert not (own_home / "cached_data").exists()


@pytest.mark.parametrize("dates", [("x", None), (None, "03.01.2024"), (5, None)])
def test_sessions_between_dates_that_are_none_are_refused(dates):
    with pytest.raises(BadInput, match=r"is no date; give e\.g\. 2024-03-26"):
        synthetic_sessions(2).between(*dates)
