"""Five questions that a reader brings to a board, each answered in at most two clicks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbench.board import build, render
from recbench.results.bundle import Bundle

from .conftest import ranks
from .reader import Reader, row_number


class Clicks:
    """A reader's clicks, counted; a choice from a list is two."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.number = reader, 0

    def click(self, selector: str) -> None:
        self.reader.all(selector)[0].click()
        self.number += 1

    def choose(self, control: str, text: str) -> None:
        self.reader.choose(control, text)
        self.number += 2


def test_which_method_is_best_and_is_it_sure(reader: Reader) -> None:
    """Without a click: the sentence, the rank alone in its place, no other row that may be first."""
    assert "ilrec is the best of" in reader.all(".standing")[0].text
    assert reader.column("rank")["ilrec"] == "1"
    assert [name for name, rank in reader.column("rank").items() if rank.startswith("1")] == ["ilrec"]


def test_does_ilrec_beat_sft(reader: Reader, page_board: dict[str, Any]) -> None:
    """Without a click: the headline, and the row's difference with its interval and verdict."""
    found = page_board["tables"][0]["rows"][row_number(page_board, "ilrec")]["vs"]["parent"]
    amount = f"{found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"
    assert f"ilrec beats its parent sft by {amount}" in reader.all(".answer")[0].text
    assert f"{amount} better" in reader.column("parent")["ilrec"]


def test_what_does_it_cost(reader: Reader, page_board: dict[str, Any]) -> None:
    """Without a click the seconds; two show any other cost."""
    row = page_board["tables"][0]["rows"][row_number(page_board, "ilrec")]
    assert reader.column("seconds")["ilrec"] == f"{row['seconds']:,.1f}"
    cell = reader.all("[data-row='0'] td[data-key=seconds]")[0]
    assert cell.is_displayed()
    clicks = Clicks(reader)
    clicks.click(".columns > summary")
    clicks.click("[data-column=certified]")
    assert reader.heads()[-2:] == ["certified", "seconds"]
    assert clicks.number == 2


def test_what_holds_for_rare_items(reader: Reader, page_board: dict[str, Any]) -> None:
    view = page_board["tables"][0]["views"]["tail"]["ndcg@10"]
    assert f"tail ({view['users']})" in [node.text for node in reader.all("[data-chart=groups] text")]
    clicks = Clicks(reader)
    clicks.choose("stratum", f"tail: rare items ({view['users']})")
    mean = view["mean"][row_number(page_board, "ilrec")]
    assert reader.column("score")["ilrec"].startswith(f"{mean:.4f} [")
    assert reader.all(".answer")[0].text.startswith("NDCG@10, tail users, exploratory: ")
    assert clicks.number == 2


def test_how_is_this_row_made_again(reader: Reader) -> None:
    clicks = Clicks(reader)
    clicks.click("[data-row='0'] button.name")
    [detail] = [row for row in reader.all(".detail") if row.is_displayed()]
    first = reader.all("dd code", detail)[0].text
    assert (
        first == "recbench run -m ilrec -d toy -p semantic-id -b tiny "
        "--ranker exact:budget=100 --protocol ilrec --seed 0 --seed 1 --seed 2"
    )
    assert clicks.number == 1


def test_an_opened_row_says_each_run_its_code_and_machine_and_draws_its_curves(
    reader: Reader, page_board: dict[str, Any]
) -> None:
    row = page_board["tables"][0]["rows"][0]
    reader.all("[data-row='0'] button.name")[0].click()
    [detail] = [one for one in reader.all(".detail") if one.is_displayed()]
    for said in (
        ", ".join(f"{mean:.4f} (seed {seed})" for seed, mean in enumerate(row["run_means"])),
        "toys 1.0, code eeeeeeeeeeee",
        "commit c0ffee",
        "python 3.11, numpy 2.4",
        "ilrec, version 1; beta=0.1",
    ):
        assert said in detail.text
    [path, *_] = reader.all(".spark path", detail)
    assert str(path.get_attribute("d")).count("L") == 2  # of three steps


def test_the_papers_number_stands_beside_ours_and_follows_the_metric(
    browser: Any, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    params = {"dim": 128}
    made = make_bundle("sasrec", ranks(1, 0.5), dataset="instrument", params=params, fit_params=params)
    (tmp_path / "index.html").write_text(render.html(build.build([made])))
    reader = Reader(browser, tmp_path / "index.html")
    assert reader.column("score")["sasrec"].endswith("paper 0.0502")
    reader.choose("cutoff", "5")
    assert reader.column("score")["sasrec"].endswith("paper 0.0474")
    reader.choose("metric", "MRR")
    assert "paper" not in reader.column("score")["sasrec"]
    reader.all("[data-row='0'] button.name")[0].click()
    assert "arXiv 2602.17410, table 1, sasrec: HR@5 0.0619" in reader.all(".detail")[0].text
