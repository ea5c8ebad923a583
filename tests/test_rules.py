"""Rules: what makes no sense is refused by name, `auto` is decided by the prices, costs are whole numbers."""

import dataclasses
import datetime
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import Rules
from orbresearch.errors import BadInput
from orbresearch.rules import Costs, find_costs, to_increments, to_nanos

CENT, HALF, TENTH, FINEST = 10_000_000, 5_000_000, 1_000_000, 100_000


def test_the_defaults_may_be_said():
    said = Rules(side="both", entry="breakout", entry_buffer=0, stop_anchor="entry", exit_time=None, measure="return")
    assert said == Rules()
    assert said.differing() == {}
    assert Rules(side="long", exit_time=3600).differing() == {"side": "long", "exit_time": 3600}


#: rules that make no sense together, the one that is named, and the reason
NONSENSE = [
    ({"entry": "open"}, "entry", r"takes the opening bar's direction, but side is 'both'; give side='opening_bar'"),
    ({"entry": "open", "side": "long"}, "entry", r"but side is 'long'"),
    ({"entry": "open", "side": "opening_bar", "entry_buffer": 0.1}, "entry_buffer", r"0\.1 .* waits for no edge"),
    ({"entry": "open", "side": "opening_bar", "stop_anchor": "opposite_entry"}, "stop_anchor", r"no entry level"),
    ({"stop_unit": "R"}, "stop_unit", r"R is a multiple of the stop distance"),
    ({"buffer_unit": "R", "entry_buffer": 1}, "buffer_unit", r"R is a multiple of the stop distance"),
    ({"buffer_unit": "percent"}, "buffer_unit", r"'percent', but entry_buffer is 0; give an entry_buffer above 0"),
    ({"buffer_unit": "atr", "entry_buffer": 0.0}, "buffer_unit", r"'atr', but entry_buffer is 0"),
    ({"entry_cutoff": 7201, "exit_time": 7200}, "entry_cutoff", r"until second 7201, but the day ends at 7200"),
]


@pytest.mark.parametrize(("said", "name", "reason"), NONSENSE, ids=lambda given: str(given)[:40])
def test_rules_that_make_no_sense_together_are_refused_with_the_reason(said, name, reason):
    with pytest.raises(BadInput, match=rf"^{name}: .*{reason}"):
        Rules(**said)


@pytest.mark.parametrize(
    "said",
    [
        {"entry": "open", "side": "opening_bar", "stop_anchor": "opposite_edge"},
        {"limit_unit": "R", "stop_unit": "atr", "stop_anchor": "opposite_entry"},
        {"entry_buffer": 0.1, "buffer_unit": "percent"},
        {"entry_cutoff": 7200, "exit_time": 7200},
        {"entry_cutoff": 23_400, "side": "opening_bar"},
    ],
)
def test_rules_that_do_are_taken(said):
    assert Rules(**said).differing() == said


@pytest.mark.parametrize("name", ["buffer_unit", "stop_unit", "limit_unit"])
@pytest.mark.parametrize("bad", [None, "", 5, ["atr"], float("nan")], ids=repr)
def test_what_is_no_unit_is_refused_with_what_is_one(name, bad):
    with pytest.raises(BadInput, match=rf"^{name}: .* is no unit; give dollars, percent.* column of") as refused:
        Rules(**{"entry_buffer": 0.1, name: bad})
    assert ("R or" in refused.value.fix) == (name == "limit_unit")


@pytest.mark.parametrize("name", ["entry_cutoff", "exit_time"])
@pytest.mark.parametrize(
    "bad", [0, -60, 0.5, float("nan"), float("inf"), True, "3600", [3600], 1j, 10**400], ids=lambda bad: repr(bad)[:9]
)
def test_a_second_that_is_none_is_refused_by_name_and_value(name, bad):
    with pytest.raises(BadInput, match=f"^{name}: ") as refused:
        Rules(**{name: bad})
    assert repr(bad) in refused.value.wrong
    assert "seconds since the open" in refused.value.wrong


def test_a_second_may_be_any_whole_number():
    for one in (3600, 3600.0, np.float64(3600)):
        rules = Rules(entry_cutoff=one, exit_time=one)
        assert json.dumps(rules.document()) == json.dumps(Rules(entry_cutoff=3600, exit_time=3600).document())


# Conditions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ([], None),
        ((), None),
        (("weekday", "==", 0), (("weekday", "==", 0),)),
        (["weekday", "==", 0], (("weekday", "==", 0),)),
        ([("weekday", "in", [0, 1]), ("gap", "<", 0.5)], (("weekday", "in", (0, 1)), ("gap", "<", 0.5))),
        (("weekday", "in", np.array([0, 1])), (("weekday", "in", (0, 1)),)),
        (("weekday", "not in", range(2)), (("weekday", "not in", (0, 1)),)),
        (("gap", ">", np.float64(0.5)), (("gap", ">", 0.5),)),
        (("date", ">=", "2024-06-03"), (("date", ">=", "2024-06-03"),)),
        (("date", "==", datetime.date(2024, 6, 3)), (("date", "==", "2024-06-03"),)),
        (("date", "==", pd.Timestamp("2024-06-03")), (("date", "==", "2024-06-03"),)),
        (("date", "==", np.datetime64("2024-06-03")), (("date", "==", "2024-06-03"),)),
        (("date", "in", pd.DatetimeIndex(["2024-06-03"])), (("date", "in", ("2024-06-03",)),)),
    ],
    ids=str,
)
def test_a_condition_is_kept_as_plain_values(given, expected):
    found = Rules(select=given)
    assert found.select == expected
    assert Rules(**json.loads(json.dumps(found.document()))) == found
    assert hash(found) == hash(Rules(select=expected))


