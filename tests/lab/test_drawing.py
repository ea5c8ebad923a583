"""Pictures of runs: which rows they take, against pandas; what they ask for and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.analysis.pictures.forward import windows_of
from orbresearch.analysis.verdict import MIME
from orbresearch.errors import BadInput
from tests.lab.conftest import GRID


@pytest.fixture(scope="module")
def run(lab: orb.Lab, sessions: orb.Sessions) -> orb.Run:
    return lab.submit(sessions, GRID, 300).wait()


@pytest.fixture(scope="module")
def many(lab: orb.Lab) -> orb.Run:
    market = {name: orb.synthetic_sessions(40, seed=50 + i, ticker=name) for i, name in enumerate(("AA", "BB"))}
    with pytest.warns(UserWarning, match="prices span"):
        return lab.submit(market, GRID, [300, 600]).wait()


def drawn(picture: Any) -> pd.Series:
    """Return what a heat map shows, by the words of both axes."""
    cells = next(iter(picture.plot.values())).dframe()
    return cells.set_index(["across", "up"])["value"]


def test_a_heatmap_shows_the_best_of_each_pair(lab_home: Path, run: orb.Run) -> None:
    rows = run.results()
    assert (rows["sessions_traded"] >= 30).any()
    rows = rows[rows["sessions_traded"] >= 30]
    shown = drawn(run.heatmap())
    for (stop, limit), best in rows.groupby(["stop_distance", "limit_distance"])["sharpe_ratio"].max().items():
        assert shown[f"{stop:g}", f"{limit:g}"] == best
    means = drawn(run.heatmap("stop_count_limit", "stop_cooloff_period", "trades", "mean", min_sessions=0))
    for key, mean in run.results().groupby(["stop_count_limit", "stop_cooloff_period"])["trades"].mean().items():
        assert means[str(key[0]), str(key[1])] == pytest.approx(mean)  # type: ignore[index]


def test_one_picture_never_mixes_tickers_or_durations_unasked(lab_home: Path, many: orb.Run) -> None:
    with pytest.raises(BadInput, match=r"ticker: the run has 2.*'AA', 'BB'"):
        many.heatmap(range_duration=300)
    with pytest.raises(BadInput, match=r"range_duration: the run has 2.*300, 600"):
        many.explore(ticker="AA")
    with pytest.raises(BadInput, match="ticker: 'CC' is not in the run; give one of 'AA', 'BB'"):
        many.heatmap(ticker="CC")
    picture = many.heatmap(ticker="BB", range_duration=600)
    rows = many.results(ticker="BB", where={"range_duration": 600, "sessions_traded": (30, None)})
    best = rows.groupby(["stop_distance", "limit_distance"])["sharpe_ratio"].max()
    assert sorted(drawn(picture)) == sorted(best)
    assert picture.title.startswith("BB, range 600 s, 2024-01-02 to ")
    across = drawn(many.heatmap("ticker", "range_duration"))
    assert {*across.index} == {(name, span) for name in ("AA", "BB") for span in ("300", "600")}
    assert across["BB", "600"] == best.max()


def test_a_run_that_keeps_its_best_shows_all_of_them_the_same(lab_home: Path, lab: orb.Lab, run: orb.Run) -> None:
    other = orb.synthetic_sessions(40, seed=60, ticker="KEPT")
    whole = orb.run_grid(other, GRID, 300)
    kept = lab.submit(other, GRID, 300, keep=orb.Best(5)).wait()
    for column, how in [("sharpe_ratio", "best"), ("sharpe_ratio", "mean"), ("backtest_return", "best")]:
        picture = kept.heatmap(column=column, how=how)
        expected = orb.pictures.heatmap(whole, "stop_distance", "limit_distance", column, how, min_sessions=0)
        pd.testing.assert_series_equal(drawn(picture), drawn(expected), rtol=1e-5, atol=1e-6)
        assert "32 backtests, unresolved ones and those that traded seldom among them" in picture.title
    with pytest.raises(BadInput, match="keeps the best 5 by sharpe_ratio and a summary"):
        kept.heatmap(how="median")
    with pytest.raises(BadInput, match="without min_sessions"):
        kept.heatmap(min_sessions=0)
    with pytest.warns(UserWarning, match="cells show the best 5 by sharpe_ratio only"):
        kept.explore()
    found = orb.verdict(kept)
    assert "Sharpe ratios of 32 backtests" in found.distribution().title


def test_a_verdict_draws_what_it_judged(lab_home: Path, run: orb.Run) -> None:
    found = orb.verdict(run)
    judged = found.sharpes()  # type: ignore[misc]
    rows = run.results()
    expected = rows["sharpe_ratio"][(rows["sessions_traded"] >= 30) & (rows["resolved"] == 1)]
    np.testing.assert_array_equal(np.sort(judged), np.sort(expected))
    assert np.nanmax(judged) == pytest.approx(found.luck.sharpe)
    words = " ".join(str(one.label) for one in found.distribution().plot.values())
    assert f"best backtest: {found.luck.sharpe:.2f}" in words
    assert f"median: {np.median(found.luck.luckiest):.2f}" in words


def test_a_verdict_tells_its_outcome_to_a_notebook(lab_home: Path, run: orb.Run) -> None:
    found = orb.verdict(run)
    bundle = found._repr_mimebundle_()
    told = json.loads(json.dumps(bundle[MIME], allow_nan=False))
    assert told["run_id"] == run.run_id
    assert told["tickers"] == ["SYNTHETIC"]
    assert told["p"] == found.p_value
    assert told["sharpe_ratio"] == found.luck.sharpe
    assert told["forward_sharpe"] == found.walk.sharpe_ratio  # type: ignore[union-attr]
    assert told["line"] in bundle["text/plain"]
    assert "<table>" in bundle["text/html"]


def test_where_there_is_no_best_the_outcome_says_none_and_no_picture_is_drawn(lab_home: Path, lab: orb.Lab) -> None:
    found = orb.verdict(lab.submit(orb.synthetic_sessions(8, seed=5, ticker="FEW"), GRID, 300).wait())
    told = json.loads(json.dumps(found.outcome(), allow_nan=False))
    assert [told[name] for name in ("p", "sharpe_ratio", "forward_sharpe")] == [None] * 3
    with pytest.raises(BadInput, match="verdict: nothing can be said: no resolved backtest traded in enough sessions"):
        found.distribution()


def test_a_walk_forward_shows_every_window_and_its_choice(lab_home: Path, run: orb.Run) -> None:
    walk = orb.walk_forward(run)
    assert "6 choices by sharpe_ratio" in walk.plot().title
    boxes = windows_of(walk, -1.0, 1.0)
    assert boxes["session"].dt.strftime("%Y-%m-%d").tolist() == walk.choices["test_first"].tolist()
    assert boxes["until"].tolist()[:-1] == boxes["session"].tolist()[1:]
    assert boxes["until"].iloc[-1] == walk.returns.index[-1]
    first = walk.choices.iloc[0]
    assert f"stop {first['stop_distance']:g}, stops {first['stop_count_limit']:g}" in boxes["chosen"][0]
    curve = list(walk.plot().plot.values())[-1]
    np.testing.assert_allclose(curve.dimension_values("earned"), 100 * walk.returns.cumsum())


def test_a_window_without_a_choice_says_so(lab_home: Path, lab: orb.Lab) -> None:
    few = lab.submit(orb.synthetic_sessions(24, seed=6, ticker="FEW2"), GRID, 300).wait()
    walk = orb.walk_forward(few, orb.Walk(12, train=6, by="win_rate"))
    walk.choices.loc[1, ["backtest_id", "chosen_at", "sharpe_ratio"]] = None
    boxes = windows_of(walk, 0.0, 0.0)
    assert boxes["chosen"][1] == "nothing: no backtest had traded enough"
    assert boxes["promised"][1] == boxes["kept"][1] == "undefined"


def test_what_is_explored_is_the_run_and_its_days(lab_home: Path, run: orb.Run) -> None:
    picture = run.explore(how="best")
    best = run.best(1, luck=False).iloc[0]
    point = f"stop {best['stop_distance']:g}, limit {best['limit_distance']:g}"
    equity = picture.page.values()[1]
    assert point in str(equity.opts.get("plot").kwargs["title"])
