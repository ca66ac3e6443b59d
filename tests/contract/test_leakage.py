"""What a method learns from holds nothing of what it is asked for."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recbench import registry
from recbench.split import load_targets, load_training
from recbench.testing import tiny_settings, toy_run

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


@pytest.mark.parametrize("method", ["popularity", "sasrec", pytest.param("sft", marks=pytest.mark.slow)])
def test_shuffling_the_test_targets_changes_no_fitted_weight(
    world: World, method: str, tmp_path: Path
) -> None:
    weights, splits = [], []
    for attempt in ("before", "after"):
        if attempt == "after":
            shuffle_last_items(world.root.path / "raw" / "toy" / "interactions.csv.gz", seed=3)
        split = world.plan("counts")[0].split
        run = toy_run(tmp_path / attempt / "fit", llm=tiny_settings(epochs=1) if method == "sft" else None)
        parameters = {"epochs": "2"} if method == "sasrec" else {}
        registry.load(method).build(parameters).fit(load_training(split.folder), run=run)
        found = [path for path in run.workdir.rglob("*") if path.suffix in (".npy", ".npz", ".safetensors")]
        weights.append({path.relative_to(run.workdir): path.read_bytes() for path in found})
        splits.append(split)
    targets = [load_targets(split.folder, "test") for split in splits]
    assert (targets[0] != targets[1]).mean() > 0.5
    assert splits[0].digests["split"] != splits[1].digests["split"]
    assert weights[0]
    assert weights[0] == weights[1]


def test_fitting_reads_no_file_of_the_test_phase(world: World, tmp_path: Path) -> None:
    """A method is fitted where the files of the test phase do not even exist."""
    (one,) = world.plan("counts")
    for name in ("requests_test.npz", "targets_test.npz"):
        (one.split.folder / name).unlink()
    plugin = registry.load("counts")
    plugin.build({}).fit(load_training(one.split.folder), run=toy_run(tmp_path / "fit"))
    assert (tmp_path / "fit" / "scores.npy").exists()
