"""A grid of backtests that share almost everything: strategy.md's numbers for every point, from few walks.

For one session and one stop, the first position is the same whatever the cool-off, the stop count and the limit; a
(stop, cool-off) chain fixes all further entries and stop-outs, and along it every limit and every stop count only
decides where the day ends. The first trade of a chain that reaches a limit never comes earlier for a larger limit, so
trade i of a chain ends the day for one contiguous stretch of the rising limits: those it reaches and no earlier trade
did. What is left above all stretches ends by the stop count, by the close, or by the lack of a further breakout: one
tail per stop count.

Sums over sessions of tails are steps along the limits and are kept as differences; stretches are added where they lie,
the first trade's once for all cool-offs and stop counts. Only equity, peak and drawdown need a pass over every cell and
session. Whole numbers throughout: the result is the scan's, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels.ladder import climb
from orbresearch.kernels.scan import RETURN_UNITS

#: What is summed per cell; profits in increment/q.
GAIN, LOSS, RETURNS, SQUARES, DOWNSIDE, WON, WINS, STOPS, LIMITS, CLOSES, HOLDING = range(11)
PARTS = 11


@jit
def round_ratio(numerator: int, denominator: int, inverse: float) -> Any:
    """Return numerator / denominator rounded half to even, without a division: ``inverse`` is 1 / denominator.

    The product in floating point is off by less than one; the remainder, a whole number, settles the rest. The quotient
    must be below 2**50.
    """
    quotient = np.int64(np.rint(numerator * inverse))
    twice = 2 * (numerator - quotient * denominator)
    odd = quotient & 1
    if twice > denominator or (twice == denominator and odd):
        return quotient + 1
    if twice < -denominator or (twice == -denominator and odd):
        return quotient - 1
    return quotient


@jit
def add_day(
    part: Any, gain: int, loss: int, change: int, wins: int, stops: int, limits: int, closes: int, hold: int
) -> None:
    """Add one session's outcome to a cell's parts: int64, shape (PARTS,); ``hold`` in microseconds."""
    part[GAIN] += gain
    part[LOSS] += loss
    part[RETURNS] += change
    square = change * change
    part[SQUARES] += square
    if change < 0:
        part[DOWNSIDE] += square
    if gain > loss:
        part[WON] += 1
    part[WINS] += wins
    part[STOPS] += stops
    part[LIMITS] += limits
    part[CLOSES] += closes
    part[HOLDING] += hold


@jit
def move_equity(equity: Any, peak: Any, fall: Any, row: Any) -> None:
    """Add one session's returns to the equity of cells; follow its peak and its largest fall below it (1e-8)."""
    for i in range(len(row)):
        e = equity.dtype.type(equity[i] + row[i])
        p = max(peak[i], e)
        equity[i] = e
        peak[i] = p
        fall[i] = min(fall[i], equity.dtype.type(e - p))


