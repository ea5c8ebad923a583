"""Parameters: exact in decimal, in the order of the run, and refused by name and value where they are none."""

import itertools
import json
import pickle
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import ParameterGrid, ParameterList, frange, run_grid, seed_grid, synthetic_sessions
from orbresearch.errors import BadInput
from orbresearch.grid import read_grid, read_points

GOOD = {"stop_distance": 0.5, "stop_count_limit": 3, "stop_cooloff_period": 60, "limit_distance": 2}
DISTANCES, COUNTS = ("stop_distance", "limit_distance"), ("stop_count_limit", "stop_cooloff_period")
LEAST = {"stop_distance": "0 or more", "limit_distance": "above 0"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.1, 0.4, 0.1), (0.1, 0.2, 0.3)),
        ((0.1, 2, 0.1), tuple(round(i / 10, 1) for i in range(1, 20))),
        ((0, 1, 0.25), (0.0, 0.25, 0.5, 0.75)),
        ((0.05, 0.2, 0.05), (0.05, 0.1, 0.15)),
        ((1, 1.0001, 0.0001), (1.0,)),
        ((-0.2, 0.11, 0.1), (-0.2, -0.1, 0.0, 0.1)),
        ((0.07, 0.1, 0.01), (0.07, 0.08, 0.09)),
        ((1, 2, 5), (1.0,)),
        (("0.1", "0.3", "0.1"), (0.1, 0.2)),
        ((Decimal("0.1"), 0.3, np.float64(0.1)), (0.1, 0.2)),
    ],
)
def test_a_range_of_decimals_is_exact_and_half_open(arguments, expected):
    assert frange(*arguments) == expected


def test_a_long_range_does_not_drift():
    found = frange(0, 1000, 0.001)
    assert len(found) == 1_000_000
    assert found[123_456] == 123.456
    assert found[-1] == 999.999


@pytest.mark.parametrize("arguments", [(1, 1, 0.1), (2, 1, 0.1), (0.3, 0.3, 0.1)])
def test_a_range_that_ends_where_it_begins_is_empty(arguments):
    assert frange(*arguments) == ()
    with pytest.raises(BadInput, match="stop_distance: an empty list; give at least one value"):
        ParameterGrid(**{**GOOD, "stop_distance": frange(*arguments)})


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 1, 0),
        (0, 1, -0.1),
        (0, float("nan"), 0.1),
        (float("inf"), 1, 0.1),
        (0, 1, float("inf")),
        ("a", 1, 0.1),
        (None, 1, 0.1),
        (True, 2, 0.1),
    ],
)
def test_what_is_no_range_is_refused(arguments):
    with pytest.raises(BadInput, match=r"frange: .* is no range; give finite numbers and a step above 0"):
        frange(*arguments)


def test_the_seed_grid_has_9747_points():
    grid = seed_grid()
    assert len(grid) == 9747
    assert grid.shape == (19, 3, 9, 19)
    assert grid.stop_distance[:3] == (0.1, 0.2, 0.3)
    assert grid.stop_distance[-1] == 1.9
    assert grid.stop_count_limit == (1, 2, 3)
    assert grid.stop_cooloff_period == (30, 60, 90, 120, 150, 180, 210, 240, 270)
    assert grid.limit_distance == tuple(map(float, range(1, 20)))


def test_the_last_parameter_is_the_fastest():
    grid = ParameterGrid([0.1, 0.2], [1, 2], [30, 60], [1, 2, 3])
    points = [tuple(point.values()) for point in grid]
    assert points == list(itertools.product([0.1, 0.2], [1, 2], [30, 60], [1.0, 2.0, 3.0]))
    assert list(next(iter(grid))) == list(GOOD)


@pytest.mark.parametrize(("start", "stop"), [(0, 24), (5, 6), (7, 19), (23, 24), (4, 4)])
def test_any_stretch_of_points_is_that_of_the_whole(start, stop):
    grid = ParameterGrid([0.1, 0.2], [1, 2], [30, 60], [1, 2, 3])
    found = grid.points(start, stop)
    expected = list(grid)[start:stop]
    assert {name: column.tolist() for name, column in found.items()} == {
        name: [point[name] for point in expected] for name in GOOD
    }


def test_values_keep_the_order_in_which_they_were_given():
    assert ParameterGrid([0.5, 0.1], 1, 0, 1).stop_distance == (0.5, 0.1)


@pytest.mark.parametrize(
    "given",
    [
        [1, 2],
        (1.0, 2.0),
        range(1, 3),
        np.array([1, 2]),
        np.array([1.0, 2.0]),
        pd.Series([1, 2]),
        (i for i in (1, 2)),
        {1: "a", 2: "b"},
        [np.int64(1), np.float64(2.0)],
    ],
    ids=lambda given: type(given).__name__,
)
def test_values_may_come_in_anything_that_can_be_walked(given):
    given = list(given)
    grid = ParameterGrid(given, given, given, given)
    assert grid == ParameterGrid([1.0, 2.0], [1, 2], [1, 2], [1.0, 2.0])
    assert {type(value) for name in DISTANCES for value in getattr(grid, name)} == {float}
    assert {type(value) for name in COUNTS for value in getattr(grid, name)} == {int}


