"""Splits that a user declares: prices of a day stay as they were paid, what spans days is in one share's dollars."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sessions.quality import declare_splits

if TYPE_CHECKING:
    from orbresearch.sessions.dataset import Sessions

_COLUMNS = ("ticker", "date", "ratio")


def read_splits(splits: Any) -> dict[str, dict[Any, float]]:
    """Return declared splits as ticker -> date (datetime64[D]) -> ratio.

    Parameters
    ----------
    splits : DataFrame, or iterable of (ticker, date, ratio), or None
        A DataFrame has columns of those names. ``ratio`` is how many shares one becomes at that date's open: 4 for
        4-for-1, .1 for a reverse split.

    Raises
    ------
    BadInput
        No such columns, a date that is none, a ratio that is no number above 0, a ticker's date twice.
    """
    found: dict[str, dict[Any, float]] = {}
    for row in _rows(splits):
        ticker, day, ratio = _entry(row)
        known = found.setdefault(ticker, {})
        if day in known:
            raise BadInput("splits", f"{ticker} has {day} twice", "give each split once")
        known[day] = ratio
    return found


def _rows(splits: Any) -> Iterable[Any]:
    """Return (ticker, date, ratio), one by one."""
    if splits is None:
        return ()
    if hasattr(splits, "columns"):
        missing = [name for name in _COLUMNS if name not in splits.columns]
        if missing:
            raise BadInput("splits", f"no column {missing[0]!r}", f"give {', '.join(_COLUMNS)}")
        return splits[list(_COLUMNS)].itertuples(index=False, name=None)  # type: ignore[no-any-return]
    if isinstance(splits, (str, bytes)) or not isinstance(splits, Iterable):
        raise BadInput("splits", f"{splits!r}", 'give a DataFrame, or a list such as [("NVDA", "2024-06-10", 10)]')
    return splits


def _entry(row: Any) -> tuple[str, Any, float]:
    """Return one split's ticker, date and ratio."""
    fix = 'give (ticker, date, ratio), such as ("NVDA", "2024-06-10", 10)'
    if isinstance(row, (str, bytes)) or not hasattr(row, "__len__") or len(row) != 3:
        raise BadInput("splits", f"{row!r} is no split", fix)
    ticker, day, ratio = row
    if not isinstance(ticker, str) or not ticker:
        raise BadInput("splits", f"{ticker!r} is no ticker", fix)
    number = isinstance(ratio, (int, float, np.integer, np.floating)) and not isinstance(ratio, bool)
    if not number or not 0 < ratio < np.inf:
        wrong = f"the ratio {ratio!r} of {ticker} on {day} is no number above 0"
        raise BadInput("splits", wrong, "give shares for one: 4 for 4-for-1, .1 for a reverse split")
    return ticker, _day(ticker, day), float(ratio)


def _day(ticker: str, given: Any) -> Any:
    """Return a date without time and zone as datetime64[D]."""
    fix = "give the date that opens with the new shares, such as 2024-06-10"
    if isinstance(given, np.datetime64):
        given = given.astype("datetime64[s]").item()
    plain = isinstance(given, (str, date)) and given == given  # NaT is not
    if (
        plain
        and isinstance(given, datetime)
        and (given.tzinfo is not None or given != datetime(*given.timetuple()[:3]))
    ):
        raise BadInput("splits", f"{given} of {ticker} has a time or a zone", fix)
    text = str(given)[:10] if isinstance(given, datetime) else str(given)
    try:
        return np.datetime64(text if plain and re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else "no", "D")
    except ValueError:
        raise BadInput("splits", f"{given!r} of {ticker} is no date", fix) from None


def apply_splits(sessions: Sessions, declared: dict[str, dict[Any, float]]) -> Sessions:
    """Return sessions with the splits of their ticker; other tickers' take no part.

    A date without a session counts from the next one on; one before the first session or after the last, not at all.

    Parameters
    ----------
    sessions : Sessions
    declared : dict
        As :func:`read_splits` returns it.
    """
    labels, ratios = sessions.schedule.labels, np.ones(len(sessions))
    for day, ratio in declared.get(sessions.ticker, {}).items():
        at = int(np.searchsorted(labels, day))
        if 0 < at < len(labels):
            ratios[at] *= ratio
    return with_ratios(sessions, ratios)


def with_ratios(sessions: Sessions, ratios: Any) -> Sessions:
    """Return sessions with ``ratios`` as :attr:`Sessions.splits`, in the report too; None where all are 1."""
    splits = ratios if (ratios != 1).any() else None
    return replace(sessions, splits=splits, quality=declare_splits(sessions.quality, splits))


def listed_splits(sessions: Sessions) -> list[list[Any]]:
    """Return the splits between sessions as [ticker, date, ratio], for JSON: :func:`read_splits` reads them again."""
    if sessions.splits is None:
        return []
    at = np.flatnonzero(sessions.splits != 1)
    return [[sessions.ticker, str(sessions.schedule.labels[i]), float(sessions.splits[i])] for i in at]


def shares_held(splits: Any, count: int) -> Any:
    """Return how many shares one of the first session has become, by session: float64, exactly 1 before any split.

    Parameters
    ----------
    splits : float64 array, shape (count,), or None
        As :attr:`Sessions.splits`.
    count : int
        Sessions.
    """
    return np.ones(count) if splits is None else np.cumprod(splits)
