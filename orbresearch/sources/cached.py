"""What lies in cached_data/, and how it is removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from orbresearch.errors import BadInput, Corrupt
from orbresearch.rules import NANOS
from orbresearch.sessions.dates import read_date
from orbresearch.settings import read_settings
from orbresearch.sources.manifests import drop_sessions, read_manifest, remove_folder

COLUMNS = (
    "ticker",
    "source",
    "first",
    "last",
    "sessions",
    "empty",
    "observations",
    "bar_seconds",
    "path",
    "increment",
    "bytes",
    "fetched_at",
    "fingerprint",
)
_NAMES_SHOWN = 10
_COUNTS = ("sessions", "empty", "observations", "bar_seconds", "bytes")
_FINGERPRINT = re.compile("[0-9a-f]{32}")  # folders that are named otherwise are somebody's own


def cached() -> pd.DataFrame:
    """Return what is in ``cached_data/``: a row per ticker and source.

    Returns
    -------
    DataFrame
        ``ticker``, ``source``; ``first``, ``last`` session; ``sessions`` with prices, and ``empty`` ones of which the
        source had nothing; ``observations``; ``bar_seconds`` (0: single prices), ``path`` of bars, ``increment``
        (dollars); ``bytes`` on disk; ``fetched_at`` (UTC, of the latest); ``fingerprint`` of source, options and
        content. A folder that cannot be read, or that an older version wrote, says so in ``source``.

    Examples
    --------
    >>> cached()[["ticker", "sessions", "bytes"]]  # doctest: +SKIP
    """
    rows = [_describe(folder, ticker, fingerprint) for folder, ticker, fingerprint in _folders()]
    found = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["ticker", "fetched_at"], ignore_index=True)
    dated = {name: pd.to_datetime(found[name]).astype("datetime64[s]") for name in ("first", "last")}
    dated["fetched_at"] = pd.to_datetime(found["fetched_at"], utc=True).astype("datetime64[s, UTC]")
    counted = {name: found[name].astype("Int64") for name in _COUNTS}
    return found.assign(**dated, **counted, increment=found["increment"].astype(float))


def forget(
    ticker: str | Iterable[str] | None = None, start: Any = None, end: Any = None, *, fingerprint: str | None = None
) -> int:
    """Remove cached sessions; they are read from their source when they are asked for again.

    Results stay. A stored backtest whose prices are forgotten can be drawn again once its source is loaded again.

    Parameters
    ----------
    ticker : str or list of str, optional
        Whose; all that is known of them.
    start, end : date-like, optional
        First and last session, both inclusive; default: all.
    fingerprint : str, optional
        Only what is under it: see ``orb.cached()``.

    Returns
    -------
    int
        How many sessions.

    Raises
    ------
    BadInput
        Neither ticker nor fingerprint is given, or nothing of that name is cached.

    Examples
    --------
    >>> forget("SPY", start="2024-06-03", end="2024-06-03")  # doctest: +SKIP
    1
    """
    names = None if ticker is None else [ticker] if isinstance(ticker, str) else list(ticker)
    if not names and fingerprint is None:
        raise BadInput("forget", "neither a ticker nor a fingerprint", "say which: orb.cached() lists them")
    first, last = read_date("start", start), read_date("end", end)
    if first is not None and last is not None and last < first:
        raise BadInput("end", f"{last} lies before start {first}", "exchange them")
    return sum(_forget(folder, first, last) for folder in _choose(names, fingerprint))


def _choose(names: list[str] | None, fingerprint: str | None) -> list[Path]:
    """Return the folders of some tickers, under one fingerprint or under any; each name has at least one."""
    known = list(_folders())
    under = [one for one in known if fingerprint in (None, one[2])]
    if fingerprint is not None and not under:
        raise BadInput(f"fingerprint {fingerprint}", "is not in cached_data", "orb.cached() lists what is")
    tickers = sorted({ticker for _, ticker, _ in under})
    unknown = [name for name in names or [] if name not in tickers]
    if unknown:
        where = "is not in cached_data" + (f" under fingerprint {fingerprint}" if fingerprint else "")
        raise BadInput(f"ticker {unknown[0]}", where, f"there is {', '.join(tickers[:_NAMES_SHOWN]) or 'nothing'}")
    return [folder for folder, ticker, _ in under if not names or ticker in names]


def _forget(folder: Path, first: Any, last: Any) -> int:
    """Remove a folder's sessions between two dates, the folder where none is left."""
    try:
        found = read_manifest(folder)
    except Corrupt:
        found = None
    if found is None:
        if first is None and last is None:
            remove_folder(folder)
        return 0
    dates = [date for date in found["sessions"] if str(first or "") <= date <= str(last or "9999")]
    return len(drop_sessions(folder, dates))


def _folders() -> Iterator[tuple[Path, str, str]]:
    """Yield (folder, ticker, fingerprint) of all there are."""
    root = read_settings().cached_data
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        name, dash, fingerprint = folder.name.rpartition("-")
        if folder.is_dir() and dash and name and _FINGERPRINT.fullmatch(fingerprint):
            yield folder, unquote(name), fingerprint


def _describe(folder: Path, ticker: str, fingerprint: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"ticker": ticker, "fingerprint": fingerprint, "bytes": _bytes(folder)}
    try:
        found = read_manifest(folder)
    except Corrupt as error:
        return facts | {"source": f"damaged: {error.wrong}"}
    if found is None:
        return facts | {"source": "unfinished, or of an older version"}
    entries = found["sessions"]
    full = {label: entry for label, entry in entries.items() if entry["observations"]}
    return facts | {
        "source": found["source"],
        "first": min(full, default=None),
        "last": max(full, default=None),
        "sessions": len(full),
        "empty": len(entries) - len(full),
        "observations": sum(entry["observations"] for entry in full.values()),
        "bar_seconds": found["bar_seconds"],
        "path": found["path"],
        "increment": min((entry["increment_nanos"] for entry in full.values()), default=0) / NANOS or None,
        "fetched_at": max((entry["fetched_at"] for entry in entries.values()), default=None),
    }


def _bytes(folder: Path) -> int:
    """Return what a folder's files take; others may be removing some."""
    total = 0
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
    return total
