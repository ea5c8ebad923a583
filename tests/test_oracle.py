"""The oracle itself, checked by hand-worked examples: each expected number below was worked out on paper."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle as o
from tests import strategies as s

CENT = 10_000_000
OPEN = 1_711_459_800
CLOSE = OPEN + 23_400
RANGE = o.Range(open_price=1000, high=1010, low=990, count_trades=3, trading_start=60, close_price=1000)
NAN, INF = float("nan"), float("inf")


def points(*pairs: tuple[float, float], increment: int = CENT) -> list[tuple[int, int]]:
    """(time, price) of the observations of points given in seconds since the open and dollars."""
    rows = [(OPEN + time, price) for time, price in pairs]
    return [(one.time, one.price) for one in o.observations_from_points(rows, OPEN, CLOSE, increment)]


def bars(*rows: tuple, seconds: int = 60, **kwargs: str) -> list[o.Obs]:
    """Observations of bars given as (seconds since the open, open, high, low, close) in dollars."""
    moved = [(OPEN + row[0], *row[1:]) for row in rows]
    return o.observations_from_bars(moved, OPEN, CLOSE, CENT, seconds, **kwargs)


def as_obs(*pairs: tuple[int, int]) -> list[o.Obs]:
    """Points (time, price) in increments as observations."""
    return [o.Obs(time, time, price, index == 0) for index, (time, price) in enumerate(pairs)]


def trades(
    *pairs: tuple[int, int],
    stop: int = 5,
    limit: int = 10,
    cooloff: int = 0,
    stop_count: int = 3,
    fill: str = "seen",
    level_offset: int = 1,
) -> list[o.Trade]:
    """Trades of a session with a range of 990 … 1010 over 60 s, then these points; raw and compressed must
    agree."""
    obs = as_obs((0, 1000), (1, 1010), (2, 990), *pairs)
    rng = o.opening_range(obs, 60)
    assert rng is not None
    assert (rng.low, rng.high) == (990, 1010)
    rules = {
        "stop": stop,
        "limit": limit,
        "cooloff": cooloff,
        "stop_count": stop_count,
        "fill": fill,
        "level_offset": level_offset,
    }
    compressed = o.day(o.compress(obs), rng, **rules)
    assert compressed == o.day(o.uncompressed(obs), rng, **rules)
    return compressed


def bar_day(*ticks: tuple[int, int, bool], **rules: int) -> list[o.Trade]:
    """Trades under `level` of ticks (time, price, first_of_bar) after a range of 990 … 1010."""
    before = o.Tick(59, 59, 1000, False)
    series = [before, *(o.Tick(time, time, price, first) for time, price, first in ticks)]
    usual = {"stop": 5, "limit": 10, "cooloff": 0, "stop_count": 3}
    return o.day(series, RANGE, **{**usual, **rules}, fill="level")


UP = [(0, 1000), (1, 1010), (2, 990), (3, 1005)]  # a range of 990 … 1010 that opens at 1000 and ends higher
DOWN = [(0, 1000), (1, 1010), (2, 990)]
EVEN = [(0, 1000), (1, 1010), (2, 990), (3, 1000)]


def ruled(
    *pairs: tuple[int, int],
    window: list[tuple[int, int]] = UP,
    stop: float = 0.05,
    limit: float | None = 0.10,
    cooloff: int = 0,
    stop_count: int = 3,
    increment: int = CENT,
    features: dict | None = None,
    plays: bool = True,
    **rules: object,
) -> list[o.Trade] | None:
    """Trades of a session with a range of 990 … 1010 over 60 s, then these points, under these rules;
    parameters in dollars or units, prices in increments."""
    return o.rule_day(
        as_obs(*window, *pairs),
        60,
        0,
        o.DayRules(**rules),
        stop=stop,
        limit=limit,
        cooloff=cooloff,
        stop_count=stop_count,
        increment_nanos=increment,
        features=features or {},
        plays=plays,
    )


def long(entry_time: int, entry: int, exit_time: int, exit_: int, reason: str) -> o.Trade:
    return o.Trade(o.LONG, entry_time, entry, exit_time, exit_, reason)


def short(entry_time: int, entry: int, exit_time: int, exit_: int, reason: str) -> o.Trade:
    return o.Trade(o.SHORT, entry_time, entry, exit_time, exit_, reason)


# ---- increments, parameters, costs --------------------------------


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ([411.99, 0.1, 100.0], (10_000_000, 0)),
        ([13.89, (13.89 + 13.90) / 2], (5_000_000, 0)),
        ([13.89, 13.895, 13.891], (1_000_000, 0)),
        ([13.8905, 13.8], (500_000, 0)),
        ([13.8901, 13.8905], (100_000, 0)),
        ([13.89, 13.89005, 13.89001], (100_000, 2)),
        ([1 / 3, 2.5, 2 / 3], (100_000, 2)),
    ],
)
def test_the_increment_is_the_coarsest_that_holds_every_price(prices, expected):
    assert o.increment_nanos(prices) == expected
    assert o.increment_nanos(np.array(prices)) == expected


def test_bad_prices_say_nothing_about_the_increment():
    assert o.increment_nanos([NAN, INF, 0.0, -1.2345, None, 10.5]) == (CENT, 0)
    assert o.increment_nanos([]) == (CENT, 0)


def test_float_noise_of_four_ulp_is_tolerated_and_nine_is_not():
    near = 13.89 + 3 * math.ulp(13.89)
    far = 13.89 + 9 * math.ulp(13.89)
    assert o.increment_nanos([near]) == (CENT, 0)
    assert o.increment_nanos([far]) == (100_000, 1)


def test_411_99_less_a_dime_is_411_89():
    assert o.nearest_whole(411.99, CENT) - o.to_increments(0.10, CENT) == o.nearest_whole(411.89, CENT)


def test_seven_cents_are_seven_increments_and_not_eight():
    assert math.ceil(0.07 / 0.01) == 8
    assert o.to_increments(0.07, CENT) == 7


def test_a_parameter_between_increments_is_rounded_up():
    assert o.to_increments(0.071, CENT) == 8
    assert o.to_increments(0.07, 5_000_000) == 14
    assert o.to_increments(0.070000001, CENT) == 8
    assert o.to_increments(0.0700000001, CENT) == 7  # less than half a nanodollar more


def test_a_distance_is_at_least_one_increment_unless_told():
    assert o.to_increments(0, CENT) == 1
    assert o.to_increments(0.0, CENT, at_least=0) == 0


@pytest.mark.parametrize(
    ("commission", "slippage", "expected"),
    [
        (0, 0, (1, 0, 0)),
        (0, 0.01, (1, 2, 1)),  # a limit exit bears no slippage
        (0.01, 0.02, (1, 6, 4)),
        (0.0025, 0, (2, 1, 1)),
        (0, 0.005, (2, 2, 1)),  # the first cost is whole with q = 1, the second is not
        (0.001, 0, (5, 1, 1)),
        (0.0035, 0, (10, 7, 7)),
        (0.00125, 0, (20, 5, 5)),
        (0.000125, 0, (200, 5, 5)),
        (0.000005, 0, (1000, 1, 1)),
        (0.000001, 0, (1000, 1, 1)),  # .2 of a thousandth: rounded up
        (0.000001, 0.01, (1000, 2001, 1001)),
    ],
)
def test_q_is_the_smallest_scale_that_makes_both_costs_whole(commission, slippage, expected):
    assert o.cost_scale(commission, slippage, CENT) == expected


# ---- from rows to ticks --------------------------------


def test_times_are_floored_and_the_print_at_the_close_belongs_to_the_session():
    got = points((-0.1, 9.99), (0.9, 10.00), (5.5, 10.01), (23_400, 10.02), (23_401, 10.03))
    assert got == [(0, 1000), (5, 1001), (23_400, 1002)]
    assert points((0, 10.00), (23_400.7, 10.02)) == [(0, 1000), (23_400, 1002)]


def test_prices_that_are_missing_not_finite_or_not_positive_are_dropped():
    assert points((0, NAN), (1, INF), (2, 0.0), (3, -1.0), (4, None), (5, 10.0)) == [(5, 1000)]


def test_a_bad_price_does_not_overrule_a_good_one_of_its_second():
    assert points((0, 10.0), (0, 0.0), (1, 10.01)) == [(0, 1000), (1, 1001)]


def test_the_last_of_several_prices_in_one_second_stands():
    assert points((0, 10.00), (0, 10.05), (0, 10.02), (1, 10.01)) == [(0, 1002), (1, 1001)]


def test_within_a_second_file_order_decides_and_not_the_fraction():
    assert points((0, 10.00), (1.9, 10.05), (1.1, 10.02), (2, 10.01)) == [(0, 1000), (1, 1002), (2, 1001)]


def test_a_jump_back_in_time_is_sorted_stably():
    assert points((0, 10.00), (5, 10.05), (3, 10.03), (5, 10.06)) == [(0, 1000), (3, 1003), (5, 1006)]


def test_a_wholly_descending_file_is_reversed_so_that_the_first_row_of_a_second_is_its_last_price():
    assert points((5, 10.05), (3, 10.04), (3, 10.03), (0, 10.00)) == [(0, 1000), (3, 1004), (5, 1005)]


def test_rows_in_one_second_alone_are_not_a_descending_file():
    assert points((3, 10.04), (3, 10.03)) == [(3, 1003)]


def test_rows_outside_the_session_and_without_a_price_count_when_the_order_of_a_file_is_judged():
    assert points((3, 10.04), (3, 10.03), (-9, NAN)) == [(3, 1004)]


def test_only_the_first_point_of_a_session_is_first_of_bar_and_a_point_stands_one_second():
    got = o.observations_from_points([(OPEN + 3, 10.0), (OPEN + 7, 10.1)], OPEN, CLOSE, CENT)
    assert got == [o.Obs(3, 3, 1000, True), o.Obs(7, 7, 1010, False)]


def test_a_price_finer_than_the_increment_goes_to_the_nearest_a_half_to_even():
    assert points((0, 10.004), (1, 10.006), (2, 0.125), (3, 0.375)) == [
        (0, 1000),
        (1, 1001),
        (2, 12),
        (3, 38),
    ]


def test_equal_prices_become_one_tick_with_its_first_and_last_second():
    obs = as_obs((0, 1000), (2, 1000), (5, 1000), (6, 1001), (9, 1000))
    assert o.compress(obs) == [
        o.Tick(0, 5, 1000, True),
        o.Tick(6, 6, 1001, False),
        o.Tick(9, 9, 1000, False),
    ]


def test_the_last_observation_is_a_tick_of_its_own():
    obs = as_obs((0, 1000), (2, 1000), (5, 1000))
    assert o.compress(obs) == [o.Tick(0, 2, 1000, True), o.Tick(5, 5, 1000, False)]
    assert o.compress(obs[:1]) == [o.Tick(0, 0, 1000, True)]
    assert o.compress([]) == o.uncompressed([]) == []


def test_a_raw_tick_knows_the_last_second_of_its_whole_run():
    obs = as_obs((0, 1000), (2, 1000), (5, 1001), (7, 1001), (9, 1001))
    assert [(t.time, t.until) for t in o.uncompressed(obs)] == [(0, 2), (2, 2), (5, 7), (7, 7), (9, 9)]


# ---- bars --------------------------------


def test_a_bar_becomes_open_nearer_extreme_other_extreme_and_close():
    assert bars((0, 10.00, 10.10, 9.95, 10.05)) == [
        o.Obs(0, 19, 1000, True),
        o.Obs(20, 39, 995, False),
        o.Obs(40, 58, 1010, False),
        o.Obs(59, 59, 1005, False),
    ]
    assert [one.price for one in bars((0, 10.00, 10.04, 9.95, 9.97))] == [1000, 1004, 995, 997]


def test_farther_is_the_other_order():
    assert [one.price for one in bars((0, 10.00, 10.10, 9.95, 10.05), path="farther")] == [
        1000,
        1010,
        995,
        1005,
    ]


def test_the_low_comes_first_on_a_tie_and_the_high_under_farther():
    bar = (0, 10.00, 10.05, 9.95, 10.00)
    assert [one.price for one in bars(bar)] == [1000, 995, 1005, 1000]
    assert [one.price for one in bars(bar, path="farther")] == [1000, 1005, 995, 1000]


def test_the_extremes_are_the_max_and_min_of_all_four_values():
    assert [one.price for one in bars((0, 10.00, 10.01, 9.99, 10.20))] == [1000, 999, 1020, 1020]
    assert [one.price for one in bars((0, 9.90, 10.01, 9.99, 10.00))] == [990, 990, 1001, 1000]


def test_a_bar_of_five_seconds_has_ticks_at_0_1_3_and_4():
    got = bars((10, 10.00, 10.10, 9.95, 10.05), seconds=5)
    assert [(one.time, one.stands) for one in got] == [(10, 10), (11, 12), (13, 13), (14, 14)]


def test_a_bar_shorter_than_four_seconds_is_its_close_at_its_last_second():
    assert bars((10, 10.0, 10.1, 9.9, 10.05), seconds=3) == [o.Obs(12, 12, 1005, True)]
    assert bars((10, 10.0, 10.1, 9.9, 10.05), seconds=1) == [o.Obs(10, 10, 1005, True)]
    assert len(bars((10, 10.0, 10.1, 9.9, 10.05), seconds=4)) == 4


@pytest.mark.parametrize("bad", [0.0, -1.0, NAN, INF, None])
def test_a_bar_with_a_bad_value_is_its_close_at_its_last_second(bad):
    expected = [o.Obs(59, 59, 1005, True)]
    assert bars((0, bad, 10.1, 9.9, 10.05)) == expected
    assert bars((0, 10.0, bad, 9.9, 10.05)) == expected
    assert bars((0, 10.0, 10.1, bad, 10.05)) == expected


def test_a_bar_without_a_close_is_a_row_without_a_price():
    assert bars((0, 10.0, 10.1, 9.9, NAN)) == []
    assert [one.price for one in bars((0, 10.0, 10.0, 10.0, 10.0), (0, 10.1, 10.1, 10.1, 0.0))] == [1000] * 4


def test_end_stamps_move_back_by_a_bar():
    bar = (10.00, 10.10, 9.95, 10.05)
    assert bars((60, *bar), stamp="end") == bars((0, *bar))
    assert bars((0, *bar), stamp="end") == []  # its bar began a minute before the open
    assert [one.time for one in bars((23_460, *bar), stamp="end")] == [23_400]


def test_of_a_bar_that_starts_at_the_close_only_the_open_counts():
    assert bars((23_400, 10.00, 10.50, 9.50, 10.30)) == [o.Obs(23_400, 23_400, 1000, True)]
    assert bars((23_400, 10.00, 10.50, 9.50, 10.30), seconds=1) == [o.Obs(23_400, 23_400, 1000, True)]
    assert bars((23_400, NAN, 10.50, 9.50, 10.30)) == []
    assert bars((23_460, 10.00, 10.50, 9.50, 10.30)) == []


def test_ticks_after_the_close_are_dropped():
    got = bars((23_380, 10.00, 10.10, 9.95, 10.05))
    assert got == [o.Obs(23_380, 23_399, 1000, True), o.Obs(23_400, 23_400, 995, False)]
    assert bars((23_390, 10.00, 10.10, 9.95, 10.05)) == [o.Obs(23_390, 23_400, 1000, True)]


def test_a_bar_that_starts_before_the_open_takes_no_part():
    assert bars((-30, 10.00, 10.10, 9.95, 10.05)) == []


def test_of_two_bars_with_the_same_start_the_last_row_stands():
    got = bars((0, 10.0, 10.1, 9.9, 10.0), (0, 11.0, 11.0, 11.0, 11.0))
    assert [one.price for one in got] == [1100] * 4


def test_overlapping_bars_are_sorted_and_every_change_of_bar_is_a_first():
    got = bars((0, 10.0, 10.2, 9.9, 10.1), (30, 11.0, 11.2, 10.9, 11.1))
    assert got == [
        o.Obs(0, 19, 1000, True),
        o.Obs(20, 29, 990, False),  # cut short by the other bar's open
        o.Obs(30, 39, 1100, True),
        o.Obs(40, 49, 1020, True),
        o.Obs(50, 58, 1090, True),
        o.Obs(59, 59, 1010, True),
        o.Obs(70, 88, 1120, True),
        o.Obs(89, 89, 1110, False),
    ]


def test_where_overlapping_bars_share_a_second_the_later_bar_stands():
    got = bars((0, 10.0, 10.2, 9.9, 10.1), (20, 11.0, 11.2, 10.9, 11.1))
    assert [(one.time, one.price) for one in got[:3]] == [(0, 1000), (20, 1100), (40, 1090)]


def test_a_close_and_the_next_open_at_the_same_price_are_one_tick_that_stands_into_the_next_bar():
    obs = bars((0, 10.00, 10.10, 9.95, 10.05), (60, 10.05, 10.20, 10.00, 10.10))
    assert o.compress(obs)[3:5] == [o.Tick(59, 79, 1005, False), o.Tick(80, 99, 1000, False)]


# ---- opening range --------------------------------


def test_the_range_is_half_open():
    obs = as_obs((0, 1000), (30, 1020), (59, 980), (60, 1100), (61, 900))
    assert o.opening_range(obs, 60) == o.Range(1000, 1020, 980, 3, 60, 980)


def test_trading_starts_at_the_first_observation_after_the_range():
    assert o.opening_range(as_obs((3, 1000), (75, 1001), (80, 1000)), 60) == o.Range(1000, 1000, 1000, 1, 75, 1000)


def test_a_session_without_an_observation_in_or_after_the_window_is_not_tradable():
    assert o.opening_range(as_obs((60, 1000), (75, 1001)), 60) is None
    assert o.opening_range(as_obs((0, 1000), (59, 1001)), 60) is None
    assert o.opening_range([], 60) is None


def test_prices_that_one_second_overruled_are_not_in_the_range():
    rows = [(OPEN, 10.00), (OPEN + 1, 10.50), (OPEN + 1, 10.01), (OPEN + 60, 10.00)]
    rng = o.opening_range(o.observations_from_points(rows, OPEN, CLOSE, CENT), 60)
    assert rng == o.Range(1000, 1001, 1000, 2, 60, 1001)


def test_bars_count_once():
    obs = bars((0, 10.00, 10.10, 9.95, 10.05), (60, 10.05, 10.2, 10.0, 10.1), (120, 10.1, 10.1, 10.1, 10.1))
    assert o.opening_range(obs, 120, 60) == o.Range(1000, 1020, 995, 2, 120, 1010)
    assert o.opening_range(obs, 60, 60) == o.Range(1000, 1010, 995, 1, 60, 1005)


def test_a_range_that_is_not_whole_bars_is_refused():
    with pytest.raises(ValueError, match="whole bars"):
        o.opening_range(bars((0, 10.00, 10.10, 9.95, 10.05)), 90, 60)


# ---- the day, fill = seen --------------------------------


def test_a_price_above_the_high_opens_a_long_that_ends_at_its_limit():
    assert trades((60, 1005), (70, 1012), (80, 1023), (90, 1000)) == [long(70, 1012, 80, 1023, "limit")]


def test_a_price_below_the_low_opens_a_short_that_ends_at_its_limit():
    assert trades((60, 1005), (70, 988), (80, 977), (90, 1000)) == [short(70, 988, 80, 977, "limit")]


def test_a_price_at_the_edge_opens_nothing():
    assert trades((60, 1010), (70, 990), (80, 1010), (90, 1000)) == []


def test_a_breakout_before_the_trading_start_is_the_range_itself():
    assert trades((59, 1000), (60, 1000), (90, 1000)) == []


def test_the_first_tick_of_trading_can_open():
    assert trades((60, 1011), (90, 1000)) == [long(60, 1011, 90, 1000, "close")]


def test_a_move_of_exactly_the_limit_or_the_stop_is_enough_and_one_less_is_not():
    assert trades((60, 1011), (70, 1020), (80, 1021), (90, 1000))[0] == long(60, 1011, 80, 1021, "limit")
    assert trades((60, 1020), (70, 1016), (80, 1015), (90, 1000))[0] == long(60, 1020, 80, 1015, "stop")


def test_after_a_limit_the_day_is_over():
    assert trades((60, 1011), (70, 1021), (80, 985), (90, 1012), (95, 1000)) == [
        long(60, 1011, 70, 1021, "limit"),
    ]


def test_the_last_tick_closes():
    assert trades((60, 1011), (90, 1014)) == [long(60, 1011, 90, 1014, "close")]
    assert trades((60, 989), (90, 992)) == [short(60, 989, 90, 992, "close")]


def test_a_stop_reached_on_the_last_tick_is_a_close():
    assert trades((60, 1011), (90, 900)) == [long(60, 1011, 90, 900, "close")]


def test_a_limit_reached_on_the_last_tick_is_a_limit_at_the_price_seen():
    assert trades((60, 1011), (90, 1030)) == [long(60, 1011, 90, 1030, "limit")]


def test_nothing_opens_at_the_last_tick():
    assert trades((60, 1000), (90, 1030)) == []
    assert trades((60, 1030)) == []


def test_the_last_tick_closes_although_its_price_did_not_change():
    assert trades((60, 1011), (70, 1011), (90, 1011)) == [long(60, 1011, 90, 1011, "close")]


def test_a_cool_off_that_ends_while_a_price_outside_stands_reenters_at_that_second():
    got = trades((60, 1020), (70, 1015), (75, 1015), (80, 1000), cooloff=3)
    assert got == [long(60, 1020, 70, 1015, "stop"), long(73, 1015, 80, 1000, "close")]


def test_a_cool_off_of_nothing_lasts_one_second():
    got = trades((60, 1020), (70, 1015), (75, 1015), (80, 1000), cooloff=0)
    assert got == [long(60, 1020, 70, 1015, "stop"), long(71, 1015, 80, 1000, "close")]


def test_a_cool_off_may_end_at_the_last_second_a_price_stands():
    got = trades((60, 1020), (70, 1015), (75, 1015), (80, 1000), cooloff=5)
    assert got[1:] == [long(75, 1015, 80, 1000, "close")]


def test_a_price_not_seen_again_does_not_stand_until_the_cool_off_ends():
    assert len(trades((60, 1020), (70, 1015), (75, 1015), (80, 1000), cooloff=6)) == 1
    assert len(trades((60, 1020), (70, 1015), (80, 1000), (90, 1000))) == 1


def test_a_tick_within_the_cool_off_opens_nothing_and_the_tick_at_its_end_does():
    got = trades((60, 1020), (70, 1015), (79, 1016), (80, 1017), (90, 1000), cooloff=10)
    assert got == [long(60, 1020, 70, 1015, "stop"), long(80, 1017, 90, 1000, "close")]


def test_a_cool_off_that_ends_during_a_later_standing_price_reenters_inside_that_price():
    got = trades((60, 1020), (70, 1015), (76, 1016), (84, 1016), (90, 1000), cooloff=10)
    assert got[1:] == [long(80, 1016, 90, 1000, "close")]


def test_a_cool_off_that_ends_inside_the_range_waits_for_the_next_breakout():
    got = trades((60, 1011), (70, 1006), (85, 1006), (87, 1012), (90, 1000), cooloff=10)
    assert got == [long(60, 1011, 70, 1006, "stop"), long(87, 1012, 90, 1000, "close")]


def test_the_stop_that_leaps_across_the_range_reenters_on_the_other_side():
    got = trades((60, 1011), (70, 985), (71, 985), (90, 984))
    assert got == [long(60, 1011, 70, 985, "stop"), short(71, 985, 90, 984, "close")]


def test_a_cool_off_that_ends_at_the_last_tick_opens_nothing():
    assert len(trades((60, 1020), (70, 1015), (80, 1015), cooloff=10)) == 1
    assert len(trades((60, 1020), (70, 1015), (80, 1015), cooloff=5)) == 1  # 1015 was last seen at 70


def test_after_the_last_allowed_stop_the_day_is_over():
    walk = [(60, 1030), (70, 1025), (75, 1025), (80, 1020), (85, 1020), (90, 1015), (95, 1015), (99, 1000)]
    first, second = long(60, 1030, 70, 1025, "stop"), long(71, 1025, 80, 1020, "stop")
    third, fourth = long(81, 1020, 90, 1015, "stop"), long(91, 1015, 99, 1000, "close")
    assert trades(*walk, stop_count=1) == [first]
    assert trades(*walk, stop_count=2) == [first, second]
    assert trades(*walk, stop_count=3) == [first, second, third]
    assert trades(*walk, stop_count=4) == [first, second, third, fourth]


def test_a_price_that_stands_from_the_range_into_trading_opens_nothing():
    obs = as_obs((0, 1000), (50, 1010), (70, 1010), (80, 1009), (90, 1000))
    rng = o.opening_range(obs, 60)
    assert rng == o.Range(1000, 1010, 1000, 2, 70, 1010)
    assert o.day(o.compress(obs), rng, stop=1, limit=1, cooloff=0, stop_count=1) == []


def test_parameters_out_of_bounds_are_refused():
    for wrong in ({"stop": 0}, {"limit": 0}, {"stop_count": 0}, {"cooloff": -1}, {"fill": "auto"}):
        with pytest.raises(ValueError):
            trades((60, 1000), **wrong)


# ---- the day, fill = level --------------------------------


def test_under_level_an_entry_fills_one_tick_size_beyond_the_edge():
    assert trades((60, 1000), (70, 1015), (90, 1013), fill="level") == [long(70, 1011, 90, 1013, "close")]
    assert trades((60, 1000), (70, 985), (90, 987), fill="level") == [short(70, 989, 90, 987, "close")]


def test_under_level_the_price_must_reach_the_level():
    assert trades((60, 1000), (70, 1011), (90, 1000), fill="level") == [long(70, 1011, 90, 1000, "close")]
    assert trades((60, 1000), (70, 1011), (90, 1000), fill="level", level_offset=2) == []
    got = trades((60, 1000), (70, 1013), (90, 1000), fill="level", level_offset=2)
    assert got == [long(70, 1012, 90, 1000, "close")]


def test_under_level_a_short_opens_when_the_price_just_reaches_its_level():
    assert trades((60, 1000), (70, 989), (90, 990), fill="level") == [short(70, 989, 90, 990, "close")]
    assert trades((60, 1000), (70, 990), (90, 990), fill="level") == []


def test_a_tick_before_at_the_very_level_was_not_short_of_it():
    got = trades((60, 1000), (70, 1011), (80, 989), (88, 985), (90, 987), fill="level", cooloff=5)
    assert got[1:] == [short(88, 985, 90, 987, "close")]


def test_under_level_a_limit_fills_at_its_level():
    assert trades((60, 1000), (70, 1015), (80, 1030), (90, 1000), fill="level") == [
        long(70, 1011, 80, 1021, "limit"),
    ]
    assert trades((60, 1000), (70, 985), (80, 970), (90, 1000), fill="level") == [
        short(70, 989, 80, 979, "limit"),
    ]


def test_under_level_a_stop_fills_at_its_level():
    assert trades((60, 1000), (70, 1015), (80, 995), (90, 995), fill="level") == [
        long(70, 1011, 80, 1006, "stop"),
    ]
    assert trades((60, 1000), (70, 985), (80, 1005), (90, 1005), fill="level") == [
        short(70, 989, 80, 994, "stop"),
    ]


def test_the_tick_that_fills_an_entry_at_its_level_is_tested_for_the_limit_at_once():
    assert trades((60, 1000), (70, 1021), (90, 1000), fill="level") == [long(70, 1011, 70, 1021, "limit")]
    assert trades((60, 1000), (70, 950), (90, 1000), fill="level") == [short(70, 989, 70, 979, "limit")]
    assert trades((60, 1000), (70, 1020), (90, 1000), fill="level") == [long(70, 1011, 90, 1000, "close")]


def test_under_level_too_nothing_opens_at_the_last_tick():
    assert trades((60, 1000), (90, 1050), fill="level") == []


def test_under_level_the_last_tick_fills_a_limit_at_its_level_and_a_close_at_its_price():
    assert trades((60, 1000), (70, 1012), (90, 1050), fill="level") == [long(70, 1011, 90, 1021, "limit")]
    assert trades((60, 1000), (70, 1012), (90, 950), fill="level") == [long(70, 1011, 90, 950, "close")]


def test_the_first_tick_of_trading_fills_at_the_level_when_it_is_not_first_of_its_bar():
    assert trades((60, 1015), (90, 1000), fill="level") == [long(60, 1011, 90, 1000, "close")]


def test_under_level_a_cool_off_that_ends_beyond_the_level_opens_at_the_standing_price():
    got = trades((60, 1000), (70, 1011), (80, 985), (85, 985), (90, 987), fill="level", cooloff=3)
    assert got == [long(70, 1011, 80, 1006, "stop"), short(83, 985, 90, 987, "close")]


def test_an_entry_at_the_standing_price_is_not_tested_for_the_limit_at_once():
    got = trades((60, 1000), (70, 1011), (80, 950), (85, 950), (90, 955), fill="level", limit=1000)
    assert got[1:] == [short(81, 950, 90, 955, "close")]


def test_a_tick_after_the_cool_off_fills_at_its_price_when_the_tick_before_was_already_beyond():
    got = trades((60, 1000), (70, 1011), (80, 985), (88, 980), (90, 982), fill="level", cooloff=5)
    assert got[1:] == [short(88, 980, 90, 982, "close")]


def test_a_tick_after_the_cool_off_fills_at_its_level_when_the_tick_before_was_short_of_it():
    got = trades((60, 1000), (70, 1011), (80, 1001), (85, 982), (90, 987), fill="level", cooloff=5)
    assert got[1:] == [short(85, 989, 90, 987, "close")]


def test_between_edge_and_level_a_price_is_short_of_the_level():
    got = trades((60, 1000), (70, 1011), (75, 1015), (90, 1015), fill="level", level_offset=3)
    assert got == [long(75, 1013, 90, 1015, "close")]


def test_an_entry_on_the_first_tick_of_a_bar_fills_at_its_price():
    assert bar_day((60, 1000, True), (120, 1015, True), (180, 1016, True)) == [
        long(120, 1015, 180, 1016, "close"),
    ]


def test_an_entry_at_the_price_of_a_bars_first_tick_waits_for_a_later_tick_to_reach_its_limit():
    got = bar_day((60, 1000, True), (120, 1050, True), (140, 1061, False), (180, 1016, True))
    assert got == [long(120, 1050, 140, 1060, "limit")]


def test_a_stop_on_the_first_tick_of_a_bar_fills_at_its_price():
    got = bar_day((60, 1000, True), (80, 1012, False), (120, 1000, True), (180, 1000, True))
    assert got == [long(80, 1011, 120, 1000, "stop")]


def test_a_limit_on_the_first_tick_of_a_bar_fills_at_its_price():
    got = bar_day((60, 1000, True), (80, 1012, False), (120, 1030, True), (180, 1000, True))
    assert got == [long(80, 1011, 120, 1030, "limit")]


def test_a_limit_on_the_last_tick_fills_at_its_price_when_that_is_first_of_its_bar():
    assert bar_day((60, 1000, True), (80, 1012, False), (120, 1030, True)) == [
        long(80, 1011, 120, 1030, "limit"),
    ]
    assert bar_day((60, 1000, True), (80, 1012, False), (120, 1030, False)) == [
        long(80, 1011, 120, 1021, "limit"),
    ]


def test_two_minutes_of_bars_from_rows_to_a_trade():
    """Range 9.95 … 10.10. The second bar runs 10.05, 10.00, 10.20, 10.10: long at 10.11 in its 40th second,
    which with a limit of 5 ends at 10.16 at once; with a limit of 50 the print at the close, 10.12, ends
    it."""
    rows = [
        (0, 10.00, 10.10, 9.95, 10.05),
        (60, 10.05, 10.20, 10.00, 10.10),
        (23_400, 10.12, 10.2, 10.0, 10.0),
    ]
    obs = bars(*rows)
    rng = o.opening_range(obs, 60, 60)
    rules = {"stop": 5, "cooloff": 0, "stop_count": 1, "fill": "level"}
    assert o.day(o.compress(obs), rng, limit=5, **rules) == [long(100, 1011, 100, 1016, "limit")]
    assert o.day(o.compress(obs), rng, limit=50, **rules) == [long(100, 1011, 23_400, 1012, "close")]
    assert o.day(o.compress(obs), rng, limit=50, **{**rules, "fill": "seen"}) == [
        long(100, 1020, 119, 1010, "stop"),
    ]


# ---- the rules: buffer and units --------------------------------


def test_the_default_rules_are_the_default_day():
    walk = [(60, 1020), (70, 1015), (75, 1015), (80, 1000), (90, 985), (95, 974), (99, 1000)]
    assert ruled(*walk) == trades(*walk)
    assert ruled(*walk, fill="level") == trades(*walk, fill="level")
    assert o.DayRules() == o.DayRules("seen", "both", "breakout", 0, "dollars", "dollars", "dollars", "entry")


def test_under_seen_a_buffer_is_to_be_exceeded_strictly():
    """1010 + 2 = 1012 is not enough, 1013 is; 990 - 2 = 988 is not, 987 is."""
    got = ruled((70, 1012), (80, 1013), (90, 1000), entry_buffer=0.02)
    assert got == [long(80, 1013, 90, 1000, "close")]
    assert ruled((70, 988), (80, 987), (90, 990), entry_buffer=0.02) == [short(80, 987, 90, 990, "close")]


def test_under_level_the_entry_rests_a_buffer_and_a_tick_size_beyond_the_edge():
    """1010 + 2 + 1 = 1013, and 990 - 3 = 987."""
    rules = {"entry_buffer": 0.02, "fill": "level"}
    assert ruled((70, 1012), (80, 1016), (90, 1009), **rules) == [long(80, 1013, 90, 1009, "close")]
    assert ruled((70, 988), (80, 987), (90, 990), **rules) == [short(80, 987, 90, 990, "close")]
    assert ruled((70, 1012), (80, 988), (90, 1000), **rules) == []


def test_a_buffer_is_rounded_up_and_may_be_0():
    """.011 is 2 cents; .0 is none."""
    assert ruled((70, 1012), (90, 1000), entry_buffer=0.011) == []
    assert len(ruled((70, 1013), (90, 1000), entry_buffer=0.011)) == 1
    assert len(ruled((70, 1011), (90, 1000), entry_buffer=0.0)) == 1


def test_a_buffer_in_percent_is_of_the_edge_on_the_trades_side():
    """1 % of 10.10 is .101: 11 cents, above 1021; 1 % of 9.90 is .099: 10 cents, below 980."""
    rules = {"entry_buffer": 1, "buffer_unit": "percent"}
    assert ruled((70, 1021), (75, 980), (80, 1022), (90, 1020), **rules) == [long(80, 1022, 90, 1020, "close")]
    assert ruled((70, 1021), (75, 980), (80, 979), (90, 980), **rules) == [short(80, 979, 90, 980, "close")]


def test_a_buffer_in_a_feature():
    """A quarter of the range's 20 cents: above 1015. A tenth of an atr of 1.234: 12.34, 13 cents, above 1023."""
    got = ruled((70, 1015), (80, 1016), (90, 1012), entry_buffer=0.25, buffer_unit="range")
    assert got == [long(80, 1016, 90, 1012, "close")]
    rules = {"entry_buffer": 0.1, "buffer_unit": "atr", "features": {"atr": 1.234}}
    assert ruled((70, 1023), (80, 1024), (90, 1020), **rules) == [long(80, 1024, 90, 1020, "close")]


