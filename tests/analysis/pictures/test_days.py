"""The picture of a day against the trades, the observations and the opening ranges themselves."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.analysis.pictures import day
from orbresearch.analysis.pictures.days import MARKS, draw_day
from orbresearch.errors import BadInput

NEW_YORK = ZoneInfo("America/New_York")


def wall_clock(moment: pd.Timestamp) -> pd.Timestamp:
    """Exchange time by the standard library, without a zone."""
    return pd.Timestamp(moment.to_pydatetime().astimezone(NEW_YORK).replace(tzinfo=None))


def elements(plot, label: str) -> list:
    return [element for element in plot.values() if element.label == label]


def marks(plot, ends: str) -> list[tuple]:
    """What is marked at entries or exits: (time, price, profit)."""
    found = [e.dframe() for e in plot.values() if e.label in MARKS and e.label.startswith("exit") == (ends == "exit")]
    return sorted(tuple(row) for frame in found for row in frame[["time", "price", "profit"]].itertuples(index=False))


def test_marks_stand_where_trades_opened_and_closed(one):
    for date in one.daily.index[::4]:
        plot, made = day(one, date).plot, one.trades[one.trades["session"] == date]
        for ends in ("entry", "exit"):
            times = made[f"{ends}_time"].map(wall_clock)
            expected = sorted(zip(times, made[f"{ends}_price"], made["profit"], strict=True))
            assert marks(plot, ends) == expected


def test_each_mark_says_its_side_or_its_reason(one):
    for date in one.daily.index[:12]:
        for element in day(one, date).plot.values():
            if element.label in ("long entry", "short entry"):
                assert set(element.dframe()["side"]) == {element.label.split()[0]}
            elif element.label.startswith("exit"):
                assert set(element.dframe()["reason"]) == {element.label.split()[1]}


def test_no_two_marks_share_shape_or_colour():
    assert len({shape for shape, _ in MARKS.values()}) == len({colour for _, colour in MARKS.values()}) == len(MARKS)


def test_the_price_is_the_last_one_seen_at_any_second(one, sessions):
    for i in (0, 17, 59):
        drawn = elements(day(one, one.daily.index[i]).plot, "price")[0].dframe()
        seen, opened = sessions.observations(i), sessions.schedule.opens[i]
        for second in np.random.default_rng(i).integers(60, seen["time"][-1], 50):
            moment = wall_clock(pd.Timestamp(opened + second, unit="s", tz="UTC"))
            last = seen["price"][np.searchsorted(seen["time"], second, side="right") - 1] * sessions.increment
            assert drawn["price"][drawn["time"] <= moment].iloc[-1] == pytest.approx(last)
        assert drawn["time"].iloc[-1] == wall_clock(pd.Timestamp(opened + seen["time"][-1], unit="s", tz="UTC"))


def test_the_opening_range_is_that_of_the_table(one, sessions):
    ranges = orb.organize_opening_range_data(sessions, 300)
    assert len(ranges) == len(one.daily)
    for date, high, low in zip(one.daily.index[::6], ranges["high"][::6], ranges["low"][::6], strict=True):
        plot = day(one, date).plot
        edges = {name: set(elements(plot, f"range {name}")[0].dframe()["price"]) for name in ("high", "low")}
        assert edges == {"high": {high}, "low": {low}}


def test_the_window_begins_at_half_past_nine_in_winter_and_in_summer(one):
    for date in (one.daily.index[0], one.daily.index[-1]):  # January, and March after the clocks changed
        found = one.session(date)
        assert (found.opened, found.range_end) == (date + pd.Timedelta("09:30:00"), date + pd.Timedelta("09:35:00"))
        assert found.closed == date + pd.Timedelta("16:00:00")


def test_a_day_that_ends_early_by_rule_shows_no_price_after_it(sessions):
    early = orb.run_backtest(sessions, 300, 0.5, 3, 60, 2, orb.Rules(exit_time=3600))
    date = early.daily.index[3]
    assert early.session(date).prices.index[-1] == date + pd.Timedelta("10:30:00")


def test_bars_show_their_guessed_path(market_data):
    path = market_data / "spy_1min_2024_2025.parquet"
    found = orb.load_sessions(path, "SPY", start="2024-07-01", end="2024-07-05", bar=60, stamp="start", cache=False)
    one = orb.run_backtest(found, 900, 1, 3, 300, 2.5)
    half = one.session("2024-07-03")
    assert half.closed == pd.Timestamp("2024-07-03 13:00")
    assert half.prices.index[-1] <= half.closed
    assert len(half.trades) == (one.trades["session"] == "2024-07-03").sum()


def test_what_follows_clicks_has_the_same_elements_every_day(one):
    drawn = [draw_day(one, one.session(date), every=True) for date in one.daily.index[:10]]
    assert len({tuple((type(e).__name__, e.label) for e in plot.values()) for plot in drawn}) == 1
    assert {"long entry", "short entry", "exit: limit", "exit: stop", "exit: close"} <= {
        e.label for e in drawn[0].values()
    }


def test_titles_name_day_ticker_dates_and_costs(one):
    title = one.day(one.daily.index[0]).title
    assert "Tuesday 2024-01-02" in title
    assert one.title in title
    assert "commission 0.0005" in title


def test_a_day_without_a_trade_is_drawn_too(idle):
    assert "0 trades, profit 0.00 $" in day(idle, idle.daily.index[0]).title


@pytest.mark.parametrize(("date", "said"), [("2024-01-06", "the nearest is 2024-01-05"), ("soon", "is no date")])
def test_other_days_are_refused_with_what_would_be_right(one, date, said):
    with pytest.raises(BadInput, match=said):
        day(one, date)


def test_a_session_that_is_not_tradable_is_refused_with_the_reason(sessions):
    mondays = orb.run_backtest(sessions, 300, 0.5, 3, 60, 2, orb.Rules(select=("date", ">=", "2024-02-01")))
    with pytest.raises(BadInput, match=mondays.item.untradable["2024-01-03"]):
        mondays.day("2024-01-03")
