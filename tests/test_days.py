"""A session under a run's rules: who takes part and why not, what distances mean, where a day ends."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orbresearch import ParameterGrid, Rules, load_sessions, run_backtest, run_grid
from orbresearch.days import UNIT, cut_series, find_distances
from orbresearch.errors import BadInput
from orbresearch.inputs import day_distances
from orbresearch.plan import make_plan
from orbresearch.rules import to_nanos
from orbresearch.schema import NEVER, TICKS
from tests import agreement, oracle
from tests.kernels.test_agreement import lots
from tests.sources import market
from tests.strategies import sessions_of_bars, sessions_of_points

GRID = ParameterGrid([0.1, 0.3], [1, 2], 30, [0.5, None])
PRICES, BARS = load_sessions(market.prices(), "TEST"), load_sessions(market.bars(), "TEST")
FIRST, HALF_DAY, LAST = market.DAYS
MONTH = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-06-03", "2024-07-05"))
LONG = load_sessions(market.prices(MONTH, step=61), "TEST")  # 24 sessions


def planned(sessions=PRICES, duration=300, grid=GRID, **said):
    """Plan under rules; what is finer than an increment is tested with the plan."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return make_plan(sessions, grid, duration, Rules(**said)).inputs[0]


def joined(*values, sessions=PRICES):
    dates = [f"{day:%Y-%m-%d}" for day in sessions.dates]
    return sessions.join(pd.Series(values, dates[: len(values)], name="own", dtype=float))


# Seconds


@pytest.mark.parametrize("name", ["entry_cutoff", "exit_time"])
@pytest.mark.parametrize("second", [1, 299, 300])
def test_a_second_before_the_ranges_end_is_refused_with_both_numbers(name, second):
    with pytest.raises(
        BadInput, match=rf"^{name}: second {second} is not after the range's end at 300; give more than 3"
    ):
        planned(**{name: second})
    planned(**{name: 302})


@pytest.mark.parametrize("name", ["entry_cutoff", "exit_time"])
@pytest.mark.parametrize("second", [23_401, 10**6])
def test_a_second_after_every_close_is_refused_with_both_numbers(name, second):
    with pytest.raises(
        BadInput, match=rf"^{name}: second {second} is after every close: the longest session has 23400"
    ):
        planned(**{name: second})
    planned(**{name: 23_400})


def test_a_second_after_the_close_of_a_half_day_is_one_of_the_other_days():
    item = planned(exit_time=14_400)
    assert len(item.days) == 3
    assert item.series.columns["time"][item.days["last_tick"]].tolist() == [14_400, 12_600, 14_400]
    with pytest.raises(BadInput, match=r"the longest session has 12600 s; count seconds from the session's open"):
        planned(PRICES.between(HALF_DAY, HALF_DAY), exit_time=14_400)


@pytest.mark.parametrize("name", ["entry_cutoff", "exit_time"])
def test_a_second_inside_a_bar_is_refused_with_the_bars(name):
    with pytest.raises(
        BadInput, match=rf"^{name}: 3601 s is no whole number of TEST's 60 s bars; give a multiple of 60"
    ):
        planned(BARS, **{name: 3601})
    assert len(planned(BARS, **{name: 3600}).days) == 3
    closes = load_sessions(market.bars(bar=1, days=(FIRST,)), "TEST")
    assert len(planned(closes, **{name: 3601}).days) == 1


# Features


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("stop_unit", {"stop_unit": "high"}),
        ("limit_unit", {"limit_unit": "close"}),
        ("buffer_unit", {"buffer_unit": "low", "entry_buffer": 1.0}),
        ("select", {"select": ("observations", ">", 5)}),
        ("select", {"select": [("weekday", "==", 1), ("close", ">", 5)]}),
    ],
)
def test_what_is_known_only_after_the_close_is_no_input_of_a_rule(rule, said):
    with pytest.raises(BadInput, match=rf"^{rule}: .* is known only after its close; give a column that is known when"):
        planned(**said)


@pytest.mark.parametrize(
    "said",
    [
        {"stop_unit": "vix"},
        {"limit_unit": "r"},
        {"buffer_unit": "Percent", "entry_buffer": 1.0},
        {"select": ("Weekday", "==", 0)},
        {"select": ("dates", "==", 0)},
    ],
)
def test_an_unknown_column_is_refused_with_those_there_are(said):
    with pytest.raises(BadInput, match=r"no column '\w+'; there are open, .*, atr, .*, range, .*own; sessions\.join"):
        planned(joined(1, 2, 3), **said)


