"""Times in every unit and zone, columns under any name; what cannot be read is named by row and value."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from orbresearch import load_sessions
from orbresearch.errors import BadInput
from orbresearch.sources.files.columns import name_columns, read_numbers, read_times
from tests.sources import market

INSTANT = 1_711_459_800  # 2024-03-26 13:30:00 UTC, 09:30 in New York
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
WHAT = "file x.csv, column 'timestamp_utc'"


def read(values, tz=None):
    return read_times(values if isinstance(values, pa.Array) else pa.array(values), tz, WHAT).tolist()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", ["int64", "uint64", "float64"])
def test_epoch_numbers_are_read_in_their_unit(unit, kind):
    values = np.array([(INSTANT + i) * UNITS[unit] for i in range(3)]).astype(kind)
    assert read(pa.array(values)) == [INSTANT, INSTANT + 1, INSTANT + 2]


def test_seconds_in_32_bits_are_read():
    assert read(pa.array([INSTANT], pa.int32())) == [INSTANT]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parts_of_a_second_are_cut_off(unit):
    assert read([INSTANT * UNITS[unit] + UNITS[unit] - 1]) == [INSTANT]


def test_broken_seconds_are_floored():
    assert read([INSTANT + 0.999, INSTANT + 1.0]) == [INSTANT, INSTANT + 1]


def test_decimal_seconds_are_floored():
    assert read([Decimal("1711459800.5"), Decimal("1711459801")]) == [INSTANT, INSTANT + 1]


def test_the_unit_is_that_of_most_stamps_whatever_their_order():
    assert read([(INSTANT + i) * 1000 for i in (5, 0, 3)]) == [INSTANT + 5, INSTANT, INSTANT + 3]


@pytest.mark.parametrize("text", ["1711459800", "1711459800.5", "1711459800500", "1711459800000000", " 1711459800 "])
def test_epoch_numbers_may_be_text(text):
    assert read([text, text]) == [INSTANT, INSTANT]


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-26T13:30:00Z",
        "2024-03-26 13:30:00Z",
        "2024-03-26T13:30Z",
        "20240326T133000Z",
        "2024-03-26T13:30:00.999999Z",
        "2024-03-26T13:30:00.999999999Z",
        "2024-03-26T09:30:00-04:00",
        "2024-03-26T09:30:00-0400",
        "2024-03-26 13:30:00+00",
        "2024-03-26T19:00:00+05:30",
    ],
)
def test_iso_text_with_a_zone_is_read(text):
    assert read([text]) == [INSTANT]


@pytest.mark.parametrize("form", ["{}:00", "{}00", "{}"])
def test_offsets_that_change_with_daylight_saving_are_read(form):
    texts = ["2024-03-26 09:30:00" + form.format("-04"), "2024-12-26 09:30:00" + form.format("-05")]
    assert read(texts) == [INSTANT, 1_735_223_400]


def test_naive_text_is_read_in_the_zone_that_is_named():
    texts = ["2024-03-26 09:30:00", "2024-12-26 09:30:00"]
    assert read(texts, tz="America/New_York") == [INSTANT, 1_735_223_400]
    assert read(["2024-03-26 13:30:00"], tz="UTC") == [INSTANT]


def test_a_named_zone_does_not_move_stamps_that_have_one():
    assert read(["2024-03-26T13:30:00Z"], tz="America/New_York") == [INSTANT]


def test_the_hours_of_a_clock_change_are_read_without_a_word():
    found = read(["2024-11-03 01:30:00", "2024-03-10 02:30:00"], tz="America/New_York")
    assert found == [1_730_615_400, 1_710_054_000]  # the later one of the two; the first second after the gap


def test_naive_text_without_a_zone_is_refused_with_the_fix():
    with pytest.raises(BadInput, match=r'timestamp_utc.*no zone.*tz="UTC" or tz="America/New_York"'):
        read(["2024-03-26 09:30:00"])


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "EDTT"])
def test_a_zone_that_is_none_is_refused_by_name(zone):
    with pytest.raises(BadInput, match=r"tz: .*America/New_York"):
        read(["2024-03-26 09:30:00"], tz=zone)


def test_text_of_which_only_some_has_a_zone_is_refused_by_row():
    with pytest.raises(BadInput, match=r"row 2, '2024-03-26 13:32:00Z'.*zone"):
        read(["2024-03-26 13:30:00", "2024-03-26 13:31:00", "2024-03-26 13:32:00Z"])


@pytest.mark.parametrize("unit", UNITS)
def test_datetimes_are_read_with_a_zone_or_in_the_one_named(unit):
    naive = pd.Series(pd.to_datetime(["2024-03-26 09:30:00"])).dt.as_unit(unit)
    aware = naive.dt.tz_localize("America/New_York")
    assert read(pa.array(aware)) == [INSTANT]
    assert read(pa.array(naive), tz="America/New_York") == [INSTANT]
    with pytest.raises(BadInput, match="no zone"):
        read(pa.array(naive))


def test_repeated_text_kept_as_categories_is_read():
    assert read(pa.array(["2024-03-26T13:30:00Z"] * 3).dictionary_encode()) == [INSTANT] * 3


@pytest.mark.parametrize("values", [["2024-03-26"], ["20240326 "], [date(2024, 3, 26)], [True]])
def test_dates_and_truths_are_no_times(values):
    with pytest.raises(BadInput, match=r"timestamp_utc"):
        read(values)


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([INSTANT, None, INSTANT], 1),
        (["2024-03-26T13:30:00Z", "2024-03-26T13:31:00Z", None], 2),
        (pa.array([pd.Timestamp("2024-03-26", tz="UTC"), None]), 1),
    ],
)
def test_a_missing_stamp_is_refused_by_row(values, row):
    with pytest.raises(BadInput, match=f"timestamp_utc.*row {row} is missing"):
        read(values)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), -5.0, 0.0, 5.0])
def test_a_number_that_is_no_time_is_refused_by_row_and_value(bad):
    with pytest.raises(BadInput, match=rf"timestamp_utc.*row 2 is .*{bad}"):
        read([float(INSTANT), INSTANT + 1.0, bad, INSTANT + 3.0])


def test_numbers_that_are_all_no_times_are_refused_by_value():
    with pytest.raises(BadInput, match=r"timestamp_utc.*\b6\b.*1990 to 2100"):
        read([5, 6, 7])


@pytest.mark.parametrize("bad", ["nonsense", "", "2024-13-26T13:30:00Z", "13:30:00Z", "2024/03/26 13:30:00Z"])
def test_text_that_is_no_time_is_refused_by_row_and_value(bad):
    with pytest.raises(BadInput, match=f"timestamp_utc.*row 1.* {bad!r}"):
        read(["2024-03-26T13:30:00Z", bad, "2024-03-26T13:32:00Z"])


@pytest.mark.parametrize("bad", ["nonsense", "", "-1711459800"])
def test_numeric_text_with_something_else_in_it_is_refused_by_that_row(bad):
    with pytest.raises(BadInput, match=f"timestamp_utc.*row 1 is {bad!r}"):
        read(["1711459800", bad, "1711459802"])


@pytest.mark.parametrize("text", ["1024-03-26T13:30:00Z", "2500-03-26T13:30:00Z"])
def test_a_year_in_which_nobody_traded_is_refused(text):
    with pytest.raises(BadInput, match=rf"row 0 is .*{text[:10]}.*1990 and 2100"):
        read([text])


def test_prices_of_any_kind_become_floats_and_missing_ones_nan():
    for column in ([1, 2, None], [1.0, 2.0, None], [Decimal("1.00"), Decimal("2.00"), None], ["1.0", "2", None]):
        np.testing.assert_array_equal(read_numbers(pa.chunked_array([pa.array(column)]), "price"), [1, 2, np.nan])


def test_a_price_that_is_no_number_is_refused_by_value():
    with pytest.raises(BadInput, match=r"'price'.*'abc'"):
        read_numbers(pa.chunked_array([pa.array(["1.0", "abc"])]), "file x, column 'price'")


def test_columns_are_mapped_to_their_own_names():
    found = ["When", "Close", "Symbol"]
    mapped = {"timestamp_utc": "When", "price": "Close", "ticker": "Symbol"}
    assert name_columns(found, mapped, "file x") == mapped


def test_the_default_names_need_no_mapping_and_others_are_left_alone():
    assert name_columns(["price", "exchange", "timestamp_utc"], None, "f") == {
        "timestamp_utc": "timestamp_utc",
        "price": "price",
    }


@pytest.mark.parametrize(
    ("found", "mapped", "expected"),
    [
        (["size"], {}, "size"),
        (["Volume"], {}, "Volume"),
        ([" VOL "], {}, " VOL "),
        (["QTY", "quantity"], {}, "QTY"),
        (["size", "Volume"], {}, "Volume"),
        (["Volume", "volume"], {}, "volume"),
        (["size", "Volume"], {"volume": "size"}, "size"),
        (["traded"], {"volume": "traded"}, "traded"),
        (["volume", "size"], {"volume": None}, None),
        (["traded"], {"volume": None}, None),
        (["volume"], {"price": "volume"}, None),
        (["bid_size", "volumes", "turnover"], {}, None),
    ],
)
def test_the_volume_has_one_of_its_usual_names_or_the_one_it_is_given(found, mapped, expected):
    names = name_columns(["timestamp_utc", "price", *found], mapped, "f")
    assert names.get("volume") == expected
    assert names["timestamp_utc"] == "timestamp_utc"


def test_only_the_volume_can_be_said_to_be_missing(tmp_path):
    path = tmp_path / "prices.csv"
    market.prices().to_csv(path, index=False)
    for source in (path, market.prices()):
        with pytest.raises(BadInput, match="no column None; its columns are timestamp_utc"):
            load_sessions(source, "TEST", columns={"timestamp_utc": None})
    with pytest.raises(BadInput, match="no column 'traded'"):
        load_sessions(path, "TEST", columns={"volume": "traded"})


def test_a_volume_that_is_no_number_is_refused_with_how_to_do_without():
    frame = market.prices().assign(size="large")
    with pytest.raises(
        BadInput, match=r"column 'volume': row 0 is 'large', which is no number.*columns=\{\"volume\": None\}"
    ):
        load_sessions(frame, "TEST")
    assert load_sessions(frame, "TEST", columns={"volume": None}).volume is None


def test_a_mapping_that_names_no_column_is_refused_with_those_available():
    with pytest.raises(BadInput, match=r"file x: no column 'Last'; its columns are When, Close"):
        name_columns(["When", "Close"], {"timestamp_utc": "When", "price": "Last"}, "file x")


def test_an_unknown_canonical_name_is_refused_with_those_known():
    with pytest.raises(
        BadInput, match=r"'time' is no column orbresearch knows; known are timestamp_utc, ticker, price"
    ):
        name_columns(["When"], {"time": "When"}, "file x")


MISSING = [("timestamp_utc", "price"), ("price", "timestamp_utc")]


@pytest.mark.parametrize(("missing", "there"), MISSING)
@pytest.mark.parametrize("kind", ["parquet", "csv", "frame"])
def test_a_missing_column_is_named_with_those_available_and_the_fix(missing, there, kind, tmp_path):
    frame = pd.DataFrame({"Datum": [INSTANT], there: [INSTANT], "Schluss": [100.0]})
    path = tmp_path / f"prices.{kind}"
    source = frame if kind == "frame" else path
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    with pytest.raises(BadInput, match=rf"no column '{missing}'.*Datum.*Schluss.*columns=\{{\"{missing}\": ...\}}"):
        load_sessions(source, "TEST")


def test_a_datetime_index_serves_as_the_time():
    frame = market.prices()
    stamps = pd.to_datetime(frame["timestamp_utc"], unit="s", utc=True)
    expected = load_sessions(frame, "TEST")
    indexed = frame.drop(columns="timestamp_utc").set_index(pd.DatetimeIndex(stamps, name="Date"))
    market.same(load_sessions(indexed, "TEST"), expected)
    local = indexed.tz_convert("America/New_York")
    market.same(load_sessions(local, "TEST"), expected)
    naive = local.tz_localize(None)
    market.same(load_sessions(naive, "TEST", tz="America/New_York"), expected)
    with pytest.raises(BadInput, match="no zone"):
        load_sessions(naive, "TEST")


def test_a_frame_column_of_mixed_values_is_refused_by_column():
    frame = market.prices().astype(object)
    frame.loc[3, "timestamp_utc"] = "nonsense"
    with pytest.raises(BadInput, match=r"timestamp_utc.*nonsense"):
        load_sessions(frame, "TEST")
    frame = market.prices().astype({"price": object})
    frame.loc[3, "price"] = "abc"
    with pytest.raises(BadInput, match=r"price.*abc"):
        load_sessions(frame, "TEST")


def test_a_frames_columns_may_be_numbers():
    frame = market.prices()
    numbered = frame.set_axis(range(3), axis=1)
    columns = {"timestamp_utc": "0", "ticker": "1", "price": "2"}
    market.same(load_sessions(numbered, "TEST", columns=columns), load_sessions(frame, "TEST"))
    assert list(numbered.columns) == [0, 1, 2]


def test_a_frame_with_two_columns_of_a_name_is_refused_by_that_name():
    frame = market.prices()
    doubled = pd.concat([frame, frame[["price"]]], axis=1)
    with pytest.raises(BadInput, match=r"'price'"):
        load_sessions(doubled, "TEST")
