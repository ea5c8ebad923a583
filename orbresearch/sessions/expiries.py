"""Days on which listed options expire: third Fridays, other Fridays, and the day before where a Friday is a holiday."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sessions.calendar import DEFAULT_CALENDAR, load_schedule
from orbresearch.sessions.dates import read_date

_WEEK = 10  # days; before any Friday there is a session within that many


def next_expiry(date: Any, calendar: str = DEFAULT_CALENDAR) -> dt.date:
    """Return the monthly expiry of listed options on or after a date.

    The third Friday of the month, or the last session before it where that Friday is a holiday. Before February 2015
    it is the last day of trading; on paper such options expired the Saturday after.

    Parameters
    ----------
    date : str, date, datetime64 or Timestamp
        Any day; a time of day in it is ignored.
    calendar : str
        The exchange's code.

    Raises
    ------
    BadInput
        No date, or one that the calendar does not reach.

    Examples
    --------
    >>> next_expiry("2019-04-01")  # the third Friday is Good Friday
    datetime.date(2019, 4, 18)
    >>> next_expiry("2023-12-16")
    datetime.date(2024, 1, 19)
    """
    day = day_of(date)
    month = day.astype("datetime64[M]")
    this = _session_until(_third_friday(month), calendar)
    found = this if this >= day else _session_until(_third_friday(month + 1), calendar)
    return _to_date(found)


def next_weekly_expiry(date: Any, calendar: str = DEFAULT_CALENDAR) -> dt.date:
    """Return the expiry of weekly options on or after a date: the Friday, or the last session before a Friday off."""
    day = day_of(date)
    friday = np.busday_offset(day, 0, roll="forward", weekmask="Fri")
    this = _session_until(friday, calendar)
    return _to_date(this if this >= day else _session_until(friday + 7, calendar))


def day_of(date: Any, what: str = "date") -> Any:
    """Return a date as datetime64[D]: a date, a moment of it, or a text that begins with it as 2024-01-02.

    Raises
    ------
    BadInput
        It is none, or a text that days and months may be confused in.
    """
    if date is None:
        raise BadInput(what, "None is no date", "give e.g. 2024-01-02")
    return read_date(what, date)


def _third_friday(month: Any) -> Any:
    return np.busday_offset(month.astype("datetime64[D]"), 2, roll="forward", weekmask="Fri")


def _session_until(day: Any, calendar: str) -> Any:
    """Return the last session on or before a day."""
    years = [int(one.astype("datetime64[Y]").astype(int)) + 1970 for one in (day - _WEEK, day)]
    labels = load_schedule(calendar, *years).labels
    return labels[np.searchsorted(labels, day, "right") - 1]


def _to_date(day: Any) -> dt.date:
    found: dt.date = day.astype(dt.date)
    return found
