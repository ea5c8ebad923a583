"""Declared splits: what looks back over one is in the dollars of the session that looks; nothing else changes."""

import datetime
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orbresearch import ParameterGrid, Rules, load_sessions, make_plan, run_backtest, synthetic_sessions
from orbresearch.errors import BadInput
from orbresearch.sessions.splits import apply_splits, listed_splits, read_splits
from tests.sources import market

DAYS = [f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-01-02", "2024-12-31")]
OPENS = [market.opened(day) for day in DAYS]
DURATION = 300
RATIOS = [2.0, 3.0, 1.5, 4.0, 0.5, 0.1, 0.25]

#: One session: (second since the open, cents, shares).
SESSION = st.lists(
    st.tuples(st.sampled_from([0, 5, 299, 300, 4000]), st.integers(9000, 9200), st.integers(0, 40)),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
).map(sorted)
MARKET = st.lists(SESSION, min_size=1, max_size=40)
SPLITS = st.dictionaries(st.integers(0, 45), st.sampled_from(RATIOS), max_size=3)


def frame_of(sessions, price_factor=None, volume_factor=None):
    """Return the market as a frame, each session's prices and volumes multiplied."""
    ones = [1.0] * len(sessions)
    rows = [
        (OPENS[i] + time, cents / 100 * (price_factor or ones)[i], shares * (volume_factor or ones)[i])
        for i, rows in enumerate(sessions)
        for time, cents, shares in rows
    ]
    return pd.DataFrame(rows, columns=["timestamp_utc", "price", "volume"])


def entries(splits):
    return [("TEST", DAYS[i], ratio) for i, ratio in splits.items()]


def shares(count, splits):
    """How many shares one of the first session has become, exactly."""
    found, held = [], Fraction(1)
    for i in range(count):
        held *= Fraction(splits.get(i, 1.0)) if i else 1
        found.append(held)
    return found


def mean_in(now, known, count):
    """The mean of the last values, each (worth, shares held then), in dollars of `now` shares; NaN where too few."""
    if len(known) < count:
        return float("nan")
    return float(sum(value * held / now for value, held in known[-count:]) / count)


def slow_features(sessions, splits):
    """Day by day, in exact fractions."""
    held = shares(len(sessions), splits)
    ranges, nearer, volumes, table = [], [], [], []
    before = None
    for rows, now in zip(sessions, held, strict=True):
        prices = [Fraction(cents, 100) for _, cents, _ in rows]
        opening, high, low, close = prices[0], max(prices), min(prices), prices[-1]
        last = None if before is None else before[0] * before[1] / now
        gap = float("nan") if last is None else float(opening - last)
        atr, stretch = mean_in(now, ranges, 14), mean_in(now, nearer, 10)
        traded = [volume for time, _, volume in rows if time < DURATION]
        relative = float("nan")
        if 0 < len(traded) < len(rows):
            usual = [Fraction(volume) / then * now for volume, then in volumes[-14:]]
            if len(usual) == 14 and sum(usual):
                relative = float(sum(traded) * 14 / sum(usual))
            volumes.append((sum(traded), now))
        table.append((gap, atr, stretch, relative))
        if last is not None:
            ranges.append((max(high, last) - min(low, last), now))
        nearer.append((min(opening - low, high - opening), now))
        before = close, now
    return np.array(table)


NAMES = ["gap", "atr", "stretch", "relative_volume"]


@given(MARKET, SPLITS)
def test_features_that_look_back_are_those_of_a_slow_count(sessions, splits):
    found = load_sessions(frame_of(sessions), "TEST", increment=0.01, splits=entries(splits)).features_of(DURATION)
    np.testing.assert_allclose(found[NAMES], slow_features(sessions, splits), rtol=1e-11, atol=1e-10)


@given(MARKET, SPLITS)
@settings(max_examples=50)
def test_prices_divided_by_hand_have_the_same_features(sessions, splits):
    held = [float(one) for one in shares(len(sessions), splits)]
    raw = load_sessions(frame_of(sessions), "TEST", increment=0.0001, splits=entries(splits))
    by_hand = frame_of(sessions, held, [1 / one for one in held])
    adjusted = load_sessions(by_hand, "TEST", increment=1e-6)
    ours, theirs = raw.features_of(DURATION), adjusted.features_of(DURATION)
    for name in ("gap", "atr", "stretch"):
        np.testing.assert_allclose(ours[name] * held, theirs[name], rtol=1e-9, atol=1e-5)
    np.testing.assert_allclose(ours["relative_volume"], theirs["relative_volume"], rtol=1e-9)


@given(MARKET, SPLITS)
@settings(max_examples=25)
def test_where_no_split_lies_in_the_history_not_a_bit_changes(sessions, splits):
    plain = load_sessions(frame_of(sessions), "TEST", increment=0.01)
    split = load_sessions(frame_of(sessions), "TEST", increment=0.01, splits=entries(splits))
    ours, theirs = split.features_of(DURATION), plain.features_of(DURATION)
    for name in theirs.columns.difference(NAMES):
        pd.testing.assert_series_equal(ours[name], theirs[name], check_exact=True)
    for name, reach in (("gap", 1), ("atr", 15), ("stretch", 10)):
        for i in range(len(sessions)):
            if not any(i - reach < at <= i for at in splits):
                np.testing.assert_array_equal(ours[name].iloc[i], theirs[name].iloc[i])
    assert split.series.hash == plain.series.hash


@given(MARKET, SPLITS, st.integers(0, 39))
@settings(max_examples=25)
def test_a_stretch_of_split_sessions_is_what_loading_the_stretch_gives(sessions, splits, cut):
    frame, cut = frame_of(sessions), min(cut, len(sessions) - 1)
    whole = load_sessions(frame, "TEST", increment=0.01, splits=entries(splits)).between(DAYS[cut])
    part = load_sessions(frame, "TEST", increment=0.01, splits=entries(splits), start=DAYS[cut])
    pd.testing.assert_frame_equal(whole.features_of(DURATION), part.features_of(DURATION), check_exact=True)
    assert listed_splits(whole) == listed_splits(part)
    market.same(whole, part)


def bars(splits=None, **options):
    return load_sessions(market.bars(), "TEST", splits=splits, **options)


ONE = [("TEST", market.DAYS[1], 4)]


def test_without_splits_sessions_have_none():
    assert bars().splits is None
    assert bars([]).splits is None
    assert bars([("OTHER", market.DAYS[1], 4)]).splits is None
    assert "split" not in bars().quality


def test_what_is_made_of_split_sessions_keeps_them():
    found = bars(ONE)
    assert found.splits.tolist() == [1, 4, 1]
    joined = found.join(pd.Series([1.0], [market.DAYS[0]], name="mine"))
    for one in (joined, found.other_path(), found.between(None, None)):
        assert one.splits.tolist() == [1, 4, 1]
    assert found.between(market.DAYS[0], market.DAYS[1]).splits.tolist() == [1, 4]
    assert found.between(market.DAYS[1]).splits is None, "nothing before it is loaded"


def test_a_date_without_a_session_counts_from_the_next_one_on():
    assert bars([("TEST", "2024-07-04", 2)]).splits.tolist() == [1, 1, 2]
    assert bars([("TEST", "2024-07-04", 2), ("TEST", "2024-07-05", 3)]).splits.tolist() == [1, 1, 6]
    for outside in ("2024-07-01", "2024-07-02", "2024-07-06"):
        assert bars([("TEST", outside, 2)]).splits is None


DATES = ["2024-07-03", datetime.date(2024, 7, 3), pd.Timestamp("2024-07-03"), np.datetime64("2024-07-03")]


@pytest.mark.parametrize("day", DATES, ids=lambda day: type(day).__name__)
def test_a_date_may_be_given_in_many_ways(day):
    assert bars([("TEST", day, 4)]).splits.tolist() == [1, 4, 1]
    frame = pd.DataFrame({"ratio": [4], "date": [day], "ticker": ["TEST"], "more": [None]})
    assert bars(frame).splits.tolist() == [1, 4, 1]


BAD = [
    ([("TEST", "soon", 2)], "'soon' of TEST is no date; give the date"),
    ([("TEST", "2024-02-30", 2)], "'2024-02-30' of TEST is no date"),
    ([("TEST", None, 2)], "None of TEST is no date"),
    ([("TEST", pd.NaT, 2)], "NaT of TEST is no date"),
    ([("TEST", 20240703, 2)], "20240703 of TEST is no date"),
    ([("TEST", pd.Timestamp("2024-07-03 09:30"), 2)], "has a time or a zone"),
    ([("TEST", pd.Timestamp("2024-07-03", tz="UTC"), 2)], "has a time or a zone"),
    *(
        ([("TEST", "2024-07-03", ratio)], "is no number above 0")
        for ratio in (0, -2, np.nan, np.inf, "4:1", None, True)
    ),
    ([("TEST", "2024-07-03", 2), ("TEST", datetime.date(2024, 7, 3), 2)], "TEST has 2024-07-03 twice; give each"),
    ([("TEST", "2024-07-03")], "is no split; give .ticker, date, ratio"),
    (["TEST"], "'TEST' is no split"),
    ([5], "5 is no split"),
    ([(5, "2024-07-03", 2)], "5 is no ticker"),
    ("TEST", "splits: 'TEST'; give a DataFrame, or a list"),
    (7, "splits: 7; give a DataFrame"),
    (pd.DataFrame({"ticker": ["TEST"], "date": ["2024-07-03"]}), "no column 'ratio'; give ticker, date, ratio"),
    ([("OTHER", "2024-07-03", 0)], "of OTHER on 2024-07-03 is no number above 0"),
]


@pytest.mark.parametrize(("splits", "message"), BAD)
def test_splits_that_cannot_be_meant_are_refused(splits, message):
    with pytest.raises(BadInput, match=message):
        bars(splits)


def test_the_cache_knows_nothing_of_splits(tmp_path):
    path = tmp_path / "prices.parquet"
    market.bars().to_parquet(path, index=False)
    first, second = load_sessions(path, "TEST", splits=ONE), load_sessions(path, "TEST")
    assert second.splits is None
    assert "split" not in second.quality
    assert first.fingerprint == second.fingerprint
    market.same(load_sessions(path, "TEST", splits=ONE), first)
    market.same(load_sessions(path, "TEST"), second)
    assert load_sessions(path, "TEST", splits=ONE).features["gap"].iloc[1] == first.features["gap"].iloc[1]


def test_what_is_listed_can_be_read_again():
    found = bars([("TEST", "2024-07-03", 1.5), ("TEST", "2024-07-05", 0.1)])
    again = apply_splits(bars(), read_splits(listed_splits(found)))
    assert listed_splits(found) == [["TEST", "2024-07-03", 1.5], ["TEST", "2024-07-05", 0.1]]
    assert again.splits.tolist() == found.splits.tolist()
    assert listed_splits(bars()) == []


def halved(sessions, at):
    """Return sessions whose prices are half from one on."""
    price = sessions.columns["price"].copy()
    price[sessions.pointers[at] :] //= 2
    return replace(sessions, columns={**sessions.columns, "price": price}, fingerprint="")


def test_a_picture_has_no_cliff_where_a_split_is_declared():
    raw = halved(synthetic_sessions(6), 3)
    declared = apply_splits(raw, read_splits([("SYNTHETIC", str(raw.schedule.labels[3]), 2)]))
    point = 300, 0.5, 2, 60, 1.0
    one, other = run_backtest(raw, *point), run_backtest(declared, *point)
    pd.testing.assert_frame_equal(one.trades, other.trades)
    assert one.stats.equals(other.stats)
    assert one.price_change.diff().min() < -150
    whole = run_backtest(synthetic_sessions(6), *point)
    np.testing.assert_allclose(other.price_change, whole.price_change, atol=0.02)
    assert other.shares.tolist() == [1, 1, 1, 2, 2, 2]
    assert other.trade_stats() == one.trade_stats()


def test_a_run_has_another_id_only_where_its_rules_look_back_over_a_split():
    raw = halved(synthetic_sessions(20), 17)
    declared = apply_splits(raw, read_splits([("SYNTHETIC", str(raw.schedule.labels[17]), 2)]))
    grid = ParameterGrid([0.5], 2, 60, 1.0)
    plain, looking = Rules(), Rules(stop_unit="atr")
    assert make_plan(raw, grid, 300, plain).run_id == make_plan(declared, grid, 300, plain).run_id
    assert make_plan(raw, grid, 300, looking).run_id != make_plan(declared, grid, 300, looking).run_id


def test_the_report_suspects_a_split_that_is_not_declared():
    raw = halved(synthetic_sessions(20), 7)
    assert raw.quality.severe == [], "the report was made of the prices as they were"
    day = str(raw.schedule.labels[7])
    found = load_sessions(dollars(raw), "SYNTHETIC").quality
    assert len(found.severe) == 1
    assert f"at the open of {day}: this looks like a split of 2-for-1" in found.severe[0]
    assert f'splits=[("SYNTHETIC", "{day}", 2)]' in found.severe[0]
    assert load_sessions(dollars(raw), "SYNTHETIC", splits=[("SYNTHETIC", day, 2)]).quality.summary == (
        "nothing to remark"
    )


@pytest.mark.parametrize("ratio", [3, 0.5])
def test_a_declared_split_without_its_jump_is_notable(ratio):
    raw = synthetic_sessions(20)
    day = str(raw.schedule.labels[7])
    found = apply_splits(raw, read_splits([("SYNTHETIC", day, ratio)])).quality
    assert found.severe == []
    assert "is declared, but prices went from" in found.summary
    assert "adjusted for it already?" in found.summary


def dollars(sessions):
    """Return the observations as a frame that can be loaded."""
    sizes = np.diff(sessions.pointers)
    time = np.repeat(sessions.schedule.opens, sizes) + sessions.columns["time"]
    return pd.DataFrame({"timestamp_utc": time, "price": sessions.columns["price"] * sessions.increment})
