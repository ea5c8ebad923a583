"""Prices of a warehouse: what stands at the end of each second, against plain Python on the rows."""

from __future__ import annotations

import logging
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.sources.warehouse.layout import GREEKS
from orbresearch.sources.warehouse.prices import read_seconds, read_volatility
from tests.sources.warehouses import Making, commonest, standing, usable

T = 1_705_674_600  # 2024-01-19, 9:30 in New York


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def making(request, tmp_path):
    found = Making(tmp_path / "w.sqlite" if request.param == "sqlite" else request.getfixturevalue("server"))
    yield found
    found.clear()


@pytest.fixture
def on_server(server):
    found = Making(server)
    yield found
    found.clear()


def seconds_of(warehouse, ticker="SPY", first=T, last=T + 100):
    with warehouse.reading(warehouse.greeks, GREEKS) as (connection, layout):
        return read_seconds(connection, layout, ticker, first, last)


def same(found, expected):
    assert found.time.dtype == np.int64
    assert found.price.dtype == np.float64
    assert found.time.tolist() == list(expected)
    np.testing.assert_array_equal(found.price, list(expected.values()))


def volatility_of(warehouse, found, first=T, last=T + 100):
    with warehouse.reading(warehouse.greeks, GREEKS) as (connection, layout):
        return read_volatility(connection, layout, "SPY", found.time, first, last)


# --- seconds

PRICES = st.sampled_from([None, 0.0, -1.0, 1.0, 2.0, 2.5, 100.25])
ROWS = st.lists(
    st.tuples(st.integers(T - 2, T + 8) | st.none(), st.sampled_from(["SPY", "spy", "SPY ", None, "X"]), PRICES),
    max_size=40,
)


def test_with_a_key_the_last_inserted_price_of_each_second_stands(making):
    rows = [(T, "SPY", 10.0), (T + 5, "SPY", 12.0), (T, "SPY", 11.0), (T + 101, "SPY", 9.0), (T + 5, "SPY", None)]
    rows += [(T + 6, "SPY", 0.0), (T + 7, "SPY", 3.0), (T + 7, "SPY", -1.0), (T + 2, "X", 1.0), (None, "SPY", 5.0)]
    found = seconds_of(making.make(rows))
    same(found, {T: 11.0, T + 5: 12.0, T + 6: math.nan, T + 7: 3.0})
    assert found.rows == 7
    same(found, standing(rows, "SPY", T, T + 100))


def test_any_rows_in_a_file_stand_as_the_strategy_says(tmp_path):
    making = Making(tmp_path / "w.sqlite")

    @given(ROWS, st.sampled_from(["ticker, timestamp_utc", "timestamp_utc, ticker", ""]))
    def check(rows, index):
        found = seconds_of(making.make([(*row, None, None, None, None) for row in rows], index=index), last=T + 6)
        same(found, standing(rows, "SPY", T, T + 6))
        assert found.rows == sum(t is not None and T <= t <= T + 6 and name == "SPY" for t, name, _ in rows)

    check()


def random_rows(count=400):
    rng = np.random.default_rng(count)
    prices = [None, 0.0, -1.0, 10.0, 10.01, 10.02]
    return [
        (T + int(rng.integers(-3, 30)), str(rng.choice(["SPY", "spy", "SPY ", "X"])), prices[rng.integers(6)])
        for _ in range(count)
    ]


@pytest.mark.mysql
@pytest.mark.parametrize("index", ["ticker, timestamp_utc", "timestamp_utc, ticker", ""])
@pytest.mark.parametrize("key", [True, False])
def test_any_rows_on_a_server_stand_as_the_strategy_says(on_server, index, key):
    rows = random_rows()
    warehouse = on_server.make(rows, index=index, key=key)
    for ticker in ("SPY", "spy", "SPY ", "X", "none"):
        expected = (standing if key else commonest)(rows, ticker, T, T + 20)
        found = seconds_of(
            warehouse, ticker, last=T + 20
        )  # with a key also seconds of other spellings, without a price
        prices = dict(zip(found.time.tolist(), found.price.tolist(), strict=True))
        assert set(prices) >= set(expected)
        assert {t: price for t, price in prices.items() if usable(price)} == {
            t: price for t, price in expected.items() if usable(price)
        }


