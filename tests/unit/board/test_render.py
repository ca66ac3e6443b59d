from __future__ import annotations

import copy
import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from recbench.board import build, render
from recbench.board.headline import headline
from recbench.board.model import Board
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]

LLM = {"paradigm": "semantic-id", "backbone": "tiny", "prompt": "p1", "identifiers": {"codes": 64}}
HOSTILE = "a|b[bold]<script>alert(1)</script>\x1b[31m`_*"


@pytest.fixture
def board(make_bundle: MakeBundle) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    runs = [
        make_bundle("popularity", rng.integers(0, 21, 80).tolist(), seed=None, certified_share=None),
        make_bundle("sft", rng.integers(0, 21, 80).tolist(), llm=LLM, certified_share=0.9),
        make_bundle("ilrec", [1] * 70 + [0] * 10, llm=LLM, label="ilrec[beta=0.2]"),
        make_bundle("gru4rec", [], failure={"class": "oom", "reason": "needed 80 GiB"}),
    ]
    return build.build(runs, command="recbench leaderboard build --metric ndcg@10").to_json()


@pytest.fixture
def hostile(make_bundle: MakeBundle) -> dict[str, Any]:
    runs = [
        make_bundle("popularity", [1, 0, 2], seed=None),
        make_bundle("ilrec", [1, 0, 3], label=HOSTILE),
        make_bundle("sasrec", [], label=HOSTILE, failure={"class": "data", "reason": HOSTILE}),
    ]
    return build.build(runs).to_json()


def rendered(form: Callable[[Board], Any], board: dict[str, Any]) -> Any:
    """A form of the board that `board.json` holds."""
    return form(Board.from_json(board))