@jit
def find_tick(time: Any, first: int, last: int, second: int) -> int:
    """Return the first tick from ``first`` to ``last`` whose time is at or after a second; ``last`` at the latest."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if time[middle] < second:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def next_entry(
    time: Any,
    until: Any,
    price: Any,
    first_of_bar: Any,
    breakout: Any,
    j: int,
    last: int,
    ready: int,
    high: int,
    low: int,
    reach: int,
    level: bool,
) -> tuple[Any, Any, Any, Any]:
    """Return (tick, second, side, entry price) of the next position after a cool-off that ends at second ``ready``.

    Parameters
    ----------
    j : int
        A tick at or before the one that stands at ``ready``: that of the stop, or the session's first.
    breakout : int32 array
        As :func:`~orbresearch.kernels.records.link_breakouts` makes it.
    high, low, reach, level
        As in :func:`~orbresearch.kernels.backtest.simulate_session`.

    Returns
    -------
    tuple of int
        Tick -1 where no position opens any more.
    """
    k: Any = find_tick(time, j, last, ready)
    if k > j and time[k] > ready and until[k - 1] >= ready and breakout[k - 1] == k - 1:
        k -= 1  # its price stands outside when the cool-off ends
        return k, ready, 1 if price[k] > high else -1, np.int64(price[k])
    if k == j and time[k] < ready:
        return -1, 0, 0, 0
    k = np.int64(breakout[k])
    if k >= last:
        return -1, 0, 0, 0
    side = 1 if price[k] > high else -1
    entry: Any = np.int64(price[k])
    if level and first_of_bar[k] == 0:
        order = high + reach if side == 1 else low - reach
        if (order - price[k - 1]) * side > 0:
            entry = order
    return k, np.int64(time[k]), side, entry


@jit
def share_grid(
    time: Any,
    until: Any,
    price: Any,
    first_of_bar: Any,
    higher: Any,
    lower: Any,
    breakout: Any,
    ranges: Any,
    stops: Any,
    counts: Any,
    cooloffs: Any,
    limits: Any,
    reach: int,
    level: bool,
    q: int,
    cost: int,
    cost_limit: int,
    state: Any,
    first: Any,
    stretch: Any,
    tail: Any,
    slots: Any,
    memo: Any,
) -> int:
    """Run the product of four parameters over every tradable session.

    Parameters
    ----------
    time, until, price, first_of_bar
        Ticks.
    higher, lower, breakout : int32 array, shape (ticks,)
        As ``records`` makes them.
    ranges : RANGES array
    stops, limits : int64 array
        Distances in increments, any order for stops, strictly rising limits.
    counts : int64 array
        Stop counts, strictly rising.
    cooloffs : int64 array
        Seconds.
    reach, level, q, cost, cost_limit
        As in :func:`~orbresearch.kernels.scan.scan_grid`.
    state : int32 or int64 array, shape (3, stops, cooloffs, counts, limits)
        Equity, peak and fall of every cell (1e-8); zeros on entry.
    first : int64 array, shape (stops, limits, PARTS)
        Filled: days that end at a limit of their first trade, for all cool-offs and counts at once.
    stretch : int64 array, shape (stops, cooloffs, counts, limits, PARTS)
        Filled: days that end at a limit of a later trade, at the smallest count that admits it.
    tail : int64 array, shape (stops, cooloffs, counts, limits + 1, PARTS)
        Filled: days that end otherwise, at the smallest limit that they do not reach.
    slots : int64 array, shape (n >= 2, 2 * limits + 4)
        Scratch: positions followed once per stop.
    memo : int64 array, shape (2 * most ticks of a session + 2,)
        Scratch, zeros on entry: a tick's slot.

    Returns
    -------
    int
        Sessions with a trade: the same for every cell.
    """
    row = np.zeros(len(limits), state.dtype)
    traded = generation = 0
    for d in range(len(ranges)):
        day = ranges[d]
        begin, last = day["first_tick"], day["last_tick"]
        high, low = np.int64(day["high"]), np.int64(day["low"])
        k1, t1, side1, entry1 = next_entry(
            time, until, price, first_of_bar, breakout, begin, last, time[begin], high, low, reach, level
        )
        if k1 < 0:
            continue
        traded += 1
        unit = np.int64(day["first_price"]) * q
        inverse = 1.0 / unit
        for s in range(len(stops)):
            generation += 1
            used = 1
            slot = slots[0]
            n = len(limits)
            m1, end1, profit1 = climb(
                time,
                price,
                first_of_bar,
                higher,
                lower,
                k1,
                last,
                side1,
                entry1,
                stops[s],
                limits,
                level,
                q,
                cost,
                cost_limit,
                slot[4 : 4 + n],
                slot[4 + n :],
            )
            for i in range(m1):
                profit = slot[4 + n + i]
                change = round_ratio(profit * RETURN_UNITS, unit, inverse)
                row[i] = change
                gain, loss = max(profit, 0), max(-profit, 0)
                hold = (slot[4 + i] - t1) * 1_000_000
                add_day(first[s, i], gain, loss, change, 1 if profit > 0 else 0, 0, 1, 0, hold)
            for c in range(len(cooloffs)):
                reached, end, profit, entered = m1, end1, profit1, t1
                stopped = gain = loss = wins = held = closes = 0
                at = 0  # index of the smallest count that admits the present trade
                while True:
                    # the present trade's limits are settled; now how it ends where none is reached
                    if profit > 0:
                        gain += profit
                        wins += 1
                    else:
                        loss -= profit
                    over = reached == n
                    if end < 0:
                        held += np.int64(time[last]) - entered
                        closes, over = 1, True
                    else:
                        held += np.int64(time[end]) - entered
                        stopped += 1
                        if counts[at] == stopped:
                            over = over or at == len(counts) - 1
                            if not over:
                                settle(
                                    state,
                                    tail,
                                    s,
                                    c,
                                    at,
                                    at + 1,
                                    reached,
                                    row,
                                    unit,
                                    inverse,
                                    gain,
                                    loss,
                                    wins,
                                    stopped,
                                    0,
                                    held,
                                )
                                at += 1
                    if not over:
                        k, entered, side, entry = next_entry(
                            time,
                            until,
                            price,
                            first_of_bar,
                            breakout,
                            end,
                            last,
                            np.int64(time[end]) + max(1, cooloffs[c]),
                            high,
                            low,
                            reach,
                            level,
                        )
                        over = k < 0
                    if over:
                        settle(
                            state,
                            tail,
                            s,
                            c,
                            at,
                            len(counts),
                            reached,
                            row,
                            unit,
                            inverse,
                            gain,
                            loss,
                            wins,
                            stopped,
                            closes,
                            held,
                        )
                        break
                    key = 2 * (k - begin) + (1 if entry == price[k] else 0)
                    mark = memo[key] - generation * len(slots)
                    if 0 < mark < len(slots):
                        slot = slots[mark]
                    else:
                        if used == len(slots):
                            generation += 1
                            used = 1
                        slot = slots[used]
                        slot[0], slot[1], slot[2] = climb(
                            time,
                            price,
                            first_of_bar,
                            higher,
                            lower,
                            k,
                            last,
                            side,
                            entry,
                            stops[s],
                            limits,
                            level,
                            q,
                            cost,
                            cost_limit,
                            slot[4 : 4 + n],
                            slot[4 + n :],
                        )
                        memo[key] = generation * len(slots) + used
                        used += 1
                    end, profit = slot[1], slot[2]
                    for i in range(reached, slot[0]):
                        won = slot[4 + n + i]
                        all_gain, all_loss = gain + max(won, 0), loss + max(-won, 0)
                        change = round_ratio((all_gain - all_loss) * RETURN_UNITS, unit, inverse)
                        row[i] = change
                        hold = (held + slot[4 + i] - entered) * 1_000_000 // (stopped + 1)
                        more = 1 if won > 0 else 0
                        add_day(stretch[s, c, at, i], all_gain, all_loss, change, wins + more, stopped, 1, 0, hold)
                    reached = max(reached, slot[0])
    return traded


@jit
def settle(
    state: Any,
    tail: Any,
    s: int,
    c: int,
    at: int,
    end: int,
    reached: int,
    row: Any,
    unit: int,
    inverse: float,
    gain: int,
    loss: int,
    wins: int,
    stopped: int,
    closes: int,
    held: int,
) -> None:
    """End a chain's day for the counts from index ``at`` to ``end``: one tail each, and the equity of their cells."""
    n = len(row)
    if reached < n:
        change = round_ratio((gain - loss) * RETURN_UNITS, unit, inverse)
        row[reached:] = change
        hold = held * 1_000_000 // (stopped + closes)
        for k in range(at, end):
            add_day(tail[s, c, k, reached], gain, loss, change, wins, stopped, 0, closes, hold)
    for k in range(at, end):
        move_equity(state[0, s, c, k], state[1, s, c, k], state[2, s, c, k], row)


