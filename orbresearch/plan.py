"""One run, planned: tickers × range durations × grid × rules; its identity, its inputs, its chunks. Pure.

The plan stands between the core and everything that computes: ``run_grid`` walks it in this process, ``Lab.submit``
sends its chunks to a cluster. Its id hashes everything that decides the numbers (strategy.md, "Identity"), so the
same work has the same id anywhere.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid, ParameterList, Points
from orbresearch.inputs import Input, check_distances, make_input, warn_of_fine_distances
from orbresearch.keep import Keep
from orbresearch.pool import MAX_TICKER, Item, Pool, identify, make_pool, members_of
from orbresearch.rules import Rules
from orbresearch.schema import RESULTS_VERSION
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.ranges import check_duration
from orbresearch.sessions.series import content_hash

INDEX_DIGITS = 10
MAX_CHUNK_ROWS = 100_000
MAX_LIST_ROWS = 20_000  # of a parameter list, whose backtests share nothing
SLOTS_SERVED = 50  # slots that one scheduler keeps busy with chunks of a second: `make bench ARGS="--only scale"`
_GRID_PACE, _LIST_PACE = 320e6, 3e6  # sessions of backtests that a core computes in a second, about
_CHUNKS_A_SLOT = 4  # at least, of a run: the last to finish keeps the others waiting
_MOST_INPUTS = 8  # of a chunk: loading them takes longer than computing small grids
_LEAST_SECONDS = 0.05  # of a chunk: less is not worth a task
_MEMBER_SECONDS = 0.001  # of a chunk, at least, for each ticker of a pool: all of them are loaded for it


@dataclass(frozen=True)
class Chunk:
    """A stretch of a run's backtests that one task computes: part of one input, or one or several whole ones."""

    first: int  # index in the run of its first backtest
    rows: int
    input: int  # index of its first backtest's input
    point: int  # index in the grid of its first backtest

    def cut(self, points: int) -> Iterator[Chunk]:
        """Return its stretches of one input each, of a grid of so many points."""
        done = 0
        while done < self.rows:
            at, point = divmod(self.first + done, points)
            rows = min(points - point, self.rows - done)
            yield Chunk(self.first + done, rows, at, point)
            done += rows


