"""The reproducibility checklist: every topic, from the manifests of a method's runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.board import build
from recbench.board.checklist.entries import ELSEWHERE, NO_MODEL, ORDER, UNKNOWN, checklist
from recbench.board.checklist.forms import latex, markdown
from recbench.board.model import Board
from recbench.results.bundle import Bundle

from .conftest import TINY

MakeBundle = Callable[..., Bundle]


def values(runs: list[Bundle]) -> dict[str, str]:
    return {f"{entry.topic}: {entry.variable}": entry.value for entry in checklist(runs)}


@pytest.fixture
def ilrec(make_bundle: MakeBundle) -> list[Bundle]:
    digests = {"identifiers": "ab" * 32, "prompt": "cd" * 32}
    return [
        make_bundle(
            "ilrec",
            [1, 0, 2],
            seed=seed,
            llm={**TINY, "backbone_digest": "ef" * 32},
            label="ilrec[beta=0.2]",
            digests=digests,
            parent=f"{seed}" * 12,
            facts={"num_parameters": {"all": 11, "trainable": 3}, "source": "residual-kmeans"},
            hardware={"cpu": "one", "cores": 2, "memory_bytes": 2**34, "gpus": [{"name": "H200"}]},
        )
        for seed in (0, 1)
    ]


def test_a_language_model_says_all_that_audits_ask_for(ilrec: list[Bundle]) -> None:
    found = values(ilrec)
    assert found["backbone: model"] == "tiny"
    assert found["backbone: revision"] == "content of its weights, sha256 efefefefefef"
    assert found["backbone: parameters"] == "11 all, 3 trainable"
    assert found["prompt: prompt"] == "template sha256 cdcdcdcdcdcd"
    assert found["prompt: item identifiers"] == "residual-kmeans; codes=64; sha256 abababababab"
    assert found["training: method"] == "ilrec, version 1; beta=0.1"
    assert "epochs=4.0" in found["training: settings"]
    assert found["training: starts from"] == f"fit {'0' * 12} | fit {'1' * 12}"
    assert found["decoding: ranker"] == "exact: budget=100"
    assert found["splits: held out"] == "leave-one-out, histories of 20 items at most (protocol ilrec v1)"
    assert found["splits: candidates"] == ("catalogue; seen items: ranked too; 20 places; 3 test requests")
    assert found["seeds: seeds"] == "0, 1"
    assert found["tuning: values that are not defaults"] == "beta=0.2"
    assert found["hardware: machine"] == "one, 2 cores, 16 GiB, H200"
    assert found["cost: seconds, parent and stages included"] == "2.5, mean of 2 runs"  # 2.0 and 0.5
    assert found["code: harness"].endswith("commit c0ffee")
    assert found["code: method"].startswith("toys 1.0, code eeeeeeeeeeee")
    assert {name.partition(":")[0] for name in found} == set(ORDER)


def test_what_a_run_does_not_know_is_said(make_bundle: MakeBundle) -> None:
    found = values([make_bundle("popularity", [1, 0], seed=None)])
    assert found["backbone: model"] == found["prompt: prompt"] == NO_MODEL
    assert found["seeds: seeds"] == "one fit for all seeds"
    assert found["cost: GPU seconds"] == UNKNOWN
    theirs = values([make_bundle("theirs", [1, 0], external=True)])
    assert theirs["backbone: model"] == theirs["cost: trained tokens"] == ELSEWHERE
    assert theirs["hardware: machine"] == theirs["tuning: values that are not defaults"] == ELSEWHERE


def test_a_cost_is_the_mean_that_the_board_has(make_bundle: MakeBundle) -> None:
    costs: list[dict[str, Any]] = [
        {
            "seconds": {"fit": 3.0, "rank": 1.0},
            "gpu_seconds": {"fit": 2.0, "rank": 1.0},
            "trained_tokens": 10,
        },
        {"seconds": {"total": 6.0, "fit": 5.0}, "gpu_seconds": 5.0, "trained_tokens": float("nan")},
    ]
    runs = [make_bundle("sft", [1, seed], seed=seed, efficiency=cost) for seed, cost in enumerate(costs)]
    [row] = build.build(runs).tables[0].rows
    assert (row.costs["seconds"], row.costs["gpu_seconds"], row.costs["trained_tokens"]) == (5.0, 4.0, None)
    found = values(runs)
    assert found["cost: seconds, parent and stages included"] == "5.0, mean of 2 runs"  # 4 and 6
    assert found["cost: GPU seconds"] == "4.0, mean of 2 runs"  # 3 by phases, and 5
    assert found["cost: trained tokens"] == UNKNOWN


def test_a_board_has_the_checklist_of_each_row(ilrec: list[Bundle]) -> None:
    board = build.build(ilrec)
    [row] = board.tables[0].rows
    assert list(row.checklist) == checklist(ilrec)
    assert Board.from_json(json.loads(json.dumps(board.to_json()))) == board


def test_markdown_has_a_line_an_entry_and_every_topic_once(ilrec: list[Bundle]) -> None:
    text = markdown(checklist(ilrec), "a|b_c")
    assert text.startswith("**Reproducibility of a\\|b\\_c**")
    lines = text.splitlines()[4:]
    assert len(lines) == len(checklist(ilrec))
    assert [line.split("|")[1].strip() for line in lines if line.split("|")[1].strip()] == list(ORDER)


@pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="needs pdflatex with booktabs; on Debian: apt install texlive-latex-recommended",
)
def test_latex_compiles_and_fits_the_page(ilrec: list[Bundle], tmp_path: Path) -> None:
    page = r"\documentclass{article}\usepackage[a4paper,margin=2.5cm]{geometry}\usepackage{booktabs}"
    table = latex(checklist(ilrec, "12 trials_of 50% & more"), "ilrec[beta=0.2] ~ {x}")
    (tmp_path / "list.tex").write_text(rf"{page}\begin{{document}}{table}\end{{document}}")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "list.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
