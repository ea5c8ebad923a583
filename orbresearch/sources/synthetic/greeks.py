"""Option rows of a synthetic market, as a warehouse holds them: many a second, one per option.

Per session and ticker: a walk of the price on every second, up to three prices in one; the seconds that have rows; the
options that are quoted in each, strikes around the price, calls and puts, the next weekly and the next monthly expiry;
their implied volatility, a smile; their delta, by Black and Scholes without interest.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa

from orbresearch.sessions.expiries import next_expiry, next_weekly_expiry
from orbresearch.sources.synthetic.market import Day, character_of, mixed, stream
from orbresearch.sources.synthetic.sessions import liveliness

GREEKS = pa.schema(
    [
        pa.field("timestamp_utc", pa.int32()),  # epoch seconds
        pa.field("ticker", pa.string()),
        pa.field("underlying", pa.float64()),  # dollars
        pa.field("strike", pa.float64()),  # dollars
        pa.field("expiration", pa.date32()),
        pa.field("delta", pa.float64()),  # of a put below 0; may be missing
        pa.field("implied_volatility", pa.float64()),  # per year; may be missing
    ]
)
GREEKS_VERSION = 1  # raised when the same seed makes other rows

BEFORE, AFTER = 1800, 900  # seconds of extended hours around a session
SHARE_BUSY, SHARE_EXTENDED = 0.76, 0.05  # of seconds with rows, in the session and around it
_PRICES = (0.6, 0.28, 0.28)  # chance of a move before each of a second's three prices
_QUIET = 0.02  # variance of extended hours, relative to the session's
_SHARE_BAD = 0.0005  # of rows without numbers, and of rows with zeros
_YEAR = 365.25 * 86_400
_LEAST_LEFT = 600  # seconds; an option has at least that long to live
_UNITS = np.array([0.5, 1.0, 2.5, 5.0, 10.0, 25.0])  # dollars between strikes


def day_rows(seed: int, ticker: str, day: Day, per_second: float) -> pa.Table:
    """Return the rows of one ticker and session in time order, as :data:`GREEKS`.

    Parameters
    ----------
    per_second : float
        Rows per second of the session on average, counting the seconds without any.
    """
    rng = stream(seed, "rows", ticker, str(day.label))
    cents = _walk(seed, ticker, day, rng)
    second, price = _quotes(rng, day, per_second)
    near, far = _expiries(day)
    options = _Options(rng, day, per_second)
    which = options.pick(len(second))
    underlying = cents.ravel()[3 * second + price] / 100
    strike = options.strike(underlying, which)
    expires = options.far[which]
    root = _root_years(day, len(cents), near, far)[expires.astype(np.int64) * len(cents) + second]
    volatility, delta = _greeks(rng, day.implied, underlying, strike, root, options.put[which])
    _spoil(rng, delta, volatility)
    dates = np.array([near, far], "datetime64[D]")[expires.astype(np.int64)]
    columns = [
        pa.array((day.opened - BEFORE + second).astype(np.int32)),
        pa.repeat(pa.scalar(ticker, pa.string()), len(second)),
        pa.array(underlying),
        pa.array(strike),
        pa.array(dates),
        pa.array(delta, from_pandas=True),
        pa.array(volatility, from_pandas=True),
    ]
    return pa.Table.from_arrays(columns, schema=GREEKS)


def day_close(rows: pa.Table, day: Day) -> float:
    """Return the last price of the session: extended hours do not count."""
    times = rows["timestamp_utc"].to_numpy()
    return float(rows["underlying"][int(np.searchsorted(times, day.closed, "right")) - 1].as_py())


def _walk(seed: int, ticker: str, day: Day, rng: np.random.Generator) -> Any:
    """Return the price in cents, shape (seconds, 3), from ``BEFORE`` seconds before the open on.

    Normal steps, as much correlated with the market's as the days are, and bent so that they end at the day's move.
    As that was drawn from what they would have summed to, they are independent again, and no step tells of the next.
    Of this walk the price shows what it was when it last moved.
    """
    seconds = day.closed - day.opened + 1 + BEFORE + AFTER
    part = (np.arange(seconds) - BEFORE) / (day.closed - day.opened)
    lively = np.where((part < 0) | (part > 1), _QUIET, liveliness(np.clip(part, 0, 1)) ** 2)
    variance = np.repeat(lively * (day.volatility**2 / (3 * lively.sum())), 3)
    market = stream(seed, "rows", "", str(day.label)).standard_normal(3 * seconds)
    own = rng.standard_normal(3 * seconds)
    walk = np.cumsum(np.sqrt(variance) * mixed(character_of(seed, ticker).loading, market, own))
    walk += np.cumsum(variance) * ((day.move - walk[-1]) / day.volatility**2)
    moved = np.where((rng.random((seconds, 3)) < _PRICES).ravel(), np.arange(3 * seconds), 0)
    shown = walk[np.maximum.accumulate(moved)]
    return np.maximum(np.rint(100 * day.start * (1 + shown)), 100).reshape(seconds, 3)


def _quotes(rng: np.random.Generator, day: Day, per_second: float) -> tuple[Any, Any]:
    """Return of each row its second and which of that second's three prices it saw."""
    busy = np.flatnonzero(_busy(rng, day))
    counts = 1 + rng.poisson(_mean_rows(per_second) - 1, len(busy))
    counts = np.minimum(counts, _chain_size(per_second))
    ends = np.cumsum(counts)
    position = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
    return np.repeat(busy, counts), 3 * position // np.repeat(counts, counts)


