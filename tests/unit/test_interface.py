"""The public interface: every name is there, marked, documented and on the page."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recbench.interface import CONTRACT, EXPORTING, PROVISIONAL, STABLE, mark, names

DOCS = Path(__file__).parents[2] / "docs"
MODULES = (*CONTRACT, *EXPORTING)


@pytest.fixture(scope="module")
def page() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("docs_interface", DOCS / "interface.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("module", MODULES)
def test_every_name_is_there_and_is_documented(module: str, page: ModuleType) -> None:
    assert [name for name in names(module) if not hasattr(importlib.import_module(module), name)] == []
    assert [name for name in names(module) if not page.about(module, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_function_is_typed(module: str) -> None:
    """Of a name without annotations a strict checker would make Any in an outside package."""
    untyped = []
    for name in names(module):
        value: Any = getattr(importlib.import_module(module), name)
        if inspect.isfunction(value):
            shown = inspect.signature(value)
            parts = [parameter.annotation for parameter in shown.parameters.values()]
            untyped += [name] if inspect.Signature.empty in (*parts, shown.return_annotation) else []
    assert untyped == []


def test_every_name_of_the_contract_that_looks_public_is_listed() -> None:
    left_out = {}
    for module in CONTRACT:
        space = vars(importlib.import_module(module))
        own = {
            name
            for name, value in space.items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module
        }
        left_out[module] = sorted(own - set(names(module)) - {"T"})
    internal = {"recbench.scorer": ["not_loaded"], "recbench.errors": ["of_file"]}
    assert {module: found for module, found in left_out.items() if found} == internal


def test_the_marks_name_what_there_is() -> None:
    for marks in (PROVISIONAL, STABLE):
        assert {module: found - set(names(module)) for module, found in marks.items()} == dict.fromkeys(
            marks, frozenset()
        )
    assert (mark("recbench.llm", "train"), mark("recbench.llm", "generate")) == ("stable", "provisional")
    assert (mark("recbench.data", "Ragged"), mark("recbench.ranking", "join")) == ("stable", "provisional")


def test_the_page_is_what_the_code_makes(page: ModuleType) -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "python docs/interface.py"
