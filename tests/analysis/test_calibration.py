"""Whether the verdict's headline keeps its word: in worlds without an edge, and in worlds with a strong one."""

from __future__ import annotations

import pytest

from tests.worlds import EDGE, reject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_without_an_edge_one_world_in_twenty_looks_like_more_than_luck() -> None:
    found = reject(200)
    assert 0.02 <= found["seconds"] <= 0.08
    assert found["minutes"] <= 0.10


def test_a_strong_edge_is_found() -> None:
    found = reject(40, EDGE, first=1000)
    assert min(found.values()) >= 0.95
