"""Opening ranges, closes and spans of a warehouse, against plain Python and pandas on the rows."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from tests.sources.warehouses import Making, commonest, standing, usable


def at(text):
    return int(pd.Timestamp(text, tz="UTC").timestamp())


SESSIONS = {
    "2024-03-08": (at("2024-03-08 14:30"), at("2024-03-08 21:00")),  # winter time
    "2024-03-11": (at("2024-03-11 13:30"), at("2024-03-11 20:00")),  # summer time
    "2024-07-03": (at("2024-07-03 13:30"), at("2024-07-03 17:00")),  # half a day
}
NAMES = [f"T{number:03d}" for number in range(12)]


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def making(request, tmp_path):
    found = Making(tmp_path / "w.sqlite" if request.param == "sqlite" else request.getfixturevalue("server"))
    yield found
    found.clear()


def option_rows(names=NAMES, seed=0):
    """Return rows around the opens and the closes of three sessions, in random order, many of them bad."""
    rng = np.random.default_rng(seed)
    rows = []
    for opened, closed in SESSIONS.values():
        offsets = [*range(-5, 1), *rng.integers(0, 400, 25).tolist(), 299, 300, closed - opened, closed - opened + 1]
        for name in names:
            for _ in range(rng.integers(0, 60)):
                price = [None, 0.0, -1.0, *(100 + rng.integers(-300, 300, 6) / 100).tolist()][rng.integers(9)]
                volatility = [None, 0.0, -0.1, 0.21, 0.27, 0.33][rng.integers(6)]
                delta = [None, -0.6, -0.55, -0.4, 0.39, 0.41, 0.5, 0.6][rng.integers(8)]
                second = opened + offsets[rng.integers(len(offsets))]
                rows.append((second, name, price, 100.0, "2024-08-16", delta, volatility))
    return [rows[k] for k in rng.permutation(len(rows))]


def expected_range(rows, ticker, day, seconds, stands=standing):
    """Return strategy.md's opening range of a ticker, slowly; None without a price in the window."""
    opened, closed = SESSIONS[day]
    known = {t: price for t, price in stands(rows, ticker, opened, closed).items() if price == price}
    window = [price for t, price in known.items() if t < opened + seconds]
    if not window:
        return None
    near = [
        row[6]
        for row in rows
        if row[1] == ticker and opened <= row[0] < opened + seconds and row[0] <= closed
        if usable(row[2]) and row[5] is not None and 0.4 < abs(row[5]) < 0.6 and row[6] is not None and row[6] > 0
    ]
    after = [t for t in known if t >= opened + seconds]
    return {
        "ticker": ticker,
        "session": pd.Timestamp(day),
        "open_price": window[0],
        "high": max(window),
        "low": min(window),
        "count_trades": len(window),
        "trading_start": min(after) if after else None,
        "avg_vol": statistics.mean(near) if len(near) > 1 else math.nan,
    }


def check(found, rows, seconds, names=NAMES, days=tuple(SESSIONS), stands=standing):
    expected = [expected_range(rows, name, day, seconds, stands) for day in days for name in sorted(names)]
    frame = pd.DataFrame([one for one in expected if one])
    frame = frame.astype({"trading_start": "Int64"})
    pd.testing.assert_frame_equal(found, frame, check_dtype=False, rtol=1e-12)


@pytest.mark.parametrize("seconds", [1, 60, 300, 12_600, 20_000])
def test_opening_ranges_are_those_of_the_strategy(making, seconds):
    rows = option_rows()
    found = making.make(rows).opening_ranges(seconds, "2024-03-08", "2024-07-03", NAMES)
    check(found, rows, seconds)
    assert {"count_trades": "int64", "trading_start": "Int64", "avg_vol": "float64"}.items() <= (
        found.dtypes.astype(str).to_dict().items()
    )


@pytest.mark.mysql
def test_without_a_key_the_commonest_prices_count(server):
    making, rows = Making(server), option_rows(seed=1)
    try:
        warehouse = making.make(rows, key=False)
        check(warehouse.opening_ranges(300, "2024-03-08", "2024-07-03"), rows, 300, stands=commonest)
    finally:
        making.clear()


def test_all_tickers_by_default_and_one_day(making):
    rows = option_rows(seed=2)
    warehouse = making.make(rows)
    check(warehouse.opening_ranges(300, "2024-03-11"), rows, 300, days=["2024-03-11"])
    one = warehouse.opening_ranges(300, "2024-03-11", tickers="T003")
    check(one, rows, 300, ["T003"], ["2024-03-11"])


def test_five_hundred_tickers_in_one_list(making):
    names = [f"N{number:04d}" for number in range(500)]
    rows = [row for row in option_rows(names, 3) if row[0] < SESSIONS["2024-03-11"][0] - 9999]
    found = making.make(rows).opening_ranges(300, "2024-03-08", tickers=[*names, "NONE"])
    check(found, rows, 300, names, ["2024-03-08"])


