"""A pool equals the oracle's days of each ticker, averaged in exact fractions, whatever hypothesis can think of."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import ParameterGrid, run_grid
from orbresearch.errors import BadInput
from orbresearch.rules import NANOS
from tests import agreement, oracle
from tests.kernels.test_agreement import COSTS, FILLS, INCREMENTS, lots
from tests.strategies import durations, parameters, sessions_of_points

#: Of three tickers: prices, their increment, and the days on which there are any.
TICKERS = st.lists(
    st.tuples(lots(sessions_of_points), INCREMENTS, st.tuples(*(st.booleans(),) * len(agreement.DAYS))),
    min_size=1,
    max_size=3,
)


def days_of(question, cents):
    """Return the oracle's trades and first price by day, of the tradable ones, and what turns trades into units."""
    nanos, found = question.increment_nanos, {}
    stop, limit, cooloff, stop_count = cents
    distances = {"stop": stop * agreement.CENT // nanos, "limit": limit * agreement.CENT // nanos}
    offset = -(-agreement.CENT // nanos) if question.fill == "level" else 1
    for index, rows in zip(agreement.DAYS, question.rows, strict=True):
        bounds = int(agreement.SCHEDULE.opens[index]), int(agreement.SCHEDULE.closes[index]), nanos
        seen = oracle.observations_from_points(rows, *bounds)
        opening = oracle.opening_range(seen, question.duration) if seen else None
        if opening is not None:
            how = {"cooloff": cooloff, "stop_count": stop_count, "fill": question.fill, "level_offset": offset}
            found[index] = oracle.day(oracle.compress(seen), opening, **distances, **how), seen[0].price
    return found, oracle.cost_scale(question.commission, question.slippage, nanos)


def expected(questions, cents):
    """Return a pooled row's columns, from exact fractions of dollars and returns."""
    by_day, every, held = {}, [], []
    for question in questions:
        days, (q, cost, cost_limit) = days_of(question, cents)
        dollars = Fraction(question.increment_nanos, NANOS)
        for index, (trades, first) in days.items():
            units = [oracle.profit_of(trade, q, cost, cost_limit) for trade in trades]
            x = sum(units) * dollars / q
            by_day.setdefault(index, []).append((x, oracle.session_return(sum(units), q, first), len(trades)))
            moves = [(trade.exit_price - trade.entry_price) * trade.side * dollars for trade in trades]
            ends = [trade.reason == "stop" for trade in trades]
            every += list(zip([unit * dollars / q for unit in units], moves, ends, strict=True))
            held += [oracle.holding_micros(trades)] if trades else []
    means = [
        [Fraction(sum(column), len(day)) for column in zip(*day, strict=True)] for _, day in sorted(by_day.items())
    ]
    x, r = [round(mean[0] * 10**9) for mean in means], [round(mean[1]) for mean in means]
    traded = sum(1 for mean in means if mean[2] > 0)
    gains = sum(profit for profit, _, _ in every if profit > 0)
    losses = -sum(profit for profit, _, _ in every if profit < 0)

    def over(total, count):
        return float(Fraction(total) / count) if count else None

    return {
        "backtest_profit": float(Fraction(sum(x), 10**9)),
        "backtest_return": float(Fraction(sum(r), 10**8)),
        "average_holding_period": over(Fraction(sum(held), 10**6), len(held)),
        "win_rate_percent": round(Fraction(100 * sum(1 for m in means if m[0] > 0), traded)) if traded else None,
        "sessions": len(means),
        "sessions_traded": traded,
        "trades": len(every),
        "stops": sum(stopped for _, _, stopped in every),
        "win_rate": over(sum(1 for profit, _, _ in every if profit > 0), len(every)),
        "gross_profit": float(gains),
        "gross_loss": float(losses),
        "profit_factor": over(gains, losses),
        "expectancy": over(gains - losses, len(every)),
        "break_even_cost": over(sum(move for _, move, _ in every), 2 * len(every)),
        "sharpe_ratio": oracle.sharpe(r),
        "sortino_ratio": oracle.sortino(r),
        "max_drawdown": float(Fraction(oracle.max_drawdown(r), 10**8)),
    }


@given(TICKERS, parameters(), durations(), FILLS, COSTS)
def test_a_pool_agrees_with_the_oracle(tickers, cents, duration, fill, costs):
    questions, sessions = [], {}
    for at, (drawn, increment, there) in enumerate(tickers):
        rows = agreement.dollar_rows(drawn, 0, increment)
        rows = [day if has or not any(there) else [] for day, has in zip(rows, there, strict=True)]
        questions.append(agreement.Question(rows, 0, duration, fill, increment, *costs))
        sessions[f"T{at}"] = replace(agreement.load(questions[-1]), ticker=f"T{at}")
    grid = ParameterGrid(cents[0] / 100, cents[3], cents[2], cents[1] / 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if not all(days_of(question, cents)[0] for question in questions):
            with pytest.raises(BadInput, match="no tradable session"):
                run_grid(sessions, grid, duration, questions[0].rules, pool=True)
            return
        row = run_grid(sessions, grid, duration, questions[0].rules, pool=True).iloc[0]
    agreement.assert_row(row, expected(questions, cents))
    assert math.isclose(row["resolved"], 1)
