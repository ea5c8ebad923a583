"""A run's status in numbers and words, from what ledger and scheduler say."""

from __future__ import annotations

from typing import Any

import pytest

from orbresearch.lab.feed import Feed
from orbresearch.lab.status import describe_status, show_status

RUN = "0123456789abcdef"


def report(**changes: Any) -> dict[str, Any]:
    feed = Feed(f"{RUN}.00000000", "uuid", computed=600, known_before=400, seconds=2.0, running_rows=100)
    feed.waiting.extend([(700, 200, 0, 700), (900, 100, 0, 900)])
    return {**feed.report(), "reaper_error": "", "held_back": False, "staged_bytes": 0, **changes}


def test_the_rate_is_of_what_was_computed_here():
    found = describe_status(RUN, 1000, 450, report(), slots=2)
    assert (found["state"], found["computed"], found["staged"], found["persisted"]) == ("running", 600, 150, 450)
    assert (found["waiting"], found["running"], found["failed"]) == (300, 100, 0)
    assert found["per_second"] == 100.0
    assert found["seconds_left"] == 2.0  # 400 left, two slots


def test_without_a_scheduler_only_the_ledger_speaks():
    found = describe_status(RUN, 1000, 450, {}, slots=0)
    assert (found["state"], found["computed"], found["per_second"], found["seconds_left"]) == (
        "unfinished",
        450,
        None,
        None,
    )
    assert describe_status(RUN, 1000, 1000, {}, slots=0)["state"] == "complete"


def test_what_is_stored_is_not_called_running_while_it_is_computed_once_more():
    # a worker died between staging a chunk and saying so: Dask computes it again, the ledger has it
    found = describe_status(RUN, 1000, 1000, report(), slots=2)
    assert found["state"] == "complete"
    assert (found["waiting"], found["running"], found["computed"], found["staged"]) == (0, 0, 1000, 0)
    refused_once = describe_status(RUN, 1000, 900, report(computed=1100), slots=2)
    assert (refused_once["computed"], refused_once["running"], refused_once["seconds_left"]) == (1000, 0, 0.0)


@pytest.mark.parametrize("trouble", ["MySQL at h:1 cannot be used: <gone>; look", ""])
def test_the_table_says_how_far_and_what_is_wrong(trouble):
    failure = {"first": 10, "rows": 5, "error": "ValueError: <bad>", "traceback": "..."}
    said = report(reaper_error=trouble, held_back=True, staged_bytes=3 * 2**20, failures=[failure])
    shown = show_status(describe_status(RUN, 1000, 450, said, slots=2), "results.sqlite")
    assert f"run {RUN}: running, 450 of 1,000 backtests in results.sqlite" in shown
    assert "<progress value='450' max='1000'" in shown
    assert "about 0:00:02" in shown
    assert "3 MiB of results wait for the store" in shown
    assert "backtests 10 to 14: ValueError: &lt;bad&gt;" in shown
    assert ("&lt;gone&gt;" in shown) == bool(trouble)
