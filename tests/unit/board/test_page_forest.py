"""The main view of the page in a real browser: the answer, the forest, what follows a choice."""

from __future__ import annotations

from typing import Any

import pytest

from recbench.board import build, render
from recbench.board.headline import headline
from recbench.board.model import Board

from .reader import Reader, row_number

FIRST = ["rank", "method", "NDCG@10", "vs parent", "vs popularity", "seconds"]


def test_the_columns_that_answer_come_first_and_the_others_on_demand(reader: Reader) -> None:
    assert reader.heads() == FIRST
    reader.show("hr@10", "seeds")
    assert reader.heads() == [*FIRST[:5], "seeds", "HR@10", "seconds"]
    reader.show("hr@10")
    assert "HR@10" not in reader.heads()


def test_rows_stand_by_block_under_its_name(reader: Reader) -> None:
    assert [head.text for head in reader.all(".main .group")] == [
        "semantic-id · tiny",
        "Without a language model, or made elsewhere",
    ]
    names = reader.names()
    assert names[0] == "ilrec"
    assert set(names[3:]) == {"sasrec", "popularity"}
    reader.ungroup()
    assert not any(head.is_displayed() for head in reader.all(".main .group"))


def test_the_zone_holds_the_differences_that_are_not_found(
    reader: Reader, page_board: dict[str, Any]
) -> None:
    found = page_board["tables"][0]["rows"][row_number(page_board, "ilrec")]["vs"]["parent"]
    [cell] = reader.all("[data-row='0'] td[data-key=parent]")

    def width(selector: str) -> float:
        [mark] = reader.all(selector, cell)
        ends = [float(mark.get_attribute(end) or 0) for end in ("x1", "x2")]
        return float(mark.get_attribute("width") or 0) if selector == ".zone" else ends[1] - ends[0]

    unit = width(".single") / (found["high"] - found["low"])
    assert width(".zone") == pytest.approx(2 * found["smallest_difference"] * unit, abs=0.3)
    together = found["high_together"] - found["low_together"]
    assert width(".together") == pytest.approx(together * unit, abs=0.3)


def test_the_bar_spans_the_ranks_that_a_row_may_have(reader: Reader, page_board: dict[str, Any]) -> None:
    ranks = page_board["tables"][0]["views"]["all"]["ndcg@10"]["ranks"]
    for row, (first, last) in enumerate(ranks):
        [bar] = reader.all(f"[data-row='{row}'] .range")
        ends = [float(bar.get_attribute(end) or 0) for end in ("x1", "x2")]
        assert ends == pytest.approx([4 + 13 * (first - 1), 4 + 13 * (last - 1)], abs=0.02)


def test_answer_title_and_every_column_follow_the_choice(reader: Reader, page_board: dict[str, Any]) -> None:
    board = Board.from_json(page_board)
    [answer] = reader.all(".answer")
    assert answer.text == headline(board.tables[0], board)
    reader.show("hr@10", "users")
    before = reader.column("hr@10")["sft"]
    users = page_board["tables"][0]["views"]["tail"]["mrr@20"]["users"]
    reader.choose("metric", "MRR")
    reader.choose("cutoff", "20")
    reader.choose("stratum", f"tail: rare items ({users})")
    assert reader.driver.title == "toy, protocol ilrec v1 · MRR@20, tail users · recbench leaderboard"
    assert answer.text.startswith("MRR@20, tail users, exploratory: ")
    assert "beyond popularity" in answer.text
    mean = page_board["tables"][0]["views"]["tail"]["hr@10"]["mean"][row_number(page_board, "sft")]
    assert reader.column("hr@10")["sft"] == f"{mean:.4f}"
    assert set(reader.column("users").values()) == {"–"}  # won, tied and lost are known of all users only
    reader.choose("stratum", f"all ({page_board['tables'][0]['num_requests']})")
    assert reader.column("hr@10")["sft"] == before
    reader.choose("metric", "NDCG")
    reader.choose("cutoff", "10")
    assert answer.text == headline(board.tables[0], board)


def test_a_picture_names_only_the_part_of_a_block_that_tells_it_apart(
    make_bundle: Any, browser: Any, tmp_path: Any
) -> None:
    runs = [
        make_bundle("sft", [1, 0, rank], llm={"paradigm": paradigm, "backbone": "tiny", "prompt": "p1"})
        for rank, paradigm in enumerate(("semantic-id", "title"))
    ]
    (tmp_path / "index.html").write_text(render.html(build.build(runs)))
    reader = Reader(browser, tmp_path / "index.html")
    names = {node.text for node in reader.all("[data-chart=cost] text.halo")}
    assert names == {"sft · semantic-id", "sft · title"}
    assert "sft · title · tiny" in reader.options("reference")
