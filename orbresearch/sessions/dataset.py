"""Sessions: one ticker's observations over many sessions, and what is derived from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import NANOS
from orbresearch.schema import TICKS
from orbresearch.sessions.bars import stamp_signs
from orbresearch.sessions.calendar import Schedule
from orbresearch.sessions.dates import read_date
from orbresearch.sessions.observations import Observed, observe
from orbresearch.sessions.quality import Quality, tabulate
from orbresearch.sessions.rows import MIN_BAR_SECONDS, Rows, find_increment
from orbresearch.sessions.series import Series
from orbresearch.sessions.surges import find_surges
from orbresearch.sessions.volatility import Volatility


@dataclass(frozen=True, eq=False, repr=False)
class Sessions:
    """One ticker's prices, session by session. Made by ``load_sessions`` or ``synthetic_sessions``.

    Parameters
    ----------
    ticker : str
    schedule : Schedule
        The sessions that have at least one observation.
    pointers : int64 array, shape (len(schedule) + 1,)
        Observations of session i are ``pointers[i]:pointers[i + 1]``.
    columns : dict of arrays
        As schema.OBSERVATIONS.
    increment_nanos : int
        One increment, in 1e-9 dollars.
    bar_seconds : int
        0 for prices.
    path : str
        Of bars of four seconds and more: "nearer" or "farther"; "" otherwise.
    quality : Quality
        The data-quality report.
    source : str
        Where the prices come from, for a person.
    fingerprint : str
        Of source, options and content: under it the sessions are cached. "" where they are not.
    volume : float64 array, shape (pointers[-1],), or None
        Shares, of every observation; of a bar all at its first. None where the source has none. It is cached, but no
        part of the tick series: no run's id depends on it.
    volatility : Volatility or None
        Implied volatility near the money beside every observation, for ``avg_vol``. None where the source has none.
    joined : dict of float64 arrays, shape (len(schedule),), or None
        The columns of :meth:`join`. They are not cached.
    splits : float64 array, shape (len(schedule),), or None
        How many shares one of the session before is worth at each session's open, 1 where nothing was split; None where
        nothing was at all. Prices and trades of a session are in its own dollars; features that look back are in the
        dollars of the session that looks. They are not cached.
    """

    ticker: str
    schedule: Schedule
    pointers: Any
    columns: dict[str, Any]
    increment_nanos: int
    bar_seconds: int
    path: str
    quality: Quality
    source: str
    fingerprint: str = ""
    volume: Any = None
    volatility: Volatility | None = None
    joined: Any = None
    splits: Any = None

    def __len__(self) -> int:
        return len(self.schedule)

    def __repr__(self) -> str:
        kind = f"{self.bar_seconds} s bars ({self.path or 'closes'})" if self.bar_seconds else "prices"
        span = f"{self.schedule.labels[0]} … {self.schedule.labels[-1]}"
        return (
            f"Sessions({self.ticker}, {len(self)} sessions {span}, {self.pointers[-1]:,} observations of {kind}, "
            f"increment {self.increment}, {self.source})"
        )

    @property
    def dates(self) -> Any:
        """The sessions' labels as a DatetimeIndex (naive dates)."""
        import pandas as pd

        return pd.DatetimeIndex(self.schedule.labels.astype("datetime64[ns]"), name="session")

    @property
    def increment(self) -> float:
        """One increment in dollars: prices are whole numbers of it."""
        return self.increment_nanos / NANOS

    @property
    def is_bars(self) -> bool:
        """Whether the path inside bars was guessed: bars of four seconds or more."""
        return self.bar_seconds >= MIN_BAR_SECONDS

    @property
    def features(self) -> Any:
        """Per-session quantities, a DataFrame by date, the user's joined columns last.

        Made anew each time: to add a column, use :meth:`join`. What they are: ``session_features`` in
        ``orbresearch.sessions.features``.
        """
        from orbresearch.sessions.features import session_features

        return session_features(self)

    def features_of(self, range_duration: int) -> Any:
        """Return ``features`` and, before the joined columns, those of the opening range of a duration.

        Parameters
        ----------
        range_duration : int
            Seconds; of bars a whole number of them.

        Returns
        -------
        DataFrame
            Also ``range``, ``width``, ``count_trades``, ``avg_vol``, ``range_volume`` and ``relative_volume``: see
            ``range_features`` in ``orbresearch.sessions.features``.

        Raises
        ------
        BadInput
            A duration that is none.

        Examples
        --------
        >>> from orbresearch import synthetic_sessions
        >>> bool((synthetic_sessions(2).features_of(300)["range"] > 0).all())
        True
        """
        from orbresearch.sessions.features import range_features

        return range_features(self, range_duration)

    def join(self, frame: Any) -> Sessions:
        """Return the same sessions with columns of one's own, by date, as features that rules can use.

        A value counts for the whole session of its date, from its open on. What is known only after the close belongs
        to the next session: ``frame.shift()``.

        Parameters
        ----------
        frame : DataFrame or Series
            Numbers (a Series needs a name), indexed by date: a DatetimeIndex without zone, dates, or text such as
            "2024-03-26". Dates that are no session take no part; sessions without a date get NaN.

        Returns
        -------
        Sessions
            Earlier joined columns are kept.

        Raises
        ------
        BadInput
            An index that holds no dates, dates with a zone, a time of day or twice, no date in common, columns that
            are no numbers, and names that are taken.

        Examples
        --------
        >>> import pandas as pd
        >>> from orbresearch import synthetic_sessions
        >>> vix = pd.Series([13.2, 14.0], ["2024-01-02", "2024-01-03"], name="vix")
        >>> synthetic_sessions(2).join(vix).features["vix"].tolist()
        [13.2, 14.0]
        """
        from orbresearch.sessions.features import join_columns

        return replace(self, joined=join_columns(self, frame))

    @cached_property
    def series(self) -> Series:
        """The compressed tick series."""
        return compress_time_series(self)

    def ready(self) -> Sessions:
        """Make the tick series and its identity now, so that the first run need not; return the sessions."""
        _ = self.series.session_hashes
        return self

    def observations(self, session: int) -> dict[str, Any]:
        """Return the observation columns of one session, by its index."""
        at = slice(self.pointers[session], self.pointers[session + 1])
        return {name: column[at] for name, column in self.columns.items()}

    def between(self, start: Any = None, end: Any = None) -> Sessions:
        """Return the sessions from date ``start`` to date ``end``, both inclusive.

        Raises
        ------
        BadInput
            What is no date; no session in the dates.
        """
        kept = self.schedule.between(read_date("start", start), read_date("end", end))
        if len(kept) == 0:
            span = f"{self.schedule.labels[0]} to {self.schedule.labels[-1]}" if len(self) else "none"
            wrong = f"no session with prices from {start} to {end}"
            raise BadInput(f"ticker {self.ticker}", wrong, f"the source has sessions from {span}")
        from orbresearch.sessions.splits import with_ratios

        first = int(np.searchsorted(self.schedule.labels, kept.labels[0]))
        last = first + len(kept)
        at = slice(self.pointers[first], self.pointers[last])
        columns = {name: column[at] for name, column in self.columns.items()}
        pointers = self.pointers[first : last + 1] - self.pointers[first]
        quality = self.quality.window(first, last)
        volume = None if self.volume is None else self.volume[at]
        joined = None if self.joined is None else {name: column[first:last] for name, column in self.joined.items()}
        volatility = None if self.volatility is None else self.volatility.window(at)
        parts = {"pointers": pointers, "columns": columns, "quality": quality, "volume": volume, "joined": joined}
        found = replace(self, schedule=kept, volatility=volatility, **parts)
        return found if self.splits is None else with_ratios(found, np.r_[1.0, self.splits[first + 1 : last]])

    def other_path(self) -> Sessions:
        """Return the same bars with each one's extremes in the other order: results on bars are shown under both."""
        if not self.is_bars:
            raise BadInput(f"ticker {self.ticker}", "single prices have no path to exchange", "only bars have")
        price = self.columns["price"].copy()
        starts = _whole_bars(self)
        price[starts + 1], price[starts + 2] = price[starts + 2], price[starts + 1]
        path = "farther" if self.path == "nearer" else "nearer"
        return replace(self, columns={**self.columns, "price": price}, path=path, fingerprint="")


