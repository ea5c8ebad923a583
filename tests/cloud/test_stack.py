"""The stack deployed, found, changed and deleted, on an emulated account; and what is refused before anything."""

from __future__ import annotations

import json
import os
from importlib.resources import files

import pytest

from orbresearch.cloud.aws import TAG, open_account
from orbresearch.cloud.certificates import days_left, make_certificates, read_security
from orbresearch.cloud.stack import delete, deploy, find_stack, narrow_range
from orbresearch.errors import BadInput, CloudFailed
from tests.emulator import emulate

DATABASE = {"DB_ENDPOINT": "127.0.0.1", "DB_USERNAME": "ana", "DB_PASSWORD": "not-to-be-seen", "DB_NAME": "orb"}
HERE = "203.0.113.7/32"


@pytest.fixture
def database(monkeypatch):
    for name, value in DATABASE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def running_cloud(tmp_path_factory):
    with emulate(tmp_path_factory.mktemp("cloud")) as started:
        yield started


@pytest.fixture
def cloud(running_cloud, database, monkeypatch):
    """Give an empty account; what a test leaves is deleted after it."""
    for name, value in running_cloud.environ.items():
        monkeypatch.setenv(name, value)
    running_cloud.stub(True)
    yield running_cloud
    account = open_account()
    for task in running_cloud.tasks():
        account.client("ecs").stop_task(cluster=find_stack(account).cluster_arn, task=task.arn)
    delete()
    assert left(running_cloud) == []


def left(cloud) -> list[str]:
    """Return what is still there, but for the roles that AWS' own services keep in an account for life."""
    return [one for one in cloud.leftovers() if "AWSServiceRoleFor" not in one]


def called(cloud, operation: str) -> int:
    return sum(call.operation == operation for call in cloud.calls)


def client(service: str):
    return open_account().client(service)


def value_of(arn: str) -> str:
    return client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]


def start_task(stack):
    network = {"subnets": list(stack.subnets), "securityGroups": [stack.scheduler_group], "assignPublicIp": "ENABLED"}
    asked = {"cluster": stack.cluster_arn, "taskDefinition": stack.scheduler_task_definition}
    return client("ecs").run_task(**asked, launchType="FARGATE", networkConfiguration={"awsvpcConfiguration": network})


# --- refused before anything


@pytest.mark.parametrize(
    "allow",
    ["0.0.0.0/0", "203.0.113.0/23", "10.0.0.0/8", "::/0", "0.0.0.0", "203.0.113.7/24", "home", "", "203.0.113.7/"],
)
def test_a_range_that_lets_too_many_in_is_refused(allow):
    with pytest.raises(BadInput, match="checkip"):
        deploy(allow=allow)


@pytest.mark.parametrize(("allow", "seen"), [("203.0.113.7", HERE), (HERE, HERE), ("203.0.113.0/24", "203.0.113.0/24")])
def test_one_address_or_a_small_network_is_let_in(allow, seen):
    assert narrow_range(allow) == seen


def test_sqlite_is_refused_with_remote_workers():
    with pytest.raises(BadInput, match="no worker in the cloud can reach.*DB_ENDPOINT"):
        deploy(allow=HERE)


@pytest.mark.parametrize("endpoint", ["localhost", "127.0.0.1", "::1", "0.0.0.0", "LOCALHOST."])
def test_a_database_on_this_machine_is_refused(endpoint, database, monkeypatch):
    monkeypatch.setenv("DB_ENDPOINT", endpoint)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(BadInput, match="this machine") as refused:
        deploy(allow=HERE, region="us-east-1")
    assert "not-to-be-seen" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "Orb", "1orb", "orb_research", "o" * 25])
def test_a_name_that_others_could_not_be_made_of_is_refused(name, database):
    with pytest.raises(BadInput, match="small letters"):
        deploy(allow=HERE, stack=name)


# --- on the emulator


def test_a_stack_is_deployed_found_and_deployed_again_without_change(cloud, capsys):
    made = deploy(allow=HERE)
    assert made == find_stack(open_account())
    assert made.image is None
    told = capsys.readouterr().out
    assert "ready after" in told
    assert "push_image" in told
    assert not [
        secret for secret in (DATABASE["DB_PASSWORD"], value_of(made.client_secret)) if secret in told + repr(made)
    ]
    written = called(cloud, "PutSecretValue")
    assert deploy(allow=HERE) == made
    assert called(cloud, "PutSecretValue") == written == 4
    assert "new: nothing" in capsys.readouterr().out


def test_its_secrets_hold_certificates_that_know_each_other_and_the_databases_account(cloud):
    stack = deploy(allow=HERE)
    known = {read_security(value_of(stack.client_secret)).tls_ca_file}
    for role, arn in (("scheduler", stack.scheduler_secret), ("worker", stack.worker_secret)):
        known.add(read_security(value_of(arn), role).tls_ca_file)
        assert days_left(value_of(arn)) > 300
    assert len(known) == 1
    account = json.loads(value_of(stack.database_secret))
    assert account == {**DATABASE, "DB_PORT": "3306", "DB_TABLE": "results", "DB_TLS": "0"}
    assert len(json.loads(value_of(stack.redis_secret))["password"]) == 64


def test_certificates_are_renewed_ninety_days_before_their_end_and_where_one_is_another_authoritys(cloud):
    stack, manager = deploy(allow=HERE), client("secretsmanager")
    arns = {"scheduler": stack.scheduler_secret, "worker": stack.worker_secret, "client": stack.client_secret}

    def put(days: int, *roles: str) -> None:
        made = make_certificates(days)
        for role in roles:
            manager.put_secret_value(SecretId=arns[role], SecretString=made.documents[role])

    for days, roles, renewed in ((91, arns, False), (89, arns, True), (365, ["client"], True)):
        put(days, *roles)
        before = value_of(stack.client_secret)
        deploy(allow=HERE)
        assert (value_of(stack.client_secret) != before) == renewed, (days, roles)


