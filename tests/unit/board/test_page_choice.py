"""Filters, the address and the details of a row, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbench.board import build, render
from recbench.results.bundle import Bundle

from .reader import Reader


def visible(reader: Reader) -> list[str]:
    """The methods that are shown."""
    return [reader.all("td", row)[1].text for row in reader.all(".main tr[data-row]") if row.is_displayed()]


def follow(reader: Reader, words: str) -> None:
    """Open the page anew at such an address."""
    page = reader.driver.current_url.partition("#")[0]
    reader.driver.get("about:blank")
    reader.driver.get(f"{page}#{words}")
    reader.section = reader.all("section:not([hidden])", reader.driver)[0]


def test_rows_are_filtered_by_kind_and_name_in_table_matrix_and_chart(reader: Reader) -> None:
    assert len(visible(reader)) == 5
    reader.choose("kind", "with a language model")
    assert set(visible(reader)) == {"ilrec", "dpo", "sft"}
    assert len(reader.all(".matrix tbody td")) == 9
    assert len(reader.all("[data-chart=cost] [data-mark]")) == 3
    reader.all("[data-control=name]")[0].send_keys("D")
    assert visible(reader) == ["dpo"]
    assert "Shown: 1 of 5 rows" in reader.all(".status")[0].text
    assert [head.text for head in reader.all(".main .group") if head.is_displayed()] == ["semantic-id · tiny"]
    reader.all("[data-control=name]")[0].send_keys("nothing")
    assert visible(reader) == []
    assert "No row has this block, kind and name." in reader.all(".status")[0].text


def test_the_address_holds_the_view(reader: Reader) -> None:
    assert "#" not in reader.driver.current_url
    reader.choose("metric", "MRR")
    reader.choose("cutoff", "20")
    reader.choose("reference", "sasrec")
    reader.choose("kind", "with a language model")
    reader.show("seeds")
    reader.sort("method")
    reader.all("[data-row='0'] button.name")[0].click()
    before = [visible(reader), reader.heads(), reader.column("reference"), reader.driver.title]
    words = reader.driver.current_url.partition("#")[2]
    assert "metric=MRR" in words
    assert "vs=sasrec" in words
    follow(reader, words)
    assert [visible(reader), reader.heads(), reader.column("reference"), reader.driver.title] == before
    assert len([row for row in reader.all(".detail") if row.is_displayed()]) == 1
    assert not reader.all("#strange", reader.driver)[0].is_displayed()


def test_the_best_row_of_the_view_is_compared_with_all_others(
    reader: Reader, page_board: dict[str, Any]
) -> None:
    reader.choose("reference", "the best of the view")
    assert reader.head("reference") == "vs ilrec (best)"
    assert reader.column("reference")["ilrec"] == "–"
    view = page_board["tables"][0]["views"]["all"]["ndcg@10"]
    rows = [row["name"] for row in page_board["tables"][0]["rows"]]
    amount = view["mean"][rows.index("sft")] - max(view["mean"])
    assert f"{amount:+.4f}" in reader.column("reference")["sft"]
    assert "vs=best" in reader.driver.current_url


def test_pictures_follow_their_own_choices_and_the_address_holds_them(
    browser: Any, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    curve = '{"step": 1, "loss": 2.5, "margin": 0.5}\n{"step": 2, "loss": 1.5, "margin": 0.75}\n'
    made: dict[str, Any] = {
        "efficiency": {"seconds": {"fit": 2.0}, "num_parameters": 100},
        "curve": curve,
    }
    runs = [
        make_bundle("sft", [1, 0, rank], llm={"paradigm": kind, "backbone": "tiny"}, **made)
        for rank, kind in enumerate(("semantic-id", "title"))
    ]
    (tmp_path / "index.html").write_text(render.html(build.build(runs)))
    reader = Reader(browser, tmp_path / "index.html")
    reader.choose("cost", "parameters")
    reader.choose("series", "margin")
    reader.choose("block", "title · tiny")

    def seen() -> list[str | None]:
        pictures = reader.all("[data-chart=cost] svg, [data-chart=curves] svg")
        return [picture.get_attribute("aria-label") for picture in pictures]

    name = "sft · title"
    assert seen() == [
        f"NDCG@10 against parameters (logarithmic): {name} 0.6667 at 100",
        f"margin against step: {name} ends at 0.7500",
    ]
    before = seen()
    follow(reader, reader.driver.current_url.partition("#")[2])
    assert seen() == before


def test_an_address_chooses_the_data_set(reader: Reader) -> None:
    follow(reader, "set=toys%2C+protocol+ilrec+v1")
    assert reader.all("h2")[0].text == "toys, protocol ilrec v1"
    assert reader.driver.title.startswith("toys, protocol ilrec v1 · NDCG@10")


def test_an_address_of_another_board_is_a_sentence_and_the_rest_works(reader: Reader) -> None:
    follow(
        reader,
        "metric=NDCG&k=77&vs=gru&columns=rank+nope&sort=nope+ascending&open=gru&hidden=caser&colour=red",
    )
    said = reader.all("#strange", reader.driver)[0].text
    assert said.startswith("The address asks for what this board does not have: colour")
    for name in ("k 77", "vs gru", "column nope", "sort nope ascending", "row gru", "row caser"):
        assert name in said
    assert len(visible(reader)) == 5
    assert reader.heads() == ["rank", "method"]
    follow(reader, "set=books&metric=HR")
    assert "data set books" in reader.all("#strange", reader.driver)[0].text
    assert reader.head("score") == "NDCG@10"
    assert [entry for entry in reader.log("browser") if entry["level"] == "SEVERE"] == []


def test_a_methods_name_opens_its_runs_its_block_and_its_command(
    reader: Reader, page_board: dict[str, Any]
) -> None:
    table = page_board["tables"][0]
    assert not any(row.is_displayed() for row in reader.all(".detail"))
    [button] = reader.all("[data-row='0'] button.name")
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    [detail] = [row for row in reader.all(".detail") if row.is_displayed()]
    for run in table["rows"][0]["runs"]:
        assert f"recbench show {run}" in detail.text
    assert (
        "recbench run -m ilrec -d toy -p semantic-id -b tiny "
        "--ranker exact:budget=100 --protocol ilrec --seed 0 --seed 1 --seed 2" in detail.text
    )
    assert "seeds" in detail.text
    reader.ungroup()
    reader.sort("method")
    follows = reader.driver.execute_script(
        "return arguments[0].closest('tr').nextElementSibling === arguments[1]", button, detail
    )
    assert follows  # the details stay below their row
    button.click()
    assert not detail.is_displayed()


def test_a_hostile_name_is_text_everywhere(
    browser: Any, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    name = "<img src=x onerror=document.title=1>&amp;'\"</script>"
    runs = [make_bundle("popularity", [1, 0, 2], seed=None), make_bundle("ilrec", [1, 3, 3], label=name)]
    (tmp_path / "index.html").write_text(render.html(build.build(runs)))
    reader = Reader(browser, tmp_path / "index.html")
    reader.all("[data-row='0'] button.name")[0].click()
    assert visible(reader)[0] == name
    assert name in reader.all(".detail")[0].text
    assert name in reader.options("reference")
    assert name in reader.all(".answer")[0].text
    assert reader.all("img", reader.driver) == []
    assert len(reader.all("script", reader.driver)) == 2
    follow(reader, "name=%3Cimg+src%3Dx%3E&block=%3Cimg+src%3Dx%3E")
    assert reader.all("img", reader.driver) == []
    assert "<img src=x>" in reader.all("#strange", reader.driver)[0].text
