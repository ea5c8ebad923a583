"""A pool: one backtest over many tickers at once, whose days are the means of theirs.

Of a pooled backtest x_d is the mean over the tickers present on date d of their x_d, and r_d that of their r_d. Present
is a ticker whose session is tradable and selected: a feature's selection (``Rules.select``) takes a ticker out of that
day's mean, where alone it would leave a flat day. T are the dates on which any ticker's session is tradable; one on
which none is selected is a flat day of T.

Sums are whole numbers, so that neither the order of the tickers nor the size of chunks changes a bit: profits are added
in the largest unit of which every ticker's increment/q is a whole multiple, and their mean is rounded half to even to
1e-9 dollars; the mean of returns to 1e-8. Under ``measure="dollars"`` r_d is the mean profit, rounded half to even to
1e-6 dollars. What a column of a pooled row means: ``orbresearch.analysis.pooled``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, TypeAlias

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.grid import Points
from orbresearch.inputs import Input, make_input, return_units, worst_profits, worst_returns
from orbresearch.rules import Rules, find_costs
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.series import content_hash

MAX_TICKER = 32  # characters, of the column `ticker`
UNITS = 10**12  # of a pool's profits are whole numbers of 1e-12 dollars: no increment/q is finer than a thousandth nano
PROFITS = 10**9  # x_d of a pool are whole numbers of 1e-9 dollars
DOLLARS = 10**6  # r_d of a pool that measures in dollars are whole numbers of 1e-6 dollars
_MOST = 2**63 - 1
_SHOWN = 10  # tickers named in a message


@dataclass(frozen=True, eq=False)
class Pool:
    """What pooled backtests of one range duration are computed from.

    Parameters
    ----------
    ticker : str
        What its rows are called: ``POOL:`` and the tickers, or how many there are where that is too long.
    duration : int
        Seconds of the opening range.
    members : iterable of Input
        In the order of tickers; can be gone through again and again. Their days are those on which they are present.
    days : datetime64[D] array, shape (T,)
        Dates on which any ticker's session is tradable, rising.
    increments : tuple of int
        The increments of the members, 1e-9 dollars, rising.
    """

    ticker: str
    duration: int
    members: Iterable[Input]
    days: Any
    increments: tuple[int, ...]

    @property
    def dates(self) -> Any:
        """The days, by the name that an input has for them."""
        return self.days

    def between(self, first: Any, last: Any) -> Pool:
        """Return the same pool with the days of some dates only, both inclusive."""
        start, stop = np.searchsorted(self.days, first), np.searchsorted(self.days, last, side="right")
        return replace(self, members=_Between(self.members, first, last), days=self.days[start:stop])

    def unit(self, rules: Rules) -> int:
        """Return the unit in which profits of all members are whole numbers, 1e-12 dollars."""
        return gcd(*(nanos * 1000 // find_costs(rules, nanos).q for nanos in self.increments))


@dataclass(frozen=True)
class _Between:
    """A pool's members with the days of some dates only, made when their turn comes."""

    members: Iterable[Input]
    first: Any
    last: Any

    def __iter__(self) -> Iterator[Input]:
        return (member.between(self.first, self.last) for member in self.members)


Item: TypeAlias = Input | Pool


def members_of(item: Item) -> Iterable[Input]:
    """Return what is computed of each ticker: an input alone, or a pool's members."""
    return item.members if isinstance(item, Pool) else (item,)


def identify(item: Item) -> list[Any]:
    """Return whatever of an input decides numbers, as JSON values; no pool's are those of a ticker alone."""
    if isinstance(item, Pool):
        dates = content_hash(item.days.astype(np.int64))
        return ["pool", item.duration, dates, [identify(member) for member in item.members]]
    return [item.ticker, item.duration, item.series.hash, item.days_hash]


def returns_in_one(item: Item, rules: Rules) -> float:
    """Return how many units of return make 1: of 1e-8, or under ``measure="dollars"`` units of profit in a dollar."""
    if isinstance(item, Pool):
        return 1e8 if rules.measure == "return" else float(DOLLARS)
    return return_units(rules, item.series.increment_nanos)[1]


