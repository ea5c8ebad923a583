"""How many vCPUs the account may have on Fargate at once: AWS gives a new account very few."""

from __future__ import annotations

from orbresearch.cloud.aws import Account, open_account, speaking
from orbresearch.errors import OrbError

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


def _ask(account: Account, code: str) -> float:
    """Ask once and briefly: a plan can be made without the answer."""
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=10)
    with speaking("asking for the quota"):
        client = account.make_client("service-quotas", config)
        return float(client.get_service_quota(ServiceCode="fargate", QuotaCode=code)["Quota"]["Value"])
