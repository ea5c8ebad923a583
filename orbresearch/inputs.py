"""What the backtests of one ticker and range duration are computed from, and whether they can be."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from orbresearch.days import UNIT, find_days, find_distances
from orbresearch.errors import BadInput
from orbresearch.grid import Points
from orbresearch.rules import NANOS, Costs, Rules, find_costs, to_nanos
from orbresearch.schema import NEVER
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.series import Series, content_hash

MOST_R = 1_000_000  # a limit in multiples of the stop distance
_MOST = 2**63 - 1
_INPUTS_KEPT = 8  # per Sessions: durations and rules last planned
_inputs: WeakKeyDictionary[Sessions, dict[tuple[int, Rules, bool], Input]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Input:
    """What the backtests of one ticker and range duration are computed from, under a run's rules.

    Parameters
    ----------
    ticker : str
    duration : int
        Seconds of the opening range.
    series : Series
    days : DAYS array, shape (T,)
        Tradable sessions in date order.
    source : str
    untradable : dict of str
        Session date -> why it is not in T.
    splits : float64 array, shape (len(series),), or None
        As ``Sessions.splits``. No number depends on them but those of the days.
    timezone : str
        The exchange's, for people. No number depends on it.
    unselected : datetime64[D] array, or None
        Of a pool's member: the tradable sessions that the rules do not select by a feature, which ``days`` leaves out.
    """

    ticker: str
    duration: int
    series: Series
    days: Any
    source: str = ""
    untradable: dict[str, str] = field(default_factory=dict, repr=False)
    splits: Any = field(default=None, repr=False)
    timezone: str = field(default="UTC", repr=False)
    unselected: Any = field(default=None, repr=False)

    @property
    def dates(self) -> Any:
        """The dates of the days: datetime64[D] array, shape (T,)."""
        return self.series.labels[self.days["session"]]

    @cached_property
    def in_dollars(self) -> Input:
        """Return the same input whose returns are the profits themselves, as of rules that measure in dollars."""
        days = self.days.copy()
        days["base"] = 1
        found = replace(self, days=days)
        vars(found).update(entries=self.entries, reach_of_days=self.reach_of_days)  # no base decides them
        return found

    @cached_property
    def entries(self) -> tuple[Any, Any, Any]:
        """Return (breakout, standing, start): links from ticks and seconds to where positions open; made once."""
        from orbresearch.kernels.arguments import STRIDE, Ticks
        from orbresearch.kernels.records import link_breakouts, link_seconds

        ticks, days = Ticks(*self.series.columns.values()), self.days
        seconds = ticks.time[days["last_tick"]].astype(np.int64) - days["trading_start"]
        ends = np.cumsum(seconds // STRIDE + 1)
        start = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        breakout, standing = np.zeros(len(ticks.price), np.int32), np.empty(ends[-1], np.int32)
        link_breakouts(ticks, days, breakout)
        link_seconds(ticks, days, start, standing)
        return breakout, standing, start

    @cached_property
    def reach_of_days(self) -> tuple[Any, Any]:
        """Return each tradable session's span (highest minus lowest price) and way (sum of all moves), increments."""
        from orbresearch.kernels.records import measure_days

        span, way = (np.zeros(len(self.days), np.int64) for _ in range(2))
        measure_days(self.series.columns["price"], self.days, span, way)
        return span, way

    def between(self, first: Any, last: Any) -> Input:
        """Return the same input with the tradable sessions of some dates only, both inclusive.

        What was prepared for all of them serves those, too.
        """
        start, stop = np.searchsorted(self.dates, first), np.searchsorted(self.dates, last, side="right")
        some = replace(self, days=self.days[start:stop])
        breakout, standing, links = self.entries
        span, way = self.reach_of_days
        vars(some)["entries"] = breakout, standing, links[start:stop]  # where cached_property looks first
        vars(some)["reach_of_days"] = span[start:stop], way[start:stop]
        return some

    @cached_property
    def days_hash(self) -> str:
        """Content hash of the days, under which they are staged."""
        return content_hash(self.days.tobytes())


