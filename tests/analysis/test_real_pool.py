"""Real stocks, ranked by the width of their opening ranges and pooled, against their own days averaged by pandas."""

from __future__ import annotations

import pandas as pd
import pytest

from orbresearch import ParameterGrid, Rules, load_sessions, run_backtest, run_grid
from orbresearch.sessions.ranking import rank

pytestmark = pytest.mark.filterwarnings("ignore:.*distances are in dollars|.*below .*'s increment")

TICKERS, TOP = 60, 5
POINT = (0.5, 2, 120, 2.0)
RULES = Rules(select=("rank", "<=", TOP), stop_unit="range", limit_unit="R")


def test_the_widest_ranges_of_each_morning_are_pooled(market_data):
    path = market_data / "imperial_1min_2026_530tickers.parquet"
    names = sorted(pd.read_parquet(path, columns=["ticker"])["ticker"].unique())[:TICKERS]
    sessions = load_sessions(path, names)
    widths = pd.DataFrame({name: one.features_of(300)["range"] for name, one in sessions.items()})
    ranked = rank(sessions, by="range", top=TOP)
    profits, returns = {}, {}
    for name, one in ranked.items():
        larger = widths.gt(widths[name], axis=0).sum(axis=1)
        equal = widths.loc[:, :name].eq(widths[name], axis=0).sum(axis=1) - 1  # in the order of the alphabet
        first = (larger + equal + 1 <= TOP) & widths[name].notna()
        found = run_backtest(one, 300, *POINT, RULES)
        profits[name] = found.daily[first.reindex(found.daily.index)]
        returns[name] = (profits[name] / one.features["open"] * 1e8).dropna().round()
    x, r = pd.DataFrame(profits), pd.DataFrame(returns)
    assert (x.count(axis=1) == TOP).all()
    row = run_grid(ranked, ParameterGrid(*POINT), 300, RULES, pool=True).iloc[0]
    assert row["ticker"] == f"POOL:{len(ranked)}"
    assert row["sessions"] == len(x)
    assert row["backtest_profit"] == pytest.approx(x.mean(axis=1).sum(), abs=1e-8)
    daily = r.mean(axis=1)
    assert row["backtest_return"] * 1e8 == pytest.approx(daily.sum(), abs=len(x) / 2)
    assert row["sharpe_ratio"] == pytest.approx(daily.mean() / daily.std() * 252**0.5, rel=1e-6)
