"""What axes say: the columns' own names with their units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orbresearch.analysis.pictures.picture import number

UNITS = {
    "range_duration": "s",
    "stop_distance": "$",
    "stop_count_limit": "stops a day",
    "stop_cooloff_period": "s",
    "limit_distance": "$",
    "backtest_profit": "$ per share",
    "backtest_return": "sum of daily returns",
    "average_holding_period": "s",
    "win_rate_percent": "% of traded sessions",
    "win_rate": "of trades",
    "gross_profit": "$ per share",
    "gross_loss": "$ per share",
    "expectancy": "$ per trade",
    "break_even_cost": "$ per share and fill",
    "sharpe_ratio": "annual",
    "sortino_ratio": "annual",
    "max_drawdown": "sum of returns",
}
MISSING = {"limit_distance": "no limit"}


def label(name: str, units: Mapping[str, str] | None = None) -> str:
    """Return a column's name with its unit.

    Examples
    --------
    >>> label("stop_distance"), label("stop_distance", {"stop_distance": "atr"}), label("trades")
    ('stop_distance, $', 'stop_distance, atr', 'trades')
    """
    unit = {**UNITS, **(units or {})}.get(name, "")
    return f"{name}, {unit}" if unit else name


def words(name: str, values: Any) -> list[str]:
    """Return an axis' values as text.

    Examples
    --------
    >>> words("limit_distance", [0.5, 2.0, float("nan")])
    ['0.5', '2', 'no limit']
    """
    return [
        one if isinstance(one, str) else MISSING.get(name, "none") if one != one else number(float(one))
        for one in values
    ]


def units_of(rules: Any) -> dict[str, str]:
    """Return the units of the distances under a run's rules.

    Examples
    --------
    >>> from orbresearch import Rules
    >>> units_of(Rules(stop_unit="percent", limit_unit="R"))
    {'stop_distance': '%', 'limit_distance': 'R'}
    """
    shown = {"dollars": "$", "percent": "%"}
    return {f"{name}_distance": shown.get(unit, unit) for name, unit in _distances(rules)}


def _distances(rules: Any) -> list[tuple[str, str]]:
    return [("stop", rules.stop_unit), ("limit", rules.limit_unit)]
