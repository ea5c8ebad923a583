"""The stack deployed, found, changed and deleted, on an emulated account; and what is refused before anything."""

from __future__ import annotations

import functools
import json
import os
import signal
from importlib.resources import files

import psutil
import pytest

from orbresearch.cloud.aws import TAG, open_account
from orbresearch.cloud.certificates import ROLES, days_left, make_certificates, read_security
from orbresearch.cloud.formation import put_stack
from orbresearch.cloud.secrets import write_certificates
from orbresearch.cloud.stack import delete, deploy, find_stack, narrow_range, read_template
from orbresearch.errors import BadInput, CloudFailed
from orbresearch.settings import read_settings
from tests.authority import Authority
from tests.cloud.conftest import until
from tests.emulator import emulate

DATABASE = {"DB_ENDPOINT": "127.0.0.1", "DB_USERNAME": "ana", "DB_PASSWORD": "not-to-be-seen", "DB_NAME": "orb"}
HERE = "203.0.113.7/32"
QUICK = {"Delay": 0.05, "MaxAttempts": 200}


@pytest.fixture
def database(monkeypatch):
    for name, value in DATABASE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """Give an account for all tests here; at the end nothing may be left in it."""
    with emulate(tmp_path_factory.mktemp("cloud")) as started, pytest.MonkeyPatch.context() as patched:
        for name, value in started.environ.items():
            patched.setenv(name, value)
        started.stub(True)
        yield started
        client.cache_clear()


@pytest.fixture
def cloud(account, database):
    """Give the account; a test leaves it as it was, but for what AWS' own services keep for life."""
    before = left(account)
    yield account
    assert left(account) == before


@pytest.fixture(scope="module")
def deployed(account):
    """Deploy the stack on which most tests stand; delete it after them."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in DATABASE.items():
            patched.setenv(name, value)
        stack = deploy(allow=HERE)
    yield stack
    delete()
    assert left(account) == []


@pytest.fixture
def stack(deployed, account, database):
    """Give the stack as the test before left it."""
    return find_stack(open_account())


def left(cloud) -> list[str]:
    """Return what is still there, but for the roles that AWS' own services keep in an account for life."""
    return [one for one in cloud.leftovers() if "AWSServiceRoleFor" not in one]


def called(cloud, operation: str) -> int:
    return sum(call.operation == operation for call in cloud.calls)


@functools.cache
def client(service: str):
    """Return the owner's client of a service; there is one account for the whole module."""
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
    with pytest.raises(BadInput, match=r"no worker in the cloud can reach.*DB_ENDPOINT"):
        deploy(allow=HERE)


def test_the_stack_may_come_before_a_database_that_is_to_stand_in_its_network(cloud, monkeypatch, capsys):
    for name in DATABASE:
        monkeypatch.delenv(name)
    stack = deploy(allow=HERE, stack="second", database=False)
    assert "no results database yet: deploy again with DB_ENDPOINT" in capsys.readouterr().out
    for name, value in DATABASE.items():
        monkeypatch.setenv(name, value)
    deploy(allow=HERE, stack="second")
    written = value_of(stack.database_secret)
    monkeypatch.setenv("DB_PASSWORD", "another")
    deploy(allow=HERE, stack="second", database=False)
    assert value_of(stack.database_secret) == written
    assert "no results database" not in capsys.readouterr().out
    delete("second")


@pytest.mark.parametrize("endpoint", ["localhost", "127.0.0.1", "::1", "0.0.0.0", "LOCALHOST."])
def test_a_database_on_this_machine_is_refused(endpoint, database, monkeypatch):
    monkeypatch.setenv("DB_ENDPOINT", endpoint)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(BadInput, match="this machine") as refused:
        deploy(allow=HERE, region="us-east-1")
    assert "not-to-be-seen" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "Orb", "1orb", "orb_research", "orb--b", "orb-", "o" * 25])
def test_a_name_that_others_could_not_be_made_of_is_refused(name, database):
    with pytest.raises(BadInput, match="small letters"):
        deploy(allow=HERE, stack=name)


# --- deployed again


def test_deploying_again_changes_nothing(stack, account, capsys):
    written = called(account, "PutSecretValue")
    assert deploy(allow=HERE) == stack
    assert called(account, "PutSecretValue") == written
    told = capsys.readouterr().out
    assert "new: nothing" in told
    assert "push_image" in told
    assert not [
        hidden for hidden in (DATABASE["DB_PASSWORD"], value_of(stack.client_secret)) if hidden in told + repr(stack)
    ]


