import pytest

from tests.servers_redis import fresh_staging, redis_servers


@pytest.fixture(params=redis_servers(), ids=lambda binary: f"{binary.parent.parent.name}-{binary.name}")
def binary(request):
    return request.param


@pytest.fixture
def staging(binary):
    with fresh_staging(binary=binary) as staging:
        yield staging
