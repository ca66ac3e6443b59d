"""What is known of a class's parameters: documentation, and whether each default survives as text."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from recbench.base import params
from recbench.base.fields import documented
from recbench.errors import UsageError


def undocumented(cls: type[Any]) -> list[str]:
    """Parameters without a docstring below them, and without their name in the docstring of their class."""
    about = inspect.getdoc(cls) or ""
    return [field.name for field in documented(cls) if not field.meaning and f"`{field.name}`" not in about]


def wrong_defaults(cls: type[Any]) -> list[str]:
    """Parameters whose default is not of their type or range, or does not come back from its text."""
    hints = params.hints_of(cls)
    wrong = []
    for field in dataclasses.fields(cls):
        default = field.default_factory() if callable(field.default_factory) else field.default
        if not field.init or default is dataclasses.MISSING:
            continue
        name = params.as_typed(field.name)
        try:
            back = params.coerce(params.as_text(default), hints[field.name], name=name)
        except UsageError as error:
            wrong.append(f"{error.what}, and it is the default")
            continue
        if back != default or type(back) is not type(default):
            wrong.append(f"the default of {name} is {default!r}, and its text gives {back!r}")
    return wrong
