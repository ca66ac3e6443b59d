"""Boards in forms that a width ends: no broken name on a terminal, eight columns in Markdown."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from recbench.base.fitting import Fitted, TextColumn
from recbench.board import build, render
from recbench.board.model import Board
from recbench.board.render import text
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]

LONG = "ilrec[beta=0.2,gamma=0.25,train.epochs=3.0]"
BLOCKS: dict[str, dict[str, Any]] = {
    "semantic-id": {"paradigm": "semantic-id", "backbone": "tiny", "train": {"lora_rank": 0}},
    "title": {"paradigm": "title", "backbone": "tiny", "train": {"lora_rank": 0}},
}


def shown(board: Board, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render.terminal(board))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def runs(make_bundle: MakeBundle) -> list[Bundle]:
    """sft and a method of a long name in two blocks, and two baselines, over three seeds."""
    rng = np.random.default_rng(0)
    found = [make_bundle("popularity", rng.integers(0, 21, 90).tolist(), seed=None, certified_share=None)]
    for seed in range(3):
        found.append(make_bundle("sasrec", rng.integers(0, 9, 90).tolist(), seed=seed, certified_share=None))
        for block in BLOCKS.values():
            found.append(make_bundle("sft", rng.integers(0, 9, 90).tolist(), seed=seed, llm=block))
            found.append(
                make_bundle("ilrec", rng.integers(0, 3, 90).tolist(), seed=seed, llm=block, label=LONG)
            )
    return found


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_terminal_breaks_no_name_and_no_difference(runs: list[Bundle], width: int) -> None:
    board = build.build(runs, reference="sasrec")
    said = shown(board, width)
    assert max(map(len, said.splitlines())) <= width
    [table] = board.tables
    for row in table.rows:
        lines = [line for line in said.splitlines() if table.title_of(row) in line]
        assert lines, table.title_of(row)
        place = table.view(board.metric).rows[table.rows.index(row)]
        assert f"{place.mean:.4f}" in said
    for _, _, one in text.shown(table):
        assert f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}] {one.verdict}" in said


def test_a_narrow_table_leaves_out_columns_from_the_right_and_says_so() -> None:
    table = Fitted(
        "one",
        [TextColumn("method", is_text=True), TextColumn("score"), TextColumn("seconds", needed=False)],
        [["a-name-of-20-letters", "0.1234", "12.0"]],
    )
    wide, narrow, least = (_printed(table, width) for width in (40, 32, 20))
    assert "seconds" in wide.splitlines()[1]
    assert "no room here for: seconds" in narrow
    assert "a-name-of-20-letters  0.1234" in narrow
    assert least == "one\na-name-of-20-letters\n  score 0.1234,\n  seconds 12.0\n"


def test_a_name_longer_than_the_screen_breaks_between_its_settings() -> None:
    columns = [TextColumn("method", is_text=True), TextColumn("vs", is_text=True), TextColumn("score")]
    said = _printed(Fitted("", columns, [[LONG, "sft", "0.1"]]), 30)
    assert said == "ilrec[beta=0.2, gamma=0.25,\ntrain.epochs=3.0]\n  vs sft\n  score 0.1\n"


def _printed(table: Fitted, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def compiled(board: Board, folder: Path) -> str:
    """What pdflatex says of the board on a page of A4."""
    page = r"\documentclass{article}\usepackage[a4paper,margin=2.5cm]{geometry}\usepackage{booktabs}"
    (folder / "board.tex").write_text(rf"{page}\begin{{document}}{render.latex(board)}\end{{document}}")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "board.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="needs pdflatex with booktabs; on Debian: apt install texlive-latex-recommended",
)
def test_latex_of_long_names_and_of_sixty_rows_fits_its_pages(
    runs: list[Bundle], make_bundle: MakeBundle, tmp_path: Path
) -> None:
    wide = build.build(runs, reference="sft")
    assert "Overfull" not in compiled(wide, tmp_path)
    assert r"& NDCG@10 & HR@5 \\" in render.latex(wide)  # the board's metric, and what there is room for
    rng = np.random.default_rng(0)
    many = [
        make_bundle("[sasrec]", rng.integers(0, 9, 40).tolist(), label=f"[sasrec] {n}", beta=n)
        for n in range(60)
    ]
    board = build.build(many)
    said = compiled(board, tmp_path)
    assert "Overfull" not in said
    assert "too large" not in said
    made = render.latex(board)
    assert made.count(r"\begin{table}") == 2
    assert all(made.count(f"{{}}[sasrec] {n}\\") == 1 for n in range(60))


def test_markdown_has_eight_columns_at_most(runs: list[Bundle]) -> None:
    made = render.markdown(build.build(runs, reference="sasrec"))
    [head] = [line for line in made.splitlines() if line.startswith("| rank")]
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "rank",
        "method",
        "NDCG@10",
        "vs parent",
        "vs sasrec",
        "seeds",
        "certified",
        "seconds",
    ]


def test_pairs_with_sft_compare_baselines_with_that_of_every_block_and_print_nothing_twice(
    runs: list[Bundle],
) -> None:
    board = build.build(runs, reference="sft")
    [table] = board.tables
    rows = {table.title_of(row): row for row in table.rows}
    blocks = ("semantic-id · tiny", "title · tiny")
    assert table.references == ("parent", "sft", *(f"sft · {block}" for block in blocks))
    # two baselines with two sft, two children with their parents
    assert table.num_tests == 6
    for name in ("sasrec", "popularity"):
        against = {key: table.title_of(table.rows[one.against]) for key, one in rows[name].vs.items()}
        assert against == {f"sft · {block}": f"sft · {block}" for block in blocks}
    child = rows[f"{LONG} · title · tiny"]
    assert child.vs["parent"].difference == child.vs["sft"].difference
    lines = [text.difference_line(*one, table) for one in text.shown(table)]
    assert len(lines) == len(set(lines)) == table.num_tests
    assert not any("is not compared with" in note for note in table.notes)
    made = render.markdown(board)
    assert made.count("as vs parent") == 2
    difference = f"{child.vs['sft'].difference:+.4f} [{child.vs['sft'].low:+.4f}"
    for form in (made.replace("\\", ""), shown(board, 140)):
        in_headline = form.count(f"by {difference}")
        assert form.count(difference) == in_headline + 1


def test_a_block_with_two_rows_of_the_reference_compares_no_baseline_with_it(
    runs: list[Bundle], make_bundle: MakeBundle
) -> None:
    extra = [
        make_bundle("sft", [1, 0, 2] * 30, seed=seed, llm=BLOCKS["title"], beta=0.5) for seed in range(3)
    ]
    [table] = build.build([*runs, *extra], reference="sft").tables
    assert "sasrec is not compared with sft: several rows of other settings bear that label" in table.notes
