"""A chunk of which only the best rows are kept: the same numbers, and a summary of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from orbresearch.analysis.performance import compute_columns, to_batch
from orbresearch.grid import ParameterGrid
from orbresearch.keep import Best
from orbresearch.plan import MAX_CHUNK_ROWS, Chunk, block_rows
from orbresearch.pool import Item
from orbresearch.rules import Rules
from orbresearch.summary import Summary, Tally


def compute_best(
    run_id: str, item: Item, grid: ParameterGrid, rules: Rules, chunk: Chunk, keep: Best
) -> tuple[Any, Summary]:
    """Compute the backtests of a chunk; return the rows that may be among the run's best, and the summary of all.

    A chunk of millions needs the memory of :data:`~orbresearch.plan.MAX_CHUNK_ROWS` rows.

    Parameters
    ----------
    run_id, item, grid, rules, chunk
        As in :func:`~orbresearch.analysis.performance.compute_rows`.
    keep : Best

    Returns
    -------
    pyarrow.RecordBatch
        schema.RESULTS, at most ``keep.n`` rows, in the order of their ids.
    Summary
    """
    tally = Tally(grid.shape, chunk.point, chunk.point + chunk.rows)
    best: dict[str, Any] = {}
    for part in _parts(grid, chunk):
        columns = compute_columns(item, grid, rules, part)
        tally.add(part.point, columns["backtest_return"], columns["sharpe_ratio"])
        full = bool(best) and len(best["index"]) == keep.n
        at = keep.pick(columns, float(best[keep.by].min()) if full else -math.inf)  # a later one must be better
        found = {name: values[at] for name, values in columns.items()} | {"index": part.first + at}
        best = {name: np.concatenate([best[name], values]) for name, values in found.items()} if best else found
        best = _take(best, keep.pick(best))
    best = _take(best, np.argsort(best["index"]))
    return to_batch(run_id, item, best, best.pop("index")), tally.summary()


def best_of(batch: Any, keep: Best) -> Any:
    """Return the best rows of a batch, in the order of their ids."""
    names = keep.by, "sessions_traded", "resolved"
    at = keep.pick({name: batch[name].to_numpy(zero_copy_only=False) for name in names})
    return batch.take(np.sort(at))


def _take(columns: dict[str, Any], at: Any) -> dict[str, Any]:
    return {name: values[at] for name, values in columns.items()}


def _parts(grid: ParameterGrid, chunk: Chunk) -> Iterator[Chunk]:
    """Cut a chunk into stretches that are computed at once."""
    rows = block_rows(grid, MAX_CHUNK_ROWS)
    for done in range(0, chunk.rows, rows):
        yield Chunk(chunk.first + done, min(rows, chunk.rows - done), chunk.input, chunk.point + done)