def make_pool(sessions: Mapping[str, Sessions], duration: int, grid: Points, rules: Rules) -> Pool:
    """Return the pool of some tickers.

    Raises
    ------
    BadInput
        A ticker that cannot be computed; all of those are named. A selection that holds nowhere; sums beyond int64.
    """
    members, failed = [], {}
    for ticker in sorted(sessions):
        try:
            members.append(make_input(sessions[ticker], duration, grid, rules, pooled=True))
        except BadInput as error:
            failed[ticker] = error
    if failed:
        first, *others = failed.items()
        named = f"; so it is with {len(others)} others: {_some([ticker for ticker, _ in others])}" if others else ""
        raise BadInput(first[1].what, f"{first[1].wrong}{named}", first[1].fix)
    dates = [date for member in members for date in (member.dates, member.unselected)]
    increments = tuple(sorted({member.series.increment_nanos for member in members}))
    pool = Pool(_name([member.ticker for member in members]), duration, tuple(members), _union(dates), increments)
    check_pool(pool, grid, rules)
    return pool


def _union(dates: list[Any]) -> Any:
    return np.unique(np.concatenate(dates)).astype("datetime64[D]")


def _name(tickers: list[str]) -> str:
    """Return what a pool's rows are called."""
    name = f"POOL:{'+'.join(tickers)}"
    return name if len(name) <= MAX_TICKER else f"POOL:{len(tickers)}"


def _some(tickers: list[str]) -> str:
    return ", ".join(tickers[:_SHOWN]) + (", …" if len(tickers) > _SHOWN else "")


def mean_units(pool: Pool, rules: Rules, whole: int) -> tuple[int, int]:
    """Return (up, down), what turns a sum of profits in the pool's unit into 1/whole dollars: sum * up / down."""
    unit = pool.unit(rules)
    common = gcd(unit * whole, UNITS)
    return unit * whole // common, UNITS // common


def check_pool(pool: Pool, grid: Points, rules: Rules) -> None:
    """Refuse a selection that holds on no day of any ticker, and sums that could pass 2**63.

    Raises
    ------
    BadInput
    """
    unit, (up, _) = pool.unit(rules), mean_units(pool, rules, PROFITS)
    most = max(grid.values("stop_count_limit"))
    present, profits, returns = (np.zeros(len(pool.days)) for _ in range(3))
    for member in (member for member in pool.members if len(member.days)):
        at, costs = np.searchsorted(pool.days, member.dates), find_costs(rules, member.series.increment_nanos)
        worst = worst_profits(member, most, costs) * factor_of(member.series.increment_nanos, rules, unit)
        present[at] += 1
        profits[at] += worst
        returns[at] += worst_returns(member, most, costs, rules) if rules.measure == "return" else worst
    if not present.any():
        wrong = f"{rules.select} holds on none of the sessions of {pool.ticker}"
        raise BadInput("select", wrong, "give conditions that some session meets")
    tickers = np.maximum(present, 1)
    daily = returns / tickers * (1 if rules.measure == "return" else unit * DOLLARS / UNITS) + 1
    if max(profits.sum(), profits.max() * up, (profits / tickers).sum() * up, (daily**2).sum()) > _MOST:
        wrong = f"sums and squares of {pool.ticker} could pass 2**63 with {most} stops a day"
        raise BadInput("stop_count_limit", wrong, "give a smaller one, or fewer sessions or tickers")


def factor_of(increment_nanos: int, rules: Rules, unit: int) -> int:
    """Return how many units of a pool's profits (1e-12 dollars) are an increment/q."""
    return increment_nanos * 1000 // find_costs(rules, increment_nanos).q // unit


def rules_in_dollars(rules: Rules) -> Rules:
    """Return the same rules whose returns are the profits themselves."""
    return rules if rules.measure == "dollars" else replace(rules, measure="dollars")
