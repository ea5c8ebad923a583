"""Screening: closes, correlations and implied volatility at the money, against pandas and plain Python."""

from __future__ import annotations

import math
import sqlite3
import statistics

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.sources.synthetic.market import character_of
from tests.sources.standin import StandIn, attached, url_of

TICKERS, SESSIONS = ["SPY", "SYN001", "SYN002"], 8


@pytest.fixture(scope="module", params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def filled(request, tmp_path_factory):
    """Return a warehouse of three tickers and eight sessions from 2024-01-11 on."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("warehouse") / "w.sqlite"
        orb.synthetic_warehouse(f"sqlite:///{path}", TICKERS, SESSIONS, start="2024-01-11", per_second=2)
        yield StandIn(path)
        return
    server = request.getfixturevalue("server")
    orb.synthetic_warehouse(url_of(server), TICKERS, SESSIONS, start="2024-01-11", per_second=2)
    server.run("ANALYZE TABLE options.greeks")  # else a plan depends on when the server last counted its rows
    yield StandIn(server)
    for database in ("options", "stocks"):
        server.drop_database(database)


@pytest.fixture
def made(tmp_path):
    """Return a function that puts rows into a warehouse of its own."""
    path = tmp_path / "made.sqlite"
    columns = "timestamp_utc, ticker, underlying, strike, expiration, delta, implied_volatility"
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE greeks ({columns})")
    connection.execute("CREATE TABLE daily_underlying (ticker, date, close_price)")

    def made(greeks=(), closes=()):
        connection.executemany(f"INSERT INTO greeks ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", greeks)
        connection.executemany("INSERT INTO daily_underlying VALUES (?, ?, ?)", closes)
        connection.commit()
        return StandIn(path)

    yield made
    connection.close()


def frame_of(warehouse, second):
    """Return all rows of the half hour around a second."""
    sql = "SELECT * FROM options.greeks WHERE timestamp_utc BETWEEN :first AND :last"
    found = warehouse.query(sql, {"first": second - 900, "last": second + 900})
    return found.assign(expiration=found["expiration"].astype(str))


# --- correlation


def long(**prices):
    dates = pd.date_range("2024-01-01", periods=99)
    return pd.DataFrame(
        [
            (ticker, date, value)
            for ticker, values in prices.items()
            for date, value in zip(dates, values, strict=False)
        ],
        columns=["ticker", "date", "close_price"],
    )


def wide(seed=0, count=80):
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.01, (count, 4)) + rng.normal(0, 0.01, (count, 1))
    return pd.DataFrame(100 * np.exp(np.cumsum(steps, 0)), pd.bdate_range("2024-01-02", periods=count), list("ABCS"))


def test_correlation_is_pearsons_of_returns():
    prices = wide()
    found = orb.correlation(prices, "S")
    right = prices.pct_change().corr()["S"]
    pd.testing.assert_series_equal(found["correlation"], right.rename("correlation"), check_names=False)
    assert found["dates"].tolist() == [80] * 4
    assert found.index.tolist() == list("ABCS")
    one = statistics.correlation(*(prices[name].pct_change().dropna().tolist() for name in "AS"))
    assert found["correlation"]["A"] == pytest.approx(one)


def test_correlation_of_prices_is_what_it_was_in_old_notebooks():
    prices = wide(1)
    found = orb.correlation(prices, "S", of="prices")["correlation"]
    pd.testing.assert_series_equal(found, prices.corr()["S"], check_names=False)


def test_long_and_wide_closes_say_the_same():
    prices = wide(2)
    melted = prices.rename_axis("date").reset_index().melt("date", var_name="ticker", value_name="close_price")
    shuffled = melted.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(orb.correlation(shuffled, "S"), orb.correlation(prices[::-1], "S"))


def test_only_dates_that_both_have_count():
    prices = wide(3)
    prices.loc[prices.index[10:30], "A"] = np.nan
    prices.loc[prices.index[50:], "S"] = np.nan
    found = orb.correlation(prices, "S").loc["A"]
    common = prices[["A", "S"]].dropna()
    assert found["dates"] == len(common) == 30
    assert found["correlation"] == pytest.approx(common.pct_change().corr().loc["A", "S"])


@pytest.mark.parametrize(
    ("values", "of", "defined"),
    [
        ([1.0, 2.0], "prices", False),
        ([1.0, 2.0, 4.0], "prices", True),
        ([1.0, 2.0, 3.0], "returns", False),  # two returns always lie on a line
        ([1.0, 2.0, 3.0, 5.0], "returns", True),
        ([7.0] * 9, "returns", False),
        ([7.0] * 9, "prices", False),
        ([1.1**k for k in range(9)], "returns", False),  # always the same return, but for rounding
        ([], "returns", False),
    ],
)
def test_a_correlation_that_says_nothing_is_missing(values, of, defined):
    steps = [5.0, 7.0, 6.0, 8.0, 3.0, 4.0, 9.0, 5.0, 6.0]
    found = orb.correlation(long(SPY=steps, X=[*values, *[math.nan] * (9 - len(values))]), of=of)
    assert math.isnan(found["correlation"]["X"]) is not defined
    assert found["dates"]["X"] == len(values)


@pytest.mark.parametrize(
    ("closes", "options", "what"),
    [
        (long(X=[1, 2, 3]), {}, "benchmark"),
        (long(SPY=[math.nan] * 3, X=[1, 2, 3]), {}, "benchmark"),
        (long(SPY=[1, 2, 3], X=[1, 0, 3]), {}, "closes"),
        (long(SPY=[1, 2, 3], X=[1, -2, 3]), {}, "closes"),
        (long(SPY=[1, 2, 3], X=[1, math.inf, 3]), {}, "closes"),
        (pd.concat([long(SPY=[1, 2, 3])] * 2), {}, "closes"),
        (pd.concat([wide()] * 2), {"benchmark": "S"}, "closes"),
        (pd.concat([wide()] * 2, axis=1), {"benchmark": "S"}, "closes"),
        (pd.DataFrame(), {}, "closes"),
        ([1, 2, 3], {}, "closes"),
        (wide(), {"benchmark": "S", "of": "logs"}, "of"),
    ],
)
def test_closes_that_cannot_be_are_refused(closes, options, what):
    with pytest.raises(BadInput) as caught:
        orb.correlation(closes, **options)
    assert caught.value.what == what


# --- at the money


def at_the_money(rows):
    """Return strike and volatility at the money of one second's rows, slowly."""
    usable = [row for row in rows.itertuples() if row.implied_volatility and row.implied_volatility > 0]
    price = statistics.median(row.underlying for row in usable)
    least = min(abs(row.strike - price) for row in usable)
    near = {}
    for row in usable:
        if abs(row.strike - price) < least + 1e-6:
            near.setdefault(row.strike, []).append(row.implied_volatility)
    return statistics.mean(near), statistics.mean(map(statistics.mean, near.values())), price


T, EXPIRY = 1_705_694_400, "2024-02-16"  # 2024-01-19, 15:00 in New York


def option(strike, volatility, *, second=T, ticker="SPY", underlying=100.2, expiration=EXPIRY):
    return second, ticker, underlying, strike, expiration, 0.5, volatility


def test_the_nearest_strike_counts_calls_and_puts_alike(made):
    rows = [option(99, 0.3), option(100, 0.2), option(100, 0.1), option(101, 0.4)]
    found = orb.at_the_money_volatility(made(rows), "SPY", T, EXPIRY).loc["SPY"]
    assert found["implied_volatility"] == pytest.approx(0.15)
    assert found[["strike", "underlying", "timestamp_utc"]].tolist() == [100, 100.2, T]


def test_of_two_strikes_equally_near_the_mean_counts(made):
    rows = [option(strike, v, underlying=621.5) for strike, v in [(621, 0.1), (621, 0.3), (622, 0.5), (623, 0.9)]]
    found = orb.at_the_money_volatility(made(rows), "SPY", T, EXPIRY).loc["SPY"]
    assert found["implied_volatility"] == pytest.approx((0.2 + 0.5) / 2)
    assert found["strike"] == 621.5


def test_missing_numbers_zeros_and_other_expiries_do_not_count(made):
    rows = [
        option(100, None),
        option(100, 0.0),
        option(100, -1.0),
        option(100, 0.9, expiration="2024-01-26"),
        option(101, 0.25),
        option(100, 0.8, second=T + 1),
    ]
    found = orb.at_the_money_volatility(made(rows), "SPY", T, EXPIRY).loc["SPY"]
    assert found[["implied_volatility", "strike"]].tolist() == [0.25, 101]


def test_the_last_second_with_rows_counts_within_a_few_minutes(made):
    rows = [option(100, 0.1, second=T - 400), option(100, 0.2, second=T - 299), option(100, None, second=T - 1)]
    warehouse = made([*rows, option(100, 0.4, second=T - 300, ticker="OLD"), option(50, 1.0, second=T, ticker="X")])
    found = orb.at_the_money_volatility(warehouse, ["X", "OLD", "SPY", "NONE"], T, EXPIRY)
    assert found.index.tolist() == ["X", "OLD", "SPY", "NONE"]
    assert found["implied_volatility"].tolist()[:3] == [1.0, 0.4, 0.2]
    assert found["timestamp_utc"].tolist()[:3] == [T, T - 300, T - 299]
    assert found.loc["NONE"].isna().all()
    assert len(warehouse.asked) == 1
    shorter = orb.at_the_money_volatility(warehouse, ["OLD", "SPY"], T, EXPIRY, within=299)
    assert shorter["implied_volatility"].isna().tolist() == [True, False]


def test_nothing_found_is_missing_not_an_error(made):
    found = orb.at_the_money_volatility(made(), ["SPY"], T)
    assert found.isna().all(axis=None)
    assert found.dtypes.astype(str).tolist() == ["float64", "float64", "float64", "Int64"]


@pytest.mark.parametrize(
    ("at", "expiry"),
    [
        ("2024-01-18 21:00", "2024-01-19"),
        ("2024-01-19 20:59:59", "2024-01-19"),
        ("2024-01-19 21:00", "2024-02-16"),  # they expire at that very moment
        (pd.Timestamp("2024-01-19 15:59", tz="America/New_York"), "2024-01-19"),
        ("2024-01-20 02:00", "2024-02-16"),
        ("2024-01-19 02:00", "2024-01-19"),  # the evening before, in New York
        ("2022-04-14 20:00", "2022-05-20"),
        (np.datetime64("2024-12-20T22:00"), "2025-01-17"),
    ],
)
def test_the_next_expiry_is_one_that_has_not_passed(made, at, expiry):
    warehouse = made()
    orb.at_the_money_volatility(warehouse, "SPY", at)
    assert warehouse.asked[0][1]["expiration"] == expiry


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"at": "soon"}, "at"),
        ({"at": None}, "at"),
        ({"at": "03.01.2024 21:00"}, "at"),
        ({"at": True}, "at"),
        ({"expiration": "soon"}, "expiration"),
        ({"tickers": []}, "tickers"),
        ({"tickers": [1]}, "tickers"),
        ({"within": -1}, "within"),
        ({"within": 1.5}, "within"),
    ],
)
def test_what_makes_no_sense_is_refused(made, changes, what):
    with pytest.raises(BadInput) as caught:
        orb.at_the_money_volatility(made(), **{"tickers": ["SPY"], "at": T, **changes})
    assert caught.value.what == what


