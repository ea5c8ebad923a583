"""Redis in an emulated ElastiCache: a real server with TLS behind the endpoint that is given."""

import json
import os
import re
from dataclasses import replace

import pytest

from orbresearch.cloud.aws import open_account
from orbresearch.cloud.balancer import find_load_balancer, start_load_balancer
from orbresearch.cloud.redis import find_redis, resource_name, start_redis, stop_redis
from orbresearch.cloud.sweeping import sweep
from orbresearch.errors import BadInput, CloudFailed, Unreachable
from orbresearch.settings import read_settings
from orbresearch.staging import connect
from tests.cloud.stacks import deployed, principal


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with deployed(tmp_path_factory.mktemp("cloud")) as found:
        yield found


@pytest.fixture
def cloud(site):
    """The emulated account, without Redis at the end."""
    yield site[0]
    stop_redis(force=True)


@pytest.fixture
def stack(site):
    return site[1]


def client(service):
    return open_account().client(service)


def token(stack):
    return json.loads(client("secretsmanager").get_secret_value(SecretId=stack.redis_secret)["SecretString"])[
        "password"
    ]


def calls(cloud, operation):
    return sum(call.operation == operation for call in cloud.calls)


def test_it_is_started_found_spoken_to_and_stopped(cloud, stack, capsys):
    before = set(cloud.leftovers())
    redis = start_redis()
    assert (redis.status, redis.size, redis.engine) == ("available", "cache.t4g.small", "valkey")
    assert find_redis(open_account()) == redis
    settings = read_settings(environ={**redis.environ, "REDIS_PASSWORD": token(stack)}).redis
    with connect(settings) as staging:
        staging.ticks.set("tick", 1)
    for given, said in ((None, "none was given"), ("another-password", "the password is wrong")):
        with pytest.raises(Unreachable, match=said):
            connect(replace(settings, password=given))
    with pytest.raises(Unreachable, match="REDIS_TLS=1"):
        connect(replace(settings, tls=False))
    stop_redis()
    assert find_redis(open_account()) is None
    assert set(cloud.leftovers()) == before
    shown = capsys.readouterr().out + repr(redis)
    assert token(stack) not in shown
    assert re.search(r"valkey on cache\.t4g\.small takes .* costs about \$0\.026 an hour until stop_redis\(\)", shown)


@pytest.mark.slow
def test_it_is_closed_and_keeps_nothing(cloud, stack):
    name = start_redis(replicas=1).name
    found = client("elasticache").describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
    for asked in ("TransitEncryptionEnabled", "AuthTokenEnabled", "AtRestEncryptionEnabled"):
        assert found[asked], asked
    assert not found["ClusterEnabled"]
    assert found["SnapshotRetentionLimit"] == 0
    assert (found["AutomaticFailover"], found["MultiAZ"], len(found["MemberClusters"])) == ("enabled", "enabled", 2)
    tags = client("elasticache").list_tags_for_resource(ResourceName=found["ARN"])["TagList"]
    assert {"Key": "orbresearch", "Value": stack.name} in tags


def test_a_second_start_returns_the_first(cloud):
    first, made = start_redis(), calls(cloud, "CreateReplicationGroup")
    assert start_redis() == first
    assert calls(cloud, "CreateReplicationGroup") == made
    stop_redis()
    deleted = calls(cloud, "DeleteReplicationGroup")
    stop_redis()
    assert calls(cloud, "DeleteReplicationGroup") == deleted


