"""Heat maps of a million backtests against painting the same points with datashader. CPU time of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import datashader
import holoviews as hv
import numpy as np
from datashader.transfer_functions import shade
from holoviews.operation.datashader import rasterize

import orbresearch as orb
from orbresearch.analysis.pictures import heatmap
from tests.benchmarks.market import DURATION, market, nested_grid
from tests.benchmarks.measure import Effort, Line, alternate, cpu

MILLION = 1_000_000
X, Y, COLUMN = "stop_distance", "limit_distance", "sharpe_ratio"
REDUCTIONS = {"best": datashader.max, "mean": datashader.mean}
MOST = 3  # times datashading: the target


def heatmaps(effort: Effort) -> Iterator[Line]:
    """Compare heat maps with datashader's image of its usual 600 x 600 pixels, and both as figures for the browser."""
    rows = orb.run_grid(market(), nested_grid(MILLION), DURATION)
    for how in REDUCTIONS:
        yield compare(f"heatmap / datashader: a million points, {how}", rows, how, effort, MOST)
    yield compare("heatmap / datashader: a million points, median (against the mean)", rows, "median", effort)
    yield compare("heatmap / datashader: a million points on two scales, best", scattered(rows), "best", effort, MOST)
    yield compare_figures("as bokeh's figure / the same of holoviews' rasterize: a million points", rows, effort)


def compare(name: str, rows: Any, how: str, effort: Effort, most: float | None = None) -> Line:
    """Time a picture against datashader's image of the same rows, in turn; both have been made before."""
    reduction = REDUCTIONS.get(how, datashader.mean)
    return ratio(name, lambda: heatmap(rows, X, Y, COLUMN, how), lambda: shade(paint(rows, reduction)), effort, most)


def compare_figures(name: str, rows: Any, effort: Effort) -> Line:
    """Time what a browser gets: our picture, and a raster that HoloViews makes of the same rows."""
    renderer = hv.renderer("bokeh")

    def raster() -> object:
        points = hv.Points(rows, [X, Y], [COLUMN])
        drawn = rasterize(points, aggregator=datashader.max(COLUMN), dynamic=False, width=600, height=600)
        return renderer.get_plot(drawn.opts(colorbar=True, tools=["hover"])).state

    return ratio(name, lambda: renderer.get_plot(heatmap(rows, X, Y, COLUMN).plot).state, raster, effort, MOST)


def ratio(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], effort: Effort, most: float | None
) -> Line:
    """Return how many times as long ours takes."""
    ours(), theirs()
    found = alternate(effort.pairs, lambda: cpu(ours), lambda: cpu(theirs))
    millis = [float(np.median([pair[i] for pair in found])) * 1e3 for i in (0, 1)]
    note = f"{millis[0]:.0f} and {millis[1]:.0f} ms"
    return Line(name, [one / other for one, other in found], "x", most=most, note=note)


def paint(rows: Any, reduction: Any) -> Any:
    """Return datashader's grid of pixels."""
    return datashader.Canvas().points(rows, X, Y, reduction(COLUMN))


def scattered(rows: Any) -> Any:
    """Return the rows with parameters that no two of them share."""
    rng = np.random.default_rng(1)
    return rows.assign(**{name: rows[name] + rng.uniform(0, 1e-3, len(rows)) for name in (X, Y)})
