"""The best rows and the summary of a run, against pandas over all of its rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch import plan as planning
from orbresearch.analysis.best import compute_best
from orbresearch.errors import BadInput, Corrupt
from orbresearch.keep import Best, covers, read_keep, write_keep
from orbresearch.plan import Chunk, make_plan
from orbresearch.schema import PARAMETERS, RESULTS
from orbresearch.summary import (
    MEASURES,
    Tally,
    merge,
    read_summaries,
    to_cells,
    to_histogram,
    write_summaries,
)

GRID = orb.ParameterGrid(
    stop_distance=[0.2, 0.4, 0.8, 1.6],
    stop_count_limit=[1, 3],
    stop_cooloff_period=[0, 60, 300],
    limit_distance=[None, 0.5, 1, 2, 4],
)
KEEPS = [
    Best(7),
    Best(1),
    Best(1000),
    Best(5, by="trades", min_sessions=0),  # many ties
    Best(10, by="backtest_profit", min_sessions=39),
    Best(10, by="profit_factor", min_sessions=40),
]


@pytest.fixture(scope="module")
def plan() -> planning.Plan:
    return make_plan(orb.synthetic_sessions(40, seed=5), GRID, 300)


@pytest.fixture(scope="module")
def rows(plan: planning.Plan) -> pd.DataFrame:
    return orb.analysis.performance.compute_plan(plan)


def best_of(rows: pd.DataFrame, keep: Best) -> pd.DataFrame:
    """What strategy.md calls best, in pandas."""
    fit = rows[(rows["sessions_traded"] >= keep.min_sessions) & rows[keep.by].notna()]
    if not keep.unresolved:
        fit = fit[fit["resolved"] == 1]
    found = fit.sort_values([keep.by, "backtest_id"], ascending=[False, True]).head(keep.n)
    return found.sort_values("backtest_id", ignore_index=True)


def compute(plan: planning.Plan, keep: Best, chunk_rows: int) -> tuple[pd.DataFrame, object]:
    """The rows that the chunks of a run send, and all their summaries merged."""
    found = [
        compute_best(plan.run_id, plan.inputs[c.input], plan.grid, plan.rules, c, keep)
        for c in replace(plan, chunk_rows=chunk_rows).chunks()
    ]
    return pd.concat([batch.to_pandas() for batch, _ in found], ignore_index=True), merge(s for _, s in found)


@pytest.mark.parametrize("keep", KEEPS, ids=str)
@pytest.mark.parametrize("chunk_rows", [7, 45, 120])
def test_the_best_of_all_chunks_hold_the_best_of_the_run(
    plan: planning.Plan, rows: pd.DataFrame, keep: Best, chunk_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orbresearch.analysis.best.MAX_CHUNK_ROWS", 17)  # several parts a chunk
    sent, _ = compute(plan, keep, chunk_rows)
    assert list(sent.columns) == RESULTS.names
    pd.testing.assert_frame_equal(best_of(sent, keep), best_of(rows, keep))
    if chunk_rows == len(plan):
        pd.testing.assert_frame_equal(sent, best_of(rows, keep))


@pytest.mark.parametrize("names", [("stop_distance",), ("limit_distance",), ("stop_count_limit", "limit_distance")])
def test_a_summary_says_what_all_rows_say(plan: planning.Plan, rows: pd.DataFrame, names: tuple[str, ...]) -> None:
    _, summary = compute(plan, Best(3), 45)
    cells = to_cells(summary, GRID, names)
    grouped = rows.groupby(list(names), dropna=False)
    expected = grouped.agg(
        backtests=("backtest_id", "size"),
        return_mean=("backtest_return", "mean"),
        return_max=("backtest_return", "max"),
        sharpes=("sharpe_ratio", "count"),
        sharpe_mean=("sharpe_ratio", "mean"),
        sharpe_max=("sharpe_ratio", "max"),
    ).reset_index()
    assert list(cells.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(cells, expected, atol=1e-6, rtol=0)
    pd.testing.assert_series_equal(cells["return_max"], expected["return_max"], rtol=0, atol=0)


def test_the_order_of_chunks_and_their_size_change_no_bit(plan: planning.Plan) -> None:
    whole = compute(plan, Best(3), 120)[1]
    for chunk_rows in (1, 13, 30):
        assert compute(plan, Best(3), chunk_rows)[1] == whole
    some = [compute(plan, Best(3), 30)[1], compute(plan, Best(3), 30)[1]]
    assert merge(some) == merge([merge([some[1]]), some[0]])
    assert read_summaries(write_summaries({7: whole, 3: some[0]})) == {7: whole, 3: some[0]}
    assert read_summaries(b"") == {}


def test_histograms_hold_every_value_where_it_belongs(plan: planning.Plan, rows: pd.DataFrame) -> None:
    _, summary = compute(plan, Best(3), 45)
    for name in PARAMETERS:
        found = to_histogram(summary, GRID, name)
        for measure, column in zip(MEASURES, ("backtest_return", "sharpe_ratio"), strict=True):
            part = found[found["measure"] == measure]
            for value, of_value in part.groupby(name, dropna=False):
                same = rows[name].isna() if pd.isna(value) else rows[name] == value
                values = np.sort(rows.loc[same, column].dropna().to_numpy())
                assert of_value["backtests"].sum() == len(values)
                low = np.repeat(of_value["low"], of_value["backtests"]).to_numpy()
                high = np.repeat(of_value["high"], of_value["backtests"]).to_numpy()
                assert (values >= low - 0.6e-6).all()
                assert (values <= high + 0.6e-6).all()


def test_a_tally_of_part_of_a_grid_knows_its_place() -> None:
    tally = Tally(GRID.shape, 61, 92)
    tally.add(61, np.full(31, 0.5), np.full(31, math.nan))
    cells = to_cells(tally.summary(), GRID, ["stop_distance"])
    assert cells[["stop_distance", "backtests", "sharpes"]].values.tolist() == [[0.8, 29, 0], [1.6, 2, 0]]
    assert cells["sharpe_mean"].isna().all()


def test_a_damaged_summary_is_refused(plan: planning.Plan) -> None:
    payload = write_summaries({0: compute(plan, Best(3), 120)[1]})
    for damaged in (payload[:100], payload[: len(payload) // 2]):
        with pytest.raises(Corrupt, match="summary"):
            read_summaries(damaged)


@pytest.mark.parametrize("keep", [*KEEPS, "all"], ids=str)
def test_what_is_kept_travels_as_text(keep: Best) -> None:
    assert read_keep(write_keep(keep)) == keep
    assert covers("all", keep)
    assert covers(keep, "all") == (keep == "all")


def test_more_of_the_same_covers_less() -> None:
    assert covers(Best(10), Best(10))
    assert covers(Best(10), Best(9))
    assert not covers(Best(10), Best(11))
    assert not covers(Best(10), Best(9, by="trades"))
    assert not covers(Best(10), Best(9, min_sessions=1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": 0}, "Best.n: 0"),
        ({"n": True}, "Best.n"),
        ({"n": 2.5}, "Best.n"),
        ({"n": 10**6}, "1 to 100,000"),
        ({"n": 5, "by": "ticker"}, "'ticker' measures no backtest; give one of"),
        ({"n": 5, "by": 3}, "Best.by"),
        ({"n": 5, "min_sessions": -1}, "Best.min_sessions"),
        ({"n": 5, "unresolved": 1}, "Best.unresolved"),
    ],
)
def test_what_cannot_be_kept_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Best(**given)


def test_chunks_of_a_run_share_one_input(plan: planning.Plan) -> None:
    chunk = Chunk(0, 50, 0, 0)
    batch, summary = compute_best(plan.run_id, plan.inputs[0], plan.grid, plan.rules, chunk, Best(5))
    assert batch.num_rows <= 5
    assert to_cells(summary, GRID, ["stop_count_limit"])["backtests"].sum() == 50
