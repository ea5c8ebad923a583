"""What the cloud costs: figures reckoned by hand from the table, and a plan that follows from what was measured."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import pytest
import yaml
from moto import mock_aws
from moto.servicequotas import models

import orbresearch as orb
from orbresearch.cloud import cost
from orbresearch.cloud.hourly import running_cost
from orbresearch.cloud.prices import _document, find_prices
from orbresearch.cloud.quota import quota
from orbresearch.errors import BadInput
from orbresearch.plan import fit_chunks, make_plan

NO_QUOTA = {"on_demand": "not known: nobody asked", "spot": "not known: nobody asked"}


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """Know no account: no credentials, no profile, no address that hands them out."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


# --- prices


def leaves(table, path=()):
    for name, value in table.items():
        yield from leaves(value, (*path, name)) if isinstance(value, dict) else [((*path, name), value)]


def test_every_region_has_every_price_and_spot_is_the_cheaper():
    regions = _document()["regions"]
    assert {"us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1"} <= set(regions)
    shapes = {region: {path for path, _ in leaves(table)} for region, table in regions.items()}
    assert len({frozenset(shape) for shape in shapes.values()}) == 1
    for table in regions.values():
        assert all(0 < price < 1 for _, price in leaves(table))
        for rates in table["fargate"].values():
            assert rates["spot_vcpu"] < rates["vcpu"]
            assert rates["spot_gb"] < rates["gb"]
        assert all(table["cache"]["valkey"][size] < dollars for size, dollars in table["cache"]["redis"].items())


def test_the_region_that_stands_in_for_others_is_the_dearest():
    regions = _document()["regions"]
    dearest = find_prices("somewhere-1")
    for region in regions:
        assert find_prices(region).task_hour(1, 4) <= dearest.task_hour(1, 4)
        assert find_prices(region).cache_hour("cache.t4g.small") <= dearest.cache_hour("cache.t4g.small")
    assert "no prices of somewhere-1 are known: those of eu-central-1 stand in" in dearest.note
    assert "no region is named" in find_prices().note
    assert find_prices("us-east-1").note == ""


def test_an_hour_of_a_task_is_its_vcpus_its_memory_and_its_address():
    prices = find_prices("us-east-1")
    assert prices.task_hour(1, 4) == pytest.approx(0.04048 + 4 * 0.004445 + 0.005)  # .06326
    assert prices.task_hour(2, 8, spot=True) == pytest.approx(2 * 0.012144 + 8 * 0.0013335 + 0.005)  # .039956
    assert prices.task_hour(0.5, 1, arm=True) == pytest.approx(0.01619 + 0.00356 + 0.005)


def test_given_prices_win_where_they_are_given():
    given = {"fargate": {"x86": {"vcpu": 0.03}}, "cache": {"valkey": {"cache.r7g.xlarge": 0.35}}, "address": 0}
    prices = find_prices("us-east-1", given)
    assert prices.task_hour(1, 4) == pytest.approx(0.03 + 4 * 0.004445)
    assert prices.cache_hour("cache.r7g.xlarge") == 0.35
    assert prices.cache_hour("cache.t4g.small") == 0.0256
    assert find_prices("us-east-1").task_hour(1, 0) == pytest.approx(0.04548), "the table itself stays"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fargat": {}}, r"prices\['fargat'\]: not known; known are fargate, cache"),
        ({"fargate": {"x86": {"cpu": 1}}}, r"\['x86'\]\['cpu'\]: not known; known are vcpu"),
        ({"fargate": 0.04}, "is no mapping; give one of x86, arm"),
        ({"address": "free"}, "'free' is no price"),
        ({"address": -1}, "-1 is no price"),
        ({"cache": {"valkey": {"cache.t4g.small": math.nan}}}, "nan is no price"),
        ({"logs": True}, "True is no price"),
    ],
)
def test_prices_that_mean_nothing_are_refused_by_name(given, words):
    with pytest.raises(BadInput, match=words):
        find_prices("us-east-1", given)


def test_a_node_type_without_a_price_is_refused_with_how_to_give_one():
    with pytest.raises(BadInput, match=r"cache\.x1\.huge with redis is known; known are cache\.t4g\.micro.*prices="):
        find_prices("us-east-1").cache_hour("cache.x1.huge", "redis")


def test_the_table_is_dated():
    assert f"as of {_document()['date']}" in repr(running_cost(1, region="us-east-1"))
    assert yaml.safe_load("2026-01-01").year <= _document()["date"].year


# --- while it is up


def test_an_hour_of_eleven_workers_is_ten_on_spot_and_one_on_demand():
    found = running_cost(11, region="us-east-1")
    spot, demand, redis = 0.012144 + 4 * 0.0013335 + 0.005, 0.06326, 0.0256
    assert found.per_hour == pytest.approx(10 * spot + demand + demand + redis)  # .37690
    assert found.per_hour == pytest.approx(0.3769)
    assert found.per_hour_on_demand == pytest.approx(12 * demand + redis)
    assert found.most == pytest.approx(12 * (12 * demand + redis))  # 9.41664: Spot never costs more than on demand
    assert found.most == pytest.approx(9.41664)
    assert repr(found).startswith("11 workers: $0.38 an hour, $9.42 at the very most until the lifetime of 12 h ends\n")
    assert "Redis goes on at $0.026 an hour until stop_redis()" in repr(found)


