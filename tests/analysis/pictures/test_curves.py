"""Equity and cost curves against the backtest's own numbers, and against backtests that really paid the cost."""

from __future__ import annotations

import numpy as np
import pytest
from holoviews.plotting.links import RangeToolLink

import orbresearch as orb
from orbresearch.analysis.pictures import cost_curve, equity
from orbresearch.errors import BadInput


def curve(plot, label: str):
    return next(element for element in plot.values() if element.label == label).dframe()


def test_equity_draws_profit_price_change_and_drawdown(one):
    above, below, whole = equity(one).plot.values()
    assert curve(above, "backtest, cumulative profit")["profit"].to_numpy() == pytest.approx(one.daily.cumsum())
    assert curve(above, "price change")["profit"].to_numpy() == pytest.approx(one.prices - one.first_price)
    peak, expected = 0.0, []
    for total in np.cumsum(one.daily.to_numpy()):
        peak = max(peak, total)
        expected.append(total - peak)
    assert below.dframe()["drawdown"].to_numpy() == pytest.approx(expected)
    assert whole.dframe()["whole profit"].to_numpy() == pytest.approx(one.daily.cumsum())


def test_the_window_moves_the_curves_above(one):
    above, _, whole = equity(one).plot.values()
    link = next(iter(RangeToolLink.registry[whole]))
    assert any(link.target is element for element in above.values())


@pytest.mark.parametrize("commission", [0.0, 0.01, 0.05])
def test_the_cost_curve_says_what_a_backtest_with_that_cost_earns(one, sessions, commission):
    paid = orb.run_backtest(sessions, 300, 0.5, 3, 60, 2, orb.Rules(commission=commission))
    drawn = curve(cost_curve(one).plot, "profit at this cost")
    slope, start = np.polyfit(drawn["cost"], drawn["profit"], 1)
    assert start + slope * commission == pytest.approx(paid.stats["backtest_profit"])


def test_the_break_even_is_the_one_of_the_row(one):
    marked = [e for e in cost_curve(one).plot.values() if e.label.startswith("break-even")]
    even = one.stats["break_even_cost"]
    assert len(marked) == (even > 0)
    for element in marked:
        assert element.dframe()[["cost", "profit"]].iloc[0].tolist() == pytest.approx([even, 0])


def test_what_loses_before_costs_has_no_break_even(sessions):
    found = orb.run_grid(sessions, orb.ParameterGrid([0.1, 0.2, 0.4, 0.8], [1, 3], [0, 60], [0.5, 1, 2, 4]))
    worst = found.loc[found["break_even_cost"].idxmin()]
    assert worst["break_even_cost"] < 0
    point = worst[["stop_distance", "stop_count_limit", "stop_cooloff_period", "limit_distance"]]
    loser = orb.run_backtest(sessions, 300, point.iloc[0], int(point.iloc[1]), int(point.iloc[2]), point.iloc[3])
    picture = cost_curve(loser)
    assert "loses before any cost" in picture.title
    assert not [e for e in picture.plot.values() if e.label.startswith("break-even")]


def test_costs_of_no_trade_are_refused(idle):
    with pytest.raises(BadInput, match="no trade"):
        cost_curve(idle)
