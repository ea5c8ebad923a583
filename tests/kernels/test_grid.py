"""The grid kernel shares walks; whatever it shares, every sum of every backtest is the plain scan's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orbresearch.analysis.grids import compute_sums, cut_products, fill_arguments
from orbresearch.grid import ParameterGrid
from orbresearch.kernels.parts import round_ratio
from orbresearch.kernels.scan import divide_half_even, scan_grid
from orbresearch.plan import Chunk, make_plan, run_points
from orbresearch.rules import NANOS, find_costs
from orbresearch.schema import SUMS, TRADE
from orbresearch.sessions.ranges import find_ranges
from tests import agreement
from tests.kernels.test_agreement import COSTS, FILLS, INCREMENTS, lots
from tests.strategies import durations, sessions_of_bars, sessions_of_points

ROUND = st.lists(st.integers(1, 40), min_size=1, max_size=6)
GRIDS = st.tuples(
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.lists(st.sampled_from([0, 1, 2, 3, 10, 60, 400]), min_size=1, max_size=4),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
)


def scan(plan, points):
    """Compute SUMS the plain way."""
    item, nanos = plan.inputs[0], plan.inputs[0].series.increment_nanos
    costs, sums, trades = find_costs(plan.rules, nanos), np.zeros(len(points), SUMS), np.zeros(200, TRADE)
    ticks = tuple(item.series.columns.values())
    fill = fill_arguments(plan.rules, nanos)
    scan_grid(*ticks, item.ranges, points, *fill, costs.q, costs.trade, costs.limit_trade, trades, sums)
    return sums


def check(question, drawn, part):
    sessions = agreement.load(question)
    if len(find_ranges(sessions, question.duration).table) == 0:
        return
    unit = question.increment_nanos / NANOS
    stops, counts, cooloffs, limits = drawn
    grid = ParameterGrid([s * unit for s in stops], counts, cooloffs, [v * unit for v in limits])
    plan = make_plan(sessions, grid, question.duration, question.rules)
    start, stop = sorted(round(place * len(grid)) for place in part)
    stop = max(stop, start + 1) if start < len(grid) else (start := start - 1) + 1
    chunk = Chunk(start, stop - start, 0, start)
    points = run_points(grid, start, stop - start, question.increment_nanos)
    found = compute_sums(plan.inputs[0], grid, plan.rules, chunk)
    expected = scan(plan, points)
    for name in SUMS.names:
        assert found[name].tolist() == expected[name].tolist(), name


PARTS = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(lots(sessions_of_points), GRIDS, PARTS, durations(), FILLS, COSTS, INCREMENTS)
def test_a_grid_on_prices_equals_the_scan(sessions, grid, part, duration, fill, costs, increment):
    rows = agreement.dollar_rows(sessions, 0, increment)
    check(agreement.Question(rows, 0, duration, fill, increment, *costs), grid, part)


@given(lots(lambda length: sessions_of_bars(bar_seconds=60, length=length)), GRIDS, PARTS, durations(60), FILLS, COSTS)
def test_a_grid_on_bars_equals_the_scan(sessions, grid, part, duration, fill, costs):
    rows = agreement.dollar_rows(sessions, 60)
    check(agreement.Question(rows, 60, duration, fill, agreement.CENT, *costs), grid, part)


def test_thousands_of_entries_in_a_day_equal_the_scan():
    day = [(second, 1000 + (second % 2) * 2 - 1) for second in range(3000)]
    rows = agreement.dollar_rows([[(0, 1000), *((t + 5, p) for t, p in day)]], 0)
    question = agreement.Question(rows, 0, 5, "seen")
    check(question, ([1, 2], [1, 150, 199], [0, 2, 3], [1, 3]), (0, 1))


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
