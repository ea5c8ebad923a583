"""The emulator is held to what AWS does: what it lets through wrongly, no test of the cloud would find."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from botocore.exceptions import ClientError
from distributed import Client
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.emulator import Emulator, emulate
from tests.emulator.network import loopback
from tests.emulator.task import Task

TEMPLATE = (Path(__file__).parents[1] / "emulator" / "account.yaml").read_text()
CALLER, STRANGER = "203.0.113.7", "198.51.100.9"
TOKEN = "only-for-this-test-1234"
# A container that serves on the address that its host name tells, as a container's host name does on Fargate.
SERVER = (
    "import os, socket;"
    "s = socket.create_server((os.environ['HOSTNAME'].split('.')[0][3:].replace('-', '.'), 8786));"
    "\nwhile True: c, _ = s.accept(); c.sendall(b'hello'); c.close()"
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulate(tmp_path_factory.mktemp("cloud")) as started:
        started.site.provisioning = started.site.pulling = 0.02
        started.site.creating_cache = 0.2
        yield started


@pytest.fixture(scope="module")
def account(cloud: Emulator) -> dict[str, str]:
    return deploy(cloud, "orb")


@pytest.fixture(autouse=True)
def nothing_wrong(cloud: Emulator) -> Iterator[None]:
    cloud.caller = CALLER
    yield
    cloud.stub(False)
    faults = cloud.site.faults
    faults.expired = faults.broken_image = False
    faults.per_second = faults.vcpus = None
    faults.without_capacity.clear()
    for task in cloud.every_task():
        task.kill()


def deploy(cloud: Emulator, name: str, **parameters: str) -> dict[str, str]:
    stacks = cloud.client("cloudformation")
    given = [
        {"ParameterKey": key, "ParameterValue": value} for key, value in {"Cidr": f"{CALLER}/32", **parameters}.items()
    ]
    stacks.create_stack(
        StackName=name, TemplateBody=TEMPLATE, Parameters=given, Tags=[{"Key": "orbresearch", "Value": name}]
    )
    stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [(event["LogicalResourceId"], event.get("ResourceStatusReason")) for event in events]
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def asked(account: dict[str, str], code: str, **more: Any) -> dict[str, Any]:
    network = {
        "subnets": account["Subnets"].split(","),
        "securityGroups": [account["Group"]],
        "assignPublicIp": "ENABLED",
    }
    override = {"name": "dask-worker", "command": ["python", "-c", code], **more.pop("override", {})}
    return {
        "cluster": account["Cluster"],
        "taskDefinition": account["Task"],
        "networkConfiguration": {"awsvpcConfiguration": network},
        "overrides": {"containerOverrides": [override], **more.pop("sized", {})},
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}],
        **more,
    }


def run(cloud: Emulator, account: dict[str, str], code: str, **more: Any) -> Task:
    answer = cloud.client("ecs").run_task(**asked(account, code, **more))
    [described] = answer["tasks"]
    assert described["lastStatus"] == "PROVISIONING"
    return next(task for task in cloud.every_task() if task.arn == described["taskArn"])


def until(told: Callable[[], Any], timeout: float = 10) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := told()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def stopped(cloud: Emulator, account: dict[str, str], task: Task) -> dict[str, Any]:
    until(lambda: task.status == "STOPPED")
    return cloud.client("ecs").describe_tasks(cluster=account["Cluster"], tasks=[task.arn], include=["TAGS"])["tasks"][
        0
    ]


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


# ---- stacks ----


def test_a_stack_makes_what_it_says_and_deleted_leaves_nothing(cloud: Emulator) -> None:
    before = cloud.leftovers()
    outputs = deploy(cloud, "whole")
    left = "\n".join(line for line in cloud.leftovers() if line not in before)
    for kind in ("network", "cluster", "secret", "log group", "repository", "role", "policy", "cache group"):
        assert kind in left
    logs = cloud.client("logs").describe_log_groups(logGroupNamePrefix="/whole")["logGroups"]
    assert logs[0]["retentionInDays"] == 3
    assert (
        len(
            json.loads(cloud.client("secretsmanager").get_secret_value(SecretId=outputs["Secret"])["SecretString"])[
                "password"
            ]
        )
        == 32
    )
    cloud.client("cloudformation").delete_stack(StackName="whole")
    assert cloud.leftovers() == before


def test_a_stack_that_fails_says_why_and_takes_back_what_it_made(cloud: Emulator) -> None:
    before = cloud.leftovers()
    stacks = cloud.client("cloudformation")
    broken = TEMPLATE.replace("CacheParameterGroupFamily: redis7", "CacheParameterGroupFamily: redis99")
    given = [{"ParameterKey": "Cidr", "ParameterValue": "203.0.113.7/32"}]
    stacks.create_stack(StackName="broken", TemplateBody=broken, Parameters=given)
    assert stacks.describe_stacks(StackName="broken")["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE"
    events = stacks.describe_stack_events(StackName="broken")["StackEvents"]
    [failed] = [event for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
    assert (failed["LogicalResourceId"], "redis99" in failed["ResourceStatusReason"]) == ("CacheParameters", True)
    assert [line for line in cloud.leftovers() if line not in before] == ["us-east-1: stack broken"]
    stacks.delete_stack(StackName="broken")
    assert cloud.leftovers() == before


def test_an_update_changes_what_differs_and_nothing_else(cloud: Emulator) -> None:
    before = deploy(cloud, "changed")
    stacks = cloud.client("cloudformation")
    other = {"Cidr": f"{STRANGER}/32", "Tag": "second"}
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in other.items()]
    stacks.update_stack(StackName="changed", UsePreviousTemplate=True, Parameters=given)
    stack = stacks.describe_stacks(StackName="changed")["Stacks"][0]
    after = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert {key for key in before if before[key] != after[key]} == {"Task", "PoorTask"}
    definition = cloud.client("ecs").describe_task_definition(taskDefinition=after["Task"])["taskDefinition"]
    assert definition["containerDefinitions"][0]["image"].endswith(":second")
    groups = cloud.client("ec2").describe_security_groups(GroupIds=[after["Group"]])["SecurityGroups"]
    [rule] = groups[0]["IpPermissions"]
    assert [one["CidrIp"] for one in rule["IpRanges"]] == [f"{STRANGER}/32"]
    said = refused(stacks.update_stack, StackName="changed", UsePreviousTemplate=True, Parameters=given)
    assert said == ("ValidationError", "No updates are to be performed.")
    stacks.delete_stack(StackName="changed")


def test_a_stack_whose_cluster_runs_a_task_is_not_deleted(cloud: Emulator) -> None:
    outputs = deploy(cloud, "busy")
    task = run(cloud, outputs, "import time; time.sleep(60)")
    stacks = cloud.client("cloudformation")
    stacks.delete_stack(StackName="busy")
    assert stacks.describe_stacks(StackName="busy")["Stacks"][0]["StackStatus"] == "DELETE_FAILED"
    assert "Tasks are active" in str(stacks.describe_stack_events(StackName="busy"))
    task.kill()
    task.join()
    stacks.delete_stack(StackName="busy")
    assert "stack busy" not in str(cloud.leftovers())


# ---- tasks ----


def test_a_task_has_its_secret_its_overrides_and_a_log(cloud: Emulator, account: dict[str, str]) -> None:
    code = "import os; print(os.environ['KIND'], len(os.environ['PASSWORD']), os.path.isdir(os.environ['HOME_OF_IT']))"
    tags = [{"key": "orbresearch", "value": "orb"}]
    override = {"environment": [{"name": "KIND", "value": "given"}]}
    task = run(cloud, account, code, override=override, tags=tags, startedBy="me")
    described = stopped(cloud, account, task)
    assert (described["stopCode"], described["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert (described["containers"][0]["exitCode"], described["capacityProviderName"]) == (0, "FARGATE_SPOT")
    assert (described["tags"], described["desiredStatus"]) == (tags, "STOPPED")
    logs = cloud.client("logs")
    stream = f"t/dask-worker/{task.arn.rpartition('/')[2]}"
    events = logs.get_log_events(logGroupName=account["Logs"], logStreamName=stream)["events"]
    assert [event["message"] for event in events] == ["given 32 True"]
    assert not cloud.client("ec2").describe_network_interfaces()["NetworkInterfaces"]
    ecs = cloud.client("ecs")
    assert ecs.list_tasks(cluster=account["Cluster"], startedBy="me")["taskArns"] == []
    assert ecs.list_tasks(cluster=account["Cluster"], startedBy="me", desiredStatus="STOPPED")["taskArns"] == [task.arn]


@pytest.mark.parametrize(("ignores", "code"), [("SIG_DFL", 143), ("SIG_IGN", 137)])
def test_a_stopped_task_gets_sigterm_and_then_sigkill(
    cloud: Emulator, account: dict[str, str], ignores: str, code: int
) -> None:
    task = run(
        cloud,
        account,
        f"import signal, time; signal.signal(15, signal.{ignores}); print(1, flush=True); time.sleep(60)",
    )
    until(lambda: task.log)
    started = time.monotonic()
    cloud.client("ecs").stop_task(cluster=account["Cluster"], task=task.arn, reason="enough")
    described = stopped(cloud, account, task)
    assert (described["stopCode"], described["stoppedReason"]) == ("UserInitiated", "enough")
    assert described["containers"][0]["exitCode"] == code
    assert (time.monotonic() - started > 1) == (code == 137)  # the definition's stopTimeout


def test_spot_takes_spot_tasks_only(cloud: Emulator, account: dict[str, str]) -> None:
    task = run(cloud, account, "import time; time.sleep(60)")
    lasting = run(
        cloud, account, "import time; time.sleep(60)", capacityProviderStrategy=[{"capacityProvider": "FARGATE"}]
    )
    until(lambda: len(cloud.tasks("worker")) == 2)
    cloud.interrupt(task.arn)
    described = stopped(cloud, account, task)
    assert (described["stopCode"], described["stoppedReason"]) == (
        "SpotInterruption",
        "Your Spot Task was interrupted.",
    )
    with pytest.raises(ValueError, match="no Spot task"):
        cloud.interrupt(lasting.arn)


def test_only_the_admitted_caller_reaches_an_open_port(cloud: Emulator, account: dict[str, str]) -> None:
    task = run(cloud, account, SERVER)
    assert until(lambda: heard(task.public, 8786)) == b"hello"
    assert heard(task.public, 8787) is None
    cloud.caller = STRANGER
    assert heard(task.public, 8786) is None
    cloud.caller = CALLER
    assert heard(task.public, 8786) == b"hello"
    interface = cloud.client("ec2").describe_network_interfaces()["NetworkInterfaces"][0]
    assert (interface["Association"]["PublicIp"], interface["PrivateIpAddress"]) == (task.public, task.address)
    task.kill()
    task.join()
    assert heard(task.public, 8786) is None


def heard(address: str, port: int) -> bytes | None:
    """What a server says first; nothing, where the connection is refused or reset."""
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return connection.recv(100) or None
    except ConnectionError:
        return None


def test_a_task_whose_role_may_not_read_its_secret_does_not_start(cloud: Emulator, account: dict[str, str]) -> None:
    described = stopped(cloud, account, run(cloud, account, "pass", taskDefinition=account["PoorTask"]))
    assert described["stopCode"] == "TaskFailedToStart"
    reason = described["stoppedReason"]
    assert reason.startswith("ResourceInitializationError: unable to pull secrets or registry auth")
    assert f"secretsmanager:GetSecretValue on resource: {account['Secret']}" in reason
    assert "exitCode" not in described["containers"][0]


def test_an_image_that_is_not_there_stops_the_task(cloud: Emulator, account: dict[str, str]) -> None:
    cloud.broken_image()
    described = stopped(cloud, account, run(cloud, account, "pass"))
    assert described["stopCode"] == "TaskFailedToStart"
    assert described["stoppedReason"].startswith("CannotPullContainerError: pull image manifest has been retried")


def test_a_command_that_is_not_there_stops_the_task(cloud: Emulator, account: dict[str, str]) -> None:
    described = stopped(cloud, account, run(cloud, account, "", override={"command": ["dask-worker"]}))
    assert described["stopCode"] == "TaskFailedToStart"
    assert 'exec: "dask-worker": executable file not found in $PATH' in described["stoppedReason"]


def test_no_capacity_and_no_quota_are_answered_among_the_failures(cloud: Emulator, account: dict[str, str]) -> None:
    ecs, on_demand = cloud.client("ecs"), [{"capacityProvider": "FARGATE"}]
    cloud.no_capacity("FARGATE_SPOT")
    answer = ecs.run_task(**asked(account, "pass"))
    assert not answer["tasks"]
    assert answer["failures"][0]["reason"].startswith("Capacity is unavailable at this time.")
    cloud.task_quota(2)
    answer = ecs.run_task(**asked(account, "import time; time.sleep(9)", count=3, capacityProviderStrategy=on_demand))
    assert (len(answer["tasks"]), len(answer["failures"])) == (2, 1)
    assert "limit on the number of vCPUs" in answer["failures"][0]["reason"]
    quota = cloud.client("service-quotas").get_service_quota(ServiceCode="fargate", QuotaCode="L-3032A538")["Quota"]
    assert quota["Value"] == 2


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"cluster": "nowhere"}, "ClusterNotFoundException", "Cluster not found."),
        ({"taskDefinition": "nothing"}, "ClientException", "TaskDefinition not found."),
        ({"capacityProviderStrategy": [{"capacityProvider": "MINE"}]}, "InvalidParameterException", "not associated"),
        ({"networkConfiguration": {}}, "InvalidParameterException", "Network Configuration must be provided"),
        ({"override": {"name": "other"}}, "InvalidParameterException", "container named other"),
        (
            {"override": {"environment": [{"name": "A", "value": "a" * 9000}]}},
            "InvalidParameterException",
            "at most 8192",
        ),
        (
            {"sized": {"cpu": "1024", "memory": "9216"}},
            "ClientException",
            "No Fargate configuration exists for given values: 1024 CPU, 9216 memory.",
        ),
        ({"sized": {"cpu": "3072", "memory": "8192"}}, "ClientException", "No Fargate configuration exists"),
        ({"sized": {"cpu": "8192", "memory": "30720"}}, "ClientException", "No Fargate configuration exists"),
        ({"sized": {"cpu": "256", "memory": "1536"}}, "ClientException", "No Fargate configuration exists"),
    ],
)
def test_run_task_refuses_what_ecs_refuses(
    cloud: Emulator, account: dict[str, str], wrong: dict[str, Any], code: str, said: str
) -> None:
    found, message = refused(cloud.client("ecs").run_task, **asked(account, "pass", **wrong))
    assert (found, said in message) == (code, True)


# ---- access ----


def test_a_task_may_not_call_the_api(cloud: Emulator, account: dict[str, str]) -> None:
    task = run(cloud, account, "import time; time.sleep(60)")
    cloud.await_tasks(1)
    ecs = cloud.client("ecs", environ={"AWS_ACCESS_KEY_ID": task.key})
    code, said = refused(ecs.list_tasks, cluster=account["Cluster"])
    assert (code, "not authorized to perform: ecs:ListTasks" in said) == ("AccessDeniedException", True)


def test_a_user_may_do_what_policies_say_and_nothing_else(cloud: Emulator, account: dict[str, str]) -> None:
    family = account["Task"].rpartition(":")[0]
    allowed = {
        "Effect": "Allow",
        "Action": ["ecs:RunTask", "ecs:TagResource"],
        "Resource": [f"{family}:*", "arn:aws:ecs:*:*:task/orb-cluster/*"],
    }
    environ = cloud.principal([{"Version": "2012-10-17", "Statement": [allowed]}])
    ecs = cloud.client("ecs", environ=environ)
    code, said = refused(ecs.run_task, **asked(account, "pass"))
    assert code == "AccessDeniedException"
    assert f"is not authorized to perform: iam:PassRole on resource: {account['Role']}" in said
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": account["Role"]}
    to_ecs = {**passing, "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}
    environ = cloud.principal([{"Statement": [allowed]}, {"Statement": to_ecs}])
    ecs = cloud.client("ecs", environ=environ)
    assert ecs.run_task(**asked(account, "pass", tags=[{"key": "a", "value": "b"}]))["tasks"]
    code, said = refused(ecs.run_task, **asked(account, "pass", taskDefinition=account["PoorTask"]))
    assert f"ecs:RunTask on resource: {account['PoorTask']}" in said
    elsewhere = cloud.principal(
        [
            {"Statement": [allowed]},
            {"Statement": {**to_ecs, "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}},
        ]
    )
    assert (
        refused(cloud.client("ecs", environ=elsewhere).run_task, **asked(account, "pass"))[0] == "AccessDeniedException"
    )
    assert cloud.client("sts", environ=environ).get_caller_identity()["Arn"].endswith(":user/user2")
    assert refused(cloud.client("ec2", environ=environ).describe_vpcs)[0] == "UnauthorizedOperation"


def test_conditions_on_tags_and_on_what_is_created_count(cloud: Emulator, account: dict[str, str]) -> None:
    ec2 = cloud.client("ec2")
    vpc = ec2.describe_subnets(SubnetIds=account["Subnets"].split(","))["Subnets"][0]["VpcId"]
    group = "arn:aws:ec2:*:*:security-group/*"
    tagged = {"Condition": {"StringEquals": {"aws:RequestTag/orbresearch": "orb"}}}
    created = {"Condition": {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}}}
    ours = {"Condition": {"StringEquals": {"aws:ResourceTag/orbresearch": "orb"}}}
    other = f"arn:aws:ec2:*:*:security-group/{account['Group']}"
    statements = [
        {"Effect": "Allow", "Action": "ec2:CreateSecurityGroup", "Resource": f"arn:aws:ec2:*:*:vpc/{vpc}"},
        {"Effect": "Allow", "Action": "ec2:CreateSecurityGroup", "Resource": group, **tagged},
        {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": group, **created},
        {"Effect": "Allow", "Action": "ec2:DeleteSecurityGroup", "NotResource": other, **ours},
    ]
    mine = cloud.client("ec2", environ=cloud.principal([{"Statement": statements}]))
    asked_for = {"GroupName": "tagged", "Description": "tagged", "VpcId": vpc}
    tags = [{"ResourceType": "security-group", "Tags": [{"Key": "orbresearch", "Value": "orb"}]}]
    assert refused(mine.create_security_group, **asked_for)[0] == "UnauthorizedOperation"
    made = mine.create_security_group(**asked_for, TagSpecifications=tags)["GroupId"]
    assert refused(mine.create_tags, Resources=[made], Tags=tags[0]["Tags"])[0] == "UnauthorizedOperation"
    assert refused(mine.delete_security_group, GroupId=account["Group"])[0] == "UnauthorizedOperation"
    mine.delete_security_group(GroupId=made)


def test_a_deny_wins_over_any_allow(cloud: Emulator, account: dict[str, str]) -> None:
    secret = {"Action": "secretsmanager:GetSecretValue", "Resource": account["Secret"]}
    environ = cloud.principal(
        [{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", **secret}]}]
    )
    code, said = refused(cloud.client("secretsmanager", environ=environ).get_secret_value, SecretId=account["Secret"])
    assert (code, said.endswith("with an explicit deny in an identity-based policy")) == ("AccessDeniedException", True)
    assert cloud.client("ecs", environ=environ).list_clusters()


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("ecs", "list_clusters", "UnrecognizedClientException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("ec2", "describe_vpcs", "AuthFailure"),
    ],
)
def test_an_unknown_key_is_no_key(cloud: Emulator, service: str, operation: str, code: str) -> None:
    client = cloud.client(service, environ={"AWS_ACCESS_KEY_ID": "AKIA" + "Z" * 16})
    assert refused(getattr(client, operation))[0] == code


def test_calls_are_recorded_with_who_made_them(cloud: Emulator) -> None:
    environ = cloud.principal([])
    before = len(cloud.calls)
    cloud.client("sts", environ=environ).get_caller_identity()
    refused(cloud.client("ecs", environ=environ).list_clusters)
    first, second = cloud.calls[before:]
    assert (first.service, first.operation, second.operation) == ("sts", "GetCallerIdentity", "ListClusters")
    assert first.principal == second.principal
    assert ":user/" in first.principal
    assert first.time < second.time


# ---- faults ----


@pytest.mark.parametrize(
    ("service", "operation", "expired", "throttled"),
    [
        ("ecs", "list_clusters", "ExpiredTokenException", "ThrottlingException"),
        ("cloudformation", "list_stacks", "ExpiredToken", "Throttling"),
        ("ec2", "describe_vpcs", "RequestExpired", "RequestLimitExceeded"),
    ],
)
def test_expired_and_throttled_calls_say_so(
    cloud: Emulator, service: str, operation: str, expired: str, throttled: str
) -> None:
    call = getattr(cloud.client(service), operation)
    cloud.expire()
    assert refused(call)[0] == expired
    cloud.expire(False)
    cloud.throttle(2)
    call(), call()
    assert refused(call) == (throttled, "Rate exceeded")


def test_a_planned_failure_ends_after_its_times(cloud: Emulator) -> None:
    ecs = cloud.client("ecs")
    cloud.fail("ListClusters", "ServerException", "These errors are usually caused by a server issue.", times=2)
    assert [refused(ecs.list_clusters)[0] for _ in range(2)] == ["ServerException"] * 2
    assert "clusterArns" in ecs.list_clusters()


def test_another_region_is_empty(cloud: Emulator, account: dict[str, str]) -> None:
    assert "does not exist" in refused(cloud.client("cloudformation", "eu-west-1").describe_stacks, StackName="orb")[1]
    assert refused(cloud.client("ecs", "eu-west-1").run_task, **asked(account, "pass"))[0] == "ClusterNotFoundException"


# ---- Redis ----


def cache_of(account: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "ReplicationGroupId": "orb",
        "ReplicationGroupDescription": "results",
        "Engine": "redis",
        "CacheNodeType": "cache.t4g.small",
        "CacheSubnetGroupName": account["CacheSubnets"],
        "CacheParameterGroupName": account["CacheParameters"],
        "SecurityGroupIds": [account["CacheGroup"]],
        "TransitEncryptionEnabled": True,
        "AuthToken": TOKEN,
        "Tags": [{"Key": "orbresearch", "Value": "orb"}],
        **more,
    }


@pytest.fixture
def cache(cloud: Emulator, account: dict[str, str]) -> Iterator[dict[str, Any]]:
    elasticache = cloud.client("elasticache")
    made = elasticache.create_replication_group(**cache_of(account))["ReplicationGroup"]
    assert (made["Status"], made["NodeGroups"]) == ("creating", [])
    yield until(lambda: available(elasticache))
    elasticache.delete_replication_group(ReplicationGroupId="orb")
    assert (
        elasticache.describe_replication_groups(ReplicationGroupId="orb")["ReplicationGroups"][0]["Status"]
        == "deleting"
    )
    until(lambda: not elasticache.describe_replication_groups()["ReplicationGroups"])
    assert "orb" not in str([line for line in cloud.leftovers() if "replication" in line])


def available(elasticache: Any) -> dict[str, Any] | None:
    [group] = elasticache.describe_replication_groups(ReplicationGroupId="orb")["ReplicationGroups"]
    return group if group["Status"] == "available" else None


def test_redis_is_real_and_behind_tls_and_its_token(
    cloud: Emulator, account: dict[str, str], cache: dict[str, Any]
) -> None:
    endpoint = cache["NodeGroups"][0]["PrimaryEndpoint"]
    where = {"host": endpoint["Address"], "port": endpoint["Port"], "socket_timeout": 1, "retry": Retry(NoBackoff(), 0)}
    trust = {"ssl": True, "ssl_ca_certs": cloud.environ["SSL_CERT_FILE"]}
    with redis.Redis(**where, **trust, password=TOKEN, db=2) as client:
        client.set("a", 1)
        assert client.info("memory")["maxmemory_policy"] == "noeviction"
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.config_get("maxmemory")
    for wrong in ({**trust}, {**trust, "password": TOKEN + "!"}, {"password": TOKEN}, {"ssl": True, "password": TOKEN}):
        with redis.Redis(**where, **wrong) as client, pytest.raises((redis.AuthenticationError, redis.ConnectionError)):
            client.ping()
    arn = cache["ARN"]
    assert cloud.client("elasticache").list_tags_for_resource(ResourceName=arn)["TagList"] == [
        {"Key": "orbresearch", "Value": "orb"}
    ]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"TransitEncryptionEnabled": False}, "InvalidParameterCombination"),
        ({"AuthToken": "short"}, "InvalidParameterValue"),
        ({"Engine": "valkey"}, "InvalidParameterCombination"),
        ({"CacheSubnetGroupName": "nowhere"}, "CacheSubnetGroupNotFoundFault"),
        ({"CacheParameterGroupName": "nothing"}, "CacheParameterGroupNotFound"),
        ({"ReplicationGroupId": "-orb"}, "InvalidParameterValue"),
    ],
)
def test_elasticache_refuses_what_does_not_fit(
    cloud: Emulator, account: dict[str, str], wrong: dict[str, Any], code: str
) -> None:
    assert refused(cloud.client("elasticache").create_replication_group, **cache_of(account, **wrong))[0] == code


def test_what_redis_stands_on_stays(cloud: Emulator, account: dict[str, str], cache: dict[str, Any]) -> None:
    elasticache = cloud.client("elasticache")
    twice = refused(elasticache.create_replication_group, **cache_of(account))[0]
    assert twice == "ReplicationGroupAlreadyExists"
    in_use = refused(elasticache.delete_cache_subnet_group, CacheSubnetGroupName=account["CacheSubnets"])[0]
    assert in_use == "CacheSubnetGroupInUse"


def test_a_balancer_lets_its_own_caller_through_to_redis(
    cloud: Emulator, account: dict[str, str], cache: dict[str, Any]
) -> None:
    ec2, elb, endpoint = cloud.client("ec2"), cloud.client("elbv2"), cache["NodeGroups"][0]["PrimaryEndpoint"]
    subnets = account["Subnets"].split(",")
    vpc = ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    door = ec2.create_security_group(GroupName="door", Description="door", VpcId=vpc)["GroupId"]
    wide = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "IpRanges": [{"CidrIp": f"{CALLER}/32"}]}
    ec2.authorize_security_group_ingress(GroupId=door, IpPermissions=[wide])
    [balancer] = elb.create_load_balancer(Name="nlb", Type="network", Subnets=subnets, SecurityGroups=[door])[
        "LoadBalancers"
    ]
    [group] = elb.create_target_group(Name="redis", Protocol="TCP", Port=6379, VpcId=vpc, TargetType="ip")[
        "TargetGroups"
    ]
    elb.register_targets(TargetGroupArn=group["TargetGroupArn"], Targets=[{"Id": endpoint["Address"], "Port": 6379}])
    forward = [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]
    elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="TCP", Port=6379, DefaultActions=forward)
    with pytest.raises(ConnectionError):  # Redis' own group does not admit the balancer yet
        until(lambda: name_behind(cloud, balancer["DNSName"], endpoint["Address"]), timeout=1)
    pair = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "UserIdGroupPairs": [{"GroupId": door}]}
    ec2.authorize_security_group_ingress(GroupId=account["CacheGroup"], IpPermissions=[pair])
    assert name_behind(cloud, balancer["DNSName"], endpoint["Address"])
    with pytest.raises(ssl.SSLCertVerificationError):  # the certificate is Redis', not the balancer's
        name_behind(cloud, balancer["DNSName"], balancer["DNSName"])
    cloud.caller = STRANGER
    with pytest.raises(ConnectionError):
        name_behind(cloud, balancer["DNSName"], endpoint["Address"])
    assert ":loadbalancer/net/nlb/" in balancer["LoadBalancerArn"]
    assert "load balancer nlb" in str(cloud.leftovers())
    elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    elb.delete_target_group(TargetGroupArn=group["TargetGroupArn"])
    ec2.revoke_security_group_ingress(GroupId=account["CacheGroup"], IpPermissions=[pair])
    ec2.delete_security_group(GroupId=door)
    assert heard(balancer["DNSName"], 6379) is None


def name_behind(cloud: Emulator, address: str, name: str) -> Any:
    """The certificate shown at an address, verified for a name; the port may need a moment to open."""
    context = ssl.create_default_context(cafile=cloud.environ["SSL_CERT_FILE"])
    deadline = time.monotonic() + 1
    while True:
        try:
            plain = socket.create_connection((address, 6379), timeout=2)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        with plain, context.wrap_socket(plain, server_hostname=name) as shown:
            return shown.getpeercert()


# ---- the emulator itself ----


def test_there_is_one_at_a_time_and_on_loopback(cloud: Emulator, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="already"), emulate(tmp_path):
        pass
    for address in ("10.0.0.1", "203.0.113.7", "0.0.0.0"):
        with pytest.raises(RuntimeError, match=r"127\.0\.0\.0/8 only"):
            loopback(address)


_VICTIM = """
import sys, time
from pathlib import Path
from tests.cloud.test_emulator import asked, cache_of, deploy
from tests.emulator import emulate

