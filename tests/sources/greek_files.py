"""Small warehouses made by hand: a table of option rows in a SQLite file, and what a file of the same rows gives."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd

import orbresearch as orb
from tests.sources import market

MARCH = ("2024-03-08", "2024-03-11")  # New York's clocks change in between
NOVEMBER = ("2024-11-01", "2024-11-04")  # and back
HALF_DAYS = ("2024-07-03", "2024-11-29")
GREEKS = ["timestamp_utc", "ticker", "underlying", "strike", "expiration", "delta", "implied_volatility"]


def rows(days: tuple[str, ...] = market.DAYS, *, ticker: str = "TEST", seed: int = 1, step: int = 60) -> pd.DataFrame:
    """Return three rows in every ``step``-th second, each with a price of its own, and some in extended hours."""
    rng = np.random.default_rng(seed)
    time = [np.arange(market.opened(day) - 600, market.closed(day) + 601, step) for day in days]
    second = np.repeat(np.concatenate(time), 3)
    frame = pd.DataFrame(
        {"timestamp_utc": second, "ticker": ticker, "underlying": market.walk(len(second), seed) / 100}
    )
    frame["strike"], frame["expiration"] = np.rint(frame["underlying"]), "2024-12-20"
    frame["delta"] = np.where(rng.random(len(second)) < 0.05, np.nan, rng.uniform(-1, 1, len(second)).round(4))
    volatility = rng.uniform(0.1, 0.3, len(second)).round(4)
    frame["implied_volatility"] = np.where(rng.random(len(second)) < 0.05, np.nan, volatility)
    return frame[GREEKS]


def fill(path: Path, frame: pd.DataFrame) -> Path:
    """Add rows to a warehouse, in their order; make it if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS greeks (timestamp_utc INT, ticker TEXT, underlying REAL, strike REAL,"
            " expiration TEXT, delta REAL, implied_volatility REAL)"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS by_time ON greeks (ticker, timestamp_utc)")
        places = ", ".join("?" * len(GREEKS))
        values = frame[GREEKS].astype(object).where(frame[GREEKS].notna(), None)
        connection.executemany(f"INSERT INTO greeks VALUES ({places})", values.itertuples(index=False, name=None))
    connection.close()
    return path


def warehouse(path: Path, **options) -> orb.Warehouse:
    return orb.Warehouse(f"sqlite:///{path}", **options)


def same_prices(one: orb.Sessions, other: orb.Sessions) -> None:
    """Assert that two loads gave the same sessions, whatever their reports say of what lies outside."""
    assert one.series.hash == other.series.hash
    assert one.series.session_hashes == other.series.session_hashes
    assert one.increment_nanos == other.increment_nanos
    assert one.schedule.labels.tolist() == other.schedule.labels.tolist()
    assert one.schedule.opens.tolist() == other.schedule.opens.tolist()
    assert one.pointers.tolist() == other.pointers.tolist()
