"""A small model taught by the block's language model, from the command to the board's row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recbench.board.rows import parent_of, rows_of
from recbench.comparison.block import block_of
from recbench.results import bundle

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.mark.slow
def test_dllm2rec_learns_from_the_blocks_sft_and_is_charged_for_it(world: World) -> None:
    done = world.recbench(
        "run", "-m", "dllm2rec:epochs=2", "-d", "toy", "--set", "train.epochs=1", "--seed", "3"
    )
    assert done.returncode == 0, done.stderr
    runs = {run.label: run for run in map(bundle.load, bundle.find(world.root.runs))}
    sft, student = runs["sft[train.epochs=1.0]"], runs["dllm2rec[epochs=2]"]
    assert student.spec.fit.parent == sft.spec.fit.id
    assert student.seed == 3

    ours, theirs = block_of(student), block_of(sft)
    assert ours is not None
    assert theirs is not None
    assert {part for part in ours if ours[part] != theirs[part]} == {"ranker"}
    rows = rows_of([sft, student])
    assert parent_of(rows[1], rows) is rows[0]

    cost, parents = student.efficiency, sft.efficiency
    assert cost["seconds"]["parent"] == parents["seconds"]["fit"]
    assert cost["generated_tokens"] > 0
    assert any(name.startswith("lists/") for name in cost["stage_seconds"])
