"""The shell around the kernels: backtests with their columns.

The same :func:`compute_rows` serves ``run_grid`` in this process and the chunk of a worker: rows equal the kernel
whatever computed them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from orbresearch.analysis.grids import compute_sums
from orbresearch.grid import Points
from orbresearch.inputs import Input, day_distances, return_units
from orbresearch.plan import Chunk, Plan, backtest_ids, make_plan
from orbresearch.pool import Item, Pool
from orbresearch.rules import NANOS, Rules, find_costs
from orbresearch.schema import NEVER, RESULTS
from orbresearch.sessions.dataset import Sessions

RESOLVED_BAR_RANGES = 3  # stop and limit of a resolved backtest are each at least this many median bar ranges


def compute_rows(run_id: str, item: Item, points: Points, rules: Rules, chunk: Chunk) -> Any:
    """Compute the backtests of a chunk.

    Parameters
    ----------
    run_id : str
    item : Input or Pool
        The chunk's input.
    points : ParameterGrid or ParameterList
    rules : Rules
        Resolved.
    chunk : Chunk

    Returns
    -------
    pyarrow.RecordBatch
        schema.RESULTS, in the order of the points.
    """
    columns = compute_columns(item, points, rules, chunk)
    return to_batch(run_id, item, columns, np.arange(chunk.first, chunk.first + chunk.rows))


def compute_columns(item: Item, points: Points, rules: Rules, chunk: Chunk) -> dict[str, Any]:
    """Compute the backtests of a chunk: the columns of schema.RESULTS that differ among them, as arrays by name."""
    from orbresearch.analysis.pooled import pool_columns
    from orbresearch.kernels.statistics import COLUMNS

    drawn = points.points(chunk.point, chunk.point + chunk.rows)
    if isinstance(item, Pool):
        sums, values = pool_columns(item, points, rules, chunk)
    else:
        sums, values = _input_columns(item, points, rules, chunk)
    return {
        "sessions_traded": sums["traded"],
        "trades": sums["trades"],
        "stops": sums["stops"],
        "resolved": resolved(item, rules, drawn),
        **drawn,
        **{name: values[:, i] for i, name in enumerate(COLUMNS)},
    }


def _input_columns(item: Input, points: Points, rules: Rules, chunk: Chunk) -> tuple[Any, Any]:
    """Return SUMS of a chunk's backtests, and the columns that follow from them: shape (n, len(COLUMNS))."""
    from orbresearch.kernels.statistics import COLUMNS, finish_rows

    costs, sums = find_costs(rules, item.series.increment_nanos), compute_sums(item, points, rules, chunk)
    values = np.empty((chunk.rows, len(COLUMNS)), order="F")  # columns lie together
    per_dollar = NANOS / item.series.increment_nanos
    _, whole = return_units(rules, item.series.increment_nanos)
    finish_rows(sums, len(item.days), per_dollar * costs.q, per_dollar, whole, values)
    return sums, values


def to_batch(run_id: str, item: Item, columns: dict[str, Any], indexes: Any) -> Any:
    """Return backtests as a pyarrow.RecordBatch of schema.RESULTS.

    Parameters
    ----------
    columns : dict of arrays, shape (n,)
        As :func:`compute_columns` returns them.
    indexes : int64 array, shape (n,)
        Of the backtests in their run.
    """
    import pyarrow as pa

    rows = len(indexes)
    columns = columns | {
        "backtest_id": backtest_ids(run_id, indexes),
        "run_id": pa.repeat(run_id, rows),
        "ticker": pa.repeat(item.ticker, rows),
        "range_duration": np.full(rows, item.duration, np.int32),
        "sessions": np.full(rows, len(item.days), np.int64),
    }
    arrays = [
        columns[f.name]
        if isinstance(columns[f.name], pa.Array)
        else pa.array(columns[f.name], f.type, from_pandas=f.nullable)
        for f in RESULTS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=RESULTS)


