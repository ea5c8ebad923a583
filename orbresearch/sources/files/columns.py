"""From a source's columns to rows: names, times in any unit or zone, prices. One table in, one ticker's rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orbresearch.errors import BadInput

COLUMNS = ("timestamp_utc", "ticker", "price", "open", "high", "low", "close", "volume", "delta", "implied_volatility")
Own = str | Sequence[str]  # a column's own name; of a time also those of its date and its time of day
Columns = Mapping[str, Any]  # canonical name -> own name, or None for a volume that is none
_TIME_NAMES = ("timestamp", "time", "datetime", "date")
_VOLUME_NAMES = ("volume", "vol", "size", "qty", "quantity")  # in any case, the first of them that is there
_UNITS = (("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000))
_FIRST, _LAST = 631_152_000, 4_102_444_800  # 1990 and 2100, epoch seconds: what a stamp can be


def name_columns(found: list[str], columns: Columns | None, where: str) -> dict[str, Own]:
    """Return the canonical name -> the source's own name of every column there is.

    A column has its canonical name, or one that differs from it in case and in spaces around it. The time may also be
    called timestamp, time, datetime or date, where only one column is.

    Parameters
    ----------
    found : list of str
        Columns of the source.
    columns : mapping, optional
        Canonical name -> the source's name, for those that differ; two names for a time whose date and time of day
        stand apart; ``"volume": None`` where there is none, whatever a column is called. Without either, the volume is
        a column volume, vol, size, qty or quantity, in any case.
    where : str
        The source, for the message.

    Raises
    ------
    BadInput
        A mapped column that is not there, a canonical name that does not exist, no time or no price column.

    Notes
    -----
    Where there is neither price nor close, an ``underlying`` is the price: so tables of options call it.
    """
    mapped = dict(columns or {})
    _check_mapping(mapped, found, where)
    names: dict[str, Own] = {name: own for name, own in mapped.items() if own is not None}
    for name in COLUMNS:
        own = None if name in mapped or name == "volume" else _find_alike(found, name, names)
        if own is not None:
            names[name] = own
    if "volume" not in mapped and (volume := _find_volume(found, _taken(names))) is not None:
        names["volume"] = volume
    if "timestamp_utc" not in names and (alike := _find_time(found, names)):
        names["timestamp_utc"] = alike[0] if len(alike) == 1 else _refuse_times(alike, where)
    if "price" not in names and "close" not in names and (own := _find_alike(found, "underlying", names)):
        names["price"] = own
    hint = f"its columns are {', '.join(found)}"
    if "timestamp_utc" not in names:
        raise BadInput(where, "no column 'timestamp_utc'", f'{hint}; say columns={{"timestamp_utc": ...}}')
    if "price" not in names and "close" not in names:
        raise BadInput(where, "no column 'price' or 'close'", f'{hint}; say columns={{"price": ...}}')
    return {name: names[name] for name in COLUMNS if name in names}


def own_names(names: Mapping[str, Own]) -> list[str]:
    """Return the source's own names of some columns, each once."""
    return list(dict.fromkeys(own for given in names.values() for own in _each(given)))


def _each(own: Own) -> tuple[str, ...]:
    return (own,) if isinstance(own, str) else tuple(own)


def _taken(names: Mapping[str, Own]) -> set[str]:
    return set(own_names(names))


def _check_mapping(mapped: dict[str, Any], found: list[str], where: str) -> None:
    """Refuse a mapping of a name orbresearch does not know, or to a column that is not there."""
    for canonical, own in mapped.items():
        if canonical not in COLUMNS:
            raise BadInput(
                "columns", f"{canonical!r} is no column orbresearch knows", f"known are {', '.join(COLUMNS)}"
            )
        if isinstance(own, (tuple, list)) and (canonical != "timestamp_utc" or len(own) != 2):
            raise BadInput("columns", f"{canonical!r} is {own!r}", "only a time has two columns: its date and its time")
        for name in own if isinstance(own, (tuple, list)) else (own,):
            if name not in found and not (canonical == "volume" and name is None):
                raise BadInput(where, f"no column {name!r}", f"its columns are {', '.join(found)}")


