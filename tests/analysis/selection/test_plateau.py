"""Neighbourhoods against a loop over the neighbours of each point."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch.analysis.selection import plateau as module
from orbresearch.analysis.selection.plateau import plateau
from orbresearch.errors import BadInput

VALUES = st.sampled_from([math.nan, -3.0, -0.5, 0.0, 0.25, 2.0, 1e9])


@st.composite
def grids(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    radius = tuple(draw(st.integers(0, 2)) for _ in shape)
    size = math.prod(shape)
    return np.array(draw(st.lists(VALUES, min_size=size, max_size=size))), shape, radius


def around(values, shape, radius, at):
    """Return a point's neighbours that have a value, from a loop."""
    grid, found = values.reshape(shape), []
    for other in itertools.product(*(range(n) for n in shape)):
        near = all(abs(a - b) <= r for a, b, r in zip(at, other, radius, strict=True))
        if near and other != at and not math.isnan(grid[other]):
            found.append(float(grid[other]))
    return found


def test_examples_in_docstrings_hold():
    assert doctest.testmod(module).failed == 0


@given(grids())
def test_every_point_is_judged_by_its_own_neighbours(drawn):
    values, shape, radius = drawn
    found = plateau(values, shape, radius)
    for i, at in enumerate(itertools.product(*(range(n) for n in shape))):
        near, own = around(values, shape, radius, at), float(values[i])
        assert found.neighbours[i] == len(near)
        if math.isnan(own):
            assert np.isnan([found.score[i], found.share_of_peak[i], found.profitable[i], found.worst[i]]).all()
            continue
        assert found.score[i] == pytest.approx(math.fsum([*near, own]) / (len(near) + 1), rel=1e-12, abs=1e-6)
        assert found.worst[i] == pytest.approx(min(near, default=math.nan), nan_ok=True)
        share = sum(x > 0 for x in near) / len(near) if near else math.nan
        assert found.profitable[i] == pytest.approx(share, nan_ok=True)
        peak = found.score[i] / own if own > 0 else math.nan
        assert found.share_of_peak[i] == pytest.approx(peak, nan_ok=True)


def test_a_lone_peak_scores_below_a_plateau():
    grid = np.zeros((9, 9))
    grid[1, 1], grid[5:8, 5:8] = 3.0, 2.0
    found = plateau(grid.ravel(), grid.shape)
    best = np.unravel_index(np.argmax(found.score), grid.shape)
    assert best == (6, 6)
    assert (found.share_of_peak[6 * 9 + 6], found.profitable[6 * 9 + 6], found.worst[6 * 9 + 6]) == (1, 1, 2)
    assert found.share_of_peak[10] == pytest.approx(1 / 9)


def test_a_radius_of_nothing_is_the_point_itself():
    found = plateau([1.0, math.nan, 3.0], (3,), 0)
    assert found.score.tolist()[::2] == [1.0, 3.0]
    assert found.neighbours.tolist() == [0, 0, 0]
    assert np.isnan(found.worst).all()


@pytest.mark.parametrize(
    ("values", "shape", "radius"), [([1, 2, 3], (2, 2), 1), ([1, 2], (2,), -1), ([1, 2], (2, 1), (1, 1, 1))]
)
def test_grids_of_other_shapes_are_refused(values, shape, radius):
    with pytest.raises(BadInput, match="plateau"):
        plateau(values, shape, radius)