def build_sessions(
    rows: Rows, schedule: Schedule, path: str, increment_nanos: int | None, source: str, fingerprint: str = ""
) -> Sessions:
    """Apply strategy.md's "From rows to a tick series" to one ticker's rows.

    Parameters
    ----------
    rows : Rows
    schedule : Schedule
        All sessions of the days that the rows span.
    path : str
        Of bars: "nearer" or "farther".
    increment_nanos : int, optional
        In 1e-9 dollars; default: the coarsest that holds every price.
    source, fingerprint : str
        As in :class:`Sessions`.
    """
    increment_nanos = increment_nanos or find_increment(rows)
    seen = observe(rows, schedule, increment_nanos, path)
    if len(seen.session) == 0:
        wrong = f"none of its {len(rows):,} rows lies in a session of {schedule.calendar}"
        raise BadInput(f"ticker {rows.ticker}", wrong, "check the time zone (tz=), the unit and the calendar")
    sizes = np.bincount(seen.session, minlength=len(schedule))
    has = np.flatnonzero(sizes)
    kept = Schedule(
        schedule.calendar, schedule.timezone, schedule.labels[has], schedule.opens[has], schedule.closes[has]
    )
    pointers = np.concatenate([[0], np.cumsum(sizes[has])]).astype(np.int64)
    quality = _report(rows, seen, schedule, has, pointers, increment_nanos)
    path = path if rows.bar_seconds >= MIN_BAR_SECONDS else ""
    made = rows.ticker, kept, pointers, seen.columns, increment_nanos, rows.bar_seconds, path, quality
    return Sessions(*made, source, fingerprint, seen.volume, seen.volatility)