def _find_alike(found: list[str], name: str, names: Mapping[str, Own]) -> str | None:
    """Return the column of a name, else the only one that differs in case and spaces and is nothing else already."""
    if name in found:
        return name
    alike = [own for own in found if own.strip().lower() == name and own not in _taken(names)]
    return alike[0] if len(alike) == 1 else None


def _find_time(found: list[str], names: Mapping[str, Own]) -> list[str]:
    """Return the columns that a time may stand in."""
    return [own for own in found if own.strip().lower() in _TIME_NAMES and own not in _taken(names)]


def _refuse_times(alike: list[str], where: str) -> str:
    pair = [next((own for own in alike if own.strip().lower() == usual), None) for usual in ("date", "time")]
    said = f'("{pair[0]}", "{pair[1]}")' if all(pair) else "..."
    wrong = f"no column 'timestamp_utc', but {' and '.join(map(repr, alike))}"
    raise BadInput(where, wrong, f'say which: columns={{"timestamp_utc": {said}}}')


def _find_volume(found: list[str], taken: set[str]) -> str | None:
    """Return the column that a volume usually stands in; none of those that are already something else."""
    free = [name for name in found if name not in taken]
    for usual in _VOLUME_NAMES:
        alike = [name for name in free if name.strip().lower() == usual]
        if alike:
            return usual if usual in alike else alike[0]
    return None


def read_times(column: Any, tz: str | None, what: str) -> Any:
    """Return a column of stamps as epoch seconds UTC, floored: int64 array.

    Parameters
    ----------
    column : pyarrow array
        Whole or broken numbers in s, ms, us or ns since the epoch; timestamps; ISO text. Stamps without a zone need
        ``tz``.
    tz : str, optional
        The zone of stamps without one.
    what : str
        The column, for messages.

    Raises
    ------
    BadInput
        A value that cannot be a stamp, by row and value.
    """
    import pyarrow as pa

    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise BadInput(what, f"row {row} is missing", "every row needs a time")
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_times(column.cast(kind.value_type), tz, what)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _from_numbers(column.to_numpy(zero_copy_only=False), what)
    if pa.types.is_timestamp(kind):
        return _from_stamps(column.to_pandas(), tz, what)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view":
        return _from_text(column, tz, what)
    raise BadInput(what, f"{kind} values are no times", "give epoch numbers, timestamps or ISO text")


def _from_numbers(values: Any, what: str) -> Any:
    """Read epoch numbers: the unit is the one in which the middle value lies between 1990 and 2100."""
    if len(values) == 0:
        return np.zeros(0, np.int64)
    values = values if values.dtype.kind in "iu" else values.astype(np.float64)
    _refuse(~np.isfinite(values), values, what)
    middle = float(np.median(values))
    unit = next((unit for _, unit in _UNITS if _FIRST <= middle / unit < _LAST), None)
    if unit is None:
        wrong = f"a value like {values[len(values) // 2]} is no epoch time in s, ms, us or ns from 1990 to 2100"
        raise BadInput(what, wrong, "give epoch numbers, timestamps or ISO text")
    seconds = np.floor_divide(values, unit).astype(np.int64)
    _refuse((seconds < _FIRST) | (seconds >= _LAST), values, what)
    return seconds


def _from_stamps(stamps: Any, tz: str | None, what: str) -> Any:
    """Read datetimes (a Series), with a zone or in ``tz``."""
    if stamps.dt.tz is None:
        if tz is None:
            raise BadInput(what, "its times name no zone", 'say which: tz="UTC" or tz="America/New_York"')
        try:
            ambiguous = np.zeros(len(stamps), bool)  # the hour that comes twice is the later one: no session lies there
            stamps = stamps.dt.tz_localize(tz, ambiguous=ambiguous, nonexistent="shift_forward")
        except (KeyError, ValueError, IndexError) as error:
            raise BadInput("tz", f"{tz!r}: {error}", 'give a name such as "America/New_York"') from None
    seconds = stamps.dt.tz_convert("UTC").dt.tz_localize(None).dt.floor("s").to_numpy().astype("datetime64[s]")
    found = seconds.astype(np.int64)
    _refuse((found < _FIRST) | (found >= _LAST), stamps.to_numpy(), what)
    return found


