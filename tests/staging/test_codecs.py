"""Bytes and back: nothing is lost, and damage is noticed."""

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbresearch.errors import BadInput, Corrupt
from orbresearch.schema import RANGES, RESULTS, TICKS
from orbresearch.staging import (
    content_hash,
    decode_batch,
    decode_ranges,
    decode_ticks,
    encode_batch,
    encode_ranges,
    encode_ticks,
)


@st.composite
def ticks(draw):
    n = draw(st.integers(0, 50))
    drawn = {name: draw(hnp.arrays(dtype, n)) for name, dtype in TICKS.items()}
    return drawn | {"first_of_bar": drawn["first_of_bar"] % 2}


@st.composite
def batches(draw):
    rows = draw(st.integers(0, 20))
    kinds = {pa.string(): st.text(max_size=5), pa.float64(): st.floats(allow_nan=False)}
    columns = []
    for field in RESULTS:
        bits = 8 * (field.type.bit_width // 8) if pa.types.is_integer(field.type) else 8
        value = kinds.get(field.type, st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
        value = st.none() | value if field.nullable else value
        columns.append(pa.array(draw(st.lists(value, min_size=rows, max_size=rows)), field.type))
    return pa.RecordBatch.from_arrays(columns, schema=RESULTS)


@given(ticks())
def test_ticks_come_back_as_they_were(columns):
    payload = encode_ticks(columns)
    found = decode_ticks(payload)
    assert len(payload) == 13 * len(columns["time"])
    assert list(found) == list(TICKS)
    for name, dtype in TICKS.items():
        assert found[name].dtype == dtype
        assert np.array_equal(found[name], columns[name])


def test_ticks_are_little_endian_columns_one_after_the_other():
    columns = {"time": [1, 2], "until": [3, 4], "price": [-1, 256], "first_of_bar": [1, 0]}
    payload = encode_ticks({name: np.array(values, TICKS[name]) for name, values in columns.items()})
    assert payload.hex() == "01000000020000000300000004000000ffffffff000100000100"


@pytest.mark.parametrize("change", ["missing", "longer", "wider", "big-endian", "two-dimensional"])
def test_columns_that_are_no_ticks_are_refused(change):
    columns = {name: np.zeros(3, dtype) for name, dtype in TICKS.items()}
    if change == "missing":
        del columns["until"]
    elif change == "longer":
        columns["price"] = np.zeros(4, "<i4")
    elif change == "wider":
        columns["price"] = np.zeros(3, "<i8")
    elif change == "big-endian":
        columns["price"] = np.zeros(3, ">i4")
    else:
        columns = {name: column.reshape(1, 3) for name, column in columns.items()}
    with pytest.raises(BadInput, match="tick columns"):
        encode_ticks(columns)


@given(st.binary(min_size=1, max_size=100).filter(lambda payload: len(payload) % 13))
def test_ticks_of_an_impossible_length_are_corrupt(payload):
    with pytest.raises(Corrupt, match=f"{len(payload)} bytes"):
        decode_ticks(payload)


def test_a_flag_that_is_no_flag_is_corrupt():
    with pytest.raises(Corrupt, match="first_of_bar"):
        decode_ticks(b"\2" * 13)


@given(hnp.arrays(RANGES, st.integers(0, 20)))
def test_opening_ranges_come_back_as_they_were(ranges):
    found = decode_ranges(encode_ranges(ranges))
    assert found.dtype == RANGES
    assert found.tobytes() == ranges.tobytes()


def test_ranges_of_another_shape_are_refused_or_corrupt():
    with pytest.raises(BadInput):
        encode_ranges(np.zeros(3))
    with pytest.raises(BadInput):
        encode_ranges(np.zeros((2, 2), RANGES))
    with pytest.raises(Corrupt, match="bytes"):
        decode_ranges(b"x" * (RANGES.itemsize + 1))


@given(batches())
def test_results_come_back_as_they_were(batch):
    found = decode_batch(encode_batch(batch))
    assert found.schema == RESULTS
    assert found.equals(batch)


@given(batches(), st.data())
def test_a_result_batch_with_any_byte_changed_is_corrupt(batch, data):
    payload = bytearray(encode_batch(batch))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        decode_batch(bytes(payload))


@given(batches(), st.data())
def test_a_result_batch_cut_short_or_extended_is_corrupt(batch, data):
    payload = encode_batch(batch)
    for damaged in (payload[: data.draw(st.integers(0, len(payload) - 1))], payload + b"\0"):
        with pytest.raises(Corrupt):
            decode_batch(damaged)


def test_bytes_with_the_right_digest_and_no_batch_inside_are_corrupt():
    for body in (b"", b"\0" * 64):
        digest = blake2b(len(body).to_bytes(8, "little") + body, digest_size=16).digest()
        with pytest.raises(Corrupt):
            decode_batch(b"ORB1" + digest + body)


def test_a_content_hash_is_what_it_was_last_year():
    expected = blake2b(b"\2" + b"\0" * 7 + b"ab" + b"\1" + b"\0" * 7 + b"c", digest_size=16).hexdigest()
    assert content_hash(b"ab", b"c") == expected
    assert len(expected) == 32


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_other_parts_have_another_hash(one, other):
    assert (content_hash(*one) == content_hash(*other)) == (one == other)
