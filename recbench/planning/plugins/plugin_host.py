"""The process in which third-party plugins are imported, asked and built, apart from all that scores.

A question is a line of JSON on stdin, its answer one on stdout. So a plugin that patches what it finds when
it is imported, or ends its process, reaches neither the process that scores nor another method's numbers.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from recbench import errors
from recbench.base import params
from recbench.base.extensions import failures
from recbench.base.fields import documented, sentence_at_value
from recbench.base.lifetime import end_with_parent
from recbench.errors import RecbenchError
from recbench.method import traits_of
from recbench.planning import registry
from recbench.planning.plugins import extension_host, kept
from recbench.results.llm_record import llm_of

NOTED = ("presets", "space")
"""The traits of whose values a class says where they come from."""
REQUIRED = "required"
"""Stands for the default of a parameter that has none."""


def answer(question: Mapping[str, Any]) -> Any:
    """What the method `name` says, as a JSON value; in this process, which imports the plugin.

    `ask` is `describe` (the fields of a Description), `build` (parameters and whether it needs a parent),
    `identity` or `fetch`. Raises what the registry raises. With a `kind` it is no method that is asked.
    """
    if "kind" in question:
        return extension_host.answer(question)
    plugin = registry.load(question["name"])
    match question["ask"]:
        case "describe":
            return _described(plugin)
        case "build":
            method = plugin.build(question["values"])
            traits = traits_of(method)
            return {
                "params": params.resolved(method),
                "needs_parent": traits.needs_parent,
                "stages": traits.stages,
            }
        case "identity":
            return plugin.identity(llm_of(question["llm"]))
        case "fetch":
            return plugin.fetch(llm_of(question["llm"]))
    raise ValueError(question)


def _described(plugin: registry.Plugin) -> dict[str, Any]:
    with plugin.faults("when its defaults are read"):
        return {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "place": plugin.place,
            "about": str(inspect.getdoc(plugin.cls) or ""),
            "source": inspect.cleandoc(sys.modules[plugin.cls.__module__].__doc__ or ""),
            "traits": _as_json({f.name: getattr(plugin.traits, f.name) for f in _fields(plugin.traits)}),
            "parameters": {
                params.as_typed(field.name): _as_json(_default(field))
                for field in _fields(plugin.cls)
                if field.init
            },
            "details": [dataclasses.asdict(one) for one in documented(plugin.cls)],
            "notes": {name: text for name in NOTED if (text := sentence_at_value(plugin.cls, name))},
            "required": plugin.required,
            "ranks_itself": plugin.ranks_itself,
        }


def _fields(thing: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(thing)


def _default(field: dataclasses.Field[Any]) -> Any:
    default = params.default_of(field)
    return REQUIRED if default is dataclasses.MISSING else default


def _as_json(value: Any) -> Any:
    """TypeError for what is no text, number, sequence or mapping with names."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"a mapping with keys that are no names: {list(value)}")
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} is neither a text, a number, a list nor a mapping")


def main() -> int:
    end_with_parent()
    with (
        os.fdopen(os.dup(0), encoding="utf-8") as questions,
        os.fdopen(os.dup(1), "w", encoding="utf-8") as answers,
        open(os.devnull) as nothing,
    ):
        os.dup2(nothing.fileno(), 0)  # a plugin that asks its user gets no question of ours
        os.dup2(2, 1)  # and what it prints is no answer
        sys.stdout = sys.stderr
        sys.path[:] = json.loads(questions.readline())
        _serve(questions, answers)
    return 0


def _serve(questions: TextIO, answers: TextIO) -> None:
    for line in questions:
        question = json.loads(line)
        try:
            found: dict[str, Any] = {"answer": answer(question)}
            found["files"] = kept.loaded()
        except RecbenchError as error:
            found = {"error": failures.failure(error)}
        except OSError as error:
            what = f"'{question['name']}' asks for a file that cannot be used"
            found = {"error": failures.failure(errors.MissingError(what, why=str(error)))}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.exit(main())