def test_the_most_counts_begun_hours_of_redis():
    found = running_cost(1, lifetime_hours=1.5, region="us-east-1")
    assert found.most == pytest.approx(1.5 * 2 * 0.06326 + 2 * 0.0256)


def test_without_redis_nothing_is_said_of_it():
    found = running_cost(2, region="us-east-1", redis_size=None, spot_share=0)
    assert found.per_hour == found.per_hour_on_demand == pytest.approx(3 * 0.06326)
    assert "Redis" not in repr(found)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"n_workers": 0}, "n_workers"),
        ({"n_workers": True}, "n_workers"),
        ({"n_workers": 2.5}, "n_workers"),
        ({"spot_share": 1.1}, "spot_share"),
        ({"spot_share": math.nan}, "spot_share"),
        ({"worker_cpu": 0}, "worker_cpu"),
        ({"worker_cpu": 8}, "worker_memory: Fargate has no task of 8 vCPUs and 4 GiB; give 16 GiB"),
        ({"worker_memory": math.nan}, "worker_memory: .* give 2 to 8 GiB"),
        ({"lifetime_hours": math.inf}, "lifetime_hours"),
        ({"redis_size": "big"}, "redis_size"),
    ],
)
def test_what_is_no_cluster_is_refused(changed, name):
    with pytest.raises(BadInput, match=name):
        running_cost(**{"n_workers": 3, "region": "us-east-1"} | changed)


# --- a run


@pytest.fixture(scope="module")
def sessions():
    return orb.synthetic_sessions(4)


GRID = orb.ParameterGrid([0.5, 1.0], [1, 2], [0, 60], orb.frange(0.5, 5, 0.5))


def made(chunks: int, rows: int) -> SimpleNamespace:
    """Return what is asked of a run's plan: so many chunks of so many rows, all of one input."""

    class Run(SimpleNamespace):
        def __len__(self):
            return chunks * rows

    chunk = SimpleNamespace(cut=lambda points: [None])
    return Run(chunks=lambda: [chunk] * chunks, inputs=(None,), grid=range(chunks * rows))


def reckoned(chunks=1000, rows=1000, each=1e-3, preparing=0.0, n_workers=100, cpu=1, keep="all", vcpus=NO_QUOTA):
    running = running_cost(n_workers, worker_cpu=cpu, region="us-east-1")
    return cost.reckon(made(chunks, rows), keep, each, preparing, running, cpu, 10 / 11, vcpus)


def test_a_run_takes_as_long_as_its_chunks_in_turns_and_costs_by_the_task():
    found = reckoned()
    # 1,000 chunks of a second here, 1.5 there; ten turns of 100 workers: 15 s. A million rows at 70,000/s: 14.3 s.
    assert found.chunk_seconds == pytest.approx(1.5)
    assert found.compute_minutes == pytest.approx(0.25)
    assert found.store_minutes == pytest.approx(14.2857 / 60, rel=1e-4)
    assert found.wall_minutes == pytest.approx(3.25)
    assert found.vcpu_hours == pytest.approx(101 * 3.25 / 60)
    assert found.redis == pytest.approx(0.0256)  # its eight minutes and ours are one begun hour
    assert found.on_demand == pytest.approx(101 * 0.06326 * 3.25 / 60 + 0.0256)  # .37169
    assert found.on_demand == pytest.approx(0.37169, abs=1e-5)
    workers = 91 * 0.022478 + 9 * 0.06326
    assert found.with_spot == pytest.approx((workers + 0.06326) * 3.25 / 60 + 0.0256)
    assert found.warnings == ()


def test_a_turn_that_one_worker_begins_all_wait_for():
    assert reckoned(chunks=1001).compute_minutes == pytest.approx(11 * 1.5 / 60)


def test_each_worker_prepares_its_input_once():
    # 1,000 s of backtests and 100 workers' 2 s of preparing, times 1.5, over 1,000 chunks
    assert reckoned(preparing=2.0).chunk_seconds == pytest.approx(1.5 * 1200 / 1000)


def test_half_a_vcpu_takes_twice_as_long_and_two_serve_a_chunk_no_faster():
    half = reckoned(cpu=0.5)
    assert (half.measured_seconds, half.chunk_seconds) == pytest.approx((1.0, 3.0))
    two = reckoned(cpu=2)
    assert two.chunk_seconds == pytest.approx(1.5)
    assert two.compute_minutes == pytest.approx(5 * 1.5 / 60), "but 200 chunks are computed at once"


def test_a_database_that_takes_longer_than_computing_is_warned_of():
    found = reckoned(chunks=1000, rows=100_000, each=1e-7)
    assert found.wall_minutes == pytest.approx(3 + 1e8 / 70_000 / 60)
    assert "more workers gain nothing, keep=orb.Best(...) does" in found.warnings[0]
    assert reckoned(chunks=1000, rows=100_000, each=1e-7, keep=orb.Best(100)).warnings == ()


