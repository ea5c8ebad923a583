"""A results database whose certificate an authority of its own has signed, as Amazon RDS' are; workers on Fargate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import orbresearch as orb
from orbresearch.settings import StoreSettings
from tests.authority import Authority
from tests.emulator import Emulator
from tests.servers_mysql import RestartableMySQL, require_server, restartable_mysql

pytestmark = [pytest.mark.slow, pytest.mark.mysql]

GRID = orb.ParameterGrid([0.2, 0.4], [1], [0], [1.0])


@pytest.fixture(scope="module")
def database(authority: Authority) -> Iterator[RestartableMySQL]:
    require_server()
    certificate, key = authority.issue("localhost")
    with restartable_mysql(f"--ssl-cert={certificate}", f"--ssl-key={key}") as started:
        yield started


@pytest.fixture(scope="module")
def store_settings(database: RestartableMySQL, authority: Authority) -> StoreSettings:
    settings = database.server.settings(database.server.create_database())
    return replace(settings, endpoint="localhost", tls=True, tls_ca=authority.bundle.read_text())


def test_workers_trust_it_by_the_stacks_secret_beside_the_systems_authorities(at_work: Emulator):
    with orb.Lab.fargate(1) as lab:
        run = lab.submit(orb.synthetic_sessions(40, seed=3), GRID, range_duration=300).wait()
        assert len(run.results()) == len(GRID)
        assert "rows to MySQL" in lab.lifecycle_result_data()["message"]
