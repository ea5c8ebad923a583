"""What a data-quality report finds, in words: a function of its table and of facts about the source as a whole.

Nothing is remembered between the two: sessions that were cut out of a report, or put together from several, are judged
by what their rows of the table say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from orbresearch.console import many
from orbresearch.sessions.jumps import find_jumps, name_ratio
from orbresearch.sessions.surges import HOUR, NEAR_SECONDS, edge_shift, surge_shift

SEVERITIES = ("severe", "notable", "note")

_HOLE_SECONDS = 1800  # a stretch without observations as long as this is looked at
_FEW_GAPS = 5  # a session
_EARLY_ROWS = 10  # of a session with extended hours, of which no first row says where it begins


class Finding(NamedTuple):
    """One thing that a reader of a report should know.

    Parameters
    ----------
    severity : str
        One of SEVERITIES; severe casts doubt on every number made from the prices.
    sentence : str
    kind : str
        What findings of many tickers are grouped by: words that go before "in 3 of 500 tickers".
    size : int
        How many rows, sessions or the like it is about.
    """

    severity: str
    sentence: str
    kind: str
    size: int = 1


def judge(table: Any, facts: dict[str, Any]) -> list[Finding]:
    """Return the findings about sessions, worst first.

    Parameters
    ----------
    table : DataFrame
        One row per session, at least one: see ``quality.tabulate``.
    facts : dict
        What concerns the source as a whole: see ``quality.FACTS``.
    """
    columns = dict(zip(table.columns, table.to_numpy(np.float64).T, strict=True))  # one by one they take a while
    table = {"date": table.index.to_numpy().astype("datetime64[D]"), **columns}
    total = {name: int(table[name].sum()) for name in ("rows", *_ROWS, *_TOTALS)}
    found = [
        *_about_closed_days(facts),
        *_about_hours(table, facts),
        *_about_prices(total, facts),
        *_about_the_file(table, facts),
        *_about_extended_hours(table, facts),
        *_about_stamps(table, facts),
        *_about_rows(total, facts),
        *_about_times(table, facts),
        *_about_splits(table, facts),
        *(Finding(severity, sentence, sentence) for severity, sentence in facts.get("remarks", [])),
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


#: Column -> sentence, kind: rows that are notable wherever there are any.
_ROWS = {
    "dropped": ("{} in sessions without a usable price, dropped", "rows without a usable price"),
    "reordered": ("{} out of order within a session", "rows out of order"),
    "no_volume": ("{} without a usable volume, counted as 0", "rows without a usable volume"),
}

_TOTALS = ("rounded", "broken", "overruled", "inconsistent", "zero")


def _about_closed_days(facts: dict[str, Any]) -> Iterator[Finding]:
    closed, elsewhere = facts["no_session_daytime"], facts["no_session"] - facts["no_session_daytime"]
    if closed:
        severe = closed > facts["rows"] / 50
        days = many(facts["no_session_days"], "day")
        sentence = f"{many(closed, 'row')} in trading hours of {days} on which {facts['calendar']} is closed, dropped"
        sentence += ": the file does not look like the market's own, which has none" if severe else ""
        yield Finding("severe" if severe else "notable", sentence, "rows in trading hours of closed days", closed)
    if elsewhere:
        sentence = f"{many(elsewhere, 'row')} on days without a session, dropped"
        yield Finding("note", sentence, "rows on days without a session", elsewhere)


def _about_prices(total: dict[str, int], facts: dict[str, Any]) -> Iterator[Finding]:
    zeros, outside = total["zero"] + facts["zero_outside"], facts["zero_outside"]
    if zeros:
        inside = f"{total['zero']:,} of them inside sessions, where each" if outside else "each"
        where = f" ({inside} would have triggered a short)" if total["zero"] else ", all outside the sessions"
        severity = "severe" if total["zero"] else "notable"
        yield Finding(severity, f"{many(zeros, 'zero price')}, dropped{where}", "zero prices", zeros)
    odd, share = total["inconsistent"], total["inconsistent"] / max(1, total["rows"])
    if odd:
        severe = share > 0.01
        sentence = f"{many(odd, 'bar')} ({share:.1%}) whose high or low is not the extreme of the four"
        sentence += "; the file does not look like the market's own" if severe else ""
        yield Finding("severe" if severe else "notable", sentence, "bars with an impossible high or low", odd)


def _about_the_file(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    if facts["descending"]:
        yield Finding("notable", "the file is in descending order; it was reversed", "descending order")
    if facts["unordered"]:
        sentence = f"time jumps back {many(facts['unordered'], 'time')} in the file; rows were sorted by time"
        yield Finding("notable", sentence, "jumps back in time", facts["unordered"])
    first, last, count = str(table["date"][0]), str(table["date"][-1]), len(table["date"])
    missing = [label for label in facts["missing"] if first < label < last]
    if len(missing) > count:
        there = f"prices in {count:,} of the {count + len(missing):,} sessions of the calendar"
        yield Finding("notable", f"{there} from {first} to {last} only", "sessions missing", len(missing))
    elif missing:
        sentence = f"no observation in {many(len(missing), 'session')} of the calendar: {_some(missing)}"
        yield Finding("notable", sentence, "sessions missing", len(missing))


def _about_extended_hours(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    half = table["last"] + table["early_end"] < facts["session_seconds"]
    after_half = np.where(half, table["after_close"], 0)
    days, late = int((after_half > 0).sum()), int(after_half.sum())
    if late:
        sentence = f"{many(late, 'row')} after the early close of {many(days, 'half-day')}, dropped"
        yield Finding("notable", sentence, "rows after an early close", late)
    early = int(table["before_open"].sum()) + facts["before_open"]
    if early:
        yield Finding(
            "note", f"{many(early, 'row')} before the open, dropped (extended hours)", "extended hours", early
        )
    late = int(table["after_close"].sum()) + facts["after_close"] - late
    if late:
        sentence = f"{many(late, 'row')} after the regular close, dropped (extended hours)"
        yield Finding("note", sentence, "extended hours", late)


def _about_stamps(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    if facts["bar_seconds"]:
        yield from _misread(table, facts)
    if facts["stamp"] == "end":
        sentence = f"bars are stamped at their end; stamps were moved back by {facts['bar_seconds']} s"
        yield Finding("note", sentence, "bars stamped at their end")
    if facts["closes_apart"] > 1:
        sentence = f"closes of bars {facts['closes_apart']} s apart are read as single prices: "
        sentence += "where a bar is stamped at its start, its close shows before it was known"
        yield Finding("severe", sentence, "closes of bars read as single prices")


def _misread(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    """Say where the data speak against the stamp convention they were read with."""
    start, end = int(table["starts"].sum()), int(table["ends"].sum())
    against, other = (end, "end") if facts["stamp"] == "start" else (start, "start")
    if against and against >= 9 * (start + end - against):
        sentence = (
            f"read as stamped at the {facts['stamp']} of each bar, but {against} sessions look stamped at the {other}"
        )
        yield Finding("severe", sentence, "bars that look stamped at the other end", against)
        return
    surge = table["surge"][(table["before_open"] >= _EARLY_ROWS) & ~np.isnan(table["surge"])]
    shifted = int((surge == (1 if other == "end" else -1) * facts["bar_seconds"]).sum())
    if shifted >= 2 and shifted > 0.6 * len(surge):
        sentence = f"read as stamped at the {facts['stamp']} of each bar, but in {shifted} of {len(surge)} sessions "
        sentence += (
            f"trading picks up a bar {'after' if other == 'end' else 'before'} the open, as if stamped at the {other}"
        )
        yield Finding("severe", sentence, "bars that look stamped at the other end", shifted)


def _about_rows(total: dict[str, int], facts: dict[str, Any]) -> Iterator[Finding]:
    for name, (sentence, kind) in _ROWS.items():
        if total[name]:
            yield Finding("notable", sentence.format(many(total[name], "row")), kind, total[name])
    if total["rounded"]:
        severity = "notable" if total["rounded"] > total["rows"] / 1000 else "note"
        sentence = f"{many(total['rounded'], 'row')} with a price rounded to whole increments of {facts['increment']}"
        yield Finding(severity, sentence, "rounded prices", total["rounded"])
    if total["broken"]:
        sentence = f"{many(total['broken'], 'bar')} with a bad value, read as the close"
        yield Finding("notable", sentence, "bars with a bad value", total["broken"])
    if total["overruled"]:
        severe = facts["bar_seconds"] and total["overruled"] > total["rows"] / 50
        sentence = f"{many(total['overruled'], 'row')} overruled by a later row of the same second or bar"
        yield Finding("severe" if severe else "note", sentence, "rows overruled by a later one", total["overruled"])


def _about_hours(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    """Say where whole hours lie between the sessions of the data and those of the calendar, once."""
    kind, known = "a wrong time zone", ~np.isnan(table["surge"])
    surge, total = table["surge"][known], int(known.sum())
    if (shift := surge_shift(surge)) is not None:
        days = table["date"][known][np.abs(surge - shift) <= NEAR_SECONDS]
        some = f"{len(days):,} of {many(total, 'session')}, from {days[0]} to {days[-1]},"
        what = f"{many(abs(shift) // HOUR, 'hour')} {'late' if shift > 0 else 'early'}"
        which = "sessions" if len(days) > 0.8 * total else some
        yield Finding("severe", f"{which} begin {what}: this looks like a wrong time zone", kind, len(days))
        return
    for name, beyond, what, side in (
        ("first", "after_close", "begin", "late"),
        ("early_end", "before_open", "end", "early"),
    ):
        if shift := edge_shift(table[name], table[beyond]):
            sentence = f"sessions {what} {many(shift, 'hour')} {side}: this looks like a wrong time zone"
            yield Finding("severe", sentence, kind, len(table["date"]))
            return


def _about_times(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    first, late = table["first"], int((table["first"] > facts["late_after"]).sum())
    if late:
        sentence = f"{many(late, 'session')} {'begins' if late == 1 else 'begin'} late, the latest "
        sentence += f"{first.max():.0f} s after the open on {table['date'][first.argmax()]}"
        yield Finding("notable" if first.max() > 300 else "note", sentence, "sessions that begin late", late)
    early = table["date"][table["early_end"] > max(120, 2 * facts["bar_seconds"])]
    if len(early):
        sentence = f"{many(len(early), 'session')} without prices in the last two minutes: {_some(early)}"
        sentence += f"; the earliest ends {table['early_end'].max():.0f} s before the close"
        yield Finding("notable", sentence, "sessions that end early", len(early))
    at_close = int((table["early_end"] == 0).sum()) if facts["bar_seconds"] else 0
    if at_close:
        sentence = f"{many(at_close, 'bar')} at the close: only the open counts, as the print at the close"
        yield Finding("note", sentence, "bars at the close", at_close)
    yield from _about_gaps(table, facts)


def _about_gaps(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    """Say how often observations are missing: a hole is far longer than the other gaps, or there are hardly others."""
    gaps, longest = int(table["gaps"].sum()), table["longest_gap"]
    if not gaps:
        return
    alone = (longest > 5 * np.median(longest)) | (table["gaps"] <= _FEW_GAPS)
    holes = table["date"][(longest >= _HOLE_SECONDS) & alone]
    least = "a minute" if facts["bar_seconds"] <= 60 else "a bar"
    sentence = f"{many(gaps, 'gap')} of more than {least}, the longest {longest.max():.0f} s"
    sentence += f" on {table['date'][longest.argmax()]}"
    if len(holes):
        sentence += f"; holes of half an hour and more: {_some(holes)}"
        yield Finding("notable", sentence, "holes of half an hour and more", len(holes))
    else:
        yield Finding("note", sentence, f"gaps of more than {least}", gaps)


def _about_splits(table: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    """Say which nights look like a split that was not declared, and which declared ones do not."""
    for jump in find_jumps(table):
        prices = f"{jump.before:,.2f} at the close before to {jump.after:,.2f} at the open of {jump.date}"
        if jump.declared:
            sentence = f"a split of {name_ratio(jump.ratio)} is declared, but prices went from {prices}"
            yield Finding("notable", f"{sentence}: are they adjusted for it already?", "declared splits without a jump")
            continue
        said = f'if it is one, say splits=[("{facts["ticker"]}", "{jump.date}", {jump.ratio:g})]'
        sentence = f"prices went from {prices}: this looks like a split of {name_ratio(jump.ratio)}; {said}"
        if not jump.clear:
            sentence = f"prices went from {prices}, near a split of {name_ratio(jump.ratio)}, "
            sentence += f"but the days around it moved wildly too; {said}"
        yield Finding("severe" if jump.clear else "notable", sentence, "a suspected split")


def _some(names: Any) -> str:
    """Return the first five of names or dates."""
    return ", ".join(str(name) for name in names[:5]) + (" …" if len(names) > 5 else "")
