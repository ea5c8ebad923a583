"""Network load balancers: moto remembers them, forwarders carry what security groups let through."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from botocore import xform_name
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends

from tests.emulator.caches import Caches
from tests.emulator.gate import Gate
from tests.emulator.network import Wire
from tests.emulator.protocol import Request
from tests.emulator.site import Site

_CHANGES = [
    "CreateLoadBalancer",
    "CreateListener",
    "DeleteListener",
    "DeleteLoadBalancer",
    "DeleteTargetGroup",
    "DeregisterTargets",
    "ModifyListener",
    "RegisterTargets",
    "SetSecurityGroups",
]


def arn_of_balancer(account_id: str, lb_id: str, name: str, region_name: str) -> str:
    """Return a network load balancer's ARN; moto takes all for application load balancers."""
    return f"arn:aws:elasticloadbalancing:{region_name}:{account_id}:loadbalancer/net/{name}/{lb_id}"


class Balancers:
    """Keeps forwarders as the balancers, listeners and targets of the account are.

    Parameters
    ----------
    site : Site
    gate : Gate
    caches : Caches
        What balancers stand before; their security groups count as well.
    moto : callable
        Returns a client of a region that moto answers alone.
    """

    def __init__(self, site: Site, gate: Gate, caches: Caches, moto: Callable[[str], Any]) -> None:
        self._site, self._caches, self._moto = site, caches, moto
        self._lock = threading.Lock()
        self._addresses: dict[str, str] = {}
        self._wires: dict[tuple[str, int, str, int], Wire] = {}
        gate.handle("elbv2", **dict.fromkeys(_CHANGES, self._change))

    def _change(self, request: Request) -> dict[str, Any]:
        """Have moto do it; then lay and cut forwarders accordingly."""
        result = getattr(self._moto(request.region), xform_name(request.operation))(**request.params)
        result.pop("ResponseMetadata", None)
        with self._lock:
            self._follow(request.region)
        if request.operation == "CreateLoadBalancer":
            for balancer in result["LoadBalancers"]:
                balancer["DNSName"] = self._addresses[balancer["LoadBalancerArn"]]
        return result

    def _follow(self, region: str) -> None:
        elb = elbv2_backends[DEFAULT_ACCOUNT_ID][region]
        wanted = {}
        for balancer in elb.load_balancers.values():
            if balancer.arn not in self._addresses:
                self._addresses[balancer.arn] = balancer.dns_name = self._site.addresses.give(99)
            for listener in balancer.listeners.values():
                for target in _targets(elb, listener):
                    ends = (balancer.dns_name, int(listener.port), target["id"], int(target["port"]))
                    wanted[ends] = partial(self._open, balancer, region, ends)
        for ends in [ends for ends in self._wires if ends not in wanted]:
            self._site.wires.cut(self._wires.pop(ends))
        for ends, opened in wanted.items():
            if ends not in self._wires:
                self._wires[ends] = self._site.wires.lay(ends[:2], ends[2:], opened)

    def _open(self, balancer: Any, region: str, ends: tuple[str, int, str, int]) -> bool:
        """Say whether the caller reaches the target through the balancer; one without security groups admits all."""
        ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][region]
        groups = [ec2.get_security_group_from_id(group) for group in balancer.security_groups or []]
        if groups and not self._site.admits(groups, ends[1]):
            return False
        cache = self._caches.at(ends[2])
        return cache is None or any(
            _lets(rule, groups, balancer.subnets, ends[3]) for one in cache.groups for rule in one.ingress_rules
        )


def _targets(elb: Any, listener: Any) -> list[dict[str, Any]]:
    """Return the targets that a listener forwards to."""
    found = []
    for action in listener.default_actions:
        arns = [action.data.get("TargetGroupArn")]
        arns += [group.get("TargetGroupArn") for group in action.data.get("ForwardConfig", {}).get("TargetGroups", [])]
        for group in (elb.target_groups[arn] for arn in dict.fromkeys(arns) if arn in elb.target_groups):
            found += [{"id": one["Id"], "port": one.get("Port") or group.port} for one in group.targets.values()]
    return found


def _lets(rule: Any, groups: list[Any], subnets: list[Any], port: int) -> bool:
    """Say whether a rule lets a balancer in: by its own groups, or by its addresses, which are of its subnets."""
    if str(rule.ip_protocol) != "-1" and not int(rule.from_port) <= port <= int(rule.to_port):
        return False
    if (rule.source_group or {}).get("GroupId") in {group.id for group in groups}:
        return True
    cidr = (rule.ip_range or {}).get("CidrIp")
    inside = [ipaddress.ip_network(subnet.cidr_block) for subnet in subnets]
    return bool(cidr) and any(subnet.subnet_of(ipaddress.ip_network(cidr)) for subnet in inside)