def test_at_the_money_in_a_filled_warehouse(filled):
    at = pd.Timestamp("2024-01-16 18:00", tz="UTC")
    second = int(at.timestamp())
    frame = frame_of(filled, second)
    for expiration in (None, "2024-02-16"):
        found = orb.at_the_money_volatility(filled, TICKERS, at, expiration)
        for ticker in TICKERS:
            usable = frame[(frame["ticker"] == ticker) & (frame["timestamp_utc"] <= second)]
            usable = usable[(usable["expiration"] == (expiration or "2024-01-19")) & (usable["implied_volatility"] > 0)]
            last = usable[usable["timestamp_utc"] == usable["timestamp_utc"].max()]
            strike, volatility, price = at_the_money(last)
            assert found.loc[ticker, "strike"] == pytest.approx(strike)
            assert found.loc[ticker, "implied_volatility"] == pytest.approx(volatility)
            assert found.loc[ticker, "underlying"] == pytest.approx(price)
            assert found.loc[ticker, "timestamp_utc"] == last["timestamp_utc"].iloc[0]


def test_at_the_money_does_not_read_the_whole_table(filled):
    orb.at_the_money_volatility(filled, TICKERS, T)
    sql, params = filled.asked[-1]
    if filled.engine.dialect.name == "sqlite":
        plan = filled.query(f"EXPLAIN QUERY PLAN {sql}", params)["detail"].tolist()
        assert sum("USING INDEX ticker_time" in line for line in plan) == 2
        assert not any(line.startswith("SCAN") and "latest" not in line for line in plan)
    else:
        plan = filled.query(f"EXPLAIN {sql}", params)
        tables = plan[~plan["table"].str.startswith("<")]
        assert tables["key"].tolist() == ["ticker_time"] * 2
        assert set(tables["type"]) == {"range", "ref"}


