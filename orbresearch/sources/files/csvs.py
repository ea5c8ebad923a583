"""CSV as it comes: any of three separators, a byte-order mark, and no column's kind guessed from its first rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orbresearch.errors import BadInput
from orbresearch.sources.files.files import PriceFile

_SEPARATORS = (",", ";", "\t")
_HEAD_BYTES = 1 << 16  # a header line is shorter


@dataclass(frozen=True)
class Header:
    """A CSV file's first line.

    Parameters
    ----------
    names : list of str
        As they stand there.
    separator : str
    line : int
        How many lines there are up to and including it.
    """

    names: list[str]
    separator: str
    line: int


def read_header(file: PriceFile) -> Header:
    """Return the names and the separator that the first line with anything in it shows."""
    with file.opened() as stream:
        head = stream.read(_HEAD_BYTES)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadInput(file.where, "no readable CSV (it is UTF-16 text)", "save it as UTF-8")
    lines = head.decode("utf-8-sig", "replace").splitlines()
    line = next((i for i, text in enumerate(lines) if text.strip()), None)
    if line is None:
        raise BadInput(file.where, "no readable CSV (it is empty)", "check the file")
    separator = max(_SEPARATORS, key=lines[line].count)  # the first of them where none is there
    names = next(csv.reader([lines[line]], delimiter=separator))
    return Header(names, separator, line + 1)


def read_csv(file: PriceFile, header: Header, text: Iterable[str], numbers: Iterable[str]) -> Any:
    """Return columns of a CSV file: some as text, some as numbers.

    A column of numbers with something else in it is returned as text, for whoever needs it to name the row.

    Parameters
    ----------
    text, numbers : iterable of str
        Names as in the header; the columns of the table in this order.

    Raises
    ------
    BadInput
        No readable CSV.
    """
    import pyarrow as pa

    text, numbers = list(dict.fromkeys(text)), list(dict.fromkeys(numbers))
    if not set(text) & set(numbers):
        try:
            with file.opened() as stream:
                return _read(stream, header, text, numbers)
        except BadInput as error:
            if "conversion error" not in error.wrong:
                raise
    with file.opened() as stream:
        table = _read(stream, header, [*dict.fromkeys([*text, *numbers])], [])
    plain = [
        _to_numbers(table[name]) if name in numbers and name not in text else table[name] for name in table.column_names
    ]
    return pa.table(plain, names=table.column_names)


def _read(stream: Any, header: Header, text: Sequence[str], numbers: Sequence[str]) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow

    kinds = dict.fromkeys(text, pa.string()) | dict.fromkeys(numbers, pa.float64())
    return arrow.read_csv(
        stream,
        read_options=arrow.ReadOptions(column_names=header.names, skip_rows=header.line),
        parse_options=arrow.ParseOptions(delimiter=header.separator),
        convert_options=arrow.ConvertOptions(
            column_types=kinds, include_columns=list(kinds), null_values=_missing(), strings_can_be_null=False
        ),
    )


def _to_numbers(column: Any) -> Any:
    """Return a column of text as numbers where all of it is, else as it was but for what is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(trimmed, value_set=pa.array(_missing()))
    text = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        return text


def _missing() -> list[str]:
    """Return what stands for a number that is not there."""
    from pyarrow import csv as arrow

    return [*arrow.ConvertOptions().null_values, "None"]
