"""A synthetic market of many tickers: what each costs at every open, how it moves with the market, how it swings.

All is a function of (seed, ticker, date): no other ticker, session or call changes it. Every day's move and gap is
drawn beforehand, and the path of a day is a bridge to its move, which makes it the random walk it would have been
without: nothing can be earned in the day or over night.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, Schedule, load_schedule

MARKET_BEGINS = 2020  # the year in which every ticker stands at its first price
MARKET_TICKER = "SPY"  # the market itself, with which all others are correlated
_FULL_SESSION = 23_400  # seconds
_MEMORY = 0.97  # of implied volatility, from one day to the next
_REMEMBERED = 250  # days


@dataclass(frozen=True)
class Character:
    """What does not change about a ticker.

    Parameters
    ----------
    first_price : float
        Dollars, when the market begins.
    volatility : float
        Of a full session, as a fraction of the price; over night, half of it.
    loading : float
        Correlation of its moves with the market's; negative for an inverse one.
    implied : float
        Mean implied volatility at the money, per year.
    """

    first_price: float
    volatility: float
    loading: float
    implied: float


@dataclass(frozen=True)
class Day:
    """One ticker in one session.

    Parameters
    ----------
    label : datetime64[D]
    opened, closed : int
        UTC epoch seconds.
    start : float
        Price at which the day starts, dollars.
    move : float
        By how much it ends higher, as a fraction of ``start``.
    volatility : float
        Standard deviation of such moves.
    implied : float
        Implied volatility at the money, per year.
    """

    label: Any
    opened: int
    closed: int
    start: float
    move: float
    volatility: float
    implied: float


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random numbers that belong to these names, on any machine."""
    text = "\0".join(map(str, names))
    return np.random.default_rng([seed, *np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], "<u4").tolist()])


def character_of(seed: int, ticker: str) -> Character:
    """Return what does not change about a ticker."""
    if ticker == MARKET_TICKER:
        return Character(320.0, 0.009, 1.0, 0.15)
    rng = stream(seed, "character", ticker)
    volatility = rng.uniform(0.010, 0.020)
    loading = rng.uniform(0.2, 0.95) * (-1 if rng.random() < 0.1 else 1)
    return Character(float(np.exp(rng.uniform(5.3, 6.6))), volatility, loading, volatility * 16 * rng.uniform(0.9, 1.2))


def days_of(seed: int, ticker: str, schedule: Schedule) -> Iterator[Day]:
    """Yield a ticker's days, one per session of the schedule.

    Raises
    ------
    BadInput
        Sessions before the market begins.
    """
    whole = _whole_schedule(schedule)
    character = character_of(seed, ticker)
    gap, move, swing = _draws(seed, ticker, character.loading, whole.labels)
    volatility = character.volatility * np.sqrt((whole.closes - whole.opens) / _FULL_SESSION)
    gaps, moves = 1 + character.volatility / 2 * gap, 1 + volatility * move
    start = character.first_price * np.cumprod(gaps) * np.cumprod(np.r_[1, moves[:-1]])
    implied = character.implied * np.exp(0.06 * _remembered(swing))
    for i in np.searchsorted(whole.labels, schedule.labels).tolist():
        times = int(whole.opens[i]), int(whole.closes[i])
        numbers = (float(column[i]) for column in (start, moves - 1, volatility, implied))
        yield Day(whole.labels[i], *times, *numbers)


def _whole_schedule(schedule: Schedule) -> Schedule:
    """Return all sessions from the market's first to the schedule's last."""
    if schedule.labels[0] < np.datetime64(f"{MARKET_BEGINS}-01-01"):
        wrong = f"{schedule.labels[0]} lies before the synthetic market begins"
        raise BadInput("start", wrong, f"give a date from {MARKET_BEGINS}-01-01 on")
    last = int(schedule.labels[-1].astype("datetime64[Y]").astype(int)) + 1970
    return load_schedule(DEFAULT_CALENDAR, MARKET_BEGINS, last).between(None, schedule.labels[-1])


def _draws(seed: int, ticker: str, loading: float, labels: Any) -> Any:
    """Return standard normal gaps, moves and swings of implied volatility, shape (3, sessions).

    They are drawn for every calendar day, so that a session added to the calendar would change no other.
    """
    days = (labels - np.datetime64(f"{MARKET_BEGINS}-01-01")).astype(int)
    market, own = (stream(seed, "days", name).standard_normal((days[-1] + 1, 3))[days].T for name in ("", ticker))
    return mixed(loading, market, own)


def mixed(loading: float, market: Any, own: Any) -> Any:
    """Return standard normal numbers that are correlated with the market's."""
    return loading * market + np.sqrt(1 - loading**2) * own


def _remembered(swing: Any) -> Any:
    """Return a slow drift around 0 that forgets what was long ago."""
    return np.convolve(swing, _MEMORY ** np.arange(_REMEMBERED))[: len(swing)]
