"""Three published studies as rules: every trade is the one that a plain reading of the study finds on the same prices.

The readings below are pandas from the bars; sessions come from exchange_calendars. They count in whole increments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.sources.synthetic.sessions import synthetic_prices, synthetic_schedule
from tests.sessions import real
from tests.sources import market

#: Zarattini & Aziz 2023: the second bar's open, in the direction of the first; stop at the first one's other extreme.
FIRST_BAR = orb.Rules(commission=0.0005, side="opening_bar", entry="open", stop_anchor="opposite_edge", limit_unit="R")
#: Zarattini, Barbon & Aziz 2024: the edge, in the opening bar's direction; stop a tenth of ATR away.
EDGE = orb.Rules(commission=0.0035, side="opening_bar", stop_unit="atr")
IN_PLAY = orb.Rules(commission=0.0035, side="opening_bar", stop_unit="atr", select=("relative_volume", ">=", 1))
#: Crabel 1990: the edge and the stretch; stop at the entry level of the other side.
STRETCH = orb.Rules(entry_buffer=1, buffer_unit="stretch", stop_anchor="opposite_entry")

COLUMNS = ["session", "side", "entry_time", "entry_price", "exit_time", "exit_price", "exit_reason", "profit"]


@dataclass(frozen=True)
class Prices:
    """``ticks`` by session: second, price in increments, whether it jumped there, volume; ``unit``: increments in 1 $.

    Nothing can be filled on the way to a price that was jumped to. ``slippage``: dollars on all fills but at a target.
    """

    ticks: pd.DataFrame
    unit: int
    slippage: float


def from_bars(bars: pd.DataFrame, unit: int) -> Prices:
    """Read minute bars, stamped at their start: open, the extreme nearer to it (the low if equal), the other, close."""
    stamp = pd.to_datetime(bars["timestamp_utc"], unit="s", utc=True)
    day = stamp.dt.tz_convert("America/New_York").dt.tz_localize(None).dt.normalize()
    hours = {one: real.bounds(one) for one in day.unique()}
    second = bars["timestamp_utc"] - day.map(lambda one: hours[one][0])
    length = day.map(lambda one: hours[one][1] - hours[one][0])
    whole = (bars[["open", "high", "low", "price"]] * unit).round().astype(int)
    high, low = whole.max(axis=1), whole.min(axis=1)
    low_first = whole["open"] - low <= high - whole["open"]
    corners = {0: whole["open"], 20: low.where(low_first, high), 40: high.where(low_first, low), 59: whole["price"]}
    parts = [
        pd.DataFrame({"session": day, "second": second + offset, "price": price, "jumped": offset == 0})
        .assign(volume=bars["volume"] if offset == 0 else 0)
        .loc[(second >= 0) & (second + offset <= length)]
        for offset, price in corners.items()
    ]
    return Prices(pd.concat(parts).sort_values(["session", "second"], ignore_index=True), unit, 0.01)


def from_seconds(count: int, seed: int) -> Prices:
    """Read the synthetic market, where every order is filled at the price then seen: as if all prices jumped."""
    schedule = synthetic_schedule(count, "2024-01-02")
    time, price = synthetic_prices(schedule, seed)
    at = np.searchsorted(schedule.opens, time, "right") - 1
    ticks = {"session": pd.to_datetime(schedule.labels)[at], "second": time - schedule.opens[at]}
    cents = np.rint(price * 100).astype(int)
    return Prices(pd.DataFrame({**ticks, "price": cents, "jumped": True, "volume": 0}), 100, 0.0)


def split(prices: Prices, duration: int):
    """Yield each session with the prices of its opening range and those after it."""
    for session, day in prices.ticks.groupby("session"):
        yield session, day[day["second"] < duration], day[day["second"] >= duration]


def daily(prices: Prices) -> pd.DataFrame:
    """Return sums over the sessions before each: true ranges of 14, distances from open to nearer extreme of 10."""
    days = prices.ticks.groupby("session")["price"].agg(["first", "max", "min", "last"])
    before = days["last"].shift(1)
    true_range = np.maximum(days["max"], before) - np.minimum(days["min"], before)
    nearer = np.minimum(days["max"] - days["first"], days["first"] - days["min"])
    return pd.DataFrame({"atr": true_range.rolling(14).sum().shift(1), "stretch": nearer.rolling(10).sum().shift(1)})


def busy(prices: Prices, duration: int) -> pd.Series:
    """Return whether a session's range has at least the mean volume of those of the 14 sessions before."""
    volume = prices.ticks[prices.ticks["second"] < duration].groupby("session")["volume"].sum()
    return volume * 14 >= volume.rolling(14).sum().shift(1)  # never, where there are fewer


