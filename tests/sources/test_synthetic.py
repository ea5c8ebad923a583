"""The synthetic market: the same for everyone, true to the calendar, and without anything to earn."""

import functools
import math

import numpy as np
import pytest

from orbresearch import ParameterGrid, run_grid, synthetic_sessions
from orbresearch.errors import BadInput
from orbresearch.sources.synthetic.sessions import synthetic_prices, synthetic_schedule
from tests.sources import market

LONG, SEEDS = 1500, (0, 1, 2)


@functools.cache
def made(count=20, seed=0, start="2024-06-24"):
    return synthetic_sessions(count, seed, start=start)


@functools.cache
def daily_returns(seed):
    """Return the return from the open to the close of many sessions, and from each close to the next open."""
    schedule = synthetic_schedule(LONG, "2018-01-02")
    time, price = synthetic_prices(schedule, seed)
    first = np.searchsorted(time, schedule.opens)
    last = np.searchsorted(time, schedule.closes, "right") - 1
    return price[last] / price[first] - 1, price[first[1:]] / price[last[:-1]] - 1


def test_the_same_seed_makes_the_same_market():
    market.same(synthetic_sessions(20, 0, start="2024-06-24"), made())
    assert synthetic_sessions(2, 5).fingerprint == synthetic_sessions(2, seed=5).fingerprint


def test_the_prices_are_the_same_on_any_machine():
    found = synthetic_sessions(2, seed=7)
    assert found.dates.astype(str).tolist() == ["2024-01-02", "2024-01-03"]
    assert np.diff(found.pointers).tolist() == [17_328, 17_246]
    assert found.columns["price"][[0, 1, 2, -1]].tolist() == [40_005, 39_992, 39_991, 39_674]


def test_another_seed_makes_another_market():
    one, other = made(2), made(2, seed=1)
    assert len(one.columns["price"]) != len(other.columns["price"])
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("count", [1, 7, 19])
def test_more_sessions_extend_the_market(count):
    short, long = synthetic_sessions(count, start="2024-06-24"), made()
    stop = short.pointers[-1]
    assert stop == long.pointers[count]
    for name, column in short.columns.items():
        np.testing.assert_array_equal(column, long.columns[name][:stop])
    np.testing.assert_array_equal(short.schedule.opens, long.schedule.opens[:count])


def test_a_full_session_has_about_12_000_price_changes():
    found = made()
    full = found.schedule.closes - found.schedule.opens == 23_400
    changes = np.array([np.count_nonzero(np.diff(found.observations(i)["price"])) for i in range(len(found))])
    assert full.sum() == 19
    assert changes[full].min() > 11_700
    assert changes[full].max() < 12_500
    assert changes[full].mean() == pytest.approx(12_121, rel=0.01)  # 23,401 x .74 x .70
    assert 6_100 < changes[~full].item() < 6_700  # half a day, half the changes


def test_about_a_quarter_of_the_seconds_has_no_trade():
    found = made()
    seconds = found.schedule.closes - found.schedule.opens + 1
    shares = 1 - np.diff(found.pointers) / seconds
    assert shares.mean() == pytest.approx(0.26, abs=0.002)
    assert np.abs(shares - 0.26).max() < 0.02


def test_prices_are_whole_cents_once_a_second():
    found = made()
    assert (found.increment, found.bar_seconds, found.ticker) == (0.01, 0, "SYNTHETIC")
    assert "synthetic market without edge, seed 0" in found.source
    for i in range(len(found)):
        assert (np.diff(found.observations(i)["time"]) > 0).all()
    assert found.columns["price"].min() > 0
    assert found.quality.summary == "nothing to remark"


@pytest.mark.parametrize("start", ["2024-03-04", "2024-06-24", "2024-10-28", "2024-11-20", "2024-12-18"])
def test_daylight_saving_and_half_days_are_those_of_the_calendar(start):
    found = synthetic_sessions(10, start=start)
    calendar = market.calendar("2024-01-01", "2025-12-31")
    days = calendar.sessions_in_range(start, "2025-12-31")[:10]
    assert found.dates.tolist() == days.tolist()
    assert found.schedule.opens.tolist() == [int(calendar.session_open(day).timestamp()) for day in days]
    assert found.schedule.closes.tolist() == [int(calendar.session_close(day).timestamp()) for day in days]
    for i in range(10):
        length = found.schedule.closes[i] - found.schedule.opens[i]
        time = found.observations(i)["time"]
        assert 0 <= time[0] < 30
        assert length - 30 < time[-1] <= length


def test_the_start_may_be_a_day_without_a_session():
    assert str(synthetic_sessions(1, start="2024-07-04").dates[0].date()) == "2024-07-05"


def within_three_errors(values):
    return abs(values.mean()) < 3 * values.std(ddof=1) / math.sqrt(len(values))


@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_no_drift_in_a_session_nor_overnight(seed):
    inside, overnight = daily_returns(seed)
    assert len(inside) == LONG
    assert within_three_errors(inside)
    assert within_three_errors(overnight)
    assert 0.003 < inside.std() < 0.02  # as much as a share index moves in a day


@pytest.mark.parametrize("seed", SEEDS)
def test_one_day_says_nothing_about_the_next(seed):
    inside, overnight = daily_returns(seed)
    for one, other in ((inside[:-1], inside[1:]), (overnight, inside[1:]), (inside[:-1], overnight)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 3 / math.sqrt(len(one))


@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_nothing_to_earn_with_breakouts(seed):
    grid = ParameterGrid([0.3, 1.0], [1, 3], [30], [0.5, 2.0])
    table = run_grid(synthetic_sessions(120, seed), grid, 300)
    errors = table["sharpe_ratio"] / math.sqrt(252) * math.sqrt(120)  # the mean daily return in standard errors
    assert errors.abs().max() < 3
    assert (table["sessions_traded"] > 60).all()


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "3", None])
def test_what_is_no_number_of_sessions_is_refused(count):
    with pytest.raises(BadInput, match=r"n_sessions: .* is no number of sessions; give 1 or more"):
        synthetic_sessions(count)


@pytest.mark.parametrize("start", ["soon", "", None])
def test_a_start_that_is_no_date_is_refused(start):
    with pytest.raises(BadInput, match="start"):
        synthetic_sessions(1, start=start)


def test_more_sessions_than_the_calendar_knows_are_refused():
    with pytest.raises(BadInput, match="calendar: XNYS does not reach"):
        synthetic_sessions(100_000)


@pytest.mark.parametrize("seed", [-1, 1.5, "seed"])
def test_a_seed_that_is_none_is_refused_by_name(seed):
    with pytest.raises(BadInput, match="seed"):
        synthetic_sessions(1, seed)
