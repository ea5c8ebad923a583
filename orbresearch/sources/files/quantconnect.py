"""The data folder of QuantConnect's Lean: US equities, one zip per ticker and day, prices in ten-thousandths.

``equity/usa/{tick,second,minute}/{ticker}/{yyyymmdd}_trade.zip`` holds one CSV without a header. Of bars: milliseconds
since midnight, open, high, low, close, volume; stamped at their start. Of ticks: milliseconds, price, size, exchange,
condition, suspicious. Midnight and milliseconds are New York's wall clock, so that 34,200,000 is 09:30 on every day,
those of a clock change included. Layout: Data/equity/readme.md of github.com/QuantConnect/Lean.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sources.files.columns import read_numbers
from orbresearch.sources.files.csvs import Header, read_csv
from orbresearch.sources.files.files import PriceFile, csv_members, file_hash, hash_names
from orbresearch.sources.files.tables import PriceTable, Reading, describe, name_some

RESOLUTIONS = {"tick": 0, "second": 1, "minute": 60}  # the finest first; seconds of a bar
_COARSE = ("hour", "daily")
_DAY = re.compile(r"(\d{8})_trade\.zip", re.IGNORECASE)
_BARS = ("ms", "open", "high", "low", "close", "volume")
_TICKS = ("ms", "price", "volume", "exchange", "condition", "suspicious")
_SCALE = 10_000
_DAY_MS = 86_400_000
_ZONE = "America/New_York"


class Lean:
    """A Lean data folder. Read ticker by ticker, nothing is held.

    Parameters
    ----------
    source : path
        The folder that holds ``equity``.
    reading : Reading
        Its ``bar`` chooses the resolution: 0 ticks, 1 seconds, 60 minutes, "auto" the finest there is.
    """

    def __init__(self, source: Any, reading: Reading) -> None:
        self.where = describe(source)
        self.root = Path(source if isinstance(source, (str, Path)) else "") / "equity" / "usa"
        if not isinstance(source, (str, Path)) or not self.root.is_dir():
            wrong = "no folder equity/usa in it"
            raise BadInput(self.where, wrong, 'layout="quantconnect" is read from the folder that holds equity/')
        for name in ("columns", "tz", "stamp"):
            if getattr(reading, name):
                raise BadInput(name, 'layout="quantconnect" says it already', f"leave {name}= out")
        if reading.bar not in (None, "auto", *RESOLUTIONS.values()):
            wrong = f"{reading.bar!r} s is no resolution that is read"
            raise BadInput("bar", wrong, 'give 60 for minutes, 1 for seconds, 0 for ticks, or "auto"')
        self.bar = 0 if reading.bar is None else reading.bar

    @cached_property
    def tickers(self) -> list[str]:
        """Every ticker that has trades in the resolution asked for, in capitals."""
        found = {path.name.upper() for name in self._resolutions for path in self._folder(name) if _days(path)}
        return sorted(found)

    @property
    def _resolutions(self) -> list[str]:
        return [name for name, seconds in RESOLUTIONS.items() if self.bar in ("auto", seconds)]

    def _folder(self, resolution: str, ticker: str | None = None) -> list[Path]:
        """Return the folders of all tickers in a resolution, or of one, in any case."""
        folder = self.root / resolution
        found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        return [path for path in found if ticker is None or path.name.lower() == ticker.lower()]

    def _files(self, ticker: str) -> tuple[str, list[PriceFile]]:
        """Return the resolution that a ticker is read in, and its days.

        Raises
        ------
        BadInput
            The ticker is not there, or not in the resolution asked for.
        """
        there = {name: [day for path in self._folder(name, ticker) for day in _days(path)] for name in RESOLUTIONS}
        there = {name: days for name, days in there.items() if days}
        for name in self._resolutions:
            if name in there:
                return name, there[name]
        self._refuse(ticker, list(there))
        raise AssertionError

    def _refuse(self, ticker: str, there: list[str]) -> None:
        asked = " or ".join(self._resolutions)
        if there:
            fix = f"it has {', '.join(f'{name} (bar={RESOLUTIONS[name]})' for name in there)}"
            raise BadInput(f"ticker {ticker}", f"no trades in resolution {asked}", fix)
        coarse = [name for name in _COARSE if (self.root / name / f"{ticker.lower()}.zip").is_file()]
        if coarse:
            wrong = f"only {' and '.join(coarse)} bars are there, which show no opening range"
            raise BadInput(f"ticker {ticker}", wrong, "get its minutes, seconds or ticks")
        shown = f"it has {name_some(self.tickers)}" if self.tickers else "it has no trades in that resolution"
        raise BadInput(self.where, f"no ticker {ticker!r} in resolution {asked}", shown)

    def hash(self, ticker: str) -> str:
        """Return a hash of the days that a ticker is read from."""
        resolution, files = self._files(ticker)
        return hash_names(f"quantconnect {resolution}", {file.name: file_hash(file.path) for file in files})

    def parts_of(self, ticker: str) -> list[PriceTable]:
        """Return a ticker's rows, day by day; ticks marked as suspicious take no part."""
        resolution, files = self._files(ticker)
        found, suspicious = [], 0
        for file in files:
            table, marked = _read_day(file, resolution)
            suspicious += marked
            if table.num_rows:
                kept = PriceTable(table, file.where, "start", kind="CSV", bar=RESOLUTIONS[resolution], tz=_ZONE)
                found.append(kept)
        if not found:
            raise BadInput(f"ticker {ticker}", f"its {resolution} files have no trades", "check the files")
        return self._remark(found, ticker, resolution, suspicious)

    def _remark(self, found: list[PriceTable], ticker: str, resolution: str, suspicious: int) -> list[PriceTable]:
        """Say at the first part what was chosen and what was left out."""
        remarks = []
        if self.bar == "auto":
            remarks.append(("note", f"read in resolution {resolution}, the finest there is"))
        if suspicious:
            remarks.append(("note", f"{suspicious:,} ticks marked as suspicious, dropped"))
        return [replace(found[0], remarks=tuple(remarks)), *found[1:]]


