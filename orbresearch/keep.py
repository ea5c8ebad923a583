"""What a run keeps of its backtests: every row, or the best and a summary of all."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from orbresearch.errors import BadInput
from orbresearch.schema import MIN_SESSIONS, PARAMETERS, RESULTS
from orbresearch.sessions.series import content_hash

MOST_BEST = 100_000  # rows that one chunk sends

_MEASURES = tuple(
    field.name
    for field in RESULTS
    if not pa.types.is_string(field.type)
    and field.name not in (*PARAMETERS, "range_duration", "sessions", "resolved", "win_rate_percent")
)


@dataclass(frozen=True)
class Best:
    """Keep a run's best rows, and of all its backtests a summary by parameter (``Run.summary``).

    What is best is what ``Run.best`` calls so: the highest ``by`` among resolved backtests that traded in at least
    ``min_sessions`` sessions and of which it is defined; the lower id first where two are equal.

    Parameters
    ----------
    n : int
        Rows of the whole run, 1 to 100,000.
    by : str
        A column of numbers.
    min_sessions : int
        Sessions with a trade that a backtest must have.
    unresolved : bool
        Whether to admit backtests on bars whose distances the bars cannot tell.

    Examples
    --------
    >>> Best(1000)
    Best(n=1000, by='sharpe_ratio', min_sessions=30, unresolved=False)
    """

    n: int
    by: str = "sharpe_ratio"
    min_sessions: int = MIN_SESSIONS
    unresolved: bool = False

    def __post_init__(self) -> None:
        for name, most in (("n", MOST_BEST), ("min_sessions", 2**31 - 1)):
            value, least = getattr(self, name), int(name == "n")
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise BadInput(f"Best.{name}", f"{value!r} is not from {least} to {most:,}", "give a whole number")
        if self.by not in _MEASURES:
            raise BadInput("Best.by", f"{self.by!r} measures no backtest", f"give one of {', '.join(_MEASURES)}")
        if not isinstance(self.unresolved, bool):
            raise BadInput("Best.unresolved", f"{self.unresolved!r}", "give True or False")

    def __str__(self) -> str:
        others = [f"min_sessions={self.min_sessions}"] if self.min_sessions != MIN_SESSIONS else []
        others += ["unresolved ones too"] if self.unresolved else []
        return f"the best {self.n:,} by {self.by}" + (f" ({', '.join(others)})" if others else "")

    def pick(self, columns: dict[str, Any], floor: float = -math.inf) -> Any:
        """Return the positions of the best of some backtests, best first: at most ``n`` of those above ``floor``.

        Parameters
        ----------
        columns : dict of arrays, shape (m,)
            ``by``, ``sessions_traded``, ``resolved``, in the order of ids.
        """
        values = columns[self.by]
        fit = (columns["sessions_traded"] >= self.min_sessions) & (values > floor)  # undefined is above nothing
        if not self.unresolved:
            fit &= columns["resolved"] == 1
        at = np.flatnonzero(fit)
        return at[np.argsort(-values[at], kind="stable")[: self.n]]


Keep: TypeAlias = Best | Literal["all"]


def check_keep(keep: object) -> Keep:
    """Return what was asked for, or say what may be."""
    if keep == "all" or isinstance(keep, Best):
        return keep
    raise BadInput("keep", f"{keep!r}", 'give "all" or orb.Best(n)')


def covers(kept: Keep, asked: Keep) -> bool:
    """Return whether what is kept holds all that is asked for."""
    if kept == "all" or asked == "all":
        return kept == "all"
    return kept.n >= asked.n and (kept.by, kept.min_sessions, kept.unresolved) == (
        asked.by,
        asked.min_sessions,
        asked.unresolved,
    )


def write_keep(keep: Keep) -> str:
    """Return what a run keeps as the text that the store and the books carry."""
    return "all" if keep == "all" else json.dumps(asdict(keep), sort_keys=True)


def order_of(run_id: str, kept: str, chunk_size: int) -> str:
    """Return the name under which a run is computed: its id, and a hash of what it keeps and in which chunks.

    Books and results on their way carry it: what was computed for one way to keep a run is no answer to another, nor
    is a chunk of one plan a chunk of another.

    Parameters
    ----------
    kept : str
        As :func:`write_keep` gives it.
    chunk_size : int
        Backtests per chunk.
    """
    return f"{run_id}.{content_hash(kept.encode(), str(chunk_size).encode())[:8]}"


def run_of(order: str) -> str:
    """Return the id of the run of an order."""
    return order.partition(".")[0]


def read_keep(text: str) -> Keep:
    """Return what :func:`write_keep` was given."""
    return "all" if text == "all" else Best(**json.loads(text))