def on_terminal(board: dict[str, Any], width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(rendered(render.terminal, board))
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


class Page(HTMLParser):
    """The tags, the cells of the boards' tables and the addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.in_board = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in ("meta", "input"):
            self.open.append(tag)
        if tag == "table":
            self.in_board = ("class", "main") in attrs
        if tag == "td" and self.in_board:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "input"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open and self.in_board:
            self.cells[-1] += data.strip()


def md_cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_each_form_is_made_from_json_alone_and_byte_for_byte_the_same(board: dict[str, Any]) -> None:
    stored = json.loads(json.dumps(board))
    untouched = copy.deepcopy(stored)
    assert rendered(render.markdown, stored) == rendered(render.markdown, board)
    assert rendered(render.html, stored) == rendered(render.html, board)
    assert rendered(render.latex, stored) == rendered(render.latex, board)
    assert on_terminal(stored) == on_terminal(board)
    assert stored == untouched


def test_the_answer_stands_before_the_table_in_every_form(board: dict[str, Any]) -> None:
    made = Board.from_json(board)
    answer = headline(made.tables[0], made)
    assert answer.startswith("ilrec[beta=0.2] beats its parent sft by +")
    markdown = rendered(render.markdown, board).replace("\\", "")
    assert markdown.index(answer) < markdown.index("| rank")
    page = html.unescape(rendered(render.html, board))
    assert page.index(answer) < page.index("<table")
    shown = on_terminal(board, 400)
    assert shown.index(answer) < shown.index("rank")


def test_markdown_says_effect_and_interval_before_p(board: dict[str, Any]) -> None:
    head, rule, *rows = md_cells(rendered(render.markdown, board))
    assert set(rule) == {"---"}
    assert {len(row) for row in rows} == {len(head)}
    row = dict(zip(head, rows[0], strict=True))
    cell = board["tables"][0]["rows"][0]["vs"]["parent"]
    assert row["method"] == r"ilrec\[beta=0.2\]"
    assert row["vs parent"].replace("\\", "") == (
        f"{cell['difference']:+.4f}† [{cell['low']:+.4f}, {cell['high']:+.4f}] better, p < 0.001"
    )
    assert row["NDCG@10"] == "0.8750"  # 70 of 80 at rank 1
    assert row["vs popularity"].startswith(r"\~")  # another block: a difference between systems


def test_a_single_seed_and_uncertified_rankings_are_marked_and_explained(board: dict[str, Any]) -> None:
    for text in (rendered(render.markdown, board), rendered(render.html, board), on_terminal(board)):
        assert "1†" in text
        assert "these checkpoints only" in text
        assert "90.0 %‡" in text
        assert "one fit" in text


def test_single_seeds_show_the_marked_ranks_of_checkpoints(board: dict[str, Any]) -> None:
    ranks = [row[0] for row in md_cells(rendered(render.markdown, board))[2:]]
    assert ranks == ["1†", "2–3†", "2–3†"]
    assert Page(rendered(render.html, board)).cells[0] == "1†"
    for text in (rendered(render.markdown, board), rendered(render.html, board), on_terminal(board)):
        assert "they count in no rank of methods" in text
        assert "the ranks that a row may have" not in text
    assert any(re.match(r"\s*1†\s+ilrec", line) for line in on_terminal(board).splitlines())


def test_two_seeds_show_a_dash_for_the_rank_and_say_why(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("ilrec", [1] * 70 + [0] * 10, seed=seed) for seed in range(2)]
    runs.append(make_bundle("popularity", [0] * 70 + [3] * 10, seed=None))
    found = build.build(runs).to_json()
    assert [row[0] for row in md_cells(rendered(render.markdown, found))[2:]] == ["–", "–"]
    assert "two seeds are too few" in rendered(render.markdown, found)
    assert r"\textbf" not in rendered(render.latex, found)


def test_several_seeds_show_ranks_and_letters_only_where_all_pairs_are_the_family(
    several: dict[str, Any],
) -> None:
    assert [row[0] for row in md_cells(rendered(render.markdown, several))[2:]] == ["1", "2"]
    all_pairs = {**several, "pairs": "all"}
    assert [row[0] for row in md_cells(rendered(render.markdown, all_pairs))[2:]] == ["1 a", "2 b"]
    for text in (rendered(render.markdown, several), rendered(render.html, several), on_terminal(several)):
        assert "the ranks that a row may have" in text
        assert "says nothing about the methods" not in text


@pytest.fixture
def several(make_bundle: MakeBundle) -> dict[str, Any]:
    runs = [make_bundle("ilrec", [1] * 70 + [0] * 10, seed=seed) for seed in range(3)]
    runs.append(make_bundle("popularity", [0] * 70 + [3] * 10, seed=None))
    return build.build(runs).to_json()


def test_latex_marks_the_best_group_bold_and_the_second_underlined(several: dict[str, Any]) -> None:
    ilrec, popularity = [
        line for line in rendered(render.latex, several).splitlines() if line.endswith(r"\\")
    ][1:]
    # ilrec: 70 of 80 at rank 1; popularity: 10 of 80 at rank 3, NDCG 1/2
    assert r"\textbf{0.8750}{\scriptsize$\pm$.0000}" in ilrec
    assert r"\underline{0.0625}" in popularity
    assert "Bold: the best row and those not worse" in rendered(render.latex, several)


def test_latex_defines_the_marks_that_it_uses_and_marks_differences_of_checkpoints(
    board: dict[str, Any],
) -> None:
    text = rendered(render.latex, board)
    body, caption = text.partition(r"\midrule")[2], text.partition(r"\begin{tabular}")[0]
    assert r"ilrec[beta=0.2]\textsuperscript{\dag}" in body
    assert r"sft\textsuperscript{\dag}\textsuperscript{\ddag}" in body
    assert r"\textsuperscript{\dag} one seed" in caption
    assert r"\textsuperscript{\ddag} more than 1 \% of the rankings" in caption
    assert r"\S" not in text  # no ranking made elsewhere
    ilrec = next(line for line in body.splitlines() if line.startswith("ilrec"))
    assert r"\textbf{0.8750}" in ilrec  # the best of the checkpoints, as the mark at its name says
    assert re.search(r"\$\+0\.\d{4}\$\\textsuperscript\{\\dag\} \{\\scriptsize", ilrec)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_every_form_says_what_is_noted_of_a_ranking_made_elsewhere(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle("popularity", [1, 0, 2], seed=None),
        make_bundle("theirs", [1, 1, 0], external=True, ranking={"notes": ["3 of 3 users stop early"]}),
    ]
    board = build.build(runs).to_json()
    for text in (
        on_terminal(board),
        rendered(render.markdown, board),
        rendered(render.html, board),
        rendered(render.latex, board),
    ):
        assert "theirs: 3 of 3 users stop early" in text


LATEX = next((name for name in ("pdflatex", "tectonic") if shutil.which(name)), None)


@pytest.mark.skipif(
    LATEX is None,
    reason="needs pdflatex with booktabs, or tectonic; on Debian: apt install texlive-latex-recommended",
)
def test_latex_compiles_with_booktabs_alone_whatever_the_names(
    board: dict[str, Any], several: dict[str, Any], hostile: dict[str, Any], tmp_path: Path
) -> None:
    both = "".join(rendered(render.latex, one) for one in (board, several, hostile))
    page = r"\documentclass{article}\usepackage[a4paper,margin=2.5cm]{geometry}\usepackage{booktabs}"
    document = rf"{page}\begin{{document}}\small {both}\end{{document}}"
    (tmp_path / "board.tex").write_text(document)
    options = ["-interaction=nonstopmode", "-halt-on-error"] if LATEX == "pdflatex" else ["--print"]
    words = [str(LATEX), *options, "board.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "board.pdf").stat().st_size > 0
    assert "Overfull" not in done.stdout  # as wide as a page


def test_every_form_names_what_was_left_out_and_the_smallest_difference(board: dict[str, Any]) -> None:
    found = [cell["smallest_difference"] for row in board["tables"][0]["rows"] for cell in row["vs"].values()]
    smallest = f"{min(found):.4f} to {max(found):.4f}"
    for text in (rendered(render.markdown, board), rendered(render.html, board), on_terminal(board)):
        assert "needed 80 GiB" in text
        assert smallest in text
    assert smallest in rendered(render.latex, board)
    assert "recbench leaderboard build --metric ndcg@10" in rendered(render.html, board)
    assert "recbench leaderboard build --metric ndcg@10" in rendered(render.markdown, board)


def test_a_difference_is_said_in_full(board: dict[str, Any]) -> None:
    cell = next(row for row in board["tables"][0]["rows"] if row["method"] == "ilrec")["vs"]["parent"]
    relative, size = 100 * cell["relative"], cell["effect_size"]
    line = (
        f"ilrec[beta=0.2] − sft (parent): {cell['difference']:+.4f}† ({relative:+.1f} %), d_z {size:+.3f}; "
    )
    line += "paired t p < 0.001, sign-flip permutation p < 0.001, by Holm < 0.001; "
    low, high = cell["smallest_range"]
    line += f"finds {cell['smallest_difference']:.4f} [{low:.4f}, {high:.4f}] with 80 % power; users "
    line += f"{cell['users']['won']} won, {cell['users']['tied']} tied, {cell['users']['lost']} lost; "
    line += "effect of the method, of these checkpoints only"
    assert line in rendered(render.markdown, board).replace("\\", "")
    assert line in html.unescape(rendered(render.html, board))


def test_a_terminal_of_80_columns_shows_every_difference_whole(board: dict[str, Any]) -> None:
    text = on_terminal(board, width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "ilrec[beta=0.2]" in text
    for row in board["tables"][0]["rows"]:
        for cell in row["vs"].values():
            assert (
                f"{cell['difference']:+.4f}† [{cell['low']:+.4f}, {cell['high']:+.4f}] {cell['verdict']}"
                in text
            )


def test_html_is_well_formed_and_asks_the_network_for_nothing(board: dict[str, Any]) -> None:
    text = rendered(render.html, board)
    page = Page(text)
    assert page.open == []
    assert page.addresses == []
    plain = text.replace('http-equiv="Content-Security-Policy"', "").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in plain
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_markdown_shows_cells_of_the_page(board: dict[str, Any]) -> None:
    _, _, *rows = md_cells(rendered(render.markdown, board))
    shown = Page(rendered(render.html, board)).cells
    wide = [
        shown[start : start + len(shown) // len(rows)]
        for start in range(0, len(shown), len(shown) // len(rows))
    ]
    for row, cells in zip(rows, wide, strict=True):
        assert [cell for cell in row if cell.replace("\\", "") not in cells] == []


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb (WCAG 2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_all_text_of_the_page_stands_out_from_its_ground(board: dict[str, Any]) -> None:
    schemes = re.findall(r":root {(.*?)}", rendered(render.html, board), re.DOTALL)
    assert len(schemes) == 3  # light, dark and on paper
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3}(?:[0-9a-f]{3})?);", scheme)) for scheme in schemes]
    for own in found:
        colours = found[0] | own
        series = [f"c{number}" for number in range(12)]
        grounds = {"paper": ["ink", "soft", "better", "worse", "tie", *series]}
        grounds |= {"row": ["ink", "soft", "better", "worse", "tie"]}
        grounds |= {"better-fill": ["better"], "worse-fill": ["worse"]}
        for ground, names in grounds.items():
            for name in names:
                low, high = sorted(luminance(colours[one]) for one in (ground, name))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def test_names_are_text_in_every_form(hostile: dict[str, Any]) -> None:
    page = Page(rendered(render.html, hostile))
    assert page.tags.count("script") == 2  # the numbers and the program
    assert any("<script>alert(1)</script>" in cell for cell in page.cells)
    head, _, *rows = md_cells(rendered(render.markdown, hostile))
    assert {len(row) for row in rows} == {len(head)}
    assert "<script>" not in rendered(render.markdown, hostile).replace(r"\<script", "")
    text = on_terminal(hostile)
    assert "[bold]" in text
    assert "\x1b" not in text


def test_an_empty_board_says_so() -> None:
    board = build.build([]).to_json()
    for text in (rendered(render.markdown, board), rendered(render.html, board), on_terminal(board)):
        assert "There is no run to rank." in text


def test_a_share_just_below_all_is_not_rounded_up(make_bundle: MakeBundle) -> None:
    board = build.build([make_bundle("ilrec", [1, 0, 2], certified_share=0.9999)]).to_json()
    assert "99.9 %" in rendered(render.markdown, board)