def test_a_stop_in_percent_is_of_the_edge_on_the_trades_side():
    """.5 % of 10.10 is .0505: 6 cents below 1012; .5 % of 9.90 is .0495: 5 cents above 988."""
    rules = {"stop": 0.5, "stop_unit": "percent", "stop_count": 1}
    assert ruled((70, 1012), (75, 1007), (80, 1006), (90, 1000), **rules) == [long(70, 1012, 80, 1006, "stop")]
    assert ruled((70, 988), (75, 992), (80, 993), (90, 1000), **rules) == [short(70, 988, 80, 993, "stop")]


def test_a_limit_in_percent_is_of_the_edge_on_the_trades_side():
    """1 % is 11 cents for the long at 1012 and 10 cents for the short at 988."""
    rules = {"limit": 1, "limit_unit": "percent"}
    assert ruled((70, 1012), (75, 1022), (80, 1023), (90, 1000), **rules) == [long(70, 1012, 80, 1023, "limit")]
    assert ruled((70, 988), (75, 979), (80, 978), (90, 1000), **rules) == [short(70, 988, 80, 978, "limit")]


def test_distances_in_features():
    """A stop of .3 x the range's 20 cents is 6; a limit of .5 x .25 is 12.5, 13 cents."""
    rules = {"stop": 0.3, "stop_unit": "range", "limit": 0.5, "limit_unit": "mine", "features": {"mine": 0.25}}
    assert ruled((70, 1012), (75, 1007), (80, 1024), (85, 1025), (90, 1000), **rules) == [
        long(70, 1012, 85, 1025, "limit"),
    ]
    assert ruled((70, 1012), (75, 1006), (90, 1000), **rules) == [long(70, 1012, 75, 1006, "stop")]


