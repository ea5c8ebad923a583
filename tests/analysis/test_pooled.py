"""Pooled backtests against each ticker's own days, averaged by date with pandas."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import (
    Best,
    ParameterGrid,
    ParameterList,
    Rules,
    load_sessions,
    make_plan,
    run_backtest,
    run_grid,
    synthetic_sessions,
)
from orbresearch.analysis import grids, pooled
from orbresearch.analysis.best import compute_best
from orbresearch.analysis.grids import compute_sums
from orbresearch.analysis.moments import compute_moments, draw_days
from orbresearch.analysis.performance import compute_columns
from orbresearch.errors import BadInput
from orbresearch.plan import Chunk
from tests.sources import market

pytestmark = [
    pytest.mark.filterwarnings("ignore:distances are in dollars"),
    pytest.mark.filterwarnings("ignore:.* make the same backtests:UserWarning"),
]

#: Of different lengths: the second begins later, the third ends sooner; no two dates in a row have the same tickers.
FEW = {
    "B": synthetic_sessions(30, seed=1, ticker="B").between("2024-01-17", None),
    "A": synthetic_sessions(30, seed=2, ticker="A"),
    "C": synthetic_sessions(24, seed=3, ticker="C"),
}
EVEN = pd.Series(range(30), FEW["A"].dates, name="even") % 2
ODD = {ticker: one.join(EVEN if ticker != "B" else 1 - EVEN) for ticker, one in FEW.items()}
#: Prices of increments that share no q: .01 and .0001; and bars, one of them too coarse for the finest stops.
FINE = {
    "TEST": load_sessions(market.prices(), "TEST"),
    "FINE": load_sessions(market.prices(ticker="FINE", seed=5), "FINE", increment=0.0001),
}
BARS = {
    "TEST": load_sessions(market.bars(), "TEST"),
    "WIDE": load_sessions(market.bars(ticker="WIDE", seed=8), "WIDE", increment=0.0001),
}
GRID = ParameterGrid([0.5, 0.2, 0.5], [2, 1], [60, 0], [1, None, 3.0])
CASES = {
    "default": (FEW, Rules()),
    "dollars": (FEW, Rules(measure="dollars", commission=0.0005)),
    "open": (FEW, Rules(side="opening_bar", entry="open", stop_unit="range", exit_time=14_400)),
    "by date": (FEW, Rules(select=[("date", ">=", "2024-01-24")])),
    "by feature": (ODD, Rules(select=[("even", "==", 0)])),
    "increments": (FINE, Rules(commission=0.0035, slippage=0.0021)),
    "increments in dollars": (FINE, Rules(commission=0.0035, slippage=0.0021, measure="dollars")),
    "bars": (BARS, Rules(commission=0.0005)),
}
DRAWS = draw_days(30, 20, seed=7)


def planned(sessions, grid, rules):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return make_plan(sessions, grid, 300, rules, pool=True)


def chunk(first, rows):
    return Chunk(first, rows, 0, first)


def by_ticker(sessions, point, rules):
    """Return each ticker's backtest, and on which of its tradable dates it is present."""
    found = {}
    for ticker, one in sessions.items():
        backtest = run_backtest(one, 300, *point.values(), rules)
        wanted = one.features["even"] == 0 if "even" in rules.columns else pd.Series(True, one.dates)
        found[ticker] = backtest, wanted[backtest.daily.index]
    return found


def means(sessions, point, rules):
    """Return x_d in dollars, and r_d in whole units of return with the number of those in 1."""
    profits, returns = {}, {}
    for ticker, (one, present) in by_ticker(sessions, point, rules).items():
        first = sessions[ticker].features["open"][one.daily.index]
        profits[ticker] = one.daily[present]
        returns[ticker] = (one.daily / first * 1e8).round().astype(np.int64)[present]
        profits[ticker] = profits[ticker].reindex(one.daily.index)
    profits = pd.DataFrame(profits).sort_index()
    if rules.measure == "dollars":
        exact = profits.apply(lambda row: sum(Fraction(f"{value:.9f}") for value in row.dropna()), axis=1)
        count = profits.count(axis=1).clip(lower=1)
        return profits.mean(axis=1).fillna(0), [round(s * 10**6 / n) for s, n in zip(exact, count, strict=True)], 1e6
    returns = pd.DataFrame(returns).reindex(profits.index)
    both = zip(returns.sum(axis=1), returns.count(axis=1).clip(lower=1), strict=True)
    return profits.mean(axis=1).fillna(0), [round(Fraction(int(s), int(n))) for s, n in both], 1e8


