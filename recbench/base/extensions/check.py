"""Whether a class can be used as what its entry point says: why not, in a sentence, before it is used."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from recbench.base.extensions.parameters import wrong_parameters
from recbench.base.extensions.points import Kind

VERBS: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    "sampler": (("draw",),),
    "ranker": (("rank",),),
    "identifier": (("codes",),),
    "metric": (("of_ranks",), ("of_lists",)),
    "format": (("interactions", "items"),),
}
"""What a class of each kind defines: all names of one of the tuples."""
ALLOWED: Mapping[Kind, frozenset[str]] = {
    "sampler": frozenset({"version", "asks_policy", "resample", "rounds"}),
    "ranker": frozenset({"version"}),
    "identifier": frozenset({"version"}),
    "metric": frozenset({"version"}),
    "format": frozenset({"version"}),
}
"""Attributes of the protocols, which need no annotation."""


def problem(kind: Kind, cls: object) -> tuple[str, str]:
    """What keeps `cls` from being used, and how to change it; two empty texts where nothing does."""
    if not isinstance(cls, type):
        return f"{cls!r} is no class", f"name a class in the entry point, as in NAME = module:{kind.title()}"
    choices = VERBS[kind]
    if not any(all(_defines(cls, verb) for verb in verbs) for verbs in choices):
        wanted = " or ".join(" and ".join(verbs) for verbs in choices)
        return f"{cls.__name__} has no {wanted}", f"define {wanted} in the class"
    if kind == "metric" and all(_defines(cls, verb) for verbs in choices for verb in verbs):
        return f"{cls.__name__} is of ranks and of lists", "make it two metrics, each with a name of its own"
    if not dataclasses.is_dataclass(cls):
        return f"{cls.__name__} is no dataclass", f"@dataclass(kw_only=True) above class {cls.__name__}"
    return next(itertools.chain(_wrong_version(cls), wrong_parameters(cls, ALLOWED[kind])), ("", ""))


def _defines(cls: type[Any], verb: str) -> bool:
    """Whether the class has the method, and not only the empty one of a protocol that it derives from."""
    owner = next((one for one in cls.__mro__ if verb in vars(one)), None)
    return owner is not None and not getattr(owner, "_is_protocol", False) and callable(getattr(cls, verb))


def _wrong_version(cls: type[Any]) -> Iterator[tuple[str, str]]:
    version = getattr(cls, "version", None)
    if "version" in {field.name for field in dataclasses.fields(cls)}:
        yield f"{cls.__name__}.version is a parameter", "version: ClassVar[int] = 1"
    if type(version) is not int:
        yield (
            f"{cls.__name__}.version is {version!r}, and has to be a whole number",
            "version: ClassVar[int] = 1",
        )
