"""Under every rule run_backtest, run_grid and a parameter list say what the oracle says."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from orbresearch import ParameterGrid, ParameterList, Rules, run_backtest, run_grid
from orbresearch.errors import BadInput
from tests import agreement, oracle
from tests.kernels.test_agreement import COSTS, FILLS, INCREMENTS, lots
from tests.strategies import durations, sessions_of_bars, sessions_of_points

OWN = st.lists(st.sampled_from([*[0.01, 0.037, 0.05, 0.08] * 3, None, 0.0, 1.0]), min_size=3, max_size=3)
UNITS = st.sampled_from(["dollars", "dollars", "percent", "range", "own"])
#: of each unit, numbers that make distances of some increments out of prices around 1000
VALUES = {
    "dollars": st.sampled_from([0.01, 0.02, 0.03, 0.05, 0.08, 0.123, 0.0049, 0.15]),
    "percent": st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.77, 1.5]),
    "range": st.sampled_from([0.1, 0.5, 1.0, 1.3, 4.0]),
    "own": st.sampled_from([0.3, 1.0, 1.7, 2.0, 8.0]),
    "R": st.sampled_from([0.1, 0.5, 1.0, 1.5, 3.0]),
}


@dataclass
class Asked:
    """Rules as both sides take them, and one parameter set in their units."""

    rules: dict[str, Any]
    stop: float
    limit: float | None
    cooloff: int
    stop_count: int
    own: list[float | None] = field(default_factory=lambda: [None] * 3)
    dates: tuple[int, ...] | None = None
    played: tuple[str, float] | None = None  # a condition on `own`


@st.composite
def asked(draw: st.DrawFn, bar: int = 0, duration: int = 5) -> Asked:
    """Draw rules, often of several kinds at once."""
    some = st.booleans()
    rules: dict[str, Any] = {"fill": draw(FILLS)}
    rules["side"] = draw(st.sampled_from(["both"] * 4 + ["long", "short", "opening_bar"]))
    if draw(st.integers(0, 3)) == 0:
        rules |= {"side": "opening_bar", "entry": "open"}
    rules["stop_anchor"] = draw(st.sampled_from(["entry", "entry", "opposite_edge", "opposite_entry"]))
    if rules.get("entry") == "open":
        rules["stop_anchor"] = draw(st.sampled_from(["entry", "opposite_edge"]))
    elif draw(st.integers(0, 2)) == 0:
        rules["buffer_unit"] = draw(UNITS)
        rules["entry_buffer"] = draw(VALUES[rules["buffer_unit"]])
    rules["stop_unit"] = draw(UNITS)
    rules["limit_unit"] = draw(st.one_of(UNITS, st.just("R")))
    whole = bar or 1
    if draw(st.integers(0, 2)) == 0:
        rules["entry_cutoff"] = duration + whole * draw(st.sampled_from([1, 5, 20, 60, 60]))
    if draw(st.integers(0, 2)) == 0:
        rules["exit_time"] = max(
            duration + whole * draw(st.sampled_from([1, 8, 15, 40, 120])), rules.get("entry_cutoff", 0)
        )
    rules["measure"] = draw(st.sampled_from(["return", "return", "dollars"]))
    stop = draw(VALUES[rules["stop_unit"]])
    if rules["stop_anchor"] != "entry" and draw(some):
        stop = 0.0
    limit = draw(st.one_of(st.none(), VALUES[rules["limit_unit"]], VALUES[rules["limit_unit"]]))
    found = Asked(rules, stop, limit, draw(st.sampled_from([0, 1, 2, 3, 5, 20, 60])), draw(st.integers(1, 5)))
    found.own = draw(OWN)
    if draw(st.integers(0, 4)) == 0:
        found.dates = tuple(sorted(draw(st.sets(st.integers(0, 2), min_size=1))))
    if draw(st.integers(0, 4)) == 0:
        found.played = draw(st.sampled_from([(">", 0.03), ("<=", 0.05), ("!=", 0.08)]))
    return found


def labels(sessions) -> list[str]:
    return [str(label) for label in sessions.schedule.labels]


def package_rules(question: agreement.Question, one: Asked) -> Rules:
    said = dict(one.rules)
    conditions: list[Any] = []
    if one.dates is not None:
        days = [str(agreement.SCHEDULE.labels[agreement.DAYS[i]]) for i in one.dates]
        conditions.append(("date", "in", days))
    if one.played is not None:
        conditions.append(("own", *one.played))
    return Rules(commission=question.commission, slippage=question.slippage, select=conditions or None, **said)


def ask_oracle(question: agreement.Question, one: Asked):
    """Return (trades by session label, first prices) as the oracle has them."""
    days = [(day, rows) for day, rows in zip(agreement.DAYS, question.rows, strict=False)]
    sessions = []
    for index, (day, rows) in enumerate(days):
        part = agreement.Question(
            [rows], question.bar_seconds, question.duration, question.fill, question.increment_nanos
        )
        bounds = int(agreement.SCHEDULE.opens[day]), int(agreement.SCHEDULE.closes[day]), part.increment_nanos
        if part.bar_seconds:
            seen = oracle.observations_from_bars(rows, *bounds, part.bar_seconds, "nearer", "start")
        else:
            seen = oracle.observations_from_points(rows, *bounds)
        if seen:
            label = str(agreement.SCHEDULE.labels[day])
            sessions.append(oracle.Session(label, seen, {"own": one.own[index]}))
    rules = oracle.DayRules(**one.rules)
    dates = None
    if one.dates is not None:
        dates = {str(agreement.SCHEDULE.labels[agreement.DAYS[i]]) for i in one.dates}
    compare = {">": lambda v, b: v > b, "<=": lambda v, b: v <= b, "!=": lambda v, b: v != b}
    condition = None
    if one.played is not None:
        condition = lambda value: compare[one.played[0]](value, one.played[1])  # noqa: E731
    given = {"stop": one.stop, "limit": one.limit, "cooloff": one.cooloff, "stop_count": one.stop_count}
    return oracle.rule_days(
        sessions,
        question.duration,
        question.bar_seconds,
        rules,
        **given,
        increment_nanos=question.increment_nanos,
        dates=dates,
        feature="own" if one.played is not None else None,
        condition=condition,
    )


def flat_trades(days) -> list[tuple]:
    return [(t.side, t.entry_time, t.entry_price, t.exit_time, t.exit_price, t.reason) for day in days for t in day]


def package_trades(question: agreement.Question, sessions, found: pd.DataFrame) -> list[tuple]:
    """Return trades in seconds since their session's open and in increments."""
    opened = dict(zip(sessions.dates, sessions.schedule.opens, strict=True))
    unit = question.increment_nanos / agreement.NANOS
    return [
        (
            row.side,
            int(row.entry_time.timestamp()) - opened[row.session],
            round(row.entry_price / unit),
            int(row.exit_time.timestamp()) - opened[row.session],
            round(row.exit_price / unit),
            row.exit_reason,
        )
        for row in found.itertuples()
    ]


