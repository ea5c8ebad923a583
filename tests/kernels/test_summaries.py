"""Cells and buckets, against NumPy on the same points."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orbresearch.kernels.summaries import MOST_BUCKET, add_stretch, bucket_of, clear, to_steps
from orbresearch.schema import CELL, CELL_CLIP
from orbresearch.summary import AXES, bounds_of

VALUES = st.floats(-3, 3) | st.sampled_from([0.0, -0.0, 1e-7, 900.0, 901.0, -5e5])


@st.composite
def stretches(draw: st.DrawFn) -> tuple[tuple[int, ...], int, np.ndarray, np.ndarray]:
    """A grid's shape, where a stretch of it begins, and its values."""
    shape = tuple(draw(st.integers(1, 4)) for _ in range(4))
    start = draw(st.integers(0, math.prod(shape) - 1))
    n = draw(st.integers(0, math.prod(shape) - start))
    returns = draw(st.lists(VALUES, min_size=n, max_size=n))
    sharpes = draw(st.lists(VALUES | st.just(math.nan), min_size=n, max_size=n))
    return shape, start, np.array(returns, float), np.array(sharpes, float)


@given(stretches(), st.integers(0, 30))
def test_every_cell_counts_what_belongs_to_it(drawn, cut):
    shape, start, returns, sharpes = drawn
    sizes = [math.prod(shape[i] for i in axis) for axis in AXES]
    cells, some = np.zeros(sum(sizes), CELL), np.zeros(1, CELL)
    buckets = np.zeros((sum(shape), 2, 2 * MOST_BUCKET + 1), np.int32)
    clear(cells)
    cut = min(cut, len(returns))
    for first, last in ((0, cut), (cut, len(returns))):
        add_stretch(shape, start + first, returns[first:last], sharpes[first:last], cells, some, buckets)
    where = np.unravel_index(np.arange(start, start + len(returns)), shape)
    offset = 0
    assert (*((i,) for i in range(4)), *combinations(range(4), 2)) == AXES
    for axis, size in zip(AXES, sizes, strict=True):
        belongs = np.ravel_multi_index([where[i] for i in axis], [shape[i] for i in axis])
        for cell in range(size):
            mine, sharp = returns[belongs == cell], sharpes[belongs == cell]
            sharp = sharp[~np.isnan(sharp)]
            found = cells[offset + cell]
            assert (found["backtests"], found["sharpes"]) == (len(mine), len(sharp))
            assert found["return_max"] == max(mine, default=-math.inf)
            assert found["sharpe_max"] == max(sharp, default=-math.inf)
            for values, name in ((mine, "return_steps"), (sharp, "sharpe_steps")):
                expected = np.clip(values, -900, 900).sum()
                assert abs(found[name] / 1e6 - expected) <= 0.51e-6 * len(values) + 1e-9 * abs(expected)
            if len(axis) == 1:
                for measure, values in enumerate((mine, sharp)):
                    counted = np.bincount([bucket_of(to_steps(v)) + MOST_BUCKET for v in values], minlength=1)
                    row = buckets[offset + cell, measure]
                    assert row.sum() == len(values)
                    assert (row[: len(counted)] == counted).all()
        offset += size


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30))
@settings(max_examples=50)
def test_a_bucket_is_narrow(values: list[float]) -> None:
    """Resolution: a bucket spans 1/64 of its values at the most, or one step."""
    for value in values:
        steps = to_steps(value)
        assert abs(steps / 1e6 - value) <= 0.51e-6 or abs(steps) == CELL_CLIP
        bucket = bucket_of(steps)
        low, high = bounds_of(np.array([bucket]))
        assert abs(bucket) <= MOST_BUCKET
        assert low[0] <= steps / 1e6 <= high[0]
        assert high[0] - low[0] <= max(abs(steps) / 1e6 / 64, 1.1e-6)


def test_buckets_leave_no_gap() -> None:
    low, high = bounds_of(np.arange(-MOST_BUCKET, MOST_BUCKET + 1))
    assert np.allclose(low[1:] - high[:-1], 1e-6, atol=1e-7)
    edges = [0, 1, 127, 128, 255, 256, CELL_CLIP]
    assert [bucket_of(edge) for edge in edges] == [-bucket_of(-edge) for edge in edges]
