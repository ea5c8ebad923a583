"""What belongs to a run beside its grid: strategy.md, "Rules"."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any

import numpy as np

from orbresearch.errors import BadInput

NANOS = 1_000_000_000  # dollars are counted in 1e-9 wherever they must be exact
MOST_DOLLARS = 1e36  # above any price; keeps whole 1e-9 finite
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
_CHOICES = {
    "fill": ("auto", "level", "seen"),
    "side": ("both", "long", "short", "opening_bar"),
    "entry": ("breakout", "open"),
    "stop_anchor": ("entry", "opposite_edge", "opposite_entry"),
    "measure": ("return", "dollars"),
}
_UNITS = {
    "buffer_unit": "dollars, percent or a column of sessions.features_of(duration)",
    "stop_unit": "dollars, percent or a column of sessions.features_of(duration)",
    "limit_unit": "dollars, percent, R or a column of sessions.features_of(duration)",
}
_MOST_SECOND = 10**6  # longer than any session
_Q = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Condition = tuple[str, str, Any]


@dataclass(frozen=True)
class Rules:
    """The rules of a run, frozen, stored with it and part of its id.

    Parameters
    ----------
    commission : float
        Dollars per share and fill.
    slippage : float or "auto"
        Dollars per share on every fill but a limit exit. ``auto``: 0 on ticks and seconds, one ``tick_size`` on bars.
    fill : "auto", "level" or "seen"
        ``seen``: every fill at the tick's price. ``level``: resting orders, filled at their level unless the price
        jumped over it. ``auto``: ``level`` on bars of four seconds and more, else ``seen``.
    side : "both", "long", "short" or "opening_bar"
        Which breakouts are traded. ``opening_bar``: only in the direction from the range's first price to its last;
        none when they are equal.
    entry : "breakout" or "open"
        ``open``: one position a day, at second ``trading_start`` and the price then standing, in the opening bar's
        direction; wants ``side="opening_bar"``. Any exit ends the day.
    entry_buffer : float
        How far beyond the edge of the range an entry lies, in ``buffer_unit``, 0 or more; exceeded strictly.
    buffer_unit, stop_unit, limit_unit : str
        ``dollars``; ``percent`` of the edge on the trade's side; or a price-valued column of
        ``sessions.features_of(duration)`` by name (``range``, ``atr``, ``stretch``, one's own), of which the parameter
        is then a multiple. ``limit_unit`` also ``R``: multiples of the trade's own stop distance.
    stop_anchor : "entry", "opposite_edge" or "opposite_entry"
        What the stop lies ``stop_distance`` beyond: the entry price, the range's other edge, or the entry level of the
        other side (edge and buffer and one ``tick_size``). A stop that would lie at or beyond the entry price lies one
        increment from it.
    entry_cutoff : int, optional
        Seconds since the open before which a position must open.
    exit_time : int, optional
        Seconds since the open at which the day ends; what comes after it takes no part.
    select : condition or list of conditions, optional
        Which sessions are traded: ``(column, operator, value)``, all of which must hold. The column ``date`` leaves
        other sessions out altogether; a column of ``sessions.features_of(duration)`` leaves them as flat days (in a
        pool: takes the ticker out of that day's mean).
        Operators: ``== != < <= > >=``, and ``in``, ``not in`` with a list of values.
    measure : "return" or "dollars"
        What Sharpe, Sortino, drawdown and everything statistical are computed from: each session's profit divided by
        its first price, or the profit itself.
    tick_size : float
        What a price moves by in the market, dollars.

    Examples
    --------
    >>> Rules(commission=.0005, slippage=.005).commission
    0.0005
    >>> Rules(select=[("weekday", "==", 0), ("date", ">=", "2024-06-03")]).select
    (('weekday', '==', 0), ('date', '>=', '2024-06-03'))
    """

    commission: float = 0.0
    slippage: float | str = "auto"
    fill: str = "auto"
    side: str = "both"
    entry: str = "breakout"
    entry_buffer: float = 0.0
    buffer_unit: str = "dollars"
    stop_unit: str = "dollars"
    limit_unit: str = "dollars"
    stop_anchor: str = "entry"
    entry_cutoff: int | None = None
    exit_time: int | None = None
    select: Any = None
    measure: str = "return"
    tick_size: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if isinstance(given, np.generic):
                object.__setattr__(self, field.name, given.item())
        self._check_words()
        self._check_amounts()
        for name in ("entry_cutoff", "exit_time"):
            object.__setattr__(self, name, _second(name, getattr(self, name)))
        object.__setattr__(self, "select", _conditions(self.select))
        self._refuse_nonsense()

    def _check_words(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise BadInput(name, f"{getattr(self, name)!r} is not a rule", f"choose one of {', '.join(allowed)}")
        for name, units in _UNITS.items():
            unit = getattr(self, name)
            if not isinstance(unit, str) or not unit:
                raise BadInput(name, f"{unit!r} is no unit", f"give {units}")
            if unit == "R" and name != "limit_unit":
                wrong = "R is a multiple of the stop distance, which does not exist before the stop"
                raise BadInput(name, wrong, f"give {units}")

    def _check_amounts(self) -> None:
        _require_number("commission", self.commission, least=0.0)
        _require_number("tick_size", self.tick_size, least=1e-9)
        _require_number("entry_buffer", self.entry_buffer, least=0.0)
        if isinstance(self.slippage, str):
            if self.slippage != "auto":
                raise BadInput("slippage", f"{self.slippage!r} is no amount", "give dollars per share, or 'auto'")
        else:
            _require_number("slippage", self.slippage, least=0.0)
        for name in ("commission", "slippage", "tick_size", "entry_buffer"):
            given = getattr(self, name)
            if isinstance(given, (int, float)):  # whole 1e-9 and no negative zero: one amount, one id
                object.__setattr__(self, name, round(float(given), 9) + 0.0)

    def _refuse_nonsense(self) -> None:
        """Refuse rules that each make sense, but not together."""
        if self.entry == "open":
            if self.side != "opening_bar":
                wrong = f"entry 'open' takes the opening bar's direction, but side is {self.side!r}"
                raise BadInput("entry", wrong, "give side='opening_bar', or entry='breakout'")
            if self.entry_buffer:
                wrong = f"{self.entry_buffer} beyond an edge, but entry 'open' waits for no edge"
                raise BadInput("entry_buffer", wrong, "leave it 0, or give entry='breakout'")
            if self.stop_anchor == "opposite_entry":
                wrong = "entry 'open' has no entry level on the other side"
                raise BadInput("stop_anchor", wrong, "give 'opposite_edge', or entry='breakout'")
        if self.buffer_unit != "dollars" and not self.entry_buffer:
            wrong = f"{self.buffer_unit!r}, but entry_buffer is 0"
            raise BadInput("buffer_unit", wrong, "give an entry_buffer above 0, or leave the unit out")
        if self.entry_cutoff is not None and self.exit_time is not None and self.entry_cutoff > self.exit_time:
            wrong = f"entries until second {self.entry_cutoff}, but the day ends at {self.exit_time}"
            raise BadInput("entry_cutoff", wrong, "give a second before exit_time")

    @property
    def anchored(self) -> bool:
        """Whether stops lie beyond a level of the range instead of the entry price."""
        return self.stop_anchor != "entry"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of ``sessions.features_of(duration)`` that the rules need."""
        units = {self.stop_unit, self.limit_unit, self.buffer_unit} - {"dollars", "percent", "R"}
        return tuple(sorted(units | {name for name, _, _ in self.select or () if name != "date"}))

    def resolve(self, bars: bool) -> Rules:
        """Return the rules with every ``auto`` decided; ``bars``: whether prices are bars of four seconds or more."""
        fill = self.fill if self.fill != "auto" else ("level" if bars else "seen")
        slippage = self.slippage
        if isinstance(slippage, str):
            slippage = self.tick_size if bars else 0.0
        return replace(self, fill=fill, slippage=slippage)

    def document(self) -> dict[str, object]:
        """Return the rules as plain JSON values, for ids and for the table ``runs``."""
        return asdict(self)

    def differing(self) -> dict[str, object]:
        """Return the rules that are not the default, by name."""
        return {name: value for name, value in self.document().items() if value != getattr(Rules, name)}


def _require_number(name: str, value: object, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < MOST_DOLLARS:
        at_least = "above 0" if least > 0 else "0 or more"
        raise BadInput(name, f"{value!r} is not a number {at_least}", f"give a number {at_least}")


def _second(name: str, value: Any) -> int | None:
    """Return a second since the open as int, or None for no such rule."""
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value <= _MOST_SECOND or int(value) != value:
        wrong = f"{value!r} is no whole number of seconds since the open"
        raise BadInput(name, wrong, "give seconds above 0, such as 3600 for an hour after the open")
    return int(value)


def _conditions(given: Any) -> tuple[Condition, ...] | None:
    """Return conditions as tuples of plain values, or None for every session."""
    if given is None or (isinstance(given, (list, tuple)) and len(given) == 0):
        return None
    alone = isinstance(given, (list, tuple)) and isinstance(given[0], str)
    if not isinstance(given, (list, tuple)):
        fix = "give ('weekday', '==', 0), or a list of such conditions"
        raise BadInput("select", f"{given!r} is no condition", fix)
    return tuple(_condition(one) for one in ([given] if alone else given))


def _condition(given: Any) -> Condition:
    shape = isinstance(given, (list, tuple)) and len(given) == 3 and isinstance(given[0], str)
    if not shape or given[1] not in OPERATORS:
        fix = f"give (column, operator, value) with one of {' '.join(OPERATORS)}"
        raise BadInput("select", f"{given!r} is no condition", fix)
    column, operator, value = given
    several = isinstance(value, Iterable) and not isinstance(value, str)
    if several != (operator in ("in", "not in")):
        wanted = "a list of values" if operator in ("in", "not in") else "one value"
        raise BadInput("select", f"{given!r}", f"give {wanted} after {operator!r}")
    values = [_plain(column, one) for one in (value if several else [value])]
    return column, operator, tuple(values) if several else values[0]


def _plain(column: str, value: Any) -> Any:
    """Return a condition's value as JSON knows it: dates as text, numbers as numbers."""
    if column == "date":
        return _date(value)
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise BadInput("select", f"{value!r} is no number", f"give the numbers that {column} is compared with")
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number  # 0, 0.0 and False are one id


def _date(value: Any) -> str:
    import pandas as pd

    try:
        found = pd.Timestamp(value) if isinstance(value, (str, date, np.datetime64)) else pd.NaT
    except ValueError:
        found = pd.NaT
    if found is pd.NaT:
        raise BadInput("select", f"{value!r} is no date", "give dates such as '2024-06-03'")
    return str(found.date())


def to_nanos(dollars: float) -> int:
    """Return dollars as whole 1e-9: the integer that a parameter is (strategy.md, "The day")."""
    return round(dollars * NANOS)


def to_increments(dollars: float, increment_nanos: int, least: int = 1) -> int:
    """Return dollars as whole increments by an exact integer ceiling, at least ``least``.

    Examples
    --------
    >>> to_increments(.07, 10_000_000), to_increments(.075, 10_000_000), to_increments(.001, 10_000_000)
    (7, 8, 1)
    """
    return max(least, -(-to_nanos(dollars) // increment_nanos))


@dataclass(frozen=True)
class Costs:
    """What a trade costs, as whole numbers of increment/q.

    Parameters
    ----------
    q : int
        Profits are counted in increment/q.
    trade : int
        Cost of a trade that ends by its stop or at the close: two fills with slippage.
    limit_trade : int
        Cost of a trade that ends at its limit: slippage on the entry only.
    """

    q: int
    trade: int
    limit_trade: int


def find_costs(rules: Rules, increment_nanos: int) -> Costs:
    """Return the costs under resolved rules, with the smallest q that makes them whole (else 1000, rounded up).

    Examples
    --------
    >>> find_costs(Rules(commission=.0005, slippage=.005), 10_000_000)
    Costs(q=10, trade=11, limit_trade=6)
    """
    if isinstance(rules.slippage, str):
        raise BadInput("slippage", "'auto' is not decided", "resolve the rules first")
    commission, slippage = to_nanos(rules.commission), to_nanos(rules.slippage)
    trade, limit_trade = 2 * commission + 2 * slippage, 2 * commission + slippage
    q = next((q for q in _Q if trade * q % increment_nanos == 0 == limit_trade * q % increment_nanos), _Q[-1])
    return Costs(q, -(-trade * q // increment_nanos), -(-limit_trade * q // increment_nanos))
