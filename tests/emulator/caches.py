"""ElastiCache's API: replication groups, their subnet and parameter groups; nothing goes that something else uses."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from tests.emulator.authority import Authority
from tests.emulator.cache import PARAMETERS, Cache
from tests.emulator.gate import Gate
from tests.emulator.protocol import Refused, Request
from tests.emulator.site import Site

_FAMILIES = {"redis7": ("redis", "7.1"), "valkey7": ("valkey", "7.2"), "valkey8": ("valkey", "8.0")}
_DEFAULT_FAMILIES = {"redis": "redis7", "valkey": "valkey8"}
_IDENTIFIER = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{0,39}(?<!-)")
_SEVERAL = "Automatic failover is not supported for replication groups with fewer than 2 cache clusters."


@dataclass
class _Group:
    """A subnet group, a parameter group or a replication group, by its ARN."""

    arn: str
    described: dict[str, Any]
    tags: dict[str, str]
    values: dict[str, str] = field(default_factory=dict)


class Caches:
    """All of ElastiCache that is answered here.

    Parameters
    ----------
    site : Site
    gate : Gate
    authority : Authority
    """

    def __init__(self, site: Site, gate: Gate, authority: Authority) -> None:
        self._site, self._authority = site, authority
        self._lock = threading.Lock()
        self.caches: dict[tuple[str, str], Cache] = {}
        self.subnet_groups: dict[tuple[str, str], _Group] = {}
        self.parameter_groups: dict[tuple[str, str], _Group] = {}
        gate.handle(
            "elasticache",
            CreateReplicationGroup=self._create,
            DescribeReplicationGroups=self._describe,
            DeleteReplicationGroup=self._delete,
            DescribeCacheClusters=self._nodes,
            CreateCacheSubnetGroup=self._create_subnet_group,
            DescribeCacheSubnetGroups=self._describe_subnet_groups,
            DeleteCacheSubnetGroup=self._delete_subnet_group,
            CreateCacheParameterGroup=self._create_parameter_group,
            DescribeCacheParameterGroups=self._describe_parameter_groups,
            DescribeCacheParameters=self._describe_parameters,
            ModifyCacheParameterGroup=self._modify_parameter_group,
            DeleteCacheParameterGroup=self._delete_parameter_group,
            ListTagsForResource=self._tags,
            AddTagsToResource=self._add_tags,
        )

    def alive(self) -> list[Cache]:
        """Return the replication groups that are not deleted."""
        return [cache for cache in self.caches.values() if cache.status != "deleted"]

    def at(self, address: str) -> Cache | None:
        """Return the replication group behind an address."""
        return next((cache for cache in self.alive() if cache.address == address), None)

    def close(self) -> None:
        """End all of them."""
        for cache in self.caches.values():
            cache.close()

    # ---- replication groups ----

    def _create(self, request: Request) -> dict[str, Any]:
        asked = {**request.params}
        name = asked["ReplicationGroupId"].lower()
        with self._lock:
            there = self.caches.get((request.region, name))
            if there and there.status != "deleted":
                raise Refused("ReplicationGroupAlreadyExists", f"Replication group {name} already exists.")
            family = self._check(asked, request)
            parameters = {**PARAMETERS, **family.values} if family else dict(PARAMETERS)
            arn = _arn(request, "replicationgroup", name)
            cache = Cache(self._site, self._authority, asked, parameters, arn, request.region)
            self.caches[request.region, name] = cache
        return {"ReplicationGroup": cache.describe()}

    def _check(self, asked: dict[str, Any], request: Request) -> _Group | None:
        """Refuse what ElastiCache would; return the parameter group."""
        engine = asked.setdefault("Engine", "redis")
        if not _IDENTIFIER.fullmatch(asked["ReplicationGroupId"]):
            raise Refused(
                "InvalidParameterValue", "The parameter ReplicationGroupIdentifier is not a valid identifier."
            )
        if engine not in _DEFAULT_FAMILIES:
            raise Refused("InvalidParameterValue", f"The parameter Engine must be redis or valkey, not {engine}.")
        if not re.fullmatch(r"cache\.[a-z0-9]+\.[a-z0-9]+", asked.get("CacheNodeType", "")):
            raise Refused("InvalidParameterValue", f"Invalid cache node type: {asked.get('CacheNodeType')}")
        if asked.get("AutomaticFailoverEnabled") and asked.get("NumCacheClusters", 1) < 2:
            raise Refused("InvalidParameterValue", _SEVERAL)
        _check_token(asked)
        self._check_network(asked, request)
        return self._check_family(asked, engine, request)

    def _check_network(self, asked: dict[str, Any], request: Request) -> None:
        named = asked.get("CacheSubnetGroupName")
        if named and (request.region, named) not in self.subnet_groups:
            raise Refused("CacheSubnetGroupNotFoundFault", f"Cache Subnet Group {named} does not exist.")
        for group in asked.get("SecurityGroupIds", []):
            if not ec2_backends[DEFAULT_ACCOUNT_ID][request.region].get_security_group_from_id(group):
                raise Refused("InvalidParameterValue", f"Some security group IDs are not valid: [{group}]")

    def _check_family(self, asked: dict[str, Any], engine: str, request: Request) -> _Group | None:
        named, family = asked.get("CacheParameterGroupName"), _DEFAULT_FAMILIES[engine]
        group = self.parameter_groups.get((request.region, named)) if named else None
        if named and group is None and not named.startswith("default."):
            raise Refused("CacheParameterGroupNotFound", f"CacheParameterGroup {named} not found.")
        if group:
            family = group.described["CacheParameterGroupFamily"]
        needs, version = _FAMILIES.get(family, ("", ""))
        asked.setdefault("EngineVersion", version)
        if needs != engine or asked["EngineVersion"].split(".")[0] != version.split(".")[0]:
            wanted = f"{engine} {asked['EngineVersion']}"
            said = f"Expected a parameter group of a family for {wanted} but found one of family {family}"
            raise Refused("InvalidParameterCombination", said)
        return group

    def _describe(self, request: Request) -> dict[str, Any]:
        if named := request.params.get("ReplicationGroupId"):
            return {"ReplicationGroups": [self._find(request, named).describe()]}
        return {"ReplicationGroups": [cache.describe() for cache in self.alive() if cache.region == request.region]}

    def _find(self, request: Request, named: str) -> Cache:
        cache = self.caches.get((request.region, named.lower()))
        if cache is None or cache.status == "deleted":
            raise Refused("ReplicationGroupNotFoundFault", f"ReplicationGroup {named} not found.")
        return cache

    def _delete(self, request: Request) -> dict[str, Any]:
        cache = self._find(request, request.params["ReplicationGroupId"])
        if cache.status not in ("available", "create-failed"):
            said = f"Replication group {cache.id} has status {cache.status} which is not valid for this operation."
            raise Refused("InvalidReplicationGroupState", said)
        cache.delete()
        return {"ReplicationGroup": cache.describe()}

    def _nodes(self, request: Request) -> dict[str, Any]:
        caches = [cache for cache in self.alive() if cache.region == request.region]
        named = request.params.get("CacheClusterId")
        nodes = [node for cache in caches for node in cache.members() if named in (None, node["CacheClusterId"])]
        if named and not nodes:
            raise Refused("CacheClusterNotFound", f"CacheCluster not found: {named}")
        return {"CacheClusters": nodes}

    # ---- what they stand on ----

    def _create_subnet_group(self, request: Request) -> dict[str, Any]:
        asked, name = request.params, request.params["CacheSubnetGroupName"].lower()
        if (request.region, name) in self.subnet_groups:
            raise Refused("CacheSubnetGroupAlreadyExists", f"Cache subnet group {name} already exists.")
        subnets = ec2_backends[DEFAULT_ACCOUNT_ID][request.region].describe_subnets(subnet_ids=asked["SubnetIds"])
        described = {
            "CacheSubnetGroupName": name,
            "CacheSubnetGroupDescription": asked["CacheSubnetGroupDescription"],
            "VpcId": subnets[0].vpc_id,
            "Subnets": [
                {"SubnetIdentifier": one.id, "SubnetAvailabilityZone": {"Name": one.availability_zone}}
                for one in subnets
            ],
        }
        group = _Group(_arn(request, "subnetgroup", name), described, _given_tags(asked))
        self.subnet_groups[request.region, name] = group
        return {"CacheSubnetGroup": {**described, "ARN": group.arn}}

    def _describe_subnet_groups(self, request: Request) -> dict[str, Any]:
        named = request.params.get("CacheSubnetGroupName")
        found = _in_region(self.subnet_groups, request.region, named)
        if named and not found:
            raise Refused("CacheSubnetGroupNotFoundFault", f"Cache Subnet Group {named} does not exist.")
        return {"CacheSubnetGroups": [{**group.described, "ARN": group.arn} for group in found]}

    def _delete_subnet_group(self, request: Request) -> dict[str, Any]:
        name = request.params["CacheSubnetGroupName"]
        if (request.region, name) not in self.subnet_groups:
            raise Refused("CacheSubnetGroupNotFoundFault", f"Cache Subnet Group {name} does not exist.")
        if any(cache.uses(name) for cache in self.alive()):
            raise Refused("CacheSubnetGroupInUse", f"Cache subnet group {name} is currently in use by a cache cluster.")
        del self.subnet_groups[request.region, name]
        return {}

    def _create_parameter_group(self, request: Request) -> dict[str, Any]:
        asked, name = request.params, request.params["CacheParameterGroupName"]
        if (request.region, name) in self.parameter_groups:
            raise Refused("CacheParameterGroupAlreadyExists", f"CacheParameterGroup {name} already exists.")
        if asked["CacheParameterGroupFamily"] not in _FAMILIES:
            said = (
                f"CacheParameterGroupFamily {asked['CacheParameterGroupFamily']} is not a valid parameter group family."
            )
            raise Refused("InvalidParameterValue", said)
        kept = ("CacheParameterGroupName", "CacheParameterGroupFamily", "Description")
        group = _Group(_arn(request, "parametergroup", name), {key: asked[key] for key in kept}, _given_tags(asked))
        self.parameter_groups[request.region, name] = group
        return {"CacheParameterGroup": {**group.described, "ARN": group.arn, "IsGlobal": False}}

    def _parameter_group(self, request: Request) -> _Group:
        name = request.params["CacheParameterGroupName"]
        if (request.region, name) not in self.parameter_groups:
            raise Refused("CacheParameterGroupNotFound", f"CacheParameterGroup {name} not found.")
        return self.parameter_groups[request.region, name]

    def _describe_parameter_groups(self, request: Request) -> dict[str, Any]:
        named = request.params.get("CacheParameterGroupName")
        groups = [self._parameter_group(request)] if named else _in_region(self.parameter_groups, request.region, None)
        return {"CacheParameterGroups": [{**group.described, "ARN": group.arn, "IsGlobal": False} for group in groups]}

    def _describe_parameters(self, request: Request) -> dict[str, Any]:
        values = {**PARAMETERS, **self._parameter_group(request).values}
        return {"Parameters": [{"ParameterName": name, "ParameterValue": value} for name, value in values.items()]}

    def _modify_parameter_group(self, request: Request) -> dict[str, Any]:
        group = self._parameter_group(request)
        for one in request.params["ParameterNameValues"]:
            if one["ParameterName"] not in PARAMETERS:
                said = f"The parameter {one['ParameterName']} is unknown or not modifiable."
                raise Refused("InvalidParameterValue", said)
            group.values[one["ParameterName"]] = one["ParameterValue"]
        return {"CacheParameterGroupName": group.described["CacheParameterGroupName"]}

    def _delete_parameter_group(self, request: Request) -> dict[str, Any]:
        name = self._parameter_group(request).described["CacheParameterGroupName"]
        if any(cache.uses(name) for cache in self.alive()):
            said = f"One or more cache clusters are still members of this parameter group {name}"
            raise Refused("InvalidCacheParameterGroupState", f"{said}, so the group cannot be deleted.")
        del self.parameter_groups[request.region, name]
        return {}

    # ---- tags ----

    def _tagged(self, request: Request) -> dict[str, str]:
        arn = request.params["ResourceName"]
        groups = [*self.subnet_groups.values(), *self.parameter_groups.values(), *self.alive()]
        found = next((group for group in groups if group.arn == arn), None)
        if found is None:
            raise Refused(
                "ReplicationGroupNotFoundFault", f"{arn.rpartition(':')[2]} is either not present or not available."
            )
        return found.tags

    def _tags(self, request: Request) -> dict[str, Any]:
        return {"TagList": [{"Key": key, "Value": value} for key, value in self._tagged(request).items()]}

    def _add_tags(self, request: Request) -> dict[str, Any]:
        self._tagged(request).update(_given_tags(request.params))
        return self._tags(request)


def _check_token(asked: dict[str, Any]) -> None:
    token = asked.get("AuthToken")
    if token is None:
        return
    if not asked.get("TransitEncryptionEnabled"):
        said = "The AUTH token is only supported when encryption-in-transit is enabled."
        raise Refused("InvalidParameterCombination", said)
    if not 16 <= len(token) <= 128 or not re.fullmatch(r"[A-Za-z0-9!&#$^<>-]+", token):
        raise Refused("InvalidParameterValue", "Invalid AuthToken provided.")


def _arn(request: Request, kind: str, name: str) -> str:
    return f"arn:aws:elasticache:{request.region}:{DEFAULT_ACCOUNT_ID}:{kind}:{name}"


def _given_tags(asked: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in asked.get("Tags", [])}


def _in_region(groups: dict[tuple[str, str], _Group], region: str, named: str | None) -> list[_Group]:
    return [group for (where, name), group in groups.items() if where == region and named in (None, name)]
