"""The script that measures GPUs does all its sections on a CPU, at toy shapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_gpu_script_measures_every_section_on_a_cpu(tmp_path: Path) -> None:
    words = ("--device", "cpu", "--shapes", "toy", "--small", "--out", str(tmp_path / "cpu"))
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "cpu.json").read_text())
    weights: dict[str, list[dict[str, Any]]] = {"fp32": [], "bf16": []}
    for row in found["equal"]:
        weights[row["weights"]].append(row)
    assert [row["method"] for row in weights["bf16"]] == ["sft", "sdpo", "ilrec"]
    assert [row["equal items"] for row in weights["fp32"]] == [1, 1, 1]
    assert all(0 < row["most apart (nats)"] < 0.125 for row in weights["bf16"])
    assert found["left out"] == ["No FSDP: it shards over GPUs only."]
    one, two = found["processes"]
    assert (one["steps"], two["steps"]) == (4, 4)
    assert two["equal items"] == 1
    assert two["weights apart"] < 1e-3
    ways = {row["way"]: row for row in found["search"]}
    assert list(ways) == ["generate 20", "beam 20", "exact"]
    assert ways["exact"]["certified"] == 1
    assert all(row["users/s"] > 0 and row["peak GiB"] > 0 for row in ways.values())
    methods = {row["method"]: row for row in found["steps"]}
    assert list(methods) == ["sft", "sdpo", "ilrec"]
    assert [methods["sft"][column] for column in ("times sft", "least", "most")] == [1, 1, 1]
    assert methods["sdpo"]["tokens a step"] > methods["sft"]["tokens a step"]
    assert (tmp_path / "cpu.md").read_text() in done.stdout + "\n"
