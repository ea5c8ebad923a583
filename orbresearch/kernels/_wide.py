"""Whole numbers wider than 64 bits, as pairs: so that a variance is exactly zero where it is zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.kernels._jit import jit

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_MOST = np.uint64(0xFFFFFFFFFFFFFFFF)


@jit
def multiply(a: Any, b: Any) -> tuple[Any, Any]:
    """Return (high, low) of the 128-bit product of two non-negative int64: high * 2**64 + low, as uint64."""
    a, b = np.uint64(a), np.uint64(b)
    a_high, a_low, b_high, b_low = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
    low = a_low * b_low
    middle = a_high * b_low + (low >> _HALF)
    middle_2 = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (middle_2 >> _HALF), (middle_2 << _HALF) | (low & _LOW)


@jit
def scaled_variance(count: int, total: int, squares: int) -> float:
    """Return ``count * squares - total**2`` (>= 0, exact, then rounded to float64).

    Parameters
    ----------
    count, total, squares : int
        Number, sum and sum of squares of whole numbers: int64, ``squares >= 0``.
    """
    left_high, left_low = multiply(count, squares)
    right_high, right_low = multiply(abs(total), abs(total))
    high = left_high - right_high
    if left_low >= right_low:
        low = left_low - right_low
    else:  # borrow
        high -= _ONE
        low = (_MOST - right_low) + left_low + _ONE
    return np.float64(high) * 18446744073709551616.0 + np.float64(low)