def _report(rows: Rows, seen: Observed, schedule: Schedule, has: Any, pointers: Any, increment_nanos: int) -> Quality:
    signs = stamp_signs(rows.time, rows.bar_seconds, schedule) if rows.bar_seconds else np.zeros((2, len(schedule)))
    counts = seen.counts | {
        name: np.array(sign, np.int64) for name, sign in zip(("starts", "ends"), signs, strict=True)
    }
    counts = {name: count[has] for name, count in (counts | {"surge": find_surges(rows, schedule)}).items()}
    columns = {
        "time": seen.columns["time"],
        "price": seen.columns["price"] * (increment_nanos / NANOS),
        "least_gap": max(60, rows.bar_seconds),
    }
    lengths, around = schedule.closes - schedule.opens, np.arange(has[0], has[-1] + 1)
    table = tabulate(counts, schedule.labels[has], pointers, columns, lengths[has])
    lost = np.setdiff1d(np.arange(len(schedule)), has)
    facts = seen.facts | {
        "before_open": int(seen.counts["before_open"][lost].sum()),
        "after_close": int(seen.counts["after_close"][lost].sum()),
        "ticker": rows.ticker,
        "calendar": schedule.calendar,
        "increment": increment_nanos / NANOS,
        "bar_seconds": rows.bar_seconds,
        "stamp": rows.stamp,
        "closes_apart": int(np.median(np.diff(np.unique(rows.time)))) if rows.closes and len(rows) > 1 else 0,
        "late_after": rows.bar_seconds - 1 if rows.bar_seconds else 30,
        "session_seconds": int(lengths.max()),
        "missing": [str(label) for label in schedule.labels[np.setdiff1d(around, has)]],
    }
    return Quality(table, facts)


def compress_time_series(sessions: Sessions) -> Series:
    """Return the tick series of sessions: consecutive equal prices become one tick.

    Compression changes no result: raw and compressed series give the same trades to the cent (strategy.md).
    """
    from orbresearch.kernels.compress import compress_session

    columns = {name: np.empty(sessions.pointers[-1], kind) for name, kind in TICKS.items()}
    pointers = np.zeros(len(sessions) + 1, np.int64)
    for i in range(len(sessions)):
        found, start = sessions.observations(i), pointers[i]
        out = [columns[name][start:] for name in TICKS]
        count = compress_session(*found.values(), *out)
        pointers[i + 1] = start + count
    columns = {name: column[: pointers[-1]].copy() for name, column in columns.items()}
    schedule = sessions.schedule
    return Series(
        schedule.labels,
        schedule.opens,
        schedule.closes,
        pointers,
        columns,
        sessions.increment_nanos,
        sessions.bar_seconds,
        sessions.path,
        bar_range_twice(sessions),
    )


def bar_range_twice(sessions: Sessions) -> int:
    """Return twice the median range of the sessions' whole bars, increments; 0 for single prices."""
    if not sessions.is_bars:
        return 0
    price, starts = sessions.columns["price"], _whole_bars(sessions)
    if len(starts) == 0:
        return 0
    ticks = np.stack([price[starts + i] for i in range(4)])
    return int(2 * np.median(ticks.max(axis=0) - ticks.min(axis=0)))


def _whole_bars(sessions: Sessions) -> Any:
    """Return the index of the first observation of every bar that has all its four."""
    first, stands = sessions.columns["first_of_bar"], sessions.columns["stands"]
    starts = np.flatnonzero(first)
    starts = starts[starts + 3 < len(first)]
    inside = np.stack([(first[starts + i] == 0) & (stands[starts + i] == (i < 3)) for i in (1, 2, 3)])
    return starts[(stands[starts] == 1) & inside.all(axis=0)]
