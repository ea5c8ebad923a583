"""Folders and zips of price files: which of them are a ticker's, by its column or by what they are called."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from orbresearch.errors import BadInput
from orbresearch.sources.files.columns import Columns
from orbresearch.sources.files.files import PriceFile, file_hash, find_files, find_members, hash_names, is_zip, stem
from orbresearch.sources.files.quantconnect import Lean
from orbresearch.sources.files.tables import Head, PriceTable, Reading, describe, name_some, read_file, read_head

_BETWEEN = re.compile(r"[_\-. ]")
_CLASS = re.compile(r"[A-Za-z]{1,5}[.\-][A-Za-z](?![A-Za-z0-9])")  # of shares: BRK.B is no file of BRK
_MONTHS = re.compile(r"(?<![a-z])(jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?![a-z])")
_NUMBERING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\W\d_]+")


class Folder:
    """The files of a folder, or of a zip. Read ticker by ticker.

    A file with a ticker column is read for every ticker, and held with the rows of the tickers that are wanted; one
    without is a ticker's if its name says so (see :class:`Names`), and is not held.

    Parameters
    ----------
    path : Path
    columns : mapping or None
        As in ``load_sessions``.
    wanted : collection of str or None
        Tickers that will be asked for; None for all.
    """

    def __init__(self, path: Path, columns: Columns | None, wanted: Collection[str] | None) -> None:
        self.where = describe(path)
        if (path / "equity" / "usa").is_dir():
            raise BadInput(self.where, "it is laid out as QuantConnect's data are", 'say layout="quantconnect"')
        self.packed = is_zip(path) and path.is_file()
        self.files = find_members(path) if self.packed else find_files(path)
        self.columns, self.wanted = columns, wanted
        self._place = {file.name: place for place, file in enumerate(self.files)}
        self._held: dict[str, PriceTable] = {}
        self._known: dict[str, list[str]] = {}
        self._hashes: dict[Path, str] = {}

    @cached_property
    def heads(self) -> dict[str, Head]:
        """What every file's beginning says."""
        return {file.name: read_head(file, self.columns) for file in self.files}

    @cached_property
    def mixed(self) -> list[PriceFile]:
        """The files with a ticker column."""
        return [file for file in self.files if "ticker" in self.heads[file.name].names]

    @cached_property
    def plain(self) -> list[PriceFile]:
        """The files without one."""
        return [file for file in self.files if "ticker" not in self.heads[file.name].names]

    @cached_property
    def names(self) -> Names:
        """What the names of the files without one say."""
        return Names(self.plain)

    @property
    def tickers(self) -> list[str]:
        """Every ticker in a column, or else in a file's name; none of a zip whose files' names only number them."""
        found = {ticker for file in self.mixed for ticker in self._read(file)[1]}
        lone = self.packed and self.plain and _series(self.plain) is not None
        named = {} if lone else {name.casefold(): name for name in reversed(list(names_in(self.plain)))}
        said = {name.casefold() for name in found}
        return sorted(found | {name for folded, name in named.items() if folded not in said})

    def files_of(self, ticker: str) -> list[PriceFile]:
        """Return the files that a ticker is read from, in the order of their names."""
        chosen = self.names.files_of(ticker)
        if not chosen and self.packed and self.plain and _series(self.plain) is not None:
            chosen = self.plain  # one file in several pieces, none of which says whose it is
        return sorted([*self.mixed, *chosen], key=lambda file: self._place[file.name])

    def hash(self, ticker: str) -> str:
        """Return a hash of the names and bytes of the files that a ticker is read from."""
        files = self.files_of(ticker)
        for path in {file.path for file in files} - set(self._hashes):
            self._hashes[path] = file_hash(path)  # once, though a process remembers only those that are older
        return hash_names("files", {file.name: self._hashes[file.path] for file in files})

    def parts_of(self, ticker: str) -> list[PriceTable]:
        """Return a ticker's rows, file by file.

        Raises
        ------
        BadInput
            No file has a row of the ticker.
        """
        tables = (self._read(file)[0] for file in self.files_of(ticker))
        found = [part for table in tables if table.holds(ticker) for part in table.parts_of(ticker)]
        if not found:
            known = self.tickers
            shown = f"it has {name_some(known)}" if known else "its files have no rows"
            raise BadInput(self.where, f"no ticker {ticker!r} in any file's name or column 'ticker'", shown)
        return found

    def _read(self, file: PriceFile) -> tuple[PriceTable, list[str]]:
        """Return a file's rows, of those with a ticker column the rows wanted, and the tickers in it."""
        if file.name in self._held:
            return self._held[file.name], self._known[file.name]
        table = read_file(file, self.columns, self.heads[file.name])
        known = table.tickers
        if "ticker" in table.table.column_names:
            table = table if self.wanted is None else table.only(self.wanted)
            self._held[file.name], self._known[file.name] = table, known
        return table, known


