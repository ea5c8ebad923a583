"""A ranking across tickers, day by day, as a feature that rules can select by: stocks in play."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from orbresearch.errors import BadInput
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.features import KNOWN_AFTER_CLOSE, feature_column

_SHOWN = 10  # tickers named in a message


def rank(
    sessions: Mapping[str, Sessions],
    by: str = "relative_volume",
    top: int = 20,
    ascending: bool = False,
    *,
    range_duration: int = 300,
    name: str = "rank",
) -> dict[str, Sessions]:
    """Rank tickers against each other on every date; return their sessions with the place as a feature.

    ``Rules(select=("rank", "<=", 20))`` then trades a ticker only on days when it is among the first twenty. In a
    pooled run (``pool=True``) the others take no part in the day's mean; without a pool their days stay flat.

    Parameters
    ----------
    sessions : mapping of ticker to Sessions
    by : str
        A column of ``sessions.features_of(range_duration)``, one's own joined ones too. ``relative_volume``: the
        opening range's volume as a multiple of its mean over the 14 sessions before, which wants a source with volumes.
    top : int
        Tickers that are among so many on no date are left out of what is returned: they would never be traded.
    ascending : bool
        Whether the smallest is the first; default: the largest.
    range_duration : int
        Seconds of the opening range that the column is of: no longer than that of the run, which otherwise would know
        a place before it is known.
    name : str
        What to call the column of places.

    Returns
    -------
    dict of Sessions
        In the order given, with a joined column of places: 1 for the first; of equal values the ticker that comes first
        in the alphabet. NaN where ``by`` has no value: that session is not tradable under a rule that needs the place.

    Raises
    ------
    BadInput
        A column that is unknown, known only after the close, or missing on all sessions of all tickers.

    Notes
    -----
    A place on a date depends on that date's values alone, of every ticker that has one. Those of the opening range are
    known when it ends, ``gap``, ``atr`` and ``stretch`` at the open; what one's own columns know is one's own to know.

    Examples
    --------
    >>> from orbresearch import Rules, synthetic_sessions
    >>> both = {ticker: synthetic_sessions(3, seed, ticker=ticker) for seed, ticker in enumerate(["AAPL", "MSFT"])}
    >>> ranked = rank(both, by="range", top=2)
    >>> sum(int(one.features["rank"].sum()) for one in ranked.values())
    9
    >>> Rules(select=("rank", "<=", 1)).select
    (('rank', '<=', 1),)
    """
    import pandas as pd

    _check(sessions, by, top)
    columns = {ticker: sessions[ticker] for ticker in sorted(sessions)}  # whoever comes first is placed before equals
    values = pd.DataFrame(
        {ticker: pd.Series(feature_column(one, range_duration, by), one.dates) for ticker, one in columns.items()}
    )
    _report_missing(values, by)
    places = values.rank(axis=1, method="first", ascending=ascending)
    ever = (places <= top).any()
    return {ticker: _place(one, places[ticker], name) for ticker, one in sessions.items() if ever[ticker]}


def _place(sessions: Sessions, places: Any, name: str) -> Sessions:
    return sessions.join(places.reindex(sessions.dates).rename(name))


def _check(sessions: Any, by: str, top: Any) -> None:
    """Refuse what is no mapping of sessions, a column that a trader cannot know, and a number that is none."""
    if (
        not isinstance(sessions, Mapping)
        or not sessions
        or not all(isinstance(one, Sessions) for one in sessions.values())
    ):
        raise BadInput("sessions", f"a {type(sessions).__name__}", "give a mapping of ticker to Sessions")
    if by in KNOWN_AFTER_CLOSE:
        wrong = f"{by!r} of a session is known only after its close"
        raise BadInput("by", wrong, "give a column that is known when the range ends")
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise BadInput("top", f"{top!r} is no number of tickers", "give 1 or more")


def _report_missing(values: Any, by: str) -> None:
    """Refuse a column that nobody has; warn of those who never have it."""
    without = list(values.columns[values.isna().all()])
    if len(without) == len(values.columns):
        fix = "relative_volume wants volumes and 14 sessions before: load them, or rank by another column"
        raise BadInput("by", f"{by!r} is missing on all sessions of all {len(without)} tickers", fix)
    if without:
        named = ", ".join(without[:_SHOWN]) + (", …" if len(without) > _SHOWN else "")
        warnings.warn(
            f"rank: {by} is missing on all sessions of {len(without)} of {len(values.columns)} tickers, which are left "
            f"out: {named}",
            stacklevel=3,
        )