@jit
def collect_sums(
    stops: Any,
    counts: Any,
    cooloffs: Any,
    limits: Any,
    traded: int,
    q: int,
    cost: int,
    cost_limit: int,
    state: Any,
    first: Any,
    stretch: Any,
    tail: Any,
    sums: Any,
) -> None:
    """Add up the parts of points and write their SUMS.

    Parameters
    ----------
    stops, counts, cooloffs, limits : int64 array, shape (points,)
        Indices of each point's values along the axes of the other arrays.
    traded, q, cost, cost_limit, state, first, stretch, tail
        As :func:`share_grid` takes and leaves them; ``stretch`` and ``tail`` are summed up in place.
    sums : SUMS array, shape (points,)
        Filled.
    """
    shape = stretch.shape
    for s in range(shape[0]):
        for c in range(shape[1]):
            for k in range(shape[2]):
                for i in range(shape[3]):
                    for p in range(PARTS):
                        if k > 0:
                            stretch[s, c, k, i, p] += stretch[s, c, k - 1, i, p]
                        if i > 0:
                            tail[s, c, k, i, p] += tail[s, c, k, i - 1, p]
    total = np.zeros(PARTS, np.int64)
    for b in range(len(sums)):
        s, k, c, i = stops[b], counts[b], cooloffs[b], limits[b]
        for p in range(PARTS):
            total[p] = first[s, i, p] + stretch[s, c, k, i, p] + tail[s, c, k, i, p]
        out = sums[b]
        out["profit"] = total[GAIN] - total[LOSS]
        out["returns"] = total[RETURNS]
        out["squares"] = total[SQUARES]
        out["downside"] = total[DOWNSIDE]
        out["peak"] = state[1, s, c, k, i]
        out["drawdown"] = state[2, s, c, k, i]
        out["traded"] = traded
        out["won"] = total[WON]
        out["trades"] = total[STOPS] + total[LIMITS] + total[CLOSES]
        out["wins"] = total[WINS]
        out["stops"] = total[STOPS]
        out["gross_profit"] = total[GAIN]
        out["gross_loss"] = total[LOSS]
        costs = cost * (total[STOPS] + total[CLOSES]) + cost_limit * total[LIMITS]
        out["moves"] = (total[GAIN] - total[LOSS] + costs) // q
        out["holding"] = total[HOLDING]
