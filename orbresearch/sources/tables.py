"""Tables of prices: a Parquet or CSV file, or a DataFrame. Opened once, read ticker by ticker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sessions.bars import STAMPS, check_spacing, find_spacing, settle_stamp
from orbresearch.sessions.calendar import schedule_around
from orbresearch.sessions.rows import Rows
from orbresearch.sources.columns import name_columns, read_numbers, read_times

_TICKER_NAMES = ("ticker", "symbol", "sym", "root", "instrument", "tic")
_NO_VOLUME = 'give numbers of shares, or say columns={"volume": None}'
_LABELS = {"bar start": "start", "bar end": "end"}  # what a Parquet file's metadata may say of its stamps


@dataclass(frozen=True)
class Reading:
    """How to read a table: the options of ``load_sessions`` that decide what its rows mean."""

    bar: int | str | None = "auto"
    stamp: str | None = None
    tz: str | None = None
    columns: Mapping[str, str] | None = None
    calendar: str = "XNYS"

    def __post_init__(self) -> None:
        whole = isinstance(self.bar, (int, np.integer)) and not isinstance(self.bar, bool) and self.bar >= 0
        if not (whole or self.bar is None or self.bar == "auto"):
            raise BadInput(
                "bar", f"{self.bar!r} is no length in seconds", 'give e.g. 60, 0 for single prices, or "auto"'
            )
        if self.stamp not in (None, *STAMPS):
            raise BadInput("stamp", f"{self.stamp!r} is no convention", 'give "start" or "end"')


@dataclass(frozen=True, eq=False)
class PriceTable:
    """Price rows as found.

    Parameters
    ----------
    table : pyarrow.Table
        The needed columns under their canonical names, rows in source order.
    where : str
        File or DataFrame, for messages.
    label : str or None
        What the file's own metadata says of its stamps: "start", "end" or nothing.
    suspect : str or None
        Of a table without ``ticker``: a column that looks like one.
    """

    table: Any
    where: str
    label: str | None = None
    suspect: str | None = None

    @property
    def tickers(self) -> list[str]:
        """The tickers in it; empty when it has no ticker column."""
        import pyarrow.compute as pc

        if "ticker" not in self.table.column_names:
            return []
        found = pc.unique(self.table["ticker"]).to_pylist()
        return sorted(str(ticker) for ticker in found if ticker is not None)


def open_table(source: Any, columns: Mapping[str, str] | None = None) -> PriceTable:
    """Return the rows of a Parquet file, a CSV file or a DataFrame.

    Raises
    ------
    BadInput
        No such file, an unknown kind of file, missing columns, no rows.
    """
    where = describe(source)
    if isinstance(source, (str, Path)):
        table = _read_csv(Path(source), columns) if is_csv(source) else _read_parquet(Path(source))
    else:
        table = _from_frame(source, columns)
    found = table.column_names if isinstance(source, (str, Path)) else [str(name) for name in source.columns]
    names = name_columns(table.column_names, columns, where)
    if table.num_rows == 0:
        raise BadInput(where, "it has no rows", "give a source with prices")
    label = (table.schema.metadata or {}).get(b"bar_label", b"").decode().lower()
    chosen = table.select(list(names.values())).rename_columns(list(names))
    alike = [name for name in found if name.strip().lower() in _TICKER_NAMES and name not in names.values()]
    return PriceTable(chosen, where, _LABELS.get(label), alike[0] if alike else None)


def describe(source: Any) -> str:
    """Return what a source is, for a person; refuse what is none."""
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.is_file():
            raise BadInput(f"file {path}", "does not exist", f"give a Parquet or CSV file (searched from {Path.cwd()})")
        suffixes = [suffix.lower() for suffix in path.suffixes]
        if not is_csv(path) and suffixes[-1:] not in ([".parquet"], [".pq"]):
            raise BadInput(
                f"file {path}", f"{''.join(suffixes) or 'no suffix'} is not known", "give .parquet, .csv or .csv.gz"
            )
        return f"file {path.name}"
    if hasattr(source, "columns") and hasattr(source, "iloc"):
        return "DataFrame"
    raise BadInput("source", f"a {type(source).__name__}", "give a path to a Parquet or CSV file, or a DataFrame")


def is_csv(source: Any) -> bool:
    """Return whether a path names a CSV file, packed or not."""
    suffixes = [suffix.lower() for suffix in Path(source).suffixes]
    return suffixes[-1:] == [".csv"] or suffixes[-2:] in ([".csv", ".gz"], [".csv", ".bz2"], [".csv", ".zst"])


def file_hash(path: Path) -> str:
    """Return a hash of a file's bytes."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"file {path}", f"no readable Parquet ({str(error).splitlines()[0]})", "check the file"
        ) from None


