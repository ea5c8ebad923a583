"""Two columns of a run's results for any third: a heat map, its best cell marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orbresearch.analysis.pictures.cells import Axis, Cells, find_cells
from orbresearch.analysis.pictures.picture import HEAT, PALE, SHARED, VERMILION, Picture, hover, load, number
from orbresearch.analysis.pictures.words import label, words
from orbresearch.schema import MIN_SESSIONS

MOST_TICKS = 20
MOST_LETTERS = 80  # of the names along the x axis: more are turned


def heatmap(
    rows: Any,
    x: str,
    y: str,
    column: str = "sharpe_ratio",
    how: str = "best",
    *,
    min_sessions: int = MIN_SESSIONS,
    units: Mapping[str, str] | None = None,
    title: str = "",
) -> Picture:
    """Return how a column of results differs along two others, over all values of the rest.

    A cell without a value is grey. An axis of more than 200 numbers is a scale, divided into 200 stretches.

    Parameters
    ----------
    rows : DataFrame, pyarrow.Table, or sequence of dict
        Of ``run.results()`` or ``run_grid`` (columns of schema.RESULTS), or of ``run.summary([x, y])``.
    x, y : str
        Usually two of the parameters.
    column : str
        Any column of numbers.
    how : str
        What a cell shows of its backtests: ``best`` (the highest), ``mean`` or ``median``.
    min_sessions : int
        Backtests with fewer traded sessions take no part, nor do unresolved ones, as nowhere where the best are
        named; 0: all do.
    units : mapping of str, optional
        Of columns, where rules gave distances another than dollars.
    title : str
        What goes before the picture's own: dates, costs.

    Raises
    ------
    BadInput
        Columns that are not there or no numbers, one column twice, nothing defined.

    Examples
    --------
    >>> from orbresearch import ParameterGrid, run_grid, synthetic_sessions
    >>> rows = run_grid(synthetic_sessions(40), ParameterGrid([.5, 1], 2, 60, [1, 2, None]))
    >>> heatmap(rows, "stop_distance", "limit_distance")
    Picture(best sharpe_ratio by stop_distance and limit_distance, 6 backtests); .save(path) writes it as HTML
    """
    cells = find_cells(rows, x, y, column, how, min_sessions)
    named = heat_title(cells, column, how, title)
    return Picture(draw_cells(cells, column, named, units), named)


def heat_title(cells: Cells, column: str, how: str, before: str = "") -> str:
    """Return what a heat map is called, and how many backtests take part."""
    part = len(cells.each) - int(np.isnan(cells.each).sum())
    count = f"{part:,} backtests" if part == len(cells.each) else f"{part:,} of {len(cells.each):,} backtests"
    own = f"{how} {column} by {cells.x.name} and {cells.y.name}, {count}"
    undefined = "; grey: no value" if np.isnan(cells.values).any() else ""
    up, across = _highest(cells)
    at = ((cells.x, cells.x.centres[across]), (cells.y, cells.y.centres[up]))
    where = ", ".join(f"{axis.name} {_word(axis, position)}" for axis, position in at)
    own += f"\nhighest (star): {number(float(cells.values[up, across]))} at {where}{undefined}"
    return f"{before}\n{own}" if before else own


def draw_cells(cells: Cells, column: str, title: str, units: Mapping[str, str] | None = None) -> Any:
    """Return the overlay: what lies under the pointer first, then the mark of the best."""
    hv = load()
    heat = _image(hv, cells, column) if cells.x.fine or cells.y.fine else _rectangles(hv, cells, column)
    bar = {"colorbar": True, "clabel": label(column, units), "colorbar_opts": {"width": 14}}
    heat = heat.opts(cmap=HEAT, **bar, clipping_colors={"NaN": PALE}, bgcolor=PALE)
    across, up = _ticks(cells.x), _ticks(cells.y)
    named = {name: ticks for name, ticks in (("xticks", across), ("yticks", up)) if ticks}
    labels = {"xlabel": label(cells.x.name, units), "ylabel": label(cells.y.name, units), "title": title}
    crowded = sum(len(word) for _, word in across) > MOST_LETTERS
    style = {**SHARED, "show_grid": False, "height": 480, "xlim": cells.x.range, "ylim": cells.y.range}
    return (heat * mark_best(hv, cells)).opts(**style, **labels, **named, xrotation=45 if crowded else 0)


def mark_best(hv: Any, cells: Cells) -> Any:
    """Return a star on the cell with the highest value."""
    up, across = _highest(cells)
    found = hv.Points([(float(cells.x.centres[across]), float(cells.y.centres[up]))], ["x", "y"])
    return found.opts(marker="star", size=22, color=VERMILION, line_color="white", line_width=1.5)


def _highest(cells: Cells) -> tuple[int, int]:
    up, across = np.unravel_index(np.nanargmax(cells.values), cells.values.shape)
    return int(up), int(across)


def _rectangles(hv: Any, cells: Cells, column: str) -> Any:
    """Return one rectangle a cell, each of which knows its values as words."""
    x, y = np.meshgrid(cells.x.centres, cells.y.centres)
    across, up = np.meshgrid(_words(cells.x), _words(cells.y))
    sides = {"x": x - 0.5, "y": y - 0.5, "x_end": x + 0.5, "y_end": y + 0.5}
    table = {name: side.ravel() for name, side in sides.items()}
    table |= {"value": cells.values.ravel(), "across": across.ravel(), "up": up.ravel()}
    tools = [hover((cells.x.name, "@across"), (cells.y.name, "@up"), (column, "@value{0,0.0000}"))]
    found = hv.Rectangles(table, list(sides), ["value", "across", "up"])
    return found.opts(color="value", line_color=None, line_alpha=0, tools=tools)


def _image(hv: Any, cells: Cells, column: str) -> Any:
    """Return the cells as pixels."""
    bounds = cells.x.range[0], cells.y.range[0], cells.x.range[1], cells.y.range[1]
    tools = [hover((cells.x.name, "$x{0,0.0000}"), (cells.y.name, "$y{0,0.0000}"), (column, "@image{0,0.0000}"))]
    return hv.Image(cells.values[::-1], ["x", "y"], "value", bounds=bounds).opts(tools=tools)


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return which cells of an axis are named, at most MOST_TICKS; none of a scale."""
    if axis.fine:
        return []
    every = list(zip(axis.centres.tolist(), _words(axis), strict=True))
    found = every[:: -(-axis.size // MOST_TICKS)]
    if axis.values[-1] != axis.values[-1]:  # no limit is no number that one could guess from its neighbours
        found[-1] = every[-1]
    return found


def _words(axis: Axis) -> list[str]:
    return words(axis.name, axis.values.tolist())


def _word(axis: Axis, position: float) -> str:
    return f"about {number(position)}" if axis.fine else _words(axis)[int(axis.cell_at(position))]
