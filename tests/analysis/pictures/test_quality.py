"""The picture of a data-quality report against the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.analysis.pictures import quality
from orbresearch.analysis.pictures.quality import FINDINGS, found_in
from orbresearch.errors import BadInput


def spoilt(sessions: orb.Sessions) -> orb.Sessions:
    """Return ten sessions: zero prices on the third, an hour without any on the sixth, a late start on the eighth."""
    frames = []
    for i in range(10):
        seen = sessions.observations(i)
        seconds, price = seen["time"].astype(np.int64), seen["price"] * sessions.increment
        keep = ~((i == 5) & (seconds > 7200) & (seconds < 10800)) & ~((i == 7) & (seconds < 600))
        price = np.where((i == 2) & (seconds % 1000 == 0), 0, price)
        times = pd.to_datetime(sessions.schedule.opens[i] + seconds, unit="s", utc=True)
        frames.append(pd.DataFrame({"ticker": "BAD", "timestamp": times, "price": price})[keep])
    return orb.load_sessions(pd.concat(frames), "BAD", cache=False)


def test_what_is_wrong_stands_at_its_session(sessions):
    report = spoilt(sessions).quality
    found = found_in(report)
    shown = {(row.at, row.finding) for row in found.itertuples(index=False) if row.shown > 0}
    assert shown == {
        (2, FINDINGS["dropped"]),
        (5, FINDINGS["gaps"]),
        (5, FINDINGS["longest_gap"]),
        (7, FINDINGS["first"]),
    }
    for name, words in FINDINGS.items():
        counts = found.loc[found["finding"] == words, "count"].to_numpy()
        assert len(counts) == 0 or counts.tolist() == report[name].tolist()


def test_the_rectangles_say_counts_dates_and_findings(sessions):
    report = spoilt(sessions).quality
    above, below = quality(report).plot.values()
    drawn = below.dframe()
    assert len(drawn) == 4 * len(report)
    row = drawn[(drawn["finding"] == FINDINGS["longest_gap"]) & (drawn["at"] == 4.5)].iloc[0]
    assert (row["count"], row["date"], row["share"]) == (report["longest_gap"].iloc[5], str(report.index[5].date()), 1)
    assert above.get(0).dframe()["observations"].tolist() == report["observations"].tolist()


def test_few_observations_are_marked(sessions):
    above, _ = quality(spoilt(sessions).quality).plot.values()
    marked = [e.dframe()["at"].tolist() for e in above.values() if "90 %" in e.label]
    assert marked == [[5]]


def test_where_nothing_was_found_the_picture_says_so(sessions):
    assert len(found_in(sessions.quality)) == 0
    assert "Data quality of SYNTHETIC, 60 sessions 2024-01-02 to 2024-03-27" in quality(sessions.quality).title


@pytest.mark.parametrize("report", [pd.DataFrame({"observations": []}), pd.DataFrame({"a": [1]})])
def test_other_tables_are_refused(report):
    with pytest.raises(BadInput, match=r"give sessions\.quality"):
        quality(report)
