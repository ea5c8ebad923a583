"""Many tickers' sessions, loaded by the workers of a lab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from orbresearch.sessions.dataset import Sessions
from orbresearch.sources.load import list_tickers, load_sessions

_BATCHES_PER_SLOT = 4  # so that no slot waits long for the last one


def load_over(
    call: Callable[..., list[Any]], slots: int, source: Any, ticker: Any, options: Any
) -> dict[str, Sessions]:
    """Return the sessions of several tickers, by ticker.

    Parameters
    ----------
    call : callable
        ``call(function, batches)`` runs a function of each batch in the workers and returns what they return.
    slots : int
        How many run at once.
    source, ticker, options
        As of ``load_sessions``.
    """
    path = str(Path(source).expanduser().resolve()) if isinstance(source, (str, Path)) else None
    source = source if path is None else path
    names = _names(source, ticker, options)
    if path is None or len(names) < 2:
        return load_sessions(source, names, **options)
    size = -(-len(names) // (slots * _BATCHES_PER_SLOT))
    batches = [(path, names[first : first + size], options) for first in range(0, len(names), size)]
    return {name: item for found in call(load_batch, batches) for name, item in found.items()}


def load_batch(batch: tuple[str, list[str], dict[str, Any]]) -> dict[str, Sessions]:
    """Load some tickers in a worker."""
    path, names, options = batch
    return load_sessions(path, names, **options)


def _names(source: Any, ticker: str | Iterable[str] | None, options: dict[str, Any]) -> list[str]:
    if ticker is None:
        return list_tickers(source, **options)
    return [ticker] if isinstance(ticker, str) else list(dict.fromkeys(ticker))