def test_a_single_value_counts_as_one():
    assert len(ParameterGrid(**GOOD)) == 1
    assert ParameterGrid(Decimal("0.1"), np.int64(1), 2.0, np.float32(1)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize(
    "bad",
    [-0.1, 1e-10, float("nan"), float("inf"), -float("inf"), True, "0.1", b"1", 1j, np.True_, Decimal("NaN")],
    ids=repr,
)
def test_a_distance_that_is_none_is_refused_by_name_and_value(name, bad):
    shown = repr(bad.item() if isinstance(bad, np.generic) else bad)
    for values in (bad, [1.0, bad], np.array([bad]) if isinstance(bad, float) else [bad]):
        with pytest.raises(BadInput) as refused:
            ParameterGrid(**{**GOOD, name: values})
        assert refused.value.what == name
        assert shown in refused.value.wrong
        assert refused.value.fix.startswith("give a number " + LEAST[name])


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(
    "bad", [-1, 1.5, float("nan"), float("inf"), True, "3", 2**31, 1e300, 10**400], ids=lambda bad: str(bad)[:9]
)
def test_a_count_that_is_none_is_refused_by_name_and_value(name, bad):
    for values in (bad, [1, bad]):
        with pytest.raises(BadInput) as refused:
            ParameterGrid(**{**GOOD, name: values})
        assert refused.value.what == name
        assert repr(bad) in refused.value.wrong


def test_no_stop_is_no_number_of_stops_but_no_pause_is_a_pause():
    with pytest.raises(BadInput, match=r"stop_count_limit: 0 is not from 1 to 2147483647; give 1 or more"):
        ParameterGrid(**{**GOOD, "stop_count_limit": 0})
    assert ParameterGrid(**{**GOOD, "stop_cooloff_period": 0}).stop_cooloff_period == (0,)
    assert ParameterGrid(**{**GOOD, "stop_cooloff_period": 2**31 - 1}).stop_cooloff_period == (2**31 - 1,)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("huge", [1e300, 10**400], ids=["1e300", "10**400"])
def test_a_distance_beyond_all_measure_is_refused_by_name(name, huge):
    with pytest.raises(BadInput, match=rf"^{name}: "):
        ParameterGrid(**{**GOOD, name: huge})


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("empty", [[], (), np.array([]), range(0), {}], ids=repr)
def test_an_empty_list_is_refused_by_name(name, empty):
    with pytest.raises(BadInput, match=f"^{name}: an empty list; give at least one value"):
        ParameterGrid(**{**GOOD, name: empty})


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, Decimal(0)])
def test_a_stop_may_lie_at_an_anchor_but_a_limit_never_at_the_entry(zero):
    found = ParameterGrid(**{**GOOD, "stop_distance": zero})
    assert found == ParameterGrid(**{**GOOD, "stop_distance": 0})
    assert json.dumps(found.document()["stop_distance"]) == "[0.0]"  # no negative zero: it would be another id
    with pytest.raises(BadInput, match=r"^limit_distance: .* is not above 0; give a number above 0"):
        ParameterGrid(**{**GOOD, "limit_distance": zero})


@pytest.mark.parametrize(("given", "expected"), [(None, (None,)), ([None], (None,)), ([2, None, 2], (2.0, None, 2.0))])
def test_no_limit_is_a_limit(given, expected):
    grid = ParameterGrid(**{**GOOD, "limit_distance": given})
    assert grid.limit_distance == expected
    assert [point["limit_distance"] for point in grid] == list(expected)
    limits = grid.points(0, len(grid))["limit_distance"]
    assert [None if np.isnan(limit) else limit for limit in limits] == list(expected)


@pytest.mark.parametrize("name", [name for name in GOOD if name != "limit_distance"])
def test_none_is_no_value_of_the_other_parameters(name):
    for values in (None, [None]):
        with pytest.raises(BadInput, match=f"^{name}: None") as refused:
            ParameterGrid(**{**GOOD, name: values})
        assert "limit" not in refused.value.wrong
        assert "None for" not in refused.value.fix


def test_a_refusal_survives_pickling():
    with pytest.raises(BadInput) as refused:
        ParameterGrid(**{**GOOD, "stop_distance": -1})
    again = pickle.loads(pickle.dumps(refused.value))
    assert (
        str(again)
        == str(refused.value)
        == "stop_distance: -1 is not 0 or more; give a number 0 or more, not finer than 1e-9"
    )