def resolved(item: Item, rules: Rules, drawn: dict[str, Any]) -> Any:
    """Return 1 where stop and limit are each at least three median bar ranges, and always on single prices.

    Of a pool: where that holds for every ticker that is ever present.

    A distance that differs from day to day counts by its median over the days and sides that may open a position; an
    anchored stop by that of its distance from the entry level; a limit in R as that multiple of the stop. No limit is
    no distance: the stop alone decides.

    Parameters
    ----------
    item : Input or Pool
    rules : Rules
    drawn : dict of arrays, shape (n,)
        The parameters of n backtests.

    Returns
    -------
    int8 array, shape (n,)
    """
    if isinstance(item, Pool):
        return np.minimum.reduce([resolved(member, rules, drawn) for member in item.members if len(member.days)])
    least = RESOLVED_BAR_RANGES * item.series.bar_range_twice
    if least == 0:
        return np.ones(len(drawn["stop_distance"]), np.int8)
    typical = {}
    for name in ("stop_distance", "limit_distance"):
        values, at = np.unique(drawn[name], return_inverse=True)
        typical[name] = _typical(item, rules, name, values)[at]
    stop, limit = typical["stop_distance"], typical["limit_distance"]
    if rules.limit_unit == "R":
        limit = np.where(np.isnan(drawn["limit_distance"]), np.inf, drawn["limit_distance"] * stop)
    return ((2 * stop >= least) & (2 * limit >= least)).astype(np.int8)


def _typical(item: Input, rules: Rules, name: str, values: Any) -> Any:
    """Return what distances usually are, increments: their median over the days and sides that may open a position."""
    days, found = item.days, day_distances(item, rules, name, values.tolist()).astype(np.float64)
    levels = (days["close_price"],) * 2 if rules.entry == "open" else (days["up"], days["down"])
    opens = np.stack([days["up"] != NEVER, days["down"] != -NEVER], axis=1)
    if name == "stop_distance" and rules.anchored:
        beyond = np.stack([levels[0] - days["long_anchor"], days["short_anchor"] - levels[1]], axis=1)
        found = found + np.where(opens, beyond, 0)[:, :, None]
    found = np.broadcast_to(found, (*opens.shape, len(values)))
    return np.median(found[opens if opens.any() else np.ones_like(opens)], axis=0)


def run_grid(
    sessions: Sessions | Mapping[str, Sessions],
    grid: Points,
    range_duration: int | Iterable[int] = 300,
    rules: Rules | None = None,
    *,
    pool: bool = False,
) -> Any:
    """Run every backtest of a grid in this process.

    Parameters
    ----------
    sessions : Sessions or mapping of ticker to Sessions
    grid : ParameterGrid or ParameterList
    range_duration : int or iterable of int
        Seconds of the opening range.
    rules : Rules, optional
    pool : bool
        One backtest for each parameter set over all tickers at once, as in ``Lab.submit``.

    Returns
    -------
    DataFrame
        One row per backtest in the order of the points, columns of schema.RESULTS: the same rows, with the same
        ids, that ``Lab.submit`` stores.

    Examples
    --------
    >>> from orbresearch import ParameterGrid, synthetic_sessions
    >>> grid = ParameterGrid(stop_distance=[.5, 1], stop_count_limit=2, stop_cooloff_period=60, limit_distance=2)
    >>> run_grid(synthetic_sessions(5), grid, range_duration=300).shape
    (2, 26)
    """
    return compute_plan(make_plan(sessions, grid, range_duration, rules, pool=pool))


def compute_plan(plan: Plan) -> Any:
    """Compute all chunks of a plan in this process; return a DataFrame in grid order."""
    import pyarrow as pa

    batches = [compute_rows(plan.run_id, plan.inputs[c.input], plan.grid, plan.rules, c) for c in plan.chunks()]
    return pa.Table.from_batches(batches, RESULTS).to_pandas()
