"""The ranker of a run: from the words of a command to its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recbench.base import params
from recbench.errors import UsageError, unknown_name
from recbench.settings import DEFAULT_RANKER, RANKERS, Paradigm, Ranker

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
) -> Ranker:
    """The ranker that `asked`, as `NAME:key=value`, and the settings `ranker.*` give; None: the default.

    UsageError for a ranker that is none of `works_with`, where the method names those that it works with.
    """
    usual = DEFAULT_RANKER[paradigm]
    default = usual if usual in works_with or not works_with else works_with[0]
    name, values = params.parse_selection(asked or default)
    if name not in RANKERS:
        raise unknown_name("ranker", name, RANKERS, fix="--ranker exact")
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
    ranker: Ranker = params.build(RANKERS[name], {**values, **settings}, what=name)
    return ranker
