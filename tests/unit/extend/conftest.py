"""The worked example package of docs/extend.md, and packages of one module that a test writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import World
from tests.plugin_examples import install

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "my-extensions"
Package = Callable[[str, str, str], Path]


def forget(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """So that this process has imported none of them."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def example(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A root, and the example package on the path of this process and of its children."""
    install(monkeypatch, EXAMPLE, tmp_path / "example-site")
    forget(monkeypatch, "my_extensions")
    return world


@pytest.fixture
def package(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Install a package of one module: its name, its entry points as in a metadata file, its code."""
    del world

    def write(name: str, points: str, source: str) -> Path:
        place = tmp_path / name
        info = place / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (place / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(place), os.environ["PYTHONPATH"])))
        forget(monkeypatch, name)
        return place

    return write
