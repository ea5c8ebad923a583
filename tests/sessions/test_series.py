"""A tick series as bytes and back: nothing is lost, and damage is noticed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbresearch.errors import Corrupt
from orbresearch.schema import TICKS
from orbresearch.sessions.series import Series, content_hash, read_series


@st.composite
def series(draw):
    sizes = draw(st.lists(st.integers(0, 30), min_size=1, max_size=4))
    pointers = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    columns = {name: draw(hnp.arrays(dtype, int(pointers[-1]))) for name, dtype in TICKS.items()}
    labels = np.datetime64("2024-01-02") + np.arange(len(sizes))
    opens = np.arange(len(sizes)) * 86_400
    return Series(labels, opens, opens + 23_400, pointers, columns, 10_000_000, 60, "nearer", 27)


@given(series())
def test_a_series_comes_back_as_it_was(one):
    payloads = [one.payload(i) for i in range(len(one))]
    found = read_series(one.document, payloads)
    for name, dtype in TICKS.items():
        assert found.columns[name].dtype == dtype
        assert np.array_equal(found.columns[name], one.columns[name])
    assert np.array_equal(found.pointers, one.pointers)
    assert np.array_equal(found.labels, one.labels)
    assert found.hash == one.hash
    assert found.session_hashes == [content_hash(payload) for payload in payloads]


def test_ticks_are_little_endian_columns_one_after_the_other():
    columns = {"time": [1, 2], "until": [3, 4], "price": [-1, 256], "first_of_bar": [1, 0]}
    arrays = {name: np.array(values, TICKS[name]) for name, values in columns.items()}
    one = Series(np.array(["2024-01-02"], "M8[D]"), np.zeros(1), np.ones(1), np.array([0, 2]), arrays, 1, 0, "", 0)
    assert one.payload(0).hex() == "01000000020000000300000004000000ffffffff000100000100"


@given(series(), st.data())
def test_a_series_of_another_length_or_version_is_corrupt(one, data):
    payloads = [one.payload(i) for i in range(len(one))]
    with pytest.raises(Corrupt, match="sessions do not fit"):
        read_series(one.document, payloads[1:])
    with pytest.raises(Corrupt, match="multiple of 13"):
        read_series(one.document, [*payloads[1:], payloads[0] + b"x"])
    changed = json.dumps({**json.loads(one.document), "version": 0}).encode()
    with pytest.raises(Corrupt, match="version 0"):
        read_series(changed, payloads)


@given(series())
def test_whatever_decides_a_number_is_in_the_hash(one):
    from dataclasses import replace

    changes = {"increment_nanos": 5_000_000, "bar_seconds": 0, "path": "farther", "bar_range_twice": 28}
    changes |= {"opens": one.opens + 1, "closes": one.closes + 1, "labels": one.labels + 1}
    hashes = {one.hash, *(replace(one, **{name: value}).hash for name, value in changes.items())}
    assert len(hashes) == 1 + len(changes)
