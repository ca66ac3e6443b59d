"""Files that the page makes from what it carries, downloaded by a real browser and read again."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.board import build, render
from recbench.board.render.latex import escaped
from recbench.board.render.users import coded
from recbench.exchange import per_user_file
from recbench.protocol import get_protocol
from recbench.results.bundle import Bundle

from .reader import Reader, row_number

MODELS = {"ilrec", "dpo", "sft"}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def records(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_rows_are_saved_in_the_view_that_is_chosen(
    reader: Reader, page_board: dict[str, Any], files: Path
) -> None:
    table = page_board["tables"][0]
    users = table["views"]["tail"]["mrr@20"]["users"]
    reader.choose("metric", "MRR")
    reader.choose("cutoff", "20")
    reader.choose("stratum", f"tail: rare items ({users})")
    reader.choose("reference", "sasrec")
    reader.choose("kind", "with a language model")
    path = reader.download("[data-file=rows]", files)
    assert path.name == "toy-protocol-ilrec-v1-mrr@20-tail-rows.csv"
    lines = records(path)
    assert [line["method"] for line in lines] == [name for name in reader.names() if name in MODELS]
    view = table["views"]["tail"]["mrr@20"]
    by = {row["name"]: (at, row) for at, row in enumerate(table["rows"])}
    for line in lines:
        at, row = by[line["method"]]
        assert float(line["mrr@20"]) == pytest.approx(view["mean"][at], abs=1e-7)
        assert float(line["mrr@20_high"]) == pytest.approx(view["mean"][at] + view["half"][at], abs=2e-7)
        assert float(line["hr@5"]) == pytest.approx(table["views"]["tail"]["hr@5"]["mean"][at], abs=1e-7)
        sasrec = view["mean"][by["sasrec"][0]]
        assert float(line["difference_to_reference"]) == pytest.approx(view["mean"][at] - sasrec, abs=2e-7)
        assert line["vs_reference"] == "sasrec"
        assert float(line["seconds"]) == row["seconds"]
        assert line["users"] == "tail"


def test_the_boards_own_view_is_saved_with_its_own_p(
    reader: Reader, page_board: dict[str, Any], files: Path
) -> None:
    row = page_board["tables"][0]["rows"][row_number(page_board, "ilrec")]
    [line] = [one for one in records(reader.download("[data-file=rows]", files)) if one["method"] == "ilrec"]
    for name, key in (("", "difference"), ("_low", "low"), ("_p_holm", "p_holm")):
        assert float(line[f"difference_to_parent{name}"]) == pytest.approx(row["vs"]["parent"][key], rel=1e-6)
    assert line["difference_to_parent_verdict"] == row["vs"]["parent"]["verdict"]


def test_pairs_are_saved_once_each(reader: Reader, page_board: dict[str, Any], files: Path) -> None:
    lines = records(reader.download("[data-file=pairs]", files))
    names = {frozenset((line["a"], line["b"])) for line in lines}
    assert len(lines) == len(names) == 10  # of five rows
    view = page_board["tables"][0]["views"]["all"]["ndcg@10"]
    at = {row["name"]: number for number, row in enumerate(page_board["tables"][0]["rows"])}
    for line in lines:
        expected = view["mean"][at[line["a"]]] - view["mean"][at[line["b"]]]
        assert float(line["difference"]) == pytest.approx(expected, abs=2e-7)


def test_each_users_rank_is_saved_as_recbench_reads_it(
    reader: Reader, page_board: dict[str, Any], page_made: dict[str, Any], files: Path
) -> None:
    row = page_board["tables"][0]["rows"][0]
    reader.all("[data-row='0'] button.name")[0].click()
    [detail] = [one for one in reader.all(".detail") if one.is_displayed()]
    path = reader.download("button[data-file^=users]", files, detail)
    found = per_user_file.read(path, "ndcg@10")
    assert found.about == {"method": "ilrec", "dataset": "toy", "protocol": "ilrec", "phase": "test"}
    runs = {run.seed: run for run in page_made["runs"] if run.id in row["runs"]}
    assert set(found.values) == set(runs) == {0, 1, 2}
    for seed, values in found.values.items():
        run = runs[seed]
        expected = dict(zip(run.users.tolist(), run.per_request("ndcg@10").tolist(), strict=True))
        assert values == pytest.approx(expected, abs=1e-7)
    ranks = {int(line["rank"]) for line in records(path)}
    assert ranks == set(range(21))
    everybody = records(reader.download("[data-file=users]", files))
    assert len(everybody) == 300 * 13  # users, and runs of the five rows


def test_the_requests_of_a_user_are_told_apart(
    reader: Reader, make_bundle: Callable[..., Bundle], files: Path, tmp_path: Path
) -> None:
    users = ["u0", "u0", "u1", "u1", "u1", "u2"]
    protocol = get_protocol("time-rows").evaluation_part()
    ranks = [[1, 0, 3, 50, 0, 2], [0, 2, 1, 0, 4, 7]]
    runs = [
        make_bundle("sasrec", one, seed=seed, users=users, protocol=protocol)
        for seed, one in enumerate(ranks)
    ]
    (tmp_path / "repeated.html").write_text(render.html(build.build(runs), runs))
    page = Reader(reader.driver, tmp_path / "repeated.html")
    found = per_user_file.read(page.download("[data-file=users]", files), "ndcg@10")
    assert list(found.values[0]) == ["u0", "u0 #2", "u1", "u1 #2", "u1 #3", "u2"]
    assert list(found.user_of.values()) == users
    for seed, run in enumerate(runs):
        assert list(found.values[seed].values()) == pytest.approx(
            run.per_request("ndcg@10").tolist(), abs=1e-7
        )


def test_a_page_that_would_be_too_large_says_the_command(
    reader: Reader, make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = [make_bundle("sasrec", [1, 0, 3, 2], seed=seed) for seed in range(2)]
    board = build.build(runs)
    whole = render.html(board, runs)
    monkeypatch.setattr("recbench.board.render.page.MOST_BYTES", len(whole) - 10)
    (tmp_path / "small.html").write_text(render.html(board, runs))
    assert (tmp_path / "small.html").stat().st_size < len(whole) - 10
    small = Reader(reader.driver, tmp_path / "small.html")
    small.all("[data-row='0'] button.name")[0].click()
    said = f"recbench score {' '.join(board.tables[0].rows[0].runs)} --per-user ranks.csv"
    assert said in small.all(".detail")[0].text
    assert small.all("button[data-file^=users]") == []


def test_misses_are_counted_and_ranks_are_letters() -> None:
    assert coded(np.array([0, 0, 0, 1, 26, 0, 27, 52], dtype=np.int32)) == "3az1AZ"
    assert coded(np.array([], dtype=np.int32)) == ""


def test_latex_is_the_table_as_it_is_shown(reader: Reader, files: Path) -> None:
    reader.show("hr@10")
    reader.choose("kind", "with a language model")
    text = reader.download("[data-file=table]", files).read_text()
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    heads = reader.heads()
    assert len(body) == 3
    assert {line.count("&") for line in body} == {len(heads) - 1}
    shown = [name for name in reader.names() if name in MODELS]
    assert [line.split(" & ")[1] for line in body] == shown
    assert reader.column("hr@10")["ilrec"].replace("±", "$\\pm$") in body[0]
    assert "p $<$ 0.001" in body[0]
    assert "\\caption{toy, protocol ilrec v1: NDCG@10." in text
    assert not re.search(r"(?<!\\)[%#_]", text.partition("\\begin{table}")[2])


@pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="needs pdflatex with booktabs; on Debian: apt install texlive-latex-recommended",
)
def test_a_saved_table_compiles_whatever_the_names(
    browser: Any, make_bundle: Callable[..., Bundle], files: Path, tmp_path: Path
) -> None:
    labels = ["100%_a&b {x} $1 #2 ~^\\", "<b> [bold] ä–β †", "plain"]
    runs = [make_bundle("ilrec", [1, 0, rank], label=label, beta=rank) for rank, label in enumerate(labels)]
    runs += [make_bundle("popularity", [0, 0, 3], seed=None)]
    (tmp_path / "index.html").write_text(render.html(build.build(runs)))
    table = Reader(browser, tmp_path / "index.html").download("[data-file=table]", files).read_text()
    page = r"\documentclass{article}\usepackage[a4paper,margin=2cm]{geometry}\usepackage{booktabs}"
    document = rf"{page}\begin{{document}}\footnotesize {table}\end{{document}}"
    (tmp_path / "table.tex").write_text(document.replace("β", r"$\beta$"))  # a letter of its fonts
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "100" in table
    assert all(escaped(label) in table for label in labels)  # as board.tex has them
    assert r"$<$b$>$ [bold]" in table


def test_a_citation_names_what_was_measured(reader: Reader, page_board: dict[str, Any], files: Path) -> None:
    text = reader.download("[data-file=cite]", files).read_text()
    assert text.count("@misc{") == text.count("\n}\n") == 1
    assert "@misc{recbench-toy-ilrec," in text
    assert "title = {{recbench leaderboard: toy, protocol ilrec v1}}" in text
    assert f"split {page_board['tables'][0]['split'][:12]}" in text


def test_all_numbers_are_saved_as_json(reader: Reader, page_board: dict[str, Any], files: Path) -> None:
    found = json.loads(reader.download("[data-file=numbers]", files).read_text())
    mean = page_board["tables"][0]["views"]["all"]["hr@5"]["mean"]
    assert found["views"]["all"]["hr@5"]["mean"] == pytest.approx(mean, abs=1e-7)
    assert found["metric"] == "ndcg@10"


@pytest.mark.parametrize("chart", ["cost", "groups", "curves", "forest"])
def test_each_picture_is_a_file_of_its_own(reader: Reader, files: Path, chart: str) -> None:
    button = "[data-file=forest]" if chart == "forest" else f"[data-chart={chart}] .save"
    path = reader.download(button, files)
    assert path.suffix == ".svg"
    root = xml.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    words = [node.text for node in root.iter(f"{SVG}text")]
    assert set(words) >= MODELS
    assert "var(" not in path.read_text()
    assert float(root.get("width") or 0) > 300
