"""Parameters and grids: the points at which a run computes backtests."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import MOST_DOLLARS, to_nanos
from orbresearch.schema import PARAMETERS

_INTEGERS = ("stop_count_limit", "stop_cooloff_period")
_RANGE = ("start", "stop", "step")


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

    Distances are in dollars, or in the units of the run's :class:`~orbresearch.Rules`.

    Parameters
    ----------
    stop_distance : float or iterable of float
        Distance at which a losing position is closed, above 0; from an anchor (``Rules.stop_anchor``) also 0.
    stop_count_limit : int or iterable of int
        Stops after which a day is over, 1 or more.
    stop_cooloff_period : int or iterable of int
        Seconds without a position after a stop, 0 or more (0 counts as 1).
    limit_distance : float, None or iterable of them
        Distance from the entry price at which a winning position is closed, above 0; None: no limit.

    Examples
    --------
    >>> grid = ParameterGrid(stop_distance=[.1, .2], stop_count_limit=1, stop_cooloff_period=30, limit_distance=[1, 2])
    >>> len(grid), next(iter(grid))
    (4, {'stop_distance': 0.1, 'stop_count_limit': 1, 'stop_cooloff_period': 30, 'limit_distance': 1.0})
    """

    stop_distance: tuple[float, ...]
    stop_count_limit: tuple[int, ...]
    stop_cooloff_period: tuple[int, ...]
    limit_distance: tuple[float | None, ...]

    def __init__(
        self,
        stop_distance: float | Iterable[float],
        stop_count_limit: int | Iterable[int],
        stop_cooloff_period: int | Iterable[int],
        limit_distance: float | Iterable[float | None] | None,
    ) -> None:
        given = stop_distance, stop_count_limit, stop_cooloff_period, limit_distance
        for name, values in zip(PARAMETERS, given, strict=True):
            object.__setattr__(self, name, _check(name, _values(name, values)))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """How many values each parameter has, in grid order."""
        stop, count, cooloff, limit = (len(getattr(self, name)) for name in PARAMETERS)
        return stop, count, cooloff, limit

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[dict[str, float | int | None]]:
        for values in product(*(getattr(self, name) for name in PARAMETERS)):
            yield dict(zip(PARAMETERS, values, strict=True))

    def points(self, start: int, stop: int) -> dict[str, Any]:
        """Return the parameters of points ``start`` to ``stop`` (half-open) as arrays, NaN for no limit."""
        return {name: self.axis(name)[at] for name, at in self.indices(start, stop).items()}

    def axis(self, name: str) -> Any:
        """Return a parameter's values in grid order as an array, NaN for no limit."""
        return _array(name, getattr(self, name))

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the different values of a parameter."""
        return tuple(dict.fromkeys(getattr(self, name)))

    def indices(self, start: int, stop: int) -> dict[str, Any]:
        """Return, of points ``start`` to ``stop`` (half-open), which value each parameter takes: int64 arrays."""
        return dict(zip(PARAMETERS, np.unravel_index(np.arange(start, stop), self.shape), strict=True))

    def document(self) -> dict[str, Any]:
        """Return the grid as plain JSON values; :func:`read_points` gives it back."""
        return {name: list(getattr(self, name)) for name in PARAMETERS}


class ParameterList:
    """Parameter sets one by one, in the order given, where they form no grid: an adaptive search, a list to look at.

    Parameters
    ----------
    frame : DataFrame
        Columns ``stop_distance, stop_count_limit, stop_cooloff_period, limit_distance``, as of
        :class:`ParameterGrid`; others are left aside, so that rows of results may be given. A missing
        ``limit_distance`` is no limit. Equal rows stay.

    Examples
    --------
    >>> import pandas as pd
    >>> sets = pd.DataFrame({"stop_distance": [.1, .25], "stop_count_limit": 1, "stop_cooloff_period": 30,
    ...                      "limit_distance": [1, None]})
    >>> len(ParameterList(sets))
    2
    """

    def __init__(self, frame: Any) -> None:
        missing = [name for name in PARAMETERS if name not in getattr(frame, "columns", ())]
        if missing:
            wrong = f"no column {', '.join(missing)}"
            raise BadInput("ParameterList", wrong, f"give a DataFrame with the columns {', '.join(PARAMETERS)}")
        twice = [name for name in PARAMETERS if list(frame.columns).count(name) > 1]
        if twice:
            raise BadInput("ParameterList", f"{', '.join(twice)} twice", "give each column once")
        columns = {name: frame[name].tolist() for name in PARAMETERS}
        columns["limit_distance"] = [None if _is_missing(value) else value for value in columns["limit_distance"]]
        if not len(frame):
            raise BadInput("ParameterList", "no rows", "give at least one parameter set")
        self._columns = {name: _check(name, values) for name, values in columns.items()}
        self._arrays = {name: _array(name, values) for name, values in self._columns.items()}

    def __len__(self) -> int:
        return len(self._columns["stop_distance"])

    def __repr__(self) -> str:
        return f"ParameterList({len(self):,} parameter sets)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParameterList) and self._columns == other._columns

    def __hash__(self) -> int:
        return hash(tuple(self._columns.values()))

    def __iter__(self) -> Iterator[dict[str, float | int | None]]:
        for values in zip(*self._columns.values(), strict=True):
            yield dict(zip(PARAMETERS, values, strict=True))

    def points(self, start: int, stop: int) -> dict[str, Any]:
        """Return the parameters of points ``start`` to ``stop`` (half-open) as arrays, NaN for no limit."""
        return {name: values[start:stop] for name, values in self._arrays.items()}

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the different values of a parameter."""
        return tuple(dict.fromkeys(self._columns[name]))

    def document(self) -> dict[str, Any]:
        """Return the list as plain JSON values; :func:`read_points` gives it back."""
        return {"list": {name: list(values) for name, values in self._columns.items()}}


