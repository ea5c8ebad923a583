"""Bytes and back: nothing is lost, and damage is noticed."""

from hashlib import sha256

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbresearch.errors import Corrupt
from orbresearch.schema import DAYS, RESULTS
from orbresearch.sessions.series import content_hash
from orbresearch.staging import decode_batch, decode_days, encode_batch


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


@given(hnp.arrays(DAYS, st.integers(0, 20)))
def test_days_come_back_as_they_were(days):
    found = decode_days(days.tobytes())
    assert found.dtype == DAYS
    assert found.tobytes() == days.tobytes()


def test_days_of_an_impossible_length_are_corrupt():
    with pytest.raises(Corrupt, match="bytes"):
        decode_days(b"x" * (DAYS.itemsize + 1))


@given(batches())
def test_results_come_back_as_they_were(batch):
    found, more = decode_batch(encode_batch(batch, b"more"))
    assert more == b"more"
    assert decode_batch(encode_batch(batch))[1] == b""
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
        digest = bytes.fromhex(content_hash(body))
        with pytest.raises(Corrupt):
            decode_batch(b"ORB1" + digest + body)


def test_a_content_hash_is_what_it_was_last_year():
    expected = sha256(b"\2" + b"\0" * 7 + b"ab" + b"\1" + b"\0" * 7 + b"c").hexdigest()[:32]
    assert content_hash(b"ab", b"c") == expected
    assert content_hash(b"a", b"", b"b", joined=True) == content_hash(b"ab")


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_other_parts_have_another_hash(one, other):
    assert (content_hash(*one) == content_hash(*other)) == (one == other)
