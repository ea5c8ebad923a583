"""Rules: what is not built is refused by name, `auto` is decided by the prices, costs are whole numbers."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from orbresearch import Rules
from orbresearch.errors import BadInput, NotBuilt
from orbresearch.rules import Costs, find_costs, to_increments, to_nanos

CENT, HALF, TENTH, FINEST = 10_000_000, 5_000_000, 1_000_000, 100_000

NOT_BUILT = [
    ("side", "long"),
    ("side", "short"),
    ("side", "opening_bar"),
    ("entry", "open"),
    ("entry_buffer", 0.05),
    ("entry_buffer", float("nan")),
    ("buffer_unit", "percent"),
    ("stop_unit", "percent"),
    ("stop_unit", "atr"),
    ("limit_unit", "R"),
    ("limit_unit", "percent"),
    ("stop_anchor", "opposite_edge"),
    ("stop_anchor", "opposite_entry"),
    ("entry_cutoff", 3600),
    ("entry_cutoff", 0),
    ("exit_time", 20_000),
    ("select", "weekday == 0"),
    ("select", ["2024-01-02"]),
    ("measure", "dollars"),
]


@pytest.mark.parametrize(("name", "value"), NOT_BUILT)
def test_a_rule_that_is_not_built_is_refused_by_name_and_never_ignored(name, value):
    with pytest.raises(NotBuilt) as refused:
        Rules(**{name: value})
    assert refused.value.what == name
    assert repr(value) in str(refused.value)
    assert "is not built yet; this version computes" in str(refused.value)


def test_the_defaults_of_rules_that_are_not_built_may_be_said():
    said = Rules(side="both", entry="breakout", entry_buffer=0, stop_anchor="entry", exit_time=None, measure="return")
    assert said == Rules()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fill", "best"),
        ("fill", None),
        ("fill", ["seen"]),
        ("side", "up"),
        ("entry", "close"),
        ("stop_anchor", "exit"),
        ("measure", "R"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_choices(name, value):
    with pytest.raises(BadInput, match=rf"^{name}: .* is not a rule; choose one of ") as refused:
        Rules(**{name: value})
    assert not isinstance(refused.value, NotBuilt)
    assert repr(value) in refused.value.wrong


@pytest.mark.parametrize("name", ["commission", "slippage", "tick_size"])
@pytest.mark.parametrize("bad", [-0.01, float("nan"), float("inf"), True, "free", None, [0.01], 1j])
def test_an_amount_that_is_none_is_refused_by_name_and_value(name, bad):
    with pytest.raises(BadInput) as refused:
        Rules(**{name: bad})
    assert refused.value.what == name
    assert repr(bad) in refused.value.wrong


@pytest.mark.parametrize("bad", [0, 0.0, 1e-10])
def test_a_tick_size_is_above_zero(bad):
    with pytest.raises(BadInput, match=r"tick_size: .* is not dollars above 0"):
        Rules(tick_size=bad)


@pytest.mark.parametrize("name", ["commission", "slippage"])
def test_an_amount_beyond_all_measure_is_refused_by_name(name):
    with pytest.raises(BadInput, match=name):
        find_costs(Rules(**{"slippage": 0.0, name: 1e300}), CENT)


def test_an_unknown_rule_is_no_argument():
    with pytest.raises(TypeError, match="sides"):
        Rules(sides="both")


@pytest.mark.parametrize(
    ("bars", "fill", "slippage"),
    [(False, "seen", 0.0), (True, "level", 0.01)],
)
def test_auto_is_decided_by_what_the_prices_are(bars, fill, slippage):
    found = Rules().resolve(bars=bars)
    assert (found.fill, found.slippage) == (fill, slippage)
    assert found.resolve(bars=not bars) == found  # decided once


def test_what_was_said_is_not_decided_again():
    for bars in (False, True):
        found = Rules(fill="seen", slippage=0.02).resolve(bars=bars)
        assert (found.fill, found.slippage) == ("seen", 0.02)
        assert Rules(slippage=0).resolve(bars=bars).slippage == 0


def test_auto_slippage_on_bars_is_one_tick_of_the_market():
    assert Rules(tick_size=0.05).resolve(bars=True).slippage == 0.05
    assert Rules(tick_size=0.05).resolve(bars=False).slippage == 0.0


def test_resolving_does_not_change_the_rules_one_has():
    rules = Rules()
    rules.resolve(bars=True)
    assert (rules.fill, rules.slippage) == ("auto", "auto")
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.fill = "level"


#: commission, slippage, increment -> q, cost of a trade, cost of a trade that ends at its limit
COSTS = [
    (0.0, 0.0, CENT, (1, 0, 0)),
    (0.0, 0.01, CENT, (1, 2, 1)),
    (0.0, 0.005, CENT, (2, 2, 1)),
    (0.005, 0.0, CENT, (1, 1, 1)),
    (0.0005, 0.005, CENT, (10, 11, 6)),
    (0.0005, 0.005, FINEST, (1, 110, 60)),
    (0.0, 0.001, CENT, (10, 2, 1)),
    (0.0, 0.002, CENT, (5, 2, 1)),
    (0.0035, 0.0, CENT, (10, 7, 7)),
    (0.0, 0.0005, CENT, (20, 2, 1)),
    (0.0001, 0.0, CENT, (50, 1, 1)),
    (0.0, 0.0001, CENT, (100, 2, 1)),
    (0.00005, 0.0, CENT, (100, 1, 1)),
    (0.0, 0.00005, CENT, (200, 2, 1)),
    (0.00001, 0.0, CENT, (500, 1, 1)),
    (0.000005, 0.0, CENT, (1000, 1, 1)),
    (0.0033, 0.0, CENT, (50, 33, 33)),
    (0.00333, 0.0, CENT, (500, 333, 333)),
    (0.0033333, 0.0, CENT, (1000, 667, 667)),  # 666.66 is rounded up
    (0.000001, 0.0, CENT, (1000, 1, 1)),  # .2 is rounded up: a cost never vanishes
    (0.0, 0.000001, CENT, (1000, 1, 1)),
    (0.0, 0.01, HALF, (1, 4, 2)),
    (0.0, 0.0025, HALF, (2, 2, 1)),
    (0.0, 0.01, TENTH, (1, 20, 10)),
]


@pytest.mark.parametrize(("commission", "slippage", "increment", "expected"), COSTS)
def test_costs_are_whole_with_the_smallest_q(commission, slippage, increment, expected):
    assert find_costs(Rules(commission=commission, slippage=slippage), increment) == Costs(*expected)


def test_costs_need_a_slippage_that_is_decided():
    with pytest.raises(BadInput, match="slippage: 'auto' is not decided; resolve the rules first"):
        find_costs(Rules(), CENT)


@pytest.mark.parametrize(
    ("dollars", "increment", "expected"),
    [
        (0.07, CENT, 7),
        (0.075, CENT, 8),
        (0.29, CENT, 29),
        (0.57, CENT, 57),
        (1.15, CENT, 115),
        (0.001, CENT, 1),
        (1e-9, CENT, 1),
        (0.0701, CENT, 8),
        (0.07, FINEST, 700),
        (19, CENT, 1900),
        (0.1 + 0.2, CENT, 30),
    ],
)
def test_dollars_become_increments_by_an_exact_ceiling(dollars, increment, expected):
    assert to_increments(dollars, increment) == expected


def test_every_cent_is_its_own_number_of_cents():
    assert all(to_increments(cents / 100, CENT) == cents for cents in range(1, 100_001))
    assert all(to_nanos(cents / 100) == cents * CENT for cents in range(1, 100_001))


def test_rules_are_their_document():
    rules = Rules(commission=0.0005, slippage=0.005, fill="level")
    assert Rules(**json.loads(json.dumps(rules.document()))) == rules
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_the_same_amount_is_the_same_rule_however_it_was_written():
    one = Rules(commission=0, slippage=1, tick_size=1)
    other = Rules(commission=0.0, slippage=np.float64(1), tick_size=1.0)
    assert json.dumps(one.document()) == json.dumps(other.document())
    assert json.dumps(Rules(entry_buffer=0).document()) == json.dumps(Rules().document())