def test_workers_without_a_chunk_are_warned_of():
    said = "the workers compute 100 chunks at once and the run has 40: some have nothing to do"
    assert reckoned(chunks=40).warnings == (said,)


def test_a_run_longer_than_the_lifetime_is_warned_of():
    assert "longer than its lifetime" in reckoned(chunks=100_000, each=0.05).warnings[-1]


@pytest.mark.parametrize(
    ("vcpus", "words"),
    [
        ({"on_demand": 6.0, "spot": 500.0}, ["10 vCPUs on demand are more than the quota of 6"]),
        ({"on_demand": 10.0, "spot": 90.0}, ["91 vCPUs on Spot are more than the quota of 90"]),
        ({"on_demand": 10.0, "spot": 91.0}, []),
        (NO_QUOTA, []),
    ],
)
def test_a_quota_that_does_not_suffice_is_warned_of(vcpus, words):
    found = reckoned(vcpus=vcpus)  # 91 on Spot, 9 on demand and the scheduler
    assert [warning.partition(":")[0] for warning in found.warnings] == words


def test_a_plan_says_everything_in_a_few_lines(sessions):
    found = cost.plan(sessions, GRID, [300, 600], n_workers=100, region="us-east-1")
    run = fit_chunks(make_plan(sessions, GRID, [300, 600]), 100, "all")
    assert (found.backtests, found.chunks) == (len(run), len(list(run.chunks())))
    assert found.backtests == 2 * len(GRID)
    assert found.chunk_seconds > 0
    said = repr(found)
    assert said.startswith(f"CloudPlan: 144 backtests in {found.chunks} chunks of ")
    assert len(said.splitlines()) <= 12
    assert max(map(len, said.splitlines())) <= 150
    for words in (
        "minutes: 3 to start",
        "vCPU-hours",
        "with Spot",
        "at the very most",
        "prices of us-east-1 as of 2026-",
        f"{found.chunk_seconds / 1.5:.3g} s for a chunk in this process; assumed: 1.5 times as long on a Fargate vCPU",
        "assumed: 3 minutes until tasks run, 8 before them for Redis; 70,000 rows a second into MySQL",
        "Fargate quota: not known: ",
    ):
        assert words in said
        assert words.partition(": ")[2] in found._repr_html_()
    assert said.count("Unable to locate credentials") == 1
    assert f"warning: the workers compute 100 chunks at once and the run has {found.chunks}" in said
    assert (found.per_hour, found.most) == (found.running.per_hour, found.running.most)
    assert dataclasses.replace(found, quota={"on_demand": 6.0, "spot": 30.0}).__repr__().count("6 vCPUs on demand") == 1


@pytest.mark.parametrize("options", [{"keep": orb.Best(5)}, {"pool": True}, {"rules": orb.Rules(commission=0.01)}])
def test_a_plan_is_made_of_whatever_a_lab_submits(sessions, options):
    found = cost.plan(sessions, GRID, n_workers=2, **options)
    assert found.backtests == len(GRID)
    assert "no region is named" in repr(found)


def test_a_plan_of_nothing_that_can_be_computed_is_refused_as_submit_refuses_it(sessions):
    with pytest.raises(BadInput, match="grid"):
        cost.plan(sessions, [1, 2], n_workers=2)
    with pytest.raises(BadInput, match="n_workers"):
        cost.plan(sessions, GRID, n_workers=0)


# --- the account's quota


@pytest.fixture
def service_quotas(monkeypatch):
    """Serve Fargate's quotas, which moto leaves out, as Service Quotas does."""
    values = {"L-3032A538": 6.0, "L-36FBB829": 140.0}

    def get(self, service_code, quota_code):
        if service_code != "fargate" or quota_code not in values:
            raise models.NoSuchResource
        return {"ServiceCode": service_code, "QuotaCode": quota_code, "Value": values[quota_code]}

    with mock_aws():
        monkeypatch.setattr(models.ServiceQuotasBackend, "get_service_quota", get)
        yield values


def test_the_quota_is_what_the_account_has(service_quotas, sessions):
    assert quota("us-east-1") == {"on_demand": 6.0, "spot": 140.0}
    found = cost.plan(sessions, GRID, n_workers=500, region="us-east-1")
    assert [warning for warning in found.warnings if "46 vCPUs on demand are more than the quota of 6" in warning]
    assert "Fargate quota: 6 vCPUs on demand, 140 vCPUs on Spot" in repr(found)


def test_a_quota_that_nobody_tells_is_not_known_and_why(service_quotas):
    service_quotas.clear()
    assert quota("us-east-1")["spot"].startswith("not known: asking for the quota: NoSuchResourceException")


def test_without_an_account_the_quota_is_not_known():
    for region, reason in ((None, "none is named"), ("us-east-1", "Unable to locate credentials")):
        assert all(reason in value for value in quota(region).values())