@pytest.mark.parametrize("unit", ["gap", "weekday", "count_trades"])
@pytest.mark.parametrize("rule", ["stop_unit", "limit_unit", "buffer_unit"])
def test_a_column_that_is_no_distance_is_no_unit(rule, unit):
    with pytest.raises(BadInput, match=rf"^{rule}: '{unit}' is no distance in dollars; give range, atr, stretch or"):
        planned(**{"entry_buffer": 1.0, rule: unit})


@pytest.mark.parametrize("rule", ["stop_unit", "limit_unit", "buffer_unit"])
def test_a_column_below_zero_is_no_unit_and_its_day_is_named(rule):
    with pytest.raises(BadInput, match=rf"^{rule}: 'own' is below 0 on {HALF_DAY}; give a column of distances"):
        planned(joined(1, -0.5, -2), **{"entry_buffer": 1.0, rule: "own"})


@pytest.mark.parametrize(
    ("name", "said", "help_"),
    [
        ("atr", {"stop_unit": "atr"}, "it needs 15 sessions before: load more"),
        ("stretch", {"entry_buffer": 1.0, "buffer_unit": "stretch"}, "it needs 10 sessions before: load more"),
        ("atr", {"select": ("atr", ">", 0)}, "it needs 15 sessions before: load more"),
        ("avg_vol", {"select": ("avg_vol", ">", 0)}, "its source has no implied volatilities"),
        ("range_volume", {"select": ("range_volume", ">", 0)}, "its source has no volume"),
    ],
)
def test_a_column_that_no_session_has_is_refused_with_what_would_help(name, said, help_):
    sessions = load_sessions(market.prices(), "TEST")
    with pytest.raises(BadInput, match=rf"'{name}' is missing on all of TEST's 3 sessions; {help_}"):
        planned(sessions, **said)


@pytest.mark.parametrize(("name", "history"), [("atr", 15), ("stretch", 10)])
@pytest.mark.parametrize("rule", ["stop_unit", "limit_unit", "buffer_unit", "select"])
def test_sessions_without_the_history_are_left_out_with_the_reason(name, history, rule):
    said = {"select": (name, ">=", 0)} if rule == "select" else {rule: name}
    item = planned(LONG, **{"entry_buffer": 1.0 if rule == "buffer_unit" else 0.0, **said})
    assert item.untradable == dict.fromkeys(MONTH[:history], f"no {name}")
    assert [str(day) for day in item.series.labels[item.days["session"]]] == list(MONTH[history:])


@pytest.mark.parametrize("missing", [float("nan"), float("inf")])
def test_a_day_whose_unit_is_no_number_is_left_out(missing):
    item = planned(joined(0.1, missing, 0.2), stop_unit="own")
    assert item.untradable == {HALF_DAY: "no own"}
    assert (item.days["long_stop"] / UNIT).tolist() == (item.days["short_stop"] / UNIT).tolist() == [0.1, 0.2]


@pytest.mark.parametrize("value", [9e7, 1e8, 1e10, 1e30])
def test_a_unit_is_exact_or_refused_however_large(value):
    grid = ParameterGrid(1e-9, 1, 0, 1)
    try:
        item = planned(joined(value, value, value), grid=grid, stop_unit="own")
    except BadInput as refused:
        assert refused.what in ("stop_unit", "stop_distance")  # noqa: PT017
        return
    expected = math.ceil(Fraction(to_nanos(value), 10**9) * to_nanos(1e-9) / item.series.increment_nanos)
    found = day_distances(item, Rules(stop_unit="own"), "stop_distance", [1e-9])
    assert set(found.ravel().tolist()) == {max(1, expected)}


@pytest.mark.parametrize("said", [{"entry_buffer": 1e30}, {"tick_size": 1e30, "fill": "level"}])
def test_an_amount_beyond_all_prices_is_computed_or_refused_by_name(said):
    """Nothing breaks out so far; what cannot be counted is no crash of another kind."""
    try:
        assert len(planned(**said).days) == 3
    except BadInput as refused:
        assert refused.what == next(iter(said))  # noqa: PT017


# Selection


