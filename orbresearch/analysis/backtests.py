"""One backtest with everything it did: its trades, its days, its pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from orbresearch.analysis.grids import kernel_arguments, most_trades
from orbresearch.analysis.performance import compute_rows
from orbresearch.errors import BadInput
from orbresearch.grid import ParameterGrid, Points
from orbresearch.inputs import Input, day_distances
from orbresearch.plan import Chunk, make_plan
from orbresearch.pool import Item, Pool
from orbresearch.rules import NANOS, Rules, find_costs
from orbresearch.schema import EXIT_REASONS, TRADE
from orbresearch.sessions.dataset import Sessions
from orbresearch.sessions.splits import shares_held

if TYPE_CHECKING:
    from orbresearch.analysis.day import Day
    from orbresearch.analysis.pictures import Picture


@dataclass(frozen=True, eq=False)
class Backtest:
    """One backtest with everything it did.

    Parameters
    ----------
    trades : DataFrame
        ``session`` (date), ``side`` (+1 long, -1 short), ``entry_time, entry_price, exit_time, exit_price`` (UTC,
        dollars), ``profit`` (dollars, net), ``holding_seconds``, ``exit_reason`` (limit, stop or close),
        ``stop_distance`` (dollars from the entry price to the stop, whatever unit the rules name it in).
    stats : Series
        The columns of schema.RESULTS.
    daily : Series
        Profit by session date, dollars, zeros included.
    prices : Series
        Last price by session date, dollars.
    first_price : float
        Price at which the first session began, dollars.
    title : str
        Ticker, dates and costs, for pictures.
    shares : Series
        How many shares one bought in the first session has become by session date: 1.0 before any declared split.
    returns : Series
        Profit divided by the session's first price, to 1e-8, by session date, zeros included: r_d of strategy.md
        whatever the rules measure. What quantstats, pyfolio and empyrical call daily returns. Their Sharpe and Sortino
        ratios are our columns. They compound where ``backtest_return`` and ``max_drawdown`` add: their drawdown is a
        share of the peak, ``exp(max_drawdown) - 1`` or deeper.
    item : Input
        What it was computed from: tick series, opening ranges, the exchange's time zone.
    rules : Rules
        Resolved.

    Examples
    --------
    >>> from orbresearch import synthetic_sessions
    >>> one = run_backtest(synthetic_sessions(60), 300, 0.5, 3, 60, 2)
    >>> one.returns.index.equals(one.daily.index), bool(abs(one.returns.sum() - one.stats["backtest_return"]) < 1e-12)
    (True, True)
    """

    trades: Any
    stats: Any
    daily: Any
    prices: Any
    first_price: float
    title: str
    shares: Any
    returns: Any
    item: Input
    rules: Rules

    @property
    def price_change(self) -> Any:
        """What one share bought at the first open has gained by the close of each session, dollars."""
        return self.prices * self.shares - self.first_price

    def __repr__(self) -> str:
        title = ", ".join(self.title.splitlines())
        return f"Backtest({title}: {len(self.trades)} trades, profit {self.stats['backtest_profit']:.2f})"

    def trade_stats(self) -> dict[str, dict[str, Any]]:
        """Return what happened on each session, as plain JSON values: strategy.md, "trade_stats".

        Returns
        -------
        dict
            Session date -> numbered trades from "1" on, each with ``top, to, d, tcp, p, hp, tc`` (price and UTC epoch
            second opened, direction, closing price, net profit, holding seconds, second closed), and the session's
            ``st, tt, ahp, snp``: stops and trades triggered, average holding period (None without a trade), sum of net
            profits. Every tradable session is there, those without a trade too.
        """
        found: dict[str, dict[str, Any]] = {str(day.date()): {} for day in self.daily.index}
        for trade in self.trades.itertuples():
            day = found[str(trade.session.date())]
            day[str(len(day) + 1)] = {
                "top": trade.entry_price,
                "to": int(trade.entry_time.timestamp()),
                "d": "long" if trade.side > 0 else "short",
                "tcp": trade.exit_price,
                "p": trade.profit,
                "hp": int(trade.holding_seconds),
                "tc": int(trade.exit_time.timestamp()),
            }
        stopped = self.trades["session"][self.trades["exit_reason"] == "stop"].value_counts()
        for day, net in self.daily.items():
            made = list(found[str(day.date())].values())
            held = sum(trade["hp"] for trade in made)
            found[str(day.date())] |= {
                "st": int(stopped.get(day, 0)),
                "tt": len(made),
                "ahp": held * 1_000_000 // len(made) / 1e6 if made else None,
                "snp": float(net),
            }
        return found

    def plot(self) -> Picture:
        """Return the cumulative profit against the price change: see ``pictures.equity``."""
        from orbresearch.analysis.pictures import equity

        return equity(self)

    def session(self, date: Any) -> Day:
        """Return one session as it went, by its date: prices, opening range and trades in the exchange's own time."""
        from orbresearch.analysis.day import day_of

        return day_of(self, date)

    def day(self, date: Any) -> Picture:
        """Return a session's price with its opening range, entries and exits: see ``pictures.day``."""
        from orbresearch.analysis.pictures import day

        return day(self, date)


