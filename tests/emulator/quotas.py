"""Service Quotas of Fargate: vCPUs that may run at once, on demand and Spot."""

from __future__ import annotations

from typing import Any

from tests.emulator.faults import Faults
from tests.emulator.gate import Gate
from tests.emulator.protocol import Refused, Request

_NAMES = {
    "L-3032A538": "Fargate On-Demand vCPU resource count",
    "L-36FBB829": "Fargate Spot vCPU resource count",
}
_NEW_ACCOUNT = 6.0  # what a new account has of either


class Quotas:
    """Answers GetServiceQuota and GetAWSDefaultServiceQuota for Fargate."""

    def __init__(self, faults: Faults, gate: Gate) -> None:
        self._faults = faults
        gate.handle("service-quotas", GetServiceQuota=self._get, GetAWSDefaultServiceQuota=self._default)

    def _get(self, request: Request) -> dict[str, Any]:
        given = self._faults.vcpus
        return _quota(request, _NEW_ACCOUNT if given is None else given)

    def _default(self, request: Request) -> dict[str, Any]:
        return _quota(request, _NEW_ACCOUNT)


def _quota(request: Request, value: float) -> dict[str, Any]:
    code = request.params["QuotaCode"]
    if request.params["ServiceCode"] != "fargate" or code not in _NAMES:
        raise Refused("NoSuchResourceException", "The request failed because the specified resource does not exist.")
    quota = {"ServiceCode": "fargate", "ServiceName": "AWS Fargate", "QuotaCode": code, "QuotaName": _NAMES[code]}
    return {"Quota": {**quota, "Value": float(value), "Unit": "None", "Adjustable": True, "GlobalQuota": False}}
