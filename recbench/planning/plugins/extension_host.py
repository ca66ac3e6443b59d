"""What a sampler, ranker, ... says of itself, in the process that imports it."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from recbench.base import digest, params
from recbench.base.extensions import extension
from recbench.base.extensions.extension import Extension
from recbench.base.fields import documented
from recbench.extend import RecommendedLists
from recbench.planning.plugins import arrays


def answer(question: Mapping[str, Any]) -> Any:
    """`ask` is `describe` (the fields of an ExtensionDescription), `build` (the parameters), or `measure`."""
    found = extension.load(question["kind"], question["name"])
    match question["ask"]:
        case "describe":
            return _described(found)
        case "build":
            return resolved(found, found.build(question["values"]))
        case "measure":
            return _measured(found, question)
    raise ValueError(question)


def resolved(found: Extension, instance: Any) -> dict[str, Any]:
    """All parameters as JSON values."""
    with found.faults("when its parameters are read"):
        values = params.resolved(instance)
        digest.canonical_json(values)  # they are written down
        return values


def _described(found: Extension) -> dict[str, Any]:
    with found.faults("when its defaults are read"):
        module = sys.modules[found.cls.__module__]
        own = found.cls.__doc__ or ""
        is_generated = own.startswith(f"{found.cls.__name__}(")  # dataclasses write one where there is none
        about = inspect.cleandoc((module.__doc__ or "") if is_generated else own)
        return {
            "name": found.name,
            "distribution": found.distribution,
            "place": found.place,
            "about": about,
            "version": found.cls.version,
            "details": [dataclasses.asdict(one) for one in documented(found.cls)],
            "facts": _facts(found),
        }


def _measured(found: Extension, question: Mapping[str, Any]) -> dict[str, Any]:
    """By cut-off, a number for each request, or one."""
    metric, seen = found.build(question["values"]), arrays.unpacked(question["arrays"])
    values: dict[str, Any] = {}
    for k in question["cutoffs"]:
        with found.faults(f"at cut-off {k}"):
            if "ranks" in seen:
                ranks = seen["ranks"].astype(np.int64)
                value = metric.of_ranks(np.where(ranks <= k, ranks, 0), k)
            else:
                value = metric.of_lists(RecommendedLists(**{**seen, "items": seen["items"][:, :k]}))
            values[str(k)] = np.asarray(value, dtype=np.float64).tolist()
    return values


def _facts(found: Extension) -> dict[str, Any]:
    if found.kind == "sampler":
        return {"asks_policy": bool(found.cls.asks_policy)}
    if found.kind == "metric":
        return {"of": [what for what in ("ranks", "lists") if hasattr(found.cls, f"of_{what}")]}
    return {}
