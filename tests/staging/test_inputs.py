"""Inputs: staged once by content, loaded in order, checked on the way back."""

import os

import pytest

from orbresearch.errors import Corrupt, InputsMissing
from orbresearch.schema import STAGING_VERSION
from orbresearch.sessions.series import content_hash
from orbresearch.staging import (
    inputs,
    keys,
    load_document,
    load_ranges,
    load_sessions,
    missing_ranges,
    missing_sessions,
    stage_document,
    stage_ranges,
    stage_sessions,
)


def payloads(n, size=130):
    return {content_hash(payload): payload for payload in (os.urandom(size) for _ in range(n))}


def test_sessions_come_back_in_the_order_asked_for(staging):
    sessions = payloads(25)
    stage_sessions(staging, sessions)
    asked = [*reversed(sessions), *list(sessions)[:3]]
    assert load_sessions(staging, asked) == [sessions[item] for item in asked]


def test_only_what_is_missing_need_be_staged(staging):
    sessions = payloads(6)
    wanted = list(sessions)
    assert missing_sessions(staging, [*wanted, wanted[0]]) == wanted
    stage_sessions(staging, {item: sessions[item] for item in wanted[2:4]})
    assert missing_sessions(staging, wanted) == wanted[:2] + wanted[4:]
    stage_sessions(staging, sessions)
    assert missing_sessions(staging, wanted) == []


def test_nothing_is_a_fine_number_of_sessions(staging):
    stage_sessions(staging, {})
    assert load_sessions(staging, []) == missing_sessions(staging, []) == []


def test_a_session_without_ticks_is_staged_too(staging):
    empty = content_hash(b"")
    assert missing_sessions(staging, [empty]) == [empty]
    stage_sessions(staging, {empty: b""})
    assert missing_sessions(staging, [empty]) == []
    assert load_sessions(staging, [empty]) == [b""]


def test_batches_are_bounded_in_bytes_and_in_keys(staging, monkeypatch):
    monkeypatch.setattr(inputs, "_BATCH_BYTES", 1000)
    monkeypatch.setattr(inputs, "_BATCH_KEYS", 7)
    sessions = payloads(20, 130) | payloads(3, 2000) | payloads(20, 0) | payloads(30, 20)
    batches = list(inputs._batches(list(sessions), [len(payload) for payload in sessions.values()]))
    assert [item for batch in batches for item in batch] == list(sessions)
    assert max(map(len, batches)) == 7
    for batch in batches:
        assert len(batch) == 1 or sum(len(sessions[item]) for item in batch) <= 1000
    stage_sessions(staging, sessions)
    assert missing_sessions(staging, list(sessions)) == []
    assert load_sessions(staging, list(sessions)) == list(sessions.values())


def test_a_session_of_40_mb_is_staged_and_loaded(staging):
    sessions = payloads(2, 40_000_000)
    stage_sessions(staging, sessions)
    assert load_sessions(staging, list(sessions)) == list(sessions.values())


def test_a_flush_is_noticed_by_the_hash_that_is_gone(staging):
    sessions = payloads(3)
    stage_sessions(staging, sessions)
    lost = list(sessions)[1]
    staging.ticks.delete(keys.session(lost))
    with pytest.raises(InputsMissing, match=f"tick series {lost} not in Redis"):
        load_sessions(staging, list(sessions))
    staging.ticks.flushdb()
    with pytest.raises(InputsMissing):
        load_sessions(staging, list(sessions))


def test_what_is_not_what_it_was_filed_as_is_corrupt(staging):
    item, payload = next(iter(payloads(1).items()))
    for load, client, key in (
        (load_sessions, staging.ticks, keys.session),
        (load_ranges, staging.ranges, keys.ranges),
    ):
        client.set(key(item), payload[:-1] + bytes([payload[-1] ^ 1]))
        with pytest.raises(Corrupt, match=item):
            load(staging, [item])


def test_a_payload_under_a_wrong_hash_is_refused_before_it_is_staged(staging):
    with pytest.raises(Corrupt, match="0123"):
        stage_sessions(staging, {"0123": b"abc"})
    assert staging.ticks.dbsize() == 0


def test_documents_and_ranges_have_places_of_their_own(staging):
    payload = b'{"sessions": []}'
    item = content_hash(payload)
    stage_document(staging, item, payload)
    assert load_document(staging, item) == payload
    assert missing_sessions(staging, [item]) == missing_ranges(staging, [item]) == [item]
    stage_ranges(staging, {item: payload})
    assert load_ranges(staging, [item]) == [payload]
    assert (staging.books.dbsize(), staging.ranges.dbsize(), staging.ticks.dbsize()) == (0, 1, 1)
    with pytest.raises(InputsMissing, match="opening ranges"):
        load_ranges(staging, ["other"])


def test_input_keys_carry_the_version_of_what_they_hold():
    for key in (keys.session, keys.document, keys.ranges):
        assert f"v{STAGING_VERSION}" in key("hash").split(":")
