"""Versions of the notebook, the scheduler and the workers: equal, or refused by name."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest
from distributed import Client, LocalCluster

from orbresearch.cloud import versions
from orbresearch.errors import BadInput


def process(**changed: str | None) -> dict[str, object]:
    packages = dict.fromkeys(versions.PACKAGES, "1.0") | {"python": "3.12.4.final.0", "lz4": "4.3"}
    return {"host": {}, "packages": packages | changed}


def found(client, scheduler, *workers):
    named = {f"tls://10.0.0.{number}:4000": worker for number, worker in enumerate(workers, 1)}
    return {"client": client, "scheduler": scheduler, "workers": named}


def test_equal_versions_are_no_difference():
    assert versions.differences(found(process(), process(), process(), process())) == []


def test_patches_of_python_and_packages_that_do_not_matter_are_none():
    assert versions.differences(found(process(), process(python="3.12.1.final.0"), process(lz4=None))) == []


def test_each_package_that_differs_is_named_with_both_versions():
    other = process(numpy="2.0", python="3.11.9.final.0")
    assert versions.differences(found(process(), process(dask="1.1"), process(), other, other)) == [
        "python 3.12 here, 3.11 in 2 of 3 workers",
        "dask 1.0 here, 1.1 in the scheduler",
        "numpy 1.0 here, 2.0 in 2 of 3 workers",
    ]


def test_a_package_that_only_one_side_has_differs():
    assert versions.differences(found(process(), process(), process(numba=None))) == [
        "numba 1.0 here, none in 1 of 1 workers"
    ]
    assert versions.differences(found(process(pyarrow=None), process(), process())) == [
        "pyarrow none here, 1.0 in the scheduler, 1.0 in 1 of 1 workers"
    ]


def test_a_worker_that_does_not_answer_is_a_difference():
    assert "python 3.12 here, unknown in 1 of 1 workers" in versions.differences(found(process(), process(), None))


@pytest.fixture
def client():
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_a_running_cluster_is_asked(client, monkeypatch):
    versions.check_versions(client)
    answered = client.get_versions
    here = importlib.metadata.version("pandas")

    def older(packages):
        """Return the real answer, as if one worker had been made from an older image."""
        said = answered(packages=packages)
        next(iter(said["workers"].values()))["packages"]["pandas"] = "2.0.0"
        return said

    monkeypatch.setattr(client, "get_versions", older)
    with pytest.raises(BadInput, match=rf"pandas {here} here, 2\.0\.0 in 1 of 1 workers.*push_image\(\)") as caught:
        versions.check_versions(client)
    assert f"python {sys.version_info.major}" not in str(caught.value)
