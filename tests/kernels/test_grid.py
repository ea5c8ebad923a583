"""The grid kernel shares walks; whatever it shares, every sum of every backtest is the plain scan's. So are hops."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import ParameterGrid, ParameterList, Rules, load_sessions
from orbresearch.analysis import grids
from orbresearch.analysis.grids import compute_sums, cut_products, kernel_arguments, most_trades
from orbresearch.errors import BadInput
from orbresearch.inputs import day_distances
from orbresearch.kernels.parts import round_ratio
from orbresearch.kernels.scan import divide_half_even, scan_grid
from orbresearch.plan import Chunk, make_plan
from orbresearch.schema import PARAMETERS, SUMS, TRADE
from tests import agreement
from tests.kernels.test_agreement import COSTS, INCREMENTS, lots
from tests.kernels.test_rules_agreement import VALUES, Asked, asked, package_rules
from tests.sources import market
from tests.strategies import durations, sessions_of_bars, sessions_of_points

CELLS, SLOTS = st.sampled_from([1, 7, 50, 10_000]), st.sampled_from([2, 3, 256])
PARTS = st.tuples(st.floats(0, 1), st.floats(0, 1))


@st.composite
def asked_grids(draw: st.DrawFn, bar: int = 0, duration: int = 5) -> tuple[Asked, ParameterGrid]:
    """Draw rules and a grid in their units, its values in any order and sometimes twice."""
    one = draw(asked(bar, duration))
    stops, limits = VALUES[one.rules["stop_unit"]], VALUES[one.rules["limit_unit"]]
    if one.rules["stop_anchor"] != "entry":
        stops = st.one_of(st.just(0.0), stops)
    few = {"min_size": 1, "max_size": 4}
    return one, ParameterGrid(
        draw(st.lists(stops, **few)),
        draw(st.lists(st.integers(1, 6), **few)),
        draw(st.lists(st.sampled_from([0, 1, 2, 3, 10, 60, 400]), **few)),
        draw(st.lists(st.one_of(st.none(), limits, limits, limits), min_size=1, max_size=6)),
    )


def scan(item, rules, points, chunk):
    """Compute SUMS the plain way."""
    drawn, sums = points.points(chunk.point, chunk.point + chunk.rows), np.zeros(chunk.rows, SUMS)
    stops, limits = (day_distances(item, rules, name, drawn[name]) for name in ("stop_distance", "limit_distance"))
    counts, cooloffs = drawn["stop_count_limit"], drawn["stop_cooloff_period"]
    trades = np.zeros(most_trades(item, int(counts.max())), TRADE)
    ticks, _, days, terms = kernel_arguments(item, rules)
    scan_grid(ticks, days, terms, stops, counts, cooloffs, limits, trades, sums)
    return sums


def assert_same(found, expected) -> None:
    for name in SUMS.names:
        assert found[name].tolist() == expected[name].tolist(), name


def stretch_of(size: int, part: tuple[float, float]) -> tuple[int, int]:
    """Return a stretch of at least one point."""
    start, stop = sorted(round(place * size) for place in part)
    start = min(start, size - 1)
    return start, max(stop, start + 1)


def check(sessions, grid, duration, rules, part=(0, 1), cells=10_000, slots=256, seed=0):
    """Assert that grid kernel and hop kernel make the scan's sums; return them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of fine distances
        plan = make_plan(sessions, grid, duration, rules)
    item, (start, stop) = plan.inputs[0], stretch_of(len(grid), part)
    chunk = Chunk(start, stop - start, 0, start)
    expected = scan(item, plan.rules, grid, chunk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "_CELLS", cells)
        patch.setattr(grids, "_SLOTS", slots)
        patch.setattr(grids, "_DISTANCES", 5 * cells)
        assert_same(compute_sums(item, grid, plan.rules, chunk), expected)
        order = np.random.default_rng(seed).permutation(chunk.rows)
        rows = list(grid)[start:stop]
        listed = ParameterList(pd.DataFrame([rows[i] for i in order], columns=list(PARAMETERS), dtype=object))
        assert_same(compute_sums(item, listed, plan.rules, Chunk(0, len(listed), 0, 0)), expected[order])
    return expected


def check_drawn(question, one, grid, *arguments):
    sessions = agreement.load(question)
    own = {str(agreement.SCHEDULE.labels[day]): value for day, value in zip(agreement.DAYS, one.own, strict=True)}
    sessions = sessions.join(pd.Series(own, name="own", dtype=float))
    try:
        check(sessions, grid, question.duration, package_rules(question, one), *arguments)
    except BadInput as refused:
        if not re.search("no tradable session|is missing on all|^select:", str(refused)):
            raise  # else no day is left to compare


@given(lots(sessions_of_points), st.data(), PARTS, durations(), COSTS, INCREMENTS, CELLS, SLOTS, st.integers(0, 9))
def test_a_grid_and_a_list_on_prices_equal_the_scan_under_every_rule(
    sessions, data, part, duration, costs, increment, cells, slots, seed
):
    one, grid = data.draw(asked_grids(0, duration))
    rows = agreement.dollar_rows(sessions, 0)  # whole cents, whatever the increment
    question = agreement.Question(rows, 0, duration, one.rules["fill"], increment, *costs)
    check_drawn(question, one, grid, part, cells, slots, seed)