def _read_csv(path: Path, columns: Mapping[str, str] | None) -> Any:
    """Read a CSV file; times as text (they are parsed by ``read_times``), empty prices as missing."""
    import pyarrow as pa
    from pyarrow import csv

    mapped = dict(columns or {})
    text = {mapped.get(name) or name: pa.string() for name in ("timestamp_utc", "ticker")}
    options = csv.ConvertOptions(column_types=text, strings_can_be_null=False)
    try:
        return csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:  # OSError: packed, but not as its name says
        raise BadInput(f"file {path}", f"no readable CSV ({str(error).splitlines()[0]})", "check the file") from None


def _from_frame(frame: Any, columns: Mapping[str, str] | None) -> Any:
    """Return a DataFrame's columns; a DatetimeIndex serves as the time where no column does."""
    import pandas as pd
    import pyarrow as pa

    own = dict(columns or {}).get("timestamp_utc", "timestamp_utc")
    if own not in frame.columns and isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis(index=own).reset_index()
    wanted = list(name_columns([str(name) for name in frame.columns], columns, "DataFrame").values())
    chosen = frame[wanted]
    twice = [name for name in wanted if list(chosen.columns).count(name) > 1]
    if twice:
        raise BadInput("DataFrame", f"it has several columns {twice[0]!r}", "give each name once")
    try:
        return pa.Table.from_pandas(chosen, preserve_index=False)
    except pa.ArrowException as error:
        wrong = "; ".join(map(str, reversed(error.args)))  # the column, then the value
        raise BadInput("DataFrame", wrong, "give columns of one kind of value") from None


def read_rows(prices: PriceTable, ticker: str, reading: Reading) -> Rows:
    """Return one ticker's rows, with the length and stamps of its bars settled.

    Raises
    ------
    BadInput
        An unknown ticker, times that cannot be stamps, prices that are no numbers, bars that do not say what they are.
    """
    table = _of_ticker(prices, ticker)
    what = f"{prices.where}, column"
    time = read_times(table["timestamp_utc"].combine_chunks(), reading.tz, f"{what} 'timestamp_utc'")
    close = "price" if "price" in table.column_names else "close"
    price = read_numbers(table[close], f"{what} {close!r}")
    has_bars = {"open", "high", "low"} <= set(table.column_names)
    if not reading.bar or (reading.bar == "auto" and not has_bars):
        return Rows(ticker, time, price, closes=has_bars, volume=_read_volume(prices, table))
    if not has_bars:
        missing = [name for name in ("open", "high", "low") if name not in table.column_names]
        raise BadInput(prices.where, f"bars need the columns {', '.join(missing)}", "say columns=, or bar=0")
    bar = find_spacing(time, ticker) if reading.bar == "auto" else check_spacing(time, int(reading.bar), ticker)
    schedule = schedule_around(reading.calendar, int(time.min()), int(time.max()))
    stamp = reading.stamp or prices.label or settle_stamp(time, bar, schedule, ticker)
    extremes = {name: read_numbers(table[name], f"{what} {name!r}") for name in ("open", "high", "low")}
    return Rows(ticker, time, price, bar_seconds=bar, stamp=stamp, volume=_read_volume(prices, table), **extremes)


def _read_volume(prices: PriceTable, table: Any) -> Any:
    """Return the volumes as found, float64; None where the table has none."""
    if "volume" not in table.column_names:
        return None
    return read_numbers(table["volume"], f"{prices.where}, column 'volume'", _NO_VOLUME)


def _of_ticker(prices: PriceTable, ticker: str) -> Any:
    """Return the rows of one ticker; all rows where the table has no ticker column."""
    import pyarrow.compute as pc

    if "ticker" not in prices.table.column_names:
        if prices.suspect:
            wrong, fix = (
                f"no column 'ticker', but one {prices.suspect!r}",
                f'say columns={{"ticker": {prices.suspect!r}}}',
            )
            raise BadInput(prices.where, wrong, fix)
        return prices.table
    found = prices.table.filter(pc.equal(prices.table["ticker"].cast("string"), ticker))
    if found.num_rows == 0:
        known = prices.tickers
        shown = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise BadInput(prices.where, f"no ticker {ticker!r}", f"it has {shown}")
    return found