def test_names_that_a_server_folds_are_different_tickers(making):
    opened = SESSIONS["2024-03-08"][0]
    rows = [(opened, "SPY", 10.0), (opened, "spy", 11.0), (opened + 1, "SPY ", 12.0), (opened + 600, "spy", 11.0)]
    found = making.make(rows).opening_ranges(300, "2024-03-08", tickers=["SPY"])
    assert found["ticker"].tolist() == ["SPY"]
    assert found["high"].tolist() == [10.0]
    assert found["trading_start"].isna().tolist() == [True]
    assert found["avg_vol"].isna().tolist() == [True]


def test_nothing_found_is_a_frame_with_its_columns(making):
    warehouse = making.make([(SESSIONS["2024-03-08"][1], "SPY", 10.0)])
    for found in (warehouse.opening_ranges(300, "2024-03-08"), warehouse.opening_ranges(300, "2024-03-11")):
        assert len(found) == 0
        assert "trading_start" in found


def test_a_ticker_that_has_nothing_is_named(tmp_path, caplog):
    making = Making(tmp_path / "w.sqlite")
    warehouse = making.make([(SESSIONS["2024-03-08"][0], "SPY", 10.0)])
    assert warehouse.opening_ranges(300, "2024-03-08", tickers=["SPY", "SPYY"])["ticker"].tolist() == ["SPY"]
    assert "nothing of SPYY in options.greeks" in caplog.text
    assert making.make_closes(CLOSES).daily_closes(["QQQ", "QQQQ"])["ticker"].tolist() == ["QQQ"]
    assert "nothing of QQQQ in stocks.daily_underlying" in caplog.text
    assert len(caplog.records) == 2


@pytest.mark.parametrize("seconds", [0, -1, True, "300", 300.0, None, 23_401])
def test_a_duration_that_no_session_has_is_refused(seconds):
    with pytest.raises(BadInput) as caught:
        orb.Warehouse("sqlite:///none.sqlite").opening_ranges(seconds, "2024-03-08")
    assert caught.value.what == "range_duration"


def test_a_duration_longer_than_half_a_day_is_refused_there():
    with pytest.raises(BadInput, match="12601 seconds are more than a session's 12600"):
        orb.Warehouse("sqlite:///none.sqlite").opening_ranges(12_601, "2024-07-03")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "2024-03-09"}, "start: no session of XNYS from 2024-03-09 to 2024-03-09"),
        ({"start": "2024-03-09", "end": "2024-03-10"}, "no session of XNYS from 2024-03-09 to 2024-03-10"),
        ({"end": "2024-03-07"}, "end: 2024-03-07 lies before start 2024-03-08"),
        ({"start": "soon"}, "start: 'soon' is no date"),
        ({"start": None}, "start: None is no date"),
        ({"end": 5}, "end: 5 is no date"),
        ({"calendar": "NOWHERE"}, "calendar: 'NOWHERE' is not known"),
        ({"tickers": []}, r"tickers: \[\] are no tickers"),
        ({"tickers": [1]}, r"tickers: \[1\] are no tickers"),
    ],
)
def test_what_makes_no_sense_is_named(changes, message):
    with pytest.raises(BadInput, match=message):
        orb.Warehouse("sqlite:///none.sqlite").opening_ranges(300, **{"start": "2024-03-08", **changes})


# --- closes, tickers, spans


CLOSES = [
    ("SPY", "2024-01-03", 470.5),
    ("SPY", "2024-01-02", 472.25),
    ("QQQ", "2024-01-02", 400.0),
    ("spy", "2024-01-02", 1.0),
    ("SPY", "2024-01-05", None),
    (None, "2024-01-02", 9.0),
]


def test_daily_closes_come_by_ticker_and_date(making):
    warehouse = making.make_closes(CLOSES)
    frame = pd.DataFrame(CLOSES, columns=["ticker", "date", "close_price"]).dropna(subset="ticker")
    frame = frame.assign(date=pd.to_datetime(frame["date"])).sort_values(["ticker", "date"], ignore_index=True)
    pd.testing.assert_frame_equal(warehouse.daily_closes(), frame, check_dtype=False)
    of_spy = frame[frame["ticker"] == "SPY"].reset_index(drop=True)
    for tickers in ("SPY", ["SPY"], iter(["SPY", "NONE"]), pd.Series(["SPY"])):
        pd.testing.assert_frame_equal(warehouse.daily_closes(tickers), of_spy, check_dtype=False)
    for start, end, count in [("2024-01-03", None, 2), (None, "2024-01-03", 2), ("2024-01-03", "2024-01-04", 1)]:
        assert len(warehouse.daily_closes("SPY", start, end)) == count
    empty = warehouse.daily_closes("NONE")
    assert empty.columns.tolist() == ["ticker", "date", "close_price"]
    assert empty["close_price"].dtype == float
    with pytest.raises(BadInput, match="end: 'later' is no date"):
        warehouse.daily_closes("SPY", end="later")


def test_tickers_and_spans(making):
    rows = [(7, "SPY", 1.0), (3, "SPY", None), (5, "QQQ", 1.0), (None, "SPY", 1.0), (1, None, 1.0), (9, "qqq", 1.0)]
    warehouse = making.make(rows)
    assert warehouse.span("SPY") == (3, 7)
    assert warehouse.span("QQQ") == (5, 5)
    assert warehouse.span("NONE") is None
    assert {name.upper() for name in warehouse.tickers()} == {"SPY", "QQQ"}
    assert making.make([]).tickers() == []
