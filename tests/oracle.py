"""The oracle: strategy.md once more, slow and obvious, to test the package against.

It is written from strategy.md alone and shares no code with the package. Everything between reading a price
and writing the last number is whole numbers and exact fractions; floats appear only where prices come in and
where a column of the results goes out.

Scope: `day` and `opening_range` for the default rules (`side` both, `entry` breakout, no buffer, distances in
dollars from the entry, no cut-off), `rule_day` for all of the table "Rules", `rule_days` for many sessions and
`select`, the features, costs, and one backtest's numbers. Which fill and slippage `auto` means is decided by
the caller.

Units, unless a docstring says otherwise: prices and distances in increments, times in whole seconds since the
open, an increment in nanodollars (1e-9 dollars).

Where strategy.md is silent or can be read in two ways, the docstring says "Decided here".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    close_price: int  # last price of the window


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


@dataclass(frozen=True)
class Plan:
    """How one direction is traded in one session: every rule's and parameter's value, in increments."""

    side: int
    edge: int  # the range's high for a long, its low for a short
    buffer: int  # to be exceeded strictly
    tick_size: int
    stop: int  # from the entry's price, or beyond `anchor` where there is one
    limit: int | None
    anchor: int | None = None  # the level that the stop lies beyond
    limit_r_nanos: int | None = None  # limit in multiples of the trade's stop distance, times 10⁹


@dataclass(frozen=True)
class DayRules:
    """strategy.md, "Rules: what belongs to a run beside its grid", as far as they decide a session's trades.

    `fill` is the resolved one; `measure` is for `numbers`; `select` and the costs are not here. "the first
    value is the default".
    """

    fill: str = "seen"  # or "level"
    side: str = "both"  # "long", "short", "opening_bar"
    entry: str = "breakout"  # "open"
    entry_buffer: float = 0
    buffer_unit: str = "dollars"  # "percent", "range" or a feature
    stop_unit: str = "dollars"  # "percent", "range" or a feature
    limit_unit: str = "dollars"  # "percent", "range", a feature or "R"
    stop_anchor: str = "entry"  # "opposite_edge", "opposite_entry"
    entry_cutoff: int | None = None  # seconds since the open
    exit_time: int | None = None  # seconds since the open
    measure: str = "return"  # "dollars"
    tick_size: float = 0.01


@dataclass(frozen=True)
class Session:
    """A session as `rule_days` takes it; `features` in dollars (or whatever a feature of one's own is)."""

    label: str
    obs: Sequence[Obs]
    features: Mapping[str, float | Fraction | None]


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


def to_nanos(v: float | Fraction) -> int:
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
    return Range(prices[0], max(prices), min(prices), count, after[0].time, prices[-1])


# ------------------------------------------------------------------------------------------------
# The day
# ------------------------------------------------------------------------------------------------


def plain_plans(rng: Range, stop: int, limit: int | None, level_offset: int) -> list[Plan]:
    """Both directions under the default rules; `level_offset` is one tick_size in increments."""
    return [
        Plan(LONG, rng.high, 0, level_offset, stop, limit),
        Plan(SHORT, rng.low, 0, level_offset, stop, limit),
    ]


def entry_level(plan: Plan) -> int:
    """strategy.md: "Entry level = edge ± (buffer + one tick_size)"."""
    return plan.edge + plan.side * (plan.buffer + plan.tick_size)


def breaks_out(price: int, plan: Plan, fill: str) -> bool:
    """Under `seen`: "price > high → long, price < low → short (strict)", the buffer "to be exceeded strictly".

    Under `level` the price must reach the entry level.
    """
    if fill == "seen":
        return (price - plan.edge) * plan.side > plan.buffer
    return (price - entry_level(plan)) * plan.side >= 0


def entry_at(
    tick: Tick, before: Tick | None, cool_end: int | None, plans: Sequence[Plan], fill: str
) -> tuple[Position, Plan] | None:
    """The position that opens at this tick, to a flat trader whose cool-off (if any) ends at `cool_end`, and
    the plan it follows. `plans` are the directions the trader takes.

    "at the tick's second and price. When a cool-off ends while a price outside the range stands (`until` ≥
    its end), the position opens at that second and price."

    Under `level`, "an entry fills at its level only if the tick before it was short of that level and the
    tick is not first of its bar", "otherwise at the tick's price. An order that begins to work (range ended,
    cool-off over) with the price already beyond the level opens at the standing price."

    Decided here: a tick at or after the cool-off's end is an ordinary tick, judged by its predecessor,
    wherever the cool-off ended before it. In the same way the first tick after the range is an ordinary tick:
    its predecessor is the last tick of the range, which can only be short of the level.
    """
    for plan in plans:
        if not breaks_out(tick.price, plan, fill):
            continue
        if cool_end is not None and tick.time < cool_end:
            if tick.until < cool_end:
                return None
            return Position(plan.side, cool_end, tick.price, at_level=False), plan
        if fill == "level":
            level = entry_level(plan)
            before_was_short = before is not None and (level - before.price) * plan.side > 0
            if before_was_short and not tick.first_of_bar:
                return Position(plan.side, tick.time, level, at_level=True), plan
        return Position(plan.side, tick.time, tick.price, at_level=False), plan
    return None


def stop_of(position: Position, plan: Plan) -> int:
    """A trade's stop distance from its entry's price.

    "`stop_anchor` … `opposite_edge`, `opposite_entry`: the stop lies `stop_distance` (0 allowed) beyond that
    level". Decided here: a stop that would lie at the entry's price or on its wrong side lies one increment
    from the entry.
    """
    if plan.anchor is None:
        return plan.stop
    stop_price = plan.anchor - plan.side * plan.stop
    return max(1, (position.price - stop_price) * plan.side)


def limit_of(position: Position, plan: Plan) -> int | None:
    """A trade's limit distance from its entry's price; None: no limit.

    "`limit_unit` also `R`: multiples of that trade's stop distance". Decided here: of its distance in whole
    increments, as `stop_of` gives it; the multiple is rounded up, at least 1.
    """
    if plan.limit_r_nanos is None:
        return plan.limit
    return max(1, math.ceil(Fraction(plan.limit_r_nanos * stop_of(position, plan), NANOS_PER_DOLLAR)))


def exit_at(tick: Tick, position: Position, is_last: bool, stop: int, limit: int | None, fill: str) -> Trade | None:
    """The trade that this tick ends, or None. Without a limit it never ends by limit, nor at the last tick.

    "move = (price - entry) x side, in this order: the session's last tick closes, with reason `limit` if move
    ≥ `limit_distance`, else `close` (a reached stop included, not counted as one); move ≥ `limit_distance` →
    `limit` …; move ≤ -`stop_distance` → `stop`".

    Under `level`, "a stop or limit fills at its level unless the tick is first of its bar; otherwise at the
    tick's price". That holds for a limit on the last tick as well. A `close` is always at the tick's price.
    """
    move = (tick.price - position.price) * position.side
    if limit is not None and move >= limit:
        reason, level = "limit", position.price + limit * position.side
    elif is_last:
        reason, level = "close", tick.price
    elif move <= -stop:
        reason, level = "stop", position.price - stop * position.side
    else:
        return None
    price = level if fill == "level" and not tick.first_of_bar else tick.price
    return Trade(position.side, position.time, position.price, tick.time, price, reason)


def limit_at_once(tick: Tick, position: Position, limit: int | None) -> Trade | None:
    """strategy.md: "The tick that fills an entry at its level is tested for the limit at once".

    The trade begins and ends in the tick's second; the limit fills at its level, since no tick that fills an
    entry at its level is first of its bar.
    """
    if limit is None or (tick.price - position.price) * position.side < limit:
        return None
    exit_price = position.price + limit * position.side
    return Trade(position.side, position.time, position.price, tick.time, exit_price, "limit")


def day(
    ticks: Sequence[Tick],
    rng: Range,
    *,
    stop: int,
    limit: int | None,
    cooloff: int,
    stop_count: int,
    fill: str = "seen",
    level_offset: int = 1,
) -> list[Trade]:
    """All trades of one session under the default rules: "Ticks from `trading_start` on, in order; flat, or
    in one position of one share."

    `ticks` are the whole session's, those of the opening range included; `level_offset` is one tick_size in
    increments; a `limit` of None is no limit.

    Decided here: distances and `stop_count` below 1 and a negative cool-off are refused.
    """
    if stop < 1 or (limit is not None and limit < 1) or stop_count < 1 or cooloff < 0:
        raise ValueError("stop, limit, stop_count at least 1, cooloff at least 0")
    if fill not in ("seen", "level"):
        raise ValueError("fill seen or level")
    plans = plain_plans(rng, stop, limit, level_offset)
    return breakout_day(ticks, rng.trading_start, plans, cooloff=cooloff, stop_count=stop_count, fill=fill)


def breakout_day(
    ticks: Sequence[Tick],
    trading_start: int,
    plans: Sequence[Plan],
    *,
    cooloff: int,
    stop_count: int,
    fill: str,
    cutoff: int | None = None,
) -> list[Trade]:
    """All trades of one session with `entry` breakout, in the directions of `plans`.

    "Never at the session's last tick" is an entry. "Exit, at each later tick": the tick of an entry is not
    asked for an exit, but "The tick that fills an entry at its level is tested for the limit at once". `limit`
    → "the day is over"; `stop` → "cool-off until t + max(1, `stop_cooloff_period`), and after
    `stop_count_limit` stops the day is over". `entry_cutoff`: "the second of an entry (a cool-off's end where
    that opens it) must be before it".

    A price that stands from inside the range's window beyond its end lies within the range: it opens nothing,
    so a tick that begins before `trading_start` is passed over.
    """
    trades: list[Trade] = []
    position: Position | None = None
    plan: Plan | None = None
    cool_end: int | None = None
    stops = 0
    for index, tick in enumerate(ticks):
        if tick.time < trading_start:
            continue
        is_last = index == len(ticks) - 1

        if position is not None and plan is not None:
            trade = exit_at(tick, position, is_last, stop_of(position, plan), limit_of(position, plan), fill)
            if trade is None:
                continue
            trades.append(trade)
            position = plan = None
            if trade.reason != "stop":
                return trades
            stops += 1
            if stops == stop_count:
                return trades
            cool_end = tick.time + max(1, cooloff)

        if not is_last:
            before = ticks[index - 1] if index > 0 else None
            entry = entry_at(tick, before, cool_end, plans, fill)
            if entry is None or (cutoff is not None and entry[0].time >= cutoff):
                continue
            position, plan = entry
            if position.at_level:
                trade = limit_at_once(tick, position, limit_of(position, plan))
                if trade is not None:
                    return [*trades, trade]
    return trades


def open_day(
    ticks: Sequence[Tick], trading_start: int, plan: Plan, *, fill: str, cutoff: int | None = None
) -> list[Trade]:
    """The trade (if any) of one session with `entry` open: "at second `trading_start`, at the price standing,
    in the opening bar's direction, once a day (a stop ends the day)".

    The price may stand there from inside the range's window on: its tick is the last that began by then.

    Decided here: a market order, at that price under both fills, not tested for the limit at once; the exit
    checks begin with the next tick. "Never at the session's last tick" and `entry_cutoff` hold for it too.
    """
    standing = [index for index, tick in enumerate(ticks) if tick.time <= trading_start][-1]
    if standing == len(ticks) - 1 or (cutoff is not None and trading_start >= cutoff):
        return []
    position = Position(plan.side, trading_start, ticks[standing].price, at_level=False)
    stop, limit = stop_of(position, plan), limit_of(position, plan)
    for index in range(standing + 1, len(ticks)):
        trade = exit_at(ticks[index], position, index == len(ticks) - 1, stop, limit, fill)
        if trade is not None:
            return [trade]
    raise AssertionError("the last tick closes")


# ------------------------------------------------------------------------------------------------
# The day under all rules
# ------------------------------------------------------------------------------------------------


def until_exit_time(ticks: Sequence[Tick], x: int) -> list[Tick]:
    """strategy.md: "observations after second x take no part; where there are any, the last tick is (x, price
    standing at x)".

    A tick of its own: every tick before it ends by x - 1. Where the session's last observation is at x or
    before (an early close), nothing changes.

    Decided here: a price that stood from before x to an observation after x stood in between, whichever
    observations showed it (but for the session's last, a tick of its own): a cool-off may end there.
    Otherwise the trades would depend on observations that compression leaves out, and "Compression changes no
    result". The tick at x is `first_of_bar` only if one that begins at x is: at an unchanged price it decides
    nothing.
    """
    if not ticks or ticks[-1].time <= x:
        return list(ticks)
    kept = [tick for tick in ticks if tick.time <= x]
    if not kept:
        return []
    earlier = [tick for tick in kept if tick.time < x]
    first_of_bar = kept[-1].time == x and kept[-1].first_of_bar
    cut = [Tick(one.time, min(one.until, x - 1), one.price, one.first_of_bar) for one in earlier]
    return [*cut, Tick(x, x, kept[-1].price, first_of_bar)]


def is_missing(value: float | Fraction | None) -> bool:
    """Whether a feature has no value: None, or (Decided here) not a finite number."""
    return value is None or not math.isfinite(value)


def needed_features(rules: DayRules) -> list[str]:
    """The features whose absence makes a session not tradable: those the units name.

    `range` is always there: it is the opening range's own width.

    Decided here: a unit needs its feature whatever is measured in it (a buffer of 0, no limit at all), so
    that T is the same for every point of a grid.
    """
    units = {rules.buffer_unit, rules.stop_unit, rules.limit_unit}
    return sorted(units - {"dollars", "percent", "range", "R"})


def unit_nanos(
    unit: str, rng: Range, side: int, features: Mapping[str, float | Fraction | None], increment_nanos: int
) -> Fraction:
    """What one of a unit is worth, in nanodollars.

    "`dollars`; `percent` of the edge on the trade's side; any price-valued column of `sessions.features`".

    Decided here: a feature's value is, like a parameter, the integer round(f·10⁹); a percent is an exact
    hundredth of the edge; `range` is high - low of this session at the run's duration, whatever `features`
    holds.
    """
    if unit == "dollars":
        return Fraction(NANOS_PER_DOLLAR)
    if unit == "percent":
        return Fraction((rng.high if side == LONG else rng.low) * increment_nanos, 100)
    if unit == "range":
        return Fraction((rng.high - rng.low) * increment_nanos)
    value = features[unit]
    assert value is not None
    return Fraction(to_nanos(value))


def in_increments(v: float, one_unit: Fraction, increment_nanos: int, at_least: int) -> int:
    """strategy.md: "A parameter v is the integer round(v·10⁹); its conversion to increments is an exact
    integer ceiling …, at least 1 for stop and limit".

    Decided here: of the exact product of v and its unit, which is not rounded in between.
    """
    nanos = Fraction(to_nanos(v), NANOS_PER_DOLLAR) * one_unit
    return max(at_least, math.ceil(nanos / increment_nanos))


def checked(rules: DayRules, stop: float, limit: float | None, cooloff: int, stop_count: int) -> None:
    """Refuse what no rule allows.

    Decided here: `entry` open goes with `side` opening_bar only. Only a limit can be in `R`. Negative
    distances and buffers are refused; a distance of 0 is raised to one increment, but for an anchored stop.
    """
    allowed = {
        "fill": ("seen", "level"),
        "side": ("both", "long", "short", "opening_bar"),
        "entry": ("breakout", "open"),
        "stop_anchor": ("entry", "opposite_edge", "opposite_entry"),
        "measure": ("return", "dollars"),
    }
    for name, values in allowed.items():
        if getattr(rules, name) not in values:
            raise ValueError(f"{name} {getattr(rules, name)!r} is none of {values}")
    if rules.entry == "open" and rules.side != "opening_bar":
        raise ValueError("entry open goes in the opening bar's direction")
    if "R" in (rules.stop_unit, rules.buffer_unit):
        raise ValueError("only a limit can be in R")
    if stop < 0 or (limit is not None and limit < 0) or rules.entry_buffer < 0 or rules.tick_size <= 0:
        raise ValueError("distances and buffers at least 0, tick_size above 0")
    if stop_count < 1 or cooloff < 0:
        raise ValueError("stop_count at least 1, cooloff at least 0")


def sides_of(rules: DayRules, rng: Range) -> list[int]:
    """The directions in which positions may open.

    "`both`, `long`, `short`, `opening_bar`: only in the direction open → last price of the range, none when
    equal".
    """
    if rules.side == "opening_bar":
        if rng.close_price == rng.open_price:
            return []
        return [LONG if rng.close_price > rng.open_price else SHORT]
    return {"both": [LONG, SHORT], "long": [LONG], "short": [SHORT]}[rules.side]


def plan_of(
    side: int,
    rng: Range,
    rules: DayRules,
    stop: float,
    limit: float | None,
    features: Mapping[str, float | Fraction | None],
    increment_nanos: int,
) -> Plan:
    """One direction's plan in one session.

    Decided here: buffer, tick_size, stop and limit are each converted for themselves. `opposite_entry` is the
    level at which the other direction's order would rest (edge, buffer and tick_size of that direction),
    under `seen` too and also when `side` leaves that direction out.
    """

    def buffer_of(one: int) -> int:
        unit = unit_nanos(rules.buffer_unit, rng, one, features, increment_nanos)
        return in_increments(rules.entry_buffer, unit, increment_nanos, at_least=0)

    tick_size = to_increments(rules.tick_size, increment_nanos)
    edges = {LONG: rng.high, SHORT: rng.low}
    anchor = None
    if rules.stop_anchor == "opposite_edge":
        anchor = edges[-side]
    if rules.stop_anchor == "opposite_entry":
        anchor = edges[-side] - side * (buffer_of(-side) + tick_size)

    stop_unit = unit_nanos(rules.stop_unit, rng, side, features, increment_nanos)
    stop_distance = in_increments(stop, stop_unit, increment_nanos, at_least=1 if anchor is None else 0)
    limit_distance = limit_r_nanos = None
    if limit is not None and rules.limit_unit == "R":
        limit_r_nanos = to_nanos(limit)
    elif limit is not None:
        limit_unit = unit_nanos(rules.limit_unit, rng, side, features, increment_nanos)
        limit_distance = in_increments(limit, limit_unit, increment_nanos, at_least=1)
    return Plan(side, edges[side], buffer_of(side), tick_size, stop_distance, limit_distance, anchor, limit_r_nanos)


def rule_day(
    obs: Sequence[Obs],
    duration: int,
    bar_seconds: int,
    rules: DayRules,
    *,
    stop: float,
    limit: float | None,
    cooloff: int,
    stop_count: int,
    increment_nanos: int,
    features: Mapping[str, float | Fraction | None],
    plays: bool = True,
) -> list[Trade] | None:
    """All trades of one session under any rules, or None when it is not tradable under them.

    `stop` and `limit` are as a user gives them (dollars, percent, or multiples of a feature or of R); `plays`
    is false where `select` leaves the day flat: it is in T, without a trade.

    Not tradable: no opening range; "`trading_start` ≥ x"; a unit's feature missing ("A session without that
    history is not tradable under a rule that needs it"; Decided here: not in `features` at all is the same).

    Decided here: "With bars, range durations and cut-offs must be whole bars, else refused" is said of
    `entry_cutoff` and `exit_time`. The opening range never sees `exit_time`: the session trades after it or
    not at all.
    """
    checked(rules, stop, limit, cooloff, stop_count)
    for cut in (rules.entry_cutoff, rules.exit_time):
        if bar_seconds and cut is not None and cut % bar_seconds:
            raise ValueError(f"a cut-off at {cut} s is not whole bars of {bar_seconds} s")
    rng = opening_range(obs, duration, bar_seconds)
    if rng is None or (rules.exit_time is not None and rng.trading_start >= rules.exit_time):
        return None
    if any(is_missing(features.get(name)) for name in needed_features(rules)):
        return None
    if not plays:
        return []

    ticks = compress(obs)
    if rules.exit_time is not None:
        ticks = until_exit_time(ticks, rules.exit_time)
    return rule_trades(
        ticks,
        rng,
        rules,
        stop=stop,
        limit=limit,
        cooloff=cooloff,
        stop_count=stop_count,
        increment_nanos=increment_nanos,
        features=features,
    )


def rule_trades(
    ticks: Sequence[Tick],
    rng: Range,
    rules: DayRules,
    *,
    stop: float,
    limit: float | None,
    cooloff: int,
    stop_count: int,
    increment_nanos: int,
    features: Mapping[str, float | Fraction | None],
) -> list[Trade]:
    """The trades of a tradable session that plays, from its ticks up to `exit_time`."""
    plans = [plan_of(side, rng, rules, stop, limit, features, increment_nanos) for side in sides_of(rules, rng)]
    if rules.entry == "breakout":
        return breakout_day(
            ticks,
            rng.trading_start,
            plans,
            cooloff=cooloff,
            stop_count=stop_count,
            fill=rules.fill,
            cutoff=rules.entry_cutoff,
        )
    if not plans:
        return []
    return open_day(ticks, rng.trading_start, plans[0], fill=rules.fill, cutoff=rules.entry_cutoff)


def rule_days(
    sessions: Sequence[Session],
    duration: int,
    bar_seconds: int,
    rules: DayRules,
    *,
    stop: float,
    limit: float | None,
    cooloff: int,
    stop_count: int,
    increment_nanos: int,
    dates: Collection[str] | None = None,
    feature: str | None = None,
    condition: Callable[[Any], bool] | None = None,
) -> tuple[list[list[Trade]], list[int]]:
    """(trades, first prices) of the T tradable sessions, as `numbers` takes them.

    `select`: "by date (others leave T) or by a feature (others stay as flat days, x_d = 0 …)": `dates` are
    the labels that stay, and `condition` says of a value of `feature` whether the day is played.

    Decided here: a session without that feature is "not tradable under a rule that needs it".
    """
    days, first_prices = [], []
    for session in sessions:
        if dates is not None and session.label not in dates:
            continue
        plays = True
        if feature is not None and condition is not None:
            value = session.features.get(feature)
            if is_missing(value):
                continue
            plays = condition(value)
        trades = rule_day(
            session.obs,
            duration,
            bar_seconds,
            rules,
            stop=stop,
            limit=limit,
            cooloff=cooloff,
            stop_count=stop_count,
            increment_nanos=increment_nanos,
            features=session.features,
            plays=plays,
        )
        if trades is not None:
            days.append(trades)
            first_prices.append(session.obs[0].price)
    return days, first_prices


# ------------------------------------------------------------------------------------------------
# Features of sessions
# ------------------------------------------------------------------------------------------------


def true_range(obs: Sequence[Obs], previous_close: int) -> int:
    """strategy.md: "true range (max(high, previous close) - min(low, previous close))", in increments, of the
    whole session's observations."""
    prices = [one.price for one in obs]
    return max(*prices, previous_close) - min(*prices, previous_close)


def open_to_nearer_extreme(obs: Sequence[Obs]) -> int:
    """strategy.md: "|open - nearer extreme of the session|", in increments; the open is the first
    observation."""
    prices = [one.price for one in obs]
    return min(max(prices) - prices[0], prices[0] - min(prices))


def mean_dollars(increments: Sequence[int], increment_nanos: int) -> Fraction:
    """The exact mean of distances, in dollars."""
    return Fraction(sum(increments) * increment_nanos, len(increments) * NANOS_PER_DOLLAR)


def atr(sessions: Sequence[Sequence[Obs]], increment_nanos: int) -> list[Fraction | None]:
    """strategy.md: "mean true range … of the 14 loaded sessions with data before this one, whatever `select`
    says", for each of the loaded sessions; None without that history.

    Decided here: a session with data has an observation; the previous close is the last price of the session
    with data before it. The first one has no true range, so that an `atr` needs 15 before it.
    """
    values: list[Fraction | None] = []
    for index in range(len(sessions)):
        before = [obs for obs in sessions[:index] if obs]
        ranges = [true_range(obs, previous[-1].price) for previous, obs in pairwise(before)]
        values.append(mean_dollars(ranges[-14:], increment_nanos) if len(ranges) >= 14 else None)
    return values


def stretch(sessions: Sequence[Sequence[Obs]], increment_nanos: int) -> list[Fraction | None]:
    """strategy.md: "mean over the 10 before of |open - nearer extreme of the session|", for each of the loaded
    sessions; None without that history. Decided here: the 10 are loaded sessions with data, as of `atr`."""
    values: list[Fraction | None] = []
    for index in range(len(sessions)):
        before = [open_to_nearer_extreme(obs) for obs in sessions[:index] if obs]
        values.append(mean_dollars(before[-10:], increment_nanos) if len(before) >= 10 else None)
    return values


def range_width(obs: Sequence[Obs], duration: int, bar_seconds: int, increment_nanos: int) -> Fraction | None:
    """The feature `range`: high - low of the opening range, in dollars; None without a range."""
    rng = opening_range(obs, duration, bar_seconds)
    return None if rng is None else mean_dollars([rng.high - rng.low], increment_nanos)


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


def session_dollars(profit: int, q: int, increment_nanos: int) -> int:
    """strategy.md: "`measure` … `dollars`": r_d is x_d, as a whole number of 10⁻⁸ dollars.

    Decided here: rounded as a return is, half to even.
    """
    return round(Fraction(profit * increment_nanos, q * NANOS_PER_DOLLAR) * 100_000_000)


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
    measure: str = "return",
) -> dict[str, float | int | None]:
    """Every column of "One backtest's numbers" but `resolved`, over ALL T tradable sessions (an empty list of
    trades is a session without one). `first_prices` are the sessions' first prices; with `measure` dollars
    they decide nothing.

    "Undefined is missing (NaN, NULL), never infinite": None here. "T = 0 is refused": ValueError.

    Decided here: `win_rate_percent` is rounded to a whole number; a winning trade is one with a profit above
    0 after costs; each ratio is missing exactly when its own divisor is 0 (and the Sharpe ratio for T = 1).
    """
    if not days:
        raise ValueError("no tradable session")
    if len(days) != len(first_prices):
        raise ValueError("one first price per session")
    if measure not in ("return", "dollars"):
        raise ValueError("measure return or dollars")
    profits = [[profit_of(trade, q, cost, cost_limit) for trade in trades] for trades in days]
    every_trade = [trade for trades in days for trade in trades]
    every_profit = [profit for of_day in profits for profit in of_day]
    x = [sum(of_day) for of_day in profits]
    if measure == "dollars":
        r = [session_dollars(profit, q, increment_nanos) for profit in x]
    else:
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


def is_resolved(stop: int, limit: int | None, bar_ranges: Sequence[int]) -> int:
    """strategy.md: "A backtest on bars is **resolved** (`resolved = 1`) when stop and limit are each at least
    3 x the ticker's median bar range".

    Decided here: a bar's range is its highest minus its lowest value; without bars there is nothing the bars
    could fail to resolve: 1. Without a limit the stop alone decides.
    """
    if not len(bar_ranges):
        return 1
    least = 3 * median(bar_ranges)
    return 1 if stop >= least and (limit is None or limit >= least) else 0
