"""From a source's parts to one ticker's rows: what a bar is, what its stamp says, in which order files count."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbresearch.errors import BadInput
from orbresearch.sessions.bars import check_spacing, find_spacing, settle_stamp
from orbresearch.sessions.calendar import schedule_around
from orbresearch.sessions.observations import is_descending
from orbresearch.sessions.rows import Rows
from orbresearch.sessions.volatility import near_the_money
from orbresearch.sources.files.columns import read_numbers, read_times
from orbresearch.sources.files.tables import Prices, PriceTable, Reading

Remarks = list[tuple[str, str]]
_NO_VOLUME = 'give numbers of shares, or say columns={"volume": None}'
_NO_GREEKS = "give numbers, or leave the column out"
_EXTREMES = ("open", "high", "low")


def read_rows(prices: Prices, ticker: str, reading: Reading) -> tuple[Rows, Remarks]:
    """Return one ticker's rows, with the length and stamps of its bars settled, and what is to be said of them.

    Rows of several files follow each other in the order of the files' names. Where they are not descending as a whole,
    every file that is descending is reversed by itself: a file a day, each with its newest row first.

    Raises
    ------
    BadInput
        An unknown ticker, times that cannot be stamps, prices that are no numbers, bars that do not say what they are,
        files that differ in their columns.
    """
    parts = prices.parts_of(ticker)
    _check_alike(parts)
    first, names = parts[0], parts[0].table.column_names
    has_bars = set(_EXTREMES) <= set(names)
    bar = reading.bar if first.bar is None else first.bar
    single = not bar or (bar == "auto" and not has_bars)
    if not single and not has_bars:
        missing = [name for name in _EXTREMES if name not in names]
        raise BadInput(first.where, f"bars need the columns {', '.join(missing)}", "say columns=, or bar=0")
    columns, remarks = _join([_read_part(part, reading, not single) for part in parts])
    remarks += [remark for part in parts for remark in part.remarks]
    if single:
        return Rows(ticker, closes=has_bars, **columns), remarks
    return _settle_bars(ticker, columns, reading, first), remarks


def _settle_bars(ticker: str, columns: dict[str, Any], reading: Reading, first: PriceTable) -> Rows:
    """Return rows as bars: of the length that the source says, is asked for or is found, and so their stamps."""
    time = columns["time"]
    if first.bar is not None:
        bar = first.bar
    else:
        bar = (
            find_spacing(time, ticker) if reading.bar == "auto" else check_spacing(time, int(reading.bar or 0), ticker)
        )
    schedule = schedule_around(reading.calendar, int(time.min()), int(time.max()))
    stamp = reading.stamp or first.label or settle_stamp(time, bar, schedule, ticker)
    return Rows(ticker, bar_seconds=bar, stamp=stamp, **columns)


def _check_alike(parts: list[PriceTable]) -> None:
    """Refuse files of which one differs from the first in kind, columns or stamps."""
    first = parts[0]
    for part in parts[1:]:
        if part.kind != first.kind:
            wrong = f"it is {part.kind}, {first.where} is {first.kind}"
            raise BadInput(part.where, wrong, "give files of one kind: two may hold the same rows")
        mine, others = (set(found.table.column_names) - {"ticker"} for found in (part, first))
        if mine != others:
            wrong = f"it has the columns {_listed(mine)}, {first.where} has {_listed(others)}"
            raise BadInput(part.where, wrong, "give files with the same columns")
        if part.label != first.label:
            wrong = f"its bars say they are stamped at their {part.label}, those of {first.where}: {first.label}"
            raise BadInput(part.where, wrong, "give files of one convention")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _read_part(part: PriceTable, reading: Reading, bars: bool) -> dict[str, Any]:
    """Return the columns of ``Rows`` that a part has."""
    table, what = part.table, f"{part.where}, column"
    stamps = table["timestamp_utc"].combine_chunks()
    columns = {"time": read_times(stamps, part.tz or reading.tz, f"{what} 'timestamp_utc'")}
    close = "price" if "price" in table.column_names else "close"
    columns["price"] = read_numbers(table[close], f"{what} {close!r}")
    if bars:
        columns |= {name: read_numbers(table[name], f"{what} {name!r}") for name in _EXTREMES}
    elif {"delta", "implied_volatility"} <= set(table.column_names):
        greeks = [read_numbers(table[name], f"{what} {name!r}", _NO_GREEKS) for name in ("implied_volatility", "delta")]
        columns["volatility"] = near_the_money(*greeks)
    if "volume" in table.column_names:
        columns["volume"] = read_numbers(table["volume"], f"{what} 'volume'", _NO_VOLUME)
    return columns


def _join(parts: list[dict[str, Any]]) -> tuple[dict[str, Any], Remarks]:
    """Return the columns of all parts one after the other, and what was done about their order."""
    if len(parts) == 1:
        return parts[0], []
    remarks: Remarks = []
    if not is_descending(np.concatenate([part["time"] for part in parts])):
        down = [is_descending(part["time"]) for part in parts]
        parts = [_reverse(part) if falls else part for part, falls in zip(parts, down, strict=True)]
        if any(down):
            sentence = f"{sum(down):,} of {len(parts):,} files in descending order; each was reversed"
            remarks.append(("notable", sentence))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, remarks


def _reverse(part: dict[str, Any]) -> dict[str, Any]:
    return {name: column[::-1] for name, column in part.items()}