def test_its_secrets_hold_certificates_that_know_each_other_and_the_databases_account(stack):
    known = {read_security(value_of(stack.client_secret)).tls_ca_file}
    for role, arn in (("scheduler", stack.scheduler_secret), ("worker", stack.worker_secret)):
        known.add(read_security(value_of(arn), role).tls_ca_file)
        assert days_left(value_of(arn)) > 300
    assert len(known) == 1
    assert json.loads(value_of(stack.database_secret)) == {
        **DATABASE,
        "DB_PORT": "3306",
        "DB_TABLE": "results",
        "DB_TLS": "0",
        "DB_TLS_CA": "",
    }
    assert len(json.loads(value_of(stack.redis_secret))["password"]) == 64


@pytest.mark.parametrize(
    ("days", "roles", "renewed"),
    [(91, ROLES, False), (89, ROLES, True), (365, ("client",), True)],
)
def test_certificates_are_renewed_before_they_end_and_where_one_is_another_authoritys(stack, days, roles, renewed):
    made = make_certificates(days)
    for role in roles:
        arn = getattr(stack, f"{role}_secret")
        client("secretsmanager").put_secret_value(SecretId=arn, SecretString=made.documents[role])
    assert write_certificates(open_account(), stack, in_use=False) == renewed
    assert (value_of(stack.client_secret) != made.documents["client"]) == renewed


def test_certificates_that_tasks_hold_are_renewed_at_their_very_end_only(stack):
    for days, renewed in ((20, False), (1, True)):
        made = make_certificates(days)
        for role, document in made.documents.items():
            client("secretsmanager").put_secret_value(SecretId=getattr(stack, f"{role}_secret"), SecretString=document)
        assert write_certificates(open_account(), stack, in_use=True) == renewed


def test_another_password_of_the_database_reaches_its_secret(stack, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "another")
    deploy(allow=HERE)
    assert json.loads(value_of(stack.database_secret))["DB_PASSWORD"] == "another"


def test_the_databases_authority_reaches_its_secret_as_text(stack, monkeypatch, tmp_path):
    bundle = Authority(tmp_path).bundle
    monkeypatch.setenv("DB_TLS", "1")
    monkeypatch.setenv("DB_TLS_CA", str(bundle))
    deploy(allow=HERE)
    found = json.loads(value_of(stack.database_secret))
    assert (found["DB_TLS"], found["DB_TLS_CA"]) == ("1", bundle.read_text().strip())
    assert read_settings(environ=found).store.place == read_settings().store.place


def test_more_certificates_than_a_secret_holds_are_refused_before_anything(stack, account, monkeypatch, tmp_path):
    monkeypatch.setenv("DB_TLS", "1")
    monkeypatch.setenv("DB_TLS_CA", Authority(tmp_path).bundle.read_text() * 120)
    before = len(account.calls)
    with pytest.raises(BadInput, match=r"Secrets Manager takes 65,536; use the bundle of your region"):
        deploy(allow=HERE)
    assert len(account.calls) == before


def test_another_address_replaces_the_one_before_and_nothing_else(stack):
    assert deploy(allow="198.51.100.9/32") == stack
    (group,) = client("ec2").describe_security_groups(GroupIds=[stack.scheduler_group])["SecurityGroups"]
    ranges = [one["CidrIp"] for rule in group["IpPermissions"] for one in rule["IpRanges"]]
    assert ranges == ["198.51.100.9/32"]
    assert {rule["FromPort"] for rule in group["IpPermissions"]} == {8786}


def test_another_image_makes_new_task_definitions_and_is_kept_afterwards(stack):
    second = deploy(allow=HERE, image_tag="a1b2c3")
    assert second.worker_task_definition != stack.worker_task_definition
    found = client("ecs").describe_task_definition(taskDefinition=second.worker_task_definition)["taskDefinition"]
    assert found["containerDefinitions"][0]["image"] == second.image == f"{stack.repository_uri}:a1b2c3"
    assert deploy(allow=HERE) == second


