"""The exchange calendar: which sessions exist, and when they really open and close.

A session is a naive date; open and close are UTC instants. Daylight saving and early closes come from
exchange_calendars, never from the rows that happen to exist.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from orbresearch.errors import BadInput

DEFAULT_CALENDAR = "XNYS"


@dataclass(frozen=True, eq=False)
class Schedule:
    """Sessions of a calendar, in columns.

    Parameters
    ----------
    calendar : str
        The exchange's code, such as XNYS.
    timezone : str
        The exchange's time zone.
    labels : datetime64[D] array, shape (n,)
    opens, closes : int64 array, shape (n,)
        UTC epoch seconds; a print at exactly the close belongs to the session.
    """

    calendar: str
    timezone: str
    labels: Any
    opens: Any
    closes: Any

    def __len__(self) -> int:
        return len(self.labels)

    def between(self, start: Any = None, end: Any = None) -> Schedule:
        """Return the sessions from date ``start`` to date ``end``, both inclusive; None leaves a side open."""
        keep = np.ones(len(self), bool)
        if start is not None:
            keep &= self.labels >= np.datetime64(start, "D")
        if end is not None:
            keep &= self.labels <= np.datetime64(end, "D")
        return Schedule(self.calendar, self.timezone, self.labels[keep], self.opens[keep], self.closes[keep])


@lru_cache(maxsize=16)
def load_schedule(calendar: str, first_year: int, last_year: int) -> Schedule:
    """Return a calendar's sessions of whole years.

    Raises
    ------
    BadInput
        An unknown calendar, or years it does not know.
    """
    import exchange_calendars

    try:
        with warnings.catch_warnings():  # exchange_calendars' own deprecations concern nobody here
            warnings.simplefilter("ignore", DeprecationWarning)
            found = exchange_calendars.get_calendar(calendar, start=f"{first_year}-01-01", end=f"{last_year}-12-31")
    except exchange_calendars.errors.InvalidCalendarName:
        raise BadInput("calendar", f"{calendar!r} is not known", "give an exchange code such as XNYS") from None
    except ValueError as error:
        fix = f"prices lie in {first_year} to {last_year}"
        raise BadInput("calendar", f"{calendar} does not reach: {error}", fix) from None
    seconds = np.dtype("datetime64[s]")
    return Schedule(
        calendar,
        str(found.tz),
        found.sessions.to_numpy().astype("datetime64[D]"),
        found.opens.dt.tz_localize(None).to_numpy().astype(seconds).astype(np.int64),
        found.closes.dt.tz_localize(None).to_numpy().astype(seconds).astype(np.int64),
    )


def schedule_around(calendar: str, first_second: int, last_second: int) -> Schedule:
    """Return the sessions of all years that the UTC epoch seconds touch, from the first day to the last."""
    days = np.array([first_second, last_second], "datetime64[s]").astype("datetime64[D]")
    years = days.astype("datetime64[Y]").astype(int) + 1970
    day = np.timedelta64(1, "D")
    return load_schedule(calendar, int(years[0]), int(years[1])).between(days[0] - day, days[1] + day)
