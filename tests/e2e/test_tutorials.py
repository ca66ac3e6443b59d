"""What the tutorials and the notebook show is run: their blocks of commands, and their cells."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docs import notebook
from docs.pages import REPOSITORY

pytestmark = pytest.mark.slow

TUTORIALS = REPOSITORY / "docs" / "tutorials"
BLOCK = re.compile(r"(?ms)^```(?P<language>console|python)\n(?P<text>.*?)^```")


@pytest.fixture
def fresh_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECBENCH_ROOT", str(tmp_path))
    monkeypatch.setenv("RECBENCH_MLFLOW", "off")
    return tmp_path


@pytest.mark.parametrize("name", ["first-comparison", "reading-a-board", "your-data"])
def test_a_tutorial_does_what_it_shows(fresh_root: Path, name: str) -> None:
    """Every line of a `console` block, in turn, and the Python that makes its files."""
    run = 0
    for block in BLOCK.finditer((TUTORIALS / f"{name}.md").read_text(encoding="utf-8")):
        if block["language"] == "python":
            subprocess.run([sys.executable, "-c", block["text"]], cwd=fresh_root, check=True)
            continue
        for line in block["text"].splitlines():
            prompt, _, command = line.partition(" ")
            assert prompt == "$"
            words = [sys.executable, "-c", "from recbench.cli import main; main()", *shlex.split(command)[1:]]
            done = subprocess.run(words, cwd=fresh_root, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            run += 1
    assert run > 2


@pytest.mark.usefixtures("fresh_root")
def test_the_notebook_shows_what_its_cells_give() -> None:
    stored = json.loads((TUTORIALS / "notebook.ipynb").read_text(encoding="utf-8"))
    assert notebook.texts(notebook.run(stored)) == notebook.texts(stored), (
        "run: python -m docs.notebook docs/tutorials/notebook.ipynb"
    )