def test_another_address_replaces_the_one_before_and_nothing_else(cloud):
    first = deploy(allow=HERE)
    second = deploy(allow="198.51.100.9/32")
    assert second == first
    (group,) = client("ec2").describe_security_groups(GroupIds=[first.scheduler_group])["SecurityGroups"]
    ranges = [one["CidrIp"] for rule in group["IpPermissions"] for one in rule["IpRanges"]]
    assert ranges == ["198.51.100.9/32"]
    assert {rule["FromPort"] for rule in group["IpPermissions"]} == {8786}


def test_another_image_makes_new_task_definitions_and_is_kept_afterwards(cloud):
    first = deploy(allow=HERE)
    second = deploy(allow=HERE, image_tag="a1b2c3")
    assert second.worker_task_definition != first.worker_task_definition
    found = client("ecs").describe_task_definition(taskDefinition=second.worker_task_definition)["taskDefinition"]
    assert found["containerDefinitions"][0]["image"] == second.image == f"{first.repository_uri}:a1b2c3"
    assert deploy(allow=HERE) == second


def test_a_size_that_was_set_by_hand_is_kept(cloud):
    deploy(allow=HERE)
    given = [
        {"ParameterKey": "ClientCidr", "UsePreviousValue": True},
        {"ParameterKey": "WorkerCpu", "ParameterValue": "2048"},
    ]
    asked = {"StackName": "orbresearch", "UsePreviousTemplate": True, "Capabilities": ["CAPABILITY_IAM"]}
    client("cloudformation").update_stack(**asked, Parameters=given)
    stack = deploy(allow="198.51.100.9/32")
    found = client("ecs").describe_task_definition(taskDefinition=stack.worker_task_definition)["taskDefinition"]
    assert found["cpu"] == "2048"


def test_everything_is_tagged_with_the_stacks_name(cloud):
    stack = deploy(allow=HERE)
    tags = client("secretsmanager").describe_secret(SecretId=stack.redis_secret)["Tags"]
    assert {"Key": TAG, "Value": "orbresearch"} in tags
    (vpc,) = client("ec2").describe_vpcs(VpcIds=[stack.vpc])["Vpcs"]
    assert {"Key": TAG, "Value": "orbresearch"} in vpc["Tags"]


def test_a_creation_that_fails_tells_the_first_reason_and_leaves_nothing(cloud):
    client("ecr").create_repository(repositoryName="orbresearch")
    with pytest.raises(CloudFailed, match=r"Repository \(AWS::ECR::Repository\).*exist"):
        deploy(allow=HERE)
    client("ecr").delete_repository(repositoryName="orbresearch")
    assert left(cloud) == []
    deploy(allow=HERE)


def test_a_stack_of_that_name_that_is_something_else_is_not_touched(cloud):
    other = json.dumps({"Description": "shop", "Resources": {"Topic": {"Type": "AWS::Logs::LogGroup"}}})
    formation = client("cloudformation")
    formation.create_stack(StackName="orbresearch", TemplateBody=other)
    for act in (lambda: deploy(allow=HERE), delete, lambda: find_stack(open_account())):
        with pytest.raises(BadInput, match="something else: shop"):
            act()
    formation.delete_stack(StackName="orbresearch")


def test_without_a_stack_one_is_told_to_deploy_and_deleting_is_done_already(cloud, capsys):
    with pytest.raises(BadInput, match=r"none in us-east-1.*orb\.cloud\.deploy"):
        find_stack(open_account())
    delete()
    assert "there is none" in capsys.readouterr().out


def test_under_running_tasks_neither_image_nor_stack_is_changed(cloud):
    stack = deploy(allow=HERE, image_tag="a1b2c3")
    task = start_task(stack)["tasks"][0]["taskArn"]
    with pytest.raises(BadInput, match=r"1 tasks run.*sweep"):
        deploy(allow=HERE, image_tag="d4e5f6")
    with pytest.raises(BadInput, match=task.split("/")[-1]):
        delete()
    assert deploy(allow="198.51.100.9/32", image_tag="a1b2c3") == stack


def test_a_policy_that_somebody_holds_is_named_before_the_stack_is_deleted(cloud):
    stack, iam = deploy(allow=HERE), client("iam")
    iam.create_user(UserName="ana")
    iam.attach_user_policy(UserName="ana", PolicyArn=stack.researcher_policy)
    with pytest.raises(BadInput, match="ResearcherPolicy is attached to ana"):
        delete()
    iam.detach_user_policy(UserName="ana", PolicyArn=stack.researcher_policy)
    iam.delete_user(UserName="ana")


def test_the_deployers_policy_suffices_and_the_researchers_does_not_deploy(cloud, monkeypatch):
    documents = [json.loads(files("orbresearch.cloud").joinpath("deployer.json").read_text())]
    owner = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}

    def become(environ) -> None:
        for name in owner:
            monkeypatch.setenv(name, environ[name])

    become(cloud.principal(documents))
    stack = deploy(allow=HERE, image_tag="a1b2c3")
    become(owner)
    iam = client("iam")
    version = iam.get_policy(PolicyArn=stack.researcher_policy)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=stack.researcher_policy, VersionId=version)["PolicyVersion"]["Document"]
    become(cloud.principal([found]))
    assert find_stack(open_account()) == stack
    with pytest.raises(CloudFailed, match="not allowed"):
        deploy(allow="198.51.100.9/32")
    become(cloud.principal(documents))
    delete()
    become(owner)
