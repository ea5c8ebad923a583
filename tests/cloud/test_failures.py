"""What the emulated cloud refuses and what goes wrong in it: told in AWS' own words, with nothing left running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import redis
from distributed import Client
from redis.backoff import NoBackoff
from redis.retry import Retry

import orbresearch as orb
from orbresearch.cloud.aws import open_account
from orbresearch.cloud.certificates import make_certificates, read_security
from orbresearch.cloud.redis import find_redis
from orbresearch.cloud.stack import find_stack
from orbresearch.errors import BadInput, CloudFailed
from tests.cloud.conftest import ALLOW, until
from tests.emulator import Emulator

pytestmark = [pytest.mark.slow, pytest.mark.mysql, pytest.mark.usefixtures("pointed")]


@pytest.fixture(scope="module")
def lab(cloud: Emulator) -> Iterator[orb.Lab]:
    """A lab that tests look at and leave alone."""
    with orb.Lab.fargate(1) as opened:
        yield opened


@pytest.fixture
def alone(cloud: Emulator) -> Iterator[Emulator]:
    """Return the account; after the test nothing more runs than before."""
    before = {task.arn for task in cloud.tasks()}
    yield cloud
    assert {task.arn for task in cloud.tasks()} <= before


def refused(address: str, security: object) -> bool:
    try:
        Client(address, security=security, timeout=3, set_as_default=False).close()
    except (OSError, TypeError):
        return True
    return False


def test_a_client_needs_the_right_certificate_and_the_right_address(lab: orb.Lab, cloud: Emulator):
    address, right = lab.hosted.address, lab.hosted.security
    assert not refused(address, right)
    assert refused(address.replace("tls://", "tcp://"), None)
    assert refused(address, read_security(make_certificates(1).documents["client"])), "of another authority"
    cloud.caller = "198.51.100.9"
    assert refused(address, right), "from another address"
    cloud.caller = ALLOW.split("/")[0]
    assert refused(address.replace(":8786", ":8787"), right), "the dashboard's port"
    assert not refused(address, right)


def configured(key: str) -> object:
    import dask

    return dask.config.get(key)


def test_scheduler_and_workers_are_set_as_on_one_machine(lab: orb.Lab):
    assert lab.client.run_on_scheduler(configured, "distributed.scheduler.allowed-failures") == 30
    (profiled,) = lab.client.run(configured, "distributed.worker.profile.enabled").values()
    assert not profiled
    (worker,) = lab.client.scheduler_info()["workers"].values()
    assert worker["nthreads"] == 3
    assert worker["resources"] == {"worker_main": 1}
    assert worker["memory_limit"] == round(4096 * 0.9) * 2**20


def test_a_worker_without_the_secret_is_not_let_in(lab: orb.Lab, cloud: Emulator):
    scheduler = cloud.tasks("scheduler")[0]
    command = [str(Path(sys.executable).with_name("dask")), "worker", f"tls://{scheduler.address}:8786"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    done = subprocess.run(
        [*command, "--no-nanny", "--death-timeout", "3"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert len(lab.client.scheduler_info()["workers"]) == 1


def test_redis_wants_tls_and_the_token(cloud: Emulator):
    found = find_redis(open_account())
    assert found is not None
    once = Retry(NoBackoff(), 0)
    plain = redis.Redis(found.endpoint, found.port, socket_timeout=3, retry=once)
    with pytest.raises(redis.ConnectionError):
        plain.ping()
    tls = redis.Redis(found.endpoint, found.port, ssl=True, ssl_ca_certs=os.environ["SSL_CERT_FILE"], retry=once)
    with pytest.raises(redis.AuthenticationError):
        tls.ping()


def test_no_secret_stands_where_tasks_are_described(lab: orb.Lab, cloud: Emulator):
    secrets = cloud.client("secretsmanager")
    values = [secrets.get_secret_value(SecretId=one["ARN"]) for one in secrets.list_secrets()["SecretList"]]
    ecs = cloud.client("ecs")
    home = find_stack(open_account())
    arns = ecs.list_tasks(cluster=home.cluster_arn)["taskArns"]
    shown = json.dumps(ecs.describe_tasks(cluster=home.cluster_arn, tasks=arns), default=str)
    shown += json.dumps(ecs.describe_task_definition(taskDefinition=home.worker_task_definition), default=str)
    shown += repr(lab) + repr(lab.hosted) + "".join(task.log for task in cloud.tasks())
    for value in values:
        text = value["SecretString"]
        parts = list(json.loads(text).items()) if text.startswith("{") else [("TLS", text)]
        for name, part in parts:
            if name in ("password", "DB_PASSWORD", "TLS"):
                assert part
                assert part not in shown, name


def test_fifty_workers_start_within_twenty_calls_a_second(cloud: Emulator):
    with orb.Lab.fargate(1) as lab:
        cloud.stub(True)
        began = len(cloud.calls)
        lab.hosted.cluster.scale(50)
        until(lambda: len(cloud.tasks("worker")) >= 50, 90)
        cloud.stub(False)
        times = sorted(call.time for call in cloud.calls[began:])
    assert [call.operation for call in cloud.calls[began:]].count("RunTask") == 49
    most = max(sum(one <= other < one + 1 for other in times) for one in times)
    assert most <= 20, f"{most} calls in a second"


# --- What AWS refuses


def start(**options: object) -> str:
    with pytest.raises((BadInput, CloudFailed)) as found:
        orb.Lab.fargate(2, **options)
    return str(found.value)


def test_throttling_for_a_while_is_waited_out(alone: Emulator):
    alone.fail("RunTask", "ThrottlingException", "Rate exceeded", times=3)
    with orb.Lab.fargate(1) as lab:
        assert lab.slots() == 1


def test_throttling_that_does_not_end_is_told(alone: Emulator, monkeypatch):
    alone.fail("RunTask", "ThrottlingException", "Rate exceeded", times=5)
    assert "Rate exceeded" in start()


def test_an_image_that_cannot_be_pulled_is_told(alone: Emulator):
    alone.broken_image()
    said = start()
    alone.broken_image(False)
    assert "CannotPullContainerError" in said


def test_no_spot_capacity_is_told(alone: Emulator):
    alone.no_capacity("FARGATE_SPOT")
    said = start(spot_share=1.0)
    alone.no_capacity("FARGATE_SPOT", False)
    assert "Capacity is unavailable" in said


def test_the_quota_is_told(alone: Emulator):
    alone.task_quota(0.5)
    said = start()
    alone.task_quota(None)
    assert "limit on the number of vCPUs" in said


def test_a_task_that_stops_at_once_says_its_last_words(alone: Emulator):
    home = find_stack(open_account())
    secrets = alone.client("secretsmanager")
    good = secrets.get_secret_value(SecretId=home.scheduler_secret)["SecretString"]
    secrets.put_secret_value(SecretId=home.scheduler_secret, SecretString="no configuration")
    said = start()
    secrets.put_secret_value(SecretId=home.scheduler_secret, SecretString=good)
    assert "exit code 1" in said
    assert "Error" in said


def test_credentials_that_have_expired_are_told(alone: Emulator):
    alone.expire()
    said = start()
    alone.expire(False)
    assert "expired" in said


def test_another_region_has_no_stack(alone: Emulator):
    assert "none in eu-west-1" in start(region="eu-west-1")


def test_without_redis_or_an_image_nothing_starts(alone: Emulator, monkeypatch):
    monkeypatch.setattr("orbresearch.cloud.hosted.find_redis", lambda account, stack: None)
    assert "start_redis()" in start()


# --- Who may do what


def policy(cloud: Emulator, arn: str) -> dict[str, object]:
    iam = cloud.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return json.loads(found) if isinstance(found, str) else found


def test_the_stack_s_policy_is_enough_for_a_researcher(alone: Emulator, monkeypatch):
    home = find_stack(open_account())
    for name, value in alone.principal([policy(alone, home.researcher_policy)]).items():
        monkeypatch.setenv(name, value)
    assert orb.cloud.start_redis().status == "available"
    with orb.Lab.fargate(1) as lab:
        run = lab.submit(orb.synthetic_sessions(40), orb.seed_grid(), 600).wait()
        assert run.complete
        orb.Lab.fargate(attach=lab.hosted.name).close()
        listed = orb.cloud.tasks()
        orb.cloud.stop_task(listed[listed.role == "worker"].task.iloc[0], "for a look")
    orb.Lab.fargate(1)  # and the notebook is gone
    assert orb.cloud.sweep(redis=False)["tasks"] >= 2
    with pytest.raises(CloudFailed, match="not allowed"):
        orb.cloud.deploy(allow=ALLOW)


def test_the_load_balancer_needs_a_policy_of_its_own(alone: Emulator, monkeypatch):
    home = find_stack(open_account())
    documents = [policy(alone, home.researcher_policy), policy(alone, home.load_balancer_policy)]
    for name, value in alone.principal(documents[:1]).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CloudFailed, match="not allowed"):
        orb.cloud.start_load_balancer(allow=ALLOW)
    for name, value in alone.principal(documents).items():
        monkeypatch.setenv(name, value)
    assert orb.cloud.start_load_balancer(allow=ALLOW).allow == ALLOW
    orb.cloud.stop_load_balancer()


def test_the_deployer_s_policy_is_enough_to_deploy_and_to_delete(alone: Emulator, monkeypatch):
    document = json.loads(files("orbresearch.cloud").joinpath("deployer.json").read_text())
    for name, value in alone.principal([document]).items():
        monkeypatch.setenv(name, value)
    orb.cloud.deploy(allow=ALLOW, stack="orbresearch-two", image_tag="emulated")
    orb.cloud.deploy(allow="203.0.113.8/32", stack="orbresearch-two")
    orb.cloud.delete("orbresearch-two")
    with pytest.raises(CloudFailed, match="not allowed"):
        orb.Lab.fargate(1)
