"""How many vCPUs the account may have on Fargate at once: AWS gives a new account very few."""

from __future__ import annotations

from collections.abc import Mapping

from orbresearch.cloud.aws import Account, open_account, speaking
from orbresearch.cloud.hourly import SCHEDULER_CPU, count_on_demand
from orbresearch.errors import OrbError

_WORDS = {"on_demand": "on demand", "spot": "on Spot"}
CODES = {"on_demand": "L-3032A538", "spot": "L-36FBB829"}


def quota(region: str | None = None) -> dict[str, float | str]:
    """Return the account's Fargate quotas in a region, vCPUs at once: ``on_demand`` and ``spot``.

    Never fails: what AWS does not tell (no credentials, no permission, no network) is ``"not known: "`` and the reason.

    Parameters
    ----------
    region : str, optional
        Default: the profile's.

    Examples
    --------
    >>> quota("us-east-1")  # doctest: +SKIP
    {'on_demand': 6.0, 'spot': 6.0}
    """
    found: dict[str, float | str] = {}
    reason = ""
    for name, code in CODES.items():
        try:
            found[name] = f"not known: {reason}" if reason else _ask(open_account(region), code)
        except OrbError as error:  # the other would get the same answer, as late
            reason = str(error).partition("\n")[0]
            found[name] = f"not known: {reason}"
    return found


def describe_quota(vcpus: Mapping[str, float | str]) -> str:
    """Return what :func:`quota` has found in words; one reason for all of it once."""
    if len(set(vcpus.values())) == 1 and isinstance(reason := next(iter(vcpus.values())), str):
        return reason
    said = {name: value if isinstance(value, str) else f"{value:g} vCPUs" for name, value in vcpus.items()}
    return ", ".join(f"{value} {_WORDS[name]}" for name, value in said.items())


def beyond_quota(n_workers: int, cpu: float, spot_share: float, vcpus: Mapping[str, float | str]) -> list[str]:
    """Return what the account's quota does not admit, a sentence each."""
    on_demand = count_on_demand(n_workers, spot_share)
    wanted = {"on_demand": on_demand * cpu + SCHEDULER_CPU, "spot": (n_workers - on_demand) * cpu}
    return [
        f"{need:g} vCPUs {_WORDS[name]} are more than the quota of {allowed:g}: "
        "ask for more under Service Quotas, AWS Fargate, or take fewer workers"
        for name, need in wanted.items()
        if not isinstance(allowed := vcpus.get(name, ""), str) and need > allowed
    ]


def _ask(account: Account, code: str) -> float:
    """Ask once and briefly: a plan can be made without the answer."""
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=10)
    with speaking("asking for the quota"):
        client = account.make_client("service-quotas", config)
        return float(client.get_service_quota(ServiceCode="fargate", QuotaCode=code)["Quota"]["Value"])
