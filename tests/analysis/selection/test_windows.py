"""Blocks and walk-forward windows, against another package and pandas."""

from __future__ import annotations

import doctest
import itertools

import holdout
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch.analysis.selection import windows
from orbresearch.analysis.selection.windows import equal_blocks, month_blocks, walk_windows
from orbresearch.errors import BadInput

SOME = st.integers(1, 6)


def test_examples_in_docstrings_hold():
    assert doctest.testmod(windows).failed == 0


def test_the_published_windows():
    assert walk_windows(6, 2, 1, 1) == [([0, 1], [3]), ([1, 2], [4]), ([2, 3], [5])]


@given(st.integers(1, 40), SOME, SOME, st.integers(0, 3), st.booleans())
def test_windows_are_those_of_another_package(blocks, train, test, purge, anchored):
    if train + purge + test > blocks:
        with pytest.raises(BadInput, match=f"of {blocks} blocks"):
            walk_windows(blocks, train, test, purge, anchored)
        return
    theirs = holdout.walk_forward(blocks, train=train, test=test, gap=purge, expanding=anchored)
    found = walk_windows(blocks, train, test, purge, anchored)
    assert found == [(s.train.tolist(), s.test.tolist()) for s in theirs]


@pytest.mark.parametrize("bad", [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_windows_of_nothing_are_refused(bad):
    with pytest.raises(BadInput, match="windows"):
        walk_windows(9, *bad)


@given(st.integers(1, 300), st.integers(1, 20))
def test_equal_blocks_leave_out_the_oldest_only(sessions, blocks):
    if blocks > sessions:
        with pytest.raises(BadInput, match=f"{blocks} of {sessions} sessions"):
            equal_blocks(sessions, blocks)
        return
    found = equal_blocks(sessions, blocks)
    assert len(found) == sessions
    assert (found == -1).sum() == sessions % blocks
    assert (np.diff(found) >= 0).all()
    assert set(np.bincount(found[found >= 0]).tolist()) == {sessions // blocks}
    assert found.max() == blocks - 1


@given(st.lists(st.dates(pd.Timestamp("1995-01-01").date(), pd.Timestamp("2030-12-31").date()), min_size=1))
def test_months_are_pandas_own(dates):
    index = pd.DatetimeIndex(sorted(dates))
    groups = [len(list(g)) for _, g in itertools.groupby(index.strftime("%Y-%m"))]
    for labels in (index, index.to_numpy().astype("datetime64[D]")):
        assert month_blocks(labels).tolist() == np.repeat(np.arange(len(groups)), groups).tolist()


def test_no_date_is_refused():
    with pytest.raises(BadInput, match="without a date"):
        month_blocks(["2024-01-01", "NaT"])