def test_a_size_that_was_set_by_hand_is_kept(stack):
    given = [
        {"ParameterKey": "ClientCidr", "ParameterValue": HERE},
        {"ParameterKey": "WorkerCpu", "ParameterValue": "2048"},
    ]
    asked = {"StackName": "orbresearch", "UsePreviousTemplate": True, "Capabilities": ["CAPABILITY_IAM"]}
    client("cloudformation").update_stack(**asked, Parameters=given)
    found = deploy(allow="198.51.100.9/32").worker_task_definition
    assert client("ecs").describe_task_definition(taskDefinition=found)["taskDefinition"]["cpu"] == "2048"


def test_everything_is_tagged_with_the_stacks_name(stack):
    tag = {"Key": TAG, "Value": "orbresearch"}
    assert tag in client("secretsmanager").describe_secret(SecretId=stack.redis_secret)["Tags"]
    assert tag in client("ec2").describe_vpcs(VpcIds=[stack.vpc])["Vpcs"][0]["Tags"]


# --- in use


def test_under_running_tasks_neither_image_nor_stack_is_changed(stack):
    task = start_task(stack)["tasks"][0]["taskArn"]
    with pytest.raises(BadInput, match=r"1 task of it at work.*sweep"):
        deploy(allow=HERE, image_tag="d4e5f6")
    with pytest.raises(BadInput, match=task.split("/")[-1]):
        delete()
    assert deploy(allow="198.51.100.10/32") == stack
    client("ecs").stop_task(cluster=stack.cluster_arn, task=task)
    client("ecs").get_waiter("tasks_stopped").wait(cluster=stack.cluster_arn, tasks=[task], WaiterConfig=QUICK)


def test_tasks_that_are_still_ending_keep_the_stack(stack, account, monkeypatch):
    task = start_task(stack)["tasks"][0]["taskArn"]
    (running,) = account.await_tasks(1)
    os.kill(running.pid, signal.SIGSTOP)  # once it has stopped, it hears of its end later
    until(lambda: psutil.Process(running.pid).status() == psutil.STATUS_STOPPED, 20)
    client("ecs").stop_task(cluster=stack.cluster_arn, task=task)
    document = json.loads(files("orbresearch.cloud").joinpath("deployer.json").read_text())
    with monkeypatch.context() as deployer:
        for name, value in account.principal([document]).items():
            deployer.setenv(name, value)
        with pytest.raises(BadInput, match=rf"1 task of it still ending: {running.id}; delete again in two minutes"):
            delete()
    os.kill(running.pid, signal.SIGCONT)
    client("ecs").get_waiter("tasks_stopped").wait(cluster=stack.cluster_arn, tasks=[task], WaiterConfig=QUICK)


def test_a_database_in_its_network_is_named_before_anything_is_deleted(stack, account):
    before, ec2 = left(account), client("ec2")
    made = ec2.create_network_interface(SubnetId=stack.subnets[0], Description="RDSNetworkInterface")
    ident = made["NetworkInterface"]["NetworkInterfaceId"]
    with pytest.raises(BadInput, match=rf"{ident} \(RDSNetworkInterface\); move or delete that first"):
        delete()
    ec2.delete_network_interface(NetworkInterfaceId=ident)
    made = ec2.create_security_group(GroupName="mysql", Description="of a database", VpcId=stack.vpc)
    with pytest.raises(BadInput, match=rf"{made['GroupId']} \(security group mysql\); move or delete that first"):
        delete()
    ec2.delete_security_group(GroupId=made["GroupId"])
    assert left(account) == before


def test_redis_in_its_network_is_named_before_the_stack_is_deleted(stack):
    cache, name = client("elasticache"), "orbresearch-by-hand"
    password = json.loads(value_of(stack.redis_secret))["password"]
    cache.create_replication_group(
        ReplicationGroupId=name,
        ReplicationGroupDescription="Redis",
        CacheNodeType="cache.t4g.small",
        Engine="valkey",
        NumCacheClusters=1,
        TransitEncryptionEnabled=True,
        AuthToken=password,
        CacheSubnetGroupName=stack.cache_subnet_group,
        SecurityGroupIds=[stack.redis_group],
    )
    with pytest.raises(BadInput, match=rf"Redis runs in its network: {name}; orb\.cloud\.stop_redis"):
        delete()
    cache.get_waiter("replication_group_available").wait(ReplicationGroupId=name, WaiterConfig=QUICK)
    cache.delete_replication_group(ReplicationGroupId=name)
    cache.get_waiter("replication_group_deleted").wait(ReplicationGroupId=name, WaiterConfig=QUICK)


