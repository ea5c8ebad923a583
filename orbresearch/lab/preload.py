"""Preloaded by every worker process of a local cluster."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the notebook or terminal that started the lab: it reaches every process of a terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
