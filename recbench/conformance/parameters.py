"""What is known of a class's parameters: documentation, and whether each default survives as text."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
from typing import Any

from recbench.base import params
from recbench.errors import UsageError


def undocumented(cls: type[Any]) -> list[str]:
    """Parameters without a docstring below them, and without their name in the docstring of their class."""
    documented: set[str] = set()
    for owner in cls.__mro__[:-1]:
        documented |= _field_docs(owner).keys()
    about = inspect.getdoc(cls) or ""
    return [
        params.as_typed(field.name)
        for field in dataclasses.fields(cls)
        if field.init and field.name not in documented and f"`{params.as_typed(field.name)}`" not in about
    ]


def _field_docs(cls: type[Any]) -> dict[str, str]:
    """The text below each annotated attribute in the class's own body; none where the source is not here."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for statement, below in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[statement.target.id] = inspect.cleandoc(below.value.value)
    return found


def wrong_defaults(cls: type[Any]) -> list[str]:
    """Parameters whose default is not of their type or range, or does not come back from its text."""
    hints = params._hints(cls)  # type: ignore[arg-type]  # a class is hashable
    wrong = []
    for field in dataclasses.fields(cls):
        default = field.default_factory() if callable(field.default_factory) else field.default
        if not field.init or default is dataclasses.MISSING:
            continue
        name = params.as_typed(field.name)
        try:
            back = params.coerce(_as_text(default), hints[field.name], name=name)
        except UsageError as error:
            wrong.append(f"{error.what}, and it is the default")
            continue
        if back != default or type(back) is not type(default):
            wrong.append(f"the default of {name} is {default!r}, and its text gives {back!r}")
    return wrong


def _as_text(value: Any) -> str:
    if value is None:
        return "none"
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
