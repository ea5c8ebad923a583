"""The stack's template as a text: sound, closed, least, without secrets, and one with the code that stands on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import dask
import pytest
import yaml
from cfnlint import decode
from cfnlint.api import lint_file
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from orbresearch.cloud.sizes import SIZES
from orbresearch.cloud.stack import NO_IMAGE, Stack, _camel
from orbresearch.lab import cluster
from orbresearch.settings import MySQLSettings, StoreSettings, read_settings
from tests.emulator.protocol import Refused
from tests.emulator.sizes import refuse_size

FOLDER = files("orbresearch.cloud")
TEXT = FOLDER.joinpath("stack.yaml").read_text()
TEMPLATE: dict[str, Any] = decode.decode_str(TEXT)[0]
RESOURCES = TEMPLATE["Resources"]
NO_NARROWER = {  # actions that AWS grants on everything or not at all, or by a condition that must then stand there
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ec2:GetSecurityGroupsForVpc",
    "ecr:GetAuthorizationToken",
    "ecs:ListAccountSettings",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
    "servicequotas:GetServiceQuota",
}
#: What CloudFormation's handlers may call for properties that the stack's resources do not have -> those properties.
NOT_CALLED = {
    "ec2:(Associate|Disassociate)SubnetCidrBlock": {"Ipv6CidrBlock", "Ipv6CidrBlocks"},
    "ec2:(Attach|Detach)VpnGateway": {"VpnGatewayId"},
    "ec2:CreateVpcEncryptionControl": {"VpcEncryptionControl"},
    "ec2:ModifySubnetAttribute": {"AssignIpv6AddressOnCreation", "EnableDns64", "MapPublicIpOnLaunch"},
    "ec2:ModifyVpcTenancy": {"InstanceTenancy"},
    "ecr:(Set|Delete)RepositoryPolicy": {"RepositoryPolicyText"},
    "ecs:PutAccountSetting(Default)?": {"Configuration"},  # of the whole account: not a deployer's to change
    "firehose:.*|s3:.*|logs:CreateLogDelivery|logs:PutDataProtectionPolicy": {"DataProtectionPolicy"},
    "iam:(Attach|Detach)(Group|User)Policy": {"Groups", "Users"},
    "iam:(Put|Delete)RolePermissionsBoundary": {"PermissionsBoundary"},
    "kms:.*|logs:(Associate|Disassociate)KmsKey": {"Configuration", "EncryptionConfiguration", "KmsKeyId"},
    "logs:(Put|Delete)IndexPolicy": {"FieldIndexPolicies"},
    "logs:(Put|Delete)ResourcePolicy": {"ResourcePolicyDocument"},
    "logs:PutBearerTokenAuthentication": {"BearerTokenAuthenticationEnabled"},
    "logs:PutLogGroupDeletionProtection": {"DeletionProtectionEnabled"},
    "secretsmanager:(ReplicateSecretToRegions|RemoveRegionsFromReplication)": {"ReplicaRegions"},
}
BY_CONDITION = {"ecs:ListTasks": "ecs:cluster"}
LONGEST = "a" * 24  # the longest name that deploy takes


def of_type(kind: str) -> dict[str, Any]:
    return {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == kind}


def aslist(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every policy in the template, by the name of what carries it."""
    for name, policy in of_type("AWS::IAM::ManagedPolicy").items():
        yield name, policy["PolicyDocument"]
    for name, role in of_type("AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            yield name, policy["PolicyDocument"]


def statements() -> list[tuple[str, dict[str, Any]]]:
    return [(name, statement) for name, document in documents() for statement in document["Statement"]]


def containers() -> dict[str, dict[str, Any]]:
    tasks = of_type("AWS::ECS::TaskDefinition")
    return {name: one["ContainerDefinitions"][0] for name, one in tasks.items()}


def environment(task: str) -> dict[str, str]:
    return {one["Name"]: one["Value"] for one in containers()[task]["Environment"]}


def secret_of(value_from: dict[str, Any]) -> str:
    """Return the resource that a secret's reference names."""
    return value_from.get("Ref") or re.match(r"\$\{(\w+)\}:\w+::$", value_from["Fn::Sub"])[1]


# --- sound


def test_cfn_lint_finds_nothing(tmp_path):
    matches = lint_file(FOLDER.joinpath("stack.yaml"))
    assert [f"{match.rule.id} line {match.linenumber}: {match.message}" for match in matches] == []


def test_a_template_fits_into_one_request():
    assert len(TEXT.encode()) < 51_200


def test_the_outputs_are_the_fields_of_a_stack():
    assert {*TEMPLATE["Outputs"]} == {_camel(field) for field in Stack.__dataclass_fields__} - {"Name", "Region"}


def test_without_an_image_the_template_says_what_the_stack_takes_for_none():
    assert TEMPLATE["Parameters"]["ImageTag"]["Default"] == NO_IMAGE


def test_only_parameters_and_names_of_this_stack_make_it_one_of_many():
    """Nothing bears a name that two stacks in an account would both want."""
    named = [
        value for one in RESOURCES.values() for key, value in one.get("Properties", {}).items()
        if key in ("Name", "Family", "LogGroupName", "RepositoryName", "ClusterName", "RoleName", "ManagedPolicyName")
    ]  # fmt: skip
    assert named
    assert all("AWS::StackName" in str(value) for value in named)


# --- closed


def test_nobody_is_let_in_but_the_parameters_range_and_the_stacks_own_groups():
    rules = of_type("AWS::EC2::SecurityGroupIngress")
    assert len(rules) == 5
    for name, rule in rules.items():
        assert {*rule} & {"CidrIp", "CidrIpv6", "SourcePrefixListId", "SourceSecurityGroupId"} == (
            {"CidrIp"} if name == "SchedulerFromClient" else {"SourceSecurityGroupId"}
        )
    assert rules["SchedulerFromClient"]["CidrIp"] == {"Ref": "ClientCidr"}
    assert not any("SecurityGroupIngress" in group for group in of_type("AWS::EC2::SecurityGroup").values())


def test_the_scheduler_is_reached_on_its_port_only_and_redis_by_workers_only():
    reached = set()
    for rule in of_type("AWS::EC2::SecurityGroupIngress").values():
        source = rule.get("SourceSecurityGroupId", {}).get("Fn::GetAtt", ["client"])
        reached.add((rule["GroupId"]["Fn::GetAtt"][0], rule["FromPort"], rule["ToPort"], source[0]))
    assert reached == {
        ("SchedulerNetworkGroup", 8786, 8786, "client"),
        ("SchedulerNetworkGroup", 8786, 8786, "WorkerNetworkGroup"),
        ("WorkerNetworkGroup", 0, 65535, "SchedulerNetworkGroup"),
        ("WorkerNetworkGroup", 0, 65535, "WorkerNetworkGroup"),
        ("RedisNetworkGroup", 6379, 6379, "WorkerNetworkGroup"),
    }


def test_the_template_itself_refuses_a_wide_range():
    pattern = TEMPLATE["Parameters"]["ClientCidr"]["AllowedPattern"]
    for narrow in ("203.0.113.7/32", "203.0.113.0/24"):
        assert re.match(pattern, narrow)
    for wide in ("203.0.112.0/23", "10.0.0.0/8", "0.0.0.0/0", "::/0", "203.0.113.7"):
        assert not re.match(pattern, wide)
    assert "Default" not in TEMPLATE["Parameters"]["ClientCidr"]


# --- without secrets


def test_no_account_number_password_or_key_stands_in_the_files():
    for text in (TEXT, FOLDER.joinpath("deployer.json").read_text()):
        assert not re.search(r"\d{12}", text)
        assert not re.search(r"AKIA|ASIA|BEGIN|\bSecretString:", text)


def test_what_is_secret_comes_to_tasks_by_reference():
    for task, container in containers().items():
        assert not [name for name in environment(task) if re.search("PASSWORD|SECRET|TOKEN|USERNAME|TLS|INHERIT", name)]
        for secret in container["Secrets"]:
            assert RESOURCES[secret_of(secret["ValueFrom"])]["Type"] == "AWS::SecretsManager::Secret"


def test_the_database_reaches_workers_whole():
    store = StoreSettings(read_settings(environ={}).home / "no", "db.example.com", 3306, "ana", "s", "orb")
    assert isinstance(store.place, MySQLSettings)
    given = {
        one["Name"]: one["ValueFrom"] for one in containers()["WorkerTask"]["Secrets"] if one["Name"].startswith("DB_")
    }
    assert given == {name: {"Fn::Sub": f"${{DatabaseAccount}}:{name}::"} for name in store.to_environ()}


def test_its_sizes_are_those_that_fargate_has():
    for role in ("Scheduler", "Worker"):
        cpus, memories = (TEMPLATE["Parameters"][f"{role}{what}"]["AllowedValues"] for what in ("Cpu", "Memory"))
        taken = [units / 1024 for units in map(int, cpus)]
        assert taken == [vcpus for vcpus in SIZES if vcpus >= 0.5]
        assert [int(mib) for mib in memories] == sorted({round(1024 * gib) for vcpus in taken for gib in SIZES[vcpus]})


def test_the_emulator_has_the_same_sizes():
    for vcpus in (0.25, 0.5, *range(1, 33)):
        for mib in range(512, 131_072, 512):
            try:
                refuse_size(round(vcpus * 1024), mib)
            except Refused:
                assert mib / 1024 not in SIZES.get(vcpus, ())
            else:
                assert mib / 1024 in SIZES[vcpus]


# --- least


@pytest.mark.parametrize(
    ("role", "task"), [("SchedulerExecutionRole", "SchedulerTask"), ("WorkerExecutionRole", "WorkerTask")]
)
def test_a_role_reads_the_secrets_of_its_own_tasks_and_no_others(role, task):
    assert RESOURCES[task]["Properties"]["ExecutionRoleArn"] == {"Fn::GetAtt": [role, "Arn"]}
    wanted = {secret_of(secret["ValueFrom"]) for secret in containers()[task]["Secrets"]}
    (statement,) = RESOURCES[role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    assert {one["Ref"] for one in aslist(statement["Resource"])} == wanted


def test_what_runs_in_a_task_may_nothing():
    assert {*RESOURCES["TaskRole"]["Properties"]} == {"AssumeRolePolicyDocument"}
    for task in of_type("AWS::ECS::TaskDefinition").values():
        assert task["TaskRoleArn"] == {"Fn::GetAtt": ["TaskRole", "Arn"]}


def test_every_action_is_named():
    for name, statement in statements():
        assert statement["Effect"] == "Allow", name
        for action in aslist(statement["Action"]):
            assert re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action), f"{name} allows {action}"


def test_everything_is_only_allowed_where_aws_knows_no_narrower():
    for name, statement in statements():
        if "*" in aslist(statement.get("Resource")):
            for action in aslist(statement["Action"]):
                conditions = json.dumps(statement.get("Condition", {}))
                assert action in NO_NARROWER or BY_CONDITION.get(action, "nothing") in conditions, f"{name}: {action}"


def test_roles_are_passed_to_tasks_only():
    (statement,) = [one for _, one in statements() if "iam:PassRole" in aslist(one["Action"])]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert {one["Fn::GetAtt"][0] for one in statement["Resource"]} == {*of_type("AWS::IAM::Role")}


def test_a_researcher_never_reads_the_databases_account_nor_opens_a_port():
    of_researcher = [one for name, one in statements() if name == "Researcher"]
    (reads,) = [one for one in of_researcher if "secretsmanager:GetSecretValue" in aslist(one["Action"])]
    assert {one["Ref"] for one in reads["Resource"]} == {"ClientTls", "RedisPassword"}
    actions = {action for one in of_researcher for action in aslist(one["Action"])}
    assert not [action for action in actions if "SecurityGroup" in action and "Describe" not in action]


def test_the_balancers_policy_opens_neither_scheduler_nor_workers():
    for name, statement in statements():
        if "ec2:AuthorizeSecurityGroupIngress" not in aslist(statement["Action"]):
            continue
        assert name == "Balancer"
        if "NotResource" not in statement:
            assert "${RedisNetworkGroup.GroupId}" in str(statement["Resource"])
            continue
        assert {"SchedulerNetworkGroup", "WorkerNetworkGroup"} == {*re.findall(r"\$\{(\w+)\.GroupId\}", str(statement))}
        assert "aws:ResourceTag/orbresearch" in statement["Condition"]["StringEquals"]


@pytest.mark.parametrize("name", sorted(of_type("AWS::IAM::ManagedPolicy")))
def test_policies_fit_into_what_aws_takes(name):
    """AWS counts 6,144 characters without white space, after names are filled in."""
    filled = {
        "AWS::Partition": "aws-us-gov",
        "AWS::Region": "ap-southeast-2",
        "AWS::AccountId": "1" * 12,
        "AWS::StackName": LONGEST,
    }

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(one) for one in value]
        if not isinstance(value, dict):
            return value
        if {*value} & {"Ref", "Fn::GetAtt"}:
            return "a" * 150  # an ARN with generated names
        if "Fn::Sub" in value:
            return re.sub(r"\$\{([\w:.]+)\}", lambda found: filled.get(found[1], "a" * 60), value["Fn::Sub"])
        return {key: fill(one) for key, one in value.items()}

    assert len(json.dumps(fill(RESOURCES[name]["Properties"]["PolicyDocument"]), separators=(",", ":"))) < 6144


