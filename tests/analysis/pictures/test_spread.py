"""The distribution of Sharpe ratios: counts, the best, and the band of luck."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch.analysis.best import compute_best
from orbresearch.analysis.pictures import distribution
from orbresearch.analysis.pictures.spread import histogram
from orbresearch.errors import BadInput
from orbresearch.keep import Best
from orbresearch.plan import Chunk, make_plan
from orbresearch.summary import to_histogram
from tests.analysis.pictures.conftest import GRID

RATIOS = np.random.default_rng(0).normal(0, 1, 5000)


def labels(picture) -> list[str]:
    return [element.label for element in picture.plot.values()]


def test_every_defined_ratio_is_counted_once():
    picture = distribution([*RATIOS, np.nan, np.nan], best=RATIOS.max(), title="SPY")
    drawn = picture.plot.get(0).dframe()
    expected, _ = np.histogram(RATIOS, len(drawn))
    assert drawn["backtests"].tolist() == expected.tolist()
    assert picture.title == "SPY\nSharpe ratios of 5,000 backtests, 2 more have none"


def test_best_and_luck_stand_where_they_are():
    luck = np.random.default_rng(1).normal(2.2, 0.4, 1001)
    parts = distribution(RATIOS, 3.9, luck).plot.values()
    band, median, best = (element.dframe() for element in parts[1:])
    assert set(best["sharpe_ratio"]) == {3.9}
    assert set(median["sharpe_ratio"]) == {np.sort(luck)[500]}
    low, high = band["sharpe_ratio"].item(), band["to"].item()
    assert (luck < low).mean() == pytest.approx(0.05, abs=0.001)
    assert (luck > high).mean() == pytest.approx(0.05, abs=0.001)


def test_the_picture_reaches_as_far_as_best_and_luck():
    edges, counts, _ = histogram([0.0, 1.0], [5.0])
    assert (edges[0], edges[-1], counts.sum()) == (0.0, 5.0, 2)


def test_a_runs_histogram_is_drawn_as_its_rows_would_be(sessions, rows):
    plan = make_plan(sessions, GRID, 300)
    _, summary = compute_best(plan.run_id, plan.inputs[0], GRID, plan.rules, Chunk(0, len(GRID), 0, 0), Best(1))
    table = to_histogram(summary, GRID, "stop_distance")
    ratios = rows["sharpe_ratio"].dropna()
    edges, counts, _ = histogram(table, [])
    assert counts.sum() == pytest.approx(len(ratios))
    for edge, reached in zip(edges[1:], np.cumsum(counts), strict=True):
        near = abs(edge) / 64 + 1e-6  # the width of a bucket there
        assert (ratios < edge - near).sum() - 1e-6 <= reached <= (ratios < edge + near).sum() + 1e-6


@given(st.lists(st.tuples(st.integers(-300, 300), st.integers(1, 50)), min_size=1, unique_by=lambda one: one[0]))
def test_spreading_a_table_loses_no_backtest(buckets):
    import pandas as pd

    table = pd.DataFrame({"low": [b / 100 for b, _ in buckets], "backtests": [n for _, n in buckets]})
    table["high"] = table["low"] + 0.009
    edges, counts, _ = histogram(table, [])
    assert counts.sum() == pytest.approx(sum(n for _, n in buckets))
    assert (counts >= 0).all()
    assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([], 1.0), "none of 0 is a number"),
        (([1.0], float("nan")), "is no Sharpe ratio"),
        (([1.0], 1.0, []), "0 maxima"),
        (([1.0], 1.0, [1.0, float("nan")]), "not all of them numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, said):
    with pytest.raises(BadInput, match=said):
        distribution(*arguments)


def test_a_table_of_other_columns_is_refused(rows):
    with pytest.raises(BadInput, match=r"no column 'low'; give what run.histogram"):
        distribution(rows, 1.0)