def hold(session, side, second, entry, later: pd.DataFrame, stop, target) -> tuple:
    """Hold a position until a price at the stop or the target, or to the close; return the trade."""
    stopped, reached = (later["price"] - stop) * side <= 0, (later["price"] - target) * side >= 0
    out = later[stopped | reached].head(1)
    if out.empty or out.index[0] == later.index[-1]:
        out, reason = later.iloc[-1], "limit" if reached.iloc[-1] else "close"
    else:
        out, reason = out.iloc[0], "limit" if reached[out.index[0]] else "stop"
    level = {"limit": target, "stop": stop, "close": out["price"]}[reason]
    return session, side, second, entry, out["second"], out["price"] if out["jumped"] else level, reason


def first_beyond(rest: pd.DataFrame, up, down):
    """Return (prices from the first one at either level, side, price of the entry), or None; never at the last."""
    beyond = (rest["price"] >= up) | (rest["price"] <= down)
    if not beyond.iloc[:-1].any():
        return None
    later = rest.loc[beyond.idxmax() :]
    tick = later.iloc[0]
    side = 1 if tick["price"] >= up else -1
    return later, side, tick["price"] if tick["jumped"] else (up if side > 0 else down)


def read_first_bar(prices: Prices, duration: int, point: tuple) -> list[tuple]:
    trades, multiple = [], point[3]
    for session, opening, rest in split(prices, duration):
        side = np.sign(opening["price"].iloc[-1] - opening["price"].iloc[0])
        if side == 0:
            continue
        entry, stop = rest.iloc[0], opening["price"].min() if side > 0 else opening["price"].max()
        if (entry["price"] - stop) * side < 1:
            stop = entry["price"] - side  # opened beyond it
        target = side * np.inf if multiple is None else entry["price"] + multiple * (entry["price"] - stop)
        trades.append(hold(session, side, entry["second"], entry["price"], rest.iloc[1:], stop, target))
    return trades


