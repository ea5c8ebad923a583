"""What an account would have become by trading a backtest: so many shares, or so much of the equity at risk."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from orbresearch.analysis.backtests import Backtest
from orbresearch.errors import BadInput
from orbresearch.rules import NANOS, to_nanos

MOST_CAPITAL = 1e12  # dollars
MOST_SHARES = 10**9
MOST_LEVERAGE = 1000
LEVERAGE = 4.0  # buying power within a day of a margin account in the United States


@dataclass(frozen=True, eq=False)
class Sizing:
    """An account that traded a backtest.

    Parameters
    ----------
    capital : float
        Dollars before the first session.
    days : DataFrame
        By session date: ``shares`` (of the session's largest position), ``profit`` (dollars), ``equity`` (dollars at
        its end), ``leverage`` (the session's largest position at its entry price, divided by the equity before it).
    trades : DataFrame
        Those of the backtest, and of each its ``shares`` (0: not affordable, or after the ruin) and ``dollars``: its
        profit times shares.
    ruined : Timestamp or None
        The session whose loss took the last of the equity: nothing is traded after it.
    """

    capital: float
    days: Any
    trades: Any = field(repr=False)
    ruined: Any

    @property
    def returns(self) -> Any:
        """Profit by session date, divided by the equity before it: compounded, they make the equity."""
        before = self.days["equity"].shift(fill_value=self.capital)
        return (self.days["profit"] / before.where(before > 0)).fillna(0.0).rename("returns")

    def __repr__(self) -> str:
        last = self.days["equity"].iloc[-1]
        end = f", ruined on {self.ruined.date()}" if self.ruined is not None else ""
        return f"Sizing({self.capital:,.2f} dollars became {last:,.2f} over {len(self.days)} sessions{end})"


def size(
    backtest: Backtest,
    capital: float,
    *,
    shares: int | None = None,
    risk: float | None = None,
    leverage: float | None = None,
) -> Sizing:
    """Trade a backtest with an account.

    Every trade of a session is sized by the equity at the end of the session before: whole shares, rounded down. Costs
    per share are in the trades' profit already. When a loss leaves no equity the account is ruined: a warning says so,
    and it trades no more.

    Parameters
    ----------
    backtest : Backtest
    capital : float
        Dollars to begin with.
    shares : int, optional
        The same number in every trade.
    risk : float, optional
        Instead: the share of the equity that a trade loses at its stop, .01 for one percent: as many shares as that
        pays for of the trade's ``stop_distance``, a billion at the most. A price that jumps over the stop loses more,
        and so do costs.
    leverage : float, optional
        How many times the equity a position is worth at its entry, at the most. Default: 4 with ``risk``; none with
        ``shares``.

    Raises
    ------
    BadInput
        Neither shares nor risk, or both; a capital, number, risk or leverage that cannot be meant.

    Examples
    --------
    >>> from orbresearch import run_backtest, synthetic_sessions
    >>> one = run_backtest(synthetic_sessions(5), 300, .5, 3, 60, 2)
    >>> fixed = size(one, 25_000, shares=100)
    >>> bool(abs(fixed.days["profit"].sum() - 100 * one.stats["backtest_profit"]) < 1e-6)
    True
    >>> int(size(one, 25_000, risk=.01).days["shares"].max())
    258
    """
    if not isinstance(backtest, Backtest):
        raise BadInput("backtest", f"a {type(backtest).__name__}", "give an orb.Backtest, such as run_backtest returns")
    account = _open_account(capital, shares, risk, leverage)
    fills, ruined = _trade(backtest.trades, account)
    if ruined is not None:
        warnings.warn(f"ruined on {ruined.date()}: nothing is traded after it", stacklevel=2)
    counts, dollars = [fill.shares for fill in fills], [fill.net / NANOS for fill in fills]
    made = {"shares": np.array(counts, np.int64), "dollars": np.array(dollars, np.float64)}
    return Sizing(float(capital), _days(fills, backtest, account.capital), backtest.trades.assign(**made), ruined)


class _Fill(NamedTuple):
    """What a trade was to the account: profit and the equity after it in 1e-9 dollars."""

    shares: int
    net: int
    equity: int
    leverage: float


@dataclass(frozen=True)
class _Account:
    """What sizes a position: dollars, risk and leverage as whole 1e-9, so that no share is lost to rounding."""

    capital: int
    shares: int | None
    risk: int | None
    leverage: int | None

    def count(self, equity: int, price: int, stop: int) -> int:
        """Return how many shares a trade is of; all in 1e-9 dollars."""
        most = [MOST_SHARES]
        if self.shares is not None:
            most.append(self.shares)
        if self.risk is not None:
            most.append(self.risk * equity // (stop * NANOS))
        if self.leverage is not None:
            most.append(self.leverage * equity // (price * NANOS))
        return min(most)


def _open_account(capital: object, shares: object, risk: object, leverage: object) -> _Account:
    if (shares is None) == (risk is None):
        given = "neither is given" if shares is None else "both are given"
        raise BadInput("shares, risk", given, "give shares=100, or risk=.01 of the equity")
    if shares is not None and (isinstance(shares, bool) or not isinstance(shares, Integral)):
        raise BadInput("shares", f"{shares!r} is no whole number", f"give 1 to {MOST_SHARES:,}")
    if leverage is None and risk is not None:
        leverage = LEVERAGE
    money = _nanos("capital", capital, 0.01, MOST_CAPITAL)
    count = None if shares is None else _nanos("shares", shares, 1, MOST_SHARES) // NANOS
    part = None if risk is None else _nanos("risk", risk, 1e-6, 1)
    times = None if leverage is None else _nanos("leverage", leverage, 1e-6, MOST_LEVERAGE)
    return _Account(money, count, part, times)


def _nanos(what: str, value: Any, least: float, most: float) -> int:
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= most:
        raise BadInput(what, f"{value!r} is no number from {least:g} to {most:,.0f}", "give one that is")
    return to_nanos(float(value))


def _trade(trades: Any, account: _Account) -> tuple[list[_Fill], Any]:
    """Return what each trade was to the account, and the session of its ruin."""
    equity, before, today, ruined = account.capital, account.capital, None, None
    fills = []
    columns = "session", "entry_price", "stop_distance", "profit"
    for session, *dollars in zip(*(trades[name] for name in columns), strict=True):
        price, stop, profit = map(to_nanos, dollars)
        if session != today:
            today, before = session, equity
        count = account.count(before, price, stop) if ruined is None else 0
        equity += count * profit
        fills.append(_Fill(count, count * profit, equity, count * price / before if count else 0.0))
        if equity <= 0 and ruined is None:
            ruined = session
    return fills, ruined


def _days(fills: list[_Fill], backtest: Backtest, equity: int) -> Any:
    """Return the account by session; one without a trade leaves it as it was."""
    import pandas as pd

    made: dict[Any, list[_Fill]] = {session: [] for session in backtest.daily.index}
    for session, fill in zip(backtest.trades["session"], fills, strict=True):
        made[session].append(fill)
    rows = []
    for of_day in made.values():
        equity = of_day[-1].equity if of_day else equity
        shares, leverage = (max((fill[i] for fill in of_day), default=0) for i in (0, 3))
        rows.append((shares, sum(fill.net for fill in of_day) / NANOS, equity / NANOS, float(leverage)))
    return pd.DataFrame(rows, backtest.daily.index, ["shares", "profit", "equity", "leverage"])
