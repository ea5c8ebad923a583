"""What belongs to a run beside its grid: strategy.md, "Rules"."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

from orbresearch.errors import BadInput, NotBuilt

NANOS = 1_000_000_000  # dollars are counted in 1e-9 wherever they must be exact
MOST_DOLLARS = 1e36  # above any price; keeps whole 1e-9 finite
_CHOICES = {
    "fill": ("auto", "level", "seen"),
    "side": ("both", "long", "short", "opening_bar"),
    "entry": ("breakout", "open"),
    "stop_anchor": ("entry", "opposite_edge", "opposite_entry"),
    "measure": ("return", "dollars"),
}
_NOT_BUILT = (
    "side",
    "entry",
    "entry_buffer",
    "buffer_unit",
    "stop_unit",
    "limit_unit",
    "stop_anchor",
    "entry_cutoff",
    "exit_time",
    "select",
    "measure",
)
_Q = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


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
    tick_size : float
        What a price moves by in the market, dollars.
    side, entry, entry_buffer, buffer_unit, stop_unit, limit_unit, stop_anchor, entry_cutoff, exit_time, select, measure
        Rules of strategy.md of which this version computes the default only; anything else raises
        :class:`~orbresearch.errors.NotBuilt`.

    Examples
    --------
    >>> Rules(commission=.0005, slippage=.005).commission
    0.0005
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
    select: object = None
    measure: str = "return"
    tick_size: float = 0.01

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise BadInput(name, f"{getattr(self, name)!r} is not a rule", f"choose one of {', '.join(allowed)}")
        _require_dollars("commission", self.commission, least=0.0)
        _require_dollars("tick_size", self.tick_size, least=1e-9)
        if isinstance(self.slippage, str):
            if self.slippage != "auto":
                raise BadInput("slippage", f"{self.slippage!r} is no amount", "give dollars per share, or 'auto'")
        else:
            _require_dollars("slippage", self.slippage, least=0.0)
        for name in ("commission", "slippage", "tick_size", "entry_buffer"):  # whole 1e-9: 0 and 0.0 are one id
            given = getattr(self, name)
            if isinstance(given, (int, float)):
                object.__setattr__(self, name, round(float(given), 9))
        defaults = {field.name: field.default for field in fields(self)}
        for name in _NOT_BUILT:
            if getattr(self, name) != defaults[name]:
                wrong = f"{getattr(self, name)!r} is not built yet"
                raise NotBuilt(name, wrong, f"this version computes {defaults[name]!r} only")

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


def _require_dollars(name: str, value: object, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < MOST_DOLLARS:
        at_least = "above 0" if least > 0 else "0 or more"
        raise BadInput(name, f"{value!r} is not dollars {at_least}", f"give a number {at_least}")


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
