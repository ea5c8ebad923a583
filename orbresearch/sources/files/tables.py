"""Tables of prices: a Parquet or CSV file, or a DataFrame. Opened once, read ticker by ticker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sessions.bars import STAMPS
from orbresearch.sources.files.columns import Columns, Own, join_times, name_columns, own_names
from orbresearch.sources.files.csvs import Header, read_csv, read_header
from orbresearch.sources.files.files import PriceFile, is_csv, is_parquet, is_zip, readable

LAYOUTS = ("quantconnect",)
_TICKER_NAMES = ("ticker", "symbol", "sym", "root", "instrument", "tic")
_TEXT = ("timestamp_utc", "ticker")
_LABELS = {"bar start": "start", "bar end": "end"}  # what a Parquet file's metadata may say of its stamps
_KINDS = "give a Parquet, CSV or zip file, or a folder of them"


@dataclass(frozen=True)
class Reading:
    """How to read a table: the options of ``load_sessions`` that decide what its rows mean."""

    bar: int | str | None = "auto"
    stamp: str | None = None
    tz: str | None = None
    columns: Columns | None = None
    calendar: str = "XNYS"
    layout: str | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.bar, (int, np.integer)) and not isinstance(self.bar, bool) and self.bar >= 0
        if not (whole or self.bar is None or self.bar == "auto"):
            raise BadInput(
                "bar", f"{self.bar!r} is no length in seconds", 'give e.g. 60, 0 for single prices, or "auto"'
            )
        if self.stamp not in (None, *STAMPS):
            raise BadInput("stamp", f"{self.stamp!r} is no convention", 'give "start" or "end"')
        if self.layout not in (None, *LAYOUTS):
            raise BadInput("layout", f"{self.layout!r} is not known", f"known are {', '.join(LAYOUTS)}")


class Prices(Protocol):
    """What rows are read from: a table, a folder, a vendor's layout."""

    @property
    def tickers(self) -> list[str]:
        """The tickers in it; empty where it names none."""

    def parts_of(self, ticker: str) -> list[PriceTable]:
        """Return one ticker's rows, file by file in the order of their names; at least one row."""


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
        What the file itself says of its stamps: "start", "end" or nothing.
    suspect : str or None
        Of a table without ``ticker``: a column that looks like one.
    kind : str
        Parquet, CSV or DataFrame.
    bar : int or None
        Seconds of a bar, 0 for single prices, where the source says it; else it is asked or found out.
    tz : str or None
        The zone of times that name none, where the source says it.
    remarks : tuple of (severity, sentence)
        What a report on these rows should say beside what the rows show.
    """

    table: Any
    where: str
    label: str | None = None
    suspect: str | None = None
    kind: str = ""
    bar: int | None = None
    tz: str | None = None
    remarks: tuple[tuple[str, str], ...] = ()

    @property
    def tickers(self) -> list[str]:
        """The tickers in it; empty when it has no ticker column."""
        return sorted(self._groups) if "ticker" in self.table.column_names else []

    def parts_of(self, ticker: str) -> list[PriceTable]:
        """Return the rows of one ticker; all rows where the table has no ticker column."""
        if "ticker" not in self.table.column_names:
            if self.suspect:
                wrong = f"no column 'ticker', but one {self.suspect!r}"
                raise BadInput(self.where, wrong, f'say columns={{"ticker": {self.suspect!r}}}')
            return [self]
        if ticker not in self._groups:
            raise BadInput(self.where, f"no ticker {ticker!r}", f"it has {name_some(self.tickers)}")
        return [self.take(ticker)]

    def holds(self, ticker: str) -> bool:
        """Return whether there is a row of a ticker; of a table without a ticker column, whether there is a row."""
        return ticker in self._groups if "ticker" in self.table.column_names else self.table.num_rows > 0

    def take(self, ticker: str) -> PriceTable:
        """Return the rows of a ticker that is there."""
        at = self._groups[ticker]
        if len(at) == self.table.num_rows:
            return self
        if at[-1] - at[0] + 1 == len(at):
            return replace(self, table=self.table.slice(at[0], len(at)))
        return replace(self, table=self.table.take(at))

    def only(self, tickers: Collection[str]) -> PriceTable:
        """Return the rows of some tickers, in the order of the table: memory for those that are wanted."""
        at = [self._groups[ticker] for ticker in tickers if ticker in self._groups]
        rows = np.sort(np.concatenate([*at, np.zeros(0, np.int64)]))
        return self if len(rows) == self.table.num_rows else replace(self, table=self.table.take(rows))

    @cached_property
    def _groups(self) -> dict[str, Any]:
        """The rows of every ticker, rising. Grouped once: to filter a table anew for each of 500 tickers takes long."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.table["ticker"]
        if not (pa.types.is_dictionary(column.type) and column.type.value_type == pa.string()):
            column = column.cast("string").dictionary_encode()
        encoded = column.unify_dictionaries()
        names = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
        codes = np.concatenate([np.zeros(0, np.int32)] + [pc.fill_null(chunk.indices, -1) for chunk in encoded.chunks])
        small = codes.astype(np.int16) if len(names) < 1 << 15 else codes  # sorted by radix
        order = np.argsort(small, kind="stable")
        ends = np.cumsum(np.bincount(codes + 1, minlength=len(names) + 1))
        groups = {name: order[ends[i] : ends[i + 1]] for i, name in enumerate(names) if name is not None}
        return {name: at for name, at in groups.items() if len(at)}


