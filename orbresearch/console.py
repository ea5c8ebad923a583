"""Words to the person at the notebook or the terminal."""

from __future__ import annotations

import sys


def tell(message: str) -> None:
    """Say something to the person at the notebook or the terminal."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def many(count: int, thing: str) -> str:
    """Return how many there are, as one says it.

    Examples
    --------
    >>> many(1, "worker"), many(1200, "worker")
    ('1 worker', '1,200 workers')
    """
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def in_notebook() -> bool:
    """Return whether a Jupyter kernel shows what a cell returns."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def somebody_looks() -> bool:
    """Return whether a moving bar would be seen: in a terminal or in Jupyter, not in a log file."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
