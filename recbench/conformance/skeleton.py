"""A package with one method that passes the checks as it is written, to be changed into another."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from recbench.base import environment
from recbench.errors import UsageError, unknown_name
from recbench.planning import registry

KINDS = ("preference", "token-loss", "on-policy", "llm", "scorer")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
EXTRAS = {"scorer": ""}
COMMON = {
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
}


def write(name: str, kind: str, parent: Path) -> Path:
    """Write the package into a new folder `name` of `parent`, and return the folder.

    UsageError for a name that cannot be one, or that is taken, and for a folder that exists.
    """
    _check_kind(kind)
    module = _module(name)
    folder = parent / name
    if folder.exists():
        raise UsageError(
            f"{folder} exists already",
            why="nothing is written over what is there",
            fix=f"recbench method new {name}-2, or --to another folder",
        )
    words = {
        "name": name,
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "recbench": environment.DISTRIBUTION,
        "extra": EXTRAS.get(kind, "[train]"),
        "version": environment.own_version(),
    }
    templates = {**COMMON, f"{module}.py": f"{kind}.py.in", f"test_{module}.py": f"test_{kind}.py.in"}
    texts = {file: _filled(template, words) for file, template in templates.items()}
    folder.mkdir(parents=True)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def _filled(template: str, words: dict[str, str]) -> str:
    text = (files("recbench.conformance") / "templates" / template).read_text(encoding="utf-8")
    return Template(text).substitute(words)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise unknown_name("kind of method", kind, KINDS, fix="--kind preference")


def _module(name: str) -> str:
    """The name of the module of a method. UsageError where the method's name cannot be used."""
    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or keyword.iskeyword(module):
        raise UsageError(
            f"'{name}' is no name of a method",
            why="it becomes the name of a command, a package and a module: lower-case letters and digits in "
            "words joined by hyphens, the first a letter, and no word of Python",
            fix="recbench method new my-method",
        )
    taken = registry.available().get(name)
    if taken is not None:
        raise UsageError(
            f"there is a method '{name}' already",
            why=f"of {registry.owner(taken)} ({taken.value})",
            fix=f"recbench method new my-{name}",
        )
    if module in sys.stdlib_module_names or find_spec(module) is not None:
        raise UsageError(
            f"there is a Python module '{module}' already",
            why="the method's module would hide it, or be hidden",
            fix=f"recbench method new my-{name}",
        )
    return module