@pytest.mark.mysql
def test_without_a_key_the_commonest_price_stands_and_the_lowest_of_equally_common_ones(on_server):
    prices = {T: [3.0, 2.0, 2.0], T + 1: [3.0, 2.0], T + 2: [None, None, 5.0], T + 3: [None, 0.0], T + 4: [4.0]}
    found = seconds_of(on_server.make([(t, "SPY", p) for t, of_t in prices.items() for p in of_t], key=False))
    same(found, {T: 2.0, T + 1: 2.0, T + 2: 5.0, T + 3: math.nan, T + 4: 4.0})
    assert found.rows == 11


def test_nothing_found_is_empty(making):
    warehouse = making.make([(T, "SPY", 10.0)])
    found = seconds_of(warehouse, first=T + 1)
    same(found, {})
    assert (found.rows, found.returned) == (0, 0)
    assert volatility_of(warehouse, found) is None


def test_infinity_and_text_are_no_prices(tmp_path):
    rows = [(T, "SPY", 5.0), (T, "SPY", math.inf), (T + 1, "SPY", math.inf), (T + 2, "SPY", 6.0), (T + 2, "SPY", None)]
    same(seconds_of(Making(tmp_path / "w.sqlite").make(rows)), {T: 5.0, T + 1: math.nan, T + 2: 6.0})


def test_a_session_without_any_price_is_all_missing(tmp_path):
    rows = [(T + second, "SPY", None) for second in range(35_000)]
    found = seconds_of(Making(tmp_path / "w.sqlite").make(rows), last=T + 86_400)
    assert len(found.time) == 35_000
    assert np.isnan(found.price).all()


@pytest.mark.parametrize(
    "types",
    [
        {"underlying": "DECIMAL(12, 4)", "timestamp_utc": "BIGINT"},
        {"timestamp_utc": "DECIMAL(12, 0)"},
        {"timestamp_utc": "INT UNSIGNED", "underlying": "FLOAT"},
    ],
)
def test_whole_seconds_and_prices_may_be_of_any_kind_of_number(making, types):
    rows = [(T, "SPY", 10.25), (T, "SPY", 10.5), (T + 1, "SPY", None), (T + 1, "SPY", 9.75), (T + 1, "SPY", None)]
    same(seconds_of(making.make(rows, types=types)), {T: 10.5, T + 1: 9.75})


def test_columns_may_have_names_of_their_own(making):
    renamed = {"timestamp_utc": "ts", "underlying": "spot_px", "ticker": "root"}
    warehouse = making.make([(T, "SPY", 10.0), (T + 1, "SPY", 11.0)], renamed=renamed)
    same(seconds_of(warehouse), {T: 10.0, T + 1: 11.0})
    assert warehouse.tickers() == ["SPY"]


@pytest.mark.parametrize("name", ["it's", 'a"b', "100%", "%s", ":x", "ÄÖß", "A B", "\\", "€/$"])
def test_a_ticker_may_hold_any_letters(making, name):
    warehouse = making.make([(T, name, 10.0), (T, "SPY", 11.0)])
    same(seconds_of(warehouse, name), {T: 10.0})
    assert warehouse.tickers() == sorted([name, "SPY"])
    assert warehouse.span(name) == (T, T)


@pytest.mark.mysql
@pytest.mark.parametrize("charset", ["latin1", "utf8mb4", "ascii"])
def test_a_ticker_is_compared_to_the_byte_by_the_index_in_any_charset(on_server, charset):
    rows = [(T + k, name, 1.0 + k) for name in ("SPY", "spy", "QQQ") for k in range(300)]
    warehouse = on_server.make(rows, types={"ticker": f"VARCHAR(16) CHARACTER SET {charset}"})
    same(seconds_of(warehouse, "spy", last=T + 2), {T: 1.0, T + 1: 2.0, T + 2: 3.0})
    asked = []
    with warehouse.reading(warehouse.greeks, GREEKS) as (connection, layout):
        from orbresearch.sources.warehouse.prices import _last_rows

        statement = _last_rows(layout).compile(connection)
        facts = {"ticker": "spy", "first": T, "last": T + 2}
        asked = connection.exec_driver_sql(f"EXPLAIN {statement}", facts).mappings().all()
    inner = next(line for line in asked if line["select_type"] == "DERIVED")
    assert (inner["key"], inner["type"]) == ("i", "range")
    assert "Using index" in inner["Extra"]
    assert int(inner["rows"]) < 20


