"""What newcomers do wrong: told in one sentence, with what to do, before anything costs."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import SSOTokenLoadError
from botocore.parsers import ResponseParserError

import orbresearch as orb
from orbresearch.cloud.allowed import narrow_range
from orbresearch.cloud.aws import open_account, require_extra, speaking
from orbresearch.cloud.formation import put_stack
from orbresearch.cloud.stack import Stack, read_template
from orbresearch.errors import BadInput, CloudFailed, OrbError, Unreachable
from tests.cloud.stacks import DATABASE, deployed

ALLOW = "203.0.113.7/32"
PROFILES = """
[profile program]
credential_process = /no/such/program
[profile refusing]
credential_process = /bin/false
[profile login]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = researcher
[profile chain]
role_arn = arn:aws:iam::123456789012:role/researcher
source_profile = missing
"""


@pytest.fixture
def nobody(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of AWS' configuration, which is not there, of somebody with a database and nothing else."""
    for line in DATABASE.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return tmp_path / "config"


def told(error: type[OrbError], attempt: object, *arguments: object, **options: object) -> str:
    """Return the sentence of a refusal: what, what is wrong with it, and what to do."""
    with pytest.raises(error) as refused:
        attempt(*arguments, **options)  # type: ignore[operator]
    said = str(refused.value)
    assert "\n" not in said
    assert re.fullmatch(r".+: .+; .+", said), said
    return said


def every_door(**where: object) -> dict[str, object]:
    return {
        "deploy": lambda: orb.cloud.deploy(allow=ALLOW, **where),
        "delete": lambda: orb.cloud.delete(**where),
        "start_redis": lambda: orb.cloud.start_redis(**where),
        "stop_redis": lambda: orb.cloud.stop_redis(**where),
        "start_load_balancer": lambda: orb.cloud.start_load_balancer(allow=ALLOW, **where),
        "stop_load_balancer": lambda: orb.cloud.stop_load_balancer(**where),
        "tasks": lambda: orb.cloud.tasks(**where),
        "stop_task": lambda: orb.cloud.stop_task("a", "b", **where),
        "sweep": lambda: orb.cloud.sweep(**where),
        "push_image": lambda: orb.cloud.push_image(**where),
        "fargate": lambda: orb.Lab.fargate(2, **where),
        "attach": lambda: orb.Lab.fargate(attach=True, **where),
    }


@pytest.mark.parametrize("door", every_door())
def test_without_a_region_or_credentials_every_door_says_so(nobody, door):
    assert "AWS region: none is named; set AWS_DEFAULT_REGION" in told(BadInput, every_door()[door])
    said = told(BadInput, every_door(region="us-east-1")[door])
    assert said == "AWS credentials: Unable to locate credentials; run aws configure or aws sso login"


@pytest.mark.parametrize("region", [None, "us-east-1"])
def test_a_profile_that_does_not_exist_is_named(nobody, region, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "ana")
    said = told(BadInput, orb.cloud.deploy, allow=ALLOW, region=region)
    assert said.startswith("AWS configuration: The config profile (ana) could not be found; see aws configure list-")
    with pytest.raises(BadInput, match="ana"):
        orb.Lab.fargate(region=region)


def test_a_configuration_that_cannot_be_read_is_named(nobody):
    nobody.write_text("this is none")
    assert "AWS configuration: Unable to parse config file" in told(BadInput, orb.cloud.delete)


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("program", r"AWS credentials: .*'/no/such/program'; mend the profile"),
        ("refusing", r"AWS credentials: Error when retrieving credentials from custom-process; run aws configure"),
        ("login", r"AWS credentials: Error loading SSO Token: .*does not exist; run aws configure or aws sso login"),
        ("chain", r'AWS credentials: The source_profile "missing" .*does not exist; mend the profile'),
    ],
)
def test_credentials_that_cannot_be_had_are_no_question_of_the_network(nobody, profile, said, monkeypatch):
    nobody.write_text(PROFILES)
    monkeypatch.setenv("AWS_PROFILE", profile)
    assert re.search(said, told(BadInput, orb.cloud.delete, region="us-east-1"))


