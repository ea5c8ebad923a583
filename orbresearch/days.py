"""A ticker's sessions under a run's rules: strategy.md, "Rules", as per-session numbers for the kernels.

Whatever the rules say about a day is decided here, once, before any backtest: which sessions take part, at what prices
a position opens, until when, what a stop and a limit of 1 mean. A feature is, like a parameter, a whole number of 1e-9
dollars; a distance is the exact integer ceiling of parameter times unit.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import gcd
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.rules import NANOS, Rules, to_nanos
from orbresearch.schema import DAYS, NEVER, RANGES, TICKS
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.features import (
    HISTORY,
    KNOWN_AFTER_CLOSE,
    PRICE_VALUED,
    RANGE_FEATURES,
    SESSION_FEATURES,
    feature_column,
)
from orbresearch.sessions.ranges import find_ranges
from orbresearch.sessions.series import Series

UNIT = 100 * NANOS  # 1e-11 dollars: a hundredth of a price in 1e-9, so that a percent is whole
_NOT_DISTANCES = {*SESSION_FEATURES, *RANGE_FEATURES} - {*PRICE_VALUED}
_MOST_UNIT = 1e7  # dollars that a distance of 1 may mean
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda column, values: np.isin(column, values),
    "not in": lambda column, values: ~np.isin(column, values),
}


@dataclass(frozen=True, eq=False)
class Days:
    """The sessions of one ticker and range duration under a run's rules.

    Parameters
    ----------
    series : Series
        The ticks that the days point into: those of the sessions, cut where the rules have an ``exit_time``.
    table : DAYS array, shape (T,)
        Tradable sessions in date order.
    untradable : dict of str
        Session date -> why it is not in T.
    flat : bool array, shape (T,)
        Whether a day is one of T that the rules do not select by a feature.
    """

    series: Series
    table: Any
    untradable: dict[str, str]
    flat: Any


def find_days(sessions: Sessions, duration: int, rules: Rules, pooled: bool = False) -> Days:
    """Apply rules to the sessions of one ticker.

    Parameters
    ----------
    sessions : Sessions
    duration : int
        Seconds of the opening range.
    rules : Rules
        Resolved.
    pooled : bool
        Whether other tickers may be selected where this one is not: none of its own days need be.

    Raises
    ------
    BadInput
        Rules that do not fit the sessions: seconds that are no whole bars or lie before the range's end, a column that
        is unknown, known only after the close, or no distance.
    """
    check_seconds(sessions, duration, rules)
    ranges = find_ranges(sessions, duration)
    untradable, series = dict(ranges.untradable), sessions.series
    table = np.zeros(len(ranges.table), DAYS)
    for name in RANGES.names or ():
        table[name] = ranges.table[name]
    series = _end_days(sessions.series, table, rules)
    _fill_edges(sessions, duration, rules, table)
    flat, gone = _selected(sessions, duration, rules, table)
    gone = _missing(sessions, duration, rules, table) | gone
    if rules.exit_time is not None:
        late = table["trading_start"] >= rules.exit_time
        gone |= dict.fromkeys(np.flatnonzero(late), f"trading would start at or after exit_time {rules.exit_time}")
    table["up"][flat], table["down"][flat], table["direction"][flat] = NEVER, -NEVER, 0
    out = sorted(gone)
    if not pooled and len(gone) < len(table) and np.delete(flat, out).all():
        wrong = f"{rules.select} holds on none of {sessions.ticker}'s {len(table) - len(gone)} tradable sessions"
        raise BadInput("select", wrong, "give conditions that some session meets")
    for i, reason in gone.items():
        untradable[str(series.labels[table["session"][i]])] = reason
    return Days(series, np.delete(table, out), dict(sorted(untradable.items())), np.delete(flat, out))


def check_seconds(sessions: Sessions, duration: int, rules: Rules) -> None:
    """Refuse a cut-off or an exit before the range ends, after every close, or inside a bar."""
    longest = int((sessions.schedule.closes - sessions.schedule.opens).max())
    for name in ("entry_cutoff", "exit_time"):
        second = getattr(rules, name)
        if second is None:
            continue
        if sessions.bar_seconds and second % sessions.bar_seconds:
            wrong = f"{second} s is no whole number of {sessions.ticker}'s {sessions.bar_seconds} s bars"
            raise BadInput(name, wrong, f"give a multiple of {sessions.bar_seconds}")
        if second <= duration:
            wrong = f"second {second} is not after the range's end at {duration}"
            raise BadInput(name, wrong, f"give more than {duration}, or a shorter range")
        if second > longest:
            wrong = f"second {second} is after every close: the longest session has {longest} s"
            raise BadInput(name, wrong, "count seconds from the session's open")


def _end_days(series: Series, table: Any, rules: Rules) -> Series:
    """Return the series that ends at the rules' exit, and point the table's ticks into it."""
    if rules.exit_time is None:
        return series
    cut, at = cut_series(series, rules.exit_time), table["session"]
    table["last_tick"] = cut.pointers[at + 1] - 1
    moved = table["first_tick"] - series.pointers[at] + cut.pointers[at]
    table["first_tick"] = np.minimum(moved, table["last_tick"])
    return cut


def cut_series(series: Series, second: int) -> Series:
    """Return a series without what comes after a second of each session.

    Where there was anything, the session's last tick is at that second, at the price then standing.
    """
    from orbresearch.kernels.compress import cut_session

    columns = {name: np.empty(series.pointers[-1] + len(series), kind) for name, kind in TICKS.items()}
    pointers = np.zeros(len(series) + 1, np.int64)
    for i in range(len(series)):
        at = slice(series.pointers[i], series.pointers[i + 1])
        given = [column[at] for column in series.columns.values()]
        count = cut_session(*given, second, *(columns[name][pointers[i] :] for name in TICKS))
        pointers[i + 1] = pointers[i] + count
    columns = {name: column[: pointers[-1]].copy() for name, column in columns.items()}
    return replace(series, columns=columns, pointers=pointers)


def _fill_edges(sessions: Sessions, duration: int, rules: Rules, table: Any) -> None:
    """Fill what the rules make of each day's range: prices of entries, anchors, units, the base of returns."""
    nanos = sessions.increment_nanos
    high, low = table["high"].astype(np.int64), table["low"].astype(np.int64)
    tick = max(1, -(-to_nanos(rules.tick_size) // nanos))
    given = sessions, duration, table
    units = _units(*given, "buffer_unit", rules.buffer_unit)
    try:
        buffers = find_distances((rules.entry_buffer,), units, nanos, least=0)[:, :, 0].T
    except OverflowError:
        buffers = np.array([[NEVER], [NEVER]])
    if max(int(buffers.max(initial=0)), tick) > np.iinfo(np.int32).max:
        name = "tick_size" if tick > buffers.max(initial=0) else "entry_buffer"
        wrong = f"{getattr(rules, name):g} is beyond int32 increments of {nanos / NANOS:g}"
        raise BadInput(name, wrong, "give a smaller one")
    long_buffer, short_buffer = buffers
    reach = tick if rules.fill == "level" else 1
    table["up"], table["down"] = high + long_buffer + reach, low - short_buffer - reach
    table["long_anchor"], table["short_anchor"] = low, high
    if rules.stop_anchor == "opposite_entry":
        table["long_anchor"], table["short_anchor"] = low - short_buffer - tick, high + long_buffer + tick
    direction = np.sign(table["close_price"].astype(np.int64) - table["open_price"])
    table["direction"] = direction
    sides = {"long": (True, False), "short": (False, True), "opening_bar": (direction > 0, direction < 0)}
    longs, shorts = sides.get(rules.side, (True, True))
    table["up"], table["down"] = np.where(longs, table["up"], NEVER), np.where(shorts, table["down"], -NEVER)
    table["cutoff"] = NEVER if rules.entry_cutoff is None else rules.entry_cutoff
    table["long_stop"], table["short_stop"] = _units(*given, "stop_unit", rules.stop_unit)
    limit_unit = "dollars" if rules.limit_unit == "R" else rules.limit_unit
    table["long_limit"], table["short_limit"] = _units(*given, "limit_unit", limit_unit)
    table["base"] = table["first_price"] if rules.measure == "return" else 1  # see inputs.return_units


def _units(sessions: Sessions, duration: int, table: Any, rule: str, unit: str) -> tuple[Any, Any]:
    """Return what a distance of 1 means for a day's longs and its shorts: int64, 1e-11 dollars; 0 where missing."""
    if unit == "dollars":
        whole = np.full(len(table), UNIT)
        return whole, whole
    if unit == "percent":  # of the edge on the trade's side
        return tuple(table[edge].astype(np.int64) * sessions.increment_nanos for edge in ("high", "low"))
    values = _feature(sessions, duration, rule, unit)
    if unit in _NOT_DISTANCES:
        raise BadInput(rule, f"{unit!r} is no distance in dollars", "give range, atr, stretch or a column of your own")
    values = values[table["session"]]
    values = np.where(np.isfinite(values), values, 0.0)  # those days are left out
    if (values < 0).any():
        day = sessions.schedule.labels[table["session"][int(np.flatnonzero(values < 0)[0])]]
        raise BadInput(rule, f"{unit!r} is below 0 on {day}", "give a column of distances, which are 0 or more")
    if values.max(initial=0.0) > _MOST_UNIT:
        wrong = f"{unit!r} is {values.max():g} dollars on some day"
        raise BadInput(rule, wrong, f"give a column of distances below {_MOST_UNIT:g}")
    whole = np.rint(values * NANOS).astype(np.int64) * 100
    return whole, whole


def _feature(sessions: Sessions, duration: int, rule: str, name: str) -> Any:
    """Return a column of features, shape (sessions,); refuse what a trader cannot know and what is nowhere known."""
    if name in KNOWN_AFTER_CLOSE:
        wrong = f"{name!r} of a session is known only after its close"
        raise BadInput(rule, wrong, "give a column that is known when the range ends")
    try:
        values = feature_column(sessions, duration, name)
    except BadInput as error:
        raise BadInput(rule, error.wrong, error.fix) from None
    if np.isnan(values).all():
        wrong = f"{name!r} is missing on all of {sessions.ticker}'s {len(sessions)} sessions"
        raise BadInput(rule, wrong, _where_from(sessions, name))
    return values


def _where_from(sessions: Sessions, name: str) -> str:
    """Return what would give a feature that no session has."""
    if name in ("range_volume", "relative_volume") and sessions.volume is None:
        return "its source has no volume: give another, or name the column of volumes in columns="
    if name == "avg_vol" and sessions.volatility is not None and sessions.volatility.seconds:
        known = sessions.volatility.seconds
        return (
            f"it is known of ranges up to {known} s: load from orb.Warehouse(volatility=...), or give a shorter range"
        )
    if name == "avg_vol":
        return "its source has no implied volatilities: give another"
    if name in HISTORY:
        return f"it needs {HISTORY[name]} sessions before: load more"
    return "join values for these dates"


def _missing(sessions: Sessions, duration: int, rules: Rules, table: Any) -> dict[int, str]:
    """Return the days without a feature that the rules need, with the reason."""
    units = rules.stop_unit, rules.limit_unit, rules.buffer_unit
    found: dict[int, str] = {}
    for name in rules.columns:
        values = feature_column(sessions, duration, name)[table["session"]]
        lacking = ~np.isfinite(values) if name in units else np.isnan(values)
        found |= {int(i): f"no {name}" for i in np.flatnonzero(lacking)}
    return found


def _selected(sessions: Sessions, duration: int, rules: Rules, table: Any) -> tuple[Any, dict[int, str]]:
    """Return the days that stay flat (bool array), and those that another date leaves out, with the reason."""
    flat, out = np.zeros(len(table), bool), np.zeros(len(table), bool)
    for name, comparison, value in rules.select or ():
        if name == "date":
            dates = sessions.schedule.labels[table["session"]]
            out |= ~_COMPARE[comparison](dates, np.array(value, "datetime64[D]"))
        else:
            values = _feature(sessions, duration, "select", name)[table["session"]]
            flat |= ~_COMPARE[comparison](values, value)
    return flat, {int(i): "not selected by date" for i in np.flatnonzero(out)}


def find_distances(values: tuple[float, ...], units: tuple[Any, Any], increment_nanos: int, least: int) -> Any:
    """Return parameters as whole increments of each day, by an exact integer ceiling.

    Parameters
    ----------
    values : tuple of float
        Parameters, in units.
    units : pair of int64 arrays, shape (days,)
        What 1 means for longs and shorts, 1e-11 dollars.
    increment_nanos : int
    least : int
        What a distance is at the least, increments.

    Returns
    -------
    int64 array, shape (1 or days, 2, values)
        One row where it is the same on every day.

    Raises
    ------
    OverflowError
        A distance beyond int64.
    """
    each = np.stack(units, axis=1)
    if len(each) and (each == each[0, 0]).all():
        each = each[:1]
    nanos = [to_nanos(value) for value in values]
    scale = UNIT * increment_nanos
    common = gcd(scale, *nanos)
    nanos, scale = [value // common for value in nanos], scale // common
    common = gcd(scale, int(np.gcd.reduce(each, axis=None)))
    each, scale = each // common, scale // common
    most = max(nanos, default=0)
    small = most < NEVER and most * int(each.max(initial=0)) < NEVER and scale < NEVER
    kind: Any = np.int64 if small else object
    product = each.astype(kind)[:, :, None] * np.array(nanos, kind)
    found = -(-product // scale)
    return np.maximum(found, least).astype(np.int64)
