"""One run's facts, between Python values and the columns of ``runs``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from orbresearch import schema
from orbresearch.errors import BadInput
from orbresearch.store.connection import utc_now

JSON_COLUMNS = ("rules", "grid", "inputs")
LISTS = {"tickers": str, "range_durations": int}


def encode_run(table: sa.Table, record: Mapping[str, object]) -> dict[str, object]:
    """Return one row of ``runs``.

    Parameters
    ----------
    table : sqlalchemy.Table
        The table ``runs``.
    record : mapping
        Its columns. ``tickers`` and ``range_durations`` are sequences or comma-separated text; ``rules``, ``grid``,
        ``inputs`` and ``quality`` anything JSON knows, or text; sessions dates or ISO text. ``created_at`` (an aware
        datetime, or naive UTC) defaults to now, ``results_version`` to the present one, ``kept`` to "all".

    Raises
    ------
    BadInput
        A column that is lacking or unknown, or a value that does not fit it.
    """
    defaults = {"created_at": utc_now(), "results_version": schema.RESULTS_VERSION, "kept": "all", "finished_at": None}
    record = defaults | dict(record)
    names = [column.name for column in table.columns]
    lacking, unknown = [n for n in names if n not in record], [n for n in record if n not in names]
    if lacking or unknown:
        wrong = f"lacks {lacking}" if lacking else f"has unknown keys {unknown}"
        raise BadInput("run record", wrong, f"give {', '.join(names)}")
    return {column.name: _encode(column, record[column.name]) for column in table.columns}


def decode_run(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row of ``runs`` as Python values: JSON as what it says, lists as lists, ``created_at`` aware (UTC)."""
    found = dict(row)
    for name in JSON_COLUMNS:
        found[name] = json.loads(str(found[name]))
    for name, kind in LISTS.items():
        found[name] = [kind(part) for part in str(found[name]).split(",") if part]
    for name, value in found.items():
        if isinstance(value, datetime):
            found[name] = value.replace(tzinfo=UTC)
    return found


def _encode(column: sa.Column[Any], value: object) -> object:
    if value is None and column.nullable:
        return None
    try:
        return _convert(column, value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"run record, {column.name}", f"{value!r} ({error})", f"give a {column.type}") from None


def _convert(column: sa.Column[Any], value: object) -> object:
    if isinstance(column.type, sa.Integer):
        return int(value)  # type: ignore[call-overload]
    if isinstance(column.type, sa.Double):
        return _finite(float(value))  # type: ignore[arg-type]
    if isinstance(column.type, sa.DateTime):
        return _utc(value)
    if isinstance(column.type, sa.Date):
        return _day(value)
    return _fitting(_to_text(column.name, value), column)


def _to_text(name: str, value: object) -> str:
    if isinstance(value, str):
        return json.dumps(json.loads(value), allow_nan=False) if name in JSON_COLUMNS else value
    if name in LISTS and isinstance(value, Iterable):
        return ",".join(str(part) for part in value)
    if name in JSON_COLUMNS or name == "quality":
        return json.dumps(value, allow_nan=False)
    raise TypeError("no text")


def _fitting(text: str, column: sa.Column[Any]) -> str:
    """Refuse here what MySQL would refuse and SQLite take."""
    length = getattr(column.type, "length", None)
    if length is not None and len(text) > length:
        raise ValueError(f"longer than {length} characters")
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _utc(value: object) -> datetime:
    stamp = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    stamp = stamp.astimezone(UTC) if stamp.tzinfo else stamp
    return datetime(*stamp.timetuple()[:6], stamp.microsecond)  # drivers know no pandas.Timestamp


def _day(value: object) -> date:
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    return date.fromisoformat(str(value))
