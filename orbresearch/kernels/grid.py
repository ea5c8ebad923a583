"""A grid of backtests that share almost everything: strategy.md's numbers for every point, from few walks.

For one session and one stop, the first position is the same whatever the cool-off, the stop count and the limit; a
(stop, cool-off) chain fixes all further entries and stop-outs, and along it every limit and every stop count only
decides where the day ends. The first trade of a chain that reaches a limit never comes earlier for a larger limit, so
trade i of a chain ends the day for one contiguous stretch of the rising limits: those it reaches and no earlier trade
did. What is left above all stretches ends by the stop count, by the close, or by the lack of a further breakout: one
tail per stop count.

A position's ladder (where its limits lie) is climbed once for all chains that open it, a little further for each larger
stop. Sums over sessions are kept as differences: of the first trade's stretch along the stops, of later ones' along the
stop counts, of tails along stop counts and limits. Only equity and drawdown need a pass over every cell and session.
Whole numbers throughout: the result is the scan's, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit
from orbresearch.kernels.arguments import Links, Terms, stop_from
from orbresearch.kernels.entry import first_entry, next_entry
from orbresearch.kernels.ladder import ADVERSE, FAVOURABLE, LADDER, REACHED, climb
from orbresearch.kernels.parts import PARTS, add_day, move_equity, round_ratio, take_day, write_day


@jit
def share_grid(
    links: Links,
    days: Any,
    terms: Terms,
    stops: Any,
    counts: Any,
    cooloffs: Any,
    limits: Any,
    state: Any,
    first: Any,
    stretch: Any,
    tail: Any,
    slots: Any,
    memo: Any,
    daily: Any,
) -> int:
    """Run the product of four parameters over every tradable session.

    Cells are numbered in the order (stop, cool-off, count, limit).

    Parameters
    ----------
    links : Links
    days : DAYS array
    terms : Terms
    stops, limits : int64 array, shape (1 or days, 2, n)
        Distances of longs and shorts, for each day or for all, rising: as in
        :func:`~orbresearch.kernels.backtest.simulate_session`.
    counts : int64 array
        Stop counts, strictly rising.
    cooloffs : int64 array
        Seconds.
    state : int32 or int64 array, shape (2, cells)
        How far every cell lies below its peak, and its largest fall (units of return); zeros on entry.
    first : int64 array, shape (stops * limits, PARTS)
        Zeros on entry. Days that end at a limit of their first trade, at the smallest stop from which on they do.
    stretch : int64 array, shape (cells, PARTS)
        Zeros on entry. Days that end at a limit of a later trade, at the smallest count that admits it.
    tail : int64 array, shape (cells, PARTS), counts last: (stop, cool-off, limit, count)
        Zeros on entry. Days that end otherwise, at the smallest limit that they do not reach and the smallest count.
    slots : int64 array, shape (n >= 2, 2 * limits + LADDER)
        Scratch: ladders of positions.
    memo : int64 array, shape (2 * most ticks of a session + 4,)
        Scratch, zeros on entry: a tick's slot.
    daily : array of the type of ``state``, shape (days or 0, cells)
        Where it has days: filled with every cell's return of every day (units of return); zeros on entry.

    Returns
    -------
    int
        Sessions with a trade: the same for every cell.
    """
    nodes = links.nodes
    n, row, outcome = limits.shape[2], np.zeros(limits.shape[2], state.dtype), np.zeros(PARTS, np.int64)
    traded = generation = 0
    for d in range(len(days)):
        day = days[d]
        start, begin, last = links.start[d], day["first_tick"] - 1, day["last_tick"]
        k1, t1, side1, entry1 = first_entry(links, day, start, terms)
        if k1 < 0:
            continue
        traded += 1
        unit = np.int64(day["base"]) * terms.q
        inverse = 1.0 / unit
        closing = np.int64(nodes[last]["stamp"] >> 1)
        stop_row, limit_row = min(d, len(stops) - 1), min(d, len(limits) - 1)
        used, known = 1, 0  # slots of this generation; limits of the first trade whose returns are in the row
        for s in range(stops.shape[2]):
            if s == 0 or terms.by_stop:  # its limits are other prices for every stop
                generation += 1
                used, known = 1, 0
                slots[0, ADVERSE], slots[0, FAVOURABLE], slots[0, REACHED] = k1, k1, 0
            stop = stop_from(day, terms, side1, entry1, stops[stop_row, 0 if side1 > 0 else 1, s])
            m1, end1, profit1 = climb(nodes, terms, k1, last, side1, entry1, stop, limits, limit_row, slots, 0)
            for i in range(known, m1):
                profit = slots[0, LADDER + n + i]
                change = round_ratio(profit * terms.scale, unit, inverse)
                row[i] = change
                held = slots[0, LADDER + i] - t1
                write_day(outcome, max(profit, 0), max(-profit, 0), change, 1 if profit > 0 else 0, 0, 1, 0, held)
                add_day(first, s * n + i, outcome)
                if terms.by_stop and s + 1 < stops.shape[2]:
                    take_day(first, (s + 1) * n + i, outcome)
            known = m1
            for c in range(len(cooloffs)):
                chain = (s * len(cooloffs) + c) * len(counts)
                reached, end, profit, entered = m1, end1, profit1, t1
                stopped = gain = loss = wins = held = closes = at = 0  # at: the smallest count that admits the trade
                while True:
                    # the present trade's limits are settled; now how it ends where none is reached
                    if profit > 0:
                        gain += profit
                        wins += 1
                    else:
                        loss -= profit
                    over, until, ended = terms.once or reached == n, at, closing
                    if end < 0:
                        closes, over = 1, True
                    else:
                        ended = np.int64(nodes[end]["stamp"] >> 1)
                        stopped += 1
                        if counts[at] == stopped:
                            until = at + 1
                            over = over or until == len(counts)
                    held += ended - entered
                    k = side = entry = 0
                    if not over:
                        k, entered, side, entry = next_entry(links, day, start, terms, ended + max(1, cooloffs[c]))
                        over = k < 0
                    if over:
                        until = len(counts)
                    if until > at:  # the day ends here for these counts, wherever no limit was reached
                        if reached < n:
                            change = round_ratio((gain - loss) * terms.scale, unit, inverse)
                            row[reached:] = change
                            write_day(outcome, gain, loss, change, wins, stopped, 0, closes, held)
                            end_of = chain * n + reached * len(counts)
                            add_day(tail, end_of + at, outcome)
                            if until < len(counts):
                                take_day(tail, end_of + until, outcome)
                        for j in range(at, until):
                            move_equity(state, (chain + j) * n, row)
                            if len(daily) > 0:
                                for i in range(n):
                                    daily[d, (chain + j) * n + i] = row[i]
                        at = until
                    if over:
                        break
                    key = 2 * (k - begin) + (1 if entry == nodes[k]["price"] else 0)
                    mark = memo[key] - generation * len(slots)
                    if mark <= 0 or mark >= len(slots):
                        if used == len(slots):
                            generation += 1
                            used = 1
                        mark = used
                        used += 1
                        memo[key] = generation * len(slots) + mark
                        slots[mark, ADVERSE], slots[mark, FAVOURABLE], slots[mark, REACHED] = k, k, 0
                    stop = stop_from(day, terms, side, entry, stops[stop_row, 0 if side > 0 else 1, s])
                    up_to, end, profit = climb(nodes, terms, k, last, side, entry, stop, limits, limit_row, slots, mark)
                    for i in range(reached, up_to):
                        won = slots[mark, LADDER + n + i]
                        all_gain, all_loss = gain + max(won, 0), loss + max(-won, 0)
                        change = round_ratio((all_gain - all_loss) * terms.scale, unit, inverse)
                        row[i] = change
                        more, hold = wins + (1 if won > 0 else 0), held + slots[mark, LADDER + i] - entered
                        write_day(outcome, all_gain, all_loss, change, more, stopped, 1, 0, hold)
                        add_day(stretch, (chain + at) * n + i, outcome)
                    reached = max(reached, up_to)
    return traded