def expected(sessions, point, rules):
    """Return what a pooled row must say."""
    x, r, whole = means(sessions, point, rules)
    made = {ticker: one.trades for ticker, (one, _) in by_ticker(sessions, point, rules).items()}
    trades = pd.concat([one.assign(ticker=ticker) for ticker, one in made.items()])
    dates, total, falls = trades["session"].unique(), np.cumsum(r), np.minimum(r, 0)
    profit = trades["profit"].round(9)
    moves = (trades["exit_price"] - trades["entry_price"]) * trades["side"]
    peak = np.maximum.accumulate(np.maximum(total, 0))
    return {
        "backtest_profit": x.sum(),
        "backtest_return": sum(r) / whole,
        "average_holding_period": trades.groupby(["ticker", "session"])["holding_seconds"].mean().mean(),
        "win_rate_percent": round(Fraction(100 * int((x.round(9) > 0).sum()), len(dates))),
        "sessions": len(x),
        "sessions_traded": len(dates),
        "trades": len(trades),
        "stops": (trades["exit_reason"] == "stop").sum(),
        "win_rate": (profit > 0).mean(),
        "gross_profit": profit[profit > 0].sum(),
        "gross_loss": -profit[profit < 0].sum(),
        "profit_factor": profit[profit > 0].sum() / -profit[profit < 0].sum() if (profit < 0).any() else math.nan,
        "expectancy": profit.mean(),
        "break_even_cost": moves.sum() / 2 / len(trades),
        "sharpe_ratio": np.mean(r) / np.std(r, ddof=1) * math.sqrt(252),
        "sortino_ratio": np.mean(r) / math.sqrt(np.mean(falls.astype(float) ** 2)) * math.sqrt(252)
        if falls.any()
        else math.nan,
        "max_drawdown": (total - peak).min() / whole,
    }


@pytest.mark.parametrize(("sessions", "rules"), CASES.values(), ids=list(CASES))
def test_every_column_is_that_of_the_tickers_own_days(sessions, rules):
    rows = run_grid(sessions, GRID, 300, rules, pool=True)
    assert len(rows) == len(GRID)
    for i, point in list(enumerate(GRID))[::5]:
        for name, value in expected(sessions, point, rules).items():
            assert rows[name][i] == pytest.approx(value, rel=1e-9, abs=1e-8, nan_ok=True), (name, point)


@pytest.mark.parametrize(("sessions", "rules"), CASES.values(), ids=list(CASES))
def test_visited_are_the_means_by_date_to_the_unit(sessions, rules):
    plan, found = planned(sessions, GRID, rules), {}

    def visit(rows, daily, sums):
        assert daily.shape == (len(plan.inputs[0].days), len(rows))
        assert daily.sum(axis=0).tolist() == sums["returns"].tolist()
        found.update(zip(rows.tolist(), daily.T.tolist(), strict=True))

    compute_sums(plan.inputs[0], GRID, plan.rules, chunk(0, len(GRID)), visit)
    for i, point in list(enumerate(GRID))[::5]:
        x, r, _ = means(sessions, point, rules)
        assert found[i] == r
        assert plan.inputs[0].days.tolist() == [day.date() for day in x.index]


def test_a_pool_of_one_is_that_ticker():
    for rules in (Rules(), Rules(commission=0.0005, fill="level")):
        alone, pool = run_grid(FEW["A"], GRID, 300, rules), run_grid(FEW["A"], GRID, 300, rules, pool=True)
        names = [name for name in alone if name not in ("backtest_id", "run_id", "ticker")]
        pd.testing.assert_frame_equal(pool[names], alone[names], rtol=1e-14)
        assert set(pool["ticker"]) == {"POOL:A"}


def test_who_is_not_selected_does_not_dilute_the_mean():
    """A on even dates only, B on odd ones, C on even ones: alone they have flat days, together none is."""
    rules = Rules(select=[("even", "==", 0)])
    pool = planned(ODD, GRID, rules).inputs[0]
    assert [len(member.days) + len(member.unselected) for member in pool.members] == [30, 20, 24]
    assert sorted(len(member.days) for member in pool.members) == [10, 12, 15]
    never = {ticker: one.join(pd.Series(0.0, one.dates, name="never")) for ticker, one in FEW.items()}
    never["A"] = FEW["A"].join(pd.Series(1.0, FEW["A"].dates, name="never"))
    rows = run_grid(never, GRID, 300, Rules(select=("never", ">", 0)), pool=True)
    alone = run_grid(never["A"], GRID, 300, Rules(select=("never", ">", 0)))
    assert rows["backtest_profit"].tolist() == alone["backtest_profit"].tolist()
    assert rows["sharpe_ratio"].tolist() == alone["sharpe_ratio"].tolist()


