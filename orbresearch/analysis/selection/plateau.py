"""How a point's neighbours in the grid fare: what works should work nearby too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from orbresearch.errors import BadInput


@dataclass(frozen=True, eq=False)
class Plateau:
    """Points and their neighbours, flat arrays in the order of the grid; NaN where the point itself has no value.

    Parameters
    ----------
    score : float64 array
        Mean over a point and its neighbours.
    share_of_peak : float64 array
        ``score`` divided by the point's own value; NaN unless that is above 0.
    profitable : float64 array
        Share of the neighbours whose value is above 0; NaN without neighbours.
    worst : float64 array
        The lowest of the neighbours; NaN without neighbours.
    neighbours : int64 array
        How many have a value.
    """

    score: Any
    share_of_peak: Any
    profitable: Any
    worst: Any
    neighbours: Any


def plateau(values: Any, shape: Sequence[int], radius: int | Sequence[int] = 1) -> Plateau:
    """Return how each point's neighbourhood fares.

    Parameters
    ----------
    values : float array of prod(shape) numbers
        One per point, the last parameter fastest: a Sharpe ratio or a profit. NaN has no value and counts nowhere.
    shape : sequence of int
        Values of each parameter.
    radius : int or sequence of int
        Neighbours are up to so many steps away in every parameter, corners included; where the grid ends there are
        fewer. One number per parameter: 0 for one whose values have no order.

    Examples
    --------
    >>> found = plateau([1.0, 3.0, -1.0, np.nan], shape=(2, 2))
    >>> found.score.tolist(), found.worst.tolist()
    ([1.0, 1.0, 1.0, nan], [-1.0, -1.0, 1.0, nan])
    """
    shape = tuple(shape)
    reach = np.broadcast_to(radius, len(shape)) if np.ndim(radius) == 0 or len(shape) == np.size(radius) else None
    if np.size(values) != np.prod(shape) or reach is None or (reach < 0).any():
        wrong = f"{np.size(values)} values, shape {shape}, radius {radius}"
        raise BadInput("plateau", wrong, "give a value per point, and radii of 0 or more, one or one per parameter")
    grid = np.asarray(values, np.float64).reshape(shape)
    known = ~np.isnan(grid)
    count, positive = (_add_boxes(each.astype(np.float64), reach) for each in (known, grid > 0))
    others = count - known
    with np.errstate(divide="ignore", invalid="ignore"):
        score = _add_boxes(np.where(known, grid, 0.0), reach) / count
        profitable = (positive - (grid > 0)) / others
        share = np.where(grid > 0, score / grid, np.nan)
    worst = _worst(grid, known, reach)
    score, share, profitable, worst = (
        np.where(known, each, np.nan).ravel() for each in (score, share, profitable, worst)
    )
    return Plateau(score, share, profitable, worst, others.astype(np.int64).ravel())


def _add_boxes(grid: Any, reach: Any) -> Any:
    """Return sums over boxes, axis by axis; a running sum would carry what large values leave behind."""
    from scipy.ndimage import correlate1d

    axes = enumerate(2 * reach + 1)
    return reduce(lambda sums, axis: correlate1d(sums, np.ones(axis[1]), axis[0], mode="constant"), axes, grid)


def _worst(grid: Any, known: Any, reach: Any) -> Any:
    from scipy.ndimage import minimum_filter

    others = np.ones(2 * reach + 1, bool)
    others[tuple(reach)] = False
    if not others.any():
        return np.full(grid.shape, np.nan)
    lowest = minimum_filter(np.where(known, grid, np.inf), footprint=others, mode="constant", cval=np.inf)
    return np.where(np.isposinf(lowest), np.nan, lowest)
