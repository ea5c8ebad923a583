"""Whether a cluster's processes have the notebook's Python and packages: Dask says nothing clear where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orbresearch.errors import BadInput

# Of what is sent between processes, and of what decides numbers
PACKAGES = ("dask", "distributed", "msgpack", "cloudpickle", "numpy", "pandas", "pyarrow", "numba", "orbresearch")


def check_versions(client: Any) -> None:
    """Refuse a cluster whose scheduler or workers have other versions than this process.

    Parameters
    ----------
    client : distributed.Client

    Raises
    ------
    BadInput
        With every package that differs, both versions, and the two ways out.

    Examples
    --------
    >>> check_versions(lab.client)  # doctest: +SKIP
    """
    different = differences(client.get_versions(packages=list(PACKAGES)))
    if different:
        fix = "make the image anew (orb.cloud.push_image(), then deploy), or install here what the image has"
        raise BadInput("versions", f"this notebook and the cluster differ: {'; '.join(different)}", fix)


def differences(found: Mapping[str, Any]) -> list[str]:
    """Return what differs, a sentence for each package.

    Parameters
    ----------
    found : mapping
        As ``Client.get_versions(packages=PACKAGES)`` returns it: ``client``, ``scheduler``, and ``workers`` by address.

    Examples
    --------
    >>> one, other = ({"packages": {"python": "3.12.1.final.0", "numpy": version}} for version in ("2.2.0", "2.3.0"))
    >>> differences({"client": one, "scheduler": one, "workers": {"tcp://a": other}})
    ['numpy 2.2.0 here, 2.3.0 in 1 of 1 workers']
    """
    here, said = _versions(found["client"]), []
    scheduler = _versions(found["scheduler"])
    workers = [_versions(one) for one in found["workers"].values()]
    for name, version in here.items():
        places = [f"{scheduler[name]} in the scheduler"] if scheduler[name] != version else []
        others = [worker[name] for worker in workers if worker[name] != version]
        places += [f"{other} in {others.count(other)} of {len(workers)} workers" for other in sorted(set(others))]
        if places:
            said.append(f"{name} {version} here, {', '.join(places)}")
    return said


def _versions(process: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the versions of a process; of Python the minor one: code is sent as its bytes, which that decides."""
    packages = (process or {}).get("packages", {})
    python = ".".join(str(packages.get("python", "unknown")).split(".")[:2])
    return {"python": python, **{name: str(packages.get(name) or "none") for name in PACKAGES}}