def find_source(source: Any, reading: Reading, wanted: Collection[str] | None) -> Any:
    """Return a folder or a zip as a :class:`Folder`, a vendor's layout as what reads it, any other source as it is."""
    if reading.layout:
        return Lean(source, reading)
    if isinstance(source, (str, Path)) and (Path(source).is_dir() or is_zip(source)):
        return Folder(Path(source), reading.columns, wanted)
    return source


class Names:
    """What the names of files say of tickers, in any case and as a whole: SPY is not said by SPYG.csv.

    A part ``ticker=SPY`` of the path says it and nothing else counts; so does the file's own name, or what stands in
    it before the first ``_``, ``-``, ``.`` or space; so does a folder on the way to a file whose own name only numbers
    it (SPY/2024-03.csv), or to any file, where no file's own name says it.
    """

    def __init__(self, files: list[PriceFile]) -> None:
        self.files = files
        self._own: dict[str, list[PriceFile]] = {}
        self._above: dict[str, list[PriceFile]] = {}
        for file in files:
            for name in _own_names(file):
                self._own.setdefault(name, []).append(file)
            for name in {name.casefold() for name in above(file)} if not hive(file.name) else ():
                self._above.setdefault(name, []).append(file)

    def files_of(self, ticker: str) -> list[PriceFile]:
        """Return the files of a ticker.

        Raises
        ------
        BadInput
            Only a folder's name says it, and the files in it are called after different things: A/AAPL.csv, A/AMZN.csv.
        """
        own = self._own.get(ticker.casefold(), [])
        below = self._above.get(ticker.casefold(), [])
        if own:
            below = [file for file in below if not series_name(file.name)]
        elif below and _series(below) is None:
            wrong = f"folder {ticker!r} holds files of different names ({name_some([file.name for file in below])})"
            raise BadInput(f"ticker {ticker}", wrong, "name its files after it, or give that folder alone")
        return list(dict.fromkeys([*own, *below]))


def names_in(files: Iterable[PriceFile]) -> Iterable[str]:
    """Give the ticker that each file's name says, as it stands there."""
    files = list(files)
    folders: dict[str, set[str]] = {}
    for file in files:
        folders.setdefault(_own_label(file).casefold(), set()).add(_folder_label(file).casefold())
    for file in files:
        own, folder = _own_label(file), _folder_label(file)
        # SPY/trades.csv and QQQ/trades.csv: what tells them apart are the folders
        lone = own and len(folders[own.casefold()] - {""}) < 2
        yield hive(file.name) or (own if lone else folder or own or stem(file.name))


def hive(name: str) -> str:
    """Return the ticker of a part ``ticker=SPY`` of a path, "" where there is none."""
    said = [part.partition("=")[2] for part in PurePosixPath(name).parts if part.lower().startswith("ticker=")]
    return unquote(stem(said[-1])) if said else ""


def above(file: PriceFile) -> list[str]:
    """Return the names of the folders that a file is in, the nearest first; of a zip also its first part."""
    parts = reversed(PurePosixPath(file.name).parts[:-1])
    return [name for part in parts for name in ([_first_part(part), stem(part)] if is_zip(part) else [part])]


def series_name(name: str) -> str:
    """Return what a file's own name says beside dates and numbers: "" of 2024-03.csv, "trades" of trades_2024.csv.

    A month is part of a date only beside a number: MAR.csv may be a ticker's.
    """
    said = stem(name).lower()
    said = _MONTHS.sub("", said) if re.search(r"\d", said) else said
    return _NUMBERING.sub("", said)


def _series(files: list[PriceFile]) -> str | None:
    """Return what all names of files that say more than a number say, None where they say different things."""
    found = {series_name(file.name) for file in files} - {""}
    return None if len(found) > 1 else "".join(found)


def _own_names(file: PriceFile) -> set[str]:
    said = hive(file.name)
    names = {said} if said else {stem(file.name), _first_part(file.name)}
    return {name.casefold() for name in names}


def _first_part(name: str) -> str:
    of_class = _CLASS.match(stem(name))
    return of_class[0] if of_class else _BETWEEN.split(stem(name))[0]


def _own_label(file: PriceFile) -> str:
    first = _first_part(file.name)
    return first if series_name(first) else ""


def _folder_label(file: PriceFile) -> str:
    return next((name for name in above(file) if series_name(name)), "")
