"""`recbench doctor` on the command line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import World


def findings(text: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(text)}


def test_every_check_answers_and_nothing_is_changed(world: World) -> None:
    before = sorted(world.root.path.rglob("*"))
    done = world.recbench("doctor", "--json")
    found = findings(done.stdout)
    assert done.returncode == (3 if any(one["status"] == "missing" for one in found.values()) else 0)
    assert {"python", "packages", "gpus", "processor", "root", "data", "mlflow"} <= set(found)
    assert found["root"]["found"].startswith(str(world.root.path))
    assert found["data"]["found"].endswith("has toy")
    assert sorted(world.root.path.rglob("*")) == before


def test_a_missing_thing_is_named_with_what_mends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_MLFLOW", "http://127.0.0.1:1")
    done = world.recbench("doctor", "--offline", "-b", "recbench-tests/none")
    assert done.returncode == 3
    assert "nobody answers at 127.0.0.1:1" in done.stdout
    assert "backbone: try: hf download recbench-tests/none" in done.stdout
    done = world.recbench("doctor", "-b", "tinny")
    assert done.returncode == 2
    assert "did you mean 'tiny'?" in done.stderr


def test_a_backbone_in_the_offline_cache_is_found(world: World, tmp_path: Path) -> None:
    model = tmp_path / "hub" / "models--a--b"
    snapshot = model / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("c0ffee")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (snapshot / name).write_bytes(b"x" * 2048)
    words = world.command("doctor", "--offline", "-b", "a/b", "--json")
    environ = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert findings(done.stdout)["backbone"]["found"] == "a/b is in the cache, 2.0 KiB of weights"


def test_without_slurm_the_commands_that_are_not_there_are_named(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = world.recbench("doctor", "--on", "slurm", "--json")
    assert done.returncode == 3
    assert findings(done.stdout)["slurm"]["found"].startswith("no sbatch, srun,")
