"""The package says what the oracle says about real prices: 200 random pairs of parameters and sessions, and more.

The oracle reads the raw rows itself; its sessions come from exchange_calendars: nothing passes through the package.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import pytest

from orbresearch import ParameterGrid, Rules, run_backtest, run_grid
from tests import oracle
from tests.agreement import assert_row
from tests.sessions import real

NANOS = 1_000_000_000
PAIRS = 200
#: file, tickers, stamp, increment in 1e-9 dollars
BARS = [
    ("spy_1min_2024_2025", ("SPY",), "start", 100_000),
    ("upro_1min_2020", ("UPRO",), "start", 1_000_000),
    ("vix_1min_2023_2026", ("VIX",), "end", 10_000_000),
    ("eqker_1min_2019_24tickers", ("AAPL", "BAC", "SLV", "TSLA", "TZA"), "end", 100_000),
]
#: file of SPY and BAC, options, seconds of a bar, increment in 1e-9 dollars
POINTS = [
    ("lean_second_trades_dev", {"bar": 0}, 0, 10_000_000),
    ("lean_second_trades_dev", {}, 1, 10_000_000),
    ("lean_tick_trades_dev", {}, 0, 10_000_000),
    ("lean_second_quotes_dev", {}, 0, 5_000_000),
]
COSTS = [(0.0, 0.0), (0.0005, 0.005), (0.0, 0.01), (0.0033, 0.0)]


@pytest.fixture(autouse=True)
def quick_oracle(monkeypatch):
    """Let the oracle remember the few thousand different prices of a file: it works in exact fractions."""
    for name in ("nearest_whole", "is_bad"):
        monkeypatch.setattr(oracle, name, functools.cache(getattr(oracle, name)))


@dataclass(frozen=True)
class File:
    """One ticker of a real file and how it is read."""

    name: str
    ticker: str
    increment: int
    bar: int = 0
    stamp: str = "start"
    path: str = "nearer"


_seen: dict[tuple, list[oracle.Obs]] = {}


def observe(folder, file: File, day) -> list[oracle.Obs]:
    """Let the oracle read the raw rows around one day, in file order."""
    if (file, day) not in _seen:
        raw, (opened, closed) = real.raw(folder, file.name, file.ticker), real.bounds(day)
        time = raw["timestamp_utc"]
        near = np.flatnonzero((time >= opened - 7200) & (time <= closed + 7200))
        names = ("timestamp_utc", "open", "high", "low", "price") if file.bar else ("timestamp_utc", "price")
        rows = list(zip(*(raw[name][near].tolist() for name in names), strict=True))
        if file.bar:
            extra = file.bar, file.path, file.stamp
            _seen[file, day] = oracle.observations_from_bars(rows, opened, closed, file.increment, *extra)
        else:
            _seen[file, day] = oracle.observations_from_points(rows, opened, closed, file.increment)
    return _seen[file, day]


@functools.cache
def compressed(file: File, day) -> list[oracle.Tick]:
    """Let the oracle compress what it has seen of a day."""
    return oracle.compress(_seen[file, day])


def bar_ranges(folder, file: File, days) -> list[int]:
    """Return the range of every bar of the days that has four prices and starts before the close, increments."""
    found = {}
    raw = real.raw(folder, file.name, file.ticker)
    columns = np.stack([raw[name] for name in ("open", "high", "low", "price")])
    start = raw["timestamp_utc"] - (file.bar if file.stamp == "end" else 0)
    for day in days:
        opened, closed = real.bounds(day)
        for at in np.flatnonzero((start >= opened) & (start < closed)):
            values = columns[:, at].tolist()
            if not any(oracle.is_bad(value) for value in values):
                whole = [oracle.nearest_whole(value, file.increment) for value in values]
                found[start[at]] = max(whole) - min(whole)
    return list(found.values())


def agree(folder, file: File, sessions, days, duration, fill, costs, point) -> int:
    """Assert that package and oracle agree on these days; return the number of trades."""
    stop, stop_count, cooloff, limit = point
    commission, slippage = costs
    rules = Rules(commission=commission, slippage=slippage, fill=fill)
    increment = file.increment
    offset = max(1, -(-10_000_000 // increment))
    distances = {
        "stop": oracle.to_increments(stop, increment),
        "limit": oracle.to_increments(limit, increment),
        "cooloff": cooloff,
        "stop_count": stop_count,
    }
    traded, first_prices, expected, opening = [], [], [], {}
    for day in days:
        seen = observe(folder, file, day)
        found = oracle.opening_range(seen, duration, file.bar) if seen else None
        if found is None:
            continue
        opening[day] = found
        trades = oracle.day(compressed(file, day), found, **distances, fill=fill, level_offset=offset)
        traded.append(trades)
        first_prices.append(seen[0].price)
        opened, price = real.bounds(day)[0], increment / NANOS
        for t in trades:
            entry, leave = (opened + t.entry_time, t.entry_price * price), (opened + t.exit_time, t.exit_price * price)
            expected.append((day, t.side, *entry, *leave, t.reason, t.exit_time - t.entry_time))

    chosen = sessions.between(str(days[0].date()), str(days[-1].date()))
    grid = ParameterGrid(stop, stop_count, cooloff, limit)
    if not opening:
        with pytest.raises(ValueError, match="no tradable session"):
            run_grid(chosen, grid, duration, rules)
        return 0
    one = run_backtest(chosen, duration, stop, stop_count, cooloff, limit, rules)
    got = [
        (
            row.session,
            row.side,
            int(row.entry_time.timestamp()),
            row.entry_price,
            int(row.exit_time.timestamp()),
            row.exit_price,
            row.exit_reason,
            row.holding_seconds,
        )
        for row in one.trades.itertuples()
    ]
    assert [row[:3] + row[4:5] + row[6:] for row in got] == [row[:3] + row[4:5] + row[6:] for row in expected]
    np.testing.assert_allclose([row[3] for row in got], [row[3] for row in expected], rtol=0, atol=1e-9)
    np.testing.assert_allclose([row[5] for row in got], [row[5] for row in expected], rtol=0, atol=1e-9)

    q, cost, cost_limit = oracle.cost_scale(commission, slippage, increment)
    numbers = oracle.numbers(traded, first_prices, increment_nanos=increment, q=q, cost=cost, cost_limit=cost_limit)
    numbers["resolved"] = 1
    if file.bar >= 4:
        ranges = bar_ranges(folder, file, days)
        numbers["resolved"] = oracle.is_resolved(distances["stop"], distances["limit"], ranges)
    assert_row(one.stats, numbers)
    assert_row(run_grid(chosen, grid, duration, rules).iloc[0], numbers)
    profits = [sum(oracle.profit_of(t, q, cost, cost_limit) for t in day) * increment / NANOS / q for day in traded]
    assert one.daily.index.tolist() == list(opening)
    np.testing.assert_allclose(one.daily, profits, rtol=0, atol=1e-9)
    assert math.isclose(one.trades["profit"].sum(), numbers["backtest_profit"], abs_tol=1e-9)
    return len(expected)


def draw(rng, price: float, bar: int):
    """Return a random duration and parameters that suit a price."""
    whole = bar or 1
    duration = (
        int(rng.choice([60, 300, 900, 1800, 3600, 12_600])) if rng.random() < 0.8 else whole * int(rng.integers(1, 60))
    )
    stop, limit = (max(0.01, round(price * 10 ** rng.uniform(-4, -1.7), int(rng.integers(2, 4)))) for _ in range(2))
    cooloff = int(rng.choice([0, 1, 30, 60, 100, 900]))
    return duration, (stop, int(rng.integers(1, 6)), cooloff, limit)


def stretch(rng, sessions, most: int):
    """Return some sessions in a row, at random; two thirds of the time a single one."""
    count = 1 if rng.random() < 0.65 else int(rng.integers(2, most + 1))
    first = int(rng.integers(0, max(1, len(sessions) - count + 1)))
    return list(sessions.dates[first : first + count])


@pytest.mark.parametrize(("name", "tickers", "stamp", "increment"), BARS, ids=[row[0] for row in BARS])
@pytest.mark.parametrize("path", ["nearer", "farther"])
def test_resting_orders_on_real_bars_agree_with_the_oracle(name, tickers, stamp, increment, path, market_data):
    rng, trades = np.random.default_rng([2024, len(name), len(path)]), 0
    for _ in range(PAIRS // len(BARS) // 2):
        ticker = str(rng.choice(tickers))
        sessions = real.load(market_data, name, ticker, path=path)
        assert sessions.increment_nanos == increment
        file = File(name, ticker, increment, 60, stamp, path)
        days = stretch(rng, sessions, 6)
        price = sessions.columns["price"][0] * sessions.increment
        duration, point = draw(rng, price, 60)
        trades += agree(market_data, file, sessions, days, duration, "level", COSTS[rng.integers(4)], point)
    assert trades > PAIRS // len(BARS) // 2  # the pairs are not idle


@pytest.mark.parametrize(("name", "options", "bar", "increment"), POINTS, ids=["bar0", "auto", "ticks", "mids"])
def test_prices_as_seen_agree_with_the_oracle(name, options, bar, increment, market_data):
    rng, trades = np.random.default_rng([7, len(name), len(options)]), 0
    for _ in range(16):
        ticker = str(rng.choice(["SPY", "BAC"]))
        sessions = real.load(market_data, name, ticker, **options)
        assert (sessions.increment_nanos, sessions.is_bars) == (increment, False)
        file = File(name, ticker, increment, bar)
        days = stretch(rng, sessions, 3)
        price = sessions.columns["price"][0] * sessions.increment
        duration, point = draw(rng, price, bar)
        trades += agree(market_data, file, sessions, days, duration, "seen", COSTS[rng.integers(4)], point)
    assert trades > 16


@pytest.mark.parametrize("fill", ["level", "seen"])
def test_a_whole_year_of_real_bars_agrees_with_the_oracle(fill, market_data):
    sessions = real.load(market_data, "spy_1min_2024_2025", "SPY")
    file = File("spy_1min_2024_2025", "SPY", 100_000, 60)
    days = list(sessions.dates)
    assert agree(market_data, file, sessions, days, 300, fill, (0.0005, 0.005), (0.5, 3, 60, 2.0)) > 256


@pytest.mark.parametrize(("name", "ticker"), [("upro_1min_2020", "UPRO"), ("lean_second_quotes_dev", "BAC")])
def test_the_increment_of_a_real_file_is_the_oracles(name, ticker, market_data):
    raw = real.raw(market_data, name, ticker)
    prices = np.unique(np.concatenate([column for what, column in raw.items() if what != "timestamp_utc"]))
    expected, rounded = oracle.increment_nanos(prices.tolist())
    sessions = real.load(market_data, name, ticker)
    assert sessions.increment_nanos == expected
    assert (sessions.quality["rounded"].sum() > 0) == (rounded > 0)