def name_some(names: list[str]) -> str:
    """Return the first ten names, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def open_table(source: Any, columns: Columns | None = None) -> Any:
    """Return the rows of a Parquet file, a CSV file or a DataFrame; what is more than one file as it is.

    Raises
    ------
    BadInput
        No such file, an unknown kind of file, missing columns, no rows.
    """
    if hasattr(source, "parts_of"):
        return source
    where = describe(source)
    if isinstance(source, (str, Path)):
        found = read_file(PriceFile(Path(source), Path(source).name), columns)
    else:
        found = _from_frame(source, columns)
    if found.table.num_rows == 0:
        raise BadInput(where, "it has no rows", "give a source with prices")
    return found


def describe(source: Any) -> str:
    """Return what a source is, for a person; refuse what is none."""
    if isinstance(source, str) and "://" in source:  # it may hold a password
        raise BadInput("source", f"a {source.partition('://')[0]}:// URL", "give orb.Warehouse(url), or a path")
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return f"folder {path.resolve().name}"
        if not path.is_file():
            raise BadInput(f"file {path}", "does not exist", f"{_KINDS} (searched from {Path.cwd()})")
        if not (is_csv(path) or is_parquet(path) or is_zip(path)):
            suffix = "".join(path.suffixes).lower() or "no suffix"
            raise BadInput(f"file {path}", f"{suffix} is not known", "give .parquet, .csv, .csv.gz or .zip")
        return f"file {path.name}"
    if hasattr(source, "columns") and hasattr(source, "iloc"):
        return "DataFrame"
    raise BadInput(
        "source", f"a {type(source).__name__}", "give a path to a file or a folder, a DataFrame or a Warehouse()"
    )


@dataclass(frozen=True, eq=False)
class Head:
    """What a file's beginning says: its columns, and how to read on.

    Parameters
    ----------
    found : list of str
        All columns.
    names : dict
        Canonical name -> own name.
    begin : Header or bytes
        Of a CSV file its header, of a Parquet file what its metadata say of its bars.
    """

    found: list[str]
    names: dict[str, Own]
    begin: Any


def read_head(file: PriceFile, columns: Columns | None) -> Head:
    """Return a file's columns without reading its rows."""
    import pyarrow.parquet as pq

    if file.kind == "CSV":
        header = read_header(file)
        return Head(header.names, name_columns(header.names, columns, file.where), header)
    with readable(file.where, "Parquet"):
        schema = pq.read_schema(file.path)
    label = (schema.metadata or {}).get(b"bar_label", b"")
    return Head(schema.names, name_columns(schema.names, columns, file.where), label)


def read_file(file: PriceFile, columns: Columns | None, head: Head | None = None) -> PriceTable:
    """Return the rows of one file, however many."""
    import pyarrow.parquet as pq

    head = head or read_head(file, columns)
    _check_twice(head.found, head.names, file.where)
    if isinstance(head.begin, Header):
        text = own_names({name: head.names[name] for name in _TEXT if name in head.names})
        numbers = own_names({name: own for name, own in head.names.items() if name not in _TEXT})
        table, label = read_csv(file, head.begin, text, numbers), None
    else:
        with readable(file.where, "Parquet"):
            table = pq.ParquetFile(file.path).read(own_names(head.names))  # names of folders are no columns here
        label = _LABELS.get(head.begin.decode(errors="replace").lower())
    chosen = _choose(table, head.names, file.where)
    return PriceTable(chosen, file.where, label, _suspect(head.found, head.names), file.kind)


def _suspect(found: list[str], names: dict[str, Own]) -> str | None:
    """Return a column that looks like one of tickers and is not read."""
    alike = [name for name in found if name.strip().lower() in _TICKER_NAMES and name not in own_names(names)]
    return alike[0] if alike else None


def _check_twice(found: list[str], names: dict[str, Own], where: str) -> None:
    twice = [name for name in own_names(names) if found.count(name) > 1]
    if twice:
        raise BadInput(where, f"it has several columns {twice[0]!r}", "give each name once")


def _choose(table: Any, names: dict[str, Own], where: str) -> Any:
    """Return the columns under their canonical names, a date and a time of day as one."""
    import pyarrow as pa

    columns = {}
    for name, own in names.items():
        if isinstance(own, str):
            columns[name] = table[own]
        else:
            day, clock = own
            columns[name] = join_times(table[day], table[clock], f"{where}, columns {day!r} and {clock!r}")
    return pa.table(columns)


def _from_frame(frame: Any, columns: Columns | None) -> PriceTable:
    """Return a DataFrame's columns; a DatetimeIndex serves as the time where no column does."""
    import pandas as pd
    import pyarrow as pa

    own = dict(columns or {}).get("timestamp_utc", "timestamp_utc")
    if isinstance(own, str) and own not in frame.columns and isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis(index=own).reset_index()
    found = [str(name) for name in frame.columns]
    names = name_columns(found, columns, "DataFrame")
    _check_twice(found, names, "DataFrame")
    if found != list(frame.columns):  # numbers are names as well
        frame = frame.set_axis(found, axis=1)
    try:
        table = pa.Table.from_pandas(frame[own_names(names)], preserve_index=False)
    except pa.ArrowException as error:
        wrong = "; ".join(map(str, reversed(error.args)))  # the column, then the value
        raise BadInput("DataFrame", wrong, "give columns of one kind of value") from None
    return PriceTable(_choose(table, names, "DataFrame"), "DataFrame", None, _suspect(found, names), "DataFrame")
