"""Many tickers' sessions, loaded by the workers of a lab."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orbresearch.sessions.dataset import Sessions
from orbresearch.sources.load import list_tickers, load_sessions

if TYPE_CHECKING:
    from distributed import Client

_BATCHES_PER_SLOT = 4  # so that no slot waits long for the last one


def load_over(client: Client, slots: int, source: Any, ticker: Any, options: Any) -> dict[str, Sessions]:
    """Return the sessions of several tickers, by ticker.

    Parameters
    ----------
    client : distributed.Client
    slots : int
        How many run at once; 0: none sees this machine's files, and they are loaded here.
    source, ticker, options
        As of ``load_sessions``.
    """
    is_path = isinstance(source, (str, Path)) and "://" not in str(source)  # a URL is refused as it is
    path = str(Path(source).expanduser().resolve()) if is_path else None
    source = source if path is None else path
    names = _names(source, ticker, options)
    if path is None or len(names) < 2 or slots == 0:
        return load_sessions(source, names, **options)
    size = -(-len(names) // (slots * _BATCHES_PER_SLOT))
    batches = [(path, names[first : first + size], options) for first in range(0, len(names), size)]
    loaded = client.gather(client.map(load_batch, batches, pure=False))
    return {name: item for found in loaded for name, item in found.items()}


def load_batch(batch: tuple[str, list[str], dict[str, Any]]) -> dict[str, Sessions]:
    """Load some tickers in a worker."""
    path, names, options = batch
    return load_sessions(path, names, **options)


def _names(source: Any, ticker: str | Iterable[str] | None, options: dict[str, Any]) -> list[str]:
    if ticker is None:
        return list_tickers(source, **options)
    return [ticker] if isinstance(ticker, str) else list(dict.fromkeys(ticker))
