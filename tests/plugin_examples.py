"""The worked examples of docs/plugins.md, as packages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import write_metadata

PAGE = Path(__file__).parent.parent / "docs" / "plugins.md"
BLOCK = re.compile(r"^```python\n# (my_\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"

[project.entry-points."recbench.methods"]
{name} = "{module}:{cls}"

[tool.setuptools]
py-modules = ["{module}"]
"""


def sources() -> Mapping[str, str]:
    """The modules that the page shows, by name."""
    return dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))


def write_package(module: str, parent: Path) -> Path:
    """The package of one of them, in a folder of its name."""
    source = sources()[module]
    classes = re.findall(r"@dataclass\(kw_only=True\)\nclass (\w+)", source)
    name = module.replace("_", "-")
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    project = PROJECT.format(name=name, module=module, cls=classes[0])
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    return folder


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, site: Path) -> None:
    """Put a package on the path of this process and of its children, as an installer would."""
    path = [str(write_metadata(site, folder)), str(folder)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]))
    for place in path:
        monkeypatch.syspath_prepend(place)
