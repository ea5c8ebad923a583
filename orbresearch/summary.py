"""What a run remembers of all its backtests, kept or not: counts, means, maxima and histograms by parameter.

A chunk makes a :class:`Tally`; its :class:`Summary` travels with the rows that are kept, and summaries merge in any
order to the same bits. By value of each parameter: how many backtests, mean, maximum and histogram of the return and
of the Sharpe ratio; by pair of values: the same without the histogram. A heatmap of a billion backtests needs no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from orbresearch.errors import BadInput, Corrupt
from orbresearch.grid import ParameterGrid, Points
from orbresearch.schema import CELL, CELL_STEPS, PARAMETERS

MOST_VALUES = 10_000  # of all parameters together: their histograms take 26 kB each while a chunk is counted
MOST_PAIRS = 4_000_000  # of their values: 48 bytes each
MEASURES = ("return", "sharpe")
#: What cells are counted by: positions in PARAMETERS.
AXES: tuple[tuple[int, ...], ...] = (*((i,) for i in range(4)), *combinations(range(4), 2))

_COUNTED: tuple[str, ...] = CELL.names or ()
_KEYS = {"axis": pa.int8(), "cell": pa.int64()}
_CELLS = pa.schema(_KEYS | {name: pa.from_numpy_dtype(CELL[name]) for name in _COUNTED})
_BUCKETS = pa.schema(_KEYS | {"measure": pa.int8(), "bucket": pa.int16(), "backtests": pa.int64()})


@dataclass(frozen=True)
class Summary:
    """Counted backtests of one input.

    Attributes
    ----------
    cells : pyarrow.Table
        ``axis`` (index into AXES), ``cell`` (flat index into the values of its parameters), and CELL.
    buckets : pyarrow.Table
        ``axis, cell, measure, bucket, backtests``: the histograms of single parameters.
    """

    cells: pa.Table
    buckets: pa.Table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Summary) and self.cells == other.cells and self.buckets == other.buckets

    __hash__ = None  # type: ignore[assignment]


def write_summaries(summaries: Mapping[int, Summary], compression: str = "lz4") -> bytes:
    """Return the summaries of a run's inputs, by their index, as Arrow IPC streams one after the other."""
    sink, options = pa.BufferOutputStream(), pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    for at, summary in summaries.items():
        for table in (summary.cells.replace_schema_metadata({"input": str(at)}), summary.buckets):
            with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
                writer.write_table(table)
    return bytes(sink.getvalue())


def read_summaries(payload: bytes) -> dict[int, Summary]:
    """Return what :func:`write_summaries` was given.

    Raises
    ------
    Corrupt
    """
    buffer, found = pa.BufferReader(payload), {}
    try:
        while buffer.tell() < buffer.size():
            cells, buckets = (pa.ipc.open_stream(buffer).read_all() for _ in range(2))
            if cells.schema != _CELLS or buckets.schema != _BUCKETS:
                raise Corrupt("a summary", "its columns are others")
            at = int(cells.schema.metadata[b"input"])
            found[at] = Summary(cells.replace_schema_metadata(), buckets)
    except (pa.ArrowException, OSError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise Corrupt("a summary", str(error) or "nothing inside") from None
    return found


def merge(summaries: Iterable[Summary]) -> Summary:
    """Return the summary of all the backtests together, in the order of its cells."""
    found = list(summaries)
    tables = [summary.cells for summary in found], [summary.buckets for summary in found]
    return Summary(_add_up(tables[0], _CELLS, 2), _add_up(tables[1], _BUCKETS, 4))


def _add_up(tables: list[pa.Table], shape: pa.Schema, keys: int) -> pa.Table:
    """Return one row for each combination of the first columns: sums of the others, maxima of what is one."""
    together = pa.concat_tables([shape.empty_table(), *tables])
    columns = [column.to_numpy() for column in together.columns]
    order, starts = _groups(columns[:keys])
    summed = [column[order[starts]] for column in columns[:keys]]
    for field, column in zip(list(shape)[keys:], columns[keys:], strict=True):
        how = np.maximum if field.name.endswith("_max") else np.add
        summed.append(how.reduceat(column[order], starts) if len(starts) else column)
    return pa.Table.from_arrays([pa.array(column) for column in summed], schema=shape)


def _groups(keys: list[Any]) -> tuple[Any, Any]:
    """Return an order in which equal keys lie together, ascending, and where in it each group begins."""
    code = np.zeros(len(keys[0]), np.int64)
    for key, bits in zip(keys, (4, 40, 1, 13), strict=False):
        code = (code << bits) + key  # a bucket below zero borrows from the measure: the order stays, none are equal
    order = np.argsort(code, kind="stable")
    ordered = code[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(code)])


def check_summary(points: Points) -> ParameterGrid:
    """Return the grid of which a summary can be kept; refuse others."""
    if not isinstance(points, ParameterGrid):
        raise BadInput("keep", "a list of parameter sets has no summary by parameter", 'keep="all" keeps its rows')
    sizes = [math.prod(points.shape[i] for i in axis) for axis in AXES]
    values, pairs = sum(sizes[:4]), sum(sizes[4:])
    if values > MOST_VALUES or pairs > MOST_PAIRS:
        wrong = f"{values:,} values of parameters with {pairs:,} pairs are more than {MOST_VALUES:,} or {MOST_PAIRS:,}"
        raise BadInput("keep", wrong, "give fewer values, or submit the grid in parts")
    return points


