"""cached_data/: observations as Parquet, one file per ticker and session, under a fingerprint.

The folder of a ticker is named by the ticker and the fingerprint of source, options and content. The manifest is
written last and names every session with the hash of its observations: a folder without one is unfinished, a session
file that is missing or altered is noticed and made again from the source. Every file appears whole or not at all.
Where the source has volumes, they are a column more and part of the hash. What somebody has joined, or declared to be
split, is not kept.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from orbresearch.errors import Corrupt
from orbresearch.schema import CACHE_VERSION, OBSERVATIONS, VOLUME
from orbresearch.sessions.calendar import Schedule
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.quality import Quality
from orbresearch.sessions.series import content_hash

_KINDS = {**OBSERVATIONS, "volume": VOLUME}
_seen: set[tuple[str, int, int, int, str]] = set()  # files that were whole when this process read them
_PLAIN = ("ticker", "increment_nanos", "bar_seconds", "path", "source", "fingerprint")


def cache_folder(cached_data: Path, ticker: str, fingerprint: str) -> Path:
    """Return the folder of one ticker's sessions under a fingerprint."""
    return cached_data / f"{quote(ticker, safe='')}-{fingerprint}"


def save_sessions(cached_data: Path, sessions: Sessions) -> Sessions:
    """Write sessions that are not cached yet; return them with their fingerprint.

    Sessions without a fingerprint of their source (a DataFrame's) are filed under that of their content.
    """
    hashes = [_hash(_stored(sessions, i)) for i in range(len(sessions))]
    if not sessions.fingerprint:
        labels = sessions.schedule.labels.tolist()
        parts = [sessions.increment_nanos, sessions.bar_seconds, sessions.path, labels, hashes]
        sessions = replace(sessions, fingerprint=content_hash(repr(parts).encode()))
    folder = cache_folder(cached_data, sessions.ticker, sessions.fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    for i, label in enumerate(map(str, sessions.schedule.labels)):
        path = folder / f"{label}.parquet"
        columns = _stored(sessions, i)
        if not _is_whole(path, hashes[i], list(columns)):
            _write_session(path, columns)
    manifest, known = _manifest(sessions, hashes), _known_sessions(folder)
    if {**known, **manifest["sessions"]} != known:
        manifest["sessions"] = dict(sorted({**known, **manifest["sessions"]}.items()))
        _write(folder / "manifest.json", json.dumps(manifest).encode())
    return sessions


def keep_sessions(cached_data: Path, sessions: Sessions) -> Sessions:
    """Return sessions with a fingerprint under which they are cached; write them where they are not.

    Only what reads a source whole may file under the source's fingerprint: a stretch of it that is not cached yet is
    filed under its content, so that it never passes for the whole.
    """
    if sessions.fingerprint:
        known = _known_sessions(cache_folder(cached_data, sessions.ticker, sessions.fingerprint))
        hashes = {str(label): _hash(_stored(sessions, i)) for i, label in enumerate(sessions.schedule.labels)}
        if all(known.get(label, {}).get("hash") == content for label, content in hashes.items()):
            return save_sessions(cached_data, sessions)  # repairs what is damaged
    return save_sessions(cached_data, replace(sessions, fingerprint=""))


def _known_sessions(folder: Path) -> dict[str, Any]:
    """Return what the manifest says of sessions, nothing where it is missing or damaged."""
    try:
        found = _read_manifest(folder)
    except Corrupt:
        found = None
    return found["sessions"] if found else {}


def _is_whole(path: Path, expected: str, names: list[str]) -> bool:
    """Return whether a session file is there and holds what it should. One that has not changed is read once."""
    try:
        facts = path.stat()
        seen = str(path), facts.st_mtime_ns, facts.st_size, facts.st_ino, expected
        if seen not in _seen and _read_session(path, expected, names) is not None:
            _seen.add(seen)
        return seen in _seen
    except (Corrupt, FileNotFoundError):
        return False


def load_cached(
    cached_data: Path, ticker: str, fingerprint: str, start: Any = None, end: Any = None
) -> Sessions | None:
    """Return cached sessions from date ``start`` to ``end``, or None where they are not (all) there.

    Raises
    ------
    Corrupt
        A session file whose content is not what the manifest says.
    """
    folder = cache_folder(cached_data, ticker, fingerprint)
    found = _read_manifest(folder)
    if found is None:
        return None
    records = found["sessions"]
    labels = np.array(list(records), "datetime64[D]")
    opens, closes = (np.array([entry[name] for entry in records.values()], np.int64) for name in ("open", "close"))
    whole = Schedule(found["calendar"], found["timezone"], labels, opens, closes)
    kept = whole.between(start, end)
    if not len(kept):  # between() of all sessions tells what there is
        kept = whole
    chosen = {label: records[label] for label in map(str, kept.labels)}
    read = _read_sessions({folder / f"{label}.parquet": entry for label, entry in chosen.items()}, found["columns"])
    if read is None:
        return None
    pointers, columns = read
    volume = columns.pop("volume", None)
    plain = {name: found[name] for name in _PLAIN} | {"quality": _read_quality(found["facts"], chosen)}
    return Sessions(schedule=kept, pointers=pointers, columns=columns, volume=volume, **plain).between(start, end)


def _stored(sessions: Sessions, session: int) -> dict[str, Any]:
    """Return the columns of one session's file: its observations, with their volume where the source has it."""
    columns = sessions.observations(session)
    if sessions.volume is not None:
        columns["volume"] = sessions.volume[sessions.pointers[session] : sessions.pointers[session + 1]]
    return columns


def _hash(columns: dict[str, Any]) -> str:
    return content_hash(*(columns[name].tobytes() for name in _KINDS if name in columns))


def _manifest(sessions: Sessions, hashes: list[str]) -> dict[str, Any]:
    schedule, quality = sessions.schedule, sessions.quality
    rows = quality.drop(columns="split", errors="ignore").to_dict("records")  # declared, not read
    sizes = np.diff(sessions.pointers).tolist()
    facts = zip(schedule.opens.tolist(), schedule.closes.tolist(), sizes, hashes, rows, strict=True)
    names = ("open", "close", "observations", "hash", "quality")
    entries = [dict(zip(names, fact, strict=True)) for fact in facts]
    return {
        "version": CACHE_VERSION,
        **{name: getattr(sessions, name) for name in _PLAIN},
        "calendar": schedule.calendar,
        "timezone": schedule.timezone,
        "columns": [*OBSERVATIONS] if sessions.volume is None else [*_KINDS],
        "facts": quality.facts,
        "sessions": dict(zip(map(str, schedule.labels), entries, strict=True)),
    }


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Corrupt(str(folder / "manifest.json"), f"{error}; remove the folder to read the source again") from None
    return found if found.get("version") == CACHE_VERSION else None


def _read_quality(facts: dict[str, Any], chosen: dict[str, Any]) -> Quality:
    import pandas as pd

    index = pd.DatetimeIndex(np.array(list(chosen), "datetime64[ns]"), name="session")
    return Quality(pd.DataFrame([entry["quality"] for entry in chosen.values()], index=index), facts)


def _read_sessions(entries: dict[Path, dict[str, Any]], names: list[str]) -> tuple[Any, dict[str, Any]] | None:
    """Return pointers and columns of sessions one after the other, None where a file is missing."""
    sizes = [entry["observations"] for entry in entries.values()]
    pointers = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    columns = {name: np.empty(pointers[-1], _KINDS[name]) for name in names}  # whole at once: memory for one copy
    for (path, entry), first, last in zip(entries.items(), pointers[:-1], pointers[1:], strict=True):
        part = _read_session(path, entry["hash"], names)
        if part is None:
            return None
        if len(part["time"]) != last - first:
            raise Corrupt(str(path), f"{len(part['time'])} observations, not {last - first} as its manifest says")
        for name, column in part.items():
            columns[name][first:last] = column
    return pointers, columns


def _read_session(path: Path, expected: str, names: list[str]) -> dict[str, Any] | None:
    """Return one session's columns, None where the file is missing; refuse what is not what was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, use_threads=False)
        columns = {name: table[name].to_numpy().astype(_KINDS[name], copy=False) for name in names}
    except FileNotFoundError:
        return None
    except (pa.ArrowException, KeyError, OSError) as error:
        raise Corrupt(str(path), str(error).splitlines()[0]) from None
    if _hash(columns) != expected:
        raise Corrupt(str(path), "its content is not what its manifest says")
    return columns


def _write_session(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", use_dictionary=False)
    _write(path, sink.getvalue().to_pybytes())


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
