"""Kernel, run_backtest and run_grid equal the oracle on whatever hypothesis can think of."""

from hypothesis import given
from hypothesis import strategies as st

from tests import agreement, oracle
from tests.strategies import durations, parameters, sessions_of_bars, sessions_of_points

COSTS = st.sampled_from([(0.0, 0.0), (0.0005, 0.005), (0.0, 0.01), (0.0033, 0.0), (0.00001, 0.000007)])
FILLS = st.sampled_from(["seen", "level"])
INCREMENTS = st.sampled_from([10_000_000, 5_000_000, 100_000])


def lots(strategy):
    """Draw one session for each of the days, of the day's length."""
    return st.tuples(*(strategy(length=agreement.length(day)) for day in range(len(agreement.DAYS))))


@given(lots(sessions_of_points), parameters(), durations(), FILLS, COSTS, INCREMENTS)
def test_prices_agree_with_the_oracle(sessions, point, duration, fill, costs, increment):
    rows = agreement.dollar_rows(sessions, 0, increment)
    agreement.check(agreement.Question(rows, 0, duration, fill, increment, *costs), point)


@given(
    st.sampled_from([1, 3, 4, 5, 60]).flatmap(
        lambda bar: st.tuples(
            st.just(bar), lots(lambda length: sessions_of_bars(bar_seconds=bar, length=length)), durations(bar)
        )
    ),
    parameters(),
    FILLS,
    COSTS,
    st.sampled_from(["nearer", "farther"]),
    st.sampled_from(["start", "end"]),
)
def test_bars_agree_with_the_oracle(drawn, point, fill, costs, path, stamp):
    bar, sessions, duration = drawn
    shift = bar if stamp == "end" else 0
    rows = [[(row[0] + shift, *row[1:]) for row in day] for day in agreement.dollar_rows(sessions, bar)]
    question = agreement.Question(rows, bar, duration, fill, agreement.CENT, *costs, path=path, stamp=stamp)
    agreement.check(question, point)


@given(
    st.lists(st.tuples(st.integers(0, 200), *(st.integers(995, 1005),) * 4), min_size=2, max_size=30),
    st.sampled_from([4, 7, 60]),
    parameters(),
)
def test_bars_in_any_order_that_overlap_agree_with_the_oracle(bars, length, point):
    rows = agreement.dollar_rows([bars], length)
    agreement.check(agreement.Question(rows, length, length, "level"), point)


BAD = st.sampled_from([float("nan"), 0.0, -1.0, float("inf"), 0.004])


@given(
    sessions_of_bars(bar_seconds=60),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4), BAD), max_size=8),
    st.sampled_from([1, -1]),
    parameters(),
)
def test_bars_with_bad_values_in_either_direction_agree_with_the_oracle(session, spoilt, step, point):
    rows = [list(row) for row in agreement.dollar_rows([session], 60)[0]]
    for at, column, value in spoilt:
        rows[at % len(rows)][column] = value
    question = agreement.Question([[tuple(row) for row in rows][::step]], 60, 60, "level")
    if agreement.observe(question):
        agreement.check(question, point)


@given(lots(sessions_of_points), parameters(), durations(), FILLS)
def test_the_raw_series_and_the_compressed_one_give_the_same_trades(sessions, point, duration, fill):
    question = agreement.Question(agreement.dollar_rows(sessions, 0), 0, duration, fill)
    raw, _ = agreement.oracle_days(question, point, compressed=False)
    compressed, _ = agreement.oracle_days(question, point)
    assert raw == compressed
    if raw:
        agreement.check(question, point)


@given(st.floats(1e-9, 1e6), st.sampled_from([10_000_000, 5_000_000, 1_000_000, 500_000, 100_000]))
def test_distances_become_increments_as_the_oracle_says(value, increment):
    from orbresearch.rules import to_increments

    assert to_increments(value, increment) == oracle.to_increments(value, increment)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([10_000_000, 5_000_000, 1_000_000, 500_000, 100_000]))
def test_costs_become_whole_numbers_as_the_oracle_says(commission, slippage, increment):
    from orbresearch.rules import Rules, find_costs

    costs = find_costs(Rules(commission=commission, slippage=slippage), increment)
    assert (costs.q, costs.trade, costs.limit_trade) == oracle.cost_scale(commission, slippage, increment)


@given(st.lists(st.integers(1, 10**6).map(lambda n: n / 10**4), min_size=1, max_size=20))
def test_the_increment_is_the_oracles(prices):
    import numpy as np

    from orbresearch.sessions.rows import Rows, find_increment

    rows = Rows("TEST", np.arange(len(prices)), np.array(prices))
    assert find_increment(rows) == oracle.increment_nanos(prices)[0]
