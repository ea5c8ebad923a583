"""A run is the same bytes however it is cut into chunks, and in whatever order they are computed."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import ParameterGrid, ParameterList, Rules, load_sessions, run_grid
from orbresearch.analysis.performance import compute_rows
from orbresearch.plan import Chunk, make_plan
from orbresearch.schema import RESULTS
from tests.sources import market

pytestmark = pytest.mark.filterwarnings("ignore:.* make the same backtests:UserWarning")

PRICES, BARS = load_sessions(market.prices(), "TEST"), load_sessions(market.bars(), "TEST")
GRID = ParameterGrid([0.3, 0.05, 0.3], [3, 1], [60, 0, 7], [0.5, None, 0.2])
LIST = ParameterList(pd.DataFrame(list(GRID)).sample(frac=1, random_state=5))
ANCHORED = {"stop_anchor": "opposite_entry", "limit_unit": "R", "entry_buffer": 0.02}
CASES = {
    "plain": (PRICES, Rules(commission=0.0005, slippage=0.005)),
    "percent": (PRICES, Rules(stop_unit="percent", measure="dollars", exit_time=9000)),
    "anchored": (PRICES, Rules(**ANCHORED, fill="level")),
    "bars": (BARS, Rules(side="short", limit_unit="range", entry_cutoff=12_000)),
    "open": (BARS, Rules(side="opening_bar", entry="open", select=("weekday", "!=", 2))),
}


def cut(size: int, edges: list[int]) -> list[tuple[int, int]]:
    """Return stretches (start, stop) between edges."""
    edges = [0, *sorted({edge % size for edge in edges} - {0}), size]
    return list(pairwise(edges))


def as_bytes(batches: list[pa.RecordBatch]) -> bytes:
    """Return batches as one Arrow stream."""
    whole = pa.Table.from_batches(batches, RESULTS).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, RESULTS) as writer:
        writer.write_table(whole)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("points", [GRID, LIST], ids=["grid", "list"])
@pytest.mark.parametrize("case", CASES)
@given(edges=st.lists(st.integers(0, 1000), max_size=9), data=st.data())
def test_any_chunks_in_any_order_are_the_same_bytes(case, points, edges, data):
    plan = make_plan(CASES[case][0], points, [300, 600], CASES[case][1])
    size = len(points)
    chunks = [
        Chunk(at * size + start, stop - start, at, start) for at in (0, 1) for start, stop in cut(size, edges[at::2])
    ]
    found = {}
    for chunk in data.draw(st.permutations(chunks)):
        found[chunk.first] = compute_rows(plan.run_id, plan.inputs[chunk.input], points, plan.rules, chunk)
    batches = [found[chunk.first] for chunk in chunks]
    whole = [
        compute_rows(plan.run_id, item, points, plan.rules, Chunk(at * size, size, at, 0))
        for at, item in enumerate(plan.inputs)
    ]
    assert as_bytes(batches) == as_bytes(whole)
    rows = run_grid(CASES[case][0], points, [300, 600], CASES[case][1])
    pd.testing.assert_frame_equal(pa.Table.from_batches(batches, RESULTS).to_pandas(), rows, check_exact=True)


@pytest.mark.parametrize("case", CASES)
def test_a_list_of_a_grids_points_has_the_grids_rows(case):
    sessions, rules = CASES[case]
    rows = run_grid(sessions, GRID, 300, rules)
    listed = run_grid(sessions, ParameterList(pd.DataFrame(list(GRID))), 300, rules)
    names = ["run_id", "backtest_id"]
    pd.testing.assert_frame_equal(listed.drop(columns=names), rows.drop(columns=names), check_exact=True)
    assert (rows["trades"] > 0).any()
