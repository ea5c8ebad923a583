"""Every key of the three databases. Books carry the store's uuid, inputs the version of what they hold."""

from __future__ import annotations

from orbresearch.schema import STAGING_VERSION

BOOKS, RANGES, TICKS = 0, 1, 2  # the databases

GROUP = "reaper"  # the consumer group of every result stream

# --- db 0: one store's books. Two labs with two stores on one Redis never meet. ``run_id`` is the name that
# keep.order_of gives a run: books of different ways to keep it, or of different chunks, never meet either.


def stream(uuid: str) -> str:
    """Stream: computed chunks that the store does not hold yet (fields run, first, rows, payload)."""
    return f"orb:{uuid}:results"


def lease(uuid: str) -> str:
    """Text: the token of the one reaper, which expires by itself."""
    return f"orb:{uuid}:lease"


def runs(uuid: str) -> str:
    """Set: ids of the runs that have books."""
    return f"orb:{uuid}:runs"


def run(uuid: str, run_id: str) -> str:
    """Hash: spec; in backtests total, staged, persisted; staged_bytes; in epoch seconds *_at: see books.Counts."""
    return f"orb:{uuid}:run:{run_id}"


def chunks(uuid: str, run_id: str) -> str:
    """Hash: a chunk's first backtest -> "submitted ROWS" (running, failed, persisted) or "staged ROWS BYTES ENTRY"."""
    return f"orb:{uuid}:run:{run_id}:chunks"


# --- db 1 and db 2: inputs by their content, shared by every store.


def ranges(content_hash: str) -> str:
    """Bytes, db 1: opening ranges of one ticker and duration."""
    return f"orb:v{STAGING_VERSION}:ranges:{content_hash}"


def session(content_hash: str) -> str:
    """Bytes, db 2: the ticks of one session."""
    return f"orb:v{STAGING_VERSION}:session:{content_hash}"


def document(content_hash: str) -> str:
    """Bytes, db 2: the JSON document that names a series' sessions."""
    return f"orb:v{STAGING_VERSION}:document:{content_hash}"