def test_a_date_on_which_none_is_selected_is_a_flat_day():
    rare = pd.Series([0.0] * 28 + [1.0] * 2, FEW["A"].dates, name="rare")
    sessions = {ticker: one.join(rare) for ticker, one in FEW.items()}
    row = run_grid(sessions, GRID, 300, Rules(select=("rare", "==", 1)), pool=True).iloc[0]
    assert (row["sessions"], row["sessions_traded"]) == (30, 2)
    with pytest.raises(BadInput, match=r"holds on none of the sessions of POOL:A\+B\+C"):
        run_grid(sessions, GRID, 300, Rules(select=("rare", "==", 7)), pool=True)


def test_a_pool_is_resolved_where_every_ticker_is():
    grid = ParameterGrid([0.05, 0.1, 0.2, 0.3, 0.5, 1, 2], 1, 60, [1, 5])
    rows = run_grid(BARS, grid, 300, pool=True)["resolved"]
    alone = run_grid(BARS, grid, 300)["resolved"].to_numpy().reshape(2, -1)
    assert rows.tolist() == alone.min(axis=0).tolist()
    assert set(rows) == {0, 1}


@given(st.lists(st.integers(0, len(GRID)), max_size=4), st.sampled_from([1, 100, 700, 10**6]), st.permutations("ABC"))
def test_neither_chunks_nor_blocks_nor_the_order_of_tickers_change_a_bit(cuts, most, order):
    rules, whole = Rules(commission=0.0035), None
    edges = [*itertools.pairwise(sorted({0, len(GRID), *cuts}))]
    with pytest.MonkeyPatch.context() as patch:
        for stretches, tickers in ((((0, len(GRID)),), "ABC"), (edges, order)):
            plan = planned({ticker: FEW[ticker] for ticker in tickers}, GRID, rules)
            item, columns, maxima = plan.inputs[0], [], np.full(20, -np.inf)
            for first, last in stretches:
                part = chunk(first, last - first)
                columns.append(compute_columns(item, GRID, plan.rules, part))
                maxima = np.maximum(maxima, compute_moments(item, GRID, plan.rules, part, None, DRAWS, 5).maxima)
            joined = {name: np.concatenate([one[name] for one in columns]).tobytes() for name in columns[0]}
            whole = whole or (plan.run_id, joined, maxima.tobytes())
            assert (plan.run_id, joined, maxima.tobytes()) == whole
            patch.setattr(pooled, "_DAILY", most)
            patch.setattr(grids, "_DAILY", most)


def test_a_list_has_the_grids_rows():
    points = ParameterList(pd.DataFrame(list(GRID)))
    one, other = (run_grid(FEW, each, 300, pool=True).iloc[:, 2:] for each in (GRID, points))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_moments_of_a_pool_are_those_of_its_days():
    plan = planned(FEW, GRID, Rules())
    days = np.array([means(FEW, point, Rules())[1] for point in GRID])
    blocks = np.arange(30) // 10
    found = compute_moments(plan.inputs[0], GRID, plan.rules, chunk(0, len(GRID)), blocks, DRAWS, min_sessions=5)
    for block in range(3):
        assert found.sums[:, block].tolist() == days[:, blocks == block].sum(axis=1).tolist()
        assert found.squares[:, block].tolist() == (days[:, blocks == block] ** 2).sum(axis=1).tolist()
    drawn = [days[:, np.repeat(np.arange(30), one)] for one in DRAWS]
    t = [(one.mean(axis=1) - days.mean(axis=1)) / one.std(axis=1, ddof=1) * math.sqrt(30) for one in drawn]
    np.testing.assert_allclose(found.maxima, np.max(t, axis=1), rtol=0, atol=1e-4)


def test_the_best_of_a_pool_are_those_of_all_its_rows():
    plan, keep = planned(FEW, GRID, Rules()), Best(4, min_sessions=10)
    batch, summary = compute_best(plan.run_id, plan.inputs[0], GRID, plan.rules, chunk(0, len(GRID)), keep)
    rows = run_grid(FEW, GRID, 300, pool=True)
    best = rows.sort_values(["sharpe_ratio", "backtest_id"], ascending=[False, True]).head(4).sort_values("backtest_id")
    pd.testing.assert_frame_equal(batch.to_pandas(), best.reset_index(drop=True), check_exact=True)
    assert summary.cells["backtests"].to_numpy()[:2].sum() > 0


def test_no_trade_of_any_ticker_has_zeros_and_undefined_ratios():
    still = {
        ticker: load_sessions(market.prices(ticker=ticker).assign(price=100.0), ticker) for ticker in ("STILL", "CALM")
    }
    row = run_grid(still, ParameterGrid(0.5, 1, 0, 1), 300, pool=True).iloc[0]
    assert (row[["backtest_profit", "trades", "sessions_traded", "gross_loss", "max_drawdown"]] == 0).all()
    assert row[["average_holding_period", "win_rate_percent", "expectancy", "sharpe_ratio"]].isna().all()
