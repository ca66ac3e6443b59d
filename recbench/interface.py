"""The public interface: what a plugin imports, and how firmly each name stands.

`stable`: what it takes, gives and means changes with a major version alone, after one minor version in which
the old use still works and warns. `provisional`: it may change in a minor version; the change log says so.
A name that is not here is private.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Literal

Mark = Literal["stable", "provisional"]

CONTRACT: Mapping[str, tuple[str, ...]] = {
    "recbench.method": (
        *("Method", "RunContext", "LLMRun", "ParentFit", "Traits", "Space", "Stopped"),
        *("LLMPlugin", "traits_of"),
    ),
    "recbench.scorer": ("Scorer", "ScoreItems"),
    "recbench.data": (
        *("TrainingData", "Requests", "Examples", "Catalogue", "Ragged", "Ints", "Floats"),
        *("arrays_of", "ragged_from"),
    ),
    "recbench.ranking": (
        *("Ranking", "rank_by_scores", "rank_in_chunks", "tie_order", "may_rank"),
        *("as_ranking", "join"),
    ),
    "recbench.ranges": ("Positive", "NotNegative", "Share", "Dropout", "Decay", "Count", "Whole"),
    "recbench.stages": ("StageCache",),
    "recbench.errors": (
        *("RecbenchError", "UsageError", "MissingError", "DataError", "CheckError", "DigestError"),
        "unknown_name",
    ),
    "recbench.settings": (
        *("LLMSettings", "TrainSettings", "PromptSettings", "Paradigm", "backbone_class"),
        *("IdentifierSettings", "TitleSettings", "ExactRanker", "BeamRanker", "GroundRanker", "Ranker"),
        "OutsideRanker",
        *("BACKBONES", "RANKERS", "IDENTIFIERS", "DEFAULT_RANKER", "layered", "for_backbone"),
    ),
    "recbench.protocol": ("EvalProtocol", "PROTOCOLS", "get_protocol", "asks_repeatedly", "estimand"),
    "recbench.extend": (
        *("Sampler", "Draw", "IdentifierScheme", "ItemRanker", "RankingTask"),
        *("RankMetric", "ListMetric", "RecommendedLists"),
        *("RawFormat", "Interaction", "DescribedItem"),
    ),
    "recbench.testing": ("MethodContract", "toy_data", "toy_run", "tiny_settings"),
}
"""The names of each module of the contract, in the order in which an author meets them."""
EXPORTING = ("recbench.llm", "recbench.sequential")
"""Packages whose `__all__` are their names."""

PROVISIONAL: Mapping[str, frozenset[str]] = {
    "recbench.extend": frozenset(CONTRACT["recbench.extend"]),
    "recbench.method": frozenset({"LLMPlugin", "traits_of"}),
    "recbench.data": frozenset({"arrays_of", "ragged_from"}),
    "recbench.ranking": frozenset({"as_ranking", "join"}),
    "recbench.protocol": frozenset({"asks_repeatedly", "estimand"}),
    "recbench.settings": frozenset(
        {"layered", "for_backbone", "OutsideRanker", "IDENTIFIERS", "RANKERS", "DEFAULT_RANKER"}
    ),
}
"""Names of the contract that are not stable."""
STABLE: Mapping[str, frozenset[str]] = {
    "recbench.llm": frozenset(
        (
            *("LLMMethod", "PairMethod", "PairBatch", "PREFERENCE_PRESETS", "PREFERENCE_SPACE"),
            *("Policy", "Prompts", "Trie", "TrieTables"),
            *("NextItem", "next_item", "Row", "train", "Objective", "Phi", "Supervision"),
            *("TokenCrossEntropy", "logps", "token_ce", "token_logp", "sequence_logp"),
            *("dpo", "sdpo", "dmpo", "simpo"),
        )
    ),
    "recbench.sequential": frozenset({"SASRecParams", "RecBoleMethod"}),
}
"""Exported names that are; the others have had one user so far, recbench itself."""


def names(module: str) -> tuple[str, ...]:
    """The public names of a module of the contract, or of a package that exports."""
    if module in CONTRACT:
        return CONTRACT[module]
    exported: tuple[str, ...] = tuple(importlib.import_module(module).__all__)
    return exported


def mark(module: str, name: str) -> Mark:
    if module in CONTRACT:
        return "provisional" if name in PROVISIONAL.get(module, ()) else "stable"
    return "stable" if name in STABLE[module] else "provisional"
