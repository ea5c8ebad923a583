"""Per-session quantities: strategy.md, the paragraph under "Rules"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from orbresearch.sessions.dataset import Sessions

ATR_SESSIONS, STRETCH_SESSIONS = 14, 10


def session_features(sessions: Sessions) -> Any:
    """Return one row per session, by date; prices and distances in dollars, NaN without the history needed.

    Returns
    -------
    DataFrame
        ``open, high, low, close`` of the session's observations; ``gap`` (open minus the close before); ``atr`` (mean
        true range of the 14 sessions before); ``stretch`` (mean over the 10 before of |open - nearer extreme|);
        ``weekday`` (0 is Monday); ``observations``.
    """
    import pandas as pd

    price, starts = sessions.columns["price"], sessions.pointers[:-1]
    frame = pd.DataFrame(index=sessions.dates)
    dollars = sessions.increment
    frame["open"] = price[starts] * dollars
    frame["high"] = np.maximum.reduceat(price, starts) * dollars
    frame["low"] = np.minimum.reduceat(price, starts) * dollars
    frame["close"] = price[sessions.pointers[1:] - 1] * dollars
    before = frame["close"].shift()
    frame["gap"] = frame["open"] - before
    true_range = np.maximum(frame["high"], before) - np.minimum(frame["low"], before)
    frame["atr"] = true_range.shift().rolling(ATR_SESSIONS).mean()
    nearer = np.minimum(frame["open"] - frame["low"], frame["high"] - frame["open"])
    frame["stretch"] = nearer.shift().rolling(STRETCH_SESSIONS).mean()
    frame["weekday"] = frame.index.day_of_week
    frame["observations"] = np.diff(sessions.pointers)
    return frame
