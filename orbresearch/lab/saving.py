"""Rows of the results database as a file: page by page in the memory of one page, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from orbresearch.errors import BadInput

if TYPE_CHECKING:
    from orbresearch.store.connection import Store
    from orbresearch.store.query import Query

PAGE_ROWS = 100_000
_SUFFIXES = (".parquet", ".csv", ".csv.gz")


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return where rows are to be written; refuse what names no file of a known kind, before anything is read.

    Raises
    ------
    BadInput
        A suffix other than .parquet, .csv, .csv.gz; a folder; a URL.
    """
    try:
        named = os.fspath(path)
    except TypeError:
        raise BadInput("path", f"{path!r} is no path", f"give the name of a file: {_kinds()}") from None
    if "://" in named:  # unsaid: it may hold a password
        raise BadInput("path", "a URL", "give the name of a file on this machine")
    target = Path(named).expanduser()
    if not target.name.lower().endswith(_SUFFIXES):
        raise BadInput("path", f"{target.name!r} does not say what to write", f"end it with {_kinds()}")
    if target.is_dir():
        raise BadInput("path", f"{target} is a folder", "give the name of a file")
    return target


def save_rows(store: Store, query: Query, target: Path, rows: int, facts: Mapping[str, str]) -> Path:
    """Write the rows that a query asks for: no rows make a file that has its columns.

    Parameters
    ----------
    store : Store
    query : Query
    target : Path
        As :func:`check_target` returns it. Its folder is made; a file that is there is replaced once all is written.
    rows : int
        Of a page, and of a Parquet row group.
    facts : mapping of str to str
        The metadata of a Parquet file's schema.
    """
    from orbresearch.store.reader import read_pages

    with replacing(target) as file, ExitStack() as stack:
        writer = _open_writer(stack, file, target.name.lower(), query.shape.with_metadata(dict(facts)))
        for page in read_pages(store, query, rows):
            writer.write_table(page)
    return target


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Lend a file that takes the target's name when all is written, and leaves no trace where something fails."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("xb")
    except OSError as error:
        fix = "give a file in a folder that can be written"
        raise BadInput("path", f"{target}: {error.strerror}", fix) from error
    try:
        with file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _open_writer(stack: ExitStack, file: BinaryIO, name: str, shape: Any) -> Any:
    """Return what writes tables of a schema; the stack ends it."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if name.endswith(".parquet"):
        return stack.enter_context(parquet.ParquetWriter(file, shape))
    sink = stack.enter_context(pa.CompressedOutputStream(file, "gzip")) if name.endswith(".gz") else file
    return stack.enter_context(csv.CSVWriter(sink, shape))


def _kinds() -> str:
    return f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