class Tally:
    """Counts the points of a stretch of a grid.

    Parameters
    ----------
    shape : tuple of int
        The grid's.
    first, last : int
        Half-open: the points that may be counted.
    """

    def __init__(self, shape: tuple[int, int, int, int], first: int, last: int) -> None:
        from orbresearch.kernels.summaries import MOST_BUCKET, clear

        block = math.prod(shape[1:])
        self._stop, stops = first // block, (last - 1) // block - first // block + 1
        self._shape, self._skip = (stops, *shape[1:]), self._stop * block
        self._sizes = [math.prod(self._shape[i] for i in axis) for axis in AXES]
        self._cells, self._some = np.zeros(sum(self._sizes), CELL), np.zeros(1, CELL)
        clear(self._cells)
        self._buckets = np.zeros((sum(self._shape), len(MEASURES), 2 * MOST_BUCKET + 1), np.int32)

    def add(self, point: int, returns: Any, sharpes: Any) -> None:
        """Count consecutive points from ``point`` on: float64 arrays, NaN where undefined."""
        from orbresearch.kernels.summaries import add_stretch

        add_stretch(self._shape, point - self._skip, returns, sharpes, self._cells, self._some, self._buckets)

    def summary(self) -> Summary:
        """Return what was counted."""
        from orbresearch.kernels.summaries import MOST_BUCKET

        axes = np.repeat(np.arange(len(AXES), dtype=np.int8), self._sizes)
        starts = np.cumsum([0, *self._sizes[:-1]])
        offsets = [
            self._stop * (size // self._shape[0]) * (0 in axis) for axis, size in zip(AXES, self._sizes, strict=True)
        ]
        flat = np.arange(len(axes)) - np.repeat(starts - offsets, self._sizes)
        seen = np.flatnonzero(self._cells["backtests"])
        cells = [axes[seen], flat[seen], *(np.ascontiguousarray(self._cells[name][seen]) for name in _COUNTED)]
        cell, measure, bucket = np.nonzero(self._buckets)
        counted = self._buckets[cell, measure, bucket].astype(np.int64)
        buckets = [axes[cell], flat[cell], measure.astype(np.int8), (bucket - MOST_BUCKET).astype(np.int16), counted]
        return Summary(
            pa.Table.from_arrays([pa.array(column) for column in cells], schema=_CELLS),
            pa.Table.from_arrays([pa.array(column) for column in buckets], schema=_BUCKETS),
        )


def bounds_of(buckets: Any) -> tuple[Any, Any]:
    """Return the least and the greatest value that buckets hold: float64 arrays."""
    size = np.abs(buckets).astype(np.int64)
    shift = np.maximum(0, size // 64 - 1)
    least = np.where(shift == 0, size, (size - 64 * shift) << shift)
    most = least + (1 << shift) - 1
    low, high = np.where(buckets < 0, -most, least), np.where(buckets < 0, -least, most)
    return low / CELL_STEPS, high / CELL_STEPS


def to_cells(summary: Summary, grid: ParameterGrid, names: Sequence[str]) -> Any:
    """Return a summary by one or two parameters as a DataFrame: see ``Run.summary``."""
    import pandas as pd

    axis = axis_of(names)
    rows = _of_axis(summary.cells, axis)
    frame = _named(rows, grid, axis)
    frame["backtests"] = rows["backtests"].to_numpy()
    frame["return_mean"] = rows["return_steps"].to_numpy() / rows["backtests"].to_numpy() / CELL_STEPS
    frame["return_max"] = rows["return_max"].to_numpy()
    sharpes = rows["sharpes"].to_numpy()
    defined = sharpes > 0
    frame["sharpes"] = sharpes
    frame["sharpe_mean"] = np.where(
        defined, rows["sharpe_steps"].to_numpy() / np.maximum(1, sharpes) / CELL_STEPS, np.nan
    )
    frame["sharpe_max"] = np.where(defined, rows["sharpe_max"].to_numpy(), np.nan)
    found: pd.DataFrame = frame
    return found[list(dict.fromkeys([*names, *frame.columns]))].sort_values(list(names), ignore_index=True)


def to_histogram(summary: Summary, grid: ParameterGrid, name: str) -> Any:
    """Return the histograms of one parameter as a DataFrame: see ``Run.histogram``."""
    axis = axis_of([name])
    rows = _of_axis(summary.buckets, axis)
    frame = _named(rows, grid, axis)
    frame["measure"] = np.array(MEASURES)[rows["measure"].to_numpy()]
    frame["low"], frame["high"] = bounds_of(rows["bucket"].to_numpy())
    frame["backtests"] = rows["backtests"].to_numpy()
    return frame.sort_values([name, "measure", "low"], ignore_index=True)


def axis_of(names: Sequence[str]) -> tuple[int, ...]:
    """Return the axis of one or two parameters, whichever is named first."""
    unknown = [name for name in names if name not in PARAMETERS]
    if unknown or len(names) not in (1, 2) or len(set(names)) != len(names):
        wrong = f"{', '.join(map(str, names)) or 'nothing'} is neither one parameter nor two"
        raise BadInput("summary", wrong, f"give one or two of {', '.join(PARAMETERS)}")
    return tuple(sorted(PARAMETERS.index(name) for name in names))


def _of_axis(table: pa.Table, axis: tuple[int, ...]) -> pa.Table:
    return table.filter(pa.compute.equal(table["axis"], AXES.index(axis)))


def _named(rows: pa.Table, grid: ParameterGrid, axis: tuple[int, ...]) -> Any:
    """Return a DataFrame with the values of the parameters that cells stand for; NaN for no limit."""
    import pandas as pd

    shape = tuple(grid.shape[i] for i in axis)
    places = np.unravel_index(rows["cell"].to_numpy(), shape)
    return pd.DataFrame({PARAMETERS[i]: grid.axis(PARAMETERS[i])[at] for i, at in zip(axis, places, strict=True)})
