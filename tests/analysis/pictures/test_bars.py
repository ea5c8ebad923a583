"""Bars by time of entry and by weekday against sums made trade by trade."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from zoneinfo import ZoneInfo

import holoviews as hv
import pytest

from orbresearch.analysis.pictures import by_entry_time, by_weekday
from orbresearch.errors import BadInput


def bars(picture):
    return next(e for e in picture.plot.values() if isinstance(e, hv.Bars)).dframe().set_index("group")


def check(drawn, groups: dict[str, list[float]]) -> None:
    for name, row in drawn.iterrows():
        profits = groups.get(name, [])
        assert row["count"] == len(profits)
        assert row["profit"] == pytest.approx(sum(profits))
        error = statistics.stdev(profits) * math.sqrt(len(profits)) if len(profits) > 1 else 0
        assert row["error"] == pytest.approx(error)
    assert set(groups) <= set(drawn.index)


def test_half_hours_of_entry_hold_their_trades_and_add_up_to_the_profit(one):
    groups = defaultdict(list)
    for trade in one.trades.itertuples():
        clock = trade.entry_time.to_pydatetime().astimezone(ZoneInfo("America/New_York"))
        groups[f"{clock.hour:02}:{clock.minute // 30 * 30:02}"].append(trade.profit)
    drawn = bars(by_entry_time(one))
    check(drawn, groups)
    assert drawn["profit"].sum() == pytest.approx(one.stats["backtest_profit"])
    assert drawn["count"].sum() == one.stats["trades"]
    assert list(drawn.index) == sorted(drawn.index)


def test_weekdays_hold_their_sessions_and_add_up_to_the_profit(one):
    groups = defaultdict(list)
    for date, profit in one.daily.items():
        groups[date.day_name()].append(profit)
    drawn = bars(by_weekday(one))
    check(drawn, groups)
    assert list(drawn.index) == ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    assert drawn["profit"].sum() == pytest.approx(one.stats["backtest_profit"])
    assert drawn["count"].sum() == one.stats["sessions"]


def test_a_backtest_without_a_trade_has_weekdays_but_no_time_of_entry(idle):
    assert bars(by_weekday(idle))["profit"].sum() == 0
    with pytest.raises(BadInput, match="no trade"):
        by_entry_time(idle)
