"""run_backtest and run_grid: trades, days and columns say the same, in any chunks, in the order of the grid."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from orbresearch import ParameterGrid, Rules, load_sessions, plan, run_backtest, run_grid
from orbresearch.errors import BadInput
from orbresearch.schema import PARAMETERS, RESULTS
from tests.sources import market

GRID = ParameterGrid([0.3, 0.05], [1, 3], [0, 60], [0.2, 0.5, 20])
PRICES, BARS = load_sessions(market.prices(), "TEST"), load_sessions(market.bars(), "TEST")
POINT = {"stop_distance": 0.05, "stop_count_limit": 3, "stop_cooloff_period": 60, "limit_distance": 0.5}
COSTS = Rules(commission=0.0005, slippage=0.005)
#: TEST has a session without a breakout in the middle: the half-day's prices stand still.
QUIET = load_sessions(
    market.prices().assign(
        price=lambda found: found.price.where(
            found.timestamp_utc // 86_400 != market.opened("2024-07-03") // 86_400, 100.0
        )
    ),
    "TEST",
)
CASES = [
    (PRICES, None),
    (PRICES, COSTS),
    (PRICES, Rules(fill="level", slippage=0.0033)),
    (QUIET, COSTS),
    (BARS, None),
    (BARS, Rules(fill="seen", slippage=0.0, commission=0.0033)),
    (load_sessions(market.bars(), "TEST", increment=0.0001), COSTS),
]
IDS = ["prices", "costs", "level", "quiet", "bars", "bars-seen", "fine"]
every_case = pytest.mark.parametrize(("sessions", "rules"), CASES, ids=IDS)


@every_case
def test_trades_days_and_columns_say_the_same(sessions, rules):
    for point in list(GRID)[::5]:
        one = run_backtest(sessions, range_duration=300, **point, rules=rules)
        trades, stats, profit = one.trades, one.stats, one.trades["profit"]
        by_day = profit.groupby(trades["session"]).sum().reindex(one.daily.index, fill_value=0.0)
        np.testing.assert_allclose(one.daily, by_day, rtol=0, atol=1e-12)
        assert one.daily.index.tolist() == sessions.dates.tolist()
        assert stats["backtest_profit"] == pytest.approx(one.daily.sum(), abs=1e-9)
        assert stats["trades"] == len(trades)
        assert stats["stops"] == (trades["exit_reason"] == "stop").sum()
        assert stats["sessions"] == len(one.daily)
        assert stats["sessions_traded"] == trades["session"].nunique()
        assert stats["gross_profit"] == pytest.approx(profit[profit > 0].sum(), abs=1e-9)
        assert stats["gross_loss"] == pytest.approx(-profit[profit < 0].sum(), abs=1e-9)
        assert stats["win_rate"] == pytest.approx((profit > 1e-12).mean())
        assert stats["expectancy"] == pytest.approx(profit.mean())
        assert stats["win_rate_percent"] == round(100 * (one.daily > 1e-12).sum() / stats["sessions_traded"])
        assert stats["average_holding_period"] == pytest.approx(
            trades.groupby("session")["holding_seconds"].mean().mean(), abs=1e-6
        )
        moves = (trades["exit_price"] - trades["entry_price"]) * trades["side"]
        assert stats["break_even_cost"] == pytest.approx(moves.sum() / 2 / len(trades))


@every_case
def test_the_ratios_are_those_of_the_daily_returns(sessions, rules):
    one = run_backtest(sessions, 300, **POINT, rules=rules)
    first = [sessions.observations(i)["price"][0] * sessions.increment for i in range(len(sessions))]
    returns = (one.daily / first).round(8)
    falls = returns.clip(upper=0)
    total = returns.cumsum()
    expected = {
        "backtest_return": returns.sum(),
        "sharpe_ratio": returns.mean() / returns.std(ddof=1) * math.sqrt(252),
        "sortino_ratio": returns.mean() / math.sqrt((falls**2).mean()) * math.sqrt(252),
        "max_drawdown": (total - total.cummax().clip(lower=0)).min(),
    }
    for name, value in expected.items():
        assert one.stats[name] == pytest.approx(value, rel=1e-6, abs=1e-12), name


@every_case
def test_a_trade_says_what_it_earned(sessions, rules):
    trades = run_backtest(sessions, 300, **POINT, rules=rules).trades
    rules = (rules or Rules()).resolve(bars=sessions.is_bars)
    move = (trades["exit_price"] - trades["entry_price"]) * trades["side"]
    fills = 2 - (trades["exit_reason"] == "limit")
    cost = 2 * rules.commission + fills * rules.slippage
    np.testing.assert_allclose(trades["profit"], move - cost, rtol=0, atol=1e-12)
    assert set(trades["side"]) <= {1, -1}
    assert (trades["holding_seconds"] == (trades["exit_time"] - trades["entry_time"]).dt.total_seconds()).all()
    if rules.fill == "level" and sessions is PRICES:
        for reason, level in (("limit", 0.5), ("stop", -0.05)):
            np.testing.assert_allclose(move[trades["exit_reason"] == reason], level, rtol=0, atol=1e-12)


def test_the_columns_of_trades_are_those_promised():
    one = run_backtest(PRICES, 300, **POINT)
    assert list(one.trades) == [
        "session",
        "side",
        "entry_time",
        "entry_price",
        "exit_time",
        "exit_price",
        "profit",
        "holding_seconds",
        "exit_reason",
        "stop_distance",
    ]
    assert one.trades.index.tolist() == list(range(len(one.trades)))
    assert list(one.stats.index) == RESULTS.names
    assert (one.daily.name, one.daily.index.name) == ("profit", "session")


def test_times_are_utc_and_sessions_naive_dates():
    trades = run_backtest(PRICES, 300, **POINT).trades
    for name in ("entry_time", "exit_time"):
        assert str(trades[name].dt.tz) == "UTC"
    assert trades["session"].dt.tz is None
    assert (trades["session"] == trades["session"].dt.normalize()).all()
    assert (trades["entry_time"].dt.tz_convert("America/New_York").dt.date == trades["session"].dt.date).all()
    assert trades["entry_time"].is_monotonic_increasing


@pytest.mark.parametrize("sessions", [PRICES, BARS], ids=["prices", "bars"])
def test_on_a_half_day_an_open_position_is_closed_at_the_early_close(sessions):
    one = run_backtest(sessions, 300, 50, 1, 0, 50)  # never stopped, never at its limit: held to the end
    assert (one.trades["exit_reason"] == "close").all()
    closes = one.trades.set_index("session")["exit_time"]
    for day in market.DAYS:
        last = closes[pd.Timestamp(day)].timestamp()
        assert market.closed(day) - 7 <= last <= market.closed(day)
    assert closes["2024-07-03"].tz_convert("America/New_York").strftime("%H:%M") in ("12:59", "13:00")


def test_a_session_without_a_breakout_is_a_zero_not_a_gap():
    one = run_backtest(QUIET, 300, **POINT)
    half_day = pd.Timestamp("2024-07-03")
    assert half_day in one.daily.index
    assert one.daily[half_day] == 0
    assert half_day not in set(one.trades["session"])
    assert (one.stats["sessions"], one.stats["sessions_traded"]) == (3, 2)


def test_a_backtest_without_any_trade_has_zeros_and_undefined_ratios():
    still = load_sessions(market.prices(ticker="STILL").assign(price=100.0), "STILL")
    one = run_backtest(still, 300, **POINT, rules=COSTS)
    zeros = ["backtest_profit", "backtest_return", "trades", "stops", "sessions_traded", "gross_profit", "gross_loss"]
    undefined = ["average_holding_period", "win_rate_percent", "win_rate", "profit_factor", "expectancy"]
    undefined += ["break_even_cost", "sharpe_ratio", "sortino_ratio"]
    assert (one.stats[[*zeros, "max_drawdown"]] == 0).all()
    assert one.stats[undefined].isna().all()
    assert one.daily.tolist() == [0.0, 0.0, 0.0]
    assert len(one.trades) == 0
    assert str(one.trades["entry_time"].dt.tz) == "UTC"
    assert "0 trades" in repr(one)
    row = run_grid(still, ParameterGrid(**POINT), rules=COSTS).iloc[0]
    pd.testing.assert_series_equal(row, one.stats)


def test_one_session_has_a_profit_and_no_sharpe_ratio():
    one = run_backtest(PRICES.between("2024-07-02", "2024-07-02"), 300, **POINT)
    assert one.stats["sessions"] == 1
    assert np.isnan(one.stats["sharpe_ratio"])
    assert np.isfinite(one.stats["backtest_profit"])


def test_prices_of_a_backtest_are_the_last_of_each_session():
    one = run_backtest(PRICES, 300, **POINT)
    last = market.prices().groupby(market.prices()["timestamp_utc"] // 86_400)["price"].last()
    assert one.prices.tolist() == pytest.approx(last.tolist())
    assert one.first_price == pytest.approx(market.prices()["price"].iloc[0])
    assert one.prices.index.equals(one.daily.index)


def test_a_backtest_is_the_row_of_the_grid():
    table = run_grid(PRICES, GRID, 300, COSTS)
    for i, point in enumerate(GRID):
        stats = run_backtest(PRICES, 300, **point, rules=COSTS).stats
        pd.testing.assert_series_equal(stats.iloc[2:], table.iloc[i].iloc[2:], check_names=False)


def test_rows_stand_in_the_order_of_the_run():
    with pytest.warns(UserWarning, match="prices span"):
        table = run_grid(
            {"TEST": PRICES, "OTHER": load_sessions(market.prices(ticker="OTHER", seed=5), "OTHER")}, GRID, [600, 300]
        )
    expected = [
        (ticker, duration, *point.values()) for ticker in ("TEST", "OTHER") for duration in (600, 300) for point in GRID
    ]
    names = ["ticker", "range_duration", *PARAMETERS]
    assert list(table[names].itertuples(index=False, name=None)) == expected
    assert table["backtest_id"].is_monotonic_increasing
    assert table["backtest_id"].is_unique
    assert list(table) == RESULTS.names
    assert table.index.tolist() == list(range(len(expected)))


@every_case
def test_the_size_of_chunks_changes_no_bit(sessions, rules, monkeypatch):
    grid = ParameterGrid([0.3, 0.05, 0.11], [1, 3, 2], [0, 60], [0.2, 0.5, 20])
    whole = run_grid(sessions, grid, [300, 900], rules)
    monkeypatch.setattr(plan, "MAX_CHUNK_ROWS", 5)
    assert plan.make_plan(sessions, grid, [300, 900], rules).chunk_rows == 5
    pd.testing.assert_frame_equal(run_grid(sessions, grid, [300, 900], rules), whole, check_exact=True)


def test_a_stretch_of_a_grid_is_the_same_wherever_it_stands():
    whole = run_grid(PRICES, GRID, 300, COSTS)
    part = run_grid(PRICES, ParameterGrid([0.05], [3], [0, 60], [0.2, 0.5, 20]), 300, COSTS)
    at = (whole["stop_distance"] == 0.05) & (whole["stop_count_limit"] == 3)
    pd.testing.assert_frame_equal(part.iloc[:, 2:], whole[at].iloc[:, 2:].reset_index(drop=True), check_exact=True)


def test_running_twice_gives_the_same_bits():
    pd.testing.assert_frame_equal(run_grid(PRICES, GRID), run_grid(PRICES, GRID), check_exact=True)


def test_costs_make_every_backtest_poorer():
    free, dear = run_grid(PRICES, GRID), run_grid(PRICES, GRID, rules=Rules(commission=0.01, slippage=0.01))
    assert (dear["backtest_profit"] < free["backtest_profit"]).all()
    np.testing.assert_array_equal(dear["trades"], free["trades"])
    np.testing.assert_allclose(dear["break_even_cost"], free["break_even_cost"])


def test_backtests_finer_than_the_bars_are_marked_unresolved():
    median = float(np.median(market.bars()["high"] - market.bars()["low"]))
    fine, coarse = math.floor(300 * median) / 100 - 0.01, math.ceil(300 * median) / 100
    table = run_grid(BARS, ParameterGrid([fine, coarse], 1, 0, [fine, coarse]))
    assert table["resolved"].tolist() == [0, 0, 0, 1]
    assert run_grid(PRICES, ParameterGrid(0.01, 1, 0, 0.01))["resolved"].tolist() == [1]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"side": "long"},
        {"side": "short"},
        {"side": "opening_bar"},
        {"side": "opening_bar", "entry": "open"},
        {"select": ("weekday", "==", 1)},  # one day of three
    ],
    ids=str,
)
def test_an_anchored_stop_as_near_as_the_bars_is_unresolved_whatever_is_traded(said):
    """Bars have ranges of about 4 increments, the opening ranges of one bar 2 to 6: far from three bar ranges."""
    grid = ParameterGrid([0.0, 10.0], 1, 0, None)
    table = run_grid(BARS, grid, 60, Rules(stop_anchor="opposite_edge", **said))
    assert table["resolved"].tolist() == [0, 1]


def test_a_limit_in_multiples_of_the_stop_is_resolved_as_that_distance():
    stop = math.ceil(300 * float(np.median(market.bars()["high"] - market.bars()["low"]))) / 100
    table = run_grid(BARS, ParameterGrid(stop, 1, 0, [0.5, 1, None]), 300, Rules(limit_unit="R"))
    assert table["resolved"].tolist() == [0, 1, 1]
    assert (
        run_grid(BARS, ParameterGrid(stop - 0.01, 1, 0, [5, None]), 300, Rules(limit_unit="R"))["resolved"].sum() == 0
    )


def test_a_distance_that_differs_from_day_to_day_is_resolved_by_its_median():
    least = 3 * float(np.median(market.bars()["high"] - market.bars()["low"]))
    width = BARS.features_of(300)["range"].median()
    grid = ParameterGrid([0.9 * least / width, 1.05 * least / width], 1, 0, None)
    assert run_grid(BARS, grid, 300, Rules(stop_unit="range"))["resolved"].tolist() == [0, 1]


def test_a_backtest_is_one_parameter_set_on_one_ticker():
    with pytest.raises(BadInput, match="run_backtest: 2 parameter sets; give one value each, or use run_grid"):
        run_backtest(PRICES, 300, [0.1, 0.2], 1, 0, 1)
    with pytest.raises(BadInput, match="sessions: a dict; give the Sessions of one ticker"):
        run_backtest({"TEST": PRICES}, 300, **POINT)


def test_a_backtest_says_what_it_is():
    one = run_backtest(PRICES, 300, **POINT, rules=COSTS)
    for part in ("TEST", "2024-07-02 to 2024-07-05", f"{len(one.trades)} trades", "0.0005", "0.005"):
        assert part in repr(one)


def test_a_backtest_says_its_rules():
    one = run_backtest(PRICES, 300, 0.5, 3, 60, None, Rules(stop_unit="range", side="long", exit_time=3600))
    for part in ("stop 0.5 range", "no limit", "side long", "exit_time 3600"):
        assert part in one.title
    assert "limit nan" not in one.title


def test_a_title_names_no_rule_that_is_the_default():
    assert "side" not in run_backtest(PRICES, 300, **POINT).title


def test_trade_stats_tell_every_session_in_the_users_words():
    one = run_backtest(PRICES, 300, 0.2, 2, 30, 0.5)
    found = one.trade_stats()
    assert json.loads(json.dumps(found)) == found
    assert list(found) == [str(day.date()) for day in one.daily.index]
    trades = [trade for day in found.values() for name, trade in day.items() if name.isdigit()]
    assert [trade["top"] for trade in trades] == one.trades["entry_price"].tolist()
    assert [trade["tcp"] for trade in trades] == one.trades["exit_price"].tolist()
    assert [trade["d"] == "long" for trade in trades] == (one.trades["side"] > 0).tolist()
    assert [trade["tc"] - trade["to"] for trade in trades] == [trade["hp"] for trade in trades]
    assert sum(trade["p"] for trade in trades) == pytest.approx(one.stats["backtest_profit"], abs=1e-9)
    for day in found.values():
        made = [trade for name, trade in day.items() if name.isdigit()]
        assert day["tt"] == len(made)
        assert day["snp"] == pytest.approx(sum(trade["p"] for trade in made), abs=1e-9)
        assert day["ahp"] == (pytest.approx(sum(t["hp"] for t in made) / len(made), abs=1e-6) if made else None)
    assert sum(day["st"] for day in found.values()) == one.stats["stops"]
    assert trades
