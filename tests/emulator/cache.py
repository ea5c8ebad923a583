"""One ElastiCache replication group: a real redis-server with TLS and a token, on an address of its own.

As in AWS the commands are gone that would change a server's configuration, and TLS is on or off for good.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from tests.emulator.authority import Authority
from tests.emulator.network import listening
from tests.emulator.site import Site
from tests.emulator.task import start_process

# What ElastiCache takes away from Redis.
_RESTRICTED = [
    "acl",
    "bgrewriteaof",
    "bgsave",
    "config",
    "debug",
    "failover",
    "migrate",
    "module",
    "psync",
    "replicaof",
    "save",
    "shutdown",
    "slaveof",
    "sync",
]
PARAMETERS = {"maxmemory-policy": "volatile-lru", "databases": "16", "timeout": "0"}  # as families have them


class Cache:
    """One replication group.

    Parameters
    ----------
    site : Site
    authority : Authority
    asked : dict
        What CreateReplicationGroup was given.
    parameters : dict
        Values of its parameter group.
    arn, region : str
    """

    def __init__(
        self, site: Site, authority: Authority, asked: dict[str, Any], parameters: dict[str, str], arn: str, region: str
    ) -> None:
        self._site, self._authority, self._asked, self._parameters = site, authority, asked, parameters
        self.arn, self.region, self.id = arn, region, asked["ReplicationGroupId"].lower()
        self.address, self.port = site.addresses.give(66), asked.get("Port", 6379)
        self.status, self.created = "creating", datetime.now(UTC)
        self.tags = {tag["Key"]: tag.get("Value", "") for tag in asked.get("Tags", [])}
        self.process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"cache {self.id}", daemon=True)
        self._thread.start()

    @property
    def groups(self) -> list[Any]:
        """Its security groups, as moto keeps them."""
        ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][self.region]
        return [ec2.get_security_group_from_id(group) for group in self._asked.get("SecurityGroupIds", [])]

    def uses(self, name: str) -> bool:
        """Say whether it stands on a subnet or parameter group."""
        return name in (self._asked.get("CacheSubnetGroupName"), self._asked.get("CacheParameterGroupName"))

    def delete(self) -> None:
        """Have it go, in its time."""
        self.status = "deleting"
        self._ended.set()

    def close(self) -> None:
        """End it at once."""
        self._ended.set()
        if self.process:
            self.process.kill()
        self._thread.join(10)

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeReplicationGroups does."""
        asked, tls = self._asked, bool(self._asked.get("TransitEncryptionEnabled"))
        several = asked.get("NumCacheClusters", 1) > 1
        described = {
            "ReplicationGroupId": self.id,
            "Description": asked["ReplicationGroupDescription"],
            "Status": self.status,
            "ARN": self.arn,
            "MemberClusters": [member["CacheClusterId"] for member in self.members()],
            "AutomaticFailover": "enabled" if asked.get("AutomaticFailoverEnabled") and several else "disabled",
            "MultiAZ": "enabled" if asked.get("MultiAZEnabled") else "disabled",
            "SnapshotRetentionLimit": asked.get("SnapshotRetentionLimit", 0),
            "ClusterEnabled": False,
            "ClusterMode": "disabled",
            "CacheNodeType": asked["CacheNodeType"],
            "Engine": asked.get("Engine", "redis"),
            "TransitEncryptionEnabled": tls,
            "AtRestEncryptionEnabled": bool(asked.get("AtRestEncryptionEnabled")),
            "AuthTokenEnabled": "AuthToken" in asked,
            "ReplicationGroupCreateTime": self.created,
            "NodeGroups": [],
        }
        if tls:
            described["TransitEncryptionMode"] = asked.get("TransitEncryptionMode", "required")
        if self.status != "creating":
            endpoint = {"Address": self.address, "Port": self.port}
            node_group = {"NodeGroupId": "0001", "Status": self.status, "PrimaryEndpoint": endpoint}
            described["NodeGroups"] = [{**node_group, "ReaderEndpoint": endpoint}]
        return described

    def members(self) -> list[dict[str, Any]]:
        """Return its nodes as DescribeCacheClusters does."""
        groups = [{"SecurityGroupId": group, "Status": "active"} for group in self._asked.get("SecurityGroupIds", [])]
        return [
            {
                "CacheClusterId": f"{self.id}-{number + 1:03d}",
                "CacheClusterStatus": self.status,
                "CacheNodeType": self._asked["CacheNodeType"],
                "Engine": self._asked.get("Engine", "redis"),
                "EngineVersion": self._asked.get("EngineVersion", ""),
                "ReplicationGroupId": self.id,
                "SecurityGroups": groups,
                "CacheSubnetGroupName": self._asked.get("CacheSubnetGroupName"),
                "CacheParameterGroup": {"CacheParameterGroupName": self._asked.get("CacheParameterGroupName")},
            }
            for number in range(self._asked.get("NumCacheClusters", 1))
        ]

    def _live(self) -> None:
        started = time.monotonic()
        folder = self._site.folder / "caches" / f"{self.id}-{self.address}"
        folder.mkdir(parents=True, mode=0o700)
        config = folder / "redis.conf"
        config.touch(0o600)
        config.write_text(self._config(folder))
        with (folder / "log").open("wb") as log:
            self.process = start_process([_program(), str(config)], {"PATH": "/usr/bin:/bin"}, folder, log)
        while (
            (self.address, self.port) not in listening() and self.process.poll() is None and not self._ended.wait(0.02)
        ):
            pass
        config.unlink()
        if not self._ended.wait(max(0.0, started + self._site.creating_cache - time.monotonic())):
            self.status = "available" if self.process.poll() is None else "create-failed"
            self._ended.wait()
        self.process.kill()
        self.process.wait()
        time.sleep(min(self._site.creating_cache, 0.1) if self.status == "deleting" else 0)
        self.status = "deleted"

    def _config(self, folder: Path) -> str:
        certificate, key = self._authority.certify(self.address, folder)
        tls = bool(self._asked.get("TransitEncryptionEnabled"))
        lines = [
            f"bind {self.address}",
            f"port {0 if tls else self.port}",
            "daemonize no",
            'save ""',
            "appendonly no",
            "protected-mode no",
            f"dir {folder}",
            *(f'rename-command {command} ""' for command in _RESTRICTED),
            *(f"{name} {value}" for name, value in self._parameters.items() if name in PARAMETERS),
        ]
        if tls:
            lines += [f"tls-port {self.port}", f"tls-cert-file {certificate}", f"tls-key-file {key}"]
            lines += [f"tls-ca-cert-file {self._authority.path}", "tls-auth-clients no"]
        if token := self._asked.get("AuthToken"):
            lines.append(f'requirepass "{token}"')
        return "\n".join(lines) + "\n"


def _program() -> str:
    """Return the first redis-server on PATH that was built with TLS: the one of a wheel is not."""
    for folder in os.get_exec_path():
        path = Path(folder) / "redis-server"
        if os.access(path, os.X_OK) and b"SSL_CTX_new" in path.read_bytes():
            return str(path)
    return "redis-server"
