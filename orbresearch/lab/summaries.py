"""A run by its parameters: from the summary it keeps, or from its rows where it keeps them all. The same either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from orbresearch.grid import ParameterGrid, read_points
from orbresearch.plan import INDEX_DIGITS
from orbresearch.store.connection import Store
from orbresearch.store.keeping import read_summaries
from orbresearch.store.query import make_query
from orbresearch.store.reader import read_pages
from orbresearch.summary import Summary, Tally, check_summary, merge

_COLUMNS = "backtest_id", "backtest_return", "sharpe_ratio"
_PAGE_ROWS = 200_000


def summarize(
    store: Store, facts: Mapping[str, Any], show: Callable[[Summary, ParameterGrid], Any], together: bool
) -> pd.DataFrame:
    """Return what ``show`` makes of the summaries of a run's inputs, one below the other or all of them together.

    Parameters
    ----------
    facts : mapping
        The run's row of the table ``runs``.
    show : callable
        ``summary.to_cells`` and the like, for a summary and the run's grid.
    """
    grid = check_summary(read_points(facts["grid"]))
    whole = facts["kept"] == "all"
    found = dict(_from_rows(store, facts["run_id"], grid)) if whole else read_summaries(store, facts["run_id"])
    if together:
        return pd.DataFrame(show(merge(found.values()), grid))
    durations, frames = facts["range_durations"], []
    for at, summary in sorted(found.items()):
        frame = show(summary, grid)
        frame.insert(0, "range_duration", durations[at % len(durations)])
        frame.insert(0, "ticker", facts["tickers"][at // len(durations)])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(show(merge([]), grid))


def _from_rows(store: Store, run_id: str, grid: ParameterGrid) -> Iterator[tuple[int, Summary]]:
    """Yield the index of each input with rows, and the summary of those: the rows of one page in memory."""
    at, tally = -1, Tally(grid.shape, 0, len(grid))
    for page in read_pages(store, make_query(store.tables.results, run_id, columns=_COLUMNS), _PAGE_ROWS):
        index = np.array([int(name[-INDEX_DIGITS:]) for name in page["backtest_id"].to_pylist()])
        columns = [page[name].to_numpy() for name in _COLUMNS[1:]]
        breaks = np.flatnonzero((np.diff(index) != 1) | (index[1:] % len(grid) == 0)) + 1
        for some in np.split(np.arange(len(index)), breaks):
            mine, point = divmod(int(index[some[0]]), len(grid))
            if mine != at:
                if at >= 0:
                    yield at, tally.summary()
                at, tally = mine, Tally(grid.shape, 0, len(grid))
            tally.add(point, *(column[some] for column in columns))
    if at >= 0:
        yield at, tally.summary()