def _busy(rng: np.random.Generator, day: Day) -> Any:
    """Return which seconds have rows: three quarters, without a gap or two and, at times, the first few."""
    seconds = day.closed - day.opened + 1 + BEFORE + AFTER
    offsets = np.arange(seconds) - BEFORE
    inside = (offsets >= 0) & (offsets <= day.closed - day.opened)
    busy = rng.random(seconds) < np.where(inside, SHARE_BUSY, SHARE_EXTENDED)
    for _ in range(rng.poisson(1.5)):
        start = rng.integers(BEFORE, seconds - AFTER)
        busy[start : start + rng.integers(61, 240)] = False
    if rng.random() < 0.3:
        busy[BEFORE : BEFORE + rng.integers(2, 20)] = False
    return busy


def _mean_rows(per_second: float) -> float:
    """Return how many rows a second has on average where it has any."""
    return max(1.0, per_second / SHARE_BUSY)


def _chain_size(per_second: float) -> int:
    """Return how many options are quoted: so many that a second's rows are different ones."""
    strikes = max(5, int(np.ceil(1.8 * _mean_rows(per_second) / 4)))
    return 4 * (strikes + 1 - strikes % 2)


def _expiries(day: Day) -> tuple[dt.date, dt.date]:
    """Return the weekly and the monthly expiry; in a week with a monthly one, that and the next month's."""
    near, far = next_weekly_expiry(day.label), next_expiry(day.label)
    return near, next_expiry(near + dt.timedelta(1)) if far == near else far


class _Options:
    """A day's chain in random order: strikes counted from the one at the money, puts, and the later expiry."""

    def __init__(self, rng: np.random.Generator, day: Day, per_second: float) -> None:
        size = _chain_size(per_second)
        order = rng.permutation(size)
        self.put, self.far, self.away = order % 2 == 1, order // 2 % 2 == 1, order // 4 - size // 8
        self.unit = _UNITS[np.argmin(np.abs(_UNITS - 0.003 * day.start))]

    def pick(self, rows: int) -> Any:
        """Return an option for each row, each in its turn: no two of a second are alike."""
        return np.arange(rows) % len(self.put)

    def strike(self, underlying: Any, which: Any) -> Any:
        """Return the strike of each row, near its price."""
        return np.maximum(np.rint(underlying / self.unit) + self.away[which], 1) * self.unit


def _root_years(day: Day, seconds: int, near: dt.date, far: dt.date) -> Any:
    """Return the square root of the years left in every second, first to one expiry, then to the other.

    An option dies at the hour at which this session closes, in UTC: a clock change or half-day in between is ignored.
    """
    days = (np.array([near, far], "datetime64[D]") - day.label).astype(int)[:, None]
    left = days * 86_400 + (day.closed - day.opened + BEFORE) - np.arange(seconds)
    return np.sqrt(np.maximum(left, _LEAST_LEFT) / _YEAR).ravel()


def _greeks(
    rng: np.random.Generator, implied: float, underlying: Any, strike: Any, root: Any, put: Any
) -> tuple[Any, Any]:
    """Return implied volatility and delta of each row, four decimals.

    ``d1 = ln(underlying / strike) / (volatility * root) + volatility * root / 2``; delta is N(d1), of a put N(d1) - 1.
    """
    distance = np.log(strike / underlying)
    away = np.clip(distance / (implied * root), -3, 3)
    noise = 1 + 0.004 * rng.standard_normal(len(away), dtype=np.float32)
    volatility = np.round(implied * (1 - 0.05 * away + 0.02 * away * away) * noise, 4)
    spread = volatility * root
    return volatility, np.round(normal_below(spread / 2 - distance / spread) - put, 4)


def normal_below(x: Any) -> Any:
    """Return the standard normal distribution function within 1e-7 (Abramowitz and Stegun 26.2.17)."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-0.5 * x * x) * series * 0.3989422804014327
    return np.where(x > 0, 1 - tail, tail)


def _spoil(rng: np.random.Generator, delta: Any, volatility: Any) -> None:
    """Leave out the numbers of a few rows, and write zeros into a few others, as vendors do."""
    for value in (np.nan, 0.0):
        bad = rng.integers(0, len(delta), rng.binomial(len(delta), _SHARE_BAD))
        delta[bad] = volatility[bad] = value
