"""cached_data/: observations as Parquet, one file per ticker and session, under a fingerprint.

The folder of a ticker is named by the ticker and the fingerprint of source, options and content. Its manifest names
every session with the hash of its observations, when it was fetched, and what the data-quality report says of it, and
the sessions that were forgotten: a folder without one is unfinished, a session file that is missing or altered is
noticed and made again from the source. Every file appears whole or not at all, and is written under the folder's lock:
several processes may fetch, and forget, at once.

A file is read whole, and its sessions are saved together: :func:`save_sessions`. A warehouse is fetched session by
session, and each is saved as it comes, in increments of its own, with facts of its own: :class:`SessionSaver`. Where
the source has volumes or implied volatilities, they are columns more and part of the hash. What somebody has joined,
or declared to be split, is not kept.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from orbresearch.errors import BadInput, Corrupt
from orbresearch.rules import NANOS
from orbresearch.schema import OBSERVATIONS, VOLUME
from orbresearch.sessions.calendar import Schedule
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.quality import Quality, unite_facts
from orbresearch.sessions.series import content_hash
from orbresearch.sessions.volatility import Volatility
from orbresearch.sources.manifests import (
    Entry,
    add_entries,
    cache_folder,
    known_sessions,
    lacks,
    locked,
    read_manifest,
    write_whole,
)

_KINDS = {**OBSERVATIONS, "volume": VOLUME, "vol_total": np.dtype("<i8"), "vol_rows": np.dtype("<i4")}
_seen = set[Any]()  # files that were whole when this process read them
_PAUSES = 20  # as long as writing a manifest takes, before it is written again
_PLAIN = ("ticker", "bar_seconds", "path", "source", "fingerprint")


# --- saving


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
    with locked(folder):
        entries, known = _save_files(folder, sessions, hashes), known_sessions(folder)
        if any(_content(known.get(label)) != _content(entry) for label, entry in entries.items()):
            add_entries(folder, _head(sessions) | {"facts": sessions.quality.facts}, entries)
    return sessions


class SessionSaver:
    """Saves sessions of one source that are fetched one by one, in several threads; their reports' facts with them.

    A session's file is written at once. The manifest, which is written as a whole, follows soon: of thousands of
    sessions it would take longer than to fetch one. At the end of the ``with`` block it names all.
    """

    def __init__(self, cached_data: Path) -> None:
        self._cached_data, self._guard = cached_data, threading.Lock()
        self._waiting, self._head, self._due = dict[str, Entry](), dict[str, Any](), 0.0

    def __enter__(self) -> SessionSaver:
        return self

    def __exit__(self, *_: object) -> None:
        self._write_down()

    def save(self, session: Sessions) -> None:
        """Write a session."""
        folder, hashes = (
            cache_folder(self._cached_data, session.ticker, session.fingerprint),
            [_hash(_stored(session, 0))],
        )
        with locked(folder):
            entries = _save_files(folder, session, hashes)
        with self._guard:
            self._head = _head(session)
            self._waiting |= {label: entry | {"facts": session.quality.facts} for label, entry in entries.items()}
        if time.monotonic() >= self._due:
            self._write_down()

    def _write_down(self) -> None:
        with self._guard:
            if not self._waiting:
                return
            began = time.monotonic()
            folder = cache_folder(self._cached_data, self._head["ticker"], self._head["fingerprint"])
            with locked(folder):
                add_entries(folder, self._head, self._waiting)
            self._waiting = {}
            self._due = time.monotonic() + _PAUSES * (time.monotonic() - began)


def save_empty(cached_data: Path, head: dict[str, Any], schedule: Schedule) -> None:
    """Write down that the source has nothing of some sessions.

    Parameters
    ----------
    head : dict
        What the manifest says of the source: ``ticker, bar_seconds, path, source, fingerprint``.
    schedule : Schedule
    """
    if not len(schedule):
        return
    times = zip(map(str, schedule.labels), schedule.opens.tolist(), schedule.closes.tolist(), strict=True)
    facts = {"observations": 0, "fetched_at": _now()}
    entries = {label: {"open": opened, "close": closed, **facts} for label, opened, closed in times}
    folder = cache_folder(cached_data, head["ticker"], head["fingerprint"])
    with locked(folder):
        add_entries(folder, head | _calendar(schedule), entries)


def keep_sessions(cached_data: Path, sessions: Sessions) -> Sessions:
    """Return sessions with a fingerprint under which they are cached; write them where they are not.

    Only what reads a source whole may file under the source's fingerprint: a stretch of it that is not cached yet is
    filed under its content, so that it never passes for the whole.
    """
    if sessions.fingerprint:
        folder = cache_folder(cached_data, sessions.ticker, sessions.fingerprint)
        hashes = {str(label): _hash(_stored(sessions, i)) for i, label in enumerate(sessions.schedule.labels)}
        first, last = min(hashes), max(hashes)
        known = {label: entry.get("hash") for label, entry in known_sessions(folder).items() if first <= label <= last}
        if {label: content for label, content in known.items() if content} == hashes:
            if not all(_is_whole(folder / f"{label}.parquet", content) for label, content in hashes.items()):
                with locked(folder):
                    _save_files(folder, sessions, list(hashes.values()))  # the manifest is right
            return sessions
    return save_sessions(cached_data, replace(sessions, fingerprint=""))


# --- loading


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
    found = read_manifest(folder)
    if found is None or lacks(found, start, end):
        return None
    records = {label: entry for label, entry in found["sessions"].items() if entry["observations"]}
    if not records:
        return None
    kept = _schedule(found, records).between(start, end)
    if not len(kept):  # between() of all sessions tells what there is
        kept = _schedule(found, records)
    chosen = {label: records[label] for label in map(str, kept.labels)}
    finest = min(entry["increment_nanos"] for entry in chosen.values())
    read = _read_sessions(folder, chosen, found["columns"], finest)
    if read is None:
        return None
    pointers, columns = read
    beside = {"volume": columns.pop("volume", None), "volatility": _volatility(columns, found)}
    quality = _read_quality(found, chosen, _schedule(found, found["sessions"]).labels)
    plain = {name: found[name] for name in _PLAIN} | {"quality": quality, "increment_nanos": finest}
    return Sessions(schedule=kept, pointers=pointers, columns=columns, **beside, **plain).between(start, end)


def _schedule(found: dict[str, Any], records: dict[str, Entry]) -> Schedule:
    labels = np.array(list(records), "datetime64[D]")
    opens, closes = (np.array([entry[name] for entry in records.values()], np.int64) for name in ("open", "close"))
    return Schedule(found["calendar"], found["timezone"], labels, opens, closes)


def _volatility(columns: dict[str, Any], found: dict[str, Any]) -> Volatility | None:
    """Take the implied volatilities out of the columns."""
    if "vol_rows" not in columns:
        return None
    return Volatility(columns.pop("vol_total"), columns.pop("vol_rows"), found["volatility_seconds"])


def _read_quality(found: dict[str, Any], chosen: dict[str, Entry], labels: Any) -> Quality:
    import pandas as pd

    index = pd.DatetimeIndex(np.array(list(chosen), "datetime64[ns]"), name="session")
    facts = found.get("facts")
    if facts is None:
        facts = unite_facts([entry["facts"] for entry in chosen.values()], index, labels)
    return Quality(pd.DataFrame([entry["quality"] for entry in chosen.values()], index=index), facts)


def _read_sessions(
    folder: Path, entries: dict[str, Entry], names: list[str], increment_nanos: int
) -> tuple[Any, dict[str, Any]] | None:
    """Return pointers and columns of sessions one after the other, None where a file is missing."""
    sizes = [entry["observations"] for entry in entries.values()]
    pointers = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    columns = {name: np.empty(pointers[-1], _KINDS[name]) for name in names}  # whole at once: memory for one copy
    for (label, entry), first, last in zip(entries.items(), pointers[:-1], pointers[1:], strict=True):
        path = folder / f"{label}.parquet"
        seen = _mark(path, entry["hash"])
        part = _read_session(path, entry["hash"])
        if part is None:
            return None
        _seen.add(seen)
        if len(part["time"]) != last - first:
            wrong = f"{len(part['time'])} observations, not {last - first} as its manifest says"
            raise Corrupt(str(path), wrong)
        if not set(names) <= set(part):
            raise Corrupt(str(path), f"it has not all of the columns {', '.join(names)}")
        part["price"] = _rescale(part["price"], entry["increment_nanos"], increment_nanos)
        for name in names:
            columns[name][first:last] = part[name]
    return pointers, columns


def _rescale(price: Any, own_nanos: int, nanos: int) -> Any:
    """Return prices in other, finer increments: every increment is a whole number of each finer one."""
    times = own_nanos // nanos
    if times > 1 and len(price) and int(price.max()) * times > np.iinfo(np.int32).max:
        wrong = f"{int(price.max()) * own_nanos / NANOS:,.2f} dollars are beyond int32 increments of {nanos / NANOS}"
        raise BadInput("increment", wrong, "give a coarser increment=, such as .01")
    return price if times == 1 else price * np.int32(times)


def _is_whole(path: Path, expected: str) -> bool:
    """Return whether a session file is there and holds what it should. One that has not changed is read once."""
    try:
        seen = _mark(path, expected)
        if seen not in _seen and _read_session(path, expected) is not None:
            _seen.add(seen)
        return seen in _seen
    except Corrupt:
        return False


def _mark(path: Path, expected: str) -> Any:
    """Return what tells a file from what it was before, and from what it should be; None where there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return str(path), facts.st_mtime_ns, facts.st_size, facts.st_ino, expected


