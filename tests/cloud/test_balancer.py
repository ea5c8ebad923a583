"""The load balancer, emulated: one address outside reaches Redis through it, with Redis' own certificate and token."""

import json
import re
import socket
from dataclasses import replace

import pytest

from orbresearch.cloud.aws import open_account
from orbresearch.cloud.balancer import find_load_balancer, start_load_balancer, stop_load_balancer
from orbresearch.cloud.redis import start_redis, stop_redis
from orbresearch.errors import BadInput, CloudFailed, Unreachable
from orbresearch.settings import read_settings
from orbresearch.staging import connect
from tests.cloud.stacks import deployed

US, OTHERS = "203.0.113.7", "198.51.100.9"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with deployed(tmp_path_factory.mktemp("cloud")) as found:
        yield found


@pytest.fixture(scope="module")
def redis(site):
    yield start_redis()
    stop_redis(force=True)


@pytest.fixture
def cloud(site, redis):
    """The emulated account with Redis, without a balancer at the end."""
    yield site[0]
    site[0].caller = US
    stop_load_balancer()


@pytest.fixture
def stack(site):
    return site[1]


def client(service):
    return open_account().client(service)


def settings_of(balancer, stack):
    said = client("secretsmanager").get_secret_value(SecretId=stack.redis_secret)["SecretString"]
    return read_settings(environ={**balancer.environ, "REDIS_PASSWORD": json.loads(said)["password"]}).redis


def ingress(group):
    return client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]


def assert_shut(balancer):
    """Whoever is let in would wait here: in TLS the client speaks first."""
    where = balancer.dns_name, balancer.port
    with pytest.raises(ConnectionResetError), socket.create_connection(where, 5) as line:
        line.recv(1)


def test_one_address_reaches_redis_through_it_and_nothing_of_it_stays(cloud, redis, stack):
    before, rules = set(cloud.leftovers()), ingress(stack.redis_group)
    balancer = start_load_balancer(allow=f"{US}/32")
    assert find_load_balancer(open_account()) == balancer
    assert (balancer.allow, balancer.tls_name) == (f"{US}/32", redis.endpoint)
    assert balancer.dns_name != redis.endpoint
    settings = settings_of(balancer, stack)
    assert settings.password not in repr(balancer)
    cloud.caller = US
    with connect(settings) as staging:
        staging.ticks.set("tick", 1)
    with pytest.raises(Unreachable, match="certificate is not trusted"):
        connect(replace(settings, tls_name=None))
    with pytest.raises(Unreachable, match="none was given"):
        connect(replace(settings, password=None))
    cloud.caller = OTHERS
    assert_shut(balancer)
    stop_load_balancer()
    assert set(cloud.leftovers()) == before
    assert ingress(stack.redis_group) == rules
    assert find_load_balancer(open_account()) is None


@pytest.mark.slow
def test_redis_admits_the_balancers_group_and_no_address(cloud, stack):
    start_load_balancer(allow=f"{US}/32")
    rules = ingress(stack.redis_group)
    assert [each["CidrIp"] for rule in rules for each in rule["IpRanges"]] == []
    assert len([pair for rule in rules for pair in rule["UserIdGroupPairs"]]) == 2
    assert {(rule["FromPort"], rule["ToPort"]) for rule in rules} == {(6379, 6379)}


@pytest.mark.slow
def test_another_address_takes_the_place_of_the_first(cloud, stack):
    first = start_load_balancer(allow=f"{US}/32")
    made = [call.operation for call in cloud.calls if call.operation.startswith("Create")]
    assert start_load_balancer(allow=f"{US}/32") == first
    second = start_load_balancer(allow=f"{OTHERS}/32")
    assert second == replace(first, allow=f"{OTHERS}/32")
    assert [call.operation for call in cloud.calls if call.operation.startswith("Create")] == made
    settings = settings_of(second, stack)
    cloud.caller = OTHERS
    connect(settings).close()
    cloud.caller = US
    assert_shut(second)


@pytest.mark.slow
def test_what_somebody_added_to_its_group_is_taken_away(cloud):
    balancer = start_load_balancer(allow=f"{US}/32")
    groups = client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": [balancer.name]}])
    everybody = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ident = groups["SecurityGroups"][0]["GroupId"]
    client("ec2").authorize_security_group_ingress(GroupId=ident, IpPermissions=[everybody])
    assert start_load_balancer(allow=f"{US}/32").allow == f"{US}/32"
    assert [each["CidrIp"] for rule in ingress(ident) for each in rule["IpRanges"]] == [f"{US}/32"]


@pytest.mark.parametrize("allow", ["0.0.0.0/0", "203.0.112.0/23", "203.0.113.7/16", "::/0", "everybody", ""])
def test_what_lets_too_many_in_is_refused_before_anything_is_asked(site, allow):
    asked = len(site[0].calls)
    with pytest.raises(BadInput, match="allow: ") as told:
        start_load_balancer(allow=allow)
    assert "https://checkip.amazonaws.com" in str(told.value)
    assert len(site[0].calls) == asked


@pytest.mark.slow
def test_where_it_cannot_be_made_nothing_is_left(cloud, stack):
    before, rules = set(cloud.leftovers()), ingress(stack.redis_group)
    for operation in ("RegisterTargets", "CreateListener"):
        cloud.fail(operation, "TooManyLoadBalancers", "the quota of this account is reached", 1)
        with pytest.raises(CloudFailed, match="TooManyLoadBalancers: the quota of this account is reached"):
            start_load_balancer(allow=f"{US}/32")
        assert set(cloud.leftovers()) == before, operation
        assert ingress(stack.redis_group) == rules


@pytest.mark.slow
def test_stopping_what_does_not_stand_does_nothing(cloud):
    before = set(cloud.leftovers())
    stop_load_balancer()
    stop_load_balancer()
    assert set(cloud.leftovers()) == before


def test_redis_must_run(site):
    with pytest.raises(BadInput, match=re.escape("run orb.cloud.start_redis() first")):
        start_load_balancer(allow=f"{US}/32", stack="another")
