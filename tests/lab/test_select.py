"""A query of one's own reads and cannot write."""

import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from tests.lab.conftest import GRID


@pytest.mark.usefixtures("lab_home")
def test_ones_own_query_reads_and_cannot_write(lab, sessions):
    run = lab.submit(sessions, GRID, range_duration=300).wait()
    found = orb.select(
        "SELECT backtest_id, trades FROM results WHERE run_id = :run AND trades > 1", {"run": run.run_id}
    )
    assert len(found) == (run.results().trades > 1).sum()
    with pytest.raises(BadInput, match="query"):
        orb.select("DELETE FROM results")
    with pytest.raises(BadInput, match="query"):
        orb.select("SELECT nothing FROM nowhere")
    assert len(run.results()) == 32


def test_without_any_store_a_reader_says_so(own_home):
    with pytest.raises(BadInput, match="no results yet"):
        orb.runs()
    assert list(own_home.iterdir()) == []
