"""What every source hands over: one ticker's rows as found, in columns, before any rule is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import NANOS

INCREMENTS = tuple(NANOS // parts for parts in (100, 200, 1000, 2000, 10_000))  # .01 … .0001 dollars, in 1e-9
MIN_BAR_SECONDS = 4  # shorter bars are read as their closes: there is no room for the path inside


@dataclass(frozen=True, eq=False)
class Rows:
    """One ticker's rows in the order of the source.

    Parameters
    ----------
    ticker : str
    time : int64 array, shape (n,)
        UTC epoch, floored to seconds; of bars the stamp as found.
    price : float64 array, shape (n,)
        Dollars; of bars the close. May hold NaN, zeros and worse.
    open, high, low : float64 array, shape (n,), or None
        Dollars, of bars.
    bar_seconds : int
        Length of a bar, 0 for single prices.
    stamp : str
        "start" or "end" of a bar; "" for single prices.
    closes : bool
        Whether single prices are the closes of bars, whose stamps may lie before them.
    volume : float64 array, shape (n,), or None
        Shares, as found: may hold NaN and worse. None where the source has none.
    volatility : float64 array, shape (n,), or None
        Of single prices: implied volatility of options near the money, NaN for all others. None where the source has
        none.
    """

    ticker: str
    time: Any
    price: Any
    open: Any = None
    high: Any = None
    low: Any = None
    bar_seconds: int = 0
    stamp: str = ""
    closes: bool = False
    volume: Any = None
    volatility: Any = None

    def __len__(self) -> int:
        return len(self.time)

    @property
    def prices(self) -> list[Any]:
        """Every price column there is."""
        return [self.price] if self.bar_seconds == 0 else [self.open, self.high, self.low, self.price]

    def take(self, at: Any) -> Rows:
        """Return the rows at an index array, slice or mask."""
        columns = {
            name: getattr(self, name) for name in ("time", "price", "open", "high", "low", "volume", "volatility")
        }
        taken = {name: None if column is None else column[at] for name, column in columns.items()}
        return Rows(self.ticker, bar_seconds=self.bar_seconds, stamp=self.stamp, closes=self.closes, **taken)


def is_price(values: Any) -> Any:
    """Return where values are prices: finite and above zero."""
    return np.isfinite(values) & (values > 0)


def is_volume(values: Any) -> Any:
    """Return where values are volumes: finite and not below zero."""
    return np.isfinite(values) & (values >= 0)


def find_increment(rows: Rows) -> int:
    """Return the coarsest of .01, .005, .001, .0005, .0001 dollars that holds every price of the rows, in 1e-9 dollars.

    A float64 stands for the decimal it is nearest to; four units in the last place are allowed for prices that somebody
    has computed (a mid of two quotes). Where none holds them all: .0001, and prices will be rounded.
    """
    prices = np.concatenate([column[is_price(column)] for column in rows.prices])
    return next((nanos for nanos in INCREMENTS if not misses(prices, nanos).any()), INCREMENTS[-1])


def misses(prices: Any, increment_nanos: int) -> Any:
    """Return where prices (dollars) lie between whole increments."""
    parts = NANOS / increment_nanos
    scaled = prices * parts
    return np.abs(scaled - np.rint(scaled)) > 4 * np.finfo(np.float64).eps * np.maximum(scaled, 1.0)


def rounds_to_price(dollars: Any, increment_nanos: int) -> Any:
    """Return where prices (dollars) are at least one increment when rounded."""
    return is_price(dollars) & (np.where(is_price(dollars), dollars, 0.0) * (NANOS / increment_nanos) > 0.5)


def to_price(dollars: Any, increment_nanos: int, ticker: str) -> Any:
    """Return prices as int32 increments, rounded half to even; what is no price becomes 0.

    Raises
    ------
    BadInput
        A price beyond int32 increments.
    """
    usable = is_price(dollars)
    scaled = np.rint(np.where(usable, dollars, 0.0) * (NANOS / increment_nanos))
    if scaled.size and scaled.max() > np.iinfo(np.int32).max:
        wrong = f"{dollars[scaled.argmax()]:,.2f} dollars are beyond int32 increments of {increment_nanos / NANOS}"
        raise BadInput(f"ticker {ticker}", wrong, "give a coarser increment=, such as .01")
    return scaled.astype(np.int32)
