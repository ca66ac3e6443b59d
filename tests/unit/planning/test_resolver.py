"""Many selections: what differs in its seed alone is resolved once, and as it would be by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recbench.planning import plan
from recbench.planning.plan import resolver, with_parents
from recbench.planning.resolve import Selection, resolve


@pytest.mark.parametrize("method", ["transition", "sasrec", "sft", "sft-continued", "dpo", "dllm2rec"])
def test_each_selection_is_resolved_as_by_itself(method: str, tmp_path: Path) -> None:
    known = resolver(tmp_path)
    first = Selection(method=method, dataset="ml-100k")
    others = [
        replace(first, seed=2),
        replace(first, settings={"train.epochs": "2"}),
        replace(first, phase="valid"),
    ]
    for selection in [replace(first, seed=1), first, *others]:
        assert known(selection) == resolve(selection, tmp_path)
    pairs = [known(first), known(others[0])]
    assert with_parents(pairs, known) == with_parents(pairs, lambda one: resolve(one, tmp_path))


def test_seeds_are_not_resolved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(selection: Selection, root: Path) -> object:
        asked.append(selection.seed)
        return resolve(selection, root)

    monkeypatch.setattr(plan, "resolve", counted)
    known = resolver(tmp_path)
    runs = [known(Selection(method="dpo", dataset="ml-100k", seed=seed)) for seed in (3, 4, 5)]
    assert [run.seed for run in with_parents(runs, known)] == [3, 3, 4, 4, 5, 5]
    assert asked == [0, 0]  # dpo, and its parent
