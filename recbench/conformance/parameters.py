"""What is known of a class's parameters: documentation, and whether each default survives as text."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from recbench.base import params
from recbench.base.fields import documented


def undocumented(cls: type[Any]) -> list[str]:
    """Parameters without a docstring below them, and without their name in the docstring of their class."""
    about = inspect.getdoc(cls) or ""
    return [field.name for field in documented(cls) if not field.meaning and f"`{field.name}`" not in about]


def wrong_defaults(cls: type[Any]) -> list[str]:
    """Parameters whose default does not come back from its text.

    One that is no value of its parameter keeps the class from being loaded.
    """
    hints = params.hints_of(cls)
    wrong = []
    for field in dataclasses.fields(cls):
        default = params.default_of(field)
        if not field.init or default is dataclasses.MISSING:
            continue
        name = params.as_typed(field.name)
        back = params.coerce(params.as_text(default), hints[field.name], name=name)
        if back != default or type(back) is not type(default):
            wrong.append(f"the default of {name} is {default!r}, and its text gives {back!r}")
    return wrong