def test_sessions_of_other_dates_are_left_out_with_the_reason():
    item = planned(select=[("date", ">=", HALF_DAY), ("date", "!=", LAST)])
    assert item.untradable == dict.fromkeys([FIRST, LAST], "not selected by date")
    assert item.days["session"].tolist() == [1]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        (("date", "==", HALF_DAY), [1]),
        (("date", "!=", HALF_DAY), [0, 2]),
        (("date", "<", HALF_DAY), [0]),
        (("date", "<=", HALF_DAY), [0, 1]),
        (("date", ">", HALF_DAY), [2]),
        (("date", ">=", HALF_DAY), [1, 2]),
        (("date", "in", [FIRST, LAST, "2024-07-04"]), [0, 2]),
        (("date", "not in", [FIRST, LAST]), [1]),
        (("date", "not in", []), [0, 1, 2]),
    ],
    ids=str,
)
def test_a_condition_on_dates_keeps_those_on_which_it_holds(condition, kept):
    assert planned(select=condition).days["session"].tolist() == kept


@pytest.mark.parametrize(
    ("condition", "played"),
    [
        (("weekday", "==", 1), [0]),
        (("weekday", "in", [1, 4]), [0, 2]),
        (("weekday", "not in", [1]), [1, 2]),
        ([("weekday", ">", 1), ("weekday", "<", 4)], [1]),
        (("own", "<=", 0.5), [0, 2]),
        (("own", ">", 0.5), [1]),
        (("own", "!=", -1), [0, 1, 2]),
    ],
    ids=str,
)
def test_a_condition_on_a_feature_leaves_the_other_days_flat(condition, played):
    sessions, point = joined(0.5, float("inf"), -2), {**next(iter(GRID)), "limit_distance": None}
    plain = run_backtest(sessions, 300, **point)
    found = run_backtest(sessions, 300, **point, rules=Rules(select=condition))
    assert plain.trades["session"].nunique() == 3
    assert found.stats["sessions"] == 3
    assert found.daily.index.tolist() == sessions.dates.tolist()
    kept = sessions.dates[played]
    pd.testing.assert_frame_equal(found.trades, plain.trades[plain.trades.session.isin(kept)].reset_index(drop=True))
    np.testing.assert_array_equal(found.daily, plain.daily.where(plain.daily.index.isin(kept), 0.0))


def test_a_selection_by_date_that_leaves_nothing_says_so():
    for condition in (("date", ">", LAST), ("date", "in", []), ("date", "==", "2024-07-04")):
        with pytest.raises(
            BadInput, match=rf"TEST: no tradable session .*\({FIRST}: not selected by date; {HALF_DAY}: "
        ):
            planned(select=condition)


@pytest.mark.parametrize("condition", [("weekday", "==", 0), ("weekday", "in", []), ("own", ">", 3)], ids=str)
def test_a_selection_by_a_feature_that_holds_on_no_day_is_refused(condition):
    with pytest.raises(
        BadInput, match=r"^select: .* holds on none of TEST's 3 tradable sessions; give conditions that"
    ):
        planned(joined(1, 2, 3), select=condition)


def test_a_day_that_is_left_out_for_another_reason_does_not_play():
    with pytest.raises(BadInput, match=r"^select: .* holds on none of TEST's 2 tradable sessions"):
        planned(select=[("date", "!=", FIRST), ("weekday", "==", 1)])


def test_a_day_that_would_start_at_the_exit_is_left_out():
    late = market.prices()
    gap = market.opened(HALF_DAY)
    sessions = load_sessions(late[~late["timestamp_utc"].between(gap + 200, gap + 1000)], "TEST")
    item = planned(sessions, exit_time=1000)
    assert item.untradable == {HALF_DAY: "trading would start at or after exit_time 1000"}
    assert len(planned(sessions, exit_time=1100).days) == 3


def test_a_session_without_a_range_keeps_its_own_reason():
    late = market.prices()
    gap = market.opened(FIRST)
    sessions = load_sessions(late[~late["timestamp_utc"].between(gap, gap + 400)], "TEST")
    item = planned(sessions, select=("date", "!=", LAST))
    assert item.untradable == {FIRST: "no observation in the opening range", LAST: "not selected by date"}


# What the rules make of a day