def test_a_features_value_is_whole_nanodollars_and_the_product_is_not_rounded():
    """.0700000001 is .070000000: 7 cents. .070000001 is more: 8. Half of .140000001 is .0700000005: 8 too."""
    expected = {0.0700000001: (1, 7), 0.070000001: (1, 8), 0.140000001: (0.5, 8), 0.0: (1, 1), -1.0: (1, 1)}
    for value, (multiple, increments) in expected.items():
        unit = o.unit_nanos("mine", RANGE, o.LONG, {"mine": value}, CENT)
        assert o.in_increments(multiple, unit, CENT, at_least=1) == increments
    third = o.unit_nanos("mine", RANGE, o.LONG, {"mine": Fraction(1, 3)}, CENT)
    assert third == 333_333_333
    assert o.in_increments(3, third, CENT, at_least=1) == 100  # .999999999


def test_the_range_as_a_unit_is_the_sessions_own_and_at_least_one_increment_comes_of_it():
    """A range of one price is 0 wide: stop and limit of 1 cent."""
    flat = [(0, 1000)]
    rules = {"window": flat, "stop_unit": "range", "limit_unit": "range", "features": {"range": 9.99}}
    assert ruled((60, 1001), (70, 1002), (90, 1000), **rules) == [long(60, 1001, 70, 1002, "limit")]
    assert ruled((60, 1001), (70, 1000), (90, 1000), **rules) == [long(60, 1001, 70, 1000, "stop")]


