"""Small markets in frames: what a user's file may hold, made from exchange_calendars and a seed."""

from __future__ import annotations

import warnings

import exchange_calendars
import numpy as np
import pandas as pd


def calendar(start: str, end: str):
    """Return the New York exchange's calendar (its own warnings are not ours)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return exchange_calendars.get_calendar("XNYS", start=start, end=end)


CALENDAR = calendar("2024-01-01", "2024-12-31")
DAYS = ("2024-07-02", "2024-07-03", "2024-07-05")  # the second one is a half-day, the fourth of July is none


def opened(day: str) -> int:
    """Return a session's open, UTC epoch seconds."""
    return int(CALENDAR.session_open(day).timestamp())


def closed(day: str) -> int:
    """Return a session's close, UTC epoch seconds."""
    return int(CALENDAR.session_close(day).timestamp())


def walk(count: int, seed: int, first: int = 10_000) -> np.ndarray:
    """Return prices in cents: a walk."""
    return first + np.cumsum(np.random.default_rng(seed).integers(-3, 4, count))


def prices(days: tuple[str, ...] = DAYS, *, ticker: str = "TEST", seed: int = 1, step: int = 7) -> pd.DataFrame:
    """Return a price every `step` seconds of every session."""
    time = np.concatenate([np.arange(opened(day), closed(day) + 1, step) for day in days])
    return pd.DataFrame({"timestamp_utc": time, "ticker": ticker, "price": walk(len(time), seed) / 100})


def bars(
    days: tuple[str, ...] = DAYS, *, ticker: str = "TEST", seed: int = 2, bar: int = 60, stamp: str = "start"
) -> pd.DataFrame:
    """Return all bars of every session, stamped at their start or their end."""
    start = np.concatenate([np.arange(opened(day), closed(day), bar) for day in days])
    ticks = walk(4 * len(start), seed).reshape(-1, 4) / 100
    return pd.DataFrame(
        {
            "timestamp_utc": start + (bar if stamp == "end" else 0),
            "ticker": ticker,
            "open": ticks[:, 0],
            "high": ticks.max(axis=1),
            "low": ticks.min(axis=1),
            "price": ticks[:, 3],
            "volume": 100,
        }
    )


def extended(frame: pd.DataFrame) -> pd.DataFrame:
    """Return bars with one more before every open and one after every close, which silences their stamps."""
    day = (frame["timestamp_utc"] - 60) // 86_400
    early = frame.groupby(day).head(1).assign(timestamp_utc=lambda found: found["timestamp_utc"] - 300)
    late = frame.groupby(day).tail(1).assign(timestamp_utc=lambda found: found["timestamp_utc"] + 300)
    return pd.concat([frame, early, late]).sort_values("timestamp_utc", kind="stable", ignore_index=True)


def same(one, other) -> None:
    """Assert that two Sessions hold the same sessions, observations and findings."""
    assert one.ticker == other.ticker
    assert one.increment_nanos == other.increment_nanos
    assert (one.bar_seconds, one.path) == (other.bar_seconds, other.path)
    np.testing.assert_array_equal(one.schedule.labels, other.schedule.labels)
    np.testing.assert_array_equal(one.schedule.opens, other.schedule.opens)
    np.testing.assert_array_equal(one.schedule.closes, other.schedule.closes)
    np.testing.assert_array_equal(one.pointers, other.pointers)
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name])
        assert column.dtype == other.columns[name].dtype
    assert (one.volume is None) == (other.volume is None)
    if one.volume is not None:
        np.testing.assert_array_equal(one.volume, other.volume)
        assert one.volume.dtype == other.volume.dtype
    assert one.quality.findings == other.quality.findings
    pd.testing.assert_frame_equal(pd.DataFrame(one.quality), pd.DataFrame(other.quality), check_dtype=False)