@dataclass(frozen=True, eq=False)
class Plan:
    """A run before it runs: print it, look at its chunks, submit it.

    Parameters
    ----------
    inputs : tuple of Input or Pool
        Ticker by ticker, duration by duration; pools duration by duration.
    grid : ParameterGrid or ParameterList
    rules : Rules
        Resolved: nothing is ``auto`` any more.
    chunk_rows : int
        Backtests per chunk at the most.
    """

    inputs: tuple[Item, ...]
    grid: Points
    rules: Rules
    chunk_rows: int
    sessions: dict[str, Sessions] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.inputs) * len(self.grid)

    def __repr__(self) -> str:
        tickers = ", ".join(dict.fromkeys(item.ticker for item in self.inputs))
        durations = ", ".join(str(d) for d in self.durations)
        said = self.rules.differing()
        others = "".join(f", {n} {v}" for n, v in said.items() if n not in ("fill", "commission", "slippage"))
        return (
            f"Plan({self.run_id}: {len(self):,} backtests in {sum(1 for _ in self.chunks()):,} chunks; "
            f"{tickers}; ranges of {durations} s; {self.rules.fill} fills, commission {self.rules.commission}, "
            f"slippage {self.rules.slippage}{others})"
        )

    @property
    def durations(self) -> tuple[int, ...]:
        """The range durations, seconds."""
        return tuple(dict.fromkeys(item.duration for item in self.inputs))

    @property
    def tickers(self) -> tuple[str, ...]:
        """What the rows' column `ticker` says: the tickers, or the name of their pool."""
        return tuple(dict.fromkeys(item.ticker for item in self.inputs))

    @property
    def pooled(self) -> bool:
        """Whether its backtests are of all tickers at once."""
        return any(isinstance(item, Pool) for item in self.inputs)

    @cached_property
    def members(self) -> tuple[Input, ...]:
        """What is computed of each ticker and duration: the inputs, or their pools' members."""
        return tuple(member for item in self.inputs for member in members_of(item))

    @property
    def staged(self) -> tuple[Input, ...]:
        """The members that workers load: a pool's that are present on no day are not computed."""
        return tuple(member for member in self.members if len(member.days))

    @cached_property
    def run_id(self) -> str:
        """16 hex digits that stand for everything that decides the run's numbers."""
        data = [identify(item) for item in self.inputs]
        return _digest(data, self.grid.document(), self.rules.document())

    @cached_property
    def family(self) -> str:
        """16 hex digits for the same question whatever the prices: tickers, durations, grid, rules."""
        data: list[Any] = [[item.ticker, item.duration] for item in self.members]
        data = ["pool", data] if self.pooled else data
        return _digest(data, self.grid.document(), self.rules.document())

    def chunks(self) -> Iterator[Chunk]:
        """Return the run's chunks in order."""
        points, together = len(self.grid), max(1, self.chunk_rows // len(self.grid))
        for at in range(0, len(self.inputs), together):
            whole = points * min(together, len(self.inputs) - at)
            step = whole if together > 1 else self.chunk_rows
            for done in range(0, whole, step):
                yield Chunk(at * points + done, min(step, whole - done), at, done)


def _digest(*parts: object) -> str:
    return content_hash(json.dumps([RESULTS_VERSION, *parts], sort_keys=True).encode())[:16]


def backtest_ids(run_id: str, indexes: Any) -> Any:
    """Return the ids of a run's backtests as a pyarrow string array.

    An id is the run's id and the index, fixed width, so that ids sort as the run does.

    Examples
    --------
    >>> backtest_ids("0123456789abcdef", [9, 10]).to_pylist()
    ['0123456789abcdef-0000000009', '0123456789abcdef-0000000010']
    """
    import pyarrow as pa

    prefix = np.frombuffer(f"{run_id}-".encode(), np.uint8)
    width = len(prefix) + INDEX_DIGITS
    left = np.asarray(indexes, np.int64)
    rows = len(left)
    text = np.empty((rows, width), np.uint8)
    text[:, : len(prefix)] = prefix
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
    grid: Points,
    range_duration: int | Iterable[int] = 300,
    rules: Rules | None = None,
    *,
    pool: bool = False,
) -> Plan:
    """Check everything about a run and plan it, before any work starts.

    Parameters
    ----------
    sessions : Sessions or mapping of ticker to Sessions
    grid : ParameterGrid or ParameterList
    range_duration : int or iterable of int
        Seconds.
    rules : Rules, optional
    pool : bool
        One backtest for each parameter set and range duration over all tickers at once, whose days are the means of
        theirs: ``orbresearch.pool``. Default: one for each ticker.

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
    if not isinstance(grid, (ParameterGrid, ParameterList)):
        raise BadInput("grid", f"a {type(grid).__name__}", "give an orb.ParameterGrid or an orb.ParameterList")
    if rules is not None and not isinstance(rules, Rules):
        raise BadInput("rules", f"a {type(rules).__name__}", "give orb.Rules(...)")
    most = 10**INDEX_DIGITS
    backtests = (1 if pool else len(loaded)) * len(durations) * len(grid)
    if backtests > most:
        wrong = f"{backtests:,} backtests are more than a run's {most:,}"
        raise BadInput("grid", wrong, "submit it in parts")
    kinds = {item.is_bars for item in loaded.values()}
    if len(kinds) > 1:
        raise BadInput("sessions", "some tickers are bars and some are prices", "submit them as two runs")
    rules = (rules or Rules()).resolve(bars=kinds.pop())
    check_distances(grid, rules)
    inputs: tuple[Item, ...]
    if pool:
        inputs = tuple(make_pool(loaded, int(duration), grid, rules) for duration in durations)
    else:
        inputs = tuple(make_input(item, int(given), grid, rules) for item in loaded.values() for given in durations)
    _warn_of_spans(loaded, rules)
    plan = Plan(inputs, grid, rules, min(len(grid), block_rows(grid, MAX_CHUNK_ROWS)), loaded)
    warn_of_fine_distances(plan.staged, grid, rules)
    return plan


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


def block_rows(grid: Points, most: int) -> int:
    """Return how many backtests to compute at once, at most so many: of a grid, whole stop distances where they fit.

    Those share the most; the backtests of a list share nothing.
    """
    if isinstance(grid, ParameterList):
        return min(most, MAX_LIST_ROWS)
    block = prod(grid.shape[1:])
    return most // block * block if block <= most else most


def fit_chunks(plan: Plan, slots: int, keep: Keep) -> Plan:
    """Return the plan with chunks of a length that suits the cluster and what is kept.

    Seconds of work each, so that a task costs the scheduler little beside what it does; the more of them compute at
    once, the longer, because one scheduler serves them all. Short enough for every slot to get several, and no more
    rows than the store takes at once where all are kept. Small grids of many inputs go several inputs a chunk.
    """
    rate = _GRID_PACE if isinstance(plan.grid, ParameterGrid) else _LIST_PACE
    per_second = rate / max(1, max(sum(len(member.days) for member in members_of(item)) for item in plan.inputs))
    least = max(_LEAST_SECONDS, _MEMBER_SECONDS * len(plan.members) / len(plan.inputs) if plan.pooled else 0.0)
    most = per_second * max(1.0, slots / SLOTS_SERVED)
    shared = max(len(plan) / (_CHUNKS_A_SLOT * slots), least * per_second)
    rows = max(1, int(min(most, shared) if keep != "all" else min(most, shared, MAX_CHUNK_ROWS)))
    inputs = min(rows // len(plan.grid), _MOST_INPUTS, -(-len(plan.inputs) // (_CHUNKS_A_SLOT * slots)))
    if rows >= len(plan.grid):
        return replace(plan, chunk_rows=max(1, inputs) * len(plan.grid))
    return replace(plan, chunk_rows=block_rows(plan.grid, rows))


def _warn_of_spans(loaded: Mapping[str, Sessions], rules: Rules) -> None:
    """Warn when one grid of dollars meets prices of different size."""
    if len(loaded) < 2 or "dollars" not in (rules.stop_unit, rules.limit_unit):
        return
    means = {ticker: float(item.columns["price"].mean()) * item.increment for ticker, item in loaded.items()}
    least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    warnings.warn(
        f"distances are in dollars, but prices span {means[least]:,.2f} ({least}) to {means[most]:,.2f} ({most}): "
        "the same stop means something else for each ticker",
        stacklevel=3,
    )
