"""What a description of a task comes to, and who asks for how much."""

from __future__ import annotations

import pytest

from orbresearch.cloud.desk import read_task
from orbresearch.errors import BadInput
from orbresearch.lab.hosted import open_hosted

STOPPED = {  # as DescribeTasks answers
    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/orbresearch/0123",
    "lastStatus": "STOPPED",
    "desiredStatus": "STOPPED",
    "stopCode": "TaskFailedToStart",
    "stoppedReason": "CannotPullContainerError: pull image manifest has been retried 5 time(s)",
    "containers": [{"name": "dask-worker", "exitCode": 1, "reason": "CannotPullContainerError: not found"}],
    "attachments": [
        {
            "type": "ElasticNetworkInterface",
            "details": [
                {"name": "networkInterfaceId", "value": "eni-1"},
                {"name": "privateIPv4Address", "value": "10.86.0.9"},
            ],
        }
    ],
}
OPTIONS = {"worker_cpu": 1, "worker_memory": 4, "spot_share": 0.9, "idle_timeout": 900, "lifetime": 3600}
WHERE = {"stack": "orbresearch", "region": "us-east-1", "maximum": None, "price_cap": None}


def test_a_task_that_stopped_says_all_that_ecs_says():
    seen = read_task(STOPPED)
    assert seen.ended
    assert seen.leaving
    assert not seen.spot_ended
    assert (seen.interface, seen.address) == ("eni-1", "10.86.0.9")
    assert seen.reason == (
        "CannotPullContainerError: pull image manifest has been retried 5 time(s); "
        "CannotPullContainerError: not found; exit code 1"
    )


def test_a_task_that_is_asked_to_stop_is_leaving_before_it_has_ended():
    seen = read_task({**STOPPED, "lastStatus": "RUNNING", "stopCode": "SpotInterruption", "containers": []})
    assert seen.leaving
    assert not seen.ended
    assert seen.spot_ended


def test_results_into_a_file_are_refused_before_aws_is_asked():
    with pytest.raises(BadInput, match=r"SQLite file.*DB_ENDPOINT"):
        open_hosted(2, OPTIONS, None, False, **WHERE)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"worker_cpu": 3}, "worker_cpu: Fargate has no task of 3 vCPUs; give one of 1, 2, 4, 8, 16"),
        ({"worker_cpu": 0.5}, "worker_cpu: 0.5 is no whole number"),
        ({"worker_cpu": 2.0}, "worker_cpu: 2.0 is no whole number"),
        ({"worker_memory": 1}, "worker_memory: Fargate has no task of 1 vCPU and 1 GiB; give 2 GiB"),
        ({"worker_memory": 2.5}, "worker_memory: .* give 2 or 3 GiB"),
        ({"worker_cpu": 4, "worker_memory": 32}, "worker_memory: .* 4 vCPUs and 32 GiB; give 30 GiB"),
        ({"worker_cpu": 8, "worker_memory": 30}, "worker_memory: .* give 28 or 32 GiB"),
        ({"worker_cpu": 16, "worker_memory": 128}, "worker_memory: .* give 120 GiB"),
        ({"spot_share": 1.5}, "spot_share"),
        ({"lifetime": 0}, "lifetime"),
        ({"idle_timeout": -1}, "idle_timeout"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(changed, named, monkeypatch):
    for name in ("ENDPOINT", "USERNAME", "PASSWORD", "NAME"):
        monkeypatch.setenv(f"DB_{name}", "there")
    with pytest.raises(BadInput, match=named):
        open_hosted(2, {**OPTIONS, **changed}, None, False, **WHERE)
