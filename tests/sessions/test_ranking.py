"""A ranking across tickers against one counted by hand; what a rule makes of it, alone and pooled."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbresearch import ParameterGrid, Rules, load_sessions, run_backtest, run_grid, synthetic_sessions
from orbresearch.errors import BadInput
from orbresearch.sessions.ranking import rank
from tests.sources import market

pytestmark = pytest.mark.filterwarnings("ignore:distances are in dollars")

DAYS = 6
MARKET = {
    "B": synthetic_sessions(DAYS, seed=1, ticker="B"),
    "A": synthetic_sessions(DAYS, seed=2, ticker="A"),
    "D": synthetic_sessions(DAYS, seed=3, ticker="D").between("2024-01-04", None),
    "C": synthetic_sessions(DAYS, seed=4, ticker="C").between(None, "2024-01-08"),
}
#: 20 sessions of one-minute bars, whose volumes are drawn for each ticker.
DATES = [str(day.date()) for day in market.CALENDAR.sessions_in_range("2024-06-03", "2024-07-01")]


def traded(ticker: str, seed: int):
    frame = market.bars(tuple(DATES), ticker=ticker, seed=seed)
    return load_sessions(frame.assign(volume=np.random.default_rng(seed).integers(1, 1000, len(frame))), ticker)


def with_scores(scores: dict[str, list[float]]):
    """Return sessions with a column of one's own, and the same by ticker and date."""
    joined, table = {}, {}
    for ticker, one in MARKET.items():
        values = pd.Series(scores[ticker][: len(one)], one.dates, name="score")
        joined[ticker] = one.join(values)
        table |= {(ticker, date): value for date, value in values.items() if not math.isnan(value)}
    return joined, table


def place(table, ticker, date, ascending):
    """Count who comes before a ticker on a date."""
    mine = table[ticker, date]
    before = [
        other
        for (other, day), value in table.items()
        if day == date and ((value < mine if ascending else value > mine) or (value == mine and other < ticker))
    ]
    return 1 + len(before)


_SCORES = st.lists(st.sampled_from([0.0, -1.0, 1.5, 2.0, math.nan]), min_size=DAYS, max_size=DAYS)


@pytest.mark.filterwarnings("ignore:rank. score is missing")
@given(st.fixed_dictionaries(dict.fromkeys(MARKET, _SCORES)), st.booleans(), st.integers(1, 5))
def test_a_place_counts_who_comes_before(scores, ascending, top):
    joined, table = with_scores(scores)
    if not table:
        with pytest.raises(BadInput, match="missing on all sessions of all 4 tickers"):
            rank(joined, "score", top, ascending)
        return
    expected = {
        ticker: [place(table, ticker, date, ascending) if (ticker, date) in table else math.nan for date in one.dates]
        for ticker, one in joined.items()
    }
    found = rank(joined, "score", top, ascending)
    assert list(found) == [ticker for ticker, places in expected.items() if any(one <= top for one in places)]
    for ticker, one in found.items():
        np.testing.assert_array_equal(one.features["rank"], expected[ticker])


def test_relative_volume_is_the_ranges_against_the_fourteen_before():
    sessions = {ticker: traded(ticker, seed) for seed, ticker in enumerate("XYZ")}
    found, table = rank(sessions, range_duration=600, top=3), {}
    for seed, ticker in enumerate("XYZ"):
        frame = market.bars(tuple(DATES), ticker=ticker, seed=seed)
        volume = np.random.default_rng(seed).integers(1, 1000, len(frame))
        opens = np.array([market.opened(str(day.date())) for day in sessions[ticker].dates])
        early = [volume[(frame["timestamp_utc"] >= at) & (frame["timestamp_utc"] < at + 600)].sum() for at in opens]
        relative = pd.Series(early, sessions[ticker].dates) / pd.Series(early).rolling(14).mean().shift().to_numpy()
        table |= {(ticker, date): value for date, value in relative.dropna().items()}
    assert len(table) == 3 * (len(DATES) - 14)
    for ticker, one in found.items():
        places = one.features["rank"]
        assert places.isna().sum() == 14
        assert all(value == place(table, ticker, date, False) for date, value in places.dropna().items())


