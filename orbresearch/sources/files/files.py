"""Files of prices: which there are in a folder or a zip, what each is called, its columns, its bytes' hash."""

from __future__ import annotations

import json
import re
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from orbresearch.errors import BadInput

_PARQUET = (".parquet", ".pq")
_PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_SUFFIX = re.compile(r"\.(parquet|pq|zip|csv(\.(gz|bz2|zst))?)$", re.IGNORECASE)
_SETTLED_SECONDS = 2  # a file written more recently may be written again without a later stamp
_hashes: dict[tuple[Any, ...], str] = {}  # of files that this process has hashed


@dataclass(frozen=True)
class PriceFile:
    """A Parquet or CSV file, or a CSV file inside a zip.

    Parameters
    ----------
    path : Path
        The file, or the zip it is in.
    name : str
        What it is called inside the source, with ``/`` between folders; a zip's members lie below the zip's name.
    member : str or None
        Of a zip.
    """

    path: Path
    name: str
    member: str | None = None

    @property
    def where(self) -> str:
        """The file, for messages."""
        return f"file {self.name}"

    @property
    def kind(self) -> str:
        """Parquet or CSV."""
        return "Parquet" if self.path.suffix.lower() in _PARQUET else "CSV"

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Give a CSV file's bytes, unpacked; refuse what cannot be unpacked or parsed meanwhile."""
        import pyarrow as pa

        with readable(self.where, "CSV"):
            if self.member is None:
                packed = _PACKED.get(self.path.suffix.lower())
                with pa.input_stream(str(self.path), compression=packed) as stream:
                    yield stream
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                    yield stream


@contextmanager
def readable(where: str, kind: str) -> Iterator[None]:
    """Turn what readers raise about a file into a refusal that names it."""
    import pyarrow as pa

    try:
        yield
    except BadInput:
        raise
    except (pa.ArrowException, OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # OSError: packed, but not as its name says; RuntimeError: a zip with a password
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(where, f"no readable {kind} ({first})", "check the file") from None


def is_csv(source: Any) -> bool:
    """Return whether a path names a CSV file, packed or not (a zip is none: it holds some)."""
    suffixes = [suffix.lower() for suffix in Path(source).suffixes]
    return suffixes[-1:] == [".csv"] or (suffixes[-2:-1] == [".csv"] and suffixes[-1] in _PACKED)


def is_parquet(source: Any) -> bool:
    """Return whether a path names a Parquet file."""
    return Path(source).suffix.lower() in _PARQUET


def is_zip(source: Any) -> bool:
    """Return whether a path names a zip."""
    return Path(source).suffix.lower() == ".zip"


def stem(name: str) -> str:
    """Return the last part of a name without what tells its kind."""
    return _SUFFIX.sub("", PurePosixPath(name).name)


def find_files(folder: Path) -> list[PriceFile]:
    """Return all files of prices below a folder, and in its zips, in the order of their names; none that is hidden.

    Raises
    ------
    BadInput
        None is there.
    """
    found: list[PriceFile] = []
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if _is_hidden(name) or not path.is_file():
            continue
        if is_csv(path) or is_parquet(path):
            found.append(PriceFile(path, name))
        elif is_zip(path):
            found.extend(PriceFile(path, f"{name}/{member}", member) for member in csv_members(path))
    if not found:
        raise BadInput(f"folder {folder}", "no file of prices in it", "give a folder with Parquet, CSV or zip files")
    return found


def find_members(path: Path) -> list[PriceFile]:
    """Return the CSV files of a zip, in the order of their names."""
    return [PriceFile(path, f"{path.name}/{member}", member) for member in csv_members(path)]


def csv_members(path: Path) -> list[str]:
    """Return the names of a zip's CSV files, sorted; refuse a zip without one."""
    with readable(f"file {path.name}", "zip"), zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
    found = [name for name in names if name.lower().endswith(".csv") and not _is_hidden(name)]
    if not found:
        shown = f"it has {', '.join(names[:10])}" if names else "it is empty"
        raise BadInput(f"file {path.name}", f"no CSV file in the zip ({shown})", "give a zip with .csv files in it")
    return found


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def hash_names(kind: str, contents: Mapping[str, str]) -> str:
    """Return a hash of several files of a source: what each is called, and the hash of its bytes."""
    return blake2b(json.dumps([kind, list(contents.items())]).encode(), digest_size=16).hexdigest()


def file_hash(path: Path) -> str:
    """Return a hash of a file's bytes. One that has not changed is read once in a process."""
    facts = path.stat()
    mark = str(path.absolute()), facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino
    if mark not in _hashes:
        # st_ctime_ns: a date of change can be set back, this one cannot
        settled = max(facts.st_mtime, facts.st_ctime) < time.time() - _SETTLED_SECONDS
        found = _hash_bytes(path)
        if not settled:
            return found
        _hashes[mark] = found
    return _hashes[mark]


def _hash_bytes(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
