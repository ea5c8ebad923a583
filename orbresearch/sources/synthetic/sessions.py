"""A synthetic market without any edge: a martingale in cents, second by second, on the real exchange calendar."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import NANOS
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, Schedule, load_schedule
from orbresearch.sessions.dataset import Sessions, build_sessions
from orbresearch.sessions.rows import Rows
from orbresearch.sessions.series import content_hash

FIRST_PRICE = 400.0  # dollars
SHARE_TRADED = 0.74  # of seconds with a trade (SPY in 2013)
SHARE_MOVED = 0.70  # of those, at another price
CENTS = NANOS // 100
SYNTHETIC_VERSION = 1  # raised when the same seed makes other prices


def synthetic_sessions(
    n_sessions: int, seed: int = 0, *, ticker: str = "SYNTHETIC", start: str = "2024-01-02"
) -> Sessions:
    """Return one-second prices of a market that does not exist and in which nothing can be earned.

    About 12,000 price changes in a session of 23,400 seconds: symmetric steps of whole cents whose size varies over
    the day and with the price level, symmetric gaps overnight, about a quarter of the seconds without a trade. Real
    session dates, daylight saving and half-days of XNYS from ``start`` on.

    Parameters
    ----------
    n_sessions : int
        1 or more.
    seed : int
        The same seed makes the same market anywhere; more sessions extend it.
    ticker : str
        What to call it.
    start : str
        Date on or before the first session.

    Examples
    --------
    >>> len(synthetic_sessions(3, seed=1))
    3
    """
    check_seed(seed)
    schedule = synthetic_schedule(n_sessions, start)
    time, price = synthetic_prices(schedule, seed)
    rows = Rows(ticker, time, price)
    mark = f"synthetic {SYNTHETIC_VERSION} {seed} {ticker} {schedule.labels[0]} {n_sessions}"
    source = f"synthetic market without edge, seed {seed}"
    return build_sessions(rows, schedule, "nearer", CENTS, source, content_hash(mark.encode())).ready()


def check_seed(seed: int) -> None:
    """Refuse what is no seed."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise BadInput("seed", f"{seed!r} is no seed", "give a whole number of 0 or more")


def synthetic_schedule(n_sessions: int, start: str, *, what: str = "n_sessions") -> Schedule:
    """Return the first ``n_sessions`` sessions of XNYS on or after a date; errors call the number ``what``."""
    if isinstance(n_sessions, bool) or not isinstance(n_sessions, (int, np.integer)) or n_sessions < 1:
        raise BadInput(what, f"{n_sessions!r} is no number of sessions", "give 1 or more")
    first = _first_day(start)
    year = int(first.astype("datetime64[Y]").astype(int)) + 1970
    schedule = load_schedule(DEFAULT_CALENDAR, year, year + int(n_sessions) // 245 + 1).between(first)
    return schedule.between(None, schedule.labels[n_sessions - 1])


def _first_day(start: Any) -> Any:
    try:
        first = np.datetime64(start, "D")
    except ValueError:
        first = np.datetime64("NaT")
    if np.isnat(first):
        raise BadInput("start", f"{start!r} is no date", "give e.g. 2024-01-02")
    return first


def synthetic_prices(schedule: Schedule, seed: int) -> tuple[Any, Any]:
    """Return (time, price) of every second with a trade: epoch seconds, dollars in whole cents.

    Each session draws from its own stream of random numbers, so that a longer market begins with the shorter one.
    """
    cents = round(FIRST_PRICE * 100)
    times, prices = [], []
    for opened, closed, label in zip(schedule.opens, schedule.closes, schedule.labels, strict=True):
        rng = np.random.default_rng([seed, int(label.astype(int))])
        seconds = np.arange(closed - opened + 1)
        time = seconds[rng.random(len(seconds)) < SHARE_TRADED]
        scale = cents / 40_000
        gap = _symmetric(rng, np.array([90.0 * scale]))[0]
        steps = _symmetric(rng, 1.65 * scale * liveliness(time / (closed - opened)))
        steps[rng.random(len(time)) >= SHARE_MOVED] = 0
        steps[0] = gap
        walk = np.maximum(cents + np.cumsum(steps), 100)
        cents = int(walk[-1])
        times.append(opened + time)
        prices.append(walk / 100)
    return np.concatenate(times), np.concatenate(prices)


def liveliness(part: Any) -> Any:
    """Return how large steps are at a part of the day (0 open … 1 close): larger early, somewhat larger late."""
    return 0.8 + 1.2 * np.exp(-part * 12) + 0.4 * np.exp(-(1 - part) * 15)


def _symmetric(rng: Any, size: Any) -> Any:
    """Return whole steps, as likely up as down, of about the given mean sizes (cents), never 0."""
    steps = 1 + np.floor(-np.log1p(-rng.random(len(size))) * size).astype(np.int64)
    return np.where(rng.random(len(size)) < 0.5, -steps, steps)
