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
