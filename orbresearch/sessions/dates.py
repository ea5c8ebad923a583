"""Dates as people give them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from orbresearch.errors import BadInput


def read_date(name: str, given: Any) -> Any:
    """Return a date-like argument as datetime64[D], None as None.

    Raises
    ------
    BadInput
        It is none; ``name`` says which argument it is.
    """
    if given is None:
        return None
    text = str(given)[:10]
    try:
        found: Any = np.datetime64(text if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else "NaT", "D")
    except ValueError:
        found = np.datetime64("NaT")
    if np.isnat(found):
        raise BadInput(name, f"{given!r} is no date", "give e.g. 2024-03-26")
    return found
