"""Write a Lean data folder as QuantConnect lays it out: from frames, without a line of the package."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd

NEW_YORK = "America/New_York"
COLUMNS = {"tick": ["price", "size", "exchange", "condition", "suspicious"]}
BARS = ["open", "high", "low", "price", "volume"]


def write(root: Path, resolution: str, ticker: str, frame: pd.DataFrame) -> Path:
    """Write rows (timestamp_utc in seconds or a broken part of them) as one zip per day of New York."""
    clock = pd.to_datetime(frame["timestamp_utc"] * 10**9, unit="ns", utc=True).dt.tz_convert(NEW_YORK)
    for day, rows in frame.groupby(clock.dt.strftime("%Y%m%d")):
        write_day(root, resolution, ticker, day, rows_of(resolution, rows, clock[rows.index]))
    return root


def rows_of(resolution: str, rows: pd.DataFrame, clock: pd.Series) -> str:
    """Return the text of one day: the wall clock in milliseconds, prices in ten-thousandths."""
    naive = clock.dt.tz_localize(None)
    ms = (naive - naive.dt.normalize()) / pd.Timedelta(milliseconds=1)
    out = rows[COLUMNS.get(resolution, BARS)].copy()
    for name in ("open", "high", "low", "price"):
        if name in out:
            out[name] = (out[name] * 10_000).round().astype("int64")
    out.insert(0, "ms", ms if resolution == "tick" else ms.astype("int64"))
    return out.to_csv(index=False, header=False)


def write_day(root: Path, resolution: str, ticker: str, day: str, text: str) -> Path:
    """Write one day's zip; return its path."""
    folder = root / "equity" / "usa" / resolution / ticker.lower()
    folder.mkdir(parents=True, exist_ok=True)
    kind = "Trade_Tick" if resolution == "tick" else f"{resolution}_trade"
    with zipfile.ZipFile(folder / f"{day}_trade.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{day}_{ticker.lower()}_{kind}.csv", text)
    return folder / f"{day}_trade.zip"