def test_a_policy_that_somebody_holds_is_named_before_the_stack_is_deleted(stack):
    iam = client("iam")
    iam.create_user(UserName="ana")
    iam.attach_user_policy(UserName="ana", PolicyArn=stack.researcher_policy)
    with pytest.raises(BadInput, match="ResearcherPolicy is attached to ana"):
        delete()
    iam.detach_user_policy(UserName="ana", PolicyArn=stack.researcher_policy)
    iam.delete_user(UserName="ana")


# --- made and gone


def test_a_creation_that_fails_tells_the_first_reason_and_leaves_nothing(cloud):
    client("ecr").create_repository(repositoryName="second")
    with pytest.raises(CloudFailed, match=r"Repository \(AWS::ECR::Repository\).*exist"):
        deploy(allow=HERE, stack="second")
    client("ecr").delete_repository(repositoryName="second")


def test_what_a_broken_off_creation_left_is_made_again_by_calls_that_the_deployers_policy_names(cloud):
    client("ecr").create_repository(repositoryName="second")
    template = read_template()
    given = [{"ParameterKey": "ClientCidr", "ParameterValue": HERE}]
    asked = {"StackName": "second", "TemplateBody": template, "Parameters": given, "Capabilities": ["CAPABILITY_IAM"]}
    client("cloudformation").create_stack(**asked)
    (rolled_back,) = client("cloudformation").describe_stacks(StackName="second")["Stacks"]
    assert rolled_back["StackStatus"] == "ROLLBACK_COMPLETE"
    client("ecr").delete_repository(repositoryName="second")
    before = len(cloud.calls)
    deploy(allow=HERE, stack="second")
    delete("second")
    prefixes = {"elbv2": "elasticloadbalancing"}
    made = {f"{prefixes.get(call.service, call.service)}:{call.operation}" for call in cloud.calls[before:]}
    policy = json.loads(files("orbresearch.cloud").joinpath("deployer.json").read_text())
    actions = [one["Action"] for one in policy["Statement"]]
    named = {action for some in actions for action in ([some] if isinstance(some, str) else some)}
    assert made - named == set()


def test_a_size_that_fargate_does_not_have_is_refused_as_tasks_are_defined(cloud):
    sizes = {"ClientCidr": HERE, "WorkerCpu": "8192", "WorkerMemory": "30720"}
    with pytest.raises(CloudFailed, match="No Fargate configuration exists for given values: 8192 CPU, 30720 memory"):
        put_stack(open_account(), "second", read_template(), sizes, {TAG: "second"})


def test_a_stack_of_that_name_that_is_something_else_is_not_touched(cloud):
    other = json.dumps({"Description": "shop", "Resources": {"Topic": {"Type": "AWS::Logs::LogGroup"}}})
    formation = client("cloudformation")
    formation.create_stack(StackName="second", TemplateBody=other)
    for act in (
        lambda: deploy(allow=HERE, stack="second"),
        lambda: delete("second"),
        lambda: find_stack(open_account(), "second"),
    ):
        with pytest.raises(BadInput, match="something else: shop"):
            act()
    formation.delete_stack(StackName="second")


def test_without_a_stack_one_is_told_to_deploy_and_deleting_is_done_already(cloud, capsys):
    with pytest.raises(BadInput, match=r"none in us-east-1.*orb\.cloud\.deploy"):
        find_stack(open_account(), "second")
    delete("second")
    assert "there is none" in capsys.readouterr().out


def test_a_researcher_finds_the_stack_and_does_not_change_it(stack, account, monkeypatch):
    iam = client("iam")
    version = iam.get_policy(PolicyArn=stack.researcher_policy)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=stack.researcher_policy, VersionId=version)["PolicyVersion"]["Document"]
    for name, value in account.principal([found]).items():
        monkeypatch.setenv(name, value)
    assert find_stack(open_account()) == stack
    with pytest.raises(CloudFailed, match=r"not allowed.*cloudformation:UpdateStack"):
        deploy(allow="198.51.100.9/32")
    with pytest.raises(CloudFailed, match="not allowed"):
        delete()