def run_backtest(
    sessions: Sessions,
    range_duration: int,
    stop_distance: float,
    stop_count_limit: int,
    stop_cooloff_period: int,
    limit_distance: float | None,
    rules: Rules | None = None,
) -> Backtest:
    """Run one backtest and keep its trades.

    Parameters
    ----------
    sessions : Sessions
    range_duration : int
        Seconds of the opening range.
    stop_distance, stop_count_limit, stop_cooloff_period, limit_distance
        One point of a :class:`~orbresearch.ParameterGrid`.
    rules : Rules, optional

    Examples
    --------
    >>> from orbresearch import synthetic_sessions
    >>> one = run_backtest(synthetic_sessions(5), range_duration=300, stop_distance=.5, stop_count_limit=3,
    ...                    stop_cooloff_period=60, limit_distance=2)
    >>> abs(one.daily.sum() - one.stats["backtest_profit"]) < 1e-9
    True
    """
    if not isinstance(sessions, Sessions):
        raise BadInput("sessions", f"a {type(sessions).__name__}", "give the Sessions of one ticker")
    grid = ParameterGrid(stop_distance, stop_count_limit, stop_cooloff_period, limit_distance)
    if len(grid) != 1:
        raise BadInput("run_backtest", f"{len(grid)} parameter sets", "give one value each, or use run_grid")
    if np.ndim(range_duration) != 0:
        raise BadInput("range_duration", f"{range_duration!r}", "give one number of seconds, or use run_grid")
    plan = make_plan(sessions, grid, range_duration, rules)
    return backtest_of(plan.run_id, plan.inputs[0], plan.grid, plan.rules, Chunk(0, 1, 0, 0))


def backtest_of(run_id: str, item: Item, grid: Points, rules: Rules, chunk: Chunk) -> Backtest:
    """Return the backtest that a chunk of one row names, with its trades.

    Parameters
    ----------
    run_id, item, grid, rules, chunk
        As in :func:`compute_rows`.

    Raises
    ------
    BadInput
        One of a pool, which has no trades and no price of its own.
    """
    if isinstance(item, Pool):
        wrong = "it is the mean of many tickers, and has no trades and no price of its own"
        raise BadInput(f"backtest of {item.ticker}", wrong, "look at one ticker: orb.run_backtest(sessions[ticker], …)")
    row = compute_rows(run_id, item, grid, rules, chunk).to_pandas().iloc[0]
    trades = _trades(item, rules, grid.points(chunk.point, chunk.point + 1))
    dates = _dates(item, item.days["session"])
    daily = trades.groupby("session")["units"].sum().reindex(dates, fill_value=0)
    unit = NANOS / item.series.increment_nanos * find_costs(rules, item.series.increment_nanos).q
    dollars = item.series.increment_nanos / NANOS
    last = item.series.columns["price"][item.days["last_tick"]].astype(np.float64) * dollars
    prices, first = type(daily)(last, index=dates, name="price"), float(item.days["first_price"][0]) * dollars
    title = _title(item, rules, row)
    held = shares_held(item.splits, len(item.series))[item.days["session"]]
    shares = type(daily)(held / held[0], index=dates, name="shares")
    returns = type(daily)(_returns(item, rules, daily), index=dates, name="returns")
    profit = (daily / unit).rename("profit")
    found = trades.drop(columns="units"), row, profit, prices, first, title, shares, returns
    return Backtest(*found, item, rules)