def _read_session(path: Path, expected: str) -> dict[str, Any] | None:
    """Return one session's columns, None where the file is missing; refuse what is not what was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # read_table looks for a data set first: as long again as reading
            table = file.read(use_threads=False)
        names = [name for name in _KINDS if name in table.column_names]
        columns = {name: table[name].to_numpy().astype(_KINDS[name], copy=False) for name in names}
    except FileNotFoundError:
        return None
    except (pa.ArrowException, KeyError, OSError) as error:
        raise Corrupt(str(path), str(error).splitlines()[0]) from None
    if _hash(columns) != expected:
        raise Corrupt(str(path), "its content is not what its manifest says")
    return columns


# --- what is written


def _stored(sessions: Sessions, session: int) -> dict[str, Any]:
    """Return the columns of one session's file: its observations, with what the source has beside their prices."""
    columns, at = sessions.observations(session), slice(*sessions.pointers[session : session + 2])
    if sessions.volume is not None:
        columns["volume"] = sessions.volume[at]
    if sessions.volatility is not None:
        columns |= {"vol_total": sessions.volatility.total[at], "vol_rows": sessions.volatility.rows[at]}
    return columns


def _hash(columns: dict[str, Any]) -> str:
    return content_hash(*(columns[name].tobytes() for name in _KINDS if name in columns))