def test_a_limit_in_r_is_a_multiple_of_the_stop():
    """2 x 5 = 10; 1.5 x 5 = 7.5, 8; .1 x 5 = .5, 1; 0 is 1."""
    for multiple, distance in ((2, 10), (1.5, 8), (0.1, 1), (0, 1)):
        walk = [(70, 1012), (80, 1012 + distance - 1), (85, 1012 + distance), (90, 1000)]
        got = ruled(*walk, limit=multiple, limit_unit="R")
        assert got == [long(70, 1012, 85, 1012 + distance, "limit")]


def test_r_is_of_the_stop_in_whole_increments():
    """A stop of .041 is 5 cents; 2.1 R are 10.5, 11 cents, where 2.1 x .041 = .0861 would be 9."""
    rules = {"stop": 0.041, "limit": 2.1, "limit_unit": "R"}
    assert ruled((70, 1012), (80, 1022), (85, 1023), (90, 1000), **rules) == [long(70, 1012, 85, 1023, "limit")]


def test_r_of_a_stop_in_percent_differs_from_side_to_side():
    """.5 % are 6 cents for a long, 5 for a short; 1.5 R are 9 and 7.5, 8."""
    rules = {"stop": 0.5, "stop_unit": "percent", "limit": 1.5, "limit_unit": "R"}
    assert ruled((70, 1012), (80, 1020), (85, 1021), (90, 1000), **rules) == [long(70, 1012, 85, 1021, "limit")]
    assert ruled((70, 988), (80, 981), (85, 980), (90, 1000), **rules) == [short(70, 988, 85, 980, "limit")]


def test_without_a_limit_no_trade_ends_by_limit_nor_at_the_last_tick():
    walk = [(70, 1012), (80, 5000), (90, 4000)]
    for fill, entry in (("seen", 1012), ("level", 1011)):
        for unit in ("dollars", "R", "percent"):
            got = ruled(*walk, limit=None, limit_unit=unit, fill=fill)
            assert got == [long(70, entry, 90, 4000, "close")]
    obs = as_obs(*UP, *walk)
    rng = o.opening_range(obs, 60)
    got = o.day(o.compress(obs), rng, stop=5, limit=None, cooloff=0, stop_count=1)
    assert got == [long(70, 1012, 90, 4000, "close")]


# ---- the rules: where the stop lies --------------------------------


def test_a_stop_at_the_opposite_edge():
    """Stop 0: the long from 1012 ends at 990, not at 991; the short from 988 at 1010."""
    rules = {"stop": 0, "stop_anchor": "opposite_edge", "stop_count": 1, "limit": None}
    assert ruled((70, 1012), (75, 991), (80, 990), (90, 1000), **rules) == [long(70, 1012, 80, 990, "stop")]
    assert ruled((70, 988), (75, 1009), (80, 1010), (90, 1000), **rules) == [short(70, 988, 80, 1010, "stop")]


def test_a_stop_beyond_the_opposite_edge():
    """.03 beyond: at 987 and at 1013."""
    rules = {"stop": 0.03, "stop_anchor": "opposite_edge", "stop_count": 1, "limit": None}
    assert ruled((70, 1012), (75, 988), (80, 987), (90, 1000), **rules) == [long(70, 1012, 80, 987, "stop")]
    assert ruled((70, 988), (75, 1012), (80, 1013), (90, 1000), **rules) == [short(70, 988, 80, 1013, "stop")]


