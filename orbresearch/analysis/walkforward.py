"""Walk-forward: what would have happened had the best of the past been traded next.

Sessions are cut into blocks. In each window the best backtest over some blocks is chosen by a column of its row,
computed over those sessions alone, and followed over the next: the days so followed, one window after the other, are
out of sample. A position never stays overnight, so that nothing needs to be purged between them.

What is chosen is exact: a window's rows are those that ``run_grid`` would give of its sessions. Chunks choose for
themselves and the best of their choices is the run's, so that a million backtests need the memory of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.grids import compute_sums
from orbresearch.analysis.performance import compute_columns
from orbresearch.analysis.selection.central_moments import skew_kurtosis
from orbresearch.analysis.selection.significance import probabilistic_sharpe, sharpe_interval
from orbresearch.analysis.selection.windows import equal_blocks, month_blocks, walk_windows
from orbresearch.errors import BadInput
from orbresearch.grid import Points
from orbresearch.plan import Chunk
from orbresearch.pool import Item, returns_in_one
from orbresearch.rules import Rules
from orbresearch.schema import MIN_SESSIONS, RESULTS

if TYPE_CHECKING:
    from orbresearch.analysis.pictures import Picture

ROOT_YEAR = np.sqrt(252)
_NUMBERS = [field.name for field in RESULTS if str(field.type) in ("double", "int64", "int32")]


@dataclass(frozen=True)
class Window:
    """Dates to choose over and dates to follow the choice, datetime64[D], first and last of each."""

    train: tuple[Any, Any]
    test: tuple[Any, Any]


@dataclass(frozen=True)
class Walk:
    """How to walk forward.

    Parameters
    ----------
    blocks : int or "months"
        Into how many runs of sessions of equal length the dates are cut, the oldest few left over; or calendar months.
    train, test : int
        Blocks to choose over, and to follow the choice.
    anchored : bool
        Choose over everything from the first block on, rather than over the latest ``train`` blocks.
    by : str
        The column of schema.RESULTS whose highest value is chosen.
    min_sessions : int
        Traded sessions that a choice must have, or half of those it is chosen over where that is fewer.
    """

    blocks: int | str = 12
    train: int = 6
    test: int = 1
    anchored: bool = False
    by: str = "sharpe_ratio"
    min_sessions: int = MIN_SESSIONS

    def __post_init__(self) -> None:
        if self.by not in _NUMBERS:
            raise BadInput("by", f"{self.by!r} is no column of numbers", f"one of {', '.join(_NUMBERS)}")
        numbers = {"train": self.train, "test": self.test}
        if self.blocks != "months":
            numbers["blocks"] = self.blocks  # type: ignore[assignment]
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadInput(name, f"{value!r} is no number of blocks", "give a whole number of 1 or more")

    def windows(self, dates: Any) -> tuple[Window, ...]:
        """Return the windows over some dates, rising; none where they are too few.

        Examples
        --------
        >>> [str(one.test[0]) for one in Walk(3, train=1).windows(np.arange("2024-01-01", "2024-01-10", dtype="M8[D]"))]
        ['2024-01-04', '2024-01-07']
        """
        blocks = self._blocks(dates)
        count = int(blocks.max(initial=-1)) + 1
        if self.train + self.test > count:
            return ()
        chosen = walk_windows(count, self.train, self.test, anchored=self.anchored)
        return tuple(Window(*(_span(dates, blocks, some) for some in one)) for one in chosen)

    def _blocks(self, dates: Any) -> Any:
        if self.blocks == "months":
            return month_blocks(dates)
        return equal_blocks(len(dates), int(self.blocks)) if len(dates) >= int(self.blocks) else np.zeros(0, np.int64)


def _span(dates: Any, blocks: Any, some: list[int]) -> tuple[Any, Any]:
    """Return the first and the last date of some blocks."""
    inside = dates[(blocks >= some[0]) & (blocks <= some[-1])]
    return inside[0], inside[-1]


@dataclass(frozen=True, eq=False)
class Choices:
    """By window, the highest value among some backtests (NaN: none may be chosen), and which backtest of the run."""

    value: Any
    index: Any


def choose(item: Item, points: Points, rules: Rules, chunk: Chunk, windows: Iterable[Window], walk: Walk) -> Choices:
    """Choose among a chunk's backtests in every window.

    Parameters
    ----------
    item, points, rules, chunk
        As in :func:`~orbresearch.analysis.performance.compute_rows`.
    windows : iterable of Window
    walk : Walk
    """
    found = [_choose(item.between(*window.train), points, rules, chunk, walk) for window in windows]
    return Choices(np.array([value for value, _ in found]), np.array([index for _, index in found], np.int64))


def _choose(item: Item, points: Points, rules: Rules, chunk: Chunk, walk: Walk) -> tuple[float, int]:
    if not len(item.days):
        return np.nan, -1
    columns = compute_columns(item, points, rules, chunk)
    least = min(walk.min_sessions, len(item.days) // 2)
    fit = (columns["resolved"] == 1) & (columns["sessions_traded"] >= max(least, 1))
    values = np.where(fit, np.asarray(columns[walk.by], np.float64), np.nan)
    if np.isnan(values).all():
        return np.nan, -1
    at = int(np.nanargmax(values))
    return float(values[at]), chunk.first + at


def merge_choices(parts: Iterable[Choices]) -> Choices:
    """Return the best of some chunks' choices in every window; of equals the first of the run."""
    values, indexes = (np.array(column) for column in zip(*((one.value, one.index) for one in parts), strict=True))
    key = np.where(np.isnan(values), -np.inf, values)
    best = np.where(key == key.max(axis=0), np.where(np.isnan(values), np.iinfo(np.int64).max, indexes), np.inf)
    at = best.argmin(axis=0)
    column = np.arange(values.shape[1])
    return Choices(values[at, column], indexes[at, column])


