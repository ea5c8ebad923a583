"""What a run remembers of all its backtests, kept or not: counts, means, maxima and histograms by parameter.

A chunk makes a :class:`Tally`; its :class:`Summary` travels with the rows that are kept, and summaries merge in any
order to the same bits. By value of each parameter: how many backtests, mean, maximum and histogram of the return and
of the Sharpe ratio; by pair of values: the same without the histogram. A heatmap of a billion backtests needs no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_HISTOGRAMS = pa.schema(
    _KEYS | {"measure": pa.int8(), "lowest": pa.int16(), "counts": pa.list_(pa.field("item", pa.int64(), False))}
)


@dataclass(frozen=True)
class Summary:
    """Counted backtests of one input.

    Attributes
    ----------
    cells : pyarrow.Table
        ``axis`` (index into AXES), ``cell`` (flat index into the values of its parameters), and CELL.
    histograms : pyarrow.Table
        Of single parameters: ``axis, cell``, ``measure`` (index into MEASURES), ``lowest`` bucket with a backtest, and
        ``counts`` of it and of the buckets above, up to the highest with a backtest.
    """

    cells: pa.Table
    histograms: pa.Table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Summary) and self.cells == other.cells and self.histograms == other.histograms

    __hash__ = None  # type: ignore[assignment]


def write_summaries(summaries: Mapping[int, Summary], compression: str = "lz4") -> bytes:
    """Return the summaries of a run's inputs, by their index, as Arrow IPC streams one after the other.

    ``compression``: lz4 takes half the time of zstd, zstd half the room.
    """
    sink, options = pa.BufferOutputStream(), pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    for at, summary in summaries.items():
        for table in (summary.cells.replace_schema_metadata({"input": str(at)}), _narrow(summary.histograms)):
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
            cells, histograms = (pa.ipc.open_stream(buffer).read_all() for _ in range(2))
            if cells.schema != _CELLS or histograms.schema.names != _HISTOGRAMS.names:
                raise Corrupt("a summary", "its columns are others")
            at = int(cells.schema.metadata[b"input"])
            found[at] = Summary(cells.replace_schema_metadata(), histograms.cast(_HISTOGRAMS))
    except (pa.ArrowException, OSError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise Corrupt("a summary", str(error) or "nothing inside") from None
    return found


def merge(summaries: Iterable[Summary]) -> Summary:
    """Return the summary of all the backtests together, in the order of its cells."""
    found = list(summaries)
    return Summary(_add_cells([one.cells for one in found]), _add_histograms([one.histograms for one in found]))


def _add_cells(tables: list[pa.Table]) -> pa.Table:
    """Return one row for each cell: sums, and maxima of what is one."""
    together = pa.concat_tables([_CELLS.empty_table(), *tables])
    columns = [column.to_numpy() for column in together.columns]
    code = (columns[0].astype(np.int64) << 40) + columns[1]
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    added = [column[order[starts]] for column in columns[: len(_KEYS)]]
    for name, column in zip(_COUNTED, columns[len(_KEYS) :], strict=True):
        how = np.maximum if name.endswith("_max") else np.add
        added.append(how.reduceat(column[order], starts) if len(starts) else column)
    return pa.Table.from_arrays([pa.array(column) for column in added], schema=_CELLS)


def _add_histograms(tables: list[pa.Table]) -> pa.Table:
    """Return one histogram for each cell and measure."""
    added: dict[tuple[int, ...], tuple[int, Any]] = {}
    for key, lowest, counts in (one for table in tables for one in _histograms(table)):
        if key in added:
            low, known = added[key]
            first, last = min(low, lowest), max(low + len(known), lowest + len(counts))
            total = np.zeros(last - first, np.int64)
            total[low - first : low - first + len(known)] += known
            total[lowest - first : lowest - first + len(counts)] += counts
            added[key] = first, total
        else:
            added[key] = lowest, counts
    return _to_table([(*key, *added[key]) for key in sorted(added)])


def _narrow(histograms: pa.Table) -> pa.Table:
    """Return histograms with counts of two bytes where they fit, else of four or eight: most are small."""
    most = max((int(chunk.values.to_numpy().max(initial=0)) for chunk in histograms["counts"].chunks), default=0)
    kind = next(kind for kind in (pa.uint16(), pa.uint32(), pa.int64()) if most < 2 ** (kind.bit_width - 1))
    at = _HISTOGRAMS.get_field_index("counts")
    return histograms.cast(_HISTOGRAMS.set(at, pa.field("counts", pa.list_(pa.field("item", kind, False)))))


def _histograms(table: pa.Table) -> Iterator[tuple[tuple[int, ...], int, Any]]:
    """Yield (axis, cell, measure), lowest bucket and counts."""
    for batch in table.to_batches():
        counts, offsets = batch["counts"].values.to_numpy(), batch["counts"].offsets.to_numpy()
        columns = (batch[name].to_pylist() for name in _HISTOGRAMS.names[:4])
        for i, (axis, cell, measure, lowest) in enumerate(zip(*columns, strict=True)):
            yield (axis, cell, measure), lowest, counts[offsets[i] : offsets[i + 1]]


def _to_table(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Return histograms, as (axis, cell, measure, lowest, counts), as a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(_HISTOGRAMS)
    offsets = np.cumsum([0, *(len(counts) for counts in columns[-1])])
    counts = np.concatenate([np.zeros(0, np.int64), *columns[-1]])
    kinds = _HISTOGRAMS.types
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(counts), type=kinds[-1])
    plain = [pa.array(column, kind) for column, kind in zip(columns[:-1], kinds, strict=False)]
    return pa.Table.from_arrays([*plain, lists], schema=_HISTOGRAMS)


def check_summary(points: Points) -> ParameterGrid:
    """Return the grid of which a summary can be kept; refuse others."""
    if not isinstance(points, ParameterGrid):
        raise BadInput("summary", "a list of parameter sets has none", 'its rows are kept whole, keep="all"')
    sizes = [math.prod(points.shape[i] for i in axis) for axis in AXES]
    values, pairs = sum(sizes[:4]), sum(sizes[4:])
    if values > MOST_VALUES or pairs > MOST_PAIRS:
        wrong = f"{values:,} values of parameters with {pairs:,} pairs are more than {MOST_VALUES:,} or {MOST_PAIRS:,}"
        raise BadInput("summary", wrong, "give fewer values, or submit the grid in parts")
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
        filled = self._buckets > 0
        lowest, highest = filled.argmax(axis=2), filled.shape[2] - filled[:, :, ::-1].argmax(axis=2)
        histograms = [
            (axes[i], flat[i], m, lowest[i, m] - MOST_BUCKET, self._buckets[i, m, lowest[i, m] : highest[i, m]])
            for i, m in zip(*np.nonzero(filled.any(axis=2)), strict=True)
        ]
        counted = pa.Table.from_arrays([pa.array(column) for column in cells], schema=_CELLS)
        return Summary(counted, _to_table(histograms))


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
    import pandas as pd

    axis = axis_of([name])
    table = _of_axis(summary.histograms, axis)
    frame = _named(table, grid, axis)
    frame["measure"] = np.array(MEASURES)[table["measure"].to_numpy()]
    found = list(_histograms(table))
    sizes = [len(counts) for _, _, counts in found]
    rows = frame.loc[np.repeat(frame.index, sizes)].reset_index(drop=True)
    buckets = np.concatenate([np.zeros(0, int), *(lowest + np.arange(len(counts)) for _, lowest, counts in found)])
    rows["low"], rows["high"] = bounds_of(buckets.astype(int))
    rows["backtests"] = np.concatenate([np.zeros(0, np.int64), *(counts for _, _, counts in found)])
    shown: pd.DataFrame = rows[rows["backtests"] > 0]
    return shown.sort_values([name, "measure", "low"], ignore_index=True)


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