def test_real_greeks_at_the_money(market_data, tmp_path):
    file = market_data / "greeks_spy_0dte_10s_2025_dev.parquet"
    if not file.is_file():
        pytest.skip(f"{file.name} is not there")
    names = ["timestamp_utc", "ticker", "underlying", "strike", "expiration", "delta", "implied_volatility"]
    rows = pq.read_table(file, columns=names).to_pandas()
    connection = sqlite3.connect(tmp_path / "real.sqlite")
    rows.to_sql("greeks", connection, index=False)
    connection.execute("CREATE INDEX ticker_time ON greeks (ticker, timestamp_utc)")
    connection.close()
    warehouse = StandIn(tmp_path / "real.sqlite")
    seconds = np.sort(rows["timestamp_utc"].unique())
    for second in seconds[5 : -5 : len(seconds) // 12]:
        then = rows[rows["timestamp_utc"] == second]
        expiration = then["expiration"].iloc[0]
        strike, volatility, price = at_the_money(then)
        found = orb.at_the_money_volatility(warehouse, "SPY", int(second) + 3, expiration).loc["SPY"]
        assert found["implied_volatility"] == pytest.approx(volatility)
        assert found["strike"] == pytest.approx(strike)
        assert abs(found["strike"] - price) <= 0.5
        assert 0.02 < volatility < 0.6


# --- screening


def test_a_screen_of_all_tickers(filled):
    found = orb.screen(filled, sessions=SESSIONS)
    closes = filled.query("SELECT * FROM stocks.daily_underlying")
    prices = closes.assign(date=pd.to_datetime(closes["date"])).pivot_table("close_price", "date", "ticker")
    assert found.index.tolist() == TICKERS
    assert found["close_price"].tolist() == prices.iloc[-1].tolist()
    assert set(found["date"]) == {pd.Timestamp("2024-01-23")}
    assert found["sessions"].tolist() == [SESSIONS] * 3
    right = prices.pct_change().corr()["SPY"]
    assert found["correlation"].tolist() == pytest.approx(right[TICKERS].tolist())
    assert set(found["expiration"]) == {pd.Timestamp("2024-02-16")}
    for ticker in TICKERS:
        implied = character_of(0, ticker).implied
        assert implied / 2 < found.loc[ticker, "implied_volatility"] < implied * 2


def test_a_screen_of_some_tickers_at_an_earlier_date(filled):
    found = orb.screen(filled, ["SYN002", "SYN001"], "2024-01-20", 4, of="prices")  # a Saturday
    closes = filled.query("SELECT * FROM stocks.daily_underlying")
    prices = closes.assign(date=pd.to_datetime(closes["date"])).pivot_table("close_price", "date", "ticker")
    prices = prices.loc["2024-01-16":"2024-01-19"]
    assert found.index.tolist() == ["SYN002", "SYN001"]
    assert set(found["date"]) == {pd.Timestamp("2024-01-19")}
    assert found["sessions"].tolist() == [4, 4]
    assert found["correlation"].tolist() == pytest.approx([prices.corr().loc[name, "SPY"] for name in found.index])
    assert set(found["expiration"]) == {pd.Timestamp("2024-02-16")}  # that day's options expired at its close
    assert found["implied_volatility"].notna().all()


def test_tickers_without_closes_are_named(filled):
    with pytest.raises(BadInput, match="no daily closes of NOPE, ZERO from 2024-01-10 to 2024-01-23"):
        orb.screen(filled, ["SPY", "ZERO", "NOPE"], sessions=9)
    with pytest.raises(BadInput, match="no closes of 'QQQ'"):
        orb.screen(filled, benchmark="QQQ")
    with pytest.raises(BadInput, match="no daily closes of SPY"):
        orb.screen(filled, date="2023-06-01")


@pytest.mark.parametrize("own", [{"closes": "stocks.eod"}, {"greeks": "options.all"}, {"columns": {"strike": "k"}}])
def test_tables_of_other_names_are_refused(own):
    warehouse = orb.Warehouse("sqlite:///none.sqlite", **own)
    for ask in (lambda: orb.screen(warehouse), lambda: orb.at_the_money_volatility(warehouse, "SPY", 0)):
        with pytest.raises(BadInput, match=f"{next(iter(own))}=: screening reads options.greeks and stocks.daily"):
            ask()


def test_a_ticker_that_stopped_trading_shows_its_last_close(made):
    days = ["2024-01-16", "2024-01-17", "2024-01-18", "2024-01-19"]
    closes = [("SPY", day, price) for day, price in zip(days, [10, 11, 10, 12], strict=True)]
    found = orb.screen(made(closes=[*closes, ("GONE", days[0], 5.0), ("GONE", days[1], 6.0)]))
    assert found.loc["GONE", "close_price"] == 6
    assert found.loc["GONE", "date"] == pd.Timestamp("2024-01-17")
    assert found["sessions"].to_dict() == {"GONE": 2, "SPY": 4}
    assert math.isnan(found.loc["GONE", "correlation"])
    assert found.loc["SPY", "correlation"] == pytest.approx(1)
    assert found["implied_volatility"].isna().all()


@pytest.mark.parametrize("sessions", [0, -1, 2.5, True, None])
def test_sessions_are_a_number(made, sessions):
    with pytest.raises(BadInput, match="sessions"):
        orb.screen(made(), sessions=sessions)


def test_the_stand_in_cannot_write(tmp_path):
    sqlite3.connect(tmp_path / "w.sqlite").execute("CREATE TABLE greeks (a)").connection.close()
    connection = attached(tmp_path / "w.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("INSERT INTO options.greeks VALUES (1)")
    connection.close()
