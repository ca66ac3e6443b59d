"""The script that measures GPUs does all its sections on a CPU, at toy shapes."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def measured(tmp_path: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """What the script says, and what it has written."""
    small = ("--device", "cpu", "--small", "--out", str(tmp_path / "cpu"), *words)
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *small], capture_output=True, text=True, check=False, env=environ
    )
    assert (tmp_path / "cpu.md").read_text() in done.stdout + "\n", done.stderr[-2000:]
    return done, json.loads((tmp_path / "cpu.json").read_text())


@pytest.mark.slow
def test_the_gpu_script_measures_every_section_on_a_cpu(tmp_path: Path) -> None:
    done, found = measured(tmp_path, "--shapes", "nonesuch", "toy")
    # a shape that fails is named, and the others go on
    assert done.returncode == 1
    assert found["failed"] == [f"{part} of nonesuch: KeyError: 'nonesuch'" for part in ("search", "steps")]
    assert found["wrong"] == []
    assert found["left out"] == [
        "no two, FSDP: it shards over GPUs only",
        "no attention: kernels of flex_attention are made for a GPU",
    ]
    weights: dict[str, list[dict[str, Any]]] = {"fp32": [], "bf16": []}
    for row in found["equal"]:
        weights[row["weights"]].append(row)
    assert [row["method"] for row in weights["bf16"]] == ["sft", "sdpo", "ilrec"]
    assert [row["equal items"] for row in weights["fp32"]] == [1, 1, 1]
    assert all(0 < row["most apart (nats)"] < 0.125 for row in weights["bf16"])
    one, two = found["processes"]
    assert (one["steps"], two["steps"]) == (4, 4)
    assert two["equal items"] == 1
    assert two["weights apart"] < 1e-3
    ways = {row["way"]: row for row in found["search"]}
    assert list(ways) == ["generate 20", "beam 20", "exact"]
    assert ways["exact"]["certified"] == 1
    assert all(row["users/s"] > 0 and row["peak GiB"] > 0 for row in ways.values())
    assert all(row["apart (nats)"] < 1e-4 and row["above exact (nats)"] < 1e-4 for row in ways.values())
    methods = {row["method"]: row for row in found["steps"]}
    assert list(methods) == ["sft", "sdpo", "ilrec"]
    assert [methods["sft"][column] for column in ("times sft", "least", "most")] == [1, 1, 1]
    assert (
        methods["sdpo"]["tokens a step"] > methods["sft"]["tokens a step"] > 5 * methods["sft"]["predicted"]
    )
    assert list(found["seconds"])[-1] == "steps of toy"


@pytest.mark.slow
def test_the_gpu_script_names_what_it_has_no_time_for(tmp_path: Path) -> None:
    done, found = measured(tmp_path, "--shapes", "toy", "--sections", "search", "steps", "--minutes", "0")
    assert done.returncode == 0, done.stderr[-2000:]
    assert found["left out"] == [f"no {part} of toy: the 0 minutes are over" for part in ("search", "steps")]
    assert not {"search", "steps"} & found.keys()


@pytest.mark.slow
def test_the_gpu_script_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    ranks, searches = (importlib.import_module(name) for name in ("gpu_ranks", "gpu_search"))
    at = argparse.Namespace(device="cuda", small=False)

    def wrong(function: Any, row: dict[str, Any], **changed: Any) -> int:
        assert list(function(row, at)) == []
        return len(list(function(row | changed, at)))

    fp32 = {
        "method": "sft",
        "weights": "fp32",
        "equal items": 1.0,
        "certified": 1.0,
        "most apart (nats)": 1e-5,
    }
    assert wrong(ranks.wrong_ranks, fp32, **{"equal items": 0.99}) == 1
    assert wrong(ranks.wrong_ranks, fp32, **{"most apart (nats)": 0.01, "certified": 0.9}) == 2
    two = {"processes": "two, DDP", "equal items": 1.0, "weights apart": 1e-5, "marks": 0, "peak GiB": 0.1}
    assert wrong(ranks.wrong_processes, two, **{"weights apart": 3e-3}) == 1
    assert wrong(ranks.wrong_processes, two, **{"equal items": 0.9, "marks": 1, "peak GiB": 0}) == 3
    exact = {"shape": "toy", "way": "exact", "certified": 1.0, "nodes": 130.0}
    exact |= {"apart (nats)": 0.0, "above exact (nats)": 0.0}
    assert wrong(searches.wrong_search, exact, certified=0.99, nodes=201) == 2
    beam = exact | {"way": "beam 20", "certified": 0.0}
    assert wrong(searches.wrong_search, beam, **{"apart (nats)": 0.1, "above exact (nats)": 0.1}) == 2
