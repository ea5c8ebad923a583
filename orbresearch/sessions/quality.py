"""The data-quality report: what was found in the rows, in a table, in facts about the source, and in words.

Words are not kept: they are made from table and facts whenever they are asked for, so that a stretch of sessions, or
sessions that were read one by one, say what holds of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from orbresearch.console import many
from orbresearch.errors import BadInput
from orbresearch.sessions.findings import SEVERITIES, Finding, judge

if TYPE_CHECKING:
    from orbresearch.sessions.dataset import Sessions

#: Facts about the source as a whole that add up over several of it.
COUNTED_FACTS = (
    "rows",  # rows of the source, inside sessions or not
    "unordered",  # rows stamped before their predecessor, unless the source is descending
    "zero_outside",  # prices of 0 outside the sessions
    "before_open",  # rows before the open of sessions that have no observation
    "after_close",  # rows after the close of those
    "no_session",  # rows on days without a session
    "no_session_daytime",  # of those, in trading hours
    "no_session_days",  # days of those
)

#: All facts; beside them there may be ``remarks``, (severity, sentence) of what only the source's own files show. Of
#: several sources they are what the first says, except for ``descending`` and ``missing``.
FACTS = (
    *COUNTED_FACTS,
    "ticker",
    "calendar",
    "descending",  # 1 where the source's times never rise
    "increment",  # dollars
    "bar_seconds",
    "stamp",  # "start", "end", or "" for single prices
    "closes_apart",  # seconds between the closes of bars that are read as single prices, else 0
    "late_after",  # seconds after the open from which on a session begins late
    "session_seconds",  # length of the longest session of the calendar around: shorter ones are half-days
    "missing",  # dates of sessions without any observation between those that have some
)

_NAMES_SHOWN = 5


class Quality(pd.DataFrame):  # type: ignore[misc]
    """One row per session: what was read, dropped, overruled, re-ordered; and the findings in words.

    Columns are those of ``observations.COUNTS``; ``open``, ``high``, ``low``, ``close`` (dollars); ``observations``,
    ``first`` and ``last`` (seconds since the open of the first and last observation), ``early_end`` (seconds from the
    last to the close), ``gaps`` (stretches of more than a minute, and more than a bar, without an observation) and
    ``longest_gap`` (seconds); ``starts`` and ``ends`` (1 where a session's rows look stamped at the start, or the end,
    of their bars); ``surge`` (second since the open at which trading picks up most, see ``surges``); and ``split``
    where splits are declared.

    Attributes
    ----------
    facts : dict
        What concerns the source as a whole, as FACTS; JSON knows all of it.
    """

    _metadata = ["facts"]  # noqa: RUF012 - pandas' own protocol

    def __init__(self, data: Any = None, facts: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.facts = facts

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame  # some columns or rows of a report are none: see window()

    @property
    def findings(self) -> list[Finding]:
        """What a reader should know of these sessions and their source, worst first."""
        return judge(self, self.facts or {})

    @property
    def summary(self) -> str:
        """The findings in words, worst first, one per line."""
        lines = [f"{finding.severity}: {finding.sentence}" for finding in self.findings]
        return "\n".join(lines) or "nothing to remark"

    @property
    def severe(self) -> list[str]:
        """The findings that cast doubt on every number made from these prices."""
        return [finding.sentence for finding in self.findings if finding.severity == "severe"]

    def window(self, first: int, last: int) -> Quality:
        """Return the report on sessions ``first`` to ``last`` (exclusive), by index; what concerns the source stays."""
        return Quality(self.iloc[first:last], self.facts)


def tabulate(counts: dict[str, Any], labels: Any, pointers: Any, columns: dict[str, Any], lengths: Any) -> Any:
    """Return the per-session table as a plain DataFrame.

    Parameters
    ----------
    counts : dict of arrays, shape (sessions,)
    labels : datetime64[D] array
    pointers : int64 array, shape (sessions + 1,)
        Into ``columns``.
    columns : dict of arrays
        ``time`` (seconds since the open) and ``price`` (dollars) of the observations, and ``least_gap``, the seconds
        that two of them may lie apart.
    lengths : int64 array
        Seconds from open to close.
    """
    starts, ends, price = pointers[:-1], pointers[1:] - 1, columns["price"]
    time = columns["time"].astype(np.int64)
    gap = np.diff(time, prepend=time[:1])
    gap[starts] = 0
    found = {
        "open": price[starts],
        "high": np.maximum.reduceat(price, starts),
        "low": np.minimum.reduceat(price, starts),
        "close": price[ends],
        "observations": np.diff(pointers),
        "first": time[starts],
        "last": time[ends],
        "early_end": lengths - time[ends],
        "gaps": np.add.reduceat((gap > columns["least_gap"]).astype(np.int64), starts),
        "longest_gap": np.maximum.reduceat(gap, starts),
    }
    index = pd.DatetimeIndex(labels.astype("datetime64[ns]"), name="session")
    return pd.DataFrame(counts | found, index=index)


def declare_splits(report: Quality, splits: Any) -> Quality:
    """Return a report that knows of the splits between its sessions, or of none: see ``Sessions.splits``."""
    table = report.drop(columns="split", errors="ignore")
    return Quality(table if splits is None else table.assign(split=splits), report.facts)


def unite_facts(given: list[dict[str, Any]], dates: Any, labels: Any) -> dict[str, Any]:
    """Return the facts of sessions that were read apart as those of one source.

    Parameters
    ----------
    given : list of dict
        As FACTS.
    dates : DatetimeIndex
        The sessions they are about.
    labels : datetime64[D] array
        The calendar's.
    """
    known = np.sort(dates.to_numpy().astype("datetime64[D]"))
    between = labels[(labels > known[0]) & (labels < known[-1])]
    summed = {name: sum(one[name] for one in given) for name in COUNTED_FACTS}
    most = {name: max(one[name] for one in given) for name in ("descending", "session_seconds")}
    finest = {"increment": min(one["increment"] for one in given)}
    return {**given[0], **summed, **most, **finest, "missing": [str(day) for day in np.setdiff1d(between, known)]}


class Reports(pd.DataFrame):  # type: ignore[misc]
    """The reports of several tickers: their rows by ticker and session, their findings in a few lines.

    Attributes
    ----------
    findings_of : dict of list of Finding
        By ticker.
    """

    _metadata = ["findings_of"]  # noqa: RUF012 - pandas' own protocol

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    @property
    def summary(self) -> str:
        """Equal kinds of findings in one line each, worst first, then what concerns most tickers."""
        kinds: dict[tuple[int, str], list[tuple[str, Finding]]] = {}
        for ticker, findings in self.findings_of.items():
            for one in findings:
                kinds.setdefault((SEVERITIES.index(one.severity), one.kind), []).append((ticker, one))
        total = len(self.findings_of)
        order = sorted(kinds.items(), key=lambda item: (item[0][0], -len(_tickers(item[1])), item[0][1]))
        return "\n".join(_line(SEVERITIES[rank], kind, found, total) for (rank, kind), found in order) or (
            f"nothing to remark about {many(total, 'ticker')}"
        )


def _tickers(found: list[tuple[str, Finding]]) -> list[str]:
    """Return the tickers of findings of one kind, those with the most rows or sessions first."""
    counts: dict[str, int] = {}
    for ticker, one in found:
        counts[ticker] = counts.get(ticker, 0) + one.size
    return sorted(counts, key=lambda ticker: (-counts[ticker], ticker))


def _line(severity: str, kind: str, found: list[tuple[str, Finding]], total: int) -> str:
    """Return findings of one kind in one line: a single one in its own words, several with the tickers hit most."""
    tickers = _tickers(found)
    if len(found) == 1:
        return f"{severity}: {found[0][0]}: {found[0][1].sentence}"
    names = ", ".join(tickers[:_NAMES_SHOWN]) + ("…" if len(tickers) > _NAMES_SHOWN else "")
    return f"{severity}: {kind} in {len(tickers):,} of {many(total, 'ticker')} ({names})"


def quality_of(sessions: Mapping[str, Sessions]) -> Reports:
    """Return the data-quality reports of several tickers as one.

    Parameters
    ----------
    sessions : mapping of str to Sessions
        As ``load_sessions`` returns it for a list of tickers.

    Returns
    -------
    Reports
        A DataFrame by ticker and session; its ``summary`` says in a few lines what is wrong in how many tickers.

    Examples
    --------
    >>> from orbresearch import synthetic_sessions
    >>> print(quality_of({"A": synthetic_sessions(2, ticker="A"), "B": synthetic_sessions(2, ticker="B")}).summary)
    nothing to remark about 2 tickers
    """
    if not isinstance(sessions, Mapping):
        raise BadInput("sessions", "not by ticker", "give {ticker: sessions}; one ticker's own report is its .quality")
    tables = {ticker: pd.DataFrame(item.quality) for ticker, item in sessions.items()}
    joined = Reports(pd.concat(tables, names=["ticker"]) if tables else None)
    joined.findings_of = {ticker: item.quality.findings for ticker, item in sessions.items()}
    return joined