def check(question: agreement.Question, one: Asked) -> None:
    """Assert that the package says what the oracle says."""
    sessions = agreement.load(question)
    own = {str(agreement.SCHEDULE.labels[day]): value for day, value in zip(agreement.DAYS, one.own, strict=True)}
    sessions = sessions.join(pd.Series(own, name="own", dtype=float))
    rules = package_rules(question, one)
    expected, first_prices = ask_oracle(question, one)
    point = one.stop, one.stop_count, one.cooloff, one.limit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fine distances are tested apart
        if not expected:
            with pytest.raises(BadInput, match=r"no tradable session|is missing on all"):
                run_grid(sessions, ParameterGrid(*point), question.duration, rules)
            return
        try:
            single = run_backtest(sessions, question.duration, *point, rules)
        except BadInput as refused:  # what the oracle need not refuse
            if refused.what == "select" or "is missing on all" in refused.wrong:
                return
            raise
        grid = run_grid(sessions, ParameterGrid(*point), question.duration, rules).iloc[0]
        frame = pd.DataFrame([dict(zip(ParameterGrid(*point).document(), point, strict=True))])
        listed = run_grid(sessions, ParameterList(frame), question.duration, rules).iloc[0]
    assert package_trades(question, sessions, single.trades) == flat_trades(expected)
    q, cost, cost_limit = oracle.cost_scale(question.commission, question.slippage, question.increment_nanos)
    numbers = oracle.numbers(
        expected,
        first_prices,
        increment_nanos=question.increment_nanos,
        q=q,
        cost=cost,
        cost_limit=cost_limit,
        measure=rules.measure,
    )
    for row in (single.stats, grid, listed):
        agreement.assert_row(row, numbers)
    assert math.isclose(single.daily.sum(), numbers["backtest_profit"], abs_tol=1e-9)
    assert len(single.daily) == len(expected)
    assert grid.drop(["run_id", "backtest_id"]).equals(listed.drop(["run_id", "backtest_id"]))


@given(lots(sessions_of_points), st.data(), durations(), COSTS, INCREMENTS)
def test_prices_under_every_rule_agree_with_the_oracle(sessions, data, duration, costs, increment):
    one = data.draw(asked(0, duration))
    rows = agreement.dollar_rows(sessions, 0, increment)
    check(agreement.Question(rows, 0, duration, one.rules["fill"], increment, *costs), one)


@given(lots(lambda length: sessions_of_bars(bar_seconds=60, length=length)), st.data(), durations(60), COSTS)
def test_bars_under_every_rule_agree_with_the_oracle(sessions, data, duration, costs):
    one = data.draw(asked(60, duration))
    rows = agreement.dollar_rows(sessions, 60)
    check(agreement.Question(rows, 60, duration, one.rules["fill"], agreement.CENT, *costs), one)


def test_what_is_drawn_trades():
    """The draws are no idle ones: they trade, and every kind of exit comes."""
    found: list[str] = []
    drawn: list[Asked] = []

    @seed(1)
    @given(lots(sessions_of_points), asked())
    def collect(sessions, one):
        rows = agreement.dollar_rows(sessions, 0)
        days, _ = ask_oracle(agreement.Question(rows, 0, 5, one.rules["fill"]), one)
        found.extend(t.reason for day in days for t in day)
        drawn.append(one)

    collect()
    assert set(found) == {"limit", "stop", "close"}
    assert len(found) > len(drawn) / 2
