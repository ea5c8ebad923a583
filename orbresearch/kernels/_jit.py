"""The compile options of every kernel, once.

``nogil``: Dask's threads run kernels side by side. Never ``parallel`` (Dask owns the cores) and never ``fastmath``
(results are the same bits everywhere). The machine code is cached on disk where the folder can be written, so that a
new worker process does not pay seconds of compilation; where it cannot, kernels compile in memory and a log line says
so.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def _cache_is_writable() -> bool:
    """Return whether numba will find a folder for its cache: NUMBA_CACHE_DIR, or the one beside this file."""
    folder = Path(numba.config.CACHE_DIR or Path(__file__).parent)
    try:
        (folder / "__pycache__").mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK) and os.access(folder / "__pycache__", os.W_OK)


CACHE = _cache_is_writable()
if not CACHE:
    logging.getLogger(__name__).warning(
        "kernels are compiled anew in every process: %s cannot be written; set NUMBA_CACHE_DIR to a folder that can",
        numba.config.CACHE_DIR or Path(__file__).parent,
    )


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel (or return it as it is under NUMBA_DISABLE_JIT=1)."""
    compiled: Callable[..., Any] = numba.njit(function, nogil=True, cache=CACHE, fastmath=False, error_model="numpy")
    return compiled
