"""Results summed up over two of their columns: what a heat map draws. No plotting here.

Columns become codes by Arrow's dictionary encoding, then every backtest goes to its cell in one pass: a million rows
take about as long as it takes to paint them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from orbresearch.errors import BadInput

MOST_VALUES = 200  # of an axis: a column with more of them is divided into as many stretches
_LOOKED_AT = 1000  # rows: when they show more values already, the others need not be told apart
HOWS = ("best", "mean", "median")


@dataclass(frozen=True, eq=False)
class Axis:
    """One column as an axis: each value has its place, or, of too many numbers to be told apart, they lie on a scale.

    Parameters
    ----------
    name : str
    values : array
        Its distinct values, sorted, NaN last; on a scale the value of each row, float64.
    codes : int32 array, shape (rows,), or None
        Which of the values each row has; None: a scale.
    """

    name: str
    values: Any
    codes: Any

    @property
    def fine(self) -> bool:
        """Whether it is a scale."""
        return self.codes is None

    @property
    def positions(self) -> Any:
        """Where each row lies along the axis: float64."""
        return self.values if self.fine else self.codes.astype(np.float64)

    @cached_property
    def range(self) -> tuple[float, float]:
        """Both ends of the axis."""
        if not self.fine:
            return -0.5, len(self.values) - 0.5
        return float(np.nanmin(self.values)), float(np.nanmax(self.values))

    @property
    def size(self) -> int:
        """How many cells it has."""
        return MOST_VALUES if self.fine else len(self.values)

    @property
    def centres(self) -> Any:
        """The middle of each cell: float64 array, shape (size,)."""
        low, high = self.range
        return low + (np.arange(self.size) + 0.5) * (high - low) / self.size

    @property
    def cells(self) -> Any:
        """Which cell each row lies in: integers, -1 for a value that has no place on a scale."""
        return self.cell_at(self.values) if self.fine else self.codes

    def cell_at(self, position: Any) -> Any:
        """Return the cell at positions, the nearest where they lie beyond an end; -1 for NaN."""
        low, high = self.range
        share = np.nan_to_num((np.asarray(position, np.float64) - low) / (high - low), nan=-1.0)
        at = np.clip(np.floor(share * self.size), 0, self.size - 1).astype(np.int64)
        return np.where(np.isnan(position), -1, at)


@dataclass(frozen=True, eq=False)
class Cells:
    """Results by two columns.

    Parameters
    ----------
    x, y : Axis
    each : float64 array, shape (rows,)
        What is summed up; NaN: undefined, or of a backtest that takes no part.
    values : float64 array, shape (y.size, x.size)
        NaN where nothing is defined.
    """

    x: Axis
    y: Axis
    each: Any
    values: Any

    @property
    def best_row(self) -> int:
        """The row with the highest value."""
        return int(np.nanargmax(self.each))

    def best_row_at(self, x: float, y: float) -> int | None:
        """Return the row with the highest value in the cell at a position; None where that has no value."""
        inside = (self.x.cells == self.x.cell_at(x)) & (self.y.cells == self.y.cell_at(y)) & ~np.isnan(self.each)
        rows = np.flatnonzero(inside)
        return int(rows[self.each[rows].argmax()]) if len(rows) else None


def find_cells(rows: Any, x: str, y: str, column: str, how: str = "best", least_sessions: int = 0) -> Cells:
    """Sum up results over two of their columns.

    Parameters
    ----------
    rows : DataFrame, pyarrow.Table, or sequence of dict
    x, y, column : str
    how : str
        Of HOWS; best is the highest.
    least_sessions : int
        Backtests with fewer traded sessions take no part, nor do unresolved ones; 0: all do.

    Raises
    ------
    BadInput
        Columns that are not there or no numbers, one column twice, nothing defined.

    Examples
    --------
    >>> rows = [{"a": 1, "b": 1, "v": 3.0}, {"a": 1, "b": 1, "v": 5.0}, {"a": 2, "b": 1, "v": 4.0}]
    >>> find_cells(rows, "a", "b", "v", "mean").values.tolist()
    [[4.0, 4.0]]
    """
    if how not in HOWS:
        raise BadInput("how", f"{how!r} is unknown", f"give one of {', '.join(HOWS)}")
    if len({x, y, column}) < 3:
        raise BadInput("heatmap", f"{x!r}, {y!r} and {column!r} are not three columns", "give three different ones")
    frame = _frame(rows, (x, y, column))
    across, up = _axis(frame, x), _axis(frame, y)
    each = _values(frame, column, least_sessions)
    for axis in (across, up):
        if axis.fine and np.isnan(axis.values).any():  # no limit has no place on a scale
            each = np.where(np.isnan(axis.values), np.nan, each)
    reduce = _fine if across.fine or up.fine else _plain
    return Cells(across, up, each, reduce(across, up, each, how))


def _plain(x: Axis, y: Axis, each: Any, how: str) -> Any:
    """Return the value of each cell, by codes."""
    import pandas as pd

    at, cells = y.cells * x.size + x.cells, x.size * y.size
    there = ~np.isnan(each) & (x.cells >= 0) & (y.cells >= 0)
    if not there.all():
        at, each = at[there], each[there]
    found = np.full(cells, np.nan)
    if how == "best":
        highest = np.full(cells, -np.inf)
        np.maximum.at(highest, at, each)
        found = np.where(np.isneginf(highest), np.nan, highest)
    elif how == "mean":
        counts = np.bincount(at, minlength=cells)
        np.divide(np.bincount(at, each, minlength=cells), counts, out=found, where=counts > 0)
    else:
        medians = pd.Series(each).groupby(at).median()
        found[medians.index] = medians
    return found.reshape(y.size, x.size)


def _fine(x: Axis, y: Axis, each: Any, how: str) -> Any:
    """Return the value of each stretch of values, by datashader, which knows no median."""
    if how == "median":
        return _plain(x, y, each, how)
    import datashader
    import pandas as pd

    frame = pd.DataFrame({"x": x.positions, "y": y.positions, "each": each}, copy=False)
    canvas = datashader.Canvas(x.size, y.size, x_range=x.range, y_range=y.range)
    reduce = {"best": datashader.max, "mean": datashader.mean}[how]
    return canvas.points(frame, "x", "y", reduce("each")).to_numpy().astype(np.float64)


def _axis(frame: Any, name: str) -> Axis:
    import pyarrow as pa

    column = frame[name]
    numbers = column.dtype.kind in "iuf"
    if numbers and column.head(_LOOKED_AT).nunique() > MOST_VALUES:
        return Axis(name, column.to_numpy(np.float64), None)
    encoded = pa.array(column.to_numpy() if numbers else column.astype(str).to_numpy(object)).dictionary_encode()
    values = encoded.dictionary.to_numpy(zero_copy_only=False)
    if numbers and len(values) > MOST_VALUES:
        return Axis(name, column.to_numpy(np.float64), None)
    codes, order = encoded.indices.to_numpy(), np.argsort(values)  # NaN comes last
    if (np.diff(order) < 0).any():  # a grid's values come in their order
        codes = np.argsort(order).astype(np.int32)[codes]
    return Axis(name, values[order], codes)


def _values(frame: Any, column: str, least_sessions: int) -> Any:
    """Return the column as float64, NaN where a backtest takes no part."""
    if frame[column].dtype.kind not in "iuf":
        raise BadInput("heatmap", f"column {column!r} holds no numbers", "give a column of numbers")
    each = frame[column].to_numpy(np.float64)
    out = np.zeros(len(each), bool)
    if least_sessions and "sessions_traded" in frame:
        out |= frame["sessions_traded"].to_numpy() < least_sessions
    if least_sessions and "resolved" in frame:
        out |= frame["resolved"].to_numpy() == 0
    each = np.where(out, np.nan, each) if out.any() else each
    if np.isnan(each).all():
        wrong = f"no {column} is defined among resolved backtests with {least_sessions} traded sessions"
        raise BadInput("heatmap", wrong, "give other rows, or min_sessions=0 for all backtests")
    return each


def _frame(rows: Any, names: Sequence[str]) -> Any:
    """Return the named columns as a DataFrame, with those that say which backtests take part where there are any."""
    import pandas as pd
    import pyarrow as pa

    there = rows.column_names if isinstance(rows, pa.Table) else list(pd.DataFrame(rows[:1]).columns)
    for name in names:
        if name not in there:
            raise BadInput("heatmap", f"the rows have no column {name!r}", f"give one of {', '.join(map(str, there))}")
    wanted = [*names, *(name for name in ("sessions_traded", "resolved") if name in there and name not in names)]
    return rows.select(wanted).to_pandas() if isinstance(rows, pa.Table) else pd.DataFrame(rows, copy=False)[wanted]
