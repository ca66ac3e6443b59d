"""The code behind an entry point, read from its files without running any: its modules and their digest.

A module counts where it belongs to the point's own distribution, or to recbench's methods, from which a
method may inherit. The harness and the engine are known by their versions. Modules are found by import
statements: what is imported by a computed name, and data files, are not seen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbench.base import digest

FIRST_PARTY, HARNESS = "recbench_methods", "recbench"
INSTALLED = ("site-packages", "dist-packages")
NO_MEANING = ("ctx", "kind", "type_comment")
"""Fields of a syntax tree that change nothing, or follow from the rest."""


def digest_of(point: EntryPoint) -> str:
    """The sha256 of the syntax trees of its modules, without docstrings."""
    return digest_of_modules(modules(point))


def digest_of_modules(found: Mapping[str, Path]) -> str:
    return digest.of_json({name: _digest_of(path) for name, path in found.items()})


def modules(point: EntryPoint) -> dict[str, Path]:
    """The files of the method's module and of all that it imports from its own distribution, by name."""
    own = _own_packages(point)
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = [point.module]
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] not in own:
            continue
        seen.add(name)
        spec = _locate(name)
        if spec is None:
            continue
        if "." in name:  # importing a module runs its packages first
            waiting.append(name.rpartition(".")[0])
        if spec.origin is not None and Path(spec.origin).is_file():
            found[name] = Path(spec.origin)
            package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            waiting += _imports(found[name], package)
    return found


def _own_packages(point: EntryPoint) -> set[str]:
    """Names of the top-level modules that belong to the method's distribution.

    Those that its list of files names; in a checkout, whose list names no module, those that lie beside
    the method's own.
    """
    top = point.module.partition(".")[0]
    own = {top, FIRST_PARTY}
    for file in (point.dist.files or ()) if point.dist else ():
        if file.suffix == ".py":
            own.add(file.parts[0].removesuffix(".py"))
    spec = _locate(top)
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    for folder in {Path(place).parent for place in places[:1] if place}:
        if folder.name not in INSTALLED:
            own |= {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    return own - {HARNESS}


def _locate(name: str) -> ModuleSpec | None:
    """Where a module lies; unlike `find_spec` this runs no package on the way."""
    top, *rest = name.split(".")
    try:
        spec = PathFinder.find_spec(top) or find_spec(top)  # the second knows editable installs
    except (ImportError, ValueError):
        return None
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    return spec


def _imports(path: Path, package: str) -> list[str]:
    """Everything that may be a module among what the file imports, by absolute name."""
    tree = _tree(path)
    return [] if tree is None else list(_imported(tree, package))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _tree(path: Path) -> ast.Module | None:
    """None for what is no readable Python, such as a compiled module."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _digest_of(path: Path) -> str:
    state = path.stat()
    return _file_digest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _file_digest(path: Path, _modified: int, _size: int) -> str:
    """Of the file's syntax tree, or of its bytes where it has none; read once while it does not change."""
    tree = _tree(path)
    try:
        return digest.of_file(path) if tree is None else digest.of_json(_plain(tree))
    except RecursionError:
        return digest.of_file(path)


def _plain(node: Any) -> Any:
    """A syntax tree as JSON that is the same for every version of Python.

    Fields that are empty are left out, as are statements without effect: strings by themselves, and `pass`.
    """
    if isinstance(node, ast.AST):
        parts = ((name, value) for name, value in ast.iter_fields(node) if name not in NO_MEANING)
        kept = {name: _plain(value) for name, value in parts if value is not None and value != []}
        return [type(node).__name__, kept]
    if isinstance(node, list):
        return [_plain(part) for part in node if not _has_no_effect(part)]
    return f"{type(node).__name__} {node!r}"


def _has_no_effect(node: Any) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or (is_text and isinstance(node.value.value, str))
