"""The data-quality report: what was found in the rows, in a table and in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

SEVERITIES = ("severe", "notable", "note")


class Quality(pd.DataFrame):  # type: ignore[misc]
    """One row per session: what was read, dropped, overruled, re-ordered; and the findings in words.

    Columns are those of ``observations.COUNTS`` and ``observations``, ``first`` and ``last`` (seconds since the open of
    the first and last observation), ``early_end`` (seconds from the last to the close), ``gaps`` (stretches of more
    than a minute, and more than a bar, without an observation) and ``longest_gap`` (seconds).

    Attributes
    ----------
    findings : list of (severity, sentence)
        Worst first.
    """

    _metadata = ["findings"]  # noqa: RUF012 - pandas' own protocol

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    @property
    def summary(self) -> str:
        """The findings in words, worst first, one per line."""
        lines = [f"{severity}: {sentence}" for severity, sentence in self.findings]
        return "\n".join(lines) or "nothing to remark"

    @property
    def severe(self) -> list[str]:
        """The findings that cast doubt on every number made from these prices."""
        return [sentence for severity, sentence in self.findings if severity == "severe"]


def tabulate(counts: dict[str, Any], labels: Any, pointers: Any, time: Any, lengths: Any, bar_seconds: int) -> Any:
    """Return the per-session table as a plain DataFrame.

    Parameters
    ----------
    counts : dict of int64 arrays, shape (sessions,)
    labels : datetime64[D] array
    pointers : int64 array, shape (sessions + 1,)
        Into ``time``, the observations' seconds since the open.
    lengths : int64 array
        Seconds from open to close.
    bar_seconds : int
    """
    table = pd.DataFrame(counts, index=pd.DatetimeIndex(labels.astype("datetime64[ns]"), name="session"))
    table["observations"] = np.diff(pointers)
    time = time.astype(np.int64)
    table["first"], table["last"] = time[pointers[:-1]], time[pointers[1:] - 1]
    table["early_end"] = lengths - table["last"].to_numpy()
    gap = np.diff(time, prepend=time[:1])
    gap[pointers[:-1]] = 0
    least = max(60, bar_seconds)
    table["gaps"] = np.add.reduceat((gap > least).astype(np.int64), pointers[:-1])
    table["longest_gap"] = np.maximum.reduceat(gap, pointers[:-1])
    return table


def judge(table: Any, facts: dict[str, Any]) -> Quality:
    """Return the report: the table with its findings.

    Parameters
    ----------
    table : DataFrame
        As :func:`tabulate` returns it.
    facts : dict
        What concerns the file as a whole: see ``observations.observe`` and ``dataset.build``.
    """
    report = Quality(table)
    found = [*_about_the_file(facts), *_about_its_stamps(facts), *_about_the_rows(table, facts)]
    report.findings = sorted(found, key=lambda finding: SEVERITIES.index(finding[0]))
    return report


def _about_the_file(facts: dict[str, Any]) -> Iterable[tuple[str, str]]:
    closed, elsewhere = facts["no_session_daytime"], facts["no_session"] - facts["no_session_daytime"]
    if closed:
        severe = closed > facts["rows"] / 50
        yield (
            "severe" if severe else "notable",
            f"{_many(closed, 'row')} in trading hours of {_many(facts['no_session_days'], 'day')} on which "
            f"{facts['calendar']} is closed, dropped" + (": the market's own file has none" if severe else ""),
        )
    if facts["zero_prices"]:
        yield "severe", f"{_many(facts['zero_prices'], 'zero price')}, dropped (each would have triggered a short)"
    if facts["descending"]:
        yield "notable", "the file is in descending order; it was reversed"
    if facts["unordered"]:
        yield "notable", f"time jumps back {_many(facts['unordered'], 'time')} in the file; rows were sorted by time"
    if facts["missing"]:
        shown = ", ".join(facts["missing"][:5]) + (" …" if len(facts["missing"]) > 5 else "")
        yield "notable", f"no observation in {_many(len(facts['missing']), 'session')} of the calendar: {shown}"
    if facts["after_half_day"]:
        days = _many(facts["half_days"], "half-day")
        yield "notable", f"{_many(facts['after_half_day'], 'row')} after the early close of {days}, dropped"
    if elsewhere:
        yield "note", f"{_many(elsewhere, 'row')} on days without a session, dropped"
    if facts["before_open"]:
        yield "note", f"{_many(facts['before_open'], 'row')} before the open, dropped (extended hours)"
    if facts["after_close"] > facts["after_half_day"]:
        late = facts["after_close"] - facts["after_half_day"]
        yield "note", f"{_many(late, 'row')} after the regular close, dropped (extended hours)"


def _about_its_stamps(facts: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if facts["stamp_warning"]:
        yield "severe", str(facts["stamp_warning"])
    if facts["stamp"] == "end":
        yield "note", f"bars are stamped at their end; stamps were moved back by {facts['bar_seconds']} s"
    if facts["closes_apart"] > 1:
        sentence = f"closes of bars {facts['closes_apart']} s apart are read as single prices: "
        yield "severe", sentence + "where a bar is stamped at its start, its close shows before it was known"


def _about_the_rows(table: Any, facts: dict[str, Any]) -> Iterable[tuple[str, str]]:
    total = {name: int(table[name].sum()) for name in table.columns}
    share = total["inconsistent"] / max(1, total["rows"])
    if share:
        yield (
            "severe" if share > 0.01 else "notable",
            f"{_many(total['inconsistent'], 'bar')} ({share:.1%}) whose high or low is not the extreme of the four"
            + ("; the file does not look like the market's own" if share > 0.01 else ""),
        )
    sentences = {
        "dropped": "{} in sessions without a usable price, dropped",
        "reordered": "{} out of order within a session",
        "no_volume": "{} without a usable volume, counted as 0",
        "rounded": f"{{}} with a price rounded to whole increments of {facts['increment']}",
    }
    for name, sentence in sentences.items():
        if total[name]:
            yield "notable", sentence.format(_many(total[name], "row"))
    if total["broken"]:
        yield "notable", f"{_many(total['broken'], 'bar')} with a bad value, read as the close"
    if total["overruled"]:
        many = facts["bar_seconds"] and total["overruled"] > total["rows"] / 50
        yield (
            "severe" if many else "note",
            f"{_many(total['overruled'], 'row')} overruled by a later row of the same second or bar",
        )
    yield from _about_the_times(table, facts)


def _about_the_times(table: Any, facts: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, what, side in (("first", "begin", "late"), ("early_end", "end", "early")):
        hours = int(np.rint(table[name].median() / 3600))
        if hours and (np.abs(table[name] - 3600 * hours) <= 300).mean() > 0.8:
            yield "severe", f"sessions {what} {_many(hours, 'hour')} {side}: this looks like a wrong time zone"
    late, latest = int((table["first"] > facts["late_after"]).sum()), int(table["first"].max())
    if late:
        severity = "notable" if latest > 300 else "note"
        begins = "begins" if late == 1 else "begin"
        yield severity, f"{_many(late, 'session')} {begins} late, the latest {latest} s after the open"
    early = int((table["early_end"] > max(120, 2 * facts["bar_seconds"])).sum())
    if early:
        yield "notable", f"{_many(early, 'session')} without prices in the last two minutes"
    at_close = int((table["early_end"] == 0).sum()) if facts["bar_seconds"] else 0
    if at_close:
        yield "note", f"{_many(at_close, 'bar')} at the close: only the open counts, as the print at the close"
    gaps = int(table["gaps"].sum())
    if gaps:
        day, longest = table["longest_gap"].idxmax(), int(table["longest_gap"].max())
        least = "a minute" if facts["bar_seconds"] <= 60 else "a bar"
        yield "note", f"{_many(gaps, 'gap')} of more than {least}, the longest {longest} s on {day:%Y-%m-%d}"


def _many(count: int, thing: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{count:,} {thing}" + ("" if count == 1 else "s")
