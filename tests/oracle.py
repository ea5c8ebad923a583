"""The oracle: strategy.md once more, slow and obvious, to test the package against.

It is written from strategy.md alone and shares no code with the package. Everything between reading a price
and writing the last number is whole numbers and exact fractions; floats appear only where prices come in and
where a column of the results goes out.

Scope: the default rules (`side` both, `entry` breakout, no buffer, distances in dollars from the entry, no
cut-off, every session, `measure` return), `fill` seen or level, costs, tick_size.

Units, unless a docstring says otherwise: prices and distances in increments, times in whole seconds since the
open, an increment in nanodollars (1e-9 dollars).

Where strategy.md is silent or can be read in two ways, the docstring says "Decided here".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

INCREMENTS_NANOS = (10_000_000, 5_000_000, 1_000_000, 500_000, 100_000)  # .01, .005, .001, .0005, .0001
NANOS_PER_DOLLAR = 1_000_000_000
COST_SCALES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LONG, SHORT = 1, -1


@dataclass(frozen=True)
class Obs:
    """One observation of one session: "What is left is an **observation**"."""

    time: int  # whole seconds since the open
    stands: int  # last second this one observation itself stands
    price: int  # increments
    first_of_bar: bool


@dataclass(frozen=True)
class Tick:
    """A step of "the price as a step function": first second, last second, price, and whether it gapped
    here."""

    time: int
    until: int
    price: int
    first_of_bar: bool


@dataclass(frozen=True)
class Range:
    """The opening range; `trading_start` in seconds since the open (the package stores the UTC epoch)."""

    open_price: int
    high: int
    low: int
    count_trades: int
    trading_start: int


@dataclass(frozen=True)
class Trade:
    """One round trip. `side` is +1 (long) or -1 (short); `reason` is "limit", "stop" or "close"."""

    side: int
    entry_time: int
    entry_price: int
    exit_time: int
    exit_price: int
    reason: str


@dataclass(frozen=True)
class Position:
    """An open position of one share; `at_level` when its entry filled at its level and not at the tick's
    price."""

    side: int
    time: int
    price: int
    at_level: bool


# ------------------------------------------------------------------------------------------------
# Prices and parameters
# ------------------------------------------------------------------------------------------------


def is_bad(price: float | None) -> bool:
    """strategy.md: "Drop rows whose price is missing, not finite or ≤ 0"."""
    if price is None:
        return True
    return not math.isfinite(float(price)) or float(price) <= 0


def nearest_whole(price: float, increment: int) -> int:
    """The whole number of increments nearest to a float price; an exact half goes to the even one (Decided
    here)."""
    return round(Fraction(float(price)) * NANOS_PER_DOLLAR / increment)


def is_held(price: float, increment: int) -> bool:
    """Whether an increment "holds" a price: a multiple of it lies within 4 units in the last place of the
    float.

    The tolerance is for the float's own noise only: a mid computed as (13.89 + 13.90) / 2 is 13.895.
    """
    multiple = Fraction(nearest_whole(price, increment) * increment, NANOS_PER_DOLLAR)
    return abs(Fraction(float(price)) - multiple) <= 4 * Fraction(math.ulp(float(price)))


def increment_nanos(prices: Iterable[float]) -> tuple[int, int]:
    """strategy.md: "the coarsest of .01, .005, .001, .0005, .0001 that holds every price of the ticker's
    file; else .0001, with the rounded prices counted".

    Bad prices (missing, not finite, ≤ 0) are no prices and say nothing. Decided here: without any price, .01.
    """
    good = [float(price) for price in prices if not is_bad(price)]
    for increment in INCREMENTS_NANOS:
        if all(is_held(price, increment) for price in good):
            return increment, 0
    finest = INCREMENTS_NANOS[-1]
    return finest, sum(1 for price in good if not is_held(price, finest))


def to_nanos(v: float) -> int:
    """strategy.md: "A parameter v is the integer round(v·10⁹)". The product is exact, so a half is a true
    half (goes to even)."""
    return round(Fraction(v) * NANOS_PER_DOLLAR)


def to_increments(v: float, increment_nanos: int, at_least: int = 1) -> int:
    """strategy.md: "its conversion to increments is an exact integer ceiling (never a float division:
    ceil(.07/.01) is 8), at least 1 for stop and limit"."""
    return max(at_least, -(-to_nanos(v) // increment_nanos))


def cost_scale(commission: float, slippage: float, increment_nanos: int) -> tuple[int, int, int]:
    """(q, cost, cost_limit): costs of a trade that ends by stop or close, and of one that ends at its limit.

    "dollars per share and fill; slippage on every fill but a limit exit": two commissions and two slippages,
    or two commissions and one slippage. Both costs are in increment/q, "q the smallest of 1, 2, 5, … 1000
    that makes a trade's cost whole, else 1000 with the cost rounded up".

    Decided here: q makes both costs whole; when it cannot, each of the two is rounded up for itself.
    Commission and slippage are whole nanodollars first, like every parameter.
    """
    both_slip = Fraction(2 * to_nanos(commission) + 2 * to_nanos(slippage), increment_nanos)
    entry_slips = Fraction(2 * to_nanos(commission) + to_nanos(slippage), increment_nanos)
    for q in COST_SCALES:
        if (both_slip * q).denominator == 1 and (entry_slips * q).denominator == 1:
            return q, int(both_slip * q), int(entry_slips * q)
    return 1000, math.ceil(both_slip * 1000), math.ceil(entry_slips * 1000)


# ------------------------------------------------------------------------------------------------
# From rows to observations
# ------------------------------------------------------------------------------------------------


def is_wholly_descending(times: Sequence[int]) -> bool:
    """Whether times never rise and fall at least once.

    Decided here: judged on floored times of all the rows given (also rows outside the session or without a
    price); a file whose rows all lie in one second is not descending.
    """
    pairs = list(pairwise(times))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def in_time_order(rows: list[tuple[Any, ...]], descending: bool) -> list[tuple[Any, ...]]:
    """strategy.md: "A wholly descending file is reversed; then sort by time, stable." A row begins with its
    floored time."""
    rows = list(reversed(rows)) if descending else list(rows)
    return sorted(rows, key=lambda row: row[0])  # Python's sort is stable


def last_of_each_second(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """strategy.md: "Several prices in one second: the last in that order stands." A row begins with its
    second; rows are sorted."""
    kept: list[tuple[Any, ...]] = []
    for row in rows:
        if kept and kept[-1][0] == row[0]:
            kept[-1] = row
        else:
            kept.append(row)
    return kept


def observations_from_points(
    rows: Sequence[tuple[float, float]], open_s: int, close_s: int, increment: int
) -> list[Obs]:
    """Points (time in UTC seconds, price in dollars) of a file, in file order, as one session's observations.

    "Times are floored to seconds. Keep rows with open ≤ t ≤ close (the print at exactly the close belongs to
    the session)." A print 0.7 s after the close is floored first and stays. "Drop rows whose price is
    missing, not finite or ≤ 0." Decided here: a price that rounds to 0 increments is ≤ 0 too.

    Sorting is by the floored times, so that inside one second the file's order decides. A point stands for
    its own second. Only the session's first observation is `first_of_bar`: nothing came before it.
    """
    floored = [(math.floor(time), price) for time, price in rows]
    descending = is_wholly_descending([time for time, _ in floored])
    kept = []
    for time, price in floored:
        if not open_s <= time <= close_s or is_bad(price) or nearest_whole(price, increment) <= 0:
            continue
        kept.append((time - open_s, nearest_whole(price, increment)))
    observed = last_of_each_second(in_time_order(kept, descending))
    return [Obs(time, time, price, index == 0) for index, (time, price) in enumerate(observed)]


def ticks_of_bar(
    values: tuple[float, float, float, float], increment: int, bar_seconds: int, path: str, at_close: bool
) -> list[tuple[int, int]]:
    """One bar (open, high, low, close) as a list of (offset, price in increments).

    "A bar of L seconds becomes ticks at offsets 0, L//3, 2L//3 and L-1: open, one extreme, the other, close;
    the extremes are the max and min of its four values; `path = "nearer"` (default: the extreme nearer the
    open first, the low on a tie) or `"farther"`." "L < 4: the bar is its close. A bar with a bad value is its
    close." Both as one tick at offset L-1. "of a bar that starts at the close only the open counts, as the
    print at the close".

    Decided here: a bar with a bad close is a row without a price and gives nothing. `farther` is exactly the
    other order, so on a tie the high comes first. Nearness is measured in increments. Of a bar that starts at
    the close (whatever its length) nothing but the open is looked at; with a bad open it gives nothing.
    """
    bad = [is_bad(value) or nearest_whole(value, increment) <= 0 for value in values]
    if bad[3]:
        return []
    if at_close:
        return [] if bad[0] else [(0, nearest_whole(values[0], increment))]
    if bar_seconds < 4 or any(bad):
        return [(bar_seconds - 1, nearest_whole(values[3], increment))]
    whole = [nearest_whole(value, increment) for value in values]
    opening, closing, top, bottom = whole[0], whole[3], max(whole), min(whole)
    low_first = opening - bottom <= top - opening
    if path == "farther":
        low_first = not low_first
    first, second = (bottom, top) if low_first else (top, bottom)
    return [
        (0, opening),
        (bar_seconds // 3, first),
        (2 * bar_seconds // 3, second),
        (bar_seconds - 1, closing),
    ]


def observations_from_bars(
    rows: Sequence[tuple[float, float, float, float, float]],
    open_s: int,
    close_s: int,
    increment: int,
    bar_seconds: int,
    path: str = "nearer",
    stamp: str = "start",
) -> list[Obs]:
    """Bars (time, open, high, low, close) of a file, in file order, as one session's observations.

    "Stamps are starts or ends (the source says; end stamps move back by L)." A bar belongs to the session by
    its start, as any row: open ≤ start ≤ close; "later bars take no part", nor does a bar that starts before
    the open. "Ticks after the close are dropped". "The first is `first_of_bar`; each stands until the next
    one of its bar": to the second before it; a bar's close stands for its own second.

    Decided here: of two bars with the same start the last row with a price stands. Where bars overlap, their
    ticks are sorted by time, stable, the last in a second stands, a tick is `first_of_bar` when the tick
    before it comes from another bar, and a tick stands no longer than to the second before the next tick of
    any bar, nor past the close.
    """
    if path not in ("nearer", "farther") or stamp not in ("start", "end"):
        raise ValueError(f"unknown path {path!r} or stamp {stamp!r}")
    shift = bar_seconds if stamp == "end" else 0
    starts = [(math.floor(row[0]) - shift, tuple(row[1:])) for row in rows]
    descending = is_wholly_descending([start for start, _ in starts])
    in_session = [(start, values) for start, values in starts if open_s <= start <= close_s]
    kept = [(start, values) for start, values in in_session if not is_bad(values[3])]
    bars = last_of_each_second(in_time_order(kept, descending))

    ticks = []  # (time, price, number of the bar, last second it stands inside its bar)
    for number, (start, values) in enumerate(bars):
        of_bar = ticks_of_bar(values, increment, bar_seconds, path, at_close=start == close_s)
        for position, (offset, price) in enumerate(of_bar):
            time = start + offset
            last = start + of_bar[position + 1][0] - 1 if position + 1 < len(of_bar) else time
            if time <= close_s:
                ticks.append((time, price, number, min(last, close_s)))

    observed = last_of_each_second(in_time_order(ticks, descending=False))
    observations = []
    for index, (time, price, number, last) in enumerate(observed):
        if index + 1 < len(observed):
            last = min(last, observed[index + 1][0] - 1)
        first_of_bar = index == 0 or observed[index - 1][2] != number
        observations.append(Obs(time - open_s, last - open_s, price, first_of_bar))
    return observations


# ------------------------------------------------------------------------------------------------
# From observations to ticks
# ------------------------------------------------------------------------------------------------


def runs_of_equal_price(obs: Sequence[Obs]) -> list[list[Obs]]:
    """Consecutive equal prices, and "The session's last observation is always a tick of its own"."""
    runs: list[list[Obs]] = []
    for one in obs[:-1]:
        if runs and runs[-1][-1].price == one.price:
            runs[-1].append(one)
        else:
            runs.append([one])
    if obs:
        runs.append([obs[-1]])
    return runs


def compress(obs: Sequence[Obs]) -> list[Tick]:
    """strategy.md: "Consecutive equal prices become one tick with its first and last second."

    The tick gapped to its price if the first of its observations did; what its later ones did was no
    movement.
    """
    ticks = []
    for run in runs_of_equal_price(obs):
        ticks.append(Tick(run[0].time, run[-1].stands, run[0].price, run[0].first_of_bar))
    return ticks


def uncompressed(obs: Sequence[Obs]) -> list[Tick]:
    """One tick per observation: "Compression changes no result: raw and compressed series give the same
    trades".

    A raw tick knows how long its price goes on standing: `until` is the last second of its whole run.
    """
    ticks = []
    for run in runs_of_equal_price(obs):
        for one in run:
            ticks.append(Tick(one.time, run[-1].stands, one.price, one.first_of_bar))
    return ticks


def opening_range(obs: Sequence[Obs], duration: int, bar_seconds: int = 0) -> Range | None:
    """strategy.md: "observations with 0 ≤ t < D (half-open). `high`, `low`, `open_price` (first),
    `count_trades` (observations; bars count once), `trading_start` (… the first observation at or after open
    + D)".

    None when the session is not tradable: "No observation in the window or none after it", that is none with
    0 ≤ t < D, or none with t ≥ D.

    "With bars, range durations and cut-offs must be whole bars, else refused": ValueError.

    Decided here: a bar is counted by its `first_of_bar` observation, so that bars that overlap count once
    each time the series passes from one to the other.
    """
    if bar_seconds and duration % bar_seconds:
        raise ValueError(f"a range of {duration} s is not whole bars of {bar_seconds} s")
    window = [one for one in obs if 0 <= one.time < duration]
    after = [one for one in obs if one.time >= duration]
    if not window or not after:
        return None
    prices = [one.price for one in window]
    count = sum(1 for one in window if one.first_of_bar) if bar_seconds else len(window)
    return Range(prices[0], max(prices), min(prices), count, after[0].time)


# ------------------------------------------------------------------------------------------------
# The day
# ------------------------------------------------------------------------------------------------


def breakout_side(price: int, rng: Range, fill: str, level_offset: int) -> int:
    """+1, -1 or 0. Under `seen`: "price > high → long, price < low → short (strict)".

    Under `level` the price must reach the entry level: "Entry level = edge ± (buffer + one tick_size)".
    """
    if fill == "seen":
        if price > rng.high:
            return LONG
        return SHORT if price < rng.low else 0
    if price >= rng.high + level_offset:
        return LONG
    return SHORT if price <= rng.low - level_offset else 0


def entry_at(
    tick: Tick, before: Tick | None, cool_end: int | None, rng: Range, fill: str, level_offset: int
) -> Position | None:
    """The position that opens at this tick, to a flat trader whose cool-off (if any) ends at `cool_end`.

    "at the tick's second and price. When a cool-off ends while a price outside the range stands (`until` ≥
    its end), the position opens at that second and price."

    Under `level`, "an entry fills at its level only if the tick before it was short of that level and the
    tick is not first of its bar", "otherwise at the tick's price. An order that begins to work (range ended,
    cool-off over) with the price already beyond the level opens at the standing price."

    Decided here: a tick at or after the cool-off's end is an ordinary tick, judged by its predecessor,
    wherever the cool-off ended before it. In the same way the first tick after the range is an ordinary tick:
    its predecessor is the last tick of the range, which can only be short of the level.
    """
    side = breakout_side(tick.price, rng, fill, level_offset)
    if side == 0:
        return None
    if cool_end is not None and tick.time < cool_end:
        if tick.until < cool_end:
            return None
        return Position(side, cool_end, tick.price, at_level=False)
    if fill == "level":
        level = rng.high + level_offset if side == LONG else rng.low - level_offset
        before_was_short = before is not None and (level - before.price) * side > 0
        if before_was_short and not tick.first_of_bar:
            return Position(side, tick.time, level, at_level=True)
    return Position(side, tick.time, tick.price, at_level=False)


def exit_at(tick: Tick, position: Position, is_last: bool, stop: int, limit: int, fill: str) -> Trade | None:
    """The trade that this tick ends, or None.

    "move = (price - entry) x side, in this order: the session's last tick closes, with reason `limit` if move
    ≥ `limit_distance`, else `close` (a reached stop included, not counted as one); move ≥ `limit_distance` →
    `limit` …; move ≤ -`stop_distance` → `stop`".

    Under `level`, "a stop or limit fills at its level unless the tick is first of its bar; otherwise at the
    tick's price". That holds for a limit on the last tick as well. A `close` is always at the tick's price.
    """
    move = (tick.price - position.price) * position.side
    if move >= limit:
        reason, level = "limit", position.price + limit * position.side
    elif is_last:
        reason, level = "close", tick.price
    elif move <= -stop:
        reason, level = "stop", position.price - stop * position.side
    else:
        return None
    price = level if fill == "level" and not tick.first_of_bar else tick.price
    return Trade(position.side, position.time, position.price, tick.time, price, reason)


def limit_at_once(tick: Tick, position: Position, limit: int) -> Trade | None:
    """strategy.md: "The tick that fills an entry at its level is tested for the limit at once".

    The trade begins and ends in the tick's second; the limit fills at its level, since no tick that fills an
    entry at its level is first of its bar.
    """
    if (tick.price - position.price) * position.side < limit:
        return None
    exit_price = position.price + limit * position.side
    return Trade(position.side, position.time, position.price, tick.time, exit_price, "limit")


def day(
    ticks: Sequence[Tick],
    rng: Range,
    *,
    stop: int,
    limit: int,
    cooloff: int,
    stop_count: int,
    fill: str = "seen",
    level_offset: int = 1,
) -> list[Trade]:
    """All trades of one session: "Ticks from `trading_start` on, in order; flat, or in one position of one
    share."

    `ticks` are the whole session's, those of the opening range included; `level_offset` is one tick_size in
    increments. "Never at the session's last tick" is an entry. "Exit, at each later tick": the tick of an
    entry is not asked for an exit, but "The tick that fills an entry at its level is tested for the limit at
    once". `limit` → "the day is over"; `stop` → "cool-off until t + max(1, `stop_cooloff_period`), and after
    `stop_count_limit` stops the day is over".

    A price that stands from inside the range's window beyond its end lies within the range: it opens nothing,
    so a tick that begins before `trading_start` is passed over.

    Decided here: distances and `stop_count` below 1 and a negative cool-off are refused.
    """
    if stop < 1 or limit < 1 or stop_count < 1 or cooloff < 0 or fill not in ("seen", "level"):
        raise ValueError("stop, limit, stop_count at least 1, cooloff at least 0, fill seen or level")
    trades: list[Trade] = []
    position: Position | None = None
    cool_end: int | None = None
    stops = 0
    for index, tick in enumerate(ticks):
        if tick.time < rng.trading_start:
            continue
        is_last = index == len(ticks) - 1

        if position is not None:
            trade = exit_at(tick, position, is_last, stop, limit, fill)
            if trade is None:
                continue
            trades.append(trade)
            position = None
            if trade.reason != "stop":
                return trades
            stops += 1
            if stops == stop_count:
                return trades
            cool_end = tick.time + max(1, cooloff)

        if not is_last:
            before = ticks[index - 1] if index > 0 else None
            position = entry_at(tick, before, cool_end, rng, fill, level_offset)
            if position is not None and position.at_level:
                trade = limit_at_once(tick, position, limit)
                if trade is not None:
                    return [*trades, trade]
    return trades


# ------------------------------------------------------------------------------------------------
# One backtest's numbers
# ------------------------------------------------------------------------------------------------


def profit_of(trade: Trade, q: int, cost: int, cost_limit: int) -> int:
    """strategy.md: "Profit = move - costs, for both sides", in increment/q; a trade with reason `limit` bears
    `cost_limit`."""
    move = (trade.exit_price - trade.entry_price) * trade.side
    return move * q - (cost_limit if trade.reason == "limit" else cost)


def session_return(profit: int, q: int, first_price: int) -> int:
    """strategy.md: "r_d = x_d ÷ the session's first price, rounded half to even to 10⁻⁸", as a whole number
    of 10⁻⁸."""
    return round(Fraction(profit, q * first_price) * 100_000_000)


def holding_micros(trades: Sequence[Trade]) -> int:
    """strategy.md: "that session's mean holding time (floored to the microsecond)", in microseconds."""
    return sum(trade.exit_time - trade.entry_time for trade in trades) * 1_000_000 // len(trades)


def signed_root(square: Fraction, sign: int) -> float:
    """The square root of an exact fraction as a float, with a sign."""
    return math.copysign(math.sqrt(float(square)), sign) if sign else 0.0


def sharpe(returns: Sequence[int]) -> float | None:
    """strategy.md: "mean(r) ÷ std(r, ddof=1) x √252"; missing for T = 1 and for zero variance."""
    count = len(returns)
    if count < 2:
        return None
    mean = Fraction(sum(returns), count)
    variance = sum(((r - mean) * (r - mean) for r in returns), Fraction(0)) / (count - 1)
    if variance == 0:
        return None
    return signed_root(mean * mean / variance * 252, (mean > 0) - (mean < 0))


def sortino(returns: Sequence[int]) -> float | None:
    """strategy.md: "mean(r) ÷ √(mean(min(r,0)²)) x √252"; missing when no r is below 0.

    Decided here: that is the only case in which it is undefined; T = 1 with a loss is -√252.
    """
    count = len(returns)
    mean = Fraction(sum(returns), count)
    downside = Fraction(sum(min(r, 0) ** 2 for r in returns), count)
    if downside == 0:
        return None
    return signed_root(mean * mean / downside * 252, (mean > 0) - (mean < 0))


def max_drawdown(returns: Sequence[int]) -> int:
    """strategy.md: "largest fall of Σ r below its running peak, the peak starting at 0; ≤ 0", in 10⁻⁸."""
    total = peak = worst = 0
    for r in returns:
        total += r
        peak = max(peak, total)
        worst = min(worst, total - peak)
    return worst


def numbers(
    days: Sequence[Sequence[Trade]],
    first_prices: Sequence[int],
    *,
    increment_nanos: int,
    q: int,
    cost: int,
    cost_limit: int,
) -> dict[str, float | int | None]:
    """Every column of "One backtest's numbers" but `resolved`, over ALL T tradable sessions (an empty list of
    trades is a session without one). `first_prices` are the sessions' first prices.

    "Undefined is missing (NaN, NULL), never infinite": None here. "T = 0 is refused": ValueError.

    Decided here: `win_rate_percent` is rounded to a whole number; a winning trade is one with a profit above
    0 after costs; each ratio is missing exactly when its own divisor is 0 (and the Sharpe ratio for T = 1).
    """
    if not days:
        raise ValueError("no tradable session")
    if len(days) != len(first_prices):
        raise ValueError("one first price per session")
    profits = [[profit_of(trade, q, cost, cost_limit) for trade in trades] for trades in days]
    every_trade = [trade for trades in days for trade in trades]
    every_profit = [profit for of_day in profits for profit in of_day]
    x = [sum(of_day) for of_day in profits]
    r = [session_return(profit, q, first) for profit, first in zip(x, first_prices, strict=True)]

    traded = [trades for trades in days if trades]
    micros = sum(holding_micros(trades) for trades in traded)
    winning_sessions = sum(1 for profit in x if profit > 0)
    count = len(every_trade)
    gains = sum(profit for profit in every_profit if profit > 0)
    losses = -sum(profit for profit in every_profit if profit < 0)
    moves = sum((trade.exit_price - trade.entry_price) * trade.side for trade in every_trade)
    dollars_per_increment = Fraction(increment_nanos, NANOS_PER_DOLLAR)
    dollars_per_unit = dollars_per_increment / q

    def mean(total: Fraction | int, divisor: int) -> float | None:
        return float(Fraction(total) / divisor) if divisor else None

    return {
        "backtest_profit": float(sum(x) * dollars_per_unit),
        "backtest_return": float(Fraction(sum(r), 100_000_000)),
        "average_holding_period": mean(Fraction(micros, 1_000_000), len(traded)),
        "win_rate_percent": round(Fraction(100 * winning_sessions, len(traded))) if traded else None,
        "sessions": len(days),
        "sessions_traded": len(traded),
        "trades": count,
        "stops": sum(1 for trade in every_trade if trade.reason == "stop"),
        "win_rate": mean(sum(1 for profit in every_profit if profit > 0), count),
        "gross_profit": float(gains * dollars_per_unit),
        "gross_loss": float(losses * dollars_per_unit),
        "profit_factor": mean(gains, losses),
        "expectancy": mean(sum(every_profit) * dollars_per_unit, count),
        "break_even_cost": mean(moves * dollars_per_increment, 2 * count),
        "sharpe_ratio": sharpe(r),
        "sortino_ratio": sortino(r),
        "max_drawdown": float(Fraction(max_drawdown(r), 100_000_000)),
    }


def median(values: Sequence[int]) -> Fraction:
    """The middle value, or the mean of the middle two."""
    ordered = sorted(int(value) for value in values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return Fraction(ordered[half])
    return Fraction(ordered[half - 1] + ordered[half], 2)


def is_resolved(stop: int, limit: int, bar_ranges: Sequence[int]) -> int:
    """strategy.md: "A backtest on bars is **resolved** (`resolved = 1`) when stop and limit are each at least
    3 x the ticker's median bar range".

    Decided here: a bar's range is its highest minus its lowest value; without bars there is nothing the bars
    could fail to resolve: 1.
    """
    if not len(bar_ranges):
        return 1
    least = 3 * median(bar_ranges)
    return 1 if stop >= least and limit >= least else 0