@pytest.mark.slow
def test_another_than_runs_is_refused(cloud):
    first = start_redis()
    for asked, said in (
        (
            {"size": "cache.m7g.large"},
            "runs with 'cache.t4g.small', not 'cache.m7g.large'; give size='cache.t4g.small'",
        ),
        ({"engine": "redis"}, "runs with 'valkey', not 'redis'; give engine='valkey', or stop_redis"),
        ({"replicas": 2}, "runs with 0, not 2"),
    ):
        with pytest.raises(BadInput, match=re.escape(said)):
            start_redis(**asked)
    assert find_redis(open_account()) == first


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"size": "t4g.small"}, "is no node type of ElastiCache"),
        ({"engine": "memcached"}, "give 'valkey' or 'redis'"),
        ({"replicas": 6}, "no number from 0 to 5"),
        ({"replicas": True}, "no number from 0 to 5"),
        ({"stack": "Orb"}, "1 to 24 small letters"),
        ({"stack": "a--b"}, "1 to 24 small letters"),
        ({"stack": "none-such"}, "there is none"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(site, asked, said):
    made = calls(site[0], "CreateReplicationGroup")
    with pytest.raises(BadInput, match=said):
        start_redis(**asked)
    assert calls(site[0], "CreateReplicationGroup") == made


def test_names_are_such_as_aws_takes():
    assert resource_name("orbresearch") == "orbresearch-redis"
    assert len(resource_name("a" * 24)) <= 32


def test_a_refusal_comes_with_the_reason_and_leaves_nothing(cloud):
    left = set(cloud.leftovers())
    reason = "cache.t4g.small is not available in this zone just now"
    cloud.fail("CreateReplicationGroup", "InsufficientCacheClusterCapacity", reason, 1)
    with pytest.raises(CloudFailed, match=f"InsufficientCacheClusterCapacity: {reason}"):
        start_redis()
    assert set(cloud.leftovers()) == left


@pytest.mark.slow
def test_an_engine_that_the_stack_is_not_made_for_is_told_as_such(cloud):
    left = set(cloud.leftovers())
    with pytest.raises(BadInput, match=r"not made for 'redis'.*CacheFamily"):
        start_redis(engine="redis")
    assert set(cloud.leftovers()) == left


@pytest.mark.slow
def test_one_that_aws_gives_up_is_deleted(cloud, tmp_path, monkeypatch):
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\n# SSL_CTX_new\nsleep 0.1\nexit 1\n")
    broken.chmod(0o755)
    left = set(cloud.leftovers())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(CloudFailed, match=r"AWS says 'create-failed'.*describe-events"):
        start_redis()
    assert set(cloud.leftovers()) == left


@pytest.mark.slow
def test_the_researchers_policy_suffices(cloud, stack, monkeypatch):
    with monkeypatch.context() as patch:
        for name, value in principal(cloud, stack.researcher_policy).items():
            patch.setenv(name, value)
        redis = start_redis()
        assert start_redis() == redis
        stop_redis()
    assert find_redis(open_account()) is None


@pytest.mark.slow
def test_a_sweep_that_may_not_stop_the_balancer_stops_redis_all_the_same(cloud, stack, monkeypatch, capsys):
    start_redis()
    start_load_balancer(allow="203.0.113.7/32")
    with monkeypatch.context() as patch:
        for name, value in principal(cloud, stack.researcher_policy).items():
            patch.setenv(name, value)
        with pytest.raises(CloudFailed, match=r"load balancer: not allowed: .*elasticloadbalancing"):
            sweep()
    assert find_redis(open_account()) is None
    assert "sweep: looking for the load balancer: not allowed" in capsys.readouterr().out
    assert find_load_balancer(open_account()) is not None
    start_redis()
    assert sweep() == {"tasks": 0, "balancers": 1, "redis": 1}


@pytest.mark.slow
def test_somebody_elses_is_neither_used_nor_deleted(cloud, stack):
    redis = start_redis()
    elasticache = client("elasticache")
    found = elasticache.describe_replication_groups(ReplicationGroupId=redis.name)["ReplicationGroups"][0]
    elasticache.add_tags_to_resource(ResourceName=found["ARN"], Tags=[{"Key": "orbresearch", "Value": "another"}])
    for refused in (start_redis, stop_redis):
        with pytest.raises(BadInput, match="it is somebody else's"):
            refused()
    assert find_redis(open_account()) == redis
    elasticache.add_tags_to_resource(ResourceName=found["ARN"], Tags=[{"Key": "orbresearch", "Value": stack.name}])


@pytest.mark.slow
def test_while_tasks_run_it_stays(cloud, stack):
    cloud.stub(True)
    redis, ecs = start_redis(), client("ecs")
    network = {"subnets": list(stack.subnets), "securityGroups": [stack.worker_group], "assignPublicIp": "ENABLED"}
    task = ecs.run_task(
        cluster=stack.cluster_arn,
        taskDefinition=stack.worker_task_definition,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )["tasks"][0]["taskArn"]
    with pytest.raises(BadInput, match=r"1 task of stack 'orbresearch' would lose it; close the lab first"):
        stop_redis()
    assert find_redis(open_account()) == redis
    stop_redis(force=True)
    assert find_redis(open_account()) is None
    ecs.stop_task(cluster=stack.cluster_arn, task=task)


@pytest.mark.slow
def test_a_secret_that_is_no_token_is_refused_and_not_shown(cloud, stack):
    secrets, good = client("secretsmanager"), json.dumps({"password": token(stack)})
    for password in ("too short", "a" * 129, "with/a/slash/in/it", 7):
        for text in (json.dumps({"password": password}), str(password)):
            secrets.put_secret_value(SecretId=stack.redis_secret, SecretString=text)
            with pytest.raises(BadInput, match="it holds no token that ElastiCache takes") as told:
                start_redis()
            assert str(password) not in str(told.value).replace(stack.redis_secret, "").replace("16 to 128", "")
    secrets.put_secret_value(SecretId=stack.redis_secret, SecretString=good)
