"""The shell around the kernels: one backtest with its trades, a grid of backtests with their columns.

The same :func:`compute_rows` serves ``run_grid`` in this process and the chunk of a worker: rows equal the kernel
whatever computed them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.grids import compute_sums, fill_arguments
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid
from orbresearch.plan import Chunk, Input, Plan, backtest_ids, make_plan, run_points
from orbresearch.rules import NANOS, Rules, find_costs
from orbresearch.schema import EXIT_REASONS, RESULTS, TRADE
from orbresearch.sessions.dataset import Sessions

if TYPE_CHECKING:
    from orbresearch.analysis.pictures import Picture

RESOLVED_BAR_RANGES = 3  # stop and limit of a resolved backtest are each at least this many median bar ranges


def compute_rows(run_id: str, item: Input, grid: ParameterGrid, rules: Rules, chunk: Chunk) -> Any:
    """Compute the backtests of a chunk.

    Parameters
    ----------
    run_id : str
    item : Input
        The chunk's input.
    grid : ParameterGrid
    rules : Rules
        Resolved.
    chunk : Chunk

    Returns
    -------
    pyarrow.RecordBatch
        schema.RESULTS, in the order of the grid.
    """
    import pyarrow as pa

    from orbresearch.kernels.statistics import COLUMNS, finish_rows

    points = run_points(grid, chunk.point, chunk.rows, item.series.increment_nanos)
    costs = find_costs(rules, item.series.increment_nanos)
    sums = compute_sums(item, grid, rules, chunk)
    values = np.empty((chunk.rows, len(COLUMNS)), order="F")  # columns lie together
    per_dollar = NANOS / item.series.increment_nanos
    finish_rows(sums, len(item.ranges), per_dollar * costs.q, per_dollar, values)
    columns = {
        "backtest_id": backtest_ids(run_id, chunk.first, chunk.rows),
        "run_id": pa.repeat(run_id, chunk.rows),
        "ticker": pa.repeat(item.ticker, chunk.rows),
        "range_duration": np.full(chunk.rows, item.duration, np.int32),
        "sessions": np.full(chunk.rows, len(item.ranges), np.int64),
        "sessions_traded": sums["traded"],
        "trades": sums["trades"],
        "stops": sums["stops"],
        "resolved": _resolved(item, points),
        **grid.points(chunk.point, chunk.point + chunk.rows),
        **{name: values[:, i] for i, name in enumerate(COLUMNS)},
    }
    arrays = [
        columns[f.name]
        if isinstance(columns[f.name], pa.Array)
        else pa.array(columns[f.name], f.type, from_pandas=True)
        for f in RESULTS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=RESULTS)


def _resolved(item: Input, points: Any) -> Any:
    """Return 1 where stop and limit are each at least three median bar ranges, and always on single prices."""
    least = RESOLVED_BAR_RANGES * item.series.bar_range_twice
    return ((2 * points[:, 0] >= least) & (2 * points[:, 3] >= least)).astype(np.int8)


def run_grid(
    sessions: Sessions | Mapping[str, Sessions],
    grid: ParameterGrid,
    range_duration: int | Iterable[int] = 300,
    rules: Rules | None = None,
) -> Any:
    """Run every backtest of a grid in this process.

    Parameters
    ----------
    sessions : Sessions or mapping of ticker to Sessions
    grid : ParameterGrid
    range_duration : int or iterable of int
        Seconds of the opening range.
    rules : Rules, optional

    Returns
    -------
    DataFrame
        One row per backtest in grid order, columns of schema.RESULTS: the same rows, with the same ids, that
        ``Lab.submit`` stores.

    Examples
    --------
    >>> from orbresearch import ParameterGrid, synthetic_sessions
    >>> grid = ParameterGrid(stop_distance=[.5, 1], stop_count_limit=2, stop_cooloff_period=60, limit_distance=2)
    >>> run_grid(synthetic_sessions(5), grid, range_duration=300).shape
    (2, 26)
    """
    return compute_plan(make_plan(sessions, grid, range_duration, rules))


def compute_plan(plan: Plan) -> Any:
    """Compute all chunks of a plan in this process; return a DataFrame in grid order."""
    import pyarrow as pa

    batches = [compute_rows(plan.run_id, plan.inputs[c.input], plan.grid, plan.rules, c) for c in plan.chunks()]
    return pa.Table.from_batches(batches, RESULTS).to_pandas()


@dataclass(frozen=True, eq=False)
class Backtest:
    """One backtest with everything it did.

    Parameters
    ----------
    trades : DataFrame
        ``session`` (date), ``side`` (+1 long, -1 short), ``entry_time, entry_price, exit_time, exit_price`` (UTC,
        dollars), ``profit`` (dollars, net), ``holding_seconds``, ``exit_reason`` (limit, stop or close).
    stats : Series
        The columns of schema.RESULTS.
    daily : Series
        Profit by session date, dollars, zeros included.
    prices : Series
        Last price by session date, dollars.
    first_price : float
        Price at which the first session began, dollars.
    title : str
        Ticker, dates and costs, for pictures.
    """

    trades: Any
    stats: Any
    daily: Any
    prices: Any
    first_price: float
    title: str

    def __repr__(self) -> str:
        return f"Backtest({self.title}: {len(self.trades)} trades, profit {self.stats['backtest_profit']:.2f})"

    def plot(self) -> Picture:
        """Return the cumulative profit against the price change: see ``pictures.equity``."""
        from orbresearch.analysis.pictures import equity

        return equity(self)


def run_backtest(
    sessions: Sessions,
    range_duration: int,
    stop_distance: float,
    stop_count_limit: int,
    stop_cooloff_period: int,
    limit_distance: float,
    rules: Rules | None = None,
) -> Backtest:
    """Run one backtest and keep its trades.

    Parameters
    ----------
    sessions : Sessions
    range_duration : int
        Seconds of the opening range.
    stop_distance, stop_count_limit, stop_cooloff_period, limit_distance
        One point of a :class:`~orbresearch.ParameterGrid`.
    rules : Rules, optional

    Examples
    --------
    >>> from orbresearch import synthetic_sessions
    >>> one = run_backtest(synthetic_sessions(5), range_duration=300, stop_distance=.5, stop_count_limit=3,
    ...                    stop_cooloff_period=60, limit_distance=2)
    >>> round(one.daily.sum() - one.stats["backtest_profit"], 9)
    0.0
    """
    if not isinstance(sessions, Sessions):
        raise BadInput("sessions", f"a {type(sessions).__name__}", "give the Sessions of one ticker")
    grid = ParameterGrid(stop_distance, stop_count_limit, stop_cooloff_period, limit_distance)
    if len(grid) != 1:
        raise BadInput("run_backtest", f"{len(grid)} parameter sets", "give one value each, or use run_grid")
    if np.ndim(range_duration) != 0:
        raise BadInput("range_duration", f"{range_duration!r}", "give one number of seconds, or use run_grid")
    plan = make_plan(sessions, grid, range_duration, rules)
    return backtest_of(plan.run_id, plan.inputs[0], plan.grid, plan.rules, Chunk(0, 1, 0, 0))


def backtest_of(run_id: str, item: Input, grid: ParameterGrid, rules: Rules, chunk: Chunk) -> Backtest:
    """Return the backtest that a chunk of one row names, with its trades.

    Parameters
    ----------
    run_id, item, grid, rules, chunk
        As in :func:`compute_rows`.
    """
    row = compute_rows(run_id, item, grid, rules, chunk).to_pandas().iloc[0]
    trades = _trades(item, rules, run_points(grid, chunk.point, 1, item.series.increment_nanos)[0])
    dates = _dates(item, item.ranges["session"])
    daily = trades.groupby("session")["units"].sum().reindex(dates, fill_value=0)
    unit = NANOS / item.series.increment_nanos * find_costs(rules, item.series.increment_nanos).q
    dollars = item.series.increment_nanos / NANOS
    last = item.series.columns["price"][item.ranges["last_tick"]].astype(np.float64) * dollars
    prices, first = type(daily)(last, index=dates, name="price"), float(item.ranges["first_price"][0]) * dollars
    title = _title(item, rules, row)
    return Backtest(trades.drop(columns="units"), row, (daily / unit).rename("profit"), prices, first, title)


def _title(item: Input, rules: Rules, row: Any) -> str:
    span = f"{item.series.labels[0]} to {item.series.labels[-1]}"
    cost = f"commission {rules.commission:g}, slippage {rules.slippage:g} $/share"
    point = ", ".join(f"{name.split('_')[0]} {row[name]:g}" for name in ("stop_distance", "limit_distance"))
    point += f", {row['stop_count_limit']} stops, cool-off {row['stop_cooloff_period']} s"
    point += "" if row["resolved"] else ", UNRESOLVED: distances under three bar ranges"
    return f"{item.ticker}, {span}, range {item.duration} s, {point}, {cost}"


def _dates(item: Input, at: Any) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(item.series.labels[at].astype("datetime64[ns]"), name="session")


def _trades(item: Input, rules: Rules, point: Any) -> Any:
    """Return one backtest's trades as a DataFrame, with the net profit in increment/q as ``units``."""
    import pandas as pd

    found, at = _walk(item, rules, point)
    costs = find_costs(rules, item.series.increment_nanos)
    opens = item.series.opens[at]
    cost = np.where(found["reason"] == EXIT_REASONS.index("limit"), costs.limit_trade, costs.trade)
    units = (found["exit_price"] - found["entry_price"]) * found["side"] * costs.q - cost
    frame = pd.DataFrame({"session": _dates(item, at), "side": found["side"]})
    for name in ("entry", "exit"):
        frame[f"{name}_time"] = pd.to_datetime(opens + found[f"{name}_time"], unit="s", utc=True)
        frame[f"{name}_price"] = found[f"{name}_price"] * item.series.increment_nanos / NANOS
    frame["profit"] = units / (NANOS / item.series.increment_nanos * costs.q)
    frame["holding_seconds"] = found["exit_time"] - found["entry_time"]
    frame["exit_reason"] = np.array(EXIT_REASONS)[found["reason"]]
    frame["units"] = units
    return frame


def _walk(item: Input, rules: Rules, point: Any) -> tuple[Any, Any]:
    """Scan all sessions with one parameter set; return TRADE records and the session index of each."""
    from orbresearch.kernels.backtest import simulate_session

    ticks, fill = tuple(item.series.columns.values()), fill_arguments(rules, item.series.increment_nanos)
    found, at = [], []
    for day in item.ranges:
        room = int(min(day["last_tick"] - day["first_tick"] + 1, point[1]))
        trades = np.zeros(room, TRADE)
        bounds = day["first_tick"], day["last_tick"], day["high"], day["low"]
        count = simulate_session(*ticks, *bounds, *point, *fill, trades)
        found.append(trades[:count])
        at += [day["session"]] * count
    return np.concatenate(found), np.array(at, np.int64)
