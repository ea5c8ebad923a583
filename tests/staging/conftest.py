import pytest

from orbresearch.staging import connect
from tests.servers_redis import fresh_redis, redis_servers


@pytest.fixture(params=redis_servers(), ids=lambda binary: f"{binary.parent.parent.name}-{binary.name}")
def binary(request):
    return request.param


@pytest.fixture
def server(binary):
    with fresh_redis(binary=binary) as server:
        yield server


@pytest.fixture
def staging(server):
    with connect(server.settings) as staging:
        yield staging
