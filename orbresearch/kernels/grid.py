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
from orbresearch.kernels.entry import next_entry
from orbresearch.kernels.ladder import climb
from orbresearch.kernels.parts import add_day, round_ratio, settle
from orbresearch.kernels.scan import RETURN_UNITS


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