with emulate(Path(sys.argv[1])) as cloud:
    account = deploy(cloud, "orb")
    cloud.client("elasticache").create_replication_group(**cache_of(account))
    cloud.client("ecs").run_task(**asked(account, "import time; time.sleep(300)"))
    [task] = cloud.await_tasks(1)
    cache = cloud._caches.alive()[0]
    while cache.status != "available":
        time.sleep(0.02)
    print(task.pid, cache.process.pid, flush=True)
    time.sleep(300)
"""


@pytest.mark.slow
def test_nothing_outlives_the_process_however_it_ends(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with victim:
        pids = [int(pid) for pid in victim.stdout.readline().split()]
        assert len(pids) == 2
        victim.send_signal(signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_fifty_tasks_start_and_stop_within_seconds(cloud: Emulator, account: dict[str, str]) -> None:
    ecs = cloud.client("ecs")
    cloud.stub()
    for _ in range(5):
        assert not ecs.run_task(**asked(account, "pass", count=10))["failures"]
    arns = [task.arn for task in cloud.await_tasks(50)]
    for arn in arns:
        ecs.stop_task(cluster=account["Cluster"], task=arn)
    until(lambda: all(task.status == "STOPPED" for task in cloud.every_task()))
    assert len({task.address for task in cloud.every_task()}) == len(cloud.every_task())


# A scheduler and a worker as FargateCluster starts them, and a client on the public address.
@pytest.mark.slow
def test_dask_runs_on_it_and_a_spot_worker_goes_in_peace(cloud: Emulator, account: dict[str, str]) -> None:
    scheduler = run(cloud, account, "", override={"command": ["dask", "scheduler", "--protocol", "tcp"]})
    where = f"tcp://{scheduler.address}:8786"
    worker = run(cloud, account, "", override={"command": ["dask", "worker", where, "--nthreads", "1"]})
    with Client(f"tcp://{scheduler.public}:8786", timeout=30) as client:
        client.wait_for_workers(1, timeout=30)
        [known] = client.scheduler_info()["workers"]
        assert known.startswith(f"tcp://{worker.address}:")
        assert client.submit(abs, -7).result(10) == 7
        cloud.interrupt(worker.arn)
        assert stopped(cloud, account, worker)["containers"][0]["exitCode"] == 0
    cloud.caller = STRANGER
    with pytest.raises(OSError):
        Client(f"tcp://{scheduler.public}:8786", timeout=1)
    cloud.client("ecs").stop_task(cluster=account["Cluster"], task=scheduler.arn, reason="done")
    assert stopped(cloud, account, scheduler)["containers"][0]["exitCode"] == 0
