"""The data-quality report: made of table and facts whenever it is asked for, over time, apart and over tickers."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

from orbresearch import load_sessions, synthetic_sessions
from orbresearch.errors import BadInput
from orbresearch.sessions.findings import SEVERITIES
from orbresearch.sessions.jumps import RATIOS, name_ratio
from orbresearch.sessions.quality import FACTS, Quality, quality_of, unite_facts
from tests.sources import market

MONTHS = tuple(f"{day:%Y-%m-%d}" for day in market.CALENDAR.sessions_in_range("2024-02-26", "2024-03-22"))
BARS = market.bars(MONTHS)
HOUR = 3600


def kinds(sessions, severity="severe"):
    return [finding.kind for finding in sessions.quality.findings if finding.severity == severity]


def spoiled(**changes):
    """Return the bars with some values changed: column -> {row: value}."""
    frame = BARS.copy()
    for name, values in changes.items():
        for row, value in values.items():
            frame.loc[row, name] = value
    return frame


def test_the_report_of_one_ticker_is_its_own():
    with pytest.raises(BadInput, match=r"sessions: not by ticker; .* one ticker's own report is its \.quality"):
        quality_of(synthetic_sessions(1))


def test_prices_that_are_none_are_counted_by_the_reason_in_their_session():
    bad = {5: 0.0, 6: np.nan, 7: -1.0, 8: np.inf, 395: 0.0}
    found = load_sessions(spoiled(price=bad), "TEST").quality
    assert found[["dropped", "missing", "zero", "negative"]].iloc[:3].to_numpy().tolist() == [
        [4, 2, 1, 1],
        [1, 0, 1, 0],
        [0, 0, 0, 0],
    ]
    assert "severe: 2 zero prices, dropped (each would have triggered a short)" in found.summary


def test_a_zero_price_outside_the_sessions_is_notable_only():
    frame = pd.concat([BARS, BARS.iloc[-1:].assign(timestamp_utc=market.closed(MONTHS[-1]) + 600, price=0.0)])
    found = load_sessions(frame, "TEST", stamp="start").quality
    assert "notable: 1 zero price, dropped, all outside the sessions" in found.summary
    assert found.severe == []


def test_rows_outside_are_counted_at_the_session_of_their_date():
    early = BARS.iloc[:3].assign(timestamp_utc=market.opened(MONTHS[1]) - np.array([60, 120, 7200]))
    late = BARS.iloc[:1].assign(timestamp_utc=market.closed(MONTHS[2]) + 60)
    found = load_sessions(pd.concat([BARS, early, late]), "TEST", stamp="start").quality
    assert found["before_open"].tolist()[:4] == [0, 3, 0, 0]
    assert found["after_close"].tolist()[:4] == [0, 0, 1, 0]


def test_rows_of_a_session_without_prices_are_counted_too():
    gone = market.bars(MONTHS[:1] + MONTHS[2:])
    early = BARS.iloc[:2].assign(timestamp_utc=market.opened(MONTHS[1]) - np.array([60, 120]))
    found = load_sessions(pd.concat([gone, early]), "TEST", stamp="start").quality
    assert "note: 2 rows before the open, dropped (extended hours)" in found.summary
    assert f"no observation in 1 session of the calendar: {MONTHS[1]}" in found.summary


def test_prices_of_the_report_are_those_of_the_observations():
    found = load_sessions(BARS, "TEST")
    pd.testing.assert_frame_equal(
        pd.DataFrame(found.quality)[["open", "high", "low", "close"]],
        found.features[["open", "high", "low", "close"]],
        rtol=1e-12,
    )


def test_a_stretch_of_dates_reports_on_itself_and_its_source():
    frame = spoiled(price={5: 0.0, 400: np.nan}).iloc[::-1]
    whole = load_sessions(frame, "TEST")
    part = whole.between(MONTHS[1])
    assert "1 zero price" in whole.quality.summary
    assert "1 zero price" not in part.quality.summary
    assert "1 row in sessions without a usable price" in part.quality.summary
    assert "the file is in descending order" in part.quality.summary
    assert "usable price" not in part.between(MONTHS[2]).quality.summary
    assert part.quality.severe == []


def test_missing_sessions_are_those_inside_the_stretch():
    found = load_sessions(market.bars((MONTHS[0], MONTHS[1], MONTHS[3], MONTHS[4])), "TEST")
    assert f"no observation in 1 session of the calendar: {MONTHS[2]}" in found.quality.summary
    assert "no observation" not in found.between(MONTHS[3]).quality.summary
    sparse = load_sessions(market.bars((MONTHS[0], MONTHS[9])), "TEST")
    assert f"prices in 2 of the 10 sessions of the calendar from {MONTHS[0]} to {MONTHS[9]} only" in (
        sparse.quality.summary
    )


def test_all_facts_are_there_and_known_to_json():
    facts = load_sessions(BARS, "TEST").quality.facts
    assert set(facts) == set(FACTS)
    assert json.loads(json.dumps(facts)) == facts


def test_reports_of_sessions_read_one_by_one_say_what_the_whole_says():
    frame = spoiled(price={5: 0.0}, high={20: 1.0, 900: 1.0})
    frame = frame[frame["timestamp_utc"] // 86_400 != pd.Timestamp(MONTHS[4]).timestamp() // 86_400]
    days = pd.to_datetime(frame["timestamp_utc"], unit="s").dt.strftime("%Y-%m-%d")
    whole = load_sessions(frame, "TEST", bar=60, stamp="start", increment=0.01)
    apart = [
        load_sessions(rows, "TEST", bar=60, stamp="start", increment=0.01).quality for _, rows in frame.groupby(days)
    ]
    labels = market.CALENDAR.sessions.to_numpy().astype("datetime64[D]")
    table = pd.concat([pd.DataFrame(report) for report in apart])
    united = Quality(table, unite_facts([report.facts for report in apart], table.index, labels))
    assert united.summary == whole.quality.summary
    assert "no observation in 1 session" in united.summary
    pd.testing.assert_frame_equal(pd.DataFrame(united), pd.DataFrame(whole.quality))


@pytest.mark.parametrize("hours", [-5, -1, 1, 2, 5])
def test_a_shift_by_hours_is_named(hours):
    shifted = BARS.assign(timestamp_utc=BARS["timestamp_utc"] + hours * HOUR)
    found = load_sessions(shifted, "TEST", stamp="start")
    assert kinds(found) == ["a wrong time zone"]
    many = "1 hour" if abs(hours) == 1 else f"{abs(hours)} hours"
    assert f"sessions begin {many} {'late' if hours > 0 else 'early'}: this looks like" in found.quality.severe[0]


def extended(frame):
    """Return bars with quiet extended hours: from 4:00 to 20:00 in New York, a hundredth of the volume."""
    parts = [frame]
    for day in MONTHS:
        time = np.r_[market.opened(day) - 60 * np.arange(1, 331), market.closed(day) + 60 * np.arange(240)]
        parts.append(frame.iloc[: len(time)].assign(timestamp_utc=time, volume=1))
    return pd.concat(parts).sort_values("timestamp_utc", kind="stable", ignore_index=True)


@pytest.mark.parametrize("hours", [-5, -4, -1, 0, 1, 4, 5])
def test_a_shift_is_named_where_extended_hours_hide_it(hours):
    frame = extended(BARS)
    found = load_sessions(frame.assign(timestamp_utc=frame["timestamp_utc"] + hours * HOUR), "TEST", stamp="start")
    assert kinds(found) == (["a wrong time zone"] if hours else [])


@pytest.mark.parametrize("stamp", ["start", "end"])
@pytest.mark.parametrize("read", ["start", "end"])
def test_a_misread_stamp_is_named_where_extended_hours_hide_it(stamp, read):
    frame = extended(BARS)
    frame["timestamp_utc"] += 60 * (stamp == "end")
    found = load_sessions(frame, "TEST", stamp=read)
    assert kinds(found) == ([] if stamp == read else ["bars that look stamped at the other end"])


def test_daylight_saving_that_was_overlooked_is_named_with_its_dates():
    winter = BARS["timestamp_utc"] < market.opened("2024-03-11") - HOUR
    frame = BARS.assign(timestamp_utc=BARS["timestamp_utc"] + np.where(winter, HOUR, 0))
    found = load_sessions(frame, "TEST", stamp="start")
    assert found.quality.severe == [
        "10 of 20 sessions, from 2024-02-26 to 2024-03-08, begin 1 hour late: this looks like a wrong time zone"
    ]
    assert found.between("2024-03-11").quality.severe == []


def test_a_hole_in_a_lively_session_is_notable_and_in_a_thin_file_it_is_not():
    at = market.opened(MONTHS[2]) + 7200
    holey = BARS[~BARS["timestamp_utc"].between(at, at + 2400)]
    assert f"holes of half an hour and more: {MONTHS[2]}" in load_sessions(holey, "TEST").quality.summary
    thin = BARS[::45]
    assert "holes" not in load_sessions(thin, "TEST", bar=60, stamp="start").quality.summary


def split_at(day, factor, frame=BARS):
    """Return the bars with prices multiplied from a day on, in whole cents."""
    after = frame["timestamp_utc"] >= market.opened(day)
    columns = {name: (frame[name] * np.where(after, factor, 1)).round(2) for name in ("open", "high", "low", "price")}
    return frame.assign(**columns)


@pytest.mark.parametrize("ratio", [*RATIOS[:8], 1 / 1.5, 0.5, 1 / 3, 0.2, 0.1, 0.05])
def test_a_split_is_suspected_at_every_simple_ratio(ratio):
    found = load_sessions(split_at(MONTHS[8], 1 / ratio), "TEST").quality
    assert [finding.kind for finding in found.findings if finding.severity == "severe"] == ["a suspected split"]
    assert f"at the open of {MONTHS[8]}: this looks like a split of {name_ratio(ratio)};" in found.severe[0]


@pytest.mark.parametrize("factor", [1.2, 0.8, 1.7, 0.42, 0.28])
def test_a_jump_by_no_simple_ratio_is_none(factor):
    assert load_sessions(split_at(MONTHS[8], factor), "TEST").quality.severe == []


def test_a_crash_with_a_wild_day_after_it_is_notable_only():
    frame = split_at(MONTHS[8], 0.5)
    wild = frame.index[frame["timestamp_utc"].between(market.opened(MONTHS[8]) + 600, market.closed(MONTHS[8]))]
    falling = np.linspace(1, 0.8, len(wild))
    for name in ("open", "high", "low", "price"):
        frame.loc[wild, name] = (frame.loc[wild, name] * falling).round(2)
    found = load_sessions(frame, "TEST").quality
    assert found.severe == []
    assert "near a split of 2-for-1, but the days around it moved wildly too" in found.summary


def test_a_jump_over_weeks_without_prices_is_no_night():
    days = MONTHS[:4] + MONTHS[12:]
    assert load_sessions(split_at(MONTHS[12], 0.5, market.bars(days)), "TEST").quality.severe == []


RATIO_NAMES = {4.0: "4-for-1", 1.5: "3-for-2", 2 / 3: "2-for-3", 0.1: "1-for-10", 1 / 3: "1-for-3", 1.25: "5-for-4"}


@pytest.mark.parametrize(("ratio", "name"), RATIO_NAMES.items())
def test_a_ratio_is_named_as_people_do(ratio, name):
    assert name_ratio(ratio) == name


def test_findings_come_worst_first():
    frame = split_at(MONTHS[8], 0.5, spoiled(price={5: 0.0, 6: np.nan}))
    found = [finding.severity for finding in load_sessions(frame.iloc[::-1], "TEST").quality.findings]
    assert found == sorted(found, key=SEVERITIES.index)
    assert found[:2] == ["severe", "severe"]


def test_a_report_survives_pickling():
    report = load_sessions(spoiled(price={5: 0.0}), "TEST").quality
    again = pickle.loads(pickle.dumps(report))
    assert again.facts == report.facts
    assert again.summary == report.summary


def test_a_part_of_a_report_is_a_plain_table():
    report = load_sessions(BARS, "TEST").quality
    assert type(report[["rows"]]) is type(report.iloc[:2]) is pd.DataFrame


# Many tickers


def test_reports_of_many_tickers_are_one_table_and_few_lines():
    clean = load_sessions(BARS, "TEST")
    zero = {row: load_sessions(spoiled(price={5: 0.0, row: 0.0}), "TEST") for row in (5, 6, 7)}
    loaded = {f"T{i:03d}": clean for i in range(500)} | {"A": zero[5], "B": zero[6], "C": zero[7]}
    loaded["D"] = load_sessions(BARS.iloc[::-1], "TEST")
    found = quality_of(loaded)
    assert found.index.names == ["ticker", "session"]
    assert len(found) == 504 * len(MONTHS)
    lines = found.summary.splitlines()
    assert lines[0] == "severe: zero prices in 3 of 504 tickers (B, C, A)"
    assert "notable: D: the file is in descending order; it was reversed" in lines
    assert "notable: rows without a usable price in 3 of 504 tickers (B, C, A)" in lines
    assert len(lines) < 10
    severities = [line.split(":")[0] for line in lines]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert found.loc["B"]["zero"].tolist() == zero[6].quality["zero"].tolist()


def test_more_tickers_than_a_line_holds_are_not_all_named():
    loaded = dict.fromkeys("ABCDEFG", load_sessions(BARS.iloc[::-1], "TEST"))
    assert "notable: descending order in 7 of 7 tickers (A, B, C, D, E…)" in quality_of(loaded).summary


def test_a_report_on_nothing_remarks_nothing():
    assert quality_of({}).summary == "nothing to remark about 0 tickers"
    assert quality_of({"S": synthetic_sessions(3)}).summary == "nothing to remark about 1 ticker"
