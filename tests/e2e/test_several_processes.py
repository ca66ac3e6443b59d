"""Several processes at one run, several drivers at one study, and a run that is killed again and again."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file

from recbench.base.layout import fit_folder
from recbench.data import Ragged, Requests
from recbench.planning.plan import Planned
from recbench.planning.resources import Resources
from recbench.ranking import Ranking
from recbench.results import bundle
from recbench.results.bundle import Bundle
from recbench.results.fit_record import FitRecord
from recbench.running import execute
from recbench.running.processes import Place, gather, shares

if TYPE_CHECKING:
    from tests.conftest import World

TINY = ("--set", "train.epochs=1")


def run(world: World, planned: list[Planned], *, gpus: int = 1) -> list[Bundle]:
    resources = {one.spec.id: Resources(gpus=gpus) for one in planned}
    return execute.run_all(planned, world.root, resources=resources)


def test_each_request_is_in_one_share_and_comes_back_in_its_place(tmp_path: Path) -> None:
    requests = Requests(user=np.arange(7), history=Ragged.of([[1]] * 7))
    rows = shares(object(), requests, 3)
    assert sorted(np.concatenate(rows)) == list(range(7))
    whole = Ranking(
        items=np.arange(14).reshape(7, 2),
        scores=np.arange(14.0).reshape(7, 2),
        certified=np.arange(7) % 2 == 0,
        stats={"nodes_per_user": 3.0, "generated_tokens": 12.0},
    )
    parts = [
        Ranking(
            items=whole.items[share],
            scores=whole.scores[share] if whole.scores is not None else None,
            certified=whole.certified[share] if whole.certified is not None else None,
            stats={"nodes_per_user": 3.0, "generated_tokens": 4.0},
        )
        for share in rows
    ]
    for rank in (1, 2):
        assert gather(tmp_path, Place(rank, 3), rows, parts[rank]) is None
    joined = gather(tmp_path, Place(0, 3), rows, parts[0])
    assert joined is not None
    assert np.array_equal(joined.items, whole.items)
    for found, wanted in ((joined.scores, whole.scores), (joined.certified, whole.certified)):
        assert found is not None
        assert wanted is not None
        assert np.array_equal(found, wanted)
    assert dict(joined.stats) == {"nodes_per_user": 3.0, "generated_tokens": 12.0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("paradigm", ["semantic-id", "title"])
def test_two_processes_train_as_one_and_rank_as_one(world: World, paradigm: str) -> None:
    # a row for each of 32 targets: epochs of whole steps
    amounts = {"train.epochs": "3", "train.max_rows": "32", "train.pack": "none", "train.batch": "8"}
    planned = world.plan("sft", paradigm=paradigm, settings=amounts)
    (alone,) = run(world, planned)
    fit = fit_folder(world.root.cache, alone.spec.fit.id)
    kept = world.root.path / "kept"
    shutil.copytree(alone.path, kept)
    alone = bundle.load(alone.path)
    weights = load_file(fit / "model" / "model.safetensors")
    shutil.rmtree(alone.path)
    (ranked,) = run(world, planned, gpus=2)
    first, second = (np.load(folder / "topk.npz") for folder in (kept, ranked.path))
    assert np.array_equal(first["items"], second["items"])
    assert np.array_equal(np.load(kept / "ranks.npz")["ranks"], ranked.ranks)
    shutil.rmtree(ranked.path)
    shutil.rmtree(fit)
    (trained,) = run(world, planned, gpus=2)
    assert trained.efficiency["processes"] == 2
    assert trained.efficiency["trained_tokens"] == alone.efficiency["trained_tokens"]
    again = load_file(fit / "model" / "model.safetensors")
    assert weights.keys() == again.keys()
    for name, weight in weights.items():
        assert np.allclose(weight, again[name], atol=1e-4), name


@pytest.mark.slow
def test_two_processes_evaluate_and_keep_what_one_does(world: World) -> None:
    amounts = {"train.epochs": "3", "train.max_rows": "32", "train.pack": "none", "train.batch": "8"}
    planned = world.plan("sft", settings={**amounts, "train.select": "best"})
    found = []
    for gpus in (1, 2):
        (one,) = run(world, planned, gpus=gpus)
        fit = fit_folder(world.root.cache, one.spec.fit.id)
        stage = json.loads((fit / "facts.json").read_text())["selection"]["training"]
        found.append((stage, load_file(fit / "model" / "model.safetensors")))
        assert one.efficiency["selection_seconds"] == pytest.approx(stage["seconds"])
        assert 0 < one.efficiency["selection_share"] < 1
        shutil.rmtree(one.path)
        shutil.rmtree(fit)
    (alone, weights), (shared, again) = found
    assert alone["steps"] == shared["steps"] == [3, 5, 8, 10, 12]
    assert alone["ndcg_at_10"] == pytest.approx(shared["ndcg_at_10"], abs=1e-6)
    assert alone["kept"] == shared["kept"]
    for name, weight in weights.items():
        assert np.allclose(weight, again[name], atol=1e-4), name


@pytest.mark.slow
def test_two_processes_make_their_shares_of_the_groups_that_one_makes(world: World) -> None:
    """Rows made for two steps at once; the weights differ by rounding, far less than they move."""
    amounts = {"train.epochs": "3", "train.max_rows": "32", "train.pack": "none", "train.batch": "8"}
    planned = world.plan("rere:group_size=4,refresh=2", settings={**amounts, "train.lr": "1e-3"})
    found = []
    for gpus in (1, 2):
        *_, one = run(world, planned, gpus=gpus)
        fit = fit_folder(world.root.cache, one.spec.fit.id)
        found.append((one.efficiency, load_file(fit / "model" / "model.safetensors")))
        shutil.rmtree(one.path)
        shutil.rmtree(fit)
    parent = fit_folder(world.root.cache, one.spec.fit.parent or "")
    before = load_file(parent / "model" / "model.safetensors")
    (alone, weights), (shared, again) = found
    assert (alone["processes"], shared["processes"]) == (1, 2)
    assert alone["trained_tokens"] == shared["trained_tokens"]
    for name, weight in weights.items():
        moved = np.abs(weight - before[name]).max()
        assert np.abs(weight - again[name]).max() < 0.1 * moved, name


@pytest.mark.slow
def test_a_wrong_number_of_processes_stops_the_run_at_once(world: World, tmp_path: Path) -> None:
    task = world.task(world.plan("sft", settings={"train.epochs": "1"})[0], tmp_path / "out")
    task.write(tmp_path / "task.json")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*torchrun, "-m", "recbench.running.worker", "fit", str(tmp_path / "task.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    messages = [str(event["message"]) for event in events if "message" in event]
    assert any("1 processes were asked for, and 2 were started" in message for message in messages), events
    assert not list(task.workdir.glob("*"))  # the guard has made it, and nothing is in it


@pytest.mark.slow
def test_eight_drivers_of_one_study_train_its_parent_once(world: World) -> None:
    methods = ("dpo", "sdpo")
    words = world.command("run", *(w for m in methods for w in ("-m", m)), "-d", "toy", *TINY)
    drivers = [
        subprocess.Popen(
            words, cwd=world.root.path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    said = [driver.communicate(timeout=1200)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0] * 8, said
    parent, *children = world.plan(*methods, settings={"train.epochs": "1"})
    for one in (parent, *children):
        assert (
            sum(
                f"{one.spec.id}" in line and ": running" in line
                for text in said
                for line in text.splitlines()
            )
            == 1
        )
        record = FitRecord.read(fit_folder(world.root.cache, one.spec.fit.id))
        assert record.spent.attempts == 1
    stages = FitRecord.read(fit_folder(world.root.cache, parent.spec.fit.id)).spent
    assert stages.stages_built  # the identifiers, by whoever came first


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_ranks(world: World) -> None:
    """Twenty times: killed without a word at some moment, then the same command."""
    words = ("run", "-m", "sft", "-d", "toy", "--set", "train.epochs=8", "--set", "train.checkpoints=6")
    start = time.monotonic()
    assert world.recbench(*words).returncode == 0
    seconds = time.monotonic() - start
    folder = next(world.root.runs.glob("[0-9a-f]*"))
    topk, ranks = ((folder / name).read_bytes() for name in ("topk.npz", "ranks.npz"))
    draw, interrupted, attempts = random.Random(0), 0, 0
    for _ in range(20):
        shutil.rmtree(world.root.runs)
        shutil.rmtree(world.root.cache / "fits")
        driver = subprocess.Popen(
            world.command(*words), cwd=world.root.path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0, seconds))
        interrupted += driver.poll() is None
        driver.kill()
        driver.wait()
        again = world.recbench(*words)
        assert again.returncode == 0, again.stderr
        assert (folder / "topk.npz").read_bytes() == topk
        assert (folder / "ranks.npz").read_bytes() == ranks
        attempts += bundle.load(folder).efficiency["attempts"]
    assert interrupted > 10
    assert attempts > 20  # those that were killed count
