"""The manifests of cached_data/: which sessions a folder holds, which were forgotten, and who may write there now."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orbresearch.errors import Corrupt
from orbresearch.schema import CACHE_VERSION

Entry = dict[str, Any]  # what a manifest says of a session


def cache_folder(cached_data: Path, ticker: str, fingerprint: str) -> Path:
    """Return the folder of one ticker's sessions under a fingerprint."""
    return cached_data / f"{quote(ticker, safe='')}-{fingerprint}"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return a folder's manifest, None where there is none or one of another version.

    Raises
    ------
    Corrupt
        It cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Corrupt(str(folder / "manifest.json"), f"{error}; remove the folder to read the source again") from None
    if not isinstance(found, dict) or not isinstance(found.get("sessions", {}), dict):
        raise Corrupt(str(folder / "manifest.json"), "it is no manifest; remove the folder to read the source again")
    return found if found.get("version") == CACHE_VERSION and "sessions" in found else None


def known_sessions(folder: Path) -> dict[str, Entry]:
    """Return what the manifest says of sessions, by date; nothing where it is missing or damaged."""
    try:
        found = read_manifest(folder)
    except Corrupt:
        found = None
    return found["sessions"] if found else {}


def lacks(found: dict[str, Any], start: Any, end: Any) -> bool:
    """Return whether one of the sessions between two dates was forgotten."""
    first, last = ("" if start is None else str(start)[:10]), ("9999" if end is None else str(end)[:10])
    return any(first <= label <= last for label in found.get("forgotten", []))


def add_entries(folder: Path, head: dict[str, Any], entries: dict[str, Entry]) -> None:
    """Add sessions to the manifest of a locked folder, beside those that other processes have added meanwhile."""
    try:
        found = read_manifest(folder) or {}
    except Corrupt:
        found = {}
    sessions = dict(sorted({**found.get("sessions", {}), **entries}.items()))
    forgotten = [label for label in found.get("forgotten", []) if label not in entries]
    manifest = {**found, "version": CACHE_VERSION, **head, "sessions": sessions, "forgotten": forgotten}
    write_whole(folder / "manifest.json", json.dumps(manifest).encode())


def drop_sessions(folder: Path, labels: list[str]) -> list[str]:
    """Remove sessions from a folder, and the folder with the last of them; return the dates that were there.

    Their dates stay in the manifest as forgotten: what is left of a source never passes for the whole.
    """
    with locked(folder):
        found = read_manifest(folder) or {"sessions": {}}
        gone = [label for label in labels if label in found["sessions"]]
        left = {label: entry for label, entry in found["sessions"].items() if label not in set(gone)}
        if not left:
            shutil.rmtree(folder)
            return gone
        forgotten = sorted({*found.get("forgotten", []), *gone})
        write_whole(folder / "manifest.json", json.dumps({**found, "sessions": left, "forgotten": forgotten}).encode())
        for label in labels:
            (folder / f"{label}.parquet").unlink(missing_ok=True)
    return gone


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that it holds."""
    with locked(folder):
        shutil.rmtree(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock. It goes with the process that holds it, and leaves no file."""
    while (handle := _lock(folder)) is None:
        pass
    try:
        for part in folder.glob(".*.part"):  # nobody else writes now: somebody was killed while writing it
            part.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def _lock(folder: Path) -> int | None:
    """Return the handle of a folder that is locked now, None where somebody has removed it meanwhile."""
    with suppress(FileNotFoundError):
        _make(folder)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_ino == folder.stat().st_ino:
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    return None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # so it says, too, where somebody has just removed it
        if folder.exists() and not folder.is_dir():
            raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