@pytest.mark.parametrize("fill", ["seen", "level"])
def test_a_stop_at_the_opposite_entry_is_a_tick_size_beyond_the_edge_under_both_fills(fill):
    """At 989 and at 1011; the range's own edges are not enough."""
    rules = {"stop": 0, "stop_anchor": "opposite_entry", "stop_count": 1, "limit": None, "fill": fill}
    assert ruled((70, 1011), (75, 990), (80, 989), (90, 1000), **rules) == [long(70, 1011, 80, 989, "stop")]
    assert ruled((70, 989), (75, 1010), (80, 1011), (90, 1000), **rules) == [short(70, 989, 80, 1011, "stop")]


def test_the_opposite_entry_has_the_other_sides_buffer_in_percent():
    """1 % of 9.90 is 10 cents: the short's order rests at 990 - 10 - 1 = 979; 1 % of 10.10 is 11: the long's at
    1022."""
    rules = {"entry_buffer": 1, "buffer_unit": "percent", "stop": 0, "stop_anchor": "opposite_entry"}
    rules |= {"stop_count": 1, "limit": None}
    assert ruled((70, 1022), (75, 980), (80, 979), (90, 1000), **rules) == [long(70, 1022, 80, 979, "stop")]
    assert ruled((70, 979), (75, 1021), (80, 1022), (90, 1000), **rules) == [short(70, 979, 80, 1022, "stop")]


def test_an_anchored_stop_in_percent_is_of_the_trades_own_edge():
    """The long's stop: .5 % of 10.10, 6 cents, below 990; the short's: .5 % of 9.90, 5 cents, above 1010."""
    rules = {"stop": 0.5, "stop_unit": "percent", "stop_anchor": "opposite_edge", "stop_count": 1}
    rules |= {"limit": None}
    assert ruled((70, 1012), (75, 985), (80, 984), (90, 1000), **rules) == [long(70, 1012, 80, 984, "stop")]
    assert ruled((70, 988), (75, 1014), (80, 1015), (90, 1000), **rules) == [short(70, 988, 80, 1015, "stop")]


def test_r_of_an_anchored_stop_is_each_trades_own():
    """Long from 1012, stop at 990: 22 away; 1.5 R are 33: 1045. Long from 1015: 25 away, 37.5: 38, 1053."""
    rules = {"stop": 0, "stop_anchor": "opposite_edge", "limit": 1.5, "limit_unit": "R"}
    assert ruled((70, 1012), (80, 1044), (85, 1045), (90, 1000), **rules) == [long(70, 1012, 85, 1045, "limit")]
    assert ruled((70, 1015), (80, 1052), (85, 1053), (90, 1000), **rules) == [long(70, 1015, 85, 1053, "limit")]


def test_level_and_buffer_and_anchor_and_r_together():
    """Long at 1010 + 2 + 1 = 1013; the short's order rests at 987, the stop .03 below at 984: 29 away, so that 1 R
    is 1042. After the stop at 984 the price comes back to 986: a short, which the tick before (983) was already
    beyond, so at 986; its stop would lie at 1013 + 3."""
    rules = {"fill": "level", "entry_buffer": 0.02, "stop": 0.03, "stop_anchor": "opposite_entry"}
    rules |= {"limit": 1, "limit_unit": "R"}
    assert ruled((70, 1015), (80, 1050), (90, 1000), **rules) == [long(70, 1013, 80, 1042, "limit")]
    assert ruled((70, 1015), (80, 1041), (90, 1041), **rules) == [long(70, 1013, 90, 1041, "close")]
    got = ruled((70, 1015), (75, 985), (80, 983), (90, 986), (93, 1015), (94, 1020), (95, 1000), **rules)
    assert got == [long(70, 1013, 80, 984, "stop"), short(90, 986, 94, 1016, "stop")]


def test_the_tick_that_fills_at_its_level_is_tested_at_once_for_a_limit_in_r():
    """Long at 1011, stop at 990: 21 away; 1 R is 1032."""
    rules = {"fill": "level", "stop": 0, "stop_anchor": "opposite_edge", "limit": 1, "limit_unit": "R"}
    assert ruled((70, 1032), (90, 1000), **rules) == [long(70, 1011, 70, 1032, "limit")]
    assert ruled((70, 1031), (90, 1000), **rules) == [long(70, 1011, 90, 1000, "close")]


def test_half_cent_increments():
    """In half cents: tick_size 2, level 1012, the short's 988, a stop .025 = 5 below at 983: 29 away, 1.1 R are
    31.9, 32: 1044. A buffer of .005 is 1. 1 % of 1010 half cents is 10.1: 11."""
    rules = {"increment": 5_000_000, "fill": "level", "stop": 0.025, "stop_anchor": "opposite_entry"}
    rules |= {"limit": 1.1, "limit_unit": "R", "stop_count": 1}
    assert ruled((70, 1011), (90, 1000), **rules) == []
    assert ruled((70, 1012), (80, 1043), (85, 1044), (90, 1000), **rules) == [long(70, 1012, 85, 1044, "limit")]
    assert ruled((70, 1014), (80, 984), (85, 983), (90, 990), **rules) == [long(70, 1012, 85, 983, "stop")]
    rules |= {"entry_buffer": 0.005}
    assert ruled((70, 1012), (80, 1013), (90, 1000), **rules) == [long(80, 1013, 90, 1000, "close")]
    rules |= {"entry_buffer": 1, "buffer_unit": "percent"}
    assert ruled((70, 1022), (80, 1023), (90, 1000), **rules) == [long(80, 1023, 90, 1000, "close")]


def test_a_wider_tick_size_moves_the_level_and_the_opposite_entry():
    """Three cents: in at 1013, out at 987."""
    rules = {"tick_size": 0.03, "fill": "level", "stop": 0, "stop_anchor": "opposite_entry", "limit": None}
    got = ruled((70, 1012), (75, 1013), (80, 988), (85, 987), (90, 1000), stop_count=1, **rules)
    assert got == [long(75, 1013, 85, 987, "stop")]


# ---- the rules: side, entry, cut-off --------------------------------


def test_a_side_only_removes_entries():
    walk = [(70, 988), (75, 993), (80, 1012), (85, 1007), (90, 1000)]
    first, second = short(70, 988, 75, 993, "stop"), long(80, 1012, 85, 1007, "stop")
    assert ruled(*walk) == [first, second]
    assert ruled(*walk, side="long") == [second]
    assert ruled(*walk, side="short") == [first]


def test_a_side_leaves_the_anchors_where_they_are():
    rules = {"side": "long", "stop": 0, "stop_anchor": "opposite_entry", "limit": None}
    assert ruled((70, 988), (75, 1012), (80, 990), (85, 989), (90, 980), **rules) == [
        long(75, 1012, 85, 989, "stop"),
    ]


def test_a_stop_that_leaps_across_the_range_does_not_turn_a_long_only_trader_short():
    assert ruled((60, 1011), (70, 985), (71, 985), (90, 984), side="long") == [
        long(60, 1011, 70, 985, "stop"),
    ]


def test_the_opening_bars_direction_is_open_to_last_price_of_the_range():
    walk = [(70, 988), (75, 993), (80, 1012), (85, 1007), (90, 1000)]
    assert ruled(*walk, side="opening_bar", window=UP) == [long(80, 1012, 85, 1007, "stop")]
    assert ruled(*walk, side="opening_bar", window=DOWN) == [short(70, 988, 75, 993, "stop")]
    assert ruled(*walk, side="opening_bar", window=EVEN) == []
    assert ruled(*walk, side="opening_bar", entry="open", window=EVEN) == []


OPEN_RULES = {"side": "opening_bar", "entry": "open"}


def test_entry_open_buys_at_the_price_standing_when_trading_starts():
    """Long at 1003; limit 1013 (seen at 1015, filled there under level), stop 998."""
    assert ruled((60, 1003), (70, 1015), (90, 1000), **OPEN_RULES) == [long(60, 1003, 70, 1015, "limit")]
    got = ruled((60, 1003), (70, 1015), (90, 1000), fill="level", **OPEN_RULES)
    assert got == [long(60, 1003, 70, 1013, "limit")]
    got = ruled((60, 1003), (70, 1008), (90, 1001), window=DOWN, **OPEN_RULES)
    assert got == [short(60, 1003, 70, 1008, "stop")]


def test_entry_open_is_once_a_day_and_a_stop_ends_the_day():
    walk = [(60, 1003), (70, 998), (75, 1012), (80, 1030), (90, 1000)]
    assert ruled(*walk, **OPEN_RULES) == [long(60, 1003, 70, 998, "stop")]
    assert ruled((60, 1003), (90, 900), **OPEN_RULES) == [long(60, 1003, 90, 900, "close")]


def test_entry_open_where_the_price_stands_from_inside_the_window():
    """1005 stands from second 3 to 65, the first observation after the range: in at 65, not at 60."""
    got = ruled((65, 1005), (70, 1005), (80, 1015), (90, 1000), **OPEN_RULES)
    assert got == [long(65, 1005, 80, 1015, "limit")]


def test_entry_open_never_at_the_last_tick_nor_at_the_cut_off():
    assert ruled((60, 1003), **OPEN_RULES) == []
    assert ruled((65, 1005), **OPEN_RULES) == []  # the price of the window's end, a tick of its own
    assert ruled((60, 1003), (90, 1004), entry_cutoff=60, **OPEN_RULES) == []
    got = ruled((60, 1003), (90, 1004), entry_cutoff=61, **OPEN_RULES)
    assert got == [long(60, 1003, 90, 1004, "close")]


def test_entry_open_beyond_its_anchored_stop_has_a_stop_of_one_increment():
    """Long at 985, its stop should lie at 990: it lies at 984, and 3 R are 988."""
    rules = {"stop": 0, "stop_anchor": "opposite_edge", "limit": 3, "limit_unit": "R"} | OPEN_RULES
    assert ruled((60, 985), (70, 984), (90, 1000), **rules) == [long(60, 985, 70, 984, "stop")]
    assert ruled((60, 985), (70, 987), (80, 988), (90, 1000), **rules) == [long(60, 985, 80, 988, "limit")]


def test_entry_open_at_its_anchored_stops_very_price_has_a_stop_of_one_increment():
    rules = {"stop": 0, "stop_anchor": "opposite_edge", "limit": None} | OPEN_RULES
    got = ruled((60, 990), (70, 991), (75, 990), (80, 989), (90, 1000), **rules)
    assert got == [long(60, 990, 80, 989, "stop")]


def test_entry_open_ends_at_the_exit_time():
    got = ruled((60, 1003), (70, 1006), (90, 1000), exit_time=80, **OPEN_RULES)
    assert got == [long(60, 1003, 80, 1006, "close")]


