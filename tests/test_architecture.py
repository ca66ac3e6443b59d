"""Imports go one way: harness, engine, methods. Read from the source, so no import has to happen."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
HARNESS = REPOSITORY / "recbench"
LEARNERS = (HARNESS / "llm", HARNESS / "sequential")
METHODS = REPOSITORY / "methods" / "recbench_methods"

LEARNING = {"torch", "transformers", "trl", "peft", "accelerate", "safetensors", "tokenizers"}
HEAVY = LEARNING | {"mlflow", "scipy", "pandas", "sklearn", "statsmodels", "recbole"}
PUBLIC = {"method", "data", "ranking", "errors", "testing", "llm", "sequential"}
BELOW_THE_LEARNERS = {
    "method",
    "data",
    "ranking",
    "errors",
    "settings",
    "stages",
    "base",
    "llm",
    "sequential",
}


def imports(source: str, *, top_level: bool = False) -> Iterator[str]:
    """Dotted names of everything that a module imports; with `top_level`, only what its import runs."""
    for node in _statements(ast.parse(source), top_level):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _statements(tree: ast.AST, top_level: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if top_level and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _statements(node, top_level)


def files(*folders: Path, without: tuple[Path, ...] = ()) -> list[Path]:
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path for path in found if not any(other in path.parents for other in without)]


def offenders(paths: list[Path], *, top_level: bool = False) -> Iterator[tuple[str, str]]:
    for path in paths:
        for name in imports(path.read_text(encoding="utf-8"), top_level=top_level):
            yield path.relative_to(REPOSITORY).as_posix(), name


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_the_reader_of_imports_sees_every_form() -> None:
    source = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    from . import g\n"
    assert list(imports(source)) == ["a.b", "c.d", "e", "..g"]
    assert list(imports(source, top_level=True)) == ["a.b", "c.d"]


def test_the_harness_never_imports_methods_engine_or_learning_libraries() -> None:
    wrong = [
        (path, name)
        for path, name in offenders(files(HARNESS, without=LEARNERS))
        if within(name, "recbench_methods")
        or within(name, "recbench.llm")
        or within(name, "recbench.sequential")
        or name.split(".")[0] in LEARNING
    ]
    assert wrong == []


def test_importing_the_harness_imports_nothing_heavy() -> None:
    paths = files(HARNESS, without=LEARNERS)
    wrong = [(p, n) for p, n in offenders(paths, top_level=True) if n.split(".")[0] in HEAVY]
    assert wrong == []


def test_only_the_store_imports_mlflow() -> None:
    everything = [*files(HARNESS), *files(METHODS)]
    assert {path for path, name in offenders(everything) if within(name, "mlflow")} <= {
        "recbench/exchange/mlflow_store.py"
    }


def test_the_engine_knows_neither_methods_nor_evaluation() -> None:
    wrong = [
        (path, name)
        for path, name in offenders(files(*LEARNERS))
        if within(name, "recbench_methods")
        or (within(name, "recbench") and name.split(".")[1] not in BELOW_THE_LEARNERS)
    ]
    assert wrong == []


def test_methods_import_the_public_interface_and_not_each_other() -> None:
    wrong = [
        (path, name)
        for path, name in offenders(files(METHODS))
        if within(name, "recbench_methods")
        or name.startswith(".")
        or (within(name, "recbench") and name.split(".")[1] not in PUBLIC)
    ]
    assert wrong == []


def test_loading_a_method_imports_no_learning_library() -> None:
    wrong = [
        (path, name)
        for path, name in offenders(files(METHODS), top_level=True)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["datasets"])
def test_a_folder_that_would_hide_a_library_holds_no_python(folder: str) -> None:
    assert (REPOSITORY / folder).is_dir()
    assert list((REPOSITORY / folder).rglob("*.py")) == []


def test_the_command_that_brings_ml_100k_works_where_the_extra_brings_nothing() -> None:
    """The extra leaves recbole out on Pythons for which its dependency has no wheel."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pin = project["optional-dependencies"]["baselines"][0].partition(";")[0]
    card = tomllib.loads((REPOSITORY / "datasets" / "ml-100k.toml").read_text(encoding="utf-8"))
    assert [source["mend"] for source in card["sources"]] == [f"pip install --no-deps {pin}"]
