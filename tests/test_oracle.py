"""The oracle itself, checked by hand-worked examples: each expected number below was worked out on paper."""

from __future__ import annotations

import math
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
RANGE = o.Range(open_price=1000, high=1010, low=990, count_trades=3, trading_start=60)
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
    assert o.opening_range(obs, 60) == o.Range(1000, 1020, 980, 3, 60)


def test_trading_starts_at_the_first_observation_after_the_range():
    assert o.opening_range(as_obs((3, 1000), (75, 1001), (80, 1000)), 60) == o.Range(1000, 1000, 1000, 1, 75)


def test_a_session_without_an_observation_in_or_after_the_window_is_not_tradable():
    assert o.opening_range(as_obs((60, 1000), (75, 1001)), 60) is None
    assert o.opening_range(as_obs((0, 1000), (59, 1001)), 60) is None
    assert o.opening_range([], 60) is None


def test_prices_that_one_second_overruled_are_not_in_the_range():
    rows = [(OPEN, 10.00), (OPEN + 1, 10.50), (OPEN + 1, 10.01), (OPEN + 60, 10.00)]
    rng = o.opening_range(o.observations_from_points(rows, OPEN, CLOSE, CENT), 60)
    assert rng == o.Range(1000, 1001, 1000, 2, 60)


def test_bars_count_once():
    obs = bars((0, 10.00, 10.10, 9.95, 10.05), (60, 10.05, 10.2, 10.0, 10.1), (120, 10.1, 10.1, 10.1, 10.1))
    assert o.opening_range(obs, 120, 60) == o.Range(1000, 1020, 995, 2, 120)
    assert o.opening_range(obs, 60, 60) == o.Range(1000, 1010, 995, 1, 60)


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
    assert rng == o.Range(1000, 1010, 1000, 2, 70)
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


# ---- one backtest's numbers --------------------------------

FOUR_DAYS = [
    [long(100, 1000, 110, 1020, "limit")],
    [long(100, 1000, 104, 990, "stop"), short(200, 990, 207, 985, "close")],
    [],
    [long(100, 1000, 103, 1000, "close")],
]


def numbers(days, first_prices=None, q=1, cost=0, cost_limit=0, increment=CENT):
    first_prices = first_prices or [1000] * len(days)
    return o.numbers(days, first_prices, increment_nanos=increment, q=q, cost=cost, cost_limit=cost_limit)


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


def test_no_session_is_refused():
    with pytest.raises(ValueError, match="no tradable session"):
        numbers([])


def test_a_backtest_is_resolved_from_three_median_bar_ranges_on():
    assert o.is_resolved(6, 6, [1, 9, 2]) == 1
    assert o.is_resolved(5, 6, [1, 9, 2]) == 0
    assert o.is_resolved(6, 5, [1, 9, 2]) == 0
    assert (o.is_resolved(5, 5, [1, 2]), o.is_resolved(4, 5, [2, 1])) == (1, 0)  # 3 x 1.5
    assert o.is_resolved(1, 1, []) == 1


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