@given(
    lots(lambda length: sessions_of_bars(bar_seconds=60, length=length)),
    st.data(),
    PARTS,
    durations(60),
    COSTS,
    CELLS,
    SLOTS,
    st.integers(0, 9),
)
def test_a_grid_and_a_list_on_bars_equal_the_scan_under_every_rule(
    sessions, data, part, duration, costs, cells, slots, seed
):
    one, grid = data.draw(asked_grids(60, duration))
    rows = agreement.dollar_rows(sessions, 60)
    question = agreement.Question(rows, 60, duration, one.rules["fill"], agreement.CENT, *costs)
    check_drawn(question, one, grid, part, cells, slots, seed)


def restless(seconds: int):
    """Return sessions of one day whose price jumps out of the range on either side, every second."""
    day = [(second + 5, 1000 + (second % 2) * 2 - 1) for second in range(seconds)]
    return agreement.load(agreement.Question(agreement.dollar_rows([[(0, 1000), *day]], 0), 0, 5, "seen"))


@pytest.mark.parametrize("slots", [2, 3, 256])
@pytest.mark.parametrize("said", [{}, {"stop_anchor": "opposite_edge", "limit_unit": "R"}], ids=["plain", "anchored"])
def test_thousands_of_entries_in_a_day_equal_the_scan(slots, said):
    grid = ParameterGrid([0.02, 0.01], [2900, 1, 150], [0, 2, 3], [0.03, None, 0.01])
    found = check(restless(6000), grid, 5, Rules(**said), slots=slots)
    assert found["trades"].max() > 2800


WALK = load_sessions(market.prices(step=31), "TEST")


@pytest.mark.parametrize(
    "said",
    [
        {"limit_unit": "R"},
        {"limit_unit": "R", "fill": "level", "stop_anchor": "opposite_edge"},
        {"limit_unit": "R", "stop_unit": "percent", "side": "opening_bar", "entry": "open"},
        {"limit_unit": "percent", "stop_unit": "range", "fill": "level", "entry_buffer": 0.02},
    ],
    ids=str,
)
def test_many_stops_at_once_on_a_walk_equal_the_scan(said):
    """Limits in multiples of the stop are other prices for every stop: nothing of a smaller one may be kept."""
    found = check(WALK, ParameterGrid([0.3, 0.05, 0.1, 0.6], [2, 1], [0, 60], [2, 0.5, 1, None]), 310, Rules(**said))
    assert len(np.unique(found["profit"])) > 4
    assert found["trades"].max() > found["stops"].min()


@pytest.mark.parametrize("cooloffs", [[1, 4], [4, 1]])
def test_one_tick_entered_at_its_level_and_at_its_price_equals_the_scan(cooloffs):
    """The price that jumps at second 8 fills an order that rests there; one that begins to work at 10 pays it."""
    day = [(0, 1000), (5, 1003), (6, 1000), *((t, 1004) for t in range(8, 13)), (13, 1002), (20, 1010), (21, 1000)]
    rows = agreement.dollar_rows([day], 0)
    sessions = agreement.load(agreement.Question(rows, 0, 5, "level"))
    found = check(sessions, ParameterGrid([0.01, 0.02], [3], cooloffs, [0.03, 0.05, None]), 5, Rules(fill="level"))
    assert len(set(found["profit"].tolist())) > 2


def test_returns_beyond_int32_equal_the_scan():
    """Each day loses some 16 times its first price: three days are more than 2**31 of 1e-8."""
    day = [(0, 10), *((second, 90 if second % 2 else 10) for second in range(5, 30))]
    rows = agreement.dollar_rows([day] * 3, 0)
    sessions = agreement.load(agreement.Question(rows, 0, 5, "seen"))
    found = check(sessions, ParameterGrid([0.8, 0.3], [2, 1], [1, 3], [2.0, None]), 5, Rules())
    assert found["drawdown"].min() < -(2**32)
    assert found["below"].min() < -(2**32)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_products_cover_a_stretch_once_and_in_order(shape, one, other):
    size = int(np.prod(shape))
    start, stop = sorted((round(one * size), round(other * size)))
    numbers = np.arange(size).reshape(shape)
    found = [
        numbers[tuple(slice(*span) for span in spans)].ravel() for spans in cut_products(tuple(shape), start, stop)
    ]
    assert np.concatenate([np.zeros(0, int), *found]).tolist() == list(range(start, stop))
    assert len(found) <= 2 * len(shape)


@given(st.integers(-(2**61), 2**61), st.integers(2**13, 2**40))
def test_a_ratio_without_a_division_is_the_divisions(numerator, denominator):
    assert round_ratio(numerator, denominator, 1 / denominator) == divide_half_even(numerator, denominator)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**5))
def test_a_tie_goes_to_the_even_number(half, denominator):
    numerator = (2 * half + 1) * denominator
    expected = half if half % 2 == 0 else half + 1
    assert round_ratio(numerator, 2 * denominator, 1 / (2 * denominator)) == expected