def test_entry_open_goes_in_the_opening_bars_direction_only():
    for side in ("both", "long", "short"):
        with pytest.raises(ValueError, match="opening bar"):
            ruled((60, 1003), (90, 1000), entry="open", side=side)


def test_an_entry_must_be_before_the_cut_off():
    walk = [(70, 1012), (80, 1013), (90, 1000)]
    assert ruled(*walk, entry_cutoff=71) == [long(70, 1012, 90, 1000, "close")]
    assert ruled(*walk, entry_cutoff=70) == []


def test_a_position_outlives_the_cut_off():
    got = ruled((70, 1012), (80, 1022), (90, 1000), entry_cutoff=71)
    assert got == [long(70, 1012, 80, 1022, "limit")]


def test_a_cool_offs_end_must_be_before_the_cut_off():
    """In at 1030, stop at 70 (1015, which stands to 85), cool-off to 80."""
    walk = [(60, 1030), (70, 1015), (85, 1015), (95, 1000)]
    first = long(60, 1030, 70, 1015, "stop")
    assert ruled(*walk, cooloff=10, entry_cutoff=81) == [first, long(80, 1015, 95, 1000, "close")]
    assert ruled(*walk, cooloff=10, entry_cutoff=80) == [first]


def test_under_level_too_a_cool_offs_end_must_be_before_the_cut_off():
    """In at 1011, stop at 1006 on the way to 985, which stands from 70 to 85: short at 80."""
    walk = [(60, 1012), (70, 985), (85, 985), (95, 1000)]
    first = long(60, 1011, 70, 1006, "stop")
    got = ruled(*walk, cooloff=10, entry_cutoff=81, fill="level")
    assert got == [first, short(80, 985, 95, 1000, "close")]
    assert ruled(*walk, cooloff=10, entry_cutoff=80, fill="level") == [first]


def test_after_the_cut_off_a_tick_after_the_cool_off_opens_nothing_either():
    walk = [(60, 1030), (70, 1015), (85, 1012), (88, 1013), (95, 1000)]
    first = long(60, 1030, 70, 1015, "stop")
    assert ruled(*walk, cooloff=10, entry_cutoff=86) == [first, long(85, 1012, 95, 1000, "close")]
    assert ruled(*walk, cooloff=10, entry_cutoff=85) == [first]


# ---- the rules: exit_time --------------------------------


def test_an_exit_time_inside_a_trade():
    """At 90 there is an observation: 1016. At 85 the price of 80 stands: 1014. From 100 on nothing changes."""
    walk = [(70, 1012), (80, 1014), (90, 1016), (100, 1001)]
    assert ruled(*walk, exit_time=90) == [long(70, 1012, 90, 1016, "close")]
    assert ruled(*walk, exit_time=85) == [long(70, 1012, 85, 1014, "close")]
    assert ruled(*walk, exit_time=100) == [long(70, 1012, 100, 1001, "close")]
    assert ruled(*walk, exit_time=20_000) == [long(70, 1012, 100, 1001, "close")]


def test_the_tick_at_the_exit_time_is_a_last_tick_like_any_other():
    """A limit of 4 is reached at 90; a stop of 5 is a close there; nothing opens there."""
    walk = [(70, 1012), (80, 1012), (90, 1016), (100, 1001)]
    assert ruled(*walk, exit_time=90, limit=0.04) == [long(70, 1012, 90, 1016, "limit")]
    assert ruled((70, 1012), (90, 1007), (100, 1001), exit_time=90) == [long(70, 1012, 90, 1007, "close")]
    assert ruled((60, 1000), *walk, exit_time=70) == []
    assert ruled((60, 1000), *walk, exit_time=71) == [long(70, 1012, 71, 1012, "close")]
    got = ruled((70, 1015), (90, 1030), (100, 1001), exit_time=90, fill="level")
    assert got == [long(70, 1011, 90, 1021, "limit")]


def test_a_session_that_trades_from_the_exit_time_on_is_not_tradable():
    assert ruled((60, 1012), (90, 1000), exit_time=60) is None
    assert ruled((60, 1012), (90, 1000), exit_time=30) is None
    assert ruled((65, 1012), (90, 1000), exit_time=64) is None
    assert ruled((60, 1012), (90, 1000), exit_time=61) == [long(60, 1012, 61, 1012, "close")]


def test_a_cool_off_ends_inside_a_price_that_stands_across_the_exit_time():
    """In at 1020, stop at 70 (1015, which stands to 85), cool-off to 75."""
    walk = [(60, 1020), (70, 1015), (85, 1015), (95, 1000)]
    first = long(60, 1020, 70, 1015, "stop")
    assert ruled(*walk, cooloff=5, exit_time=80) == [first, long(75, 1015, 80, 1015, "close")]
    assert ruled(*walk, cooloff=5, exit_time=76) == [first, long(75, 1015, 76, 1015, "close")]
    assert ruled(*walk, cooloff=5, exit_time=75) == [first]
    assert ruled(*walk, cooloff=5, exit_time=95) == [first, long(75, 1015, 95, 1000, "close")]


def test_a_price_last_seen_before_a_gap_does_not_stand_in_it_though_it_is_the_price_at_the_exit_time():
    """1015 is seen at 70 only; at 80 it is the price of the last tick, no more."""
    walk = [(60, 1020), (70, 1015), (85, 1013), (95, 1000)]
    assert ruled(*walk, cooloff=5, exit_time=80) == [long(60, 1020, 70, 1015, "stop")]


def test_ticks_are_cut_at_the_exit_time():
    ticks = [o.Tick(0, 9, 1000, True), o.Tick(10, 30, 1001, False), o.Tick(40, 40, 1002, True)]
    assert o.until_exit_time(ticks, 40) == ticks
    assert o.until_exit_time(ticks, 39) == [*ticks[:2], o.Tick(39, 39, 1001, False)]
    assert o.until_exit_time(ticks, 30) == [ticks[0], o.Tick(10, 29, 1001, False), o.Tick(30, 30, 1001, False)]
    assert o.until_exit_time(ticks, 10) == [ticks[0], o.Tick(10, 10, 1001, False)]
    assert o.until_exit_time(ticks, 0) == [o.Tick(0, 0, 1000, True)]
    late = [o.Tick(5, 9, 1000, True), o.Tick(40, 40, 1002, True), o.Tick(50, 50, 1002, False)]
    assert o.until_exit_time(late, 40) == late[:2]
    assert o.until_exit_time(late, 45) == [late[0], o.Tick(40, 40, 1002, True), o.Tick(45, 45, 1002, False)]
    assert o.until_exit_time(late, 4) == []
    standing = [o.Tick(5, 9, 1000, True), o.Tick(50, 58, 1001, False)]  # no observation after 55
    assert o.until_exit_time(standing, 55) == standing


def test_exit_time_on_bars():
    """Range 9.95 … 10.10. The second bar runs 10.05, 10.04, 10.12, 10.12: long at 10.11 in its 40th second. The
    bar at 120 opens at 10.30: the limit of 10.16 is filled at 10.30, as it is first of its bar. Without that bar
    10.12 stands."""
    rows = [(0, 10.00, 10.10, 9.95, 10.05), (60, 10.05, 10.12, 10.04, 10.12)]
    third, fourth = (120, 10.30, 10.30, 10.30, 10.30), (180, 10.00, 10.00, 10.00, 10.00)
    usual = {"stop": 0.05, "limit": 0.05, "cooloff": 0, "stop_count": 1, "increment_nanos": CENT, "features": {}}

    def of(*more: tuple, **rules: object) -> list[o.Trade] | None:
        return o.rule_day(bars(*rows, *more), 60, 60, o.DayRules(fill="level", **rules), **usual)

    assert of(third, fourth, exit_time=120) == [long(100, 1011, 120, 1030, "limit")]
    assert of(fourth, exit_time=120) == [long(100, 1011, 120, 1012, "close")]
    assert of(fourth, entry_cutoff=120) == [long(100, 1011, 180, 1000, "stop")]
    assert of(fourth, entry_cutoff=60) == []
    assert of(fourth, exit_time=60) is None


def test_cut_offs_that_are_not_whole_bars_are_refused():
    obs = bars((0, 10.00, 10.10, 9.95, 10.05), (60, 10.05, 10.12, 10.04, 10.12))
    usual = {"stop": 0.05, "limit": 0.05, "cooloff": 0, "stop_count": 1, "increment_nanos": CENT, "features": {}}
    for name in ("entry_cutoff", "exit_time"):
        with pytest.raises(ValueError, match="whole bars"):
            o.rule_day(obs, 60, 60, o.DayRules(**{name: 90}), **usual)


# ---- the rules: what is tradable, select --------------------------------


def test_a_session_without_a_range_or_without_a_units_feature_is_not_tradable():
    assert ruled() is None  # nothing after the window
    walk = [(70, 1012), (90, 1000)]
    for unit in ("buffer_unit", "stop_unit", "limit_unit"):
        for features in ({"atr": None}, {"atr": NAN}, {}):
            assert ruled(*walk, features=features, **{unit: "atr"}) is None
            assert ruled(*walk, features=features, plays=False, **{unit: "atr"}) is None
        assert ruled(*walk, features={"atr": 0.05, "stretch": None}, **{unit: "atr"}) is not None
    assert ruled(*walk, features={"atr": None}, limit=None, limit_unit="atr") is None
    assert ruled(*walk, features={"atr": None}) == [long(70, 1012, 90, 1000, "close")]


def test_a_day_that_select_leaves_flat_is_a_day_without_a_trade():
    assert ruled((70, 1012), (90, 1000), plays=False) == []
    assert ruled(plays=False) is None
    assert ruled((60, 1012), (90, 1000), exit_time=60, plays=False) is None


def test_select_by_date_leaves_t_and_by_a_feature_stays_flat():
    """Three sessions, the first of price 1000: the second has no feature, the third is no Monday."""
    up, down = as_obs(*UP, (70, 1012), (90, 1022)), as_obs((0, 999), *UP[1:], (70, 988), (90, 998))
    features = [{"weekday": 0, "atr": 0.2}, {"weekday": None, "atr": None}, {"weekday": 1, "atr": 0.4}]
    labels = ["2024-03-25", "2024-03-26", "2024-03-27"]
    sessions = [o.Session(*row) for row in zip(labels, (up, up, down), features, strict=True)]
    usual = {"stop": 0.1, "limit": 0.1, "cooloff": 0, "stop_count": 1, "increment_nanos": CENT}
    won, lost = [long(70, 1012, 90, 1022, "limit")], [short(70, 988, 90, 998, "close")]

    def of(rules: o.DayRules | None = None, **select: object) -> tuple[list, list]:
        return o.rule_days(sessions, 60, 0, rules or o.DayRules(), **usual, **select)

    assert of() == ([won, won, lost], [1000, 1000, 999])
    assert of(dates={"2024-03-26", "2024-03-27"}) == ([won, lost], [1000, 999])
    assert of(feature="weekday", condition=lambda value: value == 0) == ([won, []], [1000, 999])
    assert of(dates=labels[1:], feature="weekday", condition=lambda value: value == 0) == ([[]], [999])
    # the stop of half an atr, 10 and 20 cents, needs the feature that the second session has not
    assert of(o.DayRules(stop_unit="atr"))[0] == [won, lost]


