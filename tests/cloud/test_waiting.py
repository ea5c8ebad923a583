"""Waiting for AWS: until a status stays, not for ever, and seen by whoever looks."""

import time
from itertools import pairwise

import pytest

from orbresearch.cloud import waiting
from orbresearch.cloud.waiting import wait_while
from orbresearch.errors import CloudFailed


def test_a_status_that_stays_ends_it_whatever_it_is(capsys):
    for last in ("available", "create-failed"):
        seen = iter(["creating", "creating", "modifying", last])
        assert wait_while("starting Redis", lambda seen=seen: next(seen), {"creating", "modifying"}, "wait") == last
    assert capsys.readouterr().out == "starting Redis: creating\nstarting Redis: modifying\n" * 2


def test_what_is_over_already_is_not_waited_for_and_not_told(capsys):
    before = time.monotonic()
    assert wait_while("starting Redis", lambda: "available", {"creating"}, "wait") == "available"
    assert time.monotonic() - before < 0.1
    assert capsys.readouterr().out == ""


def test_when_the_time_is_over_the_status_is_told():
    with pytest.raises(CloudFailed, match=r"starting Redis: it still is 'creating' after \d+ s; call it again"):
        wait_while("starting Redis", lambda: "creating", {"creating"}, "call it again", seconds=0.3)


def test_it_looks_rarer_and_rarer(monkeypatch):
    now, looks = [0.0], []
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def look():
        looks.append(now[0])
        return "creating"

    with pytest.raises(CloudFailed):
        wait_while("starting Redis", look, {"creating"}, "wait", seconds=1800)
    gaps = [round(later - sooner, 6) for sooner, later in pairwise(looks)]
    assert gaps[0] < 0.2
    assert gaps == sorted(gaps)
    assert max(gaps) == 10
    assert len(looks) < 300