def test_a_grid_is_its_document():
    grid = seed_grid()
    assert ParameterGrid(**grid.document()) == grid
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert hash(ParameterGrid(**grid.document())) == hash(grid)


def test_a_grid_is_frozen():
    with pytest.raises(AttributeError):
        seed_grid().stop_distance = (1.0,)


# Lists

SETS = pd.DataFrame(
    {
        "stop_distance": [0.5, 0.1, 0.5],
        "stop_count_limit": [3, 1, 3],
        "stop_cooloff_period": [60, 0, 60],
        "limit_distance": [2, None, 2],
    }
)
POINTS = st.lists(
    st.tuples(
        st.floats(0, 1e6).map(lambda value: round(value, 9)),
        st.integers(1, 2**31 - 1),
        st.integers(0, 2**31 - 1),
        st.none() | st.floats(1e-8, 1e6),
    ),
    min_size=1,
    max_size=5,
)


def test_a_list_keeps_every_set_in_its_order():
    listed = ParameterList(SETS)
    assert len(listed) == 3
    assert [tuple(point.values()) for point in listed] == [(0.5, 3, 60, 2.0), (0.1, 1, 0, None), (0.5, 3, 60, 2.0)]
    assert list(next(iter(listed))) == list(GOOD)
    assert repr(listed) == "ParameterList(3 parameter sets)"


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, np.nan], ids=repr)
def test_a_missing_limit_of_a_list_is_none(missing):
    listed = ParameterList(SETS.astype({"limit_distance": object}).assign(limit_distance=[1, missing, 2.0]))
    assert [point["limit_distance"] for point in listed] == [1.0, None, 2.0]
    assert listed.values("limit_distance") == (1.0, None, 2.0)


def test_a_list_takes_rows_of_results():
    sessions, grid = synthetic_sessions(2), ParameterGrid([0.5, 1], 2, 60, [None, 2])
    rows = run_grid(sessions, grid)
    again = run_grid(sessions, ParameterList(rows.iloc[::-1]))
    for name in ("stop_distance", "limit_distance", "trades", "backtest_profit"):
        np.testing.assert_array_equal(again[name], rows[name][::-1])


@given(POINTS)
def test_a_list_is_its_document(points):
    listed = ParameterList(pd.DataFrame(points, columns=list(GOOD)))
    again = read_points(json.loads(json.dumps(listed.document())))
    assert isinstance(again, ParameterList)
    assert again == listed
    assert hash(again) == hash(listed)
    assert again.document() == listed.document()
    assert pickle.loads(pickle.dumps(listed)) == listed


@given(POINTS)
def test_a_grid_of_whatever_values_is_read_from_its_document(points):
    grid = ParameterGrid(*(list(column) for column in zip(*points, strict=True)))
    again = read_points(json.loads(json.dumps(grid.document())))
    assert isinstance(again, ParameterGrid)
    assert again == grid


def test_lists_of_other_sets_or_another_order_are_others():
    listed = ParameterList(SETS)
    assert listed == ParameterList(SETS.astype({"stop_count_limit": float}))
    assert listed != ParameterList(SETS.iloc[[1, 0, 2]])
    assert listed != ParameterList(SETS.iloc[:2])
    assert listed != list(listed)


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (1, 2), (2, 2)])
def test_any_stretch_of_a_list_is_that_of_the_whole(start, stop):
    found = ParameterList(SETS).points(start, stop)
    for name in GOOD:
        np.testing.assert_array_equal(found[name], SETS[name].to_numpy()[start:stop])


@pytest.mark.parametrize("name", GOOD)
def test_a_list_without_a_column_is_refused_with_those_it_wants(name):
    with pytest.raises(BadInput, match=rf"^ParameterList: no column {name}; give a DataFrame with the columns stop_d"):
        ParameterList(SETS.drop(columns=name))


@pytest.mark.parametrize("bad", [None, 3, [GOOD], GOOD, SETS["stop_distance"]], ids=lambda bad: type(bad).__name__)
def test_what_is_no_frame_is_no_list(bad):
    with pytest.raises(BadInput, match=r"^ParameterList: no column stop_distance, .*; give a DataFrame"):
        ParameterList(bad)


def test_a_list_without_rows_is_refused():
    with pytest.raises(BadInput, match=r"^ParameterList: no rows; give at least one parameter set"):
        ParameterList(SETS.iloc[:0])


