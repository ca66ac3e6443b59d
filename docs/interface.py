"""Make docs/interface.md: the public names of recbench, how firmly each stands, and what it is and has.

python docs/interface.py            # writes docs/interface.md
python docs/interface.py --check    # 1 if the page is not what the code makes
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import itertools
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from recbench.interface import CONTRACT, EXPORTING, mark, names

PAGE = Path(__file__).with_suffix(".md")
HEAD = "\n".join(
    (
        "<!-- made by docs/interface.py; not edited by hand -->",
        "",
        "# What a plugin imports",
        "",
        "A plugin imports the names on this page, from the modules on this page.",
        "Everything else of recbench is private and may change without notice.",
        "",
        "- **stable**: what a name takes, gives and means changes with a major version alone, "
        "after one minor version in which the old use still works and warns.",
        "- *provisional*: it may change in a minor version; [CHANGELOG.md](../CHANGELOG.md) says so.",
        "",
        "All of it is typed: an outside package can be checked by `mypy --strict`.",
        "Docstrings give shapes: R requests, U users, I items, E examples, B examples of a batch, "
        "K rejected items, S supervised positions, V tokens of the vocabulary.",
        "`Ints` and `Floats` are arrays of numpy, `Tensor` is torch's; a bracket has the shape.",
        "Log-probabilities are in nats.",
        "[docs/plugins.md](plugins.md) shows how the names are used.",
        "",
    )
)


def main() -> int:
    page = render()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page)
    PAGE.write_text(page, encoding="utf-8")
    return 0


def render() -> str:
    parts = [HEAD]
    for module in (*CONTRACT, *EXPORTING):
        parts.append(f"\n## `{module}`\n\n| name | mark | what it is |\n|---|---|---|\n")
        for name in names(module):
            shown = "**stable**" if mark(module, name) == "stable" else "*provisional*"
            parts.append(
                f"| `{name}{signature(module, name)}` | {shown} | {sentence(about(module, name))} |\n"
            )
        for name in names(module):
            lines = [f"| `{one}` | `{kind}` | {text} |\n" for one, kind, text in parts_of(module, name)]
            if lines:
                parts += [f"\n`{name}` has\n\n| | type | what it is |\n|---|---|---|\n", *lines]
    return "".join(parts)


def parts_of(module: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Fields and properties of a dataclass or a named tuple: name, type, and the words in its own source.

    Those that it inherits are with the class that has them; parameters of methods are in `recbench show`.
    """
    value = getattr(importlib.import_module(module), name)
    is_record = inspect.isclass(value) and (is_dataclass(value) or issubclass(value, tuple))
    if not is_record or hasattr(value, "fit") or name.endswith("Params"):
        return
    source = inspect.getsource(value)
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    comments = _comments(source)
    for statement, below in itertools.pairwise([*tree.body, ast.Pass()]):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            words = " ".join([comments.get(statement.lineno, ""), *_text(below).split()]).strip()
            yield from _public(statement.target.id, ast.unparse(statement.annotation), words)
        elif isinstance(statement, ast.FunctionDef) and _is_property(statement):
            words = sentence(ast.get_docstring(statement) or "")
            yield from _public(statement.name, ast.unparse(statement.returns or ast.Constant("")), words)


def _public(name: str, kind: str, words: str) -> Iterator[tuple[str, str, str]]:
    if not name.startswith("_") and not kind.startswith("ClassVar"):
        yield name, kind.replace("|", "\\|"), words.replace("|", "\\|")


def _is_property(function: ast.FunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "property" for one in function.decorator_list)


def _text(statement: ast.stmt) -> str:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return str(value.value) if isinstance(value, ast.Constant) else ""


def _comments(source: str) -> dict[int, str]:
    """By line, the words behind `#`."""
    found = tokenize.generate_tokens(io.StringIO(source).readline)
    return {one.start[0]: one.string.lstrip("# ") for one in found if one.type == tokenize.COMMENT}


def about(module: str, name: str) -> str:
    """The docstring of a class or a function, or the text below a value."""
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return "" if _is_written_by_dataclass(value) else inspect.getdoc(value) or ""
    home, there = _home(module, name)
    return dict(_texts(home)).get(there, "")


def signature(module: str, name: str) -> str:
    """The names of a function's parameters; those behind `*` are given by name."""
    value = getattr(importlib.import_module(module), name)
    if not inspect.isfunction(value):
        return ""
    shown: list[str] = []
    named = False
    for parameter in inspect.signature(value).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            shown, named = [*shown, "*"], True
        optional = "" if parameter.default is parameter.empty else "=…"
        shown.append(f"{parameter.name}{optional}")
    return f"({', '.join(shown)})"


def sentence(text: str) -> str:
    """The first sentence, for a cell of a table."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    first = re.split(r"(?<=[.:;])\s(?=[A-Z])", paragraph)[0].rstrip(":;")
    return first.replace("|", "\\|")


def _is_written_by_dataclass(value: Any) -> bool:
    return inspect.isclass(value) and (value.__doc__ or "").startswith(f"{value.__name__}(")


def _home(module: str, name: str) -> tuple[str, str]:
    """The module in which a value is written, and its name there."""
    homes = getattr(importlib.import_module(module), "_HOMES", {})
    place, _, there = homes.get(name, "").partition(":")
    return (f"{module}.{place}" if place else module), there or name


def _texts(module: str) -> Iterator[tuple[str, str]]:
    """The text below each name that a module assigns, a value or an alias of a type."""
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for statement, below in itertools.pairwise(body):
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        text = below.value if isinstance(below, ast.Expr) else None
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(text, ast.Constant):
                yield target.id, str(text.value)


if __name__ == "__main__":
    sys.exit(main())