def test_a_missing_index_is_told_once(making, caplog):
    warehouse = making.make([(T, "SPY", 10.0)], index="")
    with caplog.at_level(logging.WARNING):
        assert list(warehouse.each([1, 2, 3, 4, 5], lambda _, __, item: item)) == [1, 2, 3, 4, 5]
        seconds_of(warehouse)
    assert [record.getMessage() for record in caplog.records] == [
        "options.greeks has no index that begins with ticker and time: each session reads far more"
    ]


@pytest.mark.parametrize(
    "index", ["ticker, timestamp_utc", "timestamp_utc, ticker", "ticker, timestamp_utc, underlying"]
)
def test_an_index_in_either_order_is_none_to_tell_of(making, caplog, index):
    with caplog.at_level(logging.WARNING):
        same(seconds_of(making.make([(T, "SPY", 10.0)], index=index)), {T: 10.0})
    assert not caplog.records


@pytest.mark.mysql
def test_a_partitioned_tables_counter_is_its_key(on_server):
    rows = [(T, "SPY", 10.0), (T, "SPY", 10.0), (T, "SPY", 11.0)]
    warehouse = on_server.make(rows, key=False, types={"timestamp_utc": "INT NOT NULL"})
    assert seconds_of(warehouse).price.tolist() == [10.0]
    on_server.run(
        "ALTER TABLE options.greeks ADD id BIGINT NOT NULL AUTO_INCREMENT, ADD PRIMARY KEY (id, timestamp_utc)",
        "ALTER TABLE options.greeks PARTITION BY HASH (timestamp_utc) PARTITIONS 4",
    )
    assert seconds_of(orb.Warehouse(on_server.url)).price.tolist() == [11.0]


def test_a_view_has_no_order_within_a_second(making):
    making.make([(T, "SPY", 10.0), (T, "SPY", 10.0), (T, "SPY", 11.0)])
    prefix = "options." if making.is_mysql else ""
    making.run(f"CREATE VIEW {prefix}seen AS SELECT timestamp_utc, ticker, underlying FROM {prefix}greeks")
    same(seconds_of(orb.Warehouse(making.url, greeks="options.seen")), {T: 10.0})


# --- volatility


def option(second, delta, volatility, ticker="SPY"):
    return second, ticker, 100.0, 100.0, "2024-02-16", delta, volatility


def test_volatilities_near_the_money_are_summed_in_whole_parts(making):
    near = [option(T, 0.5, 0.1), option(T, -0.5, 0.2), option(T, 0.4001, 0.3), option(T, -0.5999, 1e-9)]
    edges = [option(T, delta, 9.0) for delta in (0.4, 0.6, -0.4, -0.6, 0.0, 1.0, None)]
    bad = [option(T, 0.5, volatility) for volatility in (None, 0.0, -0.3)]
    others = [option(T + 1, 0.5, 0.123456789), option(T + 2, None, None), option(T + 1, 0.5, 7.0, "X")]
    warehouse = making.make([*near, *edges, *bad, *others, option(T - 1, 0.5, 1.0), option(T + 101, 0.5, 1.0)])
    found = volatility_of(warehouse, seconds_of(warehouse))
    assert found.total.tolist() == [600_000_001, 123_456_789, 0]
    assert found.rows.tolist() == [4, 1, 0]
    assert (found.total.dtype, found.rows.dtype) == (np.int64, np.int32)


def test_without_their_columns_there_are_no_volatilities(making):
    warehouse = making.make([option(T, 0.5, 0.1)[:6]])
    assert volatility_of(warehouse, seconds_of(warehouse)) is None


# --- the object


def test_a_warehouse_shows_no_password_and_does_not_travel(monkeypatch):
    warehouse = orb.Warehouse("mysql://quant:hunter2@db.example.com:3307")
    assert repr(warehouse) == "Warehouse(mysql://quant@db.example.com:3307/)"
    assert warehouse.where == "mysql://db.example.com:3307"
    assert "hunter2" not in f"{vars(warehouse)} {warehouse.place} {warehouse.identity} {warehouse._open()!r}"
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(warehouse)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"columns": {"price": "x"}}, "columns"),
        ({"connections": 0}, "connections"),
        ({"connections": True}, "connections"),
        ({"volatility": -1}, "volatility"),
        ({"volatility": "long"}, "volatility"),
    ],
)
def test_options_out_of_range_are_named(options, what):
    with pytest.raises(BadInput) as caught:
        orb.Warehouse("sqlite:///w.sqlite", **options)
    assert caught.value.what == what
