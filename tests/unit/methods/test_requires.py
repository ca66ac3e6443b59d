"""What each of recbench's own methods needs installed is what it imports, and an extra brings it."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from recbench.planning import registry

PROJECT = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
LEARNED = ("torch", "transformers", "trl", "peft", "accelerate", "sklearn")
SCORERS = {
    "popularity": ((), ""),
    "transition": ((), ""),
    "itemknn": ((), ""),
    "tgh": (("torch", "transformers", "sklearn"), "train"),
    "sasrec": (("torch", "safetensors"), "train"),
    "dros": (("torch", "safetensors"), "train"),
    "dllm2rec": (("torch", "safetensors"), "train"),
    "gru4rec": (("recbole", "torch"), "baselines"),
    "caser": (("recbole", "torch"), "baselines"),
    "bert4rec": (("recbole", "torch"), "baselines"),
    "recbole": (("recbole", "torch"), "baselines"),
}
OWN = sorted(name for name, point in registry.available().items() if point.module.startswith("recbench_"))


@pytest.mark.parametrize("name", OWN)
def test_a_method_declares_what_it_needs_installed(name: str) -> None:
    traits = registry.load(name).traits
    assert (traits.requires, traits.extra) == SCORERS.get(name, (LEARNED, "train"))
    assert (traits.kind == "llm") == (name not in SCORERS)
    assert bool(traits.requires) == bool(traits.extra)
    assert not traits.extra or traits.extra in PROJECT["project"]["optional-dependencies"]


@pytest.mark.parametrize("module", LEARNED)
def test_the_required_names_are_those_that_are_imported(module: str) -> None:
    assert importlib.util.find_spec(module) is not None