def test_the_edges_of_a_day_are_the_rules():
    plain = planned().days
    high, low = plain["high"].astype(int), plain["low"].astype(int)
    assert (plain["up"] - high).tolist() == (low - plain["down"]).tolist() == [1] * 3
    found = planned(entry_buffer=0.03, fill="level", tick_size=0.05, stop_anchor="opposite_entry").days
    assert (found["up"] - high).tolist() == (low - found["down"]).tolist() == [8] * 3
    assert (low - found["long_anchor"]).tolist() == (found["short_anchor"] - high).tolist() == [8] * 3
    seen = planned(entry_buffer=0.03, tick_size=0.05, stop_anchor="opposite_entry").days
    assert (seen["up"] - high).tolist() == (low - seen["down"]).tolist() == [4] * 3
    assert (low - seen["long_anchor"]).tolist() == (seen["short_anchor"] - high).tolist() == [8] * 3
    edge = planned(stop_anchor="opposite_edge", side="long").days
    assert (edge["long_anchor"] == low).all()
    assert (edge["down"] == -NEVER).all()
    assert (planned(side="short").days["up"] == NEVER).all()


def test_the_opening_bar_decides_the_only_side():
    found = planned(side="opening_bar").days
    for day in found:
        direction = np.sign(int(day["close_price"]) - int(day["open_price"]))
        assert day["direction"] == direction
        assert (day["up"] < NEVER) == (direction > 0)
        assert (day["down"] > -NEVER) == (direction < 0)
    assert len(set(found["direction"].tolist())) > 1


@pytest.mark.parametrize(("unit", "of"), [("percent", 100), ("range", 1), ("own", 1)])
def test_a_unit_is_that_of_the_day_and_the_side(unit, of):
    sessions = joined(0.05, 0.07, 1.01)
    item = planned(sessions, stop_unit=unit, limit_unit=unit)
    for i, day in enumerate(item.days):
        high, low = (Fraction(int(day[edge]), 100) for edge in ("high", "low"))
        own = Fraction(("0.05", "0.07", "1.01")[i])
        longs, shorts = {"percent": (high, low), "range": (high - low,) * 2, "own": (own, own)}[unit]
        for name in ("stop", "limit"):
            assert Fraction(int(day[f"long_{name}"]), UNIT) == longs / of
            assert Fraction(int(day[f"short_{name}"]), UNIT) == shorts / of


def test_returns_in_dollars_are_the_profits():
    point = {**next(iter(GRID)), "limit_distance": None}
    found = run_backtest(PRICES, 300, **point, rules=Rules(measure="dollars", commission=0.0033))
    assert found.stats["backtest_return"] == pytest.approx(found.stats["backtest_profit"], abs=1e-8)
    total = found.daily.cumsum()
    assert found.stats["max_drawdown"] == pytest.approx((total - total.cummax().clip(lower=0)).min(), abs=1e-8)
    assert found.stats["sharpe_ratio"] == pytest.approx(found.daily.mean() / found.daily.std() * math.sqrt(252))


def test_returns_in_dollars_are_the_profits_whatever_the_increment():
    sessions = load_sessions(market.prices(), "TEST", increment=0.03)
    row = run_grid(sessions, ParameterGrid(0.3, 2, 60, 1), 300, Rules(measure="dollars", commission=0.0007)).iloc[0]
    assert row["backtest_return"] == row["backtest_profit"] != 0


# Distances

VALUES = st.one_of(
    st.integers(1, 10**6).map(lambda cents: cents / 100), st.floats(0, 1e30), st.floats(0, 10), st.just(0.0)
).map(lambda value: round(value, 9))
UNITS = st.lists(
    st.tuples(*[st.one_of(st.integers(0, 10**6).map(lambda cents: cents * 10**9), st.integers(0, 2**62))] * 2),
    min_size=1,
    max_size=4,
)
NANOS = st.sampled_from([10_000_000, 5_000_000, 1_000_000, 500_000, 100_000, 30_000_000, 7])


@example([2.0**52], [(0, 0)], 10_000_000, 0)  # nothing, however large
@given(st.lists(VALUES, min_size=1, max_size=4), UNITS | st.just([(UNIT, UNIT)] * 3), NANOS, st.sampled_from([0, 1]))
def test_distances_are_the_exact_ceiling_of_value_times_unit(values, units, nanos, least):
    expected = [
        [
            [max(least, math.ceil(Fraction(to_nanos(value) * day[side], UNIT * nanos))) for value in values]
            for side in (0, 1)
        ]
        for day in units
    ]
    arrays = tuple(np.array(column, np.int64) for column in zip(*units, strict=True))
    if max(value for day in expected for side in day for value in side) >= 2**63:
        with pytest.raises(OverflowError):
            find_distances(tuple(values), arrays, nanos, least)
        return
    found = find_distances(tuple(values), arrays, nanos, least)
    assert found.dtype == np.int64
    assert found.shape in ((1, 2, len(values)), (len(units), 2, len(values)))
    assert np.broadcast_to(found, (len(units), 2, len(values))).tolist() == expected


