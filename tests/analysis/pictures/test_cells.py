"""Cells of heat maps against pandas' groupby, and against bins by numpy where axes are scales."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.pandas import column, data_frames, range_indexes

from orbresearch.analysis.pictures.cells import MOST_VALUES, find_cells
from orbresearch.errors import BadInput

NAN = float("nan")
AGGREGATES = {"best": "max", "mean": "mean", "median": "median"}
FRAMES = data_frames(
    [
        column("a", elements=st.sampled_from([0.5, 0.1, 2.0, NAN])),
        column("b", elements=st.sampled_from([3, 1, 2]), dtype=np.int64),
        column("v", elements=st.floats(-1e6, 1e6) | st.just(NAN)),
    ],
    index=range_indexes(min_size=1, max_size=60),
).filter(lambda frame: frame["v"].notna().any())


def table(cells) -> dict[tuple, float]:
    """Return the cells that have a value, by what they stand for; NaN as text."""
    return {
        (str(x), str(y)): cells.values[j, i]
        for i, x in enumerate(cells.x.values)
        for j, y in enumerate(cells.y.values)
        if not np.isnan(cells.values[j, i])
    }


@given(FRAMES, st.sampled_from(sorted(AGGREGATES)))
def test_cells_equal_a_groupby(frame, how):
    grouped = frame.groupby(["a", "b"], dropna=False)["v"].agg(AGGREGATES[how]).dropna()
    found = table(find_cells(frame, "a", "b", "v", how))
    assert found.keys() == {(str(a), str(b)) for a, b in grouped.index}
    for (a, b), value in grouped.items():
        assert found[str(a), str(b)] == pytest.approx(value, rel=1e-9, abs=1e-6)


@given(FRAMES)
def test_values_of_axes_are_sorted_and_no_limit_comes_last(frame):
    values = find_cells(frame, "a", "b", "v").x.values
    assert np.array_equal(values, np.sort(values), equal_nan=True)


@given(FRAMES)
def test_an_arrow_table_gives_the_same_cells(frame):
    again = pa.Table.from_pandas(frame, preserve_index=False)
    assert table(find_cells(again, "a", "b", "v")) == table(find_cells(frame, "a", "b", "v"))


@given(FRAMES)
def test_the_best_row_of_a_cell_has_its_value(frame):
    cells = find_cells(frame, "a", "b", "v")
    for i, x in enumerate(cells.x.centres):
        for j, y in enumerate(cells.y.centres):
            row = cells.best_row_at(x, y)
            if np.isnan(cells.values[j, i]):
                assert row is None
            else:
                assert frame["v"][row] == cells.values[j, i]
                assert frame["b"][row] == cells.y.values[j]
    assert frame["v"][cells.best_row] == frame["v"].max()


@pytest.mark.parametrize("how", sorted(AGGREGATES))
@pytest.mark.parametrize("first_hidden", [False, True])
def test_axes_of_many_numbers_are_divided_into_stretches(how, first_hidden):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"a": rng.uniform(1, 9, 5000), "b": rng.integers(0, 3, 5000), "v": rng.normal(size=5000)})
    if first_hidden:  # the first rows show one value only, as a grid's slowest parameter does
        frame.loc[:2000, "a"] = 1.0
    cells = find_cells(frame, "a", "b", "v", how)
    assert cells.x.fine
    assert not cells.y.fine
    edges = np.linspace(frame["a"].min(), frame["a"].max(), MOST_VALUES + 1)
    bins = np.clip(np.digitize(frame["a"], edges) - 1, 0, MOST_VALUES - 1)
    expected = np.full((3, MOST_VALUES), NAN)
    for (b, at), value in frame.groupby(["b", bins])["v"].agg(AGGREGATES[how]).items():
        expected[b, at] = value
    np.testing.assert_allclose(cells.values, expected, rtol=1e-9)
    assert frame["v"][cells.best_row_at(frame["a"][4000], frame["b"][4000])] >= frame["v"][4000]


def test_what_has_no_place_on_a_scale_takes_no_part():
    frame = pd.DataFrame({"a": [*np.linspace(0, 1, 300), NAN], "b": 1, "v": [*np.zeros(300), 5.0]})
    cells = find_cells(frame, "a", "b", "v")
    assert np.isnan(cells.each[-1])
    assert np.nanmax(cells.values) == 0


def test_backtests_that_may_not_be_called_best_take_no_part():
    frame = pd.DataFrame({"a": [1, 1, 1], "b": 1, "v": [1.0, 2.0, 3.0], "sessions_traded": [40, 29, 40]})
    frame["resolved"] = [1, 1, 0]
    assert find_cells(frame, "a", "b", "v", least_sessions=30).values.tolist() == [[1.0]]
    assert find_cells(frame, "a", "b", "v").values.tolist() == [[3.0]]


def test_words_are_an_axis_too():
    frame = pd.DataFrame({"ticker": ["SPY", "BAC", "SPY"], "b": [1, 1, 2], "v": [1.0, 2.0, 3.0]})
    cells = find_cells(frame, "ticker", "b", "v")
    assert list(cells.x.values) == ["BAC", "SPY"]
    np.testing.assert_array_equal(cells.values, [[2.0, 1.0], [NAN, 3.0]])


ROWS = [{"a": 1, "b": 2, "v": 3.0, "word": "x"}]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("a", "b", "w"), "no column 'w'; give one of a, b, v, word"),
        (("a", "a", "v"), "are not three columns"),
        (("a", "b", "word"), "holds no numbers"),
        (("a", "b", "v", "worst"), "'worst' is unknown; give one of best, mean, median"),
    ],
)
def test_what_cannot_be_drawn_is_refused(asked, said):
    with pytest.raises(BadInput, match=said):
        find_cells(ROWS, *asked)


def test_nothing_defined_is_refused_with_the_way_out():
    frame = pd.DataFrame({"a": [1], "b": [1], "v": [1.0], "sessions_traded": [3]})
    with pytest.raises(BadInput, match="with 30 traded sessions; give other rows, or min_sessions=0"):
        find_cells(frame, "a", "b", "v", least_sessions=30)
