"""`recbench show RUN --checklist`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbench.results.bundle import Bundle


def test_the_checklist_of_a_run_has_all_its_seeds_and_the_trials_of_its_method(
    make_bundle: Callable[..., Bundle], recbench: Callable[..., Any], tmp_path: Path
) -> None:
    runs = [make_bundle("sasrec", [1, 0, 2], seed=seed) for seed in (1, 0)]
    make_bundle("sasrec", [1, 0, 2], seed=3, beta=0.5)  # another method by its parameters
    trials: list[dict[str, Any]] = [
        {
            "run": f"{number:012d}",
            "status": "complete",
            "ndcg@10": number / 10,
            "trial": number,
            "asked": f"sasrec:beta={number}",
            "spec": runs[0].spec.to_json(),
        }
        for number in range(3)
    ]
    other = {**trials[0], "run": "f" * 12, "spec": {**trials[0]["spec"], "protocol": {"name": "soft"}}}
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "sasrec-toy-0.jsonl").write_text(
        "".join(json.dumps(one) + "\n" for one in [*trials, other])
    )
    record = recbench("show", runs[0].id, "--checklist", "--json").json
    found = {f"{one['topic']}: {one['variable']}": one["value"] for one in record["checklist"]}
    assert found["seeds: seeds"] == "0, 1"
    assert found["tuning: budget"] == "3 trials on validation items by NDCG@10; best: sasrec:beta=2"
    assert "| seeds | seeds | 0, 1 |" in recbench("show", runs[0].id, "--checklist", "--form", "markdown").out
    assert r"seeds & \raggedright seeds" in recbench("show", runs[0].id, "--checklist", "--form", "latex").out
    assert "0, 1" in recbench("show", runs[0].id, "--checklist").out
    assert recbench("show", "nothing", "--checklist").code == 2