def _from_text(column: Any, tz: str | None, what: str) -> Any:
    """Read text: numbers, or ISO times."""
    import pandas as pd

    text = column.to_pandas().str.strip()
    if len(text) and text.str.fullmatch(r"[0-9]+(\.[0-9]*)?").all():
        whole = text.str.fullmatch(r"[0-9]+").all()
        return _from_numbers(text.astype("int64" if whole else "float64").to_numpy(), what)
    numeric = text.str.fullmatch(r"[0-9]+(\.[0-9]*)?").to_numpy(bool)
    if numeric.any():
        _refuse(~numeric if numeric[0] else numeric, text.to_numpy(), what)
    zoned = text.str.contains(r"(?:Z|[T ]\d{2}[\d:.]*[+-]\d{2}(?::?\d{2})?)$", regex=True)
    if zoned.any() and not zoned.all():
        row = int((zoned != zoned.iloc[0]).to_numpy().argmax())
        raise BadInput(
            what, f"row {row}, {text.iloc[row]!r}, differs from the rows before in having a zone", "give all"
        )
    dated = text.str.match(r"\d{4}-?\d{2}-?\d{2}[T ]\d{2}").to_numpy(bool)
    _refuse(~dated, text.to_numpy(), what)
    stamps = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=bool(zoned.any()))
    _refuse(stamps.isna().to_numpy(), text.to_numpy(), what)
    return _from_stamps(stamps, tz, what)


def _refuse(bad: Any, values: Any, what: str) -> None:
    """Raise about the first row that cannot be a time."""
    if bad.any():
        row = int(bad.argmax())
        value = values[row].item() if isinstance(values[row], (np.integer, np.floating)) else values[row]
        wrong = f"row {row} is {value!r}, which cannot be a time between 1990 and 2100"
        raise BadInput(what, wrong, "give epoch numbers, timestamps or ISO text (2024-03-26T13:30:00Z)")


def join_times(day: Any, clock: Any, what: str) -> Any:
    """Return dates and times of day as one column of text.

    Raises
    ------
    BadInput
        A row that lacks one of the two.
    """
    import pyarrow.compute as pc

    day, clock = (column.cast("string") for column in (day, clock))
    empty = pc.or_kleene(pc.equal(pc.fill_null(day, ""), ""), pc.equal(pc.fill_null(clock, ""), ""))
    if pc.any(empty).as_py():
        row = int(np.flatnonzero(empty.to_numpy())[0])
        raise BadInput(what, f"row {row} is missing", "every row needs a date and a time")
    return pc.binary_join_element_wise(pc.utf8_trim_whitespace(day), pc.utf8_trim_whitespace(clock), " ")


def read_numbers(column: Any, what: str, fix: str = "give prices in dollars") -> Any:
    """Return a column of numbers as float64, missing as NaN.

    Parameters
    ----------
    column : pyarrow chunked array
    what, fix : str
        The column and what would be right, for the message.

    Raises
    ------
    BadInput
        Text that is no number, by row and value: neither thousands separators nor signs of currency are guessed at.
    """
    import pyarrow as pa

    try:
        return column.cast(pa.float64()).to_numpy().astype(np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(what, _no_number(column, str(error)), fix) from None


def _no_number(column: Any, error: str) -> str:
    """Return which row is no number, and what it is."""
    import pandas as pd

    values = column.to_pandas()
    bad = (pd.to_numeric(values.astype(object), errors="coerce").isna() & values.notna()).to_numpy(bool)
    row = int(bad.argmax())
    return f"row {row} is {values.iloc[row]!r}, which is no number" if bad.any() else f"no numbers ({error})"
