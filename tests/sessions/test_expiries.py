"""Expiry days: against those that really were, and against the standard library's calendar."""

from __future__ import annotations

import calendar
import datetime as dt

import numpy as np
import pandas as pd
import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.sessions.expiries import next_weekly_expiry

#: Of 2023 to June 2025: third Fridays, but for April 2025, whose third Friday was Good Friday.
DAYS = {
    2023: "01-20 02-17 03-17 04-21 05-19 06-16 07-21 08-18 09-15 10-20 11-17 12-15",
    2024: "01-19 02-16 03-15 04-19 05-17 06-21 07-19 08-16 09-20 10-18 11-15 12-20",
    2025: "01-17 02-21 03-21 04-17 05-16 06-20",
}


def test_every_day_leads_to_the_next_expiry():
    expiries = [dt.date.fromisoformat(f"{year}-{text}") for year, texts in DAYS.items() for text in texts.split()]
    day = dt.date(2023, 1, 1)
    while day <= expiries[-1]:
        assert orb.next_expiry(day) == min(one for one in expiries if one >= day), day
        day += dt.timedelta(1)


@pytest.mark.parametrize(
    ("month", "expiry"),
    [
        ("2008-03", "2008-03-20"),  # Good Friday
        ("2014-04", "2014-04-17"),
        ("2019-04", "2019-04-18"),
        ("2022-04", "2022-04-14"),
        ("2025-04", "2025-04-17"),
        ("2026-06", "2026-06-18"),  # Juneteenth
        ("2021-06", "2021-06-18"),  # the year before it became a holiday of the exchange
        ("2020-12", "2020-12-18"),
    ],
)
def test_where_the_third_friday_is_a_holiday_it_is_the_day_before(month, expiry):
    wanted = dt.date.fromisoformat(expiry)
    assert orb.next_expiry(f"{month}-01") == wanted
    assert orb.next_expiry(wanted) == wanted
    assert orb.next_expiry(wanted + dt.timedelta(1)) > wanted + dt.timedelta(20)


@pytest.mark.parametrize("year", [2010, 2015, 2018, 2027])
def test_december_leads_into_january(year):
    fridays = [week[calendar.FRIDAY] for week in calendar.monthcalendar(year + 1, 1) if week[calendar.FRIDAY]]
    assert orb.next_expiry(f"{year}-12-31") == dt.date(year + 1, 1, fridays[2])
    assert orb.next_expiry(f"{year}-12-01").month == 12


@pytest.mark.parametrize(
    "date",
    [
        "2024-12-21",
        dt.date(2024, 12, 21),
        dt.datetime(2024, 12, 21, 23, 59),
        np.datetime64("2024-12-21T10:00"),
        pd.Timestamp("2024-12-21 20:00", tz="America/New_York"),
    ],
)
def test_a_date_may_be_given_in_any_form(date):
    found = orb.next_expiry(date)
    assert found == dt.date(2025, 1, 17)
    assert type(found) is dt.date


@pytest.mark.parametrize(
    "date", ["", "soon", "03.01.2024", "1/3/2024", None, pd.NaT, np.datetime64("NaT"), 20240101, 1.5, True]
)
def test_what_is_no_date_is_refused(date):
    with pytest.raises(BadInput, match="is no date"):
        orb.next_expiry(date)


def test_an_unknown_calendar_is_refused():
    with pytest.raises(BadInput, match="calendar"):
        orb.next_expiry("2024-01-01", "NOWHERE")


@pytest.mark.parametrize(
    ("date", "friday"),
    [
        ("2024-01-02", "2024-01-05"),
        ("2024-01-05", "2024-01-05"),
        ("2024-01-06", "2024-01-12"),
        ("2024-03-28", "2024-03-28"),  # the Thursday before Good Friday
        ("2024-03-29", "2024-04-05"),
        ("2020-12-28", "2020-12-31"),  # the Friday is New Year
        ("2021-01-01", "2021-01-08"),
    ],
)
def test_weekly_expiries_are_fridays_or_the_day_before(date, friday):
    assert next_weekly_expiry(date) == dt.date.fromisoformat(friday)
