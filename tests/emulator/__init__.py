"""A cloud on this machine: moto for what AWS remembers, real processes for what it runs, loopback for its network.

``emulate(folder)`` starts it for as long as its block lasts. Whatever speaks to AWS is pointed at it by
``cloud.environ``; what it runs (tasks, Redis, forwarders) listens on 127.0.0.0/8 only and ends with this process.

=============  ======================================================================================================
emulator       the whole, and what tests may ask of it
gate           every request: parsed, recorded, refused or answered
protocol       requests and answers by botocore's own models
access         who asks, and whether IAM lets them
resources      which ARNs a request is about
context        which condition keys it gives values to
faults         what goes wrong on purpose
ecs, task      the tasks' API, and one task: a process with a life cycle
containers     what a task definition and its overrides come to: command, environment, secrets
site           what all of these share
network        addresses, security groups, forwarders
formation      CloudFormation: stacks created, updated and deleted with their failures
kind, kinds    the kinds of its resources that moto lacks or half-makes
caches, cache  ElastiCache: its API, and one real Redis server with TLS
balancers      network load balancers
quotas         Fargate's quotas
sizes          which tasks it has
users          users with the policies a test gives them
authority      the certificate authority behind the emulated endpoints
leftovers      what an account still holds
=============  ======================================================================================================
"""

import sys

# jsonschema builds a grammar of international addresses for three seconds, which nothing here needs.
if "jsonschema" not in sys.modules and sys.modules.setdefault("rfc3987_syntax", None) is None:
    import moto.cloudformation.parsing  # noqa: F401

    del sys.modules["rfc3987_syntax"]

from tests.emulator.emulator import Emulator, emulate
from tests.emulator.gate import Call

__all__ = ["Call", "Emulator", "emulate"]