def test_a_place_knows_nothing_of_what_comes_after_the_range():
    """Volumes after the range, and all of the later sessions, change nothing."""
    sessions = {ticker: traded(ticker, seed) for seed, ticker in enumerate("XYZ")}
    other = {}
    for seed, ticker in enumerate("XYZ"):
        frame = market.bars(tuple(DATES), ticker=ticker, seed=seed)
        volume = np.random.default_rng(seed).integers(1, 1000, len(frame)).astype(float)
        opens = np.array([market.opened(day) for day in DATES])
        since = frame["timestamp_utc"].to_numpy() - opens[np.searchsorted(opens, frame["timestamp_utc"], "right") - 1]
        late = (since >= 300) | (frame["timestamp_utc"].to_numpy() >= opens[17])
        volume[late] = np.random.default_rng(99 - seed).integers(1, 10**6, late.sum())
        other[ticker] = load_sessions(frame.assign(volume=volume), ticker)
    one, two = (
        {ticker: ranked.features["rank"][:17].tolist() for ticker, ranked in rank(given, top=3).items()}
        for given in (sessions, other)
    )
    assert str(one) == str(two)  # NaN is NaN


def test_a_rule_trades_whoever_is_among_the_first_and_a_pool_averages_those():
    ranked, point = rank(MARKET, by="range", top=2), (0.3, 2, 60, 1.0)
    rules, grid = Rules(select=("rank", "<=", 2)), ParameterGrid(*point)
    daily = {}
    for ticker, one in ranked.items():
        found = run_backtest(one, 300, *point, rules)
        first = one.features["rank"][found.daily.index] <= 2
        assert (found.daily[~first] == 0).all()
        daily[ticker] = found.daily[first]
    mean = pd.DataFrame(daily).mean(axis=1)
    row = run_grid(ranked, grid, 300, rules, pool=True).iloc[0]
    assert (pd.DataFrame(daily).count(axis=1) == 2).all()
    assert (row["sessions"], len(mean)) == (DAYS, DAYS)
    assert row["backtest_profit"] == pytest.approx(mean.sum(), abs=1e-8)


def test_a_second_ranking_has_a_name_of_its_own():
    found = rank(rank(MARKET, by="range"), by="gap", ascending=True, name="gap_rank")
    assert {"rank", "gap_rank"} <= set(found["A"].features)
    with pytest.raises(BadInput, match="a column 'rank' is joined already"):
        rank(found, by="gap")


def test_who_has_no_value_is_named():
    some = {ticker: one.join(pd.Series(1.0, one.dates, name="own")) for ticker, one in MARKET.items() if ticker != "C"}
    some["C"] = MARKET["C"].join(pd.Series(math.nan, MARKET["C"].dates, name="own"))
    with pytest.warns(UserWarning, match="own is missing on all sessions of 1 of 4 tickers, which are left out: C"):
        assert list(rank(some, by="own")) == ["B", "A", "D"]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"by": "close"}, "known only after its close"),
        ({"by": "observations"}, "known only after its close"),
        ({"by": "nothing"}, "no column 'nothing'"),
        ({"by": "relative_volume"}, "missing on all sessions of all 4 tickers; relative_volume wants volumes"),
        ({"by": "gap", "top": 0}, "0 is no number of tickers"),
        ({"by": "gap", "top": 1.5}, "1.5 is no number of tickers"),
        ({"by": "range", "range_duration": -1}, "range_duration"),
        ({"sessions": MARKET["A"]}, "give a mapping of ticker to Sessions"),
        ({"sessions": {}}, "give a mapping of ticker to Sessions"),
    ],
)
def test_what_cannot_be_ranked_is_refused(given, what):
    with pytest.raises(BadInput, match=what):
        rank(**({"sessions": MARKET} | given))