@pytest.mark.parametrize(
    "bad",
    [
        "weekday == 0",
        "",
        5,
        {"weekday": 0},
        ("weekday", "=="),
        ("weekday", "==", 0, 1),
        ("weekday", "=", 0),
        ("weekday", ["=="], 0),
        ("weekday", None, 0),
        (0, "==", "weekday"),
        [()],
        [("weekday", "==", 0), "date"],
        [[("weekday", "==", 0)]],
        ("weekday", "==", "0"),
        ("weekday", "==", None),
        ("weekday", "==", float("nan")),
        ("weekday", "<", float("inf")),
        ("weekday", "==", 1j),
        ("weekday", "==", 10**400),
        ("weekday", "==", [0]),
        ("weekday", "in", 0),
        ("weekday", "in", "01"),
        ("weekday", "in", [0, "1"]),
        ("date", "in", "2024-06-03"),
        ("date", "==", ["2024-06-03"]),
        ("date", "==", "no day"),
        ("date", "==", "2024-13-01"),
        ("date", ">=", None),
        ("date", ">=", float("nan")),
        ("date", ">=", pd.NaT),
        ("date", ">=", 20240603),
    ],
    ids=lambda bad: repr(bad)[:45],
)
def test_what_is_no_condition_is_refused(bad):
    with pytest.raises(BadInput, match=r"^select: "):
        Rules(select=bad)


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
    assert repr(value) in refused.value.wrong


@pytest.mark.parametrize("name", ["commission", "slippage", "tick_size", "entry_buffer"])
@pytest.mark.parametrize("bad", [-0.01, float("nan"), float("inf"), True, "free", None, [0.01], 1j])
def test_an_amount_that_is_none_is_refused_by_name_and_value(name, bad):
    with pytest.raises(BadInput) as refused:
        Rules(**{name: bad})
    assert refused.value.what == name
    assert repr(bad) in refused.value.wrong


@pytest.mark.parametrize("bad", [0, 0.0, 1e-10])
def test_a_tick_size_is_above_zero(bad):
    with pytest.raises(BadInput, match=r"tick_size: .* is not a number above 0"):
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


AMOUNTS = st.floats(0, 1e6) | st.integers(0, 100)
UNITS = st.sampled_from(["dollars", "percent", "range", "atr", "vix"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
DATES = st.dates(datetime.date(1990, 1, 1), datetime.date(2040, 1, 1))


def conditions(columns, values):
    one = st.tuples(columns, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), values)
    several = st.tuples(columns, st.sampled_from(["in", "not in"]), st.lists(values, max_size=4))
    return one | several


@st.composite
def any_rules(draw):
    said = {
        "commission": draw(AMOUNTS),
        "slippage": draw(AMOUNTS | st.just("auto")),
        "fill": draw(st.sampled_from(["auto", "level", "seen"])),
        "side": draw(st.sampled_from(["both", "long", "short", "opening_bar"])),
        "entry_buffer": draw(st.floats(1e-6, 10)),
        "buffer_unit": draw(UNITS),
        "stop_unit": draw(UNITS),
        "limit_unit": draw(UNITS | st.just("R")),
        "stop_anchor": draw(st.sampled_from(["entry", "opposite_edge", "opposite_entry"])),
        "entry_cutoff": draw(st.none() | st.integers(1, 10**6)),
        "measure": draw(st.sampled_from(["return", "dollars"])),
        "tick_size": draw(st.floats(1e-6, 10)),
    }
    said["exit_time"] = draw(st.none() | st.integers(said["entry_cutoff"] or 1, 10**6))
    columns = st.sampled_from(["weekday", "gap", "vix"])
    said["select"] = draw(
        st.none() | st.lists(conditions(st.just("date"), DATES) | conditions(columns, NUMBERS), max_size=3)
    )
    return Rules(**said)


@given(any_rules())
def test_rules_are_their_document(rules):
    again = Rules(**json.loads(json.dumps(rules.document())))
    assert again == rules
    assert hash(again) == hash(rules)
    assert json.dumps(again.document()) == json.dumps(rules.document())  # so that the id is the same
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_the_same_amount_is_the_same_rule_however_it_was_written():
    one = Rules(commission=0, slippage=1, tick_size=1)
    other = Rules(commission=0.0, slippage=np.float64(1), tick_size=1.0)
    assert json.dumps(one.document()) == json.dumps(other.document())
    assert json.dumps(Rules(entry_buffer=0).document()) == json.dumps(Rules().document())


def document(**said):
    return json.dumps(Rules(**said).document())


@pytest.mark.parametrize("name", ["commission", "slippage", "entry_buffer"])
def test_a_negative_zero_is_zero(name):
    assert document(**{name: -0.0}) == document(**{name: 0})


def test_the_same_condition_is_the_same_rule_however_its_number_was_written():
    expected = document(select=("weekday", "==", 0))
    for zero in (0.0, -0.0, False, np.int64(0)):
        assert document(select=("weekday", "==", zero)) == expected
