"""One run, planned: tickers × range durations × grid × rules; its identity, its inputs, its chunks. Pure.

The plan stands between the core and everything that computes: ``run_grid`` walks it in this process, ``Lab.submit``
sends its chunks to a cluster. Its id hashes everything that decides the numbers (strategy.md, "Identity"), so the
same work has the same id anywhere.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid
from orbresearch.rules import Costs, Rules, find_costs, to_increments
from orbresearch.schema import RESULTS_VERSION
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.ranges import Ranges, check_duration, find_ranges
from orbresearch.sessions.series import Series, content_hash

INDEX_DIGITS = 10
MAX_TICKER = 32  # characters, of the column `ticker`
MAX_CHUNK_ROWS = 100_000
_MOST = 2**63 - 1
_inputs: WeakKeyDictionary[Sessions, dict[int, tuple[Ranges, Input]]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Input:
    """What the backtests of one ticker and range duration are computed from."""

    ticker: str
    duration: int
    series: Series
    ranges: Any  # RANGES array
    source: str = ""
    _breakouts: dict[int, Any] = field(default_factory=dict, repr=False)

    def breakouts(self, reach: int) -> Any:
        """Return int32 links from each tick to the next breakout, ``reach`` increments beyond an edge; made once."""
        from orbresearch.kernels.records import link_breakouts

        if reach not in self._breakouts:
            links = np.zeros(self.series.pointers[-1], np.int32)
            link_breakouts(self.series.columns["price"], self.ranges, reach, links)
            self._breakouts[reach] = links
        return self._breakouts[reach]

    @cached_property
    def reach_of_days(self) -> tuple[Any, Any]:
        """Return each tradable session's span (highest minus lowest price) and way (sum of all moves), increments."""
        price, table = self.series.columns["price"], self.ranges
        edges = np.stack([table["first_tick"] - 1, table["last_tick"] + 1], axis=1).ravel()
        ends = np.append(price, price[-1])  # reduceat wants every index inside
        high = np.maximum(np.maximum.reduceat(ends, edges)[::2], table["high"]).astype(np.float64)
        low = np.minimum(np.minimum.reduceat(ends, edges)[::2], table["low"])
        way = np.concatenate([[0], np.cumsum(np.abs(np.diff(price.astype(np.int64))))])
        return high - low, way[table["last_tick"]] - way[table["first_tick"] - 1]

    @cached_property
    def ranges_hash(self) -> str:
        """Content hash of the opening ranges, under which they are staged."""
        return content_hash(self.ranges.tobytes())


@dataclass(frozen=True)
class Chunk:
    """A stretch of a run's backtests that one task computes: of one input, ``rows`` points from ``point``."""

    first: int  # index in the run of its first backtest
    rows: int
    input: int  # index of its input
    point: int  # index in the grid of its first backtest


@dataclass(frozen=True, eq=False)
class Plan:
    """A run before it runs: print it, look at its chunks, submit it.

    Parameters
    ----------
    inputs : tuple of Input
        Ticker by ticker, duration by duration.
    grid : ParameterGrid
    rules : Rules
        Resolved: nothing is ``auto`` any more.
    chunk_rows : int
        Backtests per chunk at the most; chunks do not cross inputs.
    """

    inputs: tuple[Input, ...]
    grid: ParameterGrid
    rules: Rules
    chunk_rows: int
    sessions: dict[str, Sessions] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.inputs) * len(self.grid)

    def __repr__(self) -> str:
        tickers = ", ".join(dict.fromkeys(item.ticker for item in self.inputs))
        durations = ", ".join(str(d) for d in self.durations)
        return (
            f"Plan({self.run_id}: {len(self):,} backtests in {sum(1 for _ in self.chunks()):,} chunks; "
            f"{tickers}; ranges of {durations} s; {self.rules.fill} fills, commission {self.rules.commission}, "
            f"slippage {self.rules.slippage})"
        )

    @property
    def durations(self) -> tuple[int, ...]:
        """The range durations, seconds."""
        return tuple(dict.fromkeys(item.duration for item in self.inputs))

    @property
    def tickers(self) -> tuple[str, ...]:
        """The tickers."""
        return tuple(dict.fromkeys(item.ticker for item in self.inputs))

    @cached_property
    def run_id(self) -> str:
        """16 hex digits that stand for everything that decides the run's numbers."""
        data = [[item.ticker, item.duration, item.series.hash, item.ranges_hash] for item in self.inputs]
        return _digest(data, self.grid.document(), self.rules.document())

    @cached_property
    def family(self) -> str:
        """16 hex digits for the same question whatever the prices: tickers, durations, grid, rules."""
        data = [[item.ticker, item.duration] for item in self.inputs]
        return _digest(data, self.grid.document(), self.rules.document())

    def chunks(self) -> Iterator[Chunk]:
        """Return the run's chunks in order."""
        for at in range(len(self.inputs)):
            for point in range(0, len(self.grid), self.chunk_rows):
                rows = min(self.chunk_rows, len(self.grid) - point)
                yield Chunk(at * len(self.grid) + point, rows, at, point)


