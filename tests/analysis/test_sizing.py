"""An account that trades a backtest, against the same done by hand in decimal numbers."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import Rules, load_sessions, run_backtest, synthetic_sessions
from orbresearch.analysis.backtests import Backtest
from orbresearch.analysis.sizing import Sizing, size
from orbresearch.errors import BadInput
from tests.sources import market

COSTS = Rules(commission=0.0035, slippage=0.01)
YEAR = run_backtest(synthetic_sessions(250, seed=5), 300, 0.4, 3, 60, 2, COSTS)
DAYS = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], name="session")


def backtest_of(*trades: tuple[int, float, float, float]) -> Backtest:
    """Return a backtest of four sessions: of each trade its session, entry price, stop distance and profit."""
    at, price, stop, profit = zip(*trades, strict=True) if trades else ((), (), (), ())
    frame = YEAR.trades.iloc[[0] * len(trades)].reset_index(drop=True)
    frame["session"] = DAYS[list(at)]
    for name, values in (("entry_price", price), ("stop_distance", stop), ("profit", profit)):
        frame[name] = np.array(values, np.float64)
    daily = frame.groupby("session")["profit"].sum().reindex(DAYS, fill_value=0.0)
    return replace(YEAR, trades=frame, daily=daily)


def exact(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def by_hand(backtest: Backtest, capital: float, **terms: Any) -> list[tuple[int, Decimal, Decimal, Decimal]]:
    """Return shares, profit, equity and leverage of every session: one trade after the other, in decimal numbers."""
    equity, ruined, rows = exact(capital), False, []
    leverage = terms.get("leverage") or (4 if "risk" in terms else None)
    for session in backtest.daily.index:
        start, most, used, net = equity, 0, Decimal(0), Decimal(0)
        for _, trade in backtest.trades[backtest.trades["session"] == session].iterrows():
            price, stop = exact(trade["entry_price"]), round(exact(trade["stop_distance"]), 6)
            count = terms["shares"] if "shares" in terms else (exact(terms["risk"]) * start / stop)
            if leverage is not None:
                count = min(count, exact(leverage) * start / price)
            count = 0 if ruined else int(Decimal(count).to_integral_value(ROUND_FLOOR))
            made = count * round(exact(trade["profit"]), 9)
            most, net = max(most, count), net + made
            equity += made
            used = max(used, count * price / start) if count else used
            ruined = ruined or equity <= 0
        rows.append((most, net, equity, used))
    return rows


def same(found: Sizing, expected: list[tuple[int, Decimal, Decimal, Decimal]]) -> None:
    assert found.days["shares"].tolist() == [row[0] for row in expected]
    for at, name in ((1, "profit"), (2, "equity"), (3, "leverage")):
        numbers = [float(row[at]) for row in expected]
        np.testing.assert_allclose(found.days[name], numbers, rtol=1e-12, atol=1e-9, err_msg=name)


trades = st.tuples(
    st.integers(0, 3),
    st.integers(1, 90_000).map(lambda cents: cents / 100),
    st.integers(1, 500).map(lambda cents: cents / 100),
    st.integers(-60_000, 60_000).map(lambda mills: mills / 1000),
)
terms = st.one_of(
    st.fixed_dictionaries({"shares": st.integers(1, 1000)}, optional={"leverage": st.sampled_from([0.5, 1, 4])}),
    st.fixed_dictionaries(
        {"risk": st.sampled_from([0.001, 0.0033, 0.01, 0.07, 0.29, 1.0])},
        optional={"leverage": st.sampled_from([0.3, 1, 2.5, 30])},
    ),
)


@given(st.lists(trades, max_size=8), st.sampled_from([100.0, 25_000.0, 33_333.33, 1e6]), terms)
@pytest.mark.filterwarnings("ignore:ruined")
def test_any_account_is_the_one_by_hand(made, capital, how):
    backtest = backtest_of(*sorted(made, key=lambda trade: trade[0]))
    found = size(backtest, capital, **how)
    same(found, by_hand(backtest, capital, **how))
    assert found.days.index.equals(backtest.daily.index)
    assert found.trades["dollars"].sum() == pytest.approx(found.days["profit"].sum(), abs=1e-6)
    assert (found.ruined is not None) == (found.days["equity"].min() <= 0)
    assert capital * (1 + found.returns).prod() == pytest.approx(found.days["equity"].iloc[-1], rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("how", [{"shares": 100}, {"risk": 0.01}, {"risk": 0.02, "leverage": 1}, {"risk": 0.0004}])
def test_a_year_is_the_one_by_hand(how):
    assert (YEAR.trades.groupby("session").size() > 1).any()
    same(size(YEAR, 50_000, **how), by_hand(YEAR, 50_000, **how))


def test_fixed_shares_earn_so_many_times_the_backtest():
    found = size(YEAR, 1e6, shares=100)
    np.testing.assert_allclose(found.days["profit"], 100 * YEAR.daily, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.days["equity"], 1e6 + 100 * YEAR.daily.cumsum(), rtol=0, atol=1e-6)
    assert set(found.trades["shares"]) == {100}
    assert set(found.days["shares"]) <= {0, 100}


def test_no_share_is_lost_to_rounding():
    """In floating point .57 * 100 / .06 is below 950."""
    assert int(0.57 * 100 / 0.06) == 949
    for risk, capital, stop, expected in ((0.57, 100, 0.06, 950), (0.07, 1000, 0.07, 1000), (0.01, 1000, 0.03, 333)):
        found = size(backtest_of((0, 1, stop, 0.0)), capital, risk=risk, leverage=1000)
        assert found.days["shares"].tolist() == [expected, 0, 0, 0]
    assert size(backtest_of((0, 300, 1, 0.0)), 900, risk=1, leverage=1).days["shares"].iloc[0] == 3


def test_a_stop_loses_what_was_put_at_risk():
    found = size(backtest_of((0, 100, 0.5, -0.5), (0, 100, 0.5, -0.5), (2, 100, 0.5, -0.5)), 100_000, risk=0.01)
    assert found.trades["dollars"].tolist() == [-1000.0, -1000.0, -980.0]
    assert found.days["equity"].tolist() == [98_000.0, 98_000.0, 97_020.0, 97_020.0]
    assert found.days["leverage"].tolist() == [2.0, 0.0, 2.0, 0.0]


def test_leverage_holds_positions_down():
    one = backtest_of((0, 100, 0.01, 1.0))
    assert size(one, 10_000, risk=0.01).days["shares"].iloc[0] == 400
    assert size(one, 10_000, risk=0.01, leverage=1).days["shares"].iloc[0] == 100
    assert size(one, 10_000, shares=300).days["leverage"].iloc[0] == 3.0
    assert size(one, 10_000, shares=300, leverage=2).days["shares"].iloc[0] == 200


def test_an_account_too_small_for_one_share_stands_still():
    found = size(backtest_of((0, 500, 1, 3.0), (1, 500, 1, -3.0)), 50, risk=0.01)
    assert found.days["shares"].tolist() == [0, 0, 0, 0]
    assert found.days["equity"].tolist() == [50.0] * 4
    assert found.ruined is None


def test_without_a_trade_nothing_happens():
    quiet = run_backtest(load_sessions(market.prices().assign(price=100.0), "TEST"), 300, 0.05, 3, 60, 0.5)
    for one in (quiet, backtest_of()):
        found = size(one, 1000, risk=0.01)
        assert found.days["equity"].tolist() == [1000.0] * len(one.daily)
        assert found.days.dtypes.astype(str).to_dict() == {
            "shares": "int64",
            "profit": "float64",
            "equity": "float64",
            "leverage": "float64",
        }
        assert list(found.trades[["shares", "dollars"]].dtypes.astype(str)) == ["int64", "float64"]
        assert found.returns.tolist() == [0.0] * len(one.daily)


def test_ruin_ends_the_trading_at_once_and_is_said():
    lost = backtest_of((0, 100, 1, 2.0), (1, 100, 1, -12.0), (1, 100, 1, 5.0), (3, 100, 1, 50.0))
    with pytest.warns(UserWarning, match="ruined on 2024-01-03: nothing is traded after it") as caught:
        found = size(lost, 1000, shares=100)
    assert caught[0].filename == __file__
    assert found.ruined == DAYS[1]
    assert found.trades["shares"].tolist() == [100, 100, 0, 0]
    assert found.days["equity"].tolist() == [1200.0, 0.0, 0.0, 0.0]
    assert found.returns.tolist() == pytest.approx([0.2, -1.0, 0.0, 0.0])
    assert repr(found) == "Sizing(1,000.00 dollars became 0.00 over 4 sessions, ruined on 2024-01-03)"


def test_the_accounts_returns_compound_to_its_equity():
    empyrical = pytest.importorskip("empyrical")
    found = size(YEAR, 50_000, risk=0.01)
    wealth = 50_000 * (1 + empyrical.cum_returns(found.returns))
    np.testing.assert_allclose(wealth, found.days["equity"], rtol=1e-12)
    assert repr(found).endswith("over 250 sessions)")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "shares, risk: neither is given; give shares=100, or risk=.01 of the equity"),
        ({"shares": 1, "risk": 0.01}, "shares, risk: both are given"),
        ({"shares": 0}, "shares: 0 is no number from 1 to 1,000,000,000"),
        ({"shares": 1.5}, "shares: 1.5 is no whole number"),
        ({"shares": True}, "shares: True is no whole number"),
        ({"shares": 10**10}, "shares: 10000000000 is no number"),
        ({"risk": 0}, "risk: 0 is no number from 1e-06 to 1"),
        ({"risk": 1.01}, "risk: 1.01 is no number"),
        ({"risk": float("nan")}, "risk: nan is no number"),
        ({"risk": "1%"}, "risk: '1%' is no number"),
        ({"risk": 0.01, "leverage": 0}, "leverage: 0 is no number from 1e-06 to 1,000"),
        ({"risk": 0.01, "leverage": float("inf")}, "leverage: inf is no number"),
        ({"shares": 1, "capital": 0}, "capital: 0 is no number from 0.01 to"),
        ({"shares": 1, "capital": -5}, "capital: -5 is no number"),
        ({"shares": 1, "capital": None}, "capital: None is no number"),
        ({"shares": 1, "backtest": "0123-4"}, "backtest: a str; give an orb.Backtest"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    asked = {"backtest": YEAR, "capital": 1000, **given}
    with pytest.raises(BadInput, match=message):
        size(asked.pop("backtest"), asked.pop("capital"), **asked)


def test_numbers_of_numpy_are_numbers():
    found = size(YEAR, np.float32(1000), shares=np.int64(3), leverage=np.int32(2))
    assert found.days["shares"].max() == 3
