"""CSV as people have it: separators, marks, names in capitals, columns whose first rows say nothing of the rest."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import load_sessions
from orbresearch.errors import BadInput
from orbresearch.sources.files.columns import name_columns
from tests.sources import market
from tests.sources.test_folders import put
from tests.sources.test_load import write

BARS, PRICES = market.bars(), market.prices()
LOCAL = pd.to_datetime(BARS["timestamp_utc"], unit="s", utc=True).dt.tz_convert("America/New_York")
CAPITALS = {name: name.title() for name in ("open", "high", "low", "volume", "ticker")}
APART = BARS.rename(columns={**CAPITALS, "price": "Close"}).assign(
    Date=LOCAL.dt.strftime("%Y-%m-%d"), Time=LOCAL.dt.strftime("%H:%M:%S")
)
APART = APART[["Date", "Time", "Open", "High", "Low", "Close", "Volume", "Ticker"]]
JOINED = {"columns": {"timestamp_utc": ("Date", "Time")}, "tz": "America/New_York"}


def text_of(frame, sep=",", end="\n", mark="", head=None):
    text = frame.to_csv(index=False, sep=sep, lineterminator=end)
    lines = text.split(end, 1)
    return (mark + (head or lines[0]) + end + lines[1]).encode()


@given(
    sep=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff", "\n", "\ufeff\r\n"]),
    quoted=st.booleans(),
    packed=st.booleans(),
    frame=st.sampled_from([BARS, PRICES]),
)
def test_separators_ends_of_lines_marks_and_quotes_make_no_difference(
    sep, end, mark, quoted, packed, frame, tmp_path_factory
):
    path = tmp_path_factory.mktemp("csv") / ("p.csv.gz" if packed else "p.csv")
    head = sep.join(f'"{name}"' for name in frame.columns) if quoted else None
    content = text_of(frame, sep, end, mark, head)
    path.write_bytes(gzip.compress(content) if packed else content)
    market.same(load_sessions(path, "TEST", cache=False), load_sessions(frame, "TEST"))


@pytest.mark.parametrize("change", [str.upper, str.title, lambda name: f" {name.capitalize()} "])
@pytest.mark.parametrize("close", ["price", "close"])
@pytest.mark.parametrize("kind", ["p.csv", "p.parquet", "frame"])
def test_names_in_any_case_and_with_spaces_are_known(change, close, kind, tmp_path):
    frame = BARS.rename(columns={"price": close}).rename(columns=change)
    source = frame if kind == "frame" else write(frame, tmp_path / kind)
    market.same(load_sessions(source, "TEST"), load_sessions(BARS, "TEST"))


@pytest.mark.parametrize("name", ["timestamp", "Time", "DATETIME", "date", " Date ", "TIMESTAMP_UTC"])
def test_the_only_column_that_is_called_like_a_time_is_the_time(name, tmp_path):
    frame = PRICES.rename(columns={"timestamp_utc": name})
    for source in (frame, write(frame, tmp_path / "p.csv")):
        market.same(load_sessions(source, "TEST"), load_sessions(PRICES, "TEST"))


AMBIGUOUS = [
    (["Date", "Time", "price"], r"but 'Date' and 'Time'; say which: .*\{\"timestamp_utc\": \(\"Date\", \"Time\"\)\}"),
    (["datetime", "Time", "price"], r"no column 'timestamp_utc', but 'datetime' and 'Time'; say which: .*: \.\.\.\}"),
    (["time", "Price", "PRICE"], "no column 'price' or 'close'"),
    (["when", "price"], "no column 'timestamp_utc'; its columns are when, price"),
]


@pytest.mark.parametrize(("found", "message"), AMBIGUOUS, ids=str)
def test_names_that_may_mean_two_columns_are_asked_for(found, message):
    with pytest.raises(BadInput, match=message):
        name_columns(found, None, "f")


@pytest.mark.parametrize(
    ("found", "mapped", "expected"),
    [
        (["timestamp_utc", "time", "price"], {}, {"timestamp_utc": "timestamp_utc", "price": "price"}),
        (["Date", "Time", "price"], {"timestamp_utc": "Time"}, {"timestamp_utc": "Time", "price": "price"}),
        (["time", "Close", "Price"], {}, {"timestamp_utc": "time", "price": "Price", "close": "Close"}),
        (["time", "Close", "Price"], {"price": "Close"}, {"timestamp_utc": "time", "price": "Close"}),
        (["time", "price", "PRICE"], {}, {"timestamp_utc": "time", "price": "price"}),
        (["time", "underlying"], {}, {"timestamp_utc": "time", "price": "underlying"}),
        (["time", "Underlying", "close"], {}, {"timestamp_utc": "time", "close": "close"}),
        (["time", "underlying", "last"], {"price": "last"}, {"timestamp_utc": "time", "price": "last"}),
        (["a", "b", "price"], {"timestamp_utc": ("a", "b")}, {"timestamp_utc": ("a", "b"), "price": "price"}),
    ],
)
def test_a_mapping_wins_then_the_name_itself_then_one_like_it(found, mapped, expected):
    assert name_columns(found, mapped, "f") == expected


@pytest.mark.parametrize("sep", [",", ";"])
def test_a_date_and_a_time_of_day_are_joined(sep, tmp_path):
    (tmp_path / "p.csv").write_bytes(text_of(APART, sep))
    (tmp_path / "q.csv").write_bytes(text_of(APART.assign(Date=" " + APART["Date"], Time=APART["Time"].str[:5]), sep))
    APART.to_parquet(tmp_path / "p.parquet")
    typed = APART.assign(Date=LOCAL.dt.date, Time=LOCAL.dt.time)
    typed.to_parquet(tmp_path / "q.parquet")
    put(tmp_path, "p.zip!TEST.csv", APART)
    for source in (APART, typed, *(tmp_path / name for name in ("p.csv", "q.csv", "p.parquet", "q.parquet", "p.zip"))):
        market.same(load_sessions(source, "TEST", **JOINED), load_sessions(BARS, "TEST"))


def test_a_date_and_a_time_need_a_zone_and_each_other(tmp_path):
    (tmp_path / "p.csv").write_bytes(text_of(APART))
    with pytest.raises(BadInput, match=r'its times name no zone; say which: tz="UTC"'):
        load_sessions(tmp_path / "p.csv", "TEST", columns=JOINED["columns"])
    holes = APART.copy()
    holes.loc[4, "Time"] = None
    (tmp_path / "h.csv").write_bytes(text_of(holes))
    for source in (holes, tmp_path / "h.csv"):
        with pytest.raises(BadInput, match=r"columns 'Date' and 'Time': row 4 is missing; every row needs a date"):
            load_sessions(source, "TEST", **JOINED)
    odd = APART.assign(Date=APART["Date"].str.replace("-", "/"))
    with pytest.raises(BadInput, match=r"row 0 is '2024/07/02 09:30:00', which cannot be a time"):
        load_sessions(odd, "TEST", **JOINED)


@pytest.mark.parametrize("mapping", [{"price": ("a", "b")}, {"timestamp_utc": ("Date",)}, {"volume": ["x", "y"]}])
def test_only_a_time_has_two_columns(mapping):
    with pytest.raises(BadInput, match="only a time has two columns: its date and its time"):
        load_sessions(APART, "TEST", columns=mapping)
    with pytest.raises(BadInput, match="no column 'Clock'"):
        load_sessions(APART, "TEST", columns={"timestamp_utc": ("Date", "Clock")})


def test_a_column_of_whole_numbers_may_go_on_with_fractions(tmp_path):
    """The first megabyte of a CSV says nothing about the rest."""
    days = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-01-02", "2024-04-30"))
    frame = market.bars(days).assign(open=100.0, high=100.0, low=100.0, price=100.0, volume=1.0)
    frame.loc[len(frame) - 5, ["high", "volume"]] = [100.25, 2.5]
    text = frame.to_csv(index=False).replace(".0,", ",").replace(".0\n", "\n")
    (tmp_path / "p.csv").write_text(text)
    assert len(text) > 1 << 20
    market.same(load_sessions(tmp_path / "p.csv", "TEST"), load_sessions(frame, "TEST"))


def test_tickers_are_text_whatever_they_look_like(tmp_path):
    frame = pd.concat([PRICES.assign(ticker=name) for name in ("007", "NA", "1e3", "true")])
    assert list(load_sessions(write(frame, tmp_path / "p.csv"))) == ["007", "1e3", "NA", "true"]


def test_missing_prices_are_dropped_and_counted_as_before(tmp_path):
    frame = PRICES.astype({"price": object})
    frame.loc[[3, 4, 5, 6], "price"] = ["", "NaN", "null", "inf"]
    assert load_sessions(write(frame, tmp_path / "p.csv"), "TEST").quality["dropped"].sum() == 4


BAD = ["1,234.5", "$5.00", "5.0 USD", "5,25", "x"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", ["p.csv", "p.parquet", "p.zip!a.csv", "frame"])
def test_a_price_that_is_no_number_is_refused_by_column_row_and_value(bad, kind, tmp_path):
    frame = BARS.astype({"high": str})
    frame.loc[7, "high"] = bad
    source = frame if kind == "frame" else put(tmp_path, kind, frame)
    with pytest.raises(
        BadInput, match=r"column 'high': row 7 is '.*', which is no number; give prices in dollars"
    ) as told:
        load_sessions(source, "TEST")
    assert bad in str(told.value)
    closes = load_sessions(source, "TEST", bar=0)  # which needs no high
    np.testing.assert_array_equal(closes.columns["price"], load_sessions(BARS, "TEST", bar=0).columns["price"])


def test_a_volume_that_is_no_number_is_refused_by_row_unless_it_is_left_alone(tmp_path):
    frame = BARS.astype({"volume": str})
    frame.loc[[2, 5], "volume"] = ["", "1,000"]
    path = write(frame, tmp_path / "p.csv")
    with pytest.raises(BadInput, match=r"column 'volume': row 5 is '1,000', which is no number; .*\"volume\": None"):
        load_sessions(path, "TEST")
    assert load_sessions(path, "TEST", columns={"volume": None}).volume is None


UNREADABLE = {
    "empty": (b"", r"file p\.csv: no readable CSV \(it is empty\)"),
    "blank": (b"\n \n", r"file p\.csv: no readable CSV \(it is empty\)"),
    "utf-16": (
        "timestamp_utc,price\n1,2\n".encode("utf-16"),
        r"no readable CSV \(it is UTF-16 text\); save it",
    ),
    "torn": (b"timestamp_utc,price\n1711459800,1\n1711459801\n", r"no readable CSV \(CSV parse error: Expected 2 col"),
    "twice": (b"timestamp_utc,price,price\n1711459800,1,2\n", r"it has several columns 'price'; give each name once"),
    "no header": (b"1711459800,1\n1711459801,2\n", r"no column 'timestamp_utc'; its columns are 1711459800, 1"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_csv_is_refused(content, message, tmp_path):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        load_sessions(tmp_path / "p.csv", "TEST")


def test_a_column_of_two_meanings_is_read_once(tmp_path):
    path = write(BARS, tmp_path / "p.csv")
    lows = load_sessions(path, "TEST", columns={"price": "low"}, bar=0)
    np.testing.assert_allclose(lows.columns["price"] / 100, BARS["low"])


def test_a_table_of_options_has_the_price_of_its_underlying(tmp_path):
    """Several rows of a snapshot, each of another strike, say the same price."""
    frame = PRICES.loc[PRICES.index.repeat(3)].rename(columns={"price": "underlying"})
    frame = frame.assign(strike=[95.0, 100, 105] * len(PRICES), delta=0.5, implied_volatility=0.2, bid=1.0, ask=1.1)
    for source in (frame, write(frame, tmp_path / "p.csv"), write(frame, tmp_path / "p.parquet")):
        found = load_sessions(source, "TEST")
        assert found.series.hash == load_sessions(PRICES, "TEST").series.hash


def test_folders_of_a_path_are_no_columns_of_a_file(tmp_path):
    folder = tmp_path / "ticker=OTHER"
    folder.mkdir()
    path = write(PRICES.drop(columns="ticker"), folder / "p.parquet")
    assert load_sessions(path, "TEST").series.hash == load_sessions(PRICES, "TEST").series.hash
