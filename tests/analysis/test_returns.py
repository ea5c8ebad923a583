"""A backtest's daily returns, to the last digit, and as another library takes them; its trades' stops."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import (
    ParameterGrid,
    Rules,
    load_sessions,
    organize_opening_range_data,
    run_backtest,
    run_grid,
    synthetic_sessions,
)
from orbresearch.analysis.backtests import Backtest
from tests.sources import market

YEAR = synthetic_sessions(250, seed=5)
POINT = {"stop_distance": 0.4, "stop_count_limit": 3, "stop_cooloff_period": 60, "limit_distance": 2}
RULES = [Rules(), Rules(commission=0.0035, slippage=0.01), Rules(fill="level"), Rules(measure="dollars")]
by_rules = pytest.mark.parametrize("rules", RULES, ids=["plain", "costs", "level", "dollars"])


def rounded(profit: Decimal, price: Decimal) -> Decimal:
    return (profit / price).quantize(Decimal("1e-8"), ROUND_HALF_EVEN)


def day_of(first: str, second: str) -> pd.DataFrame:
    """Return a session that opens at a price, breaks out of it at another and ends an increment higher."""
    opened = market.opened("2024-07-02")
    prices = {0: first, 1: first, 600: second, 900: str(Decimal(second) + Decimal("0.01"))}
    return pd.DataFrame(
        {"timestamp_utc": [opened + second for second in prices], "price": [float(text) for text in prices.values()]}
    )


@by_rules
def test_every_session_has_its_return_to_the_last_digit(rules):
    one = run_backtest(YEAR, 300, **POINT, rules=rules)
    assert one.returns.index.equals(one.daily.index)
    assert (one.returns.index.tz, one.returns.name, one.returns.dtype) == (None, "returns", np.float64)
    first = np.array(YEAR.series.columns["price"])[np.array(YEAR.series.pointers)[:-1]]
    increment = Decimal(YEAR.increment_nanos).scaleb(-9)
    for profit, price, found in zip(one.daily, first.tolist(), one.returns, strict=True):
        exact = Decimal(profit).quantize(Decimal("1e-7"))
        assert Decimal(found).quantize(Decimal("1e-12")) == rounded(exact, price * increment)
    assert (one.returns == 0).sum() >= (one.daily == 0).sum() > 0 or (one.daily != 0).all()


@pytest.mark.parametrize(("price", "expected"), [("128", 7812e-8), ("25.6", 39062e-8), ("384", 2604e-8)])
def test_a_half_is_rounded_to_even_as_the_rows_are(price, expected):
    """A cent of 128 is 7812.5e-8, of 25.60 39062.5e-8; of 384 2604.2e-8."""
    sessions = load_sessions(day_of(price, str(Decimal(price) + 1)), "TEST")
    one = run_backtest(sessions, 300, 5, 1, 0, None)
    assert one.daily.tolist() == pytest.approx([0.01], abs=1e-12)
    assert one.returns.tolist() == [expected] == [one.stats["backtest_return"]]


@by_rules
def test_they_add_up_to_the_row(rules):
    one = run_backtest(YEAR, 300, **POINT, rules=rules)
    stats = one.stats
    if rules.measure == "dollars":  # returns stay returns: the row is that of the same rules without it
        stats = run_backtest(YEAR, 300, **POINT).stats
    fallen = one.returns.cumsum() - one.returns.cumsum().cummax().clip(lower=0)
    assert stats["backtest_return"] == pytest.approx(one.returns.sum(), abs=1e-12)
    assert stats["max_drawdown"] == pytest.approx(fallen.min(), abs=1e-12)


@by_rules
def test_empyrical_says_the_same_sharpe_and_sortino_and_a_drawdown_that_compounds(rules):
    empyrical = pytest.importorskip("empyrical")
    if rules.measure == "dollars":
        pytest.skip("the row measures dollars")
    for limit in (0.5, 2, None):
        one = run_backtest(YEAR, 300, **{**POINT, "limit_distance": limit}, rules=rules)
        returns, stats = one.returns, one.stats
        assert empyrical.sharpe_ratio(returns) == pytest.approx(stats["sharpe_ratio"], rel=1e-12)
        assert empyrical.sortino_ratio(returns) == pytest.approx(stats["sortino_ratio"], rel=1e-12)
        assert stats["max_drawdown"] < 0
        assert -1 < empyrical.max_drawdown(returns) <= np.expm1(stats["max_drawdown"])
        wealth = (1 + returns).cumprod()
        assert empyrical.max_drawdown(returns) == pytest.approx((wealth / wealth.cummax().clip(lower=1)).min() - 1)
        assert empyrical.cum_returns_final(returns) != pytest.approx(stats["backtest_return"], rel=1e-3)


def test_without_a_trade_all_returns_are_zero():
    frame = market.prices().assign(price=100.0)
    one = run_backtest(load_sessions(frame, "TEST"), 300, **POINT)
    assert len(one.trades) == 0
    assert one.returns.tolist() == [0.0, 0.0, 0.0]
    assert one.trades["stop_distance"].dtype == np.float64


def stops_by_hand(one: Backtest, rules: Rules, distance: float) -> list[float]:
    """Return each trade's stop distance in dollars, from the ranges that the package lists."""
    ranges, found = organize_opening_range_data(YEAR, 300), []
    for trade in one.trades.itertuples():
        day = ranges.loc[trade.session]
        unit = {"dollars": 1.0, "range": day["high"] - day["low"]}
        unit["percent"] = (day["high"] if trade.side > 0 else day["low"]) / 100
        away = np.ceil(np.round(distance * unit[rules.stop_unit] / 0.01, 6)) * 0.01
        if rules.anchored:
            beyond = 0.01 if rules.stop_anchor == "opposite_entry" else 0.0
            edge = day["low"] - beyond if trade.side > 0 else day["high"] + beyond
            away += (trade.entry_price - edge) * trade.side
        found.append(max(away, 0.01))
    return found


@pytest.mark.parametrize("anchor", ["entry", "opposite_edge", "opposite_entry"])
@pytest.mark.parametrize(("unit", "distance"), [("dollars", 0.4), ("percent", 0.123), ("range", 0.3)])
@pytest.mark.parametrize("fill", ["seen", "level"])
def test_a_trade_knows_its_stop_in_dollars(unit, distance, anchor, fill):
    rules = Rules(stop_unit=unit, stop_anchor=anchor, fill=fill, slippage=0.0)
    one = run_backtest(YEAR, 300, distance, 3, 60, 2, rules)
    np.testing.assert_allclose(one.trades["stop_distance"], stops_by_hand(one, rules, distance), rtol=0, atol=1e-9)
    stopped = one.trades[one.trades["exit_reason"] == "stop"]
    assert len(stopped) > 20
    assert (-stopped["profit"] >= stopped["stop_distance"] - 1e-9).all()
    if fill == "level":
        np.testing.assert_allclose(-stopped["profit"], stopped["stop_distance"], rtol=0, atol=1e-9)


@given(st.floats(0.02, 3), st.sampled_from([1, 2, 5]), st.one_of(st.none(), st.floats(0.02, 5)))
def test_any_backtest_has_the_returns_of_its_row(stop, count, limit):
    one = run_backtest(YEAR, 300, stop, count, 30, limit, RULES[1])
    row = run_grid(YEAR, ParameterGrid(stop, count, 30, limit), 300, RULES[1]).iloc[0]
    assert round(one.returns.sum() * 1e8) == round(row["backtest_return"] * 1e8)
    assert one.returns.mean() / one.returns.std() * 252**0.5 == pytest.approx(row["sharpe_ratio"], rel=1e-9)