def _digest(*parts: object) -> str:
    return content_hash(json.dumps([RESULTS_VERSION, *parts], sort_keys=True).encode())[:16]


def backtest_ids(run_id: str, first: int, rows: int) -> Any:
    """Return the ids of a run's backtests ``first`` to ``first + rows`` as a pyarrow string array.

    An id is the run's id and the index, fixed width, so that ids sort as the run does.

    Examples
    --------
    >>> backtest_ids("0123456789abcdef", 9, 2).to_pylist()
    ['0123456789abcdef-0000000009', '0123456789abcdef-0000000010']
    """
    import pyarrow as pa

    prefix = np.frombuffer(f"{run_id}-".encode(), np.uint8)
    width = len(prefix) + INDEX_DIGITS
    text = np.empty((rows, width), np.uint8)
    text[:, : len(prefix)] = prefix
    left = np.arange(first, first + rows)
    for column in range(width - 1, len(prefix) - 1, -1):
        left, digit = np.divmod(left, 10)
        text[:, column] = digit + ord("0")
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))


def parse_backtest_id(backtest_id: str) -> tuple[str, int]:
    """Return (run_id, index) of a backtest's id.

    Raises
    ------
    BadInput
        What is no id of a backtest.
    """
    run_id, dash, index = str(backtest_id).partition("-")
    if not dash or len(run_id) != 16 or len(index) != INDEX_DIGITS or not index.isdigit():
        raise BadInput("backtest_id", f"{backtest_id!r} is no id", "give one as run.best() lists them")
    return run_id, int(index)


def make_plan(
    sessions: Sessions | Mapping[str, Sessions],
    grid: ParameterGrid,
    range_duration: int | Iterable[int] = 300,
    rules: Rules | None = None,
) -> Plan:
    """Check everything about a run and plan it, before any work starts.

    Parameters
    ----------
    sessions : Sessions or mapping of ticker to Sessions
    grid : ParameterGrid
    range_duration : int or iterable of int
        Seconds.
    rules : Rules, optional

    Raises
    ------
    BadInput
        Whatever cannot be computed, by name, with what would be right.
    """
    loaded = _check_sessions(sessions)
    alone = isinstance(range_duration, (str, bytes)) or not isinstance(range_duration, Iterable)
    durations: list[Any] = [range_duration] if alone else list(range_duration)  # type: ignore[arg-type]
    if not loaded or not durations:
        raise BadInput("sessions" if not loaded else "range_duration", "empty", "give at least one")
    for item in loaded.values():
        for duration in durations:
            check_duration(item, duration)  # before int(): it takes True, "12" and 300.7
    if len(set(durations)) < len(durations):
        raise BadInput("range_duration", f"{durations} names a duration twice", "give each once")
    if not isinstance(grid, ParameterGrid):
        raise BadInput("grid", f"a {type(grid).__name__}", "give an orb.ParameterGrid")
    if rules is not None and not isinstance(rules, Rules):
        raise BadInput("rules", f"a {type(rules).__name__}", "give orb.Rules(...)")
    most = 10**INDEX_DIGITS
    if len(loaded) * len(durations) * len(grid) > most:
        wrong = f"{len(loaded) * len(durations) * len(grid):,} backtests are more than a run's {most:,}"
        raise BadInput("grid", wrong, "submit it in parts")
    kinds = {item.is_bars for item in loaded.values()}
    if len(kinds) > 1:
        raise BadInput("sessions", "some tickers are bars and some are prices", "submit them as two runs")
    rules = (rules or Rules()).resolve(bars=kinds.pop())
    inputs = tuple(_input(item, int(duration), grid, rules) for item in loaded.values() for duration in durations)
    _warn_of_spans(loaded)
    return Plan(inputs, grid, rules, _chunk_rows(grid), loaded)


def _check_sessions(sessions: Any) -> dict[str, Sessions]:
    """Return sessions by ticker; refuse what are none, and names that are not theirs or do not fit."""
    loaded = {sessions.ticker: sessions} if isinstance(sessions, Sessions) else sessions
    if not isinstance(loaded, Mapping) or not all(isinstance(item, Sessions) for item in loaded.values()):
        raise BadInput("sessions", f"a {type(sessions).__name__}", "give Sessions, or a mapping of ticker to Sessions")
    for key, item in loaded.items():
        if key != item.ticker:
            raise BadInput(
                "sessions", f"{key!r} names the sessions of {item.ticker!r}", "give each under its own ticker"
            )
        if len(key) > MAX_TICKER or "," in key:
            wrong = f"{key!r} has a comma or more than {MAX_TICKER} characters"
            raise BadInput("ticker", wrong, "load it under a shorter name")
    return dict(loaded)