def test_the_deployers_policy_is_one_and_names_its_actions():
    found = json.loads(FOLDER.joinpath("deployer.json").read_text())
    assert len(json.dumps(found, separators=(",", ":"))) < 6144
    actions = [action for one in found["Statement"] for action in aslist(one["Action"])]
    assert all(re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action) for action in actions)
    reading = [one for one in found["Statement"] if one["Resource"] == "*"]
    for one in reading:  # IAM, secrets and images of others stay out of reach
        bare = [action for action in aslist(one["Action"]) if action.split(":")[0] in ("iam", "ecr", "secretsmanager")]
        assert "Condition" in one or {*bare} <= {"ecr:DescribeRepositories", "secretsmanager:GetRandomPassword"}


@pytest.mark.parametrize("kind", sorted({one["Type"] for one in RESOURCES.values()}))
def test_the_deployer_may_what_cloudformation_calls_for_each_kind_of_resource(kind):
    """The handlers' own permissions, as AWS publishes them; a listing is nothing that a stack asks for."""
    policy = json.loads(FOLDER.joinpath("deployer.json").read_text())
    granted = {action for one in policy["Statement"] for action in aslist(one["Action"])}
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    parts = [schema.get("tagging", {}), *(one for name, one in schema["handlers"].items() if name != "list")]
    called = {action for one in parts for action in one.get("permissions", [])}
    assert called
    properties = {name for one in of_type(kind).values() for name in one}
    for action in sorted(called - granted):
        needing = [names for pattern, names in NOT_CALLED.items() if re.fullmatch(pattern, action)]
        assert needing, f"{kind}: {action}"
        assert not needing[0] & properties, f"{kind} with {properties}: {action}"


