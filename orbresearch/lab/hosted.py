"""A lab's cluster in AWS: what must be right before anything is started there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orbresearch.cloud.aws import open_account, require_extra
from orbresearch.cloud.sizes import require_size
from orbresearch.errors import BadInput
from orbresearch.settings import StoreSettings, read_settings

if TYPE_CHECKING:
    from orbresearch.cloud.hosted import Hosted

_FIX = (
    "set DB_ENDPOINT, DB_USERNAME, DB_PASSWORD and DB_NAME to a MySQL that both reach, and run orb.cloud.deploy again"
)


def open_hosted(
    n_workers: int,
    options: dict[str, Any],
    env_file: str | os.PathLike[str] | None,
    attach: bool | str,
    **where: Any,
) -> Hosted:
    """Start a cluster, or find a running one.

    Parameters
    ----------
    n_workers : int
    options : dict
        Of the cluster: ``worker_cpu, worker_memory, spot_share, idle_timeout, lifetime``.
    attach : bool or str
    **where
        ``stack``, ``region``; ``maximum``, ``price_cap``.

    Raises
    ------
    BadInput
        A number that makes no sense; results that would go into a file of this machine; packages that are missing.
    Unreachable
        The results database does not answer, or does not let us in.
    """
    store = read_settings(env_file).store
    if not store.is_mysql:
        raise BadInput("results database", "it is a SQLite file, which tasks in AWS cannot reach", _FIX)
    require_extra()
    if attach:
        from orbresearch.cloud.hosted import attach_hosted

        name = attach if isinstance(attach, str) else None
        return attach_hosted(name, stack=where["stack"], region=where["region"])
    _check(n_workers, options, where["maximum"])
    _try_store(store, where["stack"], where["region"])
    from orbresearch.cloud.hosted import start_hosted

    return start_hosted(n_workers, options, **where)


def _try_store(store: StoreSettings, stack: str, region: str | None) -> None:
    """Open the results database once: no cluster is paid for whose lab could not be opened."""
    from orbresearch.cloud.stack import find_stack
    from orbresearch.store.connection import close_store, open_store

    find_stack(open_account(region), stack)  # who has none yet is told that first
    close_store(open_store(store))


def _check(n_workers: int, options: dict[str, Any], maximum: int | None) -> None:
    """Refuse numbers that make no sense, before AWS is asked."""
    _require_numbers(whole=False, **options)
    whole = {
        "n_workers": n_workers,
        "worker_cpu": options["worker_cpu"],
        "maximum": n_workers if maximum is None else maximum,
    }
    _require_numbers(whole=True, **whole)
    _require("n_workers", n_workers, n_workers >= 1, "give 1 or more")
    _require("maximum", maximum, maximum is None or maximum >= n_workers, f"give {n_workers} or more")
    require_size(options["worker_cpu"], options["worker_memory"], least=1)  # a vCPU is a slot
    share = options["spot_share"]
    _require("spot_share", share, 0 <= share <= 1, "give a share from 0 to 1, such as 10 / 11")
    idle, life = options["idle_timeout"], options["lifetime"]
    _require("idle_timeout", idle, idle > 0, "give seconds above 0")
    _require("lifetime", life, 0 < life <= 7 * 86400, "give seconds, a week at the most")


def _require_numbers(whole: bool, **values: object) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise BadInput(name, f"{value!r} is no {'whole ' * whole}number", "give one")


def _require(name: str, value: object, right: bool, fix: str) -> None:
    if not right:
        raise BadInput(name, f"{value!r} is out of range", fix)