def daily_returns(item: Item, points: Points, rules: Rules, point: int) -> Any:
    """Return one backtest's r_d over the tradable sessions: float64 array, shape (T,).

    Parameters
    ----------
    point : int
        Its index in the points.
    """
    found = np.zeros(len(item.days))
    whole = returns_in_one(item, rules)

    def visit(_rows: Any, daily: Any, _sums: Any) -> None:
        found[:] = daily[:, 0] / whole

    compute_sums(item, points, rules, Chunk(0, 1, 0, point), visit)
    return found


@dataclass(frozen=True, eq=False)
class WalkForward:
    """What came of following each window's choice.

    Parameters
    ----------
    returns : Series
        r_d by session date, out of sample, one window after the other.
    choices : DataFrame
        By window: ``train_first, train_last, test_first, test_last``, ``backtest_id`` (missing: nothing may be chosen,
        and nothing is traded), its ``ticker, range_duration`` and parameters, ``chosen_at`` (the column's value when it
        was chosen), ``return`` and ``sharpe_ratio`` out of sample.
    by : str
        The column it was chosen by.
    title : str
        Tickers, dates and costs, for pictures.
    """

    returns: Any
    choices: Any
    by: str
    title: str = ""

    @property
    def equity(self) -> Any:
        """Cumulative return by session date, a Series."""
        return self.returns.cumsum().rename("equity")

    @property
    def sharpe_ratio(self) -> float:
        """Annual Sharpe ratio out of sample; NaN where nothing varies."""
        return float(_sharpe(self.returns.to_numpy()) * ROOT_YEAR)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true annual Sharpe ratio lies in 95 of 100 such samples."""
        low, high = sharpe_interval(*self._sample)
        return float(low * ROOT_YEAR), float(high * ROOT_YEAR)

    @property
    def psr(self) -> float:
        """Probability that the true Sharpe ratio out of sample is above zero: the probabilistic Sharpe ratio."""
        return float(probabilistic_sharpe(*self._sample))

    def plot(self) -> Picture:
        """Return the equity out of sample with its windows and their choices: see ``pictures.forward``."""
        from orbresearch.analysis.pictures.forward import forward

        return forward(self)

    @property
    def _sample(self) -> tuple[float, int, float, float]:
        values = self.returns.to_numpy()
        return _sharpe(values), len(values), *skew_kurtosis(values)

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"WalkForward({len(self.choices)} windows, {len(self.returns)} sessions out of sample: "
            f"Sharpe {self.sharpe_ratio:.2f}, 95 % {low:.2f} to {high:.2f})"
        )


def _sharpe(values: Any) -> float:
    """Return the Sharpe ratio per session, NaN without variance."""
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return float(np.mean(values) / spread) if spread > 0 else np.nan


def stitch(
    windows: Iterable[Window],
    choices: Choices,
    followed: Mapping[int, tuple[dict[str, Any], Any]],
    by: str,
    title: str = "",
) -> WalkForward:
    """Return what came of following each window's choice.

    Parameters
    ----------
    windows : iterable of Window
    choices : Choices
    followed : mapping
        Index of a chosen backtest -> (facts of it for the table, its r_d by date as a Series). Key -1: the dates on
        which somebody could have traded, with zeros.
    by, title : str
        As of :class:`WalkForward`.
    """
    import pandas as pd

    rows, parts = [], []
    for window, value, index in zip(windows, choices.value, choices.index.tolist(), strict=True):
        facts, daily = followed[index]
        dates = followed[-1][1].loc[pd.Timestamp(window.test[0]) : pd.Timestamp(window.test[1])].index
        part = daily.reindex(dates, fill_value=0.0)
        spans = dict(
            zip(("train_first", "train_last", "test_first", "test_last"), window.train + window.test, strict=True)
        )
        known = {"chosen_at": value, "return": part.sum(), "sharpe_ratio": _sharpe(part.to_numpy()) * ROOT_YEAR}
        rows.append({**{name: str(day) for name, day in spans.items()}, **facts, **known})
        parts.append(part)
    returns = pd.concat(parts) if parts else pd.Series(dtype=float, index=pd.DatetimeIndex([], name="session"))
    return WalkForward(returns.rename("returns"), pd.DataFrame(rows), by, title)