# --- one with the code


def test_tasks_end_in_good_order():
    for container in containers().values():
        assert container["StopTimeout"] == 120
        assert container["LinuxParameters"]["InitProcessEnabled"] is True


def test_workers_are_set_up_as_those_of_this_machine(monkeypatch):
    """What start_cluster gives Dask for its own workers, the task definitions give to those on Fargate."""
    from distributed.nanny import _get_env_variables

    local: dict[str, Any] = {}

    def look(kind: Any, **options: Any) -> None:
        local.update(dask.config.get("distributed.nanny.pre-spawn-environ"))
        for key in ("scheduler.allowed-failures", "worker.profile.enabled", "worker.daemon"):
            local[key] = dask.config.get(f"distributed.{key}")

    monkeypatch.setattr(cluster, "_start", look)
    cluster.start_cluster(read_settings(environ={}), 1, 1)
    both = {**environment("SchedulerTask"), **environment("WorkerTask")}
    for name, value in both.items():
        monkeypatch.setenv(name, value)
    remote = dask.config.merge(dask.config.config, dask.config.collect_env())
    for key in ("scheduler.allowed-failures", "worker.profile.enabled", "worker.daemon"):
        assert dask.config.get(f"distributed.{key}", config=remote) == local[key]
    spawned = {**both, **_get_env_variables("distributed.nanny.pre-spawn-environ")}
    pre_spawn = {name: str(value) for name, value in local.items() if name.isupper()}
    assert {name: spawned[name] for name in pre_spawn} == pre_spawn


def test_the_comment_on_top_gives_parameters_that_exist():
    head = TEXT.partition("AWSTemplateFormatVersion")[0]
    assert {*re.findall(r"(\w+)=[\d]", head)} <= {*TEMPLATE["Parameters"]}
    assert yaml.safe_load(json.dumps(TEMPLATE["Parameters"]["CacheFamily"]["AllowedValues"])) == ["valkey8", "redis7"]
