"""What a method learns from holds nothing of what it is asked for."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench.base.params import parse_selection
from recbench.data import TrainingData
from recbench.dataset.split import load_targets, load_training
from recbench.method import ParentFit
from recbench.planning import registry
from recbench.testing import tiny_settings, toy_data, toy_run

if TYPE_CHECKING:
    from tests.conftest import World


def shuffle_last_items(path: Path, *, seed: int) -> None:
    """Exchange the users' last items among them, wherever the new one is not in the user's past."""
    with gzip.open(path, "rt", newline="") as stream:
        header, *rows = list(csv.reader(stream))
    of_user: dict[str, list[list[str]]] = {}
    for row in rows:
        of_user.setdefault(row[0], []).append(row)
    past = {user: {row[1] for row in mine[:-1]} for user, mine in of_user.items()}
    users = list(of_user)
    rng = np.random.default_rng(seed)
    for _ in range(20 * len(users)):
        one, other = (of_user[users[n]][-1] for n in rng.integers(len(users), size=2))
        if other[1] not in past[one[0]] and one[1] not in past[other[0]]:
            one[1], other[1] = other[1], one[1]
    with gzip.open(path, "wt", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def weights_after(selection: str, data: TrainingData, folder: Path) -> dict[Path, bytes]:
    """Every array that a fit leaves, by its place in the fit's folder; a parent is fitted before it."""
    name, values = parse_selection(selection)
    plugin = registry.load(name)
    method = plugin.build(values)
    needs_parent = getattr(method, "uses_parent", False)
    llm = tiny_settings(epochs=1) if needs_parent or plugin.traits.kind == "llm" else None
    run = toy_run(folder / "fit", llm=llm)
    if needs_parent:
        weights_after("sft", data, folder / "parent")
        workdir = folder / "parent" / "fit"
        run = replace(
            run, parent=ParentFit(id="parent", workdir=workdir, trained_tokens=0, llm=tiny_settings(epochs=1))
        )
    method.fit(data, run=run)
    found = [path for path in run.workdir.rglob("*") if path.suffix in (".npy", ".npz", ".safetensors")]
    assert found
    return {path.relative_to(run.workdir): path.read_bytes() for path in found}


def slow(*selections: str) -> list[Any]:
    return [pytest.param(one, marks=pytest.mark.slow) for one in selections]


METHODS = ["popularity", "transition", "itemknn", "sasrec:epochs=2", "dros:epochs=2"]


@pytest.mark.parametrize("method", [*METHODS, *slow("sft", "dllm2rec:epochs=2", "gru4rec:epochs=2")])
def test_shuffling_the_test_targets_changes_no_fitted_weight(
    world: World, method: str, tmp_path: Path
) -> None:
    weights, splits = [], []
    for attempt in ("before", "after"):
        if attempt == "after":
            shuffle_last_items(world.root.path / "raw" / "toy" / "interactions.csv.gz", seed=3)
        split = world.plan("counts")[0].split
        weights.append(weights_after(method, load_training(split.folder), tmp_path / attempt))
        splits.append(split)
    targets = [load_targets(split.folder, "test") for split in splits]
    assert (targets[0] != targets[1]).mean() > 0.5
    assert splits[0].digests["split"] != splits[1].digests["split"]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    "method",
    [
        "popularity",
        "transition",
        "itemknn",
        "sasrec:epochs=1",
        "dros:epochs=1",
        *slow("sft", "gru4rec:epochs=1"),
    ],
)
def test_validation_targets_move_no_weight(method: str, tmp_path: Path) -> None:
    """They may only choose among epochs, and with a single epoch there is nothing to choose."""
    data = toy_data(num_users=20, num_items=15, longest=8)
    other = replace(data, valid=replace(data.valid, target=(data.valid.target + 7) % 15))
    assert weights_after(method, data, tmp_path / "a") == weights_after(method, other, tmp_path / "b")


def test_fitting_reads_no_file_of_the_test_phase(world: World, tmp_path: Path) -> None:
    """A method is fitted where the files of the test phase do not even exist."""
    (one,) = world.plan("counts")
    for name in ("requests_test.npz", "targets_test.npz"):
        (one.split.folder / name).unlink()
    plugin = registry.load("counts")
    plugin.build({}).fit(load_training(one.split.folder), run=toy_run(tmp_path / "fit"))
    assert (tmp_path / "fit" / "scores.npy").exists()
