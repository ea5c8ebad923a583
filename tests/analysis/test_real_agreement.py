"""The package says what the oracle says about real prices: 200 random pairs of parameters and sessions, and more.

The oracle reads the raw rows itself; its sessions come from exchange_calendars: nothing passes through the package.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from orbresearch import ParameterGrid, ParameterList, Rules, run_backtest, run_grid
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


# Every rule

#: how many sessions before the first that is traded are loaded: atr needs 15, stretch 10
HISTORY = 16
#: of each unit, the powers of ten between which its multiples are drawn
MULTIPLES = {"percent": (-2, 0.3), "range": (-1.5, 0.3), "atr": (-2, 0), "stretch": (-1.5, 0.5), "R": (-0.7, 0.8)}


def amount(rng, unit: str, price: float) -> float:
    """Return a random distance in a unit."""
    if unit == "dollars":
        return max(0.01, round(price * 10 ** rng.uniform(-4, -1.7), int(rng.integers(2, 4))))
    return round(10 ** rng.uniform(*MULTIPLES[unit]), 3)


def draw_rules(rng, duration: int, price: float, bar: int, units: list[str]) -> dict:
    """Return random rules, of several kinds at once, as the oracle's DayRules takes them."""
    said = {"side": str(rng.choice(["both", "both", "long", "short", "opening_bar"]))}
    said["stop_anchor"] = str(rng.choice(["entry", "entry", "opposite_edge", "opposite_entry"]))
    if rng.random() < 0.2:
        said |= {"side": "opening_bar", "entry": "open", "stop_anchor": str(rng.choice(["entry", "opposite_edge"]))}
    elif rng.random() < 0.4:
        said["buffer_unit"] = str(rng.choice(units))
        said["entry_buffer"] = round(amount(rng, said["buffer_unit"], price) / 4, 4)
    said["stop_unit"], said["limit_unit"] = str(rng.choice(units)), str(rng.choice([*units, "R"]))
    whole = bar or 1
    later = [min(23_400, duration + whole * int(rng.integers(1, 12_000 // whole))) for _ in range(2)]
    if rng.random() < 0.35:
        said["entry_cutoff"] = later[0]
    if rng.random() < 0.35:
        said["exit_time"] = max(later[1], said.get("entry_cutoff", 0))
    said["measure"] = str(rng.choice(["return", "dollars"]))
    return said


def features_of(folder, file: File, dates, duration: int) -> list[dict]:
    """Return the oracle's features of sessions that follow each other."""
    seen = [observe(folder, file, day) for day in dates]
    atr, stretch = oracle.atr(seen, file.increment), oracle.stretch(seen, file.increment)
    ranges = [oracle.range_width(obs, duration, file.bar, file.increment) if obs else None for obs in seen]
    return [
        {"atr": one, "stretch": other, "range": width} for one, other, width in zip(atr, stretch, ranges, strict=True)
    ]


def agree_under(folder, file: File, sessions, dates, traded, duration, said, costs, point) -> int:
    """Assert that package and oracle agree under rules on the last ``traded`` of some dates; return the trades."""
    stop, stop_count, cooloff, limit = point
    first = f"{dates[-traded]:%Y-%m-%d}"
    rules = Rules(commission=costs[0], slippage=costs[1], select=("date", ">=", first), **said)
    days = [
        oracle.Session(f"{day:%Y-%m-%d}", observe(folder, file, day), found)
        for day, found in zip(dates, features_of(folder, file, dates, duration), strict=True)
        if observe(folder, file, day)
    ]
    expected, first_prices = oracle.rule_days(
        days[-traded:],
        duration,
        file.bar if file.bar >= 4 else 0,
        oracle.DayRules(**said),
        stop=stop,
        limit=limit,
        cooloff=cooloff,
        stop_count=stop_count,
        increment_nanos=file.increment,
    )
    chosen = sessions.between(str(dates[0].date()), str(dates[-1].date()))
    grid = ParameterGrid(stop, stop_count, cooloff, limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of distances finer than an increment
        if not expected:
            with pytest.raises(ValueError, match=r"no tradable session|is missing on all"):
                run_grid(chosen, grid, duration, rules)
            return 0
        one = run_backtest(chosen, duration, stop, stop_count, cooloff, limit, rules)
        row = run_grid(chosen, grid, duration, rules).iloc[0]
        listed = run_grid(chosen, ParameterList(pd.DataFrame(list(grid))), duration, rules).iloc[0]
    opened = {day: real.bounds(day)[0] for day in dates}
    got = [
        (
            row.side,
            int(row.entry_time.timestamp()) - opened[row.session],
            round(row.entry_price * NANOS / file.increment),
            int(row.exit_time.timestamp()) - opened[row.session],
            round(row.exit_price * NANOS / file.increment),
            row.exit_reason,
        )
        for row in one.trades.itertuples()
    ]
    trades = [trade for day in expected for trade in day]
    assert got == [(t.side, t.entry_time, t.entry_price, t.exit_time, t.exit_price, t.reason) for t in trades]
    q, cost, cost_limit = oracle.cost_scale(*costs, file.increment)
    scale = {"increment_nanos": file.increment, "q": q, "cost": cost, "cost_limit": cost_limit}
    numbers = oracle.numbers(expected, first_prices, **scale, measure=said["measure"])
    for found in (one.stats, row, listed):
        assert_row(found, numbers)
    return len(trades)


def agree_at_random(rng, folder, file: File, sessions, units, fill) -> int:
    """Draw days, rules and parameters, and let both sides compute them."""
    history = HISTORY if {"atr", "stretch"} & set(units) else 0
    traded = int(rng.integers(1, 5)) if history else min(len(sessions), int(rng.integers(1, 4)))
    first = int(rng.integers(0, len(sessions) - traded - history + 1))
    dates = list(sessions.dates[first : first + history + traded])
    price = sessions.columns["price"][sessions.pointers[first]] * sessions.increment
    duration, (_, stop_count, cooloff, _) = draw(rng, price, file.bar)
    said = {"fill": fill, **draw_rules(rng, duration, price, file.bar, units)}
    stop_count = 1 if said["measure"] == "dollars" else stop_count  # squares of more could pass 2**63
    stop = 0.0 if said["stop_anchor"] != "entry" and rng.random() < 0.4 else amount(rng, said["stop_unit"], price)
    limit = None if rng.random() < 0.3 else amount(rng, said["limit_unit"], price)
    point = stop, stop_count, cooloff, limit
    return agree_under(folder, file, sessions, dates, traded, duration, said, COSTS[rng.integers(4)], point)


@pytest.mark.parametrize("fill", ["level", "seen"])
def test_real_bars_under_every_rule_agree_with_the_oracle(fill, market_data):
    rng, trades = np.random.default_rng([32, len(fill)]), 0
    sessions = real.load(market_data, "spy_1min_2024_2025", "SPY")
    file = File("spy_1min_2024_2025", "SPY", 100_000, 60)
    units = ["dollars", "percent", "range", "atr", "stretch"]
    for _ in range(PAIRS // 10):
        trades += agree_at_random(rng, market_data, file, sessions, units, fill)
    assert trades > PAIRS // 10


def test_a_real_year_is_measured_in_dollars(market_data):
    sessions, grid = real.load(market_data, "spy_1min_2024_2025", "SPY"), ParameterGrid(0.5, 3, 60, 2.0)
    found = run_backtest(sessions, 300, **next(iter(grid)), rules=Rules(measure="dollars"))
    assert found.stats["backtest_return"] == pytest.approx(found.stats["backtest_profit"])
    total = found.daily.cumsum()
    assert found.stats["max_drawdown"] == pytest.approx((total - total.cummax().clip(lower=0)).min())
    assert found.stats["sharpe_ratio"] == pytest.approx(found.daily.mean() / found.daily.std() * math.sqrt(252))


@pytest.mark.parametrize(("name", "options", "bar", "increment"), POINTS, ids=["bar0", "auto", "ticks", "mids"])
@pytest.mark.parametrize("ticker", ["SPY", "BAC"])
def test_real_prices_under_every_rule_agree_with_the_oracle(name, options, bar, increment, ticker, market_data):
    rng, trades = np.random.default_rng([33, len(name), len(options), len(ticker), ord(ticker[0])]), 0
    sessions = real.load(market_data, name, ticker, **options)
    file = File(name, ticker, increment, bar)
    for fill in ("seen", "level"):
        for _ in range(3):
            trades += agree_at_random(rng, market_data, file, sessions, ["dollars", "percent", "range"], fill)
    assert trades >= 5


@pytest.mark.parametrize(("name", "ticker"), [("upro_1min_2020", "UPRO"), ("lean_second_quotes_dev", "BAC")])
def test_the_increment_of_a_real_file_is_the_oracles(name, ticker, market_data):
    raw = real.raw(market_data, name, ticker)
    prices = np.unique(np.concatenate([column for what, column in raw.items() if what != "timestamp_utc"]))
    expected, rounded = oracle.increment_nanos(prices.tolist())
    sessions = real.load(market_data, name, ticker)
    assert sessions.increment_nanos == expected
    assert (sessions.quality["rounded"].sum() > 0) == (rounded > 0)