Points = ParameterGrid | ParameterList


def read_points(document: dict[str, Any]) -> Points:
    """Return the grid or list that a document describes."""
    if "list" in document:
        import pandas as pd

        return ParameterList(pd.DataFrame(document["list"], dtype=object))
    return ParameterGrid(**document)


def read_grid(path: str | os.PathLike[str]) -> ParameterGrid:
    """Return the grid that a YAML file describes: each parameter by name.

    A parameter is a value, a list of values, or ``{start: , stop: , step: }``, half-open and exact as :func:`frange`;
    in a list of limits ``null`` is no limit::

        stop_distance: {start: .1, stop: 2, step: .1}
        stop_count_limit: [1, 2, 3]
        stop_cooloff_period: 60
        limit_distance: [1, 2.5, null]

    Parameters
    ----------
    path : path

    Raises
    ------
    BadInput
        No such file, no YAML, a parameter that is missing, unknown or there twice, a value that is none: by its name.
    """
    where, found = f"grid {Path(path).name}", _read_yaml(Path(path).expanduser())
    if not isinstance(found, dict):
        raise BadInput(where, "it names no parameters", f"give {', '.join(PARAMETERS)}, each with its values")
    unknown = [str(name) for name in found if name not in PARAMETERS]
    missing = [name for name in PARAMETERS if name not in found]
    if unknown or missing:
        wrong = f"{', '.join(unknown)} is no parameter" if unknown else f"no {', '.join(missing)}"
        raise BadInput(where, wrong, f"give each of {', '.join(PARAMETERS)}")
    try:
        return ParameterGrid(**{name: _given(name, value) for name, value in found.items()})
    except BadInput as error:
        raise BadInput(f"{where}, {error.what}", error.wrong, error.fix) from None


def _read_yaml(path: Path) -> Any:
    """Return what a YAML file says; refuse a key that stands there twice, of which YAML would drop one."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        marked, found = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        wrong = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise BadInput(f"grid {path.name}", wrong, "give a YAML file with a line for each parameter") from None
    keys = [key.value for key, _ in marked.value] if isinstance(marked, yaml.MappingNode) else []
    twice = [str(key) for at, key in enumerate(keys) if key in keys[:at]]
    if twice:
        raise BadInput(f"grid {path.name}", f"{twice[0]} stands there twice", "give all of its values once, in a list")
    return found


def _given(name: str, value: Any) -> Any:
    """Return a parameter's values as a file gives them: a mapping is a range."""
    if not isinstance(value, dict):
        return value
    if {*value} != {*_RANGE}:
        wrong = f"{{{', '.join(map(str, value))}}} is no range"
        raise BadInput(name, wrong, "give {start: , stop: , step: }, or a list of values")
    try:
        return frange(*(value[key] for key in _RANGE))
    except BadInput as error:
        raise BadInput(name, error.wrong, error.fix) from None


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
    return values


def _array(name: str, values: tuple[Any, ...]) -> Any:
    """Return a parameter's values as int64 or float64, NaN for None."""
    return np.array(values, np.int64) if name in _INTEGERS else np.array(values, np.float64)


def _check(name: str, values: list[Any]) -> tuple[Any, ...]:
    """Return a parameter's values as plain numbers; refuse what is none, by name and value."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if name in _INTEGERS:
        least = 1 if name == "stop_count_limit" else 0
        return tuple(_count(name, value, least) for value in plain)
    return tuple(None if value is None and name == "limit_distance" else _distance(name, value) for value in plain)


def _is_missing(value: object) -> bool:
    return value is None or type(value).__name__ == "NAType" or value != value


def _distance(name: str, value: Any) -> float:
    least = "above 0" if name == "limit_distance" else "0 or more"
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not number or value != value or not abs(value) < MOST_DOLLARS:
        hint = " (None for no limit)" if name == "limit_distance" else ""
        raise BadInput(name, f"{value!r} is no distance", f"give a number {least}{hint}")
    if value < 0 or (to_nanos(float(value)) == 0 and (value != 0 or name == "limit_distance")):
        raise BadInput(name, f"{value!r} is not {least}", f"give a number {least}, not finer than 1e-9")
    return round(float(value), 9) + 0.0  # the integer that the parameter is: 0.1 + 0.2 is 0.3; no negative zero


def _count(name: str, value: Any, least: int) -> int:
    number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    number = number and not isinstance(value, bool)
    whole = int(value) if number else None
    if whole is None or whole != value:
        raise BadInput(name, f"{value!r} is no whole number", f"give whole numbers of {least} or more")
    if not least <= whole <= 2**31 - 1:
        raise BadInput(name, f"{value!r} is not from {least} to 2147483647", f"give {least} or more")
    return whole
