"""From observations to ticks: strategy.md, "From rows to a tick series"."""

from __future__ import annotations

from typing import Any

from orbresearch.kernels._jit import jit


@jit
def compress_session(
    time: Any, price: Any, first_of_bar: Any, stands: Any, out_time: Any, out_until: Any, out_price: Any, out_first: Any
) -> int:
    """Merge one session's consecutive equal prices into ticks; return how many there are.

    Parameters
    ----------
    time, price : int32 array, shape (n,)
        Observations in order: seconds since the open, increments. n >= 1.
    first_of_bar : uint8 array, shape (n,)
        1 where an observation is the first of its bar.
    stands : uint8 array, shape (n,)
        1 where an observation stands until the next one (inside a bar), 0 where it stands for its own second only.
    out_time, out_until, out_price : int32 array, shape (>= n,)
    out_first : uint8 array, shape (>= n,)
        Filled from the start. The first tick of a session is always ``first``: nothing stood before it.

    Notes
    -----
    The session's last observation is a tick of its own even at an unchanged price: it fixes the end-of-day exit.
    """
    n = len(time)
    count = 0
    for i in range(n):
        until = time[i + 1] - 1 if stands[i] == 1 and i + 1 < n else time[i]
        if count > 0 and i < n - 1 and price[i] == out_price[count - 1]:
            out_until[count - 1] = until
            continue
        out_time[count] = time[i]
        out_until[count] = until
        out_price[count] = price[i]
        out_first[count] = 1 if i == 0 else first_of_bar[i]
        count += 1
    return count


@jit
def cut_session(
    time: Any,
    until: Any,
    price: Any,
    first_of_bar: Any,
    second: int,
    out_time: Any,
    out_until: Any,
    out_price: Any,
    out_first: Any,
) -> int:
    """Copy one session's ticks up to a second; return how many there are.

    Parameters
    ----------
    time, until, price : int32 array, shape (n,)
    first_of_bar : uint8 array, shape (n,)
        Ticks of the session, n >= 1.
    second : int
        Since the open: observations after it take no part. Where there are any, the last tick is a tick of its own at
        this second, at the price then standing.
    out_time, out_until, out_price, out_first : arrays, shape (>= n + 1,)
        Filled from the start.
    """
    n = len(time)
    count = 0
    for i in range(n):
        if i > 0 and time[i] > second:
            break
        out_time[i], out_until[i], out_price[i], out_first[i] = time[i], until[i], price[i], first_of_bar[i]
        count += 1
    at = count - 1
    if time[n - 1] <= second or time[at] > second:
        return count
    if time[at] < second:
        out_until[at] = min(until[at], second - 1)
        at = count
        out_time[at], out_price[at], out_first[at] = second, price[at - 1], 0
        count += 1
    out_until[at] = second
    return count
