"""The examples of docs/plugins.md, installed beside a recbench that is no checkout, as an author has it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

from recbench.conformance.skeleton import KINDS, write
from tests.plugin_examples import sources, write_package

REPOSITORY = Path(__file__).parents[2]
SETUPTOOLS = 77
pytestmark = pytest.mark.slow


def packages() -> list[str]:
    """The folders of installed libraries that this environment has, without those of the checkout."""
    return [path for path in sys.path if path.endswith("site-packages") and Path(path).is_dir()]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment of its own, with recbench built and installed, and the three examples."""
    if int(version("setuptools").partition(".")[0]) < SETUPTOOLS:
        pytest.skip(f"building needs setuptools {SETUPTOOLS} or newer")
    home = tmp_path_factory.mktemp("environment")
    venv.create(home / "venv", with_pip=False)
    python = home / "venv" / "bin" / "python"
    (site,) = (home / "venv").glob("lib/python*/site-packages")
    source = home / "source"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(source)], check=True)
    folders = [source, *(write_package(module, home / "examples") for module in sources())]
    folders += [write(f"new-{kind}", kind, home / "new") for kind in KINDS]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    for folder in folders:
        subprocess.run([*pip, "--target", str(site), str(folder)], check=True, timeout=300)
    (site / "libraries.pth").write_text("\n".join(packages()) + "\n")
    return python


def run(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-P", *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environ, timeout=500, check=False
    )


def test_the_examples_pass_the_checks_there(python: Path, tmp_path: Path) -> None:
    where = run(python, tmp_path, "-c", "import recbench; print(recbench.__file__)")
    assert not where.stdout.startswith(str(REPOSITORY)), "this recbench is the checkout"
    for name in ("my-transition", "new-scorer"):
        words = ("-c", "from recbench.cli import main; main()", "method", "check", name)
        checked = run(python, tmp_path, *words)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_examples_and_new_methods_are_typed_strictly_against_it(python: Path, tmp_path: Path) -> None:
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    for module in (*sources(), *(f"new_{kind.replace('-', '_')}" for kind in KINDS)):
        (tmp_path / f"{module}.py").write_text((site / f"{module}.py").read_text())
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    assert_typed(python, tmp_path, *files)
    (tmp_path / "wrong.py").write_text("from recbench.llm import train\n\ntrain(3)\n")
    with pytest.raises(AssertionError, match="Missing positional arguments"):  # there are types, not Any
        assert_typed(python, tmp_path, "wrong.py")


def assert_typed(python: Path, folder: Path, *files: str) -> None:
    words = ("-m", "mypy", "--strict", "--python-executable", str(python), *files)
    checked = run(Path(sys.executable), folder, *words)
    assert checked.returncode == 0, checked.stdout
