"""What AWS asks for what is started here: ``prices.yaml``, one dated table, and what the user knows better."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from orbresearch.errors import BadInput

STAND_IN = "eu-central-1"  # the dearest of the table
_OPEN = ("redis", "valkey")  # below these any name may stand: there are more node types than the table has


@dataclass(frozen=True)
class Prices:
    """What AWS asks in one region, US dollars.

    Parameters
    ----------
    region : str
        Whose prices these are.
    date : datetime.date
        When the table was written.
    note : str
        What to know before relying on them; empty: nothing.
    table : dict
        A region's part of ``prices.yaml``.
    """

    region: str
    date: date
    note: str
    table: Mapping[str, Any]

    def task_hour(self, cpu: float, memory: float, *, spot: bool = False, arm: bool = False) -> float:
        """Return what an hour of a task costs, its public address included.

        Parameters
        ----------
        cpu : float
            vCPUs.
        memory : float
            GB.
        spot : bool
            At Spot's typical price.
        arm : bool
            On Graviton.
        """
        rates = self.table["fargate"]["arm" if arm else "x86"]
        prefix = "spot_" if spot else ""
        return float(cpu * rates[f"{prefix}vcpu"] + memory * rates[f"{prefix}gb"] + self.table["address"])

    def cache_hour(self, size: str, engine: str = "valkey") -> float:
        """Return what an hour of Redis costs.

        Raises
        ------
        BadInput
            The table does not have that node type.
        """
        known = self.table["cache"].get(engine, {})
        if size not in known:
            wrong = f"no price of {size} with {engine} is known; known are {', '.join(known) or 'none'}"
            given = f'prices={{"cache": {{"{engine}": {{"{size}": dollars}}}}}}'
            fix = f"give one of those, or its price: to a plan by {given}, to a lab by a line in prices.yaml"
            raise BadInput("redis_size", wrong, fix)
        return float(known[size])


def find_prices(region: str | None = None, prices: Mapping[str, Any] | None = None) -> Prices:
    """Return the prices of a region, those that are given before those of the table.

    Parameters
    ----------
    region : str, optional
        One that the table lacks, or none, has the prices of the dearest that it has, and the note says so.
    prices : mapping, optional
        What differs, in the shape of a region's part of ``prices.yaml``.

    Raises
    ------
    BadInput
        A given name that the table does not have, or a value that is no price.

    Examples
    --------
    >>> round(find_prices("us-east-1", {"fargate": {"x86": {"vcpu": 0.03}}}).task_hour(1, 0), 3)
    0.035
    """
    document = _document()
    known, note = region in document["regions"], ""
    if not known:
        said = f"no prices of {region} are known" if region else "no region is named"
        note = f"{said}: those of {STAND_IN} stand in for them"
    table = document["regions"][region if known else STAND_IN]
    merged = _merge(table, prices or {}, "prices")
    return Prices(region or STAND_IN, document["date"], note, merged)


def say_cache_price(region: str, size: str, engine: str, nodes: int) -> str:
    """Return what Redis costs, for a person; without dollars where the table does not have the size."""
    with suppress(BadInput):
        return f"costs about ${nodes * find_prices(region).cache_hour(size, engine):.3f} an hour until stop_redis()"
    return "costs by the hour until stop_redis()"


@cache
def _document() -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(files("orbresearch.cloud").joinpath("prices.yaml").read_text())
    return found


def _merge(table: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the table with what is given in its place; refuse names that it does not have, and what is no price."""
    merged = dict(table)
    for name, value in given.items():
        here = f"{where}[{name!r}]"
        if name not in table and not where.endswith(tuple(f"[{engine!r}]" for engine in _OPEN)):
            raise BadInput(here, "not known", f"known are {', '.join(table)}")
        if isinstance(table.get(name), Mapping):
            if not isinstance(value, Mapping):
                raise BadInput(here, f"{value!r} is no mapping", f"give one of {', '.join(table[name])}")
            merged[name] = _merge(table[name], value, here)
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise BadInput(here, f"{value!r} is no price", "give dollars, 0 or more")
        else:
            merged[name] = float(value)
    return merged