def _save_files(folder: Path, sessions: Sessions, hashes: list[str]) -> dict[str, Entry]:
    """Write the sessions' files that are not there; return their entries by date."""
    for i, label in enumerate(map(str, sessions.schedule.labels)):
        path = folder / f"{label}.parquet"
        if not _is_whole(path, hashes[i]):
            _write_session(path, _stored(sessions, i))
            _seen.add(_mark(path, hashes[i]))
    schedule, rows = sessions.schedule, sessions.quality.drop(columns="split", errors="ignore").to_dict("records")
    sizes = np.diff(sessions.pointers).tolist()  # split: declared, not read
    facts = zip(schedule.opens.tolist(), schedule.closes.tolist(), sizes, hashes, rows, strict=True)
    names = ("open", "close", "observations", "hash", "quality")
    common = {"increment_nanos": sessions.increment_nanos, "fetched_at": _now()}
    entries = [dict(zip(names, fact, strict=True)) | common for fact in facts]
    return dict(zip(map(str, schedule.labels), entries, strict=True))


def _content(entry: Entry | None) -> Any:
    """Return what an entry says but for when it was fetched."""
    return entry and {name: value for name, value in entry.items() if name != "fetched_at"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _head(sessions: Sessions) -> dict[str, Any]:
    """Return what a manifest says of a source."""
    return {
        **{name: getattr(sessions, name) for name in _PLAIN},
        **_calendar(sessions.schedule),
        "columns": list(_stored(sessions, 0)),
        "volatility_seconds": sessions.volatility.seconds if sessions.volatility else 0,
    }


def _calendar(schedule: Schedule) -> dict[str, str]:
    return {"calendar": schedule.calendar, "timezone": schedule.timezone}


def _write_session(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", use_dictionary=False)
    write_whole(path, sink.getvalue().to_pybytes())