def test_what_no_rule_allows_is_refused():
    wrong: list[dict] = [
        {"fill": "auto"},
        {"side": "none"},
        {"entry": "close"},
        {"stop_anchor": "R"},
        {"measure": "log"},
        {"stop_unit": "R"},
        {"buffer_unit": "R"},
        {"stop": -0.01},
        {"limit": -0.01},
        {"entry_buffer": -0.01},
        {"tick_size": 0},
        {"cooloff": -1},
        {"stop_count": 0},
    ]
    for one in wrong:
        with pytest.raises(ValueError):
            ruled((60, 1000), (90, 1000), **one)


# ---- features --------------------------------


def sessions_of(*prices: list[int]) -> list[list[o.Obs]]:
    """Sessions whose observations have these prices, a second apart."""
    return [as_obs(*enumerate(of_session)) for of_session in prices]


def test_a_true_range_reaches_to_the_previous_close():
    session = sessions_of([150, 160, 140, 155])[0]
    assert o.true_range(session, 150) == 20
    assert o.true_range(session, 100) == 60  # 160 - 100
    assert o.true_range(session, 190) == 50  # 190 - 140


def test_atr_is_the_mean_of_14_true_ranges_of_sessions_with_data():
    """Every session runs 100, 110, 90, 100: 20 cents. The 16th runs 150, 160, 140, 150: from the close of 100 it is
    60, so that the 17th has (13 x 20 + 60) / 14; the one after it falls from 150 to 90: 60 again."""
    quiet, loud = [100, 110, 90, 100], [150, 160, 140, 150]
    history = sessions_of(*[quiet] * 15, loud, quiet, quiet)
    got = o.atr(history, CENT)
    assert got[:15] == [None] * 15
    assert got[15:] == [Fraction(20, 100), Fraction(13 * 20 + 60, 1400), Fraction(12 * 20 + 120, 1400)]
    assert o.atr(history, 5_000_000)[15] == Fraction(10, 100)
    # a session without data counts for nothing, and has a value itself
    assert o.atr([*history[:7], [], *history[7:15], []], CENT) == [None] * 16 + [Fraction(20, 100)]


def test_stretch_is_the_mean_of_10_distances_from_the_open_to_the_nearer_extreme():
    """100, 105, 98: 2 cents; 100, 90: the open is the high, 0; 100, 101, 90: 1."""
    history = sessions_of(*[[100, 105, 98]] * 10, [100, 90], [100, 101, 90], [100])
    assert o.stretch(history, CENT) == [None] * 10 + [Fraction(2, 100), Fraction(18, 1000), Fraction(17, 1000)]
    assert o.stretch([[], *history[:10], []], CENT) == [None] * 11 + [Fraction(2, 100)]


def test_the_ranges_width_in_dollars():
    obs = as_obs((0, 1000), (30, 1020), (59, 985), (60, 1100), (61, 900))
    assert o.range_width(obs, 60, 0, CENT) == Fraction(35, 100)
    assert o.range_width(obs, 31, 0, 5_000_000) == Fraction(10, 100)
    assert o.range_width(obs, 100, 0, CENT) is None


# ---- one backtest's numbers --------------------------------

FOUR_DAYS = [
    [long(100, 1000, 110, 1020, "limit")],
    [long(100, 1000, 104, 990, "stop"), short(200, 990, 207, 985, "close")],
    [],
    [long(100, 1000, 103, 1000, "close")],
]


def numbers(days, first_prices=None, q=1, cost=0, cost_limit=0, increment=CENT, measure="return"):
    first_prices = first_prices or [1000] * len(days)
    costs = {"q": q, "cost": cost, "cost_limit": cost_limit}
    return o.numbers(days, first_prices, increment_nanos=increment, **costs, measure=measure)


def test_the_numbers_of_four_days_without_costs():
    """x = 20, -5, 0, 0 cents; r = .02, -.005, 0, 0: mean .00375, squared deviations 368.75e-6, downside
    6.25e-6."""
    assert numbers(FOUR_DAYS) == {
        "backtest_profit": 0.15,
        "backtest_return": 0.015,
        "average_holding_period": pytest.approx((10 + 5.5 + 3) / 3, abs=1e-12),
        "win_rate_percent": 33,
        "sessions": 4,
        "sessions_traded": 3,
        "trades": 4,
        "stops": 1,
        "win_rate": 0.5,
        "gross_profit": 0.25,
        "gross_loss": 0.10,
        "profit_factor": 2.5,
        "expectancy": 0.0375,
        "break_even_cost": 0.01875,
        "sharpe_ratio": pytest.approx(0.00375 / math.sqrt(368.75e-6 / 3) * math.sqrt(252), rel=1e-14),
        "sortino_ratio": pytest.approx(1.5 * math.sqrt(252), rel=1e-14),
        "max_drawdown": -0.005,
    }


def test_costs_fall_on_every_trade_and_less_on_a_limit():
    """In half cents: 40 - 2; -20 - 3 and 10 - 3; 0 - 3. A scratch before costs is a loss after them."""
    got = numbers(FOUR_DAYS, q=2, cost=3, cost_limit=2)
    assert got["backtest_profit"] == 0.095
    assert (got["gross_profit"], got["gross_loss"]) == (0.225, 0.13)
    assert got["profit_factor"] == 45 / 26
    assert got["expectancy"] == 0.02375
    assert got["backtest_return"] == 0.0095
    assert got["max_drawdown"] == -0.0095  # -16 and -3 half cents below the peak, of 10.00
    assert got["break_even_cost"] == 0.01875  # before costs
    assert (got["win_rate"], got["win_rate_percent"]) == (0.5, 33)


def test_a_short_gains_when_the_price_falls():
    days = [[short(0, 1000, 5, 990, "limit")], [short(0, 1000, 5, 1003, "close")]]
    got = numbers(days, cost=2, cost_limit=1)
    assert got["backtest_profit"] == 0.04  # 10 - 1 - 3 - 2
    assert (got["gross_profit"], got["gross_loss"]) == (0.09, 0.05)


def test_a_finer_increment_scales_the_dollars_and_not_the_returns():
    coarse, fine = numbers(FOUR_DAYS), numbers(FOUR_DAYS, increment=5_000_000)
    assert fine["backtest_profit"] == 0.075
    assert fine["backtest_return"] == coarse["backtest_return"]


def test_a_return_is_measured_by_the_first_price_and_rounded_half_to_even():
    one, three = [long(0, 1000, 5, 1001, "close")], [long(0, 1000, 5, 1003, "close")]
    assert numbers([one, []], [8_000_000, 1])["backtest_return"] == 12e-8  # 12.5
    assert numbers([three, []], [8_000_000, 1])["backtest_return"] == 38e-8  # 37.5
    assert numbers([one, one], [1000, 2000])["backtest_return"] == 0.0015


def test_the_win_rate_in_percent_is_rounded_half_to_even():
    win, loss = [long(0, 1000, 5, 1001, "close")], [long(0, 1000, 5, 999, "close")]
    assert numbers([win] * 1 + [loss] * 7)["win_rate_percent"] == 12
    assert numbers([win] * 3 + [loss] * 5)["win_rate_percent"] == 38
    assert numbers([win] * 1 + [loss] * 7 + [[]] * 9)["win_rate_percent"] == 12  # of sessions with a trade


def test_a_sessions_mean_holding_time_is_floored_to_the_microsecond_before_the_mean():
    third = [long(0, 1000, seconds, 1000, "close") for seconds in (1, 1, 2)]
    two_thirds = [long(0, 1000, seconds, 1000, "close") for seconds in (1, 2, 2)]
    assert numbers([third])["average_holding_period"] == 1.333333
    assert numbers([third, two_thirds, []])["average_holding_period"] == 1.4999995  # 1.333333 and 1.666666


def test_without_a_trade_counts_sums_and_drawdown_are_0_and_the_rest_is_missing():
    got = numbers([[], []])
    zero = ["backtest_profit", "backtest_return", "sessions_traded", "trades", "stops"]
    zero += ["gross_profit", "gross_loss", "max_drawdown"]
    assert got.pop("sessions") == 2
    assert {name: got.pop(name) for name in zero} == dict.fromkeys(zero, 0)
    assert len(got) == 8
    assert got == dict.fromkeys(got, None)


def test_with_one_session_there_is_no_sharpe_ratio():
    got = numbers([[long(0, 1000, 5, 990, "stop")]])
    assert got["sharpe_ratio"] is None
    assert got["sortino_ratio"] == pytest.approx(-math.sqrt(252), rel=1e-14)


def test_zero_variance_has_no_sharpe_ratio():
    got = numbers([[long(0, 1000, 5, 990, "stop")]] * 3)
    assert got["sharpe_ratio"] is None
    assert got["sortino_ratio"] == pytest.approx(-math.sqrt(252), rel=1e-14)


def test_without_a_loss_there_is_no_profit_factor_and_no_sortino_ratio():
    got = numbers([[long(0, 1000, 5, 1010, "limit")], [long(0, 1000, 5, 1000, "close")]])
    assert got["profit_factor"] is None
    assert got["sortino_ratio"] is None
    assert got["max_drawdown"] == 0
    assert got["sharpe_ratio"] == pytest.approx(math.sqrt(126), rel=1e-14)  # mean .005, std .01/√2


def test_without_a_gain_the_profit_factor_is_0():
    assert numbers([[long(0, 1000, 5, 990, "stop")], []])["profit_factor"] == 0


def test_returns_that_cancel_have_ratios_of_0():
    got = numbers([[long(0, 1000, 5, 1010, "close")], [long(0, 1000, 5, 990, "close")]])
    assert got["sharpe_ratio"] == 0
    assert got["sortino_ratio"] == 0


def test_the_drawdown_is_measured_from_a_peak_that_starts_at_0():
    moves = [-10, 30, -5, -8, 4, -20, 100]  # sums -10, 20, 15, 7, 11, -9, 91: the peak 20, the trough -9
    days = [[long(0, 1000, 5, 1000 + move, "close")] for move in moves]
    assert numbers(days)["max_drawdown"] == -0.029
    assert numbers([days[0], []])["max_drawdown"] == -0.01