def test_credentials_that_end_in_the_middle_of_work_are_told():
    over = {"access_key": "a", "secret_key": "b", "token": "c", "expiry_time": "2020-01-01T00:00:00Z"}
    ending = RefreshableCredentials.create_from_metadata(over, lambda: over, "sso")

    def ask() -> None:
        with speaking("listing tasks"):
            ending.get_frozen_credentials()

    assert "AWS credentials: Credentials were refreshed" in told(BadInput, ask)

    def lose(error: Exception) -> None:
        with speaking("listing tasks"):
            raise error

    assert "sso login" in told(BadInput, lose, SSOTokenLoadError(error_msg="gone"))
    said = told(CloudFailed, lose, ResponseParserError("Unable to parse response: syntax error\n<html>a portal</html>"))
    assert "what answered is not AWS" in said
    with pytest.raises(RuntimeError, match="ours"):
        lose(RuntimeError("ours"))


@pytest.mark.parametrize("region", ["us east 1", "Frankfurt/eu"])
def test_a_region_that_is_none_is_refused(nobody, region, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    assert re.match(r"AWS region: .*give one such as", told(BadInput, orb.cloud.delete, region=region))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:5000")
    assert "set AWS_ENDPOINT_URL to a URL" in told(BadInput, orb.cloud.delete, region="us-east-1")


@pytest.mark.parametrize(
    ("allow", "said"),
    [
        ("0.0.0.0/0", "lets 4,294,967,296 addresses in"),
        ("203.0.113.7/16", "lets 65,536 addresses in"),
        ("203.0.113.7/24", "it would let 256 in"),
        ("my ip", "'my ip' is no IPv4 address"),
        ("2001:db8::1", "AWS is asked for IPv4 here"),
        (None, "None is no IPv4 address"),
        (12, "12 is no IPv4 address"),
        ("0.0.0.0/32", "nobody's"),
        ("192.168.1.7", "inside your own network"),
        ("10.0.0.5/32", "inside your own network"),
        ("127.0.0.1", "inside your own network"),
    ],
)
def test_an_address_that_lets_in_too_many_or_nobody_is_refused(allow, said):
    refused = told(BadInput, narrow_range, allow)
    assert said in refused
    assert "checkip" in refused


@pytest.mark.parametrize("name", ["OrbResearch", "orb_research", "", "o" * 25])
def test_a_name_that_no_stack_has_is_refused_by_every_door(nobody, name, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    for attempt in every_door(region="us-east-1", stack=name).values():
        assert "1 to 24 small letters" in told(BadInput, attempt)


def test_without_the_extra_it_is_named(nobody, monkeypatch):
    for name in ("botocore", "dask_cloudprovider"):
        monkeypatch.setitem(sys.modules, name, None)
    for attempt in (orb.cloud.delete, orb.Lab.fargate, require_extra):
        said = told(BadInput, attempt)
        assert "not installed: botocore, dask_cloudprovider; run pip install 'orbresearch[cloud]'" in said


@pytest.mark.parametrize(
    "options", [{"n_workers": "10"}, {"n_workers": 2.5}, {"lifetime": "4h"}, {"worker_memory": "4"}, {"maximum": 9.5}]
)
def test_what_is_no_number_is_refused_by_name(nobody, options):
    assert told(BadInput, orb.Lab.fargate, **options).startswith(next(iter(options)))


# --- in an account


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with deployed(tmp_path_factory.mktemp("cloud")) as (cloud, home):
        yield cloud, home
        orb.cloud.delete()


@pytest.fixture
def in_account(account, own_home, monkeypatch):
    for line in DATABASE.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    return account[0]


@pytest.fixture
def with_store(in_account, mysql_settings, monkeypatch):
    """Return the account, with a results database that answers."""
    for name, value in mysql_settings.to_environ().items():
        monkeypatch.setenv(name, value)
    return in_account


def test_a_stack_is_shown_in_a_line_without_arns(account):
    home: Stack = account[1]
    assert repr(home) == "Stack(orbresearch in us-east-1: no image was pushed yet)"


def test_a_client_is_made_once(in_account):
    first = open_account()
    assert first.client("ecs") is first.client("ecs")
    assert first.client("ecs") is not open_account().client("ecs"), "credentials may be others by then"


def test_an_image_that_is_none_is_refused(in_account):
    assert "no tag of an image" in told(BadInput, orb.cloud.deploy, allow=ALLOW, image_tag="123.dkr.ecr/orb:a b")


@pytest.mark.mysql
def test_before_an_image_or_redis_no_cluster_starts(with_store):
    for attempt in (lambda: orb.Lab.fargate(2), orb.cloud.require_image):
        assert "none was pushed yet; tag = orb.cloud.push_image()" in told(BadInput, attempt)
    orb.cloud.deploy(allow=ALLOW, image_tag="emulated")
    assert orb.cloud.require_image().endswith("/orbresearch:emulated")
    assert "start it first, and wait for it: orb.cloud.start_redis()" in told(BadInput, orb.Lab.fargate, 2)
    assert "run orb.cloud.start_redis() first" in told(BadInput, orb.cloud.start_load_balancer, allow=ALLOW)
    assert not with_store.every_task()


@pytest.mark.mysql
def test_before_the_results_database_lets_us_in_no_cluster_starts(with_store, monkeypatch):
    wrong = {
        "DB_PASSWORD": ("another", "check DB_USERNAME and DB_PASSWORD"),
        "DB_NAME": ("nowhere", "CREATE DATABASE nowhere;"),
        "DB_PORT": ("1", "check DB_ENDPOINT and DB_PORT"),
    }
    for name, (value, fix) in wrong.items():
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert fix in told(Unreachable, orb.Lab.fargate, 2)
    assert not [call for call in with_store.calls if call.operation == "RunTask"]


def test_where_nothing_is_it_says_what_is_there(in_account):
    assert "no cluster runs in stack 'orbresearch'; start one" in told(BadInput, orb.Lab.fargate, attach=True)
    assert "it does not run in stack 'orbresearch'; running: none" in told(BadInput, orb.cloud.stop_task, "abc", "why")
    for attempt in (orb.cloud.start_redis, orb.Lab.fargate, orb.cloud.tasks):
        assert "none in eu-west-1; run orb.cloud.deploy(" in told(BadInput, attempt, region="eu-west-1")


def test_a_size_that_aws_does_not_have_is_refused_as_a_size(in_account):
    in_account.fail("CreateReplicationGroup", "InvalidParameterValue", "Invalid cache node type: cache.t99.huge")
    assert told(BadInput, orb.cloud.start_redis, size="cache.t99.huge").startswith("size: 'cache.t99.huge' cannot be")


def test_redis_says_its_price_and_keeps_the_stack(in_account, capsys):
    assert repr(orb.cloud.start_redis()) == "Redis(orbresearch-redis: valkey on cache.t4g.small, available)"
    capsys.readouterr()
    orb.cloud.start_redis()
    assert "costs about $0.026 an hour until stop_redis()" in capsys.readouterr().out
    assert "orb.cloud.stop_redis(), then delete again" in told(BadInput, orb.cloud.delete)
    orb.cloud.stop_redis()


@pytest.mark.mysql
def test_the_price_cap_counts_the_scheduler_and_the_redis_that_are_there(with_store):
    sizes = {"SchedulerCpu": "4096", "SchedulerMemory": "16384", "ImageTag": "emulated"}
    put_stack(open_account(), "orbresearch", read_template(), sizes, {"orbresearch": "orbresearch"})
    orb.cloud.start_redis(replicas=1)
    said = told(BadInput, orb.Lab.fargate, 1, lifetime=3600, price_cap=0.01)
    orb.cloud.stop_redis()
    # 4 vCPUs and 16 GB, one and 4, an address each, and two nodes of Redis: .23804 + .06326 + .0512 dollars
    assert "price_cap=0.01: the cluster can cost $0.35 until its lifetime ends" in said


def test_who_deploys_second_is_told_to_wait(in_account):
    ends: list[object] = []

    def deploy() -> None:
        try:
            ends.append(orb.cloud.deploy(allow=ALLOW, stack="two"))
        except OrbError as error:
            ends.append(error)

    threads = [threading.Thread(target=deploy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    orb.cloud.delete("two")
    assert sum(isinstance(end, Stack) for end in ends) >= 1
    for end in ends:
        assert isinstance(end, Stack) or "deploy again: that waits" in str(end)
