"""Parameters and grids: the points at which a run computes backtests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

import numpy as np

from orbresearch.errors import BadInput, NotBuilt
from orbresearch.rules import MOST_DOLLARS, to_nanos
from orbresearch.schema import PARAMETERS


def frange(start: float, stop: float, step: float) -> tuple[float, ...]:
    """Return start, start + step, … below ``stop``, exact in decimal.

    Parameters
    ----------
    start, stop, step : float
        As written: ``.1`` is one tenth. Half-open like ``range``; ``step`` above 0.

    Examples
    --------
    >>> frange(.1, .4, .1)
    (0.1, 0.2, 0.3)
    """
    try:
        first, end, by = (Decimal(str(value)) for value in (start, stop, step))
    except InvalidOperation:
        first = end = by = Decimal("NaN")
    if not (first.is_finite() and end.is_finite() and by.is_finite()) or by <= 0:
        raise BadInput("frange", f"({start}, {stop}, {step}) is no range", "give finite numbers and a step above 0")
    count = max(0, math.ceil((end - first) / by))
    return tuple(float(first + by * i) for i in range(count))


@dataclass(frozen=True, init=False)
class ParameterGrid:
    """Every combination of four parameters, the last one fastest.

    Parameters
    ----------
    stop_distance : float or iterable of float
        Dollars from the entry price at which a losing position is closed, above 0.
    stop_count_limit : int or iterable of int
        Stops after which a day is over, 1 or more.
    stop_cooloff_period : int or iterable of int
        Seconds without a position after a stop, 0 or more (0 counts as 1).
    limit_distance : float or iterable of float
        Dollars from the entry price at which a winning position is closed, above 0.

    Examples
    --------
    >>> grid = ParameterGrid(stop_distance=[.1, .2], stop_count_limit=1, stop_cooloff_period=30, limit_distance=[1, 2])
    >>> len(grid), next(iter(grid))
    (4, {'stop_distance': 0.1, 'stop_count_limit': 1, 'stop_cooloff_period': 30, 'limit_distance': 1.0})
    """

    stop_distance: tuple[float, ...]
    stop_count_limit: tuple[int, ...]
    stop_cooloff_period: tuple[int, ...]
    limit_distance: tuple[float, ...]

    def __init__(
        self,
        stop_distance: float | Iterable[float],
        stop_count_limit: int | Iterable[int],
        stop_cooloff_period: int | Iterable[int],
        limit_distance: float | Iterable[float],
    ) -> None:
        object.__setattr__(self, "stop_distance", _distances("stop_distance", stop_distance))
        object.__setattr__(self, "stop_count_limit", _counts("stop_count_limit", stop_count_limit, least=1))
        object.__setattr__(self, "stop_cooloff_period", _counts("stop_cooloff_period", stop_cooloff_period, least=0))
        object.__setattr__(self, "limit_distance", _distances("limit_distance", limit_distance))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """How many values each parameter has, in grid order."""
        stop, count, cooloff, limit = (len(getattr(self, name)) for name in PARAMETERS)
        return stop, count, cooloff, limit

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[dict[str, float | int]]:
        for values in product(*(getattr(self, name) for name in PARAMETERS)):
            yield dict(zip(PARAMETERS, values, strict=True))

    def points(self, start: int, stop: int) -> dict[str, Any]:
        """Return the parameters of points ``start`` to ``stop`` (half-open) as arrays, one per parameter."""
        return {name: np.asarray(getattr(self, name))[at] for name, at in self.indices(start, stop).items()}

    def indices(self, start: int, stop: int) -> dict[str, Any]:
        """Return, of points ``start`` to ``stop`` (half-open), which value each parameter takes: int64 arrays."""
        return dict(zip(PARAMETERS, np.unravel_index(np.arange(start, stop), self.shape), strict=True))

    def document(self) -> dict[str, list[float] | list[int]]:
        """Return the grid as plain JSON values; ``ParameterGrid(**document)`` gives it back."""
        return {name: list(getattr(self, name)) for name in PARAMETERS}


def seed_grid() -> ParameterGrid:
    """Return the grid of the main job: 19 stops × 3 stop counts × 9 cool-offs × 19 limits = 9,747 backtests."""
    return ParameterGrid(
        stop_distance=frange(0.1, 2, 0.1),
        stop_count_limit=[1, 2, 3],
        stop_cooloff_period=range(30, 300, 30),
        limit_distance=range(1, 20),
    )


def _values(name: str, given: object) -> list[Any]:
    """Return a parameter's values as a list: a single value counts as one."""
    values = list(given) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else [given]
    if not values:
        raise BadInput(name, "an empty list", "give at least one value")
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    if name == "limit_distance" and any(value is None for value in values):
        fix = "this version computes backtests with a limit only; give dollars above 0"
        raise NotBuilt(name, "None (no limit) is not built yet", fix)
    return values


def _distances(name: str, given: object) -> tuple[float, ...]:
    found = []
    for value in _values(name, given):
        number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
        if not number or value != value or not abs(value) < MOST_DOLLARS:
            raise BadInput(name, f"{value!r} is no number of dollars", "give dollars above 0")
        if to_nanos(float(value)) <= 0:
            raise BadInput(name, f"{value!r} is not above 0", "give dollars above 0")
        found.append(round(float(value), 9))  # the integer that the parameter is: 0.1 + 0.2 is 0.3
    return tuple(found)


def _counts(name: str, given: object, least: int) -> tuple[int, ...]:
    found = []
    for value in _values(name, given):
        number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        number = number and not isinstance(value, bool)
        whole = int(value) if number else None
        if whole is None or whole != value:
            raise BadInput(name, f"{value!r} is no whole number", f"give whole numbers of {least} or more")
        if not least <= whole <= 2**31 - 1:
            raise BadInput(name, f"{value!r} is not from {least} to 2147483647", f"give {least} or more")
        found.append(whole)
    return tuple(found)