def test_a_distance_that_is_the_same_every_day_takes_one_row():
    same = (np.full(5, UNIT), np.full(5, UNIT))
    assert find_distances((0.07, 0.0), same, 10_000_000, 0).tolist() == [[[7, 0]] * 2]
    other = (np.full(5, UNIT), np.full(5, 2 * UNIT))
    assert find_distances((0.07, 0.0), other, 10_000_000, 1).tolist() == [[[7, 1], [14, 1]]] * 5


# The end of a day


def ticks_of(series, session):
    at = slice(series.pointers[session], series.pointers[session + 1])
    return list(zip(*(series.columns[name][at].tolist() for name in TICKS), strict=True))


def standing(observations, second):
    """Return the price at every second up to ``second``, where one stands: from observations, one by one."""
    prices = {}
    for i, one in enumerate(observations):
        until = one.stands
        if 0 < i < len(observations) - 1 and observations[i - 1].price == one.price:
            prices |= dict.fromkeys(range(observations[i - 1].time, one.time), one.price)
        prices |= dict.fromkeys(range(one.time, until + 1), one.price)
    return {at: price for at, price in prices.items() if at <= second}


def check_cut(question, second):
    sessions = agreement.load(question)
    cut = cut_series(sessions.series, second)
    assert cut.labels is sessions.series.labels
    for i, seen in enumerate(agreement.observe(question)):
        found = ticks_of(cut, i)
        if seen[0].time > second:
            continue  # without a range in time: the day is left out
        expected = oracle.until_exit_time(oracle.compress(seen), second)
        assert found == [(t.time, t.until, t.price, int(t.first_of_bar)) for t in expected]
        prices = standing(seen, second)
        if seen[-1].time > second:
            last = max(one.time for one in seen if one.time <= second)
            prices[second] = next(one.price for one in reversed(seen) if one.time == last)
            assert found[-1][:2] == (second, second)
        stands = {at: price for time, until, price, _ in found for at in range(time, until + 1)}
        assert stands == prices


@given(
    lots(lambda length: sessions_of_points(length, max_size=20)), st.one_of(st.integers(1, 100), st.integers(1, 23400))
)
def test_a_day_of_prices_ends_at_the_exit_at_the_price_then_standing(sessions, second):
    check_cut(agreement.Question(agreement.dollar_rows(sessions, 0), 0, 1, "seen"), second)


@given(lots(lambda length: sessions_of_bars(60, length, max_size=12)), st.integers(1, 1500))
def test_a_day_of_bars_ends_at_the_exit_at_the_price_then_standing(sessions, second):
    check_cut(agreement.Question(agreement.dollar_rows(sessions, 60), 60, 60, "level"), second)


def test_a_cut_at_the_close_changes_nothing():
    cut = cut_series(PRICES.series, 23_400)
    assert cut.hash == PRICES.series.hash
    shorter = cut_series(PRICES.series, 12_600)
    assert shorter.session_hashes[1] == PRICES.series.session_hashes[1]  # the half-day ends there
    assert shorter.hash != PRICES.series.hash


def test_no_trade_goes_beyond_the_exit_and_the_last_one_ends_there():
    point = {**next(iter(GRID)), "stop_distance": 50, "limit_distance": None}
    found = run_backtest(PRICES, 300, **point, rules=Rules(exit_time=3600)).trades
    opened = pd.to_datetime([market.opened(f"{day:%Y-%m-%d}") for day in found["session"]], unit="s", utc=True)
    assert ((found["exit_time"] - opened).dt.total_seconds() == 3600).all()
    assert set(found["exit_reason"]) == {"close"}
    assert len(found) == 3


def test_no_position_opens_at_the_cutoff_or_after():
    cut = run_grid(PRICES, GRID, 300, Rules(entry_cutoff=301))
    assert cut["trades"].sum() == 0
    assert (cut["sessions"] == 3).all()
    one = run_backtest(PRICES, 300, 0.1, 2, 30, 0.5, Rules(entry_cutoff=1200)).trades
    opened = pd.to_datetime([market.opened(f"{day:%Y-%m-%d}") for day in one["session"]], unit="s", utc=True)
    assert ((one["entry_time"] - opened).dt.total_seconds() < 1200).all()
    assert len(one) > 0
