"""The examples of docs/plugins.md and docs/extend.md, installed beside a recbench that is no checkout, as an
author has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from recbench.conformance.skeleton import KINDS, write
from tests.conftest import write_log
from tests.plugin_examples import sources, write_package
from tests.unit.extend.test_outside_formats import write_lines

REPOSITORY = Path(__file__).parents[2]
EXTENSIONS = REPOSITORY / "docs" / "examples" / "my-extensions"
BROUGHT = {
    "sampler": "matched",
    "identifier": "place-digits",
    "ranker": "less-popular",
    "metric": "novelty",
    "format": "sequences",
}
pytestmark = pytest.mark.slow


def packages() -> list[str]:
    """The folders of installed libraries that this environment has, without those of the checkout."""
    return [path for path in sys.path if path.endswith("site-packages") and Path(path).is_dir()]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment of its own, with recbench built and installed, and the three examples."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home / "venv", with_pip=False)
    python = home / "venv" / "bin" / "python"
    (site,) = (home / "venv").glob("lib/python*/site-packages")
    source = home / "source"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(source)], check=True)
    folders = [source, *(write_package(module, home / "examples") for module in sources())]
    folders += [write(f"new-{kind}", kind, home / "new") for kind in KINDS]
    folders.append(Path(shutil.copytree(EXTENSIONS, home / "my-extensions")))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    for folder in folders:
        subprocess.run([*pip, "--target", str(site), str(folder)], check=True, timeout=300)
    (site / "libraries.pth").write_text("\n".join(packages()) + "\n")
    return python


def run(python: Path, folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
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


def test_a_package_of_every_kind_is_typed_strictly_and_runs_there(python: Path, tmp_path: Path) -> None:
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    shutil.copytree(site / "my_extensions", tmp_path / "typed" / "my_extensions")
    assert_typed(python, tmp_path / "typed", "my_extensions")
    root = tmp_path / "root"
    root.mkdir()
    write_log(root)
    write_lines(root, "sequences")
    settings = {
        "RECBENCH_ROOT": str(root),
        "RECBENCH_DATA": str(root / "raw"),
        "RECBENCH_MLFLOW": "off",
        "RECBENCH_DEVICE": "cpu",
    }

    def recbench(*words: str) -> str:
        main = ("-c", "from recbench.cli import main; main()", *words)
        answer = run(python, tmp_path, *main, **settings)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    for kind, name in BROUGHT.items():
        found = {row["name"]: row["from"] for row in json.loads(recbench("list", f"{kind}s", "--json"))}
        assert found[name] == "my-extensions"
    chosen = ("identifiers.source=place-digits", "identifiers.levels=2", "identifiers.codes=8")
    words = ("run", "-m", "dpo:negatives=matched:pool=9", "-d", "lines", "--ranker", "less-popular")
    recbench(*words, *(part for one in (*chosen, "train.epochs=1") for part in ("--set", one)))
    runs = json.loads(recbench("list", "runs", "--json"))
    assert {row["method"] for row in runs} == {"dpo[negatives=matched:pool=9]", "sft[train.epochs=1.0]"}
    for row in runs:
        recbench("score", row["run"], "--k", "10", "--metric", "rbp", "--metric", "novelty")
        recbench("verify", row["run"])
        shown = json.loads(recbench("show", row["run"], "--json"))
        assert shown["versions"]["my-extensions"] == "0.1.0"
        assert shown["spec"]["ranker"]["distribution"] == "my-extensions"
        assert shown["spec"]["fit"]["llm"]["extensions"]["identifiers"]["name"] == "place-digits"
    recbench("leaderboard", "build")
    board = next(root.glob("leaderboards/*/board.md"))
    assert "novelty@10 (my-extensions 0.1.0, version 1, code" in board.read_text().replace("\\", "")
    recbench("leaderboard", "check", board.parent.name)
