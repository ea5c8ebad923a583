"""Attaching to a cluster elsewhere: what its workers could not write to is refused before anything is asked."""

import socket

import pytest

import orbresearch as orb
from orbresearch.errors import BadInput
from orbresearch.lab.cluster import refuse_local_store
from orbresearch.settings import read_settings
from tests.servers_redis import fresh_redis

MYSQL = {"DB_ENDPOINT": "db.example.com", "DB_USERNAME": "quant", "DB_PASSWORD": "secret", "DB_NAME": "warehouse"}


@pytest.fixture
def no_network(monkeypatch):
    """Nothing is connected to: an attempt would be told as such, not as bad input."""

    def refuse(*_):
        raise AssertionError("something was connected to")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@pytest.mark.parametrize("address", ["tls://203.0.113.7:8786", "tcp://10.0.0.3:8786", "192.0.2.1:8786"])
def test_a_file_here_is_no_store_for_workers_elsewhere(address, no_network, own_home):
    with pytest.raises(BadInput, match=r"set DB_ENDPOINT, DB_USERNAME") as told:
        orb.Lab(address=address)
    assert address in str(told.value)
    assert str(own_home / "results.sqlite") in str(told.value)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "127.88.0.1:1", "localhost:1", "tls://[::1]:1", "inproc://1/2"]
)
def test_a_cluster_on_this_machine_may_write_a_file(address, no_network):
    refuse_local_store(read_settings(), address)


def test_a_database_is_a_store_for_workers_anywhere(no_network):
    refuse_local_store(read_settings(environ=MYSQL), "tls://203.0.113.7:8786")


def test_another_redis_than_the_clusters_is_refused(own_home, monkeypatch):
    with orb.Lab(n_workers=1, quiet=True) as lab, fresh_redis() as other:
        for name, value in other.settings.to_environ().items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BadInput, match=r"another than the cluster's.*unset the REDIS_ variables"):
            orb.Lab(address=lab.cluster.scheduler_address)
        for name, value in lab.settings.redis.to_environ().items():
            monkeypatch.setenv(name, value)
        orb.Lab(address=lab.cluster.scheduler_address, quiet=True).close()


def test_a_name_that_leads_nowhere_is_left_to_connecting():
    refuse_local_store(read_settings(), "tcp://127.0.0.256:8786")