def make_input(sessions: Sessions, duration: int, grid: Points, rules: Rules, pooled: bool = False) -> Input:
    """Return the input of a ticker and duration; made once, so that whatever hangs on it is prepared once.

    ``pooled``: as a pool's member, whose days are the selected ones.
    """
    known, key = _inputs.setdefault(sessions, {}), (duration, rules, pooled)
    if key not in known:
        found = find_days(sessions, duration, rules, pooled)
        series = next((item.series for item in known.values() if item.series.hash == found.series.hash), found.series)
        while len(known) >= _INPUTS_KEPT:
            del known[next(iter(known))]
        made = sessions.ticker, duration, series, found.table, sessions.source, found.untradable
        known[key] = Input(*made, sessions.splits, sessions.schedule.timezone)
        if pooled:
            unselected = series.labels[found.table["session"][found.flat]]
            known[key] = replace(known[key], days=found.table[~found.flat], unselected=unselected)
    if not pooled or not len(known[key].unselected) or len(known[key].days):
        check_input(known[key], grid, rules)
    return known[key]


def check_distances(grid: Points, rules: Rules) -> None:
    """Refuse a stop at no distance from the entry, and multiples of it that mean nothing."""
    if not rules.anchored and min(grid.values("stop_distance")) == 0:
        wrong = "0 from the entry price would end every trade at once"
        raise BadInput("stop_distance", wrong, "give distances above 0, or a stop_anchor")
    if rules.entry == "open":
        for name in ("stop_count_limit", "stop_cooloff_period"):
            if len(grid.values(name)) > 1:
                wrong = f"{len(grid.values(name))} values make the same backtests: entry 'open' trades once a day"
                warnings.warn(f"{name}: {wrong}", stacklevel=3)
    limits = [value for value in grid.values("limit_distance") if value is not None]
    if rules.limit_unit == "R" and limits and max(limits) > MOST_R:
        raise BadInput("limit_distance", f"{max(limits):g} R", "give a million at the most, or None for no limit")


def check_input(item: Input, grid: Points, rules: Rules) -> None:
    """Refuse a ticker without a tradable session, distances beyond int32 and sums beyond int64.

    Raises
    ------
    BadInput
    """
    if len(item.days) == 0:
        why = "; ".join(f"{day}: {reason}" for day, reason in list(item.untradable.items())[:3])
        raise BadInput(
            f"ticker {item.ticker}", f"no tradable session for a range of {item.duration} s ({why})", "drop it"
        )
    for name in ("stop_distance", "limit_distance"):
        values = [value for value in grid.values(name) if value is not None]
        if not values or (name == "limit_distance" and rules.limit_unit == "R"):
            continue
        unit = rules.stop_unit if name == "stop_distance" else rules.limit_unit
        try:
            most = find_distances((max(values),), _day_units(item, name), item.series.increment_nanos, 0).max()
        except OverflowError:
            most = _MOST
        if most > np.iinfo(np.int32).max:
            wrong = f"{max(values)} {unit} are beyond int32 increments of {item.series.increment_nanos / 1e9}"
            raise BadInput(name, wrong, "give a smaller distance, or a coarser increment=")
    _check_sums(item, grid, rules)


def _day_units(item: Input, name: str) -> tuple[Any, Any]:
    """Return what a distance of 1 means for longs and shorts of each day, 1e-11 dollars."""
    kind = name.removesuffix("_distance")
    return item.days[f"long_{kind}"], item.days[f"short_{kind}"]