def _days(folder: Path) -> list[PriceFile]:
    """Return a ticker's zips of trades, in the order of their days."""
    found = sorted(path for path in folder.iterdir() if _DAY.fullmatch(path.name))
    return [PriceFile(path, f"{folder.parent.name}/{folder.name}/{path.name}") for path in found]


def _read_day(file: PriceFile, resolution: str) -> tuple[Any, int]:
    """Return one day's rows under canonical names, times naive in New York, and how many suspicious ticks it lacks."""
    import pyarrow as pa

    ticks = resolution == "tick"
    names = _TICKS if ticks else _BARS
    members = csv_members(file.path)
    if len(members) > 1:
        raise BadInput(file.where, f"several CSV files in the zip ({name_some(members)})", "one is a day")
    numbers = [name for name in names if name not in ("exchange", "condition")]
    inside = PriceFile(file.path, f"{file.name}/{members[0]}", members[0])
    table = read_csv(inside, Header(list(names), ",", 0), [], numbers)
    found = {name: read_numbers(table[name], f"{inside.where}, column {name!r}", "check the file") for name in numbers}
    keep = found.pop("suspicious") == 0 if ticks else np.ones(table.num_rows, bool)
    columns = {"timestamp_utc": _stamps(file, found.pop("ms"))}
    columns |= {name: column if name == "volume" else column / _SCALE for name, column in found.items()}
    return pa.table({name: pa.array(column[keep]) for name, column in columns.items()}), int((~keep).sum())


def _stamps(file: PriceFile, ms: Any) -> Any:
    """Return milliseconds since midnight, floored, as times of the day that the file is named after."""
    digits = Path(file.path).name[:8]
    try:
        midnight = np.datetime64(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}", "ms")
    except ValueError:
        raise BadInput(file.where, f"{digits} is no date", "name files as Lean does: 20240326_trade.zip") from None
    bad = ~((ms >= 0) & (ms < _DAY_MS))
    if bad.any():
        row = int(bad.argmax())
        raise BadInput(file.where, f"row {row} is {ms[row]:g} ms since midnight", f"give 0 to {_DAY_MS:,}")
    return midnight + np.floor(ms).astype("timedelta64[ms]")