def test_a_list_with_a_column_twice_is_refused():
    with pytest.raises(BadInput, match="stop_distance"):
        ParameterList(pd.concat([SETS, SETS[["stop_distance"]]], axis=1))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("stop_distance", -0.1),
        ("stop_distance", float("nan")),
        ("stop_distance", float("inf")),
        ("stop_distance", None),
        ("stop_distance", "0.1"),
        ("stop_count_limit", 0),
        ("stop_count_limit", 1.5),
        ("stop_count_limit", float("nan")),
        ("stop_cooloff_period", -1),
        ("stop_cooloff_period", True),
        ("stop_cooloff_period", pd.NA),
        ("limit_distance", 0),
        ("limit_distance", -1),
        ("limit_distance", float("inf")),
        ("limit_distance", "none"),
    ],
)
def test_a_bad_value_of_a_list_is_refused_by_name_and_value(name, bad):
    frame = SETS.astype({name: object})
    frame.loc[1, name] = bad
    with pytest.raises(BadInput) as refused:
        ParameterList(frame)
    assert refused.value.what == name
    assert repr(bad) in refused.value.wrong or "nan" in refused.value.wrong  # pandas makes None and NaN one


# --- grids in files


REST = "stop_count_limit: [1, 3]\nstop_cooloff_period: 60\nlimit_distance: [1, 2.5, null]\n"


def grid_file(tmp_path, text):
    path = tmp_path / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0.5", 0.5),
        ("[.1, 0.25, 3]", [0.1, 0.25, 3]),
        ("{start: .1, stop: .4, step: .1}", [0.1, 0.2, 0.3]),
        ("\n  start: 1\n  stop: 3\n  step: 1", [1, 2]),
        ("\n  - .1  # a remark\n  - 2", [0.1, 2]),
    ],
)
def test_a_file_says_a_grid_as_python_does(tmp_path, written, meant):
    found = read_grid(grid_file(tmp_path, f"stop_distance: {written}\n{REST}"))
    assert found == ParameterGrid(meant, [1, 3], 60, [1, 2.5, None])
    assert read_grid(str(tmp_path / "grid.yaml")) == found


def lists(least, most, integers=False):
    numbers = st.integers(least, most) if integers else st.floats(least, most).map(lambda value: round(value, 4))
    return st.lists(numbers, min_size=1, max_size=4)


@given(lists(0, 100), lists(1, 9, True), lists(0, 900, True), lists(1, 100), st.booleans())
def test_what_a_grid_says_of_itself_is_a_file_of_it(tmp_path_factory, stops, counts, cooloffs, limits, unlimited):
    grid = ParameterGrid(stops, counts, cooloffs, [*limits, *[None] * unlimited])
    path = tmp_path_factory.mktemp("grids") / "grid.yaml"
    path.write_text(yaml.safe_dump(grid.document()), encoding="utf-8")
    assert read_grid(path) == grid


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", r"grid grid\.yaml: it names no parameters; give stop_distance"),
        ("- 1\n", "names no parameters"),
        ("stop_distance: [1\n", r"expected ',' or '\]'.*give a YAML file"),
        (f"stop: 1\n{REST}", "stop is no parameter; give each of stop_distance, stop_count_limit"),
        (REST, "no stop_distance; give each of"),
        (f"stop_distance: 1\nstop_distance: 2\n{REST}", "stop_distance stands there twice"),
        (f"stop_distance: {{start: 1, stop: 2}}\n{REST}", r"stop_distance: \{start, stop\} is no range; give \{start:"),
        (f"stop_distance: {{start: 1, stop: x, step: 1}}\n{REST}", r"stop_distance: \(1, x, 1\) is no range"),
        (f"stop_distance: {{start: 2, stop: 1, step: 1}}\n{REST}", "stop_distance: an empty list"),
        (f"stop_distance: []\n{REST}", "stop_distance: an empty list; give at least one"),
        (f"stop_distance: wide\n{REST}", "stop_distance: 'wide' is no distance; give a number 0 or more"),
        (f"stop_distance: [[1]]\n{REST}", r"stop_distance: \[1\] is no distance"),
        (f"stop_distance: [null]\n{REST}", "stop_distance: None is no distance"),
        (f"stop_distance: -1\n{REST}", "-1 is not 0 or more"),
        (f"stop_distance: yes\n{REST}", "True is no distance"),
        (f"stop_distance: 1\n{REST.replace('60', '1.5')}", "stop_cooloff_period: 1.5 is no whole number"),
        (f"stop_distance: !!python/name:os.system\n{REST}", "could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_grid_is_refused_by_name(tmp_path, text, refusal):
    with pytest.raises(BadInput, match=refusal):
        read_grid(grid_file(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"grid none\.yaml: No such file"):
        read_grid(tmp_path / "none.yaml")
    (tmp_path / "grid.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"grid grid\.yaml: .*give a YAML file"):
        read_grid(tmp_path / "grid.yaml")


def test_the_example_among_the_notebooks_is_a_grid():
    found = read_grid(Path(__file__).parents[1] / "notebooks" / "grid.yaml")
    assert found.shape == (10, 2, 3, 8)
    assert found.limit_distance[-1] is None