def _returns(item: Input, rules: Rules, units: Iterable[int]) -> list[float]:
    """Return each session's profit (increment/q) divided by its first price, rounded half to even to 1e-8."""
    q = find_costs(rules, item.series.increment_nanos).q
    pairs = zip(units, item.days["first_price"].tolist(), strict=True)
    return [round(Fraction(int(profit) * 10**8, first * q)) / 10**8 for profit, first in pairs]


def _title(item: Input, rules: Rules, row: Any) -> str:
    span = f"{item.series.labels[0]} to {item.series.labels[-1]}"
    cost = f"commission {rules.commission:g}, slippage {rules.slippage:g} $/share"
    units = {"stop": rules.stop_unit, "limit": rules.limit_unit}
    words = [f"{name} {row[f'{name}_distance']:g}" + f" {unit}" * (unit != "dollars") for name, unit in units.items()]
    point = ", ".join([words[0], words[1] if row["limit_distance"] == row["limit_distance"] else "no limit"])
    stops = int(row["stop_count_limit"])
    point += f", {stops} stop{'s' * (stops > 1)}, cool-off {row['stop_cooloff_period']} s"
    point += "" if row["resolved"] else ", UNRESOLVED: distances under three bar ranges"
    shown = ("side", "entry", "entry_buffer", "stop_anchor", "entry_cutoff", "exit_time", "select")
    said = rules.differing()
    point += "".join(f", {name} {said[name]}" for name in shown if name in said)
    return f"{item.ticker}, {span}, range {item.duration} s, {cost}\n{point}"


def _dates(item: Input, at: Any) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(item.series.labels[at].astype("datetime64[ns]"), name="session")


def _trades(item: Input, rules: Rules, drawn: dict[str, Any]) -> Any:
    """Return one backtest's trades as a DataFrame, with the net profit in increment/q as ``units``."""
    import pandas as pd

    found, at, stops = _walk(item, rules, drawn)
    costs = find_costs(rules, item.series.increment_nanos)
    opens = item.series.opens[at]
    cost = np.where(found["reason"] == EXIT_REASONS.index("limit"), costs.limit_trade, costs.trade)
    units = (found["exit_price"] - found["entry_price"]) * found["side"] * costs.q - cost
    frame = pd.DataFrame({"session": _dates(item, at), "side": found["side"]})
    for name in ("entry", "exit"):
        frame[f"{name}_time"] = pd.to_datetime(opens + found[f"{name}_time"], unit="s", utc=True)
        frame[f"{name}_price"] = found[f"{name}_price"] * item.series.increment_nanos / NANOS
    frame["profit"] = units / (NANOS / item.series.increment_nanos * costs.q)
    frame["holding_seconds"] = found["exit_time"] - found["entry_time"]
    frame["exit_reason"] = np.array(EXIT_REASONS)[found["reason"]]
    frame["stop_distance"] = stops * item.series.increment_nanos / NANOS
    frame["units"] = units
    return frame


def _walk(item: Input, rules: Rules, drawn: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Scan all sessions with one parameter set; return TRADE records, and of each the session index and the stop."""
    from orbresearch.kernels.arguments import stop_from
    from orbresearch.kernels.backtest import simulate_session

    ticks, _, days, terms = kernel_arguments(item, rules)
    stops, limits = (day_distances(item, rules, name, drawn[name]) for name in ("stop_distance", "limit_distance"))
    count, cooloff = int(drawn["stop_count_limit"][0]), int(drawn["stop_cooloff_period"][0])
    trades = np.zeros(most_trades(item, count), TRADE)
    found, at, beyond = [trades[:0]], [], []
    for d, day in enumerate(days):
        distances = stops[min(d, len(stops) - 1), :, 0], limits[min(d, len(limits) - 1), :, 0]
        made = simulate_session(ticks, day, terms, distances[0], count, cooloff, distances[1], trades)
        found.append(trades[:made].copy())
        at += [day["session"]] * made
        for side, entry in zip(*(trades[name][:made] for name in ("side", "entry_price")), strict=True):
            beyond.append(stop_from(day, terms, side, entry, distances[0][0 if side > 0 else 1]))
    return np.concatenate(found), np.array(at, np.int64), np.array(beyond, np.int64)