def read_edge(prices: Prices, duration: int, point: tuple, selected: bool = False) -> list[tuple]:
    trades, atr, cent, tenths = [], daily(prices)["atr"], prices.unit // 100, round(10 * point[0])
    wanted = atr.notna() & (busy(prices, duration) if selected else True)
    for session, opening, rest in split(prices, duration):
        side = np.sign(opening["price"].iloc[-1] - opening["price"].iloc[0])
        up = opening["price"].max() + cent if side > 0 else np.inf
        down = opening["price"].min() - cent if side < 0 else -np.inf
        found = first_beyond(rest, up, down) if wanted[session] else None
        if found:
            later, side, entry = found
            stop = entry - side * -(-atr[session] * tenths // 140)  # rounded up
            trades.append(hold(session, side, later["second"].iloc[0], entry, later.iloc[1:], stop, side * np.inf))
    return trades


def read_edge_in_play(prices: Prices, duration: int, point: tuple) -> list[tuple]:
    return read_edge(prices, duration, point, selected=True)


def read_stretch(prices: Prices, duration: int, _point: tuple) -> list[tuple]:
    trades, stretch, cent = [], daily(prices)["stretch"], prices.unit // 100
    for session, opening, rest in split(prices, duration):
        beyond = -(-stretch[session] // 10) + cent  # rounded up
        up, down = opening["price"].max() + beyond, opening["price"].min() - beyond
        found = first_beyond(rest, up, down)  # none where the stretch is not known
        if found:
            later, side, entry = found
            stop = down if side > 0 else up
            trades.append(hold(session, side, later["second"].iloc[0], entry, later.iloc[1:], stop, side * np.inf))
    return trades


def book(prices: Prices, trades: list[tuple], commission: float) -> pd.DataFrame:
    """Return trades as the package shows them, in dollars after costs."""
    names = ["session", "side", "entry_time", "entry_price", "exit_time", "exit_price", "exit_reason"]
    found = pd.DataFrame(trades, columns=names)
    fills = 2 - (found["exit_reason"] == "limit")
    move = (found["exit_price"] - found["entry_price"]) * found["side"] / prices.unit
    found["profit"] = move - 2 * commission - fills * prices.slippage
    opened = found["session"].map(lambda day: real.bounds(day)[0])
    for name in ("entry", "exit"):
        found[f"{name}_price"] /= prices.unit
        found[f"{name}_time"] = pd.to_datetime(opened + found[f"{name}_time"].astype(int), unit="s", utc=True)
    return found


def same_trades(one: orb.Backtest, expected: pd.DataFrame) -> None:
    assert len(expected) > 0
    pd.testing.assert_frame_equal(one.trades[COLUMNS], expected[COLUMNS], check_dtype=False, rtol=0, atol=1e-9)


#: rules, parameters (stop distance, stops a day, cool-off, limit) and reading of each study
POINT_FIRST_BAR, POINT_EDGE, POINT_STRETCH = (0, 1, 0, 10), (0.1, 1, 0, None), (0, 1, 0, None)
STUDIES = {
    "first bar": (FIRST_BAR, POINT_FIRST_BAR, read_first_bar),
    "edge": (EDGE, POINT_EDGE, read_edge),
    "in play": (IN_PLAY, POINT_EDGE, read_edge_in_play),
    "stretch": (STRETCH, POINT_STRETCH, read_stretch),
}

# A small market whose trades can be found by hand: fifteen sessions of the same six bars, then one of its own.

#: minute -> open, high, low, close. Every day: true range 2.00, and .50 from the open to the nearer extreme.
QUIET = {
    0: (100, 100.2, 99.9, 100.1),
    4: (100.1, 100.2, 99.9, 100),
    5: (100, 101.5, 100, 101.5),
    6: (101.5, 101.5, 99.5, 99.5),
    7: (99.5, 100, 99.5, 100),
    389: (100, 100, 100, 100),
}
#: The range of the day at hand: 99.80 to 100.30, from 100.00 up to 100.20.
RISING = {0: (100, 100.1, 99.8, 100), 4: (100, 100.3, 100, 100.2)}
#: 99.70 to 100.20, from 100.00 down to 99.80.
FALLING = {0: (100, 100.2, 99.9, 100), 4: (100, 100, 99.7, 99.8)}
END = {389: (100, 100, 100, 100)}


def by_hand(last: dict[int, tuple], volume: int = 100) -> orb.Sessions:
    """Return fifteen quiet sessions and the day at hand, of which each bar trades ``volume``."""
    days = [str(day.date()) for day in market.CALENDAR.sessions_in_range("2024-03-01", "2024-03-22")]
    rows = [
        (market.opened(day) + 60 * minute, *bar, volume if day == days[-1] else 100)
        for day in days
        for minute, bar in sorted((last if day == days[-1] else QUIET).items())
    ]
    frame = pd.DataFrame(rows, columns=["timestamp_utc", "open", "high", "low", "price", "volume"])
    assert len(days) == 16
    return orb.load_sessions(frame, "HAND", bar=60, stamp="start")


def last_day(sessions: orb.Sessions, rules: orb.Rules, point: tuple) -> list[tuple]:
    """Return side, entry and exit (New York's clock, price), reason and profit of the day at hand's trades."""
    trades = orb.run_backtest(sessions, 300, *point, rules=rules).trades
    trades = trades[trades["session"] == sessions.dates[-1]].copy()
    for name in ("entry_time", "exit_time"):
        trades[name] = trades[name].dt.tz_convert("America/New_York").dt.strftime("%H:%M:%S")
    return list(trades[COLUMNS[1:]].round(9).itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("bars", "trade"),
    [
        # up, so long at 100.20; 10 x .40 above it the target, which pays no slippage
        (RISING | {5: (100.2, 104.5, 100.2, 104)}, (1, "09:35:00", 100.2, "09:35:40", 104.2, "limit", 3.989)),
        (RISING | {5: (100.2, 104.1, 99.8, 100)}, (1, "09:35:00", 100.2, "09:35:20", 99.8, "stop", -0.421)),
        # the next bar opens below the stop: no better price was to be had
        (
            RISING | {5: (100.2, 100.3, 100, 100.1), 6: (99.5, 99.6, 99.5, 99.6)},
            (1, "09:35:00", 100.2, "09:36:00", 99.5, "stop", -0.721),
        ),
        (RISING | {5: (100.2, 104.1, 100, 104)}, (1, "09:35:00", 100.2, "15:59:59", 100, "close", -0.221)),
        # down, so short at 99.90; the stop at 100.20, the target at 96.90, which a bar opens beyond
        (
            FALLING | {5: (99.9, 99.9, 97, 97), 6: (96.5, 96.5, 96.5, 96.5)},
            (-1, "09:35:00", 99.9, "09:36:00", 96.5, "limit", 3.389),
        ),
        (FALLING | {5: (99.9, 100.3, 99.9, 100)}, (-1, "09:35:00", 99.9, "09:35:40", 100.2, "stop", -0.321)),
        # opened beyond its own stop, which then lies a cent above it
        (FALLING | {5: (100.4, 100.5, 100.4, 100.5)}, (-1, "09:35:00", 100.4, "09:35:40", 100.41, "stop", -0.031)),
    ],
    ids=["target", "stop", "gap through the stop", "close", "short to the target", "short stopped", "beyond its stop"],
)
def test_the_first_bar_s_direction_is_followed_from_the_second_bar_s_open(bars, trade):
    assert last_day(by_hand(bars | END), FIRST_BAR, POINT_FIRST_BAR) == [trade]


def test_a_first_bar_that_goes_nowhere_is_followed_nowhere():
    flat = {**RISING, 4: (100, 100.3, 99.9, 100), 5: (100.2, 104.5, 100.2, 104)}
    assert last_day(by_hand(flat | END), FIRST_BAR, POINT_FIRST_BAR) == []
    assert last_day(by_hand(flat | END), EDGE, POINT_EDGE) == []


@pytest.mark.parametrize(
    ("bars", "trades"),
    [
        # long a cent above 100.30, stopped a tenth of 2.00 below that
        (RISING | {5: (100.2, 100.5, 100.1, 100.4)}, [(1, "09:35:40", 100.31, "15:59:00", 100, "stop", -0.337)]),
        (
            RISING | {5: (100.2, 100.5, 100.2, 100.5), 389: (100.5, 102, 100.5, 101.9)},
            [(1, "09:35:40", 100.31, "15:59:59", 101.9, "close", 1.563)],
        ),
        (
            RISING | {5: (100.2, 100.5, 100.2, 100.5), 6: (100.5, 100.5, 100, 100.1)},
            [(1, "09:35:40", 100.31, "09:36:40", 100.11, "stop", -0.227)],
        ),
        # a bar opens above the edge: the order is filled there, the stop counts from there
        (
            RISING | {5: (100.2, 100.3, 100.2, 100.3), 6: (101, 101.3, 100.7, 101)},
            [(1, "09:36:00", 101, "09:36:20", 100.8, "stop", -0.227)],
        ),
        (FALLING | {5: (99.8, 99.8, 99.5, 99.6)}, [(-1, "09:35:40", 99.69, "15:59:00", 100, "stop", -0.337)]),
        # the other side's edge is no entry
        (RISING | {5: (100.2, 100.2, 98, 98.5)}, []),
    ],
    ids=["gap through the stop", "close", "stop", "gap through the edge", "short", "wrong side"],
)
def test_the_edge_is_an_order_in_the_opening_bar_s_direction(bars, trades):
    bars = {389: END[389], **bars}
    assert last_day(by_hand(bars), EDGE, POINT_EDGE) == trades


def test_a_session_is_in_play_with_the_volume_that_its_range_usually_has():
    bars = RISING | {5: (100.2, 100.5, 100.1, 100.4)} | END
    usual, less = by_hand(bars, volume=100), by_hand(bars, volume=99)
    assert less.features_of(300)["relative_volume"].iloc[-1] == 0.99
    assert last_day(usual, IN_PLAY, POINT_EDGE) == last_day(usual, EDGE, POINT_EDGE) != []
    with pytest.raises(BadInput, match="holds on none of HAND's 1 tradable sessions"):
        last_day(less, IN_PLAY, POINT_EDGE)


@pytest.mark.parametrize(
    ("bars", "trade"),
    [
        # 100.30 + .50 + .01 is the order to buy, 99.80 - .50 - .01 the one to sell
        (RISING | {5: (100.2, 101, 100.1, 100.9)}, (1, "09:35:40", 100.81, "15:59:59", 100, "close", -0.83)),
        (
            RISING | {5: (100.2, 101, 100.1, 100.9), 6: (100.9, 100.9, 99.2, 99.4)},
            (1, "09:35:40", 100.81, "09:36:40", 99.29, "stop", -1.54),
        ),
        (RISING | {5: (100.2, 100.8, 99.2, 99.3)}, (-1, "09:35:40", 99.29, "15:59:59", 100, "close", -0.73)),
        (RISING | {5: (101.5, 101.5, 101, 101.2)}, (1, "09:35:00", 101.5, "15:59:59", 100, "close", -1.52)),
    ],
    ids=["long", "stopped at the other entry", "short", "gap"],
)
def test_the_stretch_lies_beyond_the_edge_and_the_other_entry_is_the_stop(bars, trade):
    assert last_day(by_hand(bars | END), STRETCH, POINT_STRETCH) == [trade]


def test_with_a_second_stop_allowed_the_position_turns_round_a_second_later_at_the_price_then_standing():
    bars = RISING | {5: (100.2, 101, 100.1, 100.9), 6: (100.9, 100.9, 99.2, 99.4)} | END
    found = last_day(by_hand(bars), STRETCH, (0, 2, 0, None))
    assert found == [
        (1, "09:35:40", 100.81, "09:36:40", 99.29, "stop", -1.54),
        (-1, "09:36:41", 99.2, "15:59:59", 100, "close", -0.82),
    ]


def test_a_range_of_one_second_of_prices_is_the_open():
    """Open and stretch, as Crabel has it, can be said where there is a price in the first second."""
    days = [str(day.date()) for day in market.CALENDAR.sessions_in_range("2024-03-01", "2024-03-15")]
    moves = {0: 100, 1: 100.4, 2: 101.5, 3: 99.5, 23_400: 100}  # .50 from the open to the nearer extreme
    rows = [(market.opened(day) + second, price) for day in days for second, price in moves.items()]
    sessions = orb.load_sessions(pd.DataFrame(rows, columns=["timestamp_utc", "price"]), "HAND", bar=0)
    level = orb.Rules(fill="level", entry_buffer=1, buffer_unit="stretch", stop_anchor="opposite_entry")
    trades = orb.run_backtest(sessions, 1, *POINT_STRETCH, rules=level).trades
    assert len(trades) == len(days) - 10
    assert (trades["side"] == 1).all()
    np.testing.assert_allclose(trades["entry_price"], 100.51)
    np.testing.assert_allclose(trades["exit_price"], 100)  # 99.49 was not reached


# The same by the readings above: on minute bars made up, on real ones, on seconds.


@pytest.fixture(scope="module")
def made_up() -> tuple[orb.Sessions, Prices]:
    """Return 60 sessions of random minute bars in cents, with volumes; two half-days among them."""
    days = [str(day.date()) for day in market.CALENDAR.sessions_in_range("2024-10-07", "2024-12-31")]
    bars = market.bars(tuple(days), seed=3)
    bars["volume"] = np.random.default_rng(4).integers(1, 500, len(bars))
    return orb.load_sessions(bars, "TEST"), from_bars(bars, 100)


@pytest.fixture
def spy(market_data) -> tuple[orb.Sessions, Prices]:
    raw = pd.read_parquet(market_data / "spy_1min_2024_2025.parquet")
    sessions = real.load(market_data, "spy_1min_2024_2025", "SPY", bar=60, stamp="start")
    return sessions, from_bars(raw, 10_000)


def agree(sessions: orb.Sessions, prices: Prices, duration: int) -> dict[str, pd.DataFrame]:
    """Compare every trade of every study; return the trades."""
    found = {}
    for name, (rules, point, read) in STUDIES.items():
        found[name] = book(prices, read(prices, duration, point), rules.commission)
        same_trades(orb.run_backtest(sessions, duration, *point, rules=rules), found[name])
    return found


@pytest.mark.parametrize("duration", [300, 900, 3600])
def test_all_three_trade_on_minute_bars_what_a_plain_reading_trades(made_up, duration):
    found = agree(*made_up, duration)
    assert 0 < len(found["in play"]) < len(found["edge"])
    for name, trades in found.items():
        assert set(trades["side"]) == {1, -1}
        assert set(trades["exit_reason"]) >= {"stop", "close"}
        assert ("limit" in set(trades["exit_reason"])) == (name == "first bar" and duration < 3600)


@pytest.mark.parametrize("duration", [300, 1800])
def test_all_three_trade_on_real_bars_what_a_plain_reading_trades(spy, duration):
    found = agree(*spy, duration)
    assert 200 < len(found["stretch"]) <= 246  # of 256 sessions ten go into the first stretch
    assert 200 < len(found["edge"]) <= 241
    assert 250 < len(found["first bar"]) <= 256
    assert 50 < len(found["in play"]) < 150
    assert set(found["first bar"]["exit_reason"]) == {"limit", "stop", "close"}


@pytest.mark.parametrize("duration", [300, 3600])
def test_a_grid_of_all_three_on_the_synthetic_market_sums_what_a_plain_reading_trades(duration):
    sessions, prices = orb.synthetic_sessions(24, 5), from_seconds(24, 5)
    grids = {"first bar": (0, 1, 0, [2, 10, None]), "edge": ([0.1, 0.5], 1, 0, None), "stretch": (0, 1, 0, None)}
    for name, values in grids.items():
        (rules, _, read), grid = STUDIES[name], orb.ParameterGrid(*values)
        rows = orb.run_grid(sessions, grid, duration, rules)
        assert len(rows) == len(grid)
        for i, point in enumerate(grid):
            trades = book(prices, read(prices, duration, tuple(point.values())), rules.commission)
            same_trades(orb.run_backtest(sessions, duration, **point, rules=rules), trades)
            assert rows["trades"][i] == len(trades)
            assert rows["stops"][i] == (trades["exit_reason"] == "stop").sum()
            assert rows["backtest_profit"][i] == pytest.approx(trades["profit"].sum(), abs=1e-9)
            assert rows["win_rate"][i] == pytest.approx((trades["profit"] > 1e-9).mean())
