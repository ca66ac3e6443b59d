"""A fit or a stage that was changed in the cache is not ranked, and the message says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from recbench.base.layout import fit_folder, stages_folder
from recbench.stages import StageCache
from tests.e2e.conftest import Listening

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World


def scores_of(world: World, method: str) -> Path:
    (planned,) = world.plan(method)
    return fit_folder(world.root.cache, planned.spec.fit.id) / "scores.npy"


def test_a_changed_fit_is_not_ranked_and_force_makes_it_again(world: World) -> None:
    (honest,) = world.run("counts", phase="valid")
    file = scores_of(world, "counts")
    np.save(file, np.arange(60.0))
    (one,) = world.run("counts")
    assert one.status == "failed"
    assert one.reason is not None
    assert (one.reason["class"], one.reason["what"]) == ("data", f"{file} has changed since it was made")
    assert "--force" in one.reason["fix"]
    (again,) = world.run("counts", phase="valid", force=True)
    assert np.array_equal(again.ranks, honest.ranks)
    (one,) = world.run("counts")
    assert one.status == "complete"


def test_a_fit_that_was_removed_is_made_again(world: World) -> None:
    (honest,) = world.run("counts", phase="valid")
    file = scores_of(world, "counts")
    np.save(file, np.arange(60.0))
    for path in file.parent.iterdir():
        path.unlink()
    (honest.path / "COMPLETE").unlink()
    (again,) = world.run("counts", phase="valid")
    assert np.array_equal(again.ranks, honest.ranks)


def test_a_changed_stage_is_used_by_no_fit(world: World) -> None:
    def build(folder: Path) -> None:
        np.save(folder / "made.npy", np.arange(60.0))

    stages = StageCache(stages_folder(world.root.cache))  # as a method of recbench's own makes it
    made = stages.get("made", {"size": 60}, build) / "made.npy"
    (one,) = world.run("staged")
    assert one.status == "complete"
    np.save(made, np.zeros(60))
    listener = Listening()
    (one,) = world.run("staged:width=5", listener=listener)
    assert one.reason is not None
    assert (one.reason["class"], one.reason["what"]) == ("data", f"{made} has changed since it was made")
    assert one.reason["fix"] == f"remove {made.parent}: the next run makes it again"


def test_a_worker_that_is_killed_leaves_no_seal(world: World) -> None:
    (one,) = world.run("broken:how=killed")
    workdir = fit_folder(world.root.cache, one.spec.fit.id)
    assert one.status == "failed"
    assert not {"COMPLETE", "files.json"} & {path.name for path in workdir.iterdir()}


@pytest.mark.slow
def test_a_changed_parent_is_refused_before_a_child_learns_from_it(world: World) -> None:
    (sft,) = world.run("sft", settings={"train.epochs": "1"})
    parent = fit_folder(world.root.cache, sft.spec.fit.id)
    weights = next(parent.rglob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    _, child = world.run("dllm2rec:epochs=2", settings={"train.epochs": "1"})
    assert child.reason is not None
    assert child.reason["what"] == f"{weights} has changed since it was made"
