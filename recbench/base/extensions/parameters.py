"""Whether the fields of a plugin's dataclass can be its parameters: why not, in a sentence."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from recbench.base import params
from recbench.errors import UsageError

TEXTS = (bool, int, float, str)


def wrong_parameters(cls: type[Any], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the parameters of a dataclass. `known` are attributes that are none."""
    try:
        hints = get_type_hints(cls)
    except Exception as error:  # an annotation is code, and may raise anything
        yield f"the annotations of {cls.__name__} cannot be read: {error}", "import the names they use"
        return
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for owner in cls.__mro__:
        if owner is not cls and "__dataclass_params__" not in vars(owner):
            continue  # a mixin has no parameters
        for name in _plain_attributes(owner):
            if name not in hints and name not in known:
                value = vars(owner)[name]
                fix = f"{name}: {type(value).__name__} = {value!r}; or ClassVar, if it is no parameter"
                yield f"{owner.__name__}.{name} has no type annotation, so it cannot be set", fix
        for name in vars(owner).get("__annotations__", {}):
            if isinstance(hints.get(name), dataclasses.InitVar):
                yield f"{owner.__name__}.{name} is an InitVar, which is not kept", "a field of the same name"
            elif name not in fields and not _is_class_variable(hints.get(name)) and name not in known:
                yield (
                    f"{owner.__name__}.{name} is no parameter, as {owner.__name__} is no dataclass itself",
                    f"@dataclass(kw_only=True) above class {owner.__name__}",
                )
    for name, field in fields.items():
        if field.init and not is_textual(hints[name]):
            yield (
                f"{cls.__name__}.{name} is a {_type_name(hints[name])}, which cannot be given as text",
                "bool, int, float, str, Literal, a tuple of these, or such a type | None; "
                "field(init=False) for state",
            )
        elif field.init and (why := wrong_default(field, params.hints_of(cls)[name])):
            yield f"in {cls.__name__}, {why}", "a default of the type and range that the annotation names"


def wrong_default(field: dataclasses.Field[Any], annotation: Any) -> str:
    """Why the default of a parameter is no value of it; empty where it is one, and where there is none."""
    default = params.default_of(field)
    if default is dataclasses.MISSING:
        return ""
    try:
        params.coerce(
            params.as_text(default), annotation, name=f"the default of {params.as_typed(field.name)}"
        )
    except UsageError as error:
        return error.what
    return ""


def _plain_attributes(cls: type[Any]) -> Iterator[str]:
    """Public attributes of the class's own body that are values: no methods, no properties, no classes."""
    for name, value in vars(cls).items():
        if not name.startswith("_") and not isinstance(value, type) and not hasattr(value, "__get__"):
            yield name


def _is_class_variable(annotation: Any) -> bool:
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def is_textual(annotation: Any) -> bool:
    """Whether `params.coerce` makes a value of this type from text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType):
        others = [choice for choice in arguments if choice is not type(None)]
        return len(others) == 1 and is_textual(others[0])
    if origin is tuple:
        kinds = {argument for argument in arguments if argument is not Ellipsis}
        return len(kinds) == 1 and is_textual(kinds.pop())
    return annotation in TEXTS


def _type_name(annotation: Any) -> str:
    return (
        annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    )
