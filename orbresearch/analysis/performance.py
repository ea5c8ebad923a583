"""The shell around the kernels: one backtest with its trades, a grid of backtests with their columns.

The same :func:`compute_rows` serves ``run_grid`` in this process and the chunk of a worker: rows equal the kernel
whatever computed them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.grids import compute_sums, kernel_arguments, most_trades
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid, Points
from orbresearch.inputs import Input, day_distances, return_units
from orbresearch.plan import Chunk, Plan, backtest_ids, make_plan
from orbresearch.rules import NANOS, Rules, find_costs
from orbresearch.schema import EXIT_REASONS, NEVER, RESULTS, TRADE
from orbresearch.sessions.dataset import Sessions

if TYPE_CHECKING:
    from orbresearch.analysis.pictures import Picture

RESOLVED_BAR_RANGES = 3  # stop and limit of a resolved backtest are each at least this many median bar ranges


def compute_rows(run_id: str, item: Input, points: Points, rules: Rules, chunk: Chunk) -> Any:
    """Compute the backtests of a chunk.

    Parameters
    ----------
    run_id : str
    item : Input
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
    import pyarrow as pa

    from orbresearch.kernels.statistics import COLUMNS, finish_rows

    costs, drawn = find_costs(rules, item.series.increment_nanos), points.points(chunk.point, chunk.point + chunk.rows)
    sums = compute_sums(item, points, rules, chunk)
    values = np.empty((chunk.rows, len(COLUMNS)), order="F")  # columns lie together
    per_dollar = NANOS / item.series.increment_nanos
    _, whole = return_units(rules, item.series.increment_nanos)
    finish_rows(sums, len(item.days), per_dollar * costs.q, per_dollar, whole, values)
    columns = {
        "backtest_id": backtest_ids(run_id, chunk.first, chunk.rows),
        "run_id": pa.repeat(run_id, chunk.rows),
        "ticker": pa.repeat(item.ticker, chunk.rows),
        "range_duration": np.full(chunk.rows, item.duration, np.int32),
        "sessions": np.full(chunk.rows, len(item.days), np.int64),
        "sessions_traded": sums["traded"],
        "trades": sums["trades"],
        "stops": sums["stops"],
        "resolved": resolved(item, rules, drawn),
        **drawn,
        **{name: values[:, i] for i, name in enumerate(COLUMNS)},
    }
    arrays = [
        columns[f.name]
        if isinstance(columns[f.name], pa.Array)
        else pa.array(columns[f.name], f.type, from_pandas=f.nullable)
        for f in RESULTS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=RESULTS)


def resolved(item: Input, rules: Rules, drawn: dict[str, Any]) -> Any:
    """Return 1 where stop and limit are each at least three median bar ranges, and always on single prices.

    A distance that differs from day to day counts by its median over the days and sides that may open a position; an
    anchored stop by that of its distance from the entry level; a limit in R as that multiple of the stop. No limit is
    no distance: the stop alone decides.

    Parameters
    ----------
    item : Input
    rules : Rules
    drawn : dict of arrays, shape (n,)
        The parameters of n backtests.

    Returns
    -------
    int8 array, shape (n,)
    """
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
) -> Any:
    """Run every backtest of a grid in this process.

    Parameters
    ----------
    sessions : Sessions or mapping of ticker to Sessions
    grid : ParameterGrid or ParameterList
    range_duration : int or iterable of int
        Seconds of the opening range.
    rules : Rules, optional

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
        title = ", ".join(self.title.splitlines())
        return f"Backtest({title}: {len(self.trades)} trades, profit {self.stats['backtest_profit']:.2f})"

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
    limit_distance: float | None,
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
    >>> abs(one.daily.sum() - one.stats["backtest_profit"]) < 1e-9
    True
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


def backtest_of(run_id: str, item: Input, grid: Points, rules: Rules, chunk: Chunk) -> Backtest:
    """Return the backtest that a chunk of one row names, with its trades.

    Parameters
    ----------
    run_id, item, grid, rules, chunk
        As in :func:`compute_rows`.
    """
    row = compute_rows(run_id, item, grid, rules, chunk).to_pandas().iloc[0]
    trades = _trades(item, rules, grid.points(chunk.point, chunk.point + 1))
    dates = _dates(item, item.days["session"])
    daily = trades.groupby("session")["units"].sum().reindex(dates, fill_value=0)
    unit = NANOS / item.series.increment_nanos * find_costs(rules, item.series.increment_nanos).q
    dollars = item.series.increment_nanos / NANOS
    last = item.series.columns["price"][item.days["last_tick"]].astype(np.float64) * dollars
    prices, first = type(daily)(last, index=dates, name="price"), float(item.days["first_price"][0]) * dollars
    title = _title(item, rules, row)
    return Backtest(trades.drop(columns="units"), row, (daily / unit).rename("profit"), prices, first, title)


def _title(item: Input, rules: Rules, row: Any) -> str:
    span = f"{item.series.labels[0]} to {item.series.labels[-1]}"
    cost = f"commission {rules.commission:g}, slippage {rules.slippage:g} $/share"
    units = {"stop": rules.stop_unit, "limit": rules.limit_unit}
    words = [f"{name} {row[f'{name}_distance']:g}" + f" {unit}" * (unit != "dollars") for name, unit in units.items()]
    point = ", ".join([words[0], words[1] if row["limit_distance"] == row["limit_distance"] else "no limit"])
    stops = int(row["stop_count_limit"])
    point += f", {stops} stop{'s' * (stops > 1)}, cool-off {row['stop_cooloff_period']} s"
    point += "" if row["resolved"] else ", UNRESOLVED: distances under three bar ranges"
    shown = ("side", "entry", "entry_buffer", "stop_anchor", "entry_cutoff", "exit_time", "select")
    said = rules.differing()
    point += "".join(f", {name} {said[name]}" for name in shown if name in said)
    return f"{item.ticker}, {span}, range {item.duration} s, {cost}\n{point}"


def _dates(item: Input, at: Any) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(item.series.labels[at].astype("datetime64[ns]"), name="session")


def _trades(item: Input, rules: Rules, drawn: dict[str, Any]) -> Any:
    """Return one backtest's trades as a DataFrame, with the net profit in increment/q as ``units``."""
    import pandas as pd

    found, at = _walk(item, rules, drawn)
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


def _walk(item: Input, rules: Rules, drawn: dict[str, Any]) -> tuple[Any, Any]:
    """Scan all sessions with one parameter set; return TRADE records and the session index of each."""
    from orbresearch.kernels.backtest import simulate_session

    ticks, _, days, terms = kernel_arguments(item, rules)
    stops, limits = (day_distances(item, rules, name, drawn[name]) for name in ("stop_distance", "limit_distance"))
    count, cooloff = int(drawn["stop_count_limit"][0]), int(drawn["stop_cooloff_period"][0])
    trades = np.zeros(most_trades(item, count), TRADE)
    found, at = [trades[:0]], []
    for d, day in enumerate(days):
        distances = stops[min(d, len(stops) - 1), :, 0], limits[min(d, len(limits) - 1), :, 0]
        made = simulate_session(ticks, day, terms, distances[0], count, cooloff, distances[1], trades)
        found.append(trades[:made].copy())
        at += [day["session"]] * made
    return np.concatenate(found), np.array(at, np.int64)
