"""Ranker and identifiers of a run, which other packages may bring: from words to settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

from recbench.base import params
from recbench.base.extensions import points
from recbench.base.extensions.extension import head
from recbench.errors import UsageError, unknown_name
from recbench.planning.plugins import extensions
from recbench.settings import (
    DEFAULT_RANKER,
    OWN_SCHEMES,
    RANKERS,
    IdentifierSettings,
    IdentifiersOf,
    LLMSettings,
    OutsideRanker,
    Paradigm,
    Ranker,
)

SCORES = {"name": "scores"}
"""The ranker of a scorer that learns from a language model."""
OWN = "own"
"""The ranker of an LLM method that overrides `rank`; its record keeps the engine's, which it may call."""


def ranker_of(
    asked: str | None,
    settings: Mapping[str, str],
    paradigm: Paradigm,
    *,
    works_with: Sequence[str],
    method: str,
    root: Path | None = None,
) -> Ranker:
    """The ranker that `asked`, as `NAME:key=value`, and the settings `ranker.*` give; None: the default.

    UsageError for a ranker that is none of `works_with`, where the method names those that it works with.
    """
    usual = DEFAULT_RANKER[paradigm]
    default = usual if usual in works_with or not works_with else works_with[0]
    name, values = params.parse_selection(asked or default)
    brought = points.outside("ranker")
    if name not in RANKERS and name not in brought:
        raise unknown_name("ranker", name, [*RANKERS, *brought], fix="recbench list rankers")
    if works_with and name not in works_with:
        raise UsageError(
            f"'{method}' does not work with the ranker '{name}'",
            why=f"its class declares rankers = {tuple(works_with)}",
            fix=f"--ranker {default}",
        )
    if name == "ground" and paradigm == "semantic-id":
        raise UsageError(
            "the ranker 'ground' needs titles",
            why="it writes a title freely and looks for the nearest one",
            fix="-p title, or --ranker exact",
        )
    twice = sorted(values.keys() & settings.keys())
    if twice:
        raise UsageError(f"ranker.{twice[0]} is set by --ranker and by --set")
    if name in brought:
        return _outside_ranker(name, {**values, **settings}, root)
    ranker: Ranker = params.build(RANKERS[name], {**values, **settings}, what=name)
    return ranker


def _outside_ranker(name: str, values: Mapping[str, str], root: Path | None) -> OutsideRanker:
    parameters = extensions.built("ranker", name, values, root)
    identity = extensions.describe("ranker", name, root).identity
    return OutsideRanker(parameters=parameters, **{key: identity[key] for key in identity if key != "kind"})


def with_known_scheme(identifiers: IdentifiersOf, root: Path | None = None) -> IdentifiersOf:
    """The same, a scheme of another package with all its parameters. UsageError for one nobody brings."""
    if not isinstance(identifiers, IdentifierSettings) or identifiers.source in OWN_SCHEMES:
        return identifiers
    name, *values = identifiers.source.split(":")
    if name in OWN_SCHEMES:
        raise UsageError(
            f"identifiers.source={name} takes no parameters of its own",
            fix=f"--set identifiers.source={name} --set identifiers.KEY=VALUE",
        )
    if name not in points.outside("identifier"):
        known = [*OWN_SCHEMES, *points.outside("identifier")]
        raise unknown_name("identifier scheme", name, known, fix="recbench list identifiers")
    parameters = extensions.built("identifier", name, params.parse_assignments(values), root)
    given = [f"{key}={params.as_word(value)}" for key, value in parameters.items()]
    return replace(identifiers, source=":".join([name, *given]))


def scheme_point(llm: LLMSettings) -> EntryPoint | None:
    """The entry point of the other package's identifier scheme; None where recbench makes the identifiers."""
    settings = llm.identifiers
    if not isinstance(settings, IdentifierSettings) or settings.source in OWN_SCHEMES:
        return None
    return points.point_of("identifier", head(settings.source))