def _chunk_rows(grid: ParameterGrid) -> int:
    """Return how many backtests a chunk holds: whole stop distances where they fit, because those share the most."""
    block = prod(grid.shape[1:])
    return MAX_CHUNK_ROWS // block * block if block <= MAX_CHUNK_ROWS else MAX_CHUNK_ROWS


def _input(sessions: Sessions, duration: int, grid: ParameterGrid, rules: Rules) -> Input:
    """Return the input of a ticker and duration; made once, so that whatever hangs on it is prepared once."""
    known = _inputs.setdefault(sessions, {})
    if duration not in known:
        ranges = find_ranges(sessions, duration)
        item = Input(sessions.ticker, duration, sessions.series, ranges.table, sessions.source)
        known[duration] = ranges, item
    ranges, item = known[duration]
    check_input(item, ranges, grid, rules)
    return item


def check_input(item: Input, ranges: Ranges, grid: ParameterGrid, rules: Rules) -> None:
    """Refuse a ticker without a tradable session, distances beyond int32 and sums beyond int64.

    Raises
    ------
    BadInput
    """
    if len(ranges.table) == 0:
        why = "; ".join(f"{day}: {reason}" for day, reason in list(ranges.untradable.items())[:3])
        raise BadInput(
            f"ticker {item.ticker}", f"no tradable session for a range of {ranges.duration} s ({why})", "drop it"
        )
    for name in ("stop_distance", "limit_distance"):
        largest = max(getattr(grid, name))
        if to_increments(largest, item.series.increment_nanos) > np.iinfo(np.int32).max:
            wrong = f"{largest} dollars are beyond int32 increments of {item.series.increment_nanos / 1e9}"
            raise BadInput(name, wrong, "give a smaller distance, or a coarser increment=")
    _check_sums(item, grid, find_costs(rules, item.series.increment_nanos))


def _check_sums(item: Input, grid: ParameterGrid, costs: Costs) -> None:
    """Refuse a run whose sums could pass 2**63: of squared returns (1e-16), or of a day's profit times 1e8."""
    most, table = max(grid.stop_count_limit), item.ranges
    returns = worst_returns(item, most, costs)
    if (returns * table["first_price"] * costs.q).max() > _MOST or (returns**2).sum() > _MOST:
        day = item.series.labels[table["session"][int(returns.argmax())]]
        wrong = f"{item.ticker}'s squared returns could pass 2**63 with {most} stops a day (on {day})"
        raise BadInput("stop_count_limit", wrong, "give a smaller one, or fewer sessions")


def worst_returns(item: Input, most_stops: int, costs: Costs) -> Any:
    """Return a bound of each tradable session's absolute return, 1e-8: float64 array, shape (T,).

    A trade moves by the day's span at the most, and a day's trades together by its way, for they do not overlap.

    Parameters
    ----------
    item : Input
    most_stops : int
        Largest stop count, and so the most trades of a day.
    costs : Costs
    """
    table, (span, way) = item.ranges, item.reach_of_days
    trades = np.minimum(most_stops, table["last_tick"] - table["first_tick"] + 1)
    worst = np.minimum(trades * span, way) * costs.q + trades * max(costs.trade, costs.limit_trade)
    return worst / (table["first_price"] * float(costs.q)) * 1e8 + 1


def _warn_of_spans(loaded: Mapping[str, Sessions]) -> None:
    """Warn when one grid of dollars meets prices of different size."""
    if len(loaded) < 2:
        return
    means = {ticker: float(item.columns["price"].mean()) * item.increment for ticker, item in loaded.items()}
    least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    warnings.warn(
        f"distances are in dollars, but prices span {means[least]:,.2f} ({least}) to {means[most]:,.2f} ({most}): "
        "the same stop means something else for each ticker",
        stacklevel=3,
    )


def run_points(grid: ParameterGrid, chunk_point: int, rows: int, increment_nanos: int) -> Any:
    """Return grid points as the kernels take them: int64, shape (rows, 4): stop, stop count, cool-off, limit.

    Distances become increments by an exact integer ceiling, at least 1.
    """
    points = np.empty((rows, 4), np.int64)
    for column, (name, at) in enumerate(grid.indices(chunk_point, chunk_point + rows).items()):
        values: Any = getattr(grid, name)
        if name in ("stop_distance", "limit_distance"):
            values = [to_increments(value, increment_nanos) for value in values]
        points[:, column] = np.array(values, np.int64)[at]
    return points