def test_measured_in_dollars_a_days_result_is_its_profit_whatever_the_first_price():
    """r = .20, -.05, 0, 0: mean .0375, squared deviations .036875, downside .0025 / 4."""
    got = numbers(FOUR_DAYS, first_prices=[1, 2, 3, 4], measure="dollars")
    assert got["backtest_profit"] == got["backtest_return"] == 0.15
    assert got["max_drawdown"] == -0.05
    assert got["sharpe_ratio"] == pytest.approx(0.0375 / math.sqrt(0.036875 / 3) * math.sqrt(252), rel=1e-14)
    assert got["sortino_ratio"] == pytest.approx(1.5 * math.sqrt(252), rel=1e-14)
    same = [name for name in got if name not in ("backtest_return", "max_drawdown")]
    plain = numbers(FOUR_DAYS)
    assert {name: got[name] for name in same} == {name: plain[name] for name in same}
    assert numbers(FOUR_DAYS, q=2, cost=3, cost_limit=2, measure="dollars")["backtest_return"] == 0.095


def test_dollars_are_rounded_half_to_even_to_eight_digits():
    assert o.session_dollars(20, 1, CENT) == 20_000_000
    assert o.session_dollars(1, 1000, 100_000) == 10
    assert [o.session_dollars(profit, 1000, 1000) for profit in (5, 15, -5, -15, 16)] == [0, 2, 0, -2, 2]


def test_measured_in_dollars_sessions_without_a_trade_have_zeros_too():
    got, plain = numbers([[], []], measure="dollars"), numbers([[], []])
    assert got == plain
    with pytest.raises(ValueError, match="measure"):
        numbers([[]], measure="log")


def test_no_session_is_refused():
    with pytest.raises(ValueError, match="no tradable session"):
        numbers([])


def test_a_backtest_is_resolved_from_three_median_bar_ranges_on():
    assert o.is_resolved(6, 6, [1, 9, 2]) == 1
    assert o.is_resolved(5, 6, [1, 9, 2]) == 0
    assert o.is_resolved(6, 5, [1, 9, 2]) == 0
    assert (o.is_resolved(5, 5, [1, 2]), o.is_resolved(4, 5, [2, 1])) == (1, 0)  # 3 x 1.5
    assert o.is_resolved(1, 1, []) == 1
    assert (o.is_resolved(6, None, [2]), o.is_resolved(5, None, [2]), o.is_resolved(1, None, [])) == (1, 0, 1)


# ---- properties --------------------------------


def check(obs: list[o.Obs], rng: o.Range | None, values: tuple, fill: str, offset: int) -> None:
    """Raw and compressed give the same trades, and the trades keep the rules that need no oracle."""
    if rng is None:
        return
    rules = dict(zip(("stop", "limit", "cooloff", "stop_count"), values, strict=True))
    rules |= {"fill": fill, "level_offset": offset}
    cooloff, stop_count = values[2:]
    ticks = o.compress(obs)
    got = o.day(ticks, rng, **rules)
    assert got == o.day(o.uncompressed(obs), rng, **rules)

    assert sum(trade.reason == "stop" for trade in got) <= stop_count
    assert all(trade.reason == "stop" for trade in got[:-1])
    for trade in got:
        assert rng.trading_start <= trade.entry_time <= trade.exit_time <= ticks[-1].time
        assert trade.entry_time < ticks[-1].time
        assert trade.entry_price > rng.high if trade.side == o.LONG else trade.entry_price < rng.low
    for earlier, later in pairwise(got):
        assert later.entry_time >= earlier.exit_time + max(1, cooloff)


@settings(max_examples=500)
@given(
    s.sessions_of_points(),
    s.durations(),
    s.parameters(),
    st.sampled_from(["seen", "level"]),
    st.integers(1, 3),
)
def test_compression_changes_no_trade_on_points(session, duration, values, fill, offset):
    obs = o.observations_from_points(s.point_rows(session, OPEN, CENT), OPEN, CLOSE, CENT)
    check(obs, o.opening_range(obs, duration), values, fill, offset)


@settings(max_examples=500)
@given(
    st.data(),
    st.sampled_from([1, 4, 5, 60]),
    s.parameters(),
    st.sampled_from(["seen", "level"]),
    st.integers(1, 3),
    st.sampled_from(["nearer", "farther"]),
)
def test_compression_changes_no_trade_on_bars(data, bar_seconds, values, fill, offset, path):
    session = data.draw(s.sessions_of_bars(bar_seconds))
    duration = data.draw(s.durations(bar_seconds))
    rows = s.bar_rows(session, OPEN, CENT)
    obs = o.observations_from_bars(rows, OPEN, CLOSE, CENT, bar_seconds, path)
    check(obs, o.opening_range(obs, duration, bar_seconds), values, fill, offset)


@given(
    st.lists(st.tuples(st.integers(0, 300), *[st.integers(990, 1010)] * 4), max_size=12),
    s.parameters(),
    st.sampled_from(["seen", "level"]),
)
def test_compression_changes_no_trade_where_bars_overlap(rows, values, fill):
    obs = o.observations_from_bars(s.bar_rows(rows, OPEN, CENT), OPEN, CLOSE, CENT, 60)
    assert all(one.time <= one.stands for one in obs)
    assert all(a.stands < b.time for a, b in pairwise(obs))
    check(obs, o.opening_range(obs, 60, 60), values, fill, 1)


UNITS = st.sampled_from(["dollars", "dollars", "percent", "range", "atr"])


@st.composite
def day_rules(draw: st.DrawFn, bar_seconds: int = 1) -> o.DayRules:
    """Any rules; multiples are drawn so that a unit is worth a few cents."""
    side = draw(st.sampled_from(["both", "long", "short", "opening_bar", "opening_bar"]))
    cuts = st.one_of(st.none(), st.integers(0, 200).map(lambda bar: bar * bar_seconds))
    return o.DayRules(
        fill=draw(st.sampled_from(["seen", "level"])),
        side=side,
        entry=draw(st.sampled_from(["breakout", "open"])) if side == "opening_bar" else "breakout",
        entry_buffer=draw(st.sampled_from([0, 0, 0.01, 0.025])),
        buffer_unit=draw(UNITS),
        stop_unit=draw(UNITS),
        limit_unit=draw(st.one_of(UNITS, st.just("R"))),
        stop_anchor=draw(st.sampled_from(["entry", "opposite_edge", "opposite_entry"])),
        entry_cutoff=draw(cuts),
        exit_time=draw(cuts),
        tick_size=draw(st.sampled_from([0.01, 0.02])),
    )


def check_rules(obs, duration, bar_seconds, rules, stop, limit, cooloff, stop_count):
    """Raw and compressed give the same trades under any rules, and the trades keep what needs no oracle."""
    values = {"stop": stop, "limit": limit, "cooloff": cooloff, "stop_count": stop_count}
    values |= {"increment_nanos": CENT, "features": {"atr": 0.07}}
    got = o.rule_day(obs, duration, bar_seconds, rules, **values)
    rng = o.opening_range(obs, duration, bar_seconds)
    if got is None:
        assert rng is None or rng.trading_start >= rules.exit_time
        return
    raw = o.uncompressed(obs)
    if rules.exit_time is not None:
        raw = o.until_exit_time(raw, rules.exit_time)
    assert got == o.rule_trades(raw, rng, rules, **values)
    assert o.rule_day(obs, duration, bar_seconds, rules, **values, plays=False) == []

    end = raw[-1].time
    assert end == min(obs[-1].time, obs[-1].time if rules.exit_time is None else rules.exit_time)
    assert all(trade.reason == "stop" for trade in got[:-1])
    assert len(got) <= (1 if rules.entry == "open" else len(got))
    for trade in got:
        assert rng.trading_start <= trade.entry_time <= trade.exit_time <= end
        assert trade.entry_time < end
        assert rules.entry_cutoff is None or trade.entry_time < rules.entry_cutoff
        assert {"long": o.LONG, "short": o.SHORT}.get(rules.side, trade.side) == trade.side
        assert limit is not None or trade.reason != "limit"
        if rules.entry == "breakout":
            assert trade.entry_price > rng.high if trade.side == o.LONG else trade.entry_price < rng.low


DISTANCES = st.sampled_from([0, 0.01, 0.04, 0.1, 1, 1.5])


@settings(max_examples=500)
@given(
    s.sessions_of_points(),
    s.durations(),
    day_rules(),
    DISTANCES,
    st.one_of(st.none(), DISTANCES),
    st.integers(0, 5),
    st.integers(1, 3),
)
def test_compression_changes_no_trade_under_any_rules(session, duration, rules, stop, limit, cooloff, stop_count):
    obs = o.observations_from_points(s.point_rows(session, OPEN, CENT), OPEN, CLOSE, CENT)
    check_rules(obs, duration, 0, rules, stop, limit, cooloff, stop_count)


@settings(max_examples=500)
@given(
    st.data(),
    st.sampled_from([1, 4, 5, 60]),
    DISTANCES,
    st.one_of(st.none(), DISTANCES),
    st.integers(0, 90),
    st.integers(1, 3),
)
def test_compression_changes_no_trade_under_any_rules_on_bars(data, bar_seconds, stop, limit, cooloff, stop_count):
    session = data.draw(s.sessions_of_bars(bar_seconds))
    duration = data.draw(s.durations(bar_seconds))
    rules = data.draw(day_rules(bar_seconds))
    obs = o.observations_from_bars(s.bar_rows(session, OPEN, CENT), OPEN, CLOSE, CENT, bar_seconds)
    check_rules(obs, duration, bar_seconds, rules, stop, limit, cooloff, stop_count)


@given(s.sessions_of_points())
def test_observations_have_one_price_a_second_and_a_file_turned_round_gives_the_same(session):
    rows = s.point_rows(session, OPEN, CENT)
    obs = o.observations_from_points(rows, OPEN, CLOSE, CENT)
    assert [one.time for one in obs] == sorted({time for time, _ in session})
    if len(obs) > 1:
        assert o.observations_from_points(rows[::-1], OPEN, CLOSE, CENT) == obs


@given(st.integers(1, 10**7), st.sampled_from(o.INCREMENTS_NANOS))
def test_a_price_survives_the_way_to_dollars_and_back(price, increment):
    value = s.dollars(price, increment)
    assert o.nearest_whole(value, increment) == price
    assert o.is_held(value, increment)
    assert o.increment_nanos([value])[0] >= increment
