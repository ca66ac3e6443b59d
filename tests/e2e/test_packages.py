"""The source distribution and the wheel: what is in them, and that they work by themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest

from recbench.base.environment import DISTRIBUTION

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "recbench", "methods", "datasets")
"""What is copied to be built: a build writes beside its sources."""
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
PYTHONS = ("3.11", "3.12", "3.13")


def build(kind: str, sources: Path, into: Path) -> Path:
    """`build_sdist` or `build_wheel` of the project in `sources`, as `python -m build` would call it."""
    command = [sys.executable, "-c", BUILD, kind, str(into)]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is built from it alone."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("packages")
    checkout, unpacked = folder / "checkout", folder / "unpacked"
    checkout.mkdir()
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(REPOSITORY / name, checkout / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, checkout / name)
    source = build("build_sdist", checkout, folder)
    with tarfile.open(source) as archive:
        archive.extractall(unpacked, filter="data")
    [inside] = unpacked.iterdir()
    return source, build("build_wheel", inside, folder)


def shipped() -> Iterator[str]:
    """Every file of the two packages, by its path in the wheel."""
    for base, package in ((REPOSITORY, "recbench"), (REPOSITORY / "methods", "recbench_methods")):
        for folder, _, names in os.walk(base / package, followlinks=True):
            if Path(folder).name != "__pycache__":
                yield from (str((Path(folder) / name).relative_to(base)) for name in names)


def test_the_wheel_has_every_file_of_the_packages_and_no_other(packages: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(packages[1]) as archive:
        there = {name for name in archive.namelist() if ".dist-info/" not in name}
        [described] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        about = message_from_string(archive.read(described).decode())
        points = archive.read(described.replace("METADATA", "entry_points.txt")).decode()
    explained = {"recbench/_cards/README.md"}  # for who reads the repository
    assert set(shipped()) - there == explained
    assert there - set(shipped()) == set()
    assert about["Name"] == DISTRIBUTION
    assert "recbench = recbench.cli:main" in points
    assert "[recbench.methods]" in points


def test_the_source_distribution_has_no_tests_without_what_they_test(packages: tuple[Path, Path]) -> None:
    with tarfile.open(packages[0]) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    wanted = {"recbench", "methods", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "setup.cfg"}
    assert wanted <= tops
    assert not tops & {"tests", "docs", "benchmarks", "leaderboards"}


def test_commands_work_from_the_wheel_alone(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """Its dependencies are those of this environment, but no line of the checkout is imported."""
    with zipfile.ZipFile(packages[1]) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import sys; own = ('', sys.argv[1], sys.argv[1] + '/methods');"
        "sys.path = [path for path in sys.path if path not in own];"
        "import recbench; assert recbench.__file__.startswith(sys.argv[2]), recbench.__file__;"
        "sys.meta_path = [one for one in sys.meta_path if 'editable' not in str(one).lower()];"
        "from recbench.cli import main; main(sys.argv[3:])"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "RECBENCH_MLFLOW": "off"}
    for words, said in (
        (["--help"], "Usage: recbench"),
        (["list", "methods"], "ilrec"),
        (["list", "datasets"], "synthetic"),
        (["run", "-m", "transition", "-d", "synthetic", "--root", str(tmp_path / "root")], "0.89"),
    ):
        command = [sys.executable, "-P", "-c", script, str(REPOSITORY), str(tmp_path / "site"), *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


def python_of(version: str) -> str:
    """The interpreter that uv finds on this machine, without fetching one."""
    command = ["uv", "python", "find", "--system", "--no-python-downloads", version]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no Python {version} is here")
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("installer", ["pip", "uv", "uvx"])
@pytest.mark.parametrize("version", PYTHONS)
def test_an_empty_environment_runs_a_first_comparison(
    packages: tuple[Path, Path], version: str, installer: str, tmp_path: Path
) -> None:
    """Without torch, which no command but the training needs; the dependencies come from the index."""
    if shutil.which("uv") is None:
        pytest.skip("needs uv: pip install uv")
    python, wheel, venv = python_of(version), str(packages[1]), tmp_path / "venv"

    def said(*command: str) -> str:
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environ["RECBENCH_ROOT"] = str(tmp_path)
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    recbench = [str(venv / "bin" / "recbench")]
    if installer == "pip":
        said(python, "-m", "venv", str(venv))
        said(str(venv / "bin" / "pip"), "install", "-q", wheel)
    elif installer == "uv":
        said("uv", "venv", "-q", "--python", python, str(venv))
        said("uv", "pip", "install", "-q", "--python", str(venv / "bin" / "python"), wheel)
    else:
        recbench = ["uvx", "--python", python, "--from", wheel, "recbench"]
    assert "Usage: recbench" in said(*recbench, "--help")
    assert "sdpo" in said(*recbench, "list", "methods")
    shown = said(*recbench, "run", "-m", "popularity", "-m", "transition", "-d", "synthetic")
    assert "popularity" in shown
    assert "0.89" in shown
    assert not list(venv.glob("lib/python*/site-packages/torch"))
