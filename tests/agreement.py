"""The same question to the oracle and to the package, from the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from orbresearch import run_backtest, run_grid
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid
from orbresearch.rules import NANOS, Rules
from orbresearch.sessions.calendar import load_schedule
from orbresearch.sessions.dataset import Sessions, build_sessions
from orbresearch.sessions.ranges import find_ranges
from orbresearch.sessions.rows import Rows
from tests import oracle
from tests.strategies import bar_rows, point_rows

SCHEDULE = load_schedule("XNYS", 2024, 2024)
#: Four sessions on both sides of a clock change, one of them a half-day.
DAYS = [np.flatnonzero(np.datetime64(day) == SCHEDULE.labels)[0] for day in ("2024-03-08", "2024-03-11", "2024-07-03")]
CENT = NANOS // 100


@dataclass
class Question:
    """Sessions (oracle's rows by day) and everything else that decides the numbers."""

    rows: list[list[tuple]]  # one list per session, dollars
    bar_seconds: int
    duration: int
    fill: str
    increment_nanos: int = CENT
    commission: float = 0.0
    slippage: float = 0.0
    path: str = "nearer"
    stamp: str = "start"

    @property
    def rules(self) -> Rules:
        return Rules(commission=self.commission, slippage=self.slippage, fill=self.fill)


def length(day: int) -> int:
    return int(SCHEDULE.closes[DAYS[day]] - SCHEDULE.opens[DAYS[day]])


def dollar_rows(sessions: list[list[tuple]], bar_seconds: int, increment_nanos: int = CENT) -> list[list[tuple]]:
    """Turn drawn sessions (seconds since the open, increments) into rows of UTC seconds and dollars."""
    turn = bar_rows if bar_seconds else point_rows
    opens = [int(SCHEDULE.opens[day]) for day in DAYS]
    return [turn(session, opened, increment_nanos) for session, opened in zip(sessions, opens, strict=False)]


def load(question: Question) -> Sessions:
    """Load the rows as the package does."""
    table = [row for day in question.rows for row in day]
    time = np.array([row[0] for row in table], np.int64)
    values = np.array([row[1:] for row in table], np.float64)
    if question.bar_seconds:
        columns = dict(zip(("open", "high", "low", "price"), values.T, strict=True))
        rows = Rows("TEST", time, bar_seconds=question.bar_seconds, stamp=question.stamp, **columns)
    else:
        rows = Rows("TEST", time, values[:, 0])
    return build_sessions(rows, SCHEDULE, question.path, question.increment_nanos, "test")


def observe(question: Question) -> list[list[oracle.Obs]]:
    """Let the oracle read the rows; sessions without an observation fall away."""
    found = []
    for index, rows in zip(DAYS, question.rows, strict=False):
        bounds = int(SCHEDULE.opens[index]), int(SCHEDULE.closes[index]), question.increment_nanos
        if question.bar_seconds:
            extra = question.bar_seconds, question.path, question.stamp
            found.append(oracle.observations_from_bars(rows, *bounds, *extra))
        else:
            found.append(oracle.observations_from_points(rows, *bounds))
    return [observations for observations in found if observations]


def oracle_days(question: Question, point: tuple[int, int, int, int], *, compressed: bool = True):
    """Return the oracle's trades and first price of every tradable session."""
    stop, limit, cooloff, stop_count = point
    days, first_prices = [], []
    offset = -(-10_000_000 // question.increment_nanos) if question.fill == "level" else 1
    for observations in observe(question):
        ticks = oracle.compress(observations) if compressed else oracle.uncompressed(observations)
        found = oracle.opening_range(observations, question.duration, question.bar_seconds)
        if found is None:
            continue
        distances = {"stop": stop, "limit": limit, "cooloff": cooloff, "stop_count": stop_count}
        days.append(oracle.day(ticks, found, **distances, fill=question.fill, level_offset=offset))
        first_prices.append(observations[0].price)
    return days, first_prices


def check(question: Question, point: tuple[int, int, int, int]) -> None:
    """Assert that run_backtest and run_grid say what the oracle says, to the cent and the second."""
    stop, limit, cooloff, stop_count = point
    sessions = load(question)
    seen = observe(question)
    assert [len(s) for s in seen] == np.diff(sessions.pointers).tolist()
    assert_ticks(sessions, seen)
    days, first_prices = oracle_days(question, point)
    dollars = [distance * question.increment_nanos / NANOS for distance in (stop, limit)]
    grid = ParameterGrid(dollars[0], stop_count, cooloff, dollars[1])
    if not days:
        for call in (run_grid, find_tradable):
            with pytest.raises(BadInput, match="no tradable session"):
                call(sessions, grid, question.duration, question.rules)
        return
    one = run_backtest(sessions, question.duration, dollars[0], stop_count, cooloff, dollars[1], question.rules)
    assert_trades(question, sessions, one.trades, days)
    costs = oracle.cost_scale(question.commission, question.slippage, question.increment_nanos)
    expected = oracle.numbers(
        days, first_prices, increment_nanos=question.increment_nanos, q=costs[0], cost=costs[1], cost_limit=costs[2]
    )
    row = run_grid(sessions, grid, question.duration, question.rules).iloc[0]
    assert_row(row, expected)
    assert_row(one.stats, expected)
    assert math.isclose(one.daily.sum(), expected["backtest_profit"], abs_tol=1e-9)
    assert len(one.daily) == len(days)


def find_tradable(sessions, grid, duration, rules):
    table = find_ranges(sessions, duration).table
    if len(table) == 0:
        raise BadInput("test", "no tradable session", "")


def assert_ticks(sessions: Sessions, seen: list[list[oracle.Obs]]) -> None:
    series = sessions.series
    for index, observations in enumerate(seen):
        at = slice(series.pointers[index], series.pointers[index + 1])
        got = list(zip(*(column[at].tolist() for column in series.columns.values()), strict=True))
        expected = [(t.time, t.until, t.price, int(t.first_of_bar)) for t in oracle.compress(observations)]
        assert got == expected


def assert_trades(question: Question, sessions: Sessions, trades: pd.DataFrame, days: list[list[oracle.Trade]]) -> None:
    table = find_ranges(sessions, question.duration).table
    opens = sessions.schedule.opens[table["session"]]
    expected = [
        (
            t.side,
            int(o) + t.entry_time,
            t.entry_price * question.increment_nanos / NANOS,
            int(o) + t.exit_time,
            t.exit_price * question.increment_nanos / NANOS,
            t.reason,
        )
        for o, day in zip(opens, days, strict=True)
        for t in day
    ]
    got = [
        (
            row.side,
            int(row.entry_time.timestamp()),
            row.entry_price,
            int(row.exit_time.timestamp()),
            row.exit_price,
            row.exit_reason,
        )
        for row in trades.itertuples()
    ]
    assert got == expected


def assert_row(row: pd.Series, expected: dict[str, float | int | None]) -> None:
    for name, value in expected.items():
        got = row[name]
        if value is None:
            assert pd.isna(got), f"{name}: {got}, the oracle says undefined"
        else:
            assert math.isclose(got, value, rel_tol=1e-12, abs_tol=1e-15), f"{name}: {got}, the oracle says {value}"
