"""Implied volatility near the money, second by second: what an opening range's ``avg_vol`` is the mean of.

Volatilities are summed as whole parts of 1e-9, so that the mean is the same bits whatever the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

PARTS = 10**9
NEAR_THE_MONEY = (0.4, 0.6)  # of abs(delta), both exclusive (strategy.md, "Opening range")
LEAST_ROWS = 2


@dataclass(frozen=True, eq=False)
class Volatility:
    """Sums beside the observations of sessions.

    Parameters
    ----------
    total : int64 array, shape (observations,)
        Sum of the implied volatilities of the second's rows near the money, in 1e-9.
    rows : int32 array, shape (observations,)
        How many rows that are.
    seconds : int
        From the open on in which they were collected; 0: whole sessions.
    """

    total: Any
    rows: Any
    seconds: int = 0

    def window(self, at: Any) -> Volatility:
        """Return the part of some observations."""
        return replace(self, total=self.total[at], rows=self.rows[at])

    def mean(self, at: Any, duration: int) -> float:
        """Return the mean over the observations ``at``, of the first ``duration`` seconds; NaN where not known."""
        count = int(self.rows[at].sum())
        if count < LEAST_ROWS or (self.seconds and duration > self.seconds):
            return float("nan")
        return int(self.total[at].sum()) / count / PARTS


def near_the_money(volatility: Any, delta: Any) -> Any:
    """Return implied volatilities, NaN where the option is not near the money or has none.

    Parameters
    ----------
    volatility, delta : float64 array, shape (n,)
    """
    least, most = NEAR_THE_MONEY
    with np.errstate(invalid="ignore"):
        near = (np.abs(delta) > least) & (np.abs(delta) < most) & (volatility > 0) & np.isfinite(volatility)
    return np.where(near, volatility, np.nan)


def sum_volatility(volatility: Any, starts: Any) -> Volatility | None:
    """Return the sums of rows over seconds.

    Parameters
    ----------
    volatility : float64 array, shape (rows,), or None
        As :func:`near_the_money` returns it, in the order of time.
    starts : int64 array
        First row of each second.
    """
    if volatility is None:
        return None
    known = np.isfinite(volatility)
    parts = np.rint(np.where(known, volatility, 0.0) * PARTS).astype(np.int64)
    if len(starts) == 0:
        return Volatility(np.zeros(0, np.int64), np.zeros(0, np.int32))
    rows = np.add.reduceat(known.astype(np.int32), starts, dtype=np.int32)
    return Volatility(np.add.reduceat(parts, starts), rows)