def day_distances(item: Input, rules: Rules, name: str, values: Iterable[Any]) -> Any:
    """Return stop or limit distances as kernels take them: int64, shape (1 or days, 2, values).

    Parameters
    ----------
    item : Input
    rules : Rules
    name : str
        ``stop_distance`` or ``limit_distance``.
    values : iterable of float or None
        None (or NaN): no limit.
    """
    given = [None if value is None or value != value else float(value) for value in values]
    numbers = tuple(0.0 if value is None else value for value in given)
    if name == "limit_distance" and rules.limit_unit == "R":
        found = np.array([to_nanos(value) for value in numbers], np.int64)[None, None, :].repeat(2, axis=1)
    else:
        least = 0 if name == "stop_distance" and rules.anchored else 1
        found = find_distances(numbers, _day_units(item, name), item.series.increment_nanos, least)
    found[:, :, [value is None for value in given]] = NEVER
    return found


def _check_sums(item: Input, grid: Points, rules: Rules) -> None:
    """Refuse a run whose sums could pass 2**63: of squared returns (1e-16), or of a day's profit times 1e8."""
    most, table = max(grid.values("stop_count_limit")), item.days
    costs = find_costs(rules, item.series.increment_nanos)
    returns = worst_returns(item, most, costs, rules)
    if (returns * table["base"] * costs.q).max() > _MOST or (returns**2).sum() > _MOST:
        day = item.series.labels[table["session"][int(returns.argmax())]]
        wrong = f"{item.ticker}'s squared returns could pass 2**63 with {most} stops a day (on {day})"
        raise BadInput("stop_count_limit", wrong, "give a smaller one, or fewer sessions")


def return_units(rules: Rules, increment_nanos: int) -> tuple[int, float]:
    """Return (scale, whole): what ``Terms.scale`` is, and how many units of return make 1.

    A return is a whole number of 1e-8; measured in dollars it is the profit itself, a whole number of increment/q.
    """
    if rules.measure == "return":
        return 10**8, 1e8
    q = find_costs(rules, increment_nanos).q
    return q, q * NANOS / increment_nanos


def worst_returns(item: Input, most_stops: int, costs: Costs, rules: Rules) -> Any:
    """Return a bound of each tradable session's absolute return, in units of return: float64 array, shape (T,).

    A trade moves by the day's span at the most, and a day's trades together by its way, for they do not overlap.

    Parameters
    ----------
    item : Input
    most_stops : int
        Largest stop count, and so the most trades of a day.
    costs : Costs
    rules : Rules
    """
    scale, _ = return_units(rules, item.series.increment_nanos)
    return worst_profits(item, most_stops, costs) / (item.days["base"] * float(costs.q)) * scale + 1


def worst_profits(item: Input, most_stops: int, costs: Costs) -> Any:
    """Return the same bound of each session's absolute profit, and of its trades', in increment/q."""
    table, (span, way) = item.days, item.reach_of_days
    trades = np.minimum(most_stops, table["last_tick"] - table["first_tick"] + 1)
    return np.minimum(trades * span.astype(np.float64), way) * costs.q + trades * max(costs.trade, costs.limit_trade)


def warn_of_fine_distances(inputs: tuple[Input, ...], grid: Points, rules: Rules) -> None:
    """Warn of distances that are finer than an increment: they count as one."""
    for name in ("stop_distance", "limit_distance"):
        if (name == "stop_distance" and rules.anchored) or (name == "limit_distance" and rules.limit_unit == "R"):
            continue
        values = [value for value in grid.values(name) if value is not None]
        said = set()
        for item in inputs:
            nanos = item.series.increment_nanos
            units = _day_units(item, name)
            least = min(int(unit.min()) for unit in units)
            fine = [value for value in values if to_nanos(value) * least < UNIT * nanos]
            if fine and item.ticker not in said:
                said.add(item.ticker)
                what = f"{len(fine)} of {len(values)} values" if len(values) > 1 else f"{fine[0]}"
                day = "" if (units[0] == UNIT).all() else " on some day"
                warnings.warn(
                    f"{name}: {what} below {item.ticker}'s increment of {nanos / 1e9:g} dollars{day}: "
                    "counted as one increment",
                    stacklevel=3,
                )
