"""The pictures of the page: rows that are hidden or alone, colours, names, and boards of any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.board import build, render
from recbench.results.bundle import Bundle

from . import synthetic
from .reader import Reader
from .test_page_choice import follow

MakeBundle = Callable[..., Bundle]
SEVERE = "SEVERE"


def marked(reader: Reader, chart: str) -> set[str]:
    """The names beside the marks of a chart."""
    return {node.text for node in reader.all(f"[data-chart={chart}] text.halo")}


def test_a_row_is_hidden_in_all_pictures_and_alone_in_them(reader: Reader) -> None:
    everything = {"ilrec", "dpo", "sft", "sasrec", "popularity"}
    assert marked(reader, "cost") == marked(reader, "groups") == everything
    [chip] = [one for one in reader.all(".chip") if one.text.startswith("sasrec")]
    reader.all("button", chip)[0].click()
    assert marked(reader, "cost") == marked(reader, "groups") == everything - {"sasrec"}
    assert len(reader.all(".matrix tbody tr")) == 4
    assert reader.driver.switch_to.active_element.text == "sasrec"  # the focus stays
    assert "hidden=sasrec" in reader.driver.current_url
    assert len(reader.names()) == 5  # the table keeps it
    reader.all("[aria-label='only sft']")[0].click()
    assert marked(reader, "cost") == marked(reader, "groups") == marked(reader, "curves") == {"sft"}
    words = reader.driver.current_url.partition("#")[2]
    follow(reader, words)
    assert marked(reader, "cost") == {"sft"}
    [everyone] = [one for one in reader.all(".chips .all") if one.is_displayed()]
    everyone.click()
    assert marked(reader, "cost") == everything
    assert "#" not in reader.driver.current_url


def test_a_method_has_one_colour_on_every_data_set(reader: Reader) -> None:
    from selenium.webdriver.support.select import Select

    def colour(chart: str) -> str | None:
        [name] = [node for node in reader.all(f"[data-chart={chart}] text.halo") if node.text == "sasrec"]
        return name.get_attribute("style")

    first = colour("cost")
    assert first == colour("groups")
    [choice] = reader.all("#choose-table", reader.driver)
    Select(choice).select_by_index(1)
    reader.section = reader.all("section:not([hidden])", reader.driver)[0]
    assert colour("cost") == first


def test_groups_of_users_show_the_means_of_the_metric(reader: Reader, page_board: dict[str, Any]) -> None:
    views = page_board["tables"][0]["views"]
    reader.choose("metric", "HR")
    places = [text.text for text in reader.all("[data-chart=groups] text[text-anchor=middle]")]
    assert places == [f"{name} ({views[name]['hr@10']['users']})" for name in ("head", "mid", "tail")]
    [picture] = reader.all("[data-chart=groups] svg")
    assert str(picture.get_attribute("aria-label")).startswith("HR@10 against")
    reader.choose("groups", "length of the history")
    places = [text.text.split(" ")[0] for text in reader.all("[data-chart=groups] text[text-anchor=middle]")]
    assert places == ["long", "medium", "short"]


def page_of(browser: Any, runs: list[Bundle], path: Path) -> Reader:
    path.write_text(render.html(build.build(runs), runs))
    browser.get_log("browser")
    reader = Reader(browser, path)
    assert [entry for entry in reader.log("browser") if entry["level"] == SEVERE] == []
    return reader


def overlap(boxes: list[dict[str, float]]) -> float:
    """The largest share of a name that another one covers."""
    worst = 0.0
    for number, a in enumerate(boxes):
        for b in boxes[:number]:
            wide = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
            high = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
            worst = max(worst, max(wide, 0) * max(high, 0) / (a["width"] * a["height"]))
    return worst


@pytest.mark.slow
def test_twenty_rows_have_names_that_can_be_read(
    browser: Any, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    runs = synthetic.study(
        make_bundle,
        datasets=["toy"],
        llms=synthetic.blocks(2),
        tuned=synthetic.TUNED[:8],
        floor=synthetic.FLOOR[:4],
        seeds=2,
        users=80,
    )
    reader = page_of(browser, runs, tmp_path / "twenty.html")
    for chart, rows in (("cost", 20), ("groups", 20), ("curves", 16)):
        names = [node.rect for node in reader.all(f"[data-chart={chart}] text.halo")]
        assert len(names) == rows
        assert overlap(names) < 0.35, chart  # a line's box is higher than its letters
        frame = reader.all(f"[data-chart={chart}] svg")[0].rect
        assert all(name["x"] >= frame["x"] - 1 for name in names)
        assert all(name["x"] + name["width"] <= frame["x"] + frame["width"] + 1 for name in names)
    shapes = {node.tag_name for node in reader.all("[data-chart=cost] circle, [data-chart=cost] polygon")}
    assert shapes == {"circle", "polygon"}  # a block has a shape of its own
    assert [cell.text for cell in reader.all(".matrix thead th")] == [str(n + 1) for n in range(20)]


@pytest.mark.slow
def test_sixty_rows_fit_on_a_page_of_five_megabytes(
    browser: Any, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    runs = synthetic.study(
        make_bundle,
        datasets=["toy"],
        llms=synthetic.blocks(3),
        tuned=[*synthetic.TUNED, *(f"more-{number}" for number in range(9))],
        users=120,
    )
    reader = page_of(browser, runs, tmp_path / "sixty.html")
    assert (tmp_path / "sixty.html").stat().st_size < 5_000_000
    assert len(reader.names()) == 60
    reader.all("[data-control=name]")[0].send_keys("ilrec")
    assert len([row for row in reader.all("tr[data-row]") if row.is_displayed()]) == 3


def test_one_method_alone_is_shown_without_comparisons(
    browser: Any, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    reader = page_of(browser, [make_bundle("sasrec", [1, 0, 3, 2])], tmp_path / "one.html")
    assert "sasrec is alone" in reader.all(".answer")[0].text
    assert reader.column("reference")["sasrec"] == "–"
    reader.choose("metric", "HR")
    assert reader.column("score")["sasrec"].startswith("0.7500")
    assert "there is nothing to compare" in reader.all(".answer")[0].text


def test_blocks_of_one_method_each_have_no_parent(
    browser: Any, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    runs = [make_bundle("sft", [1, 0, rank, 2], llm=llm) for rank, llm in enumerate(synthetic.blocks(3))]
    reader = page_of(browser, runs, tmp_path / "blocks.html")
    assert reader.names() == ["sft", "sft", "sft"]
    assert len(reader.all(".main .group")) == 3
    assert "declared" in reader.all(".answer")[0].text  # that no two of them were
    reader.choose("reference", "sft · title · smollm2-135m")
    assert sum("~" in text for text in [cell.text for cell in reader.all("td[data-key=reference]")]) == 2


def test_no_finished_run_is_a_sentence(browser: Any, make_bundle: MakeBundle, tmp_path: Path) -> None:
    failed = make_bundle("sft", [], failure={"class": "oom", "reason": "needed 80 GiB"})
    reader_path = tmp_path / "none.html"
    reader_path.write_text(render.html(build.build([failed])))
    browser.get(reader_path.as_uri())
    text = browser.execute_script("return document.body.innerText")
    assert "There is no run to rank." in text
    assert "needed 80 GiB" in text
    assert [entry for entry in browser.get_log("browser") if entry["level"] == SEVERE] == []


def test_costs_and_curves_that_are_no_numbers_are_left_out(
    browser: Any, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    curve = '{"step": 1, "loss": NaN}\n{"step": 2, "loss": 1.5}\n'
    nan = {"seconds": {"fit": float("nan")}, "num_parameters": float("inf")}
    runs = [
        make_bundle("popularity", [1, 2, 0, 3], seed=None),
        make_bundle("sft", [1, 1, 1, 0], efficiency=nan, curve=curve),
    ]
    reader = page_of(browser, runs, tmp_path / "nan.html")
    assert reader.names() == ["sft", "popularity"]
    assert marked(reader, "cost") == {"popularity"}


def test_numbers_that_cannot_be_read_leave_the_tables_as_they_were_written(
    browser: Any, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    text = render.html(build.build([make_bundle("popularity", [1, 2, 0, 3], seed=None)]))
    (tmp_path / "broken.html").write_text(text.replace('"alpha":0.05', '"alpha":NaN'))
    reader = Reader(browser, tmp_path / "broken.html")
    assert "The numbers of this page cannot be read" in reader.all("#strange", reader.driver)[0].text
    assert reader.names() == ["popularity"]
