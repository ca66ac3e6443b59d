"""What several methods share is made by recbench's own alone: a third party reads it, and changes nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recbench.base.layout import OWN_STAGES, fit_folder, stages_folder
from recbench.dataset import split
from recbench.results.bundle import Bundle
from recbench.running.guard import landlock
from recbench.settings import IdentifierSettings
from recbench.stages import StageCache

if TYPE_CHECKING:
    from tests.conftest import World

MODES = [
    pytest.param("landlock", marks=pytest.mark.skipif(landlock.abi() == 0, reason="no Landlock")),
    "audit",
]


def codes(world: World, stages: Path) -> list[list[int]]:
    """The identifiers that a method of recbench's finds, or makes."""
    from recbench.llm.items.identifiers import shared_identifiers

    data = split.load_training(world.plan("counts")[0].split.folder)
    found: list[list[int]] = shared_identifiers(
        data, IdentifierSettings(), stages=StageCache(stages)
    ).codes.tolist()
    return found


def of(runs: list[Bundle], name: str) -> Bundle:
    return next(run for run in runs if run.spec.fit.method == name)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_method_poisons_neither_the_identifiers_nor_the_sasrec_of_another(
    hostile: World, mode: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    environ = {**hostile.root.environ, "RECBENCH_GUARD": mode}
    hostile = replace(hostile, root=replace(hostile.root, environ=environ))
    honest_codes = codes(hostile, tmp_path / "elsewhere")
    (alone,) = hostile.run("sasrec")
    for folder in (stages_folder(hostile.root.cache), hostile.root.cache / "fits", hostile.root.runs):
        shutil.rmtree(folder)
    for _ in ("before the stages are there", "and when they are"):
        runs = hostile.run("poisoner", "sasrec", force=True)
        poisoner, beside = of(runs, "poisoner"), of(runs, "sasrec")
        assert beside.metrics == alone.metrics
        assert beside.ranks.tolist() == alone.ranks.tolist()
        assert codes(hostile, stages_folder(hostile.root.cache)) == honest_codes
        assert poisoner.manifest.facts.more["changed"] == 0
        kept = fit_folder(hostile.root.cache, poisoner.spec.fit.id) / OWN_STAGES
    assert not kept.exists() or not list(kept.glob("sasrec/*"))  # the second time it found the shared ones
    assert poisoner.manifest.guard is not None
    assert poisoner.manifest.guard.by.startswith(mode)
    assert any(mark.startswith("change of ") for mark in poisoner.manifest.guard.marks)


def test_a_third_party_makes_its_stages_in_the_folder_of_its_fit(hostile: World) -> None:
    (run,) = hostile.run("staged")
    (path,) = hostile.root.cache.glob("**/made.npy")
    assert path.parents[2] == fit_folder(hostile.root.cache, run.spec.fit.id) / OWN_STAGES
    assert np.load(path).tolist() == list(range(60))
    (name,) = run.efficiency["stage_seconds"]
    assert name == f"made/{path.parent.name}"
    assert run.efficiency["seconds"]["stages"] >= 0.02
