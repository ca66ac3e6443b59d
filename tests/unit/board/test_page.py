"""The HTML board in a real browser, as a reader uses it."""

from __future__ import annotations

import json
import re
from typing import Any

from recbench.comparison.pair_estimates import estimates

from .reader import Reader, row_number


def test_the_page_opens_without_error_and_asks_for_nothing(reader: Reader) -> None:
    assert [entry for entry in reader.log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in reader.log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = {one["request"]["url"] for one in sent if one["documentURL"] == reader.driver.current_url}
    assert asked == {reader.driver.current_url}
    assert reader.names()[0] == "ilrec"
    assert len(reader.all("[data-chart=cost] [data-mark]")) == 5  # every row has a cost
    assert (
        len(reader.all("[data-chart=curves] [data-mark]")) == 3
    )  # every row with a language model has a curve
    levels = [node.text for node in reader.all("[data-chart=curves] text[text-anchor=end]")]
    assert levels == ["1", "2", "3"]  # losses from 3 down to 1
    assert len(reader.all(".matrix tbody td")) == 25


def test_the_page_shows_without_a_choice_what_it_shows_without_a_script(
    reader: Reader, page_board: dict[str, Any]
) -> None:
    row = page_board["tables"][0]["rows"][row_number(page_board, "dpo")]
    for key, column in (("parent", "parent"), ("reference", "popularity")):
        cell = row["vs"][column]
        said = f"{cell['difference']:+.4f} [{cell['low']:+.4f}, {cell['high']:+.4f}] {cell['verdict']}"
        assert said in reader.column(key)["dpo"]
    assert page_board["tables"][0]["rows"][row["vs"]["parent"]["against"]]["name"] == "sft"


def test_names_beside_the_points_cover_neither_each_other_nor_the_points(reader: Reader) -> None:
    boxes = [node.rect for node in reader.all("[data-chart=cost] text.halo")]
    assert len(boxes) == 5
    marks = [node.rect for node in reader.all("[data-chart=cost] circle, [data-chart=cost] polygon")]
    for number, box in enumerate(boxes):
        for other in [*boxes[:number], *marks]:
            apart_x = max(box["x"], other["x"]) - min(one["x"] + one["width"] for one in (box, other))
            apart_y = max(box["y"], other["y"]) - min(one["y"] + one["height"] for one in (box, other))
            assert max(apart_x, apart_y) > -4, (box, other)  # a line's box is higher than its letters


def test_a_block_is_shown_part_by_part(reader: Reader, page_board: dict[str, Any]) -> None:
    [block] = page_board["tables"][0]["blocks"]
    rows = [" ".join(row.text.split()) for row in reader.all(".blocks tbody tr")]
    assert rows == [f"{part} {value}" for part, value in block.items() if part != "name"]


def test_a_click_on_a_column_sorts_by_it_and_a_second_turns_it_round(reader: Reader) -> None:
    reader.ungroup()
    means = {name: float(text.split()[0]) for name, text in reader.column("score").items()}
    assert reader.names() == sorted(means, key=lambda name: -means[name])  # the metric, from the start
    reader.sort("NDCG@10")
    assert reader.names() == sorted(means, key=lambda name: means[name])
    reader.sort("NDCG@10")
    assert reader.names() == sorted(means, key=lambda name: -means[name])
    reader.sort("method")
    assert reader.names() == sorted(means)
    # rows without a value stay last, however often it is turned
    for _ in range(2):
        reader.sort("vs parent")
        assert set(reader.names()[2:]) == {"sasrec", "sft", "popularity"}


def test_another_k_changes_means_differences_and_letters(reader: Reader, page_board: dict[str, Any]) -> None:
    view = page_board["tables"][0]["views"]["all"]["hr@5"]
    reader.ungroup()
    reader.choose("metric", "HR")
    reader.choose("cutoff", "5")
    assert reader.head("score") == "HR@5"
    number = row_number(page_board, "ilrec")
    mean, half = view["mean"][number], view["half"][number]
    assert reader.column("score")["ilrec"] == f"{mean:.4f} [{max(mean - half, 0):.4f}, {mean + half:.4f}]"
    means = dict(zip([row["name"] for row in page_board["tables"][0]["rows"]], view["mean"], strict=True))
    assert reader.names() == sorted(means, key=lambda name: -means[name])  # sorted by what is chosen
    low, high = view["ranks"][number]
    assert reader.column("rank")["ilrec"] == (f"{low}" if low == high else f"{low}–{high}")
    # all pairs are not the board's family: their letters stand in the matrix
    heads = list(reader.all(".matrix tbody th"))
    assert heads[number].text.split() == ["ilrec", view["letters"][number]]
    assert "Exploratory view: HR@5" in reader.all(".status")[0].text
    reader.choose("metric", "NDCG")
    assert reader.head("score") == "NDCG@5"  # the cutoff stays where the metric has it
    assert reader.options("cutoff") == ["5", "10", "20"]  # NDCG@1 is HR@1


def test_another_reference_changes_every_difference(
    reader: Reader, page_board: dict[str, Any], page_made: dict[str, Any]
) -> None:
    table = page_board["tables"][0]
    reader.choose("reference", "sasrec")
    assert reader.head("reference") == "vs sasrec"
    shown = reader.column("reference")
    assert shown["sasrec"] == "–"
    means = table["views"]["all"]["ndcg@10"]["mean"]
    by = {row["name"]: mean for row, mean in zip(table["rows"], means, strict=True)}
    for name in ("ilrec", "sft", "dpo", "popularity"):
        assert f"{by[name] - by['sasrec']:+.4f} [" in shown[name]
        # popularity and sasrec are of no block; the others are of one
        assert shown[name].startswith("~ ") == (name != "popularity")
    here = [run for run in page_made["runs"] if run.spec.fit.dataset == "toy"]
    rows = [[run for run in here if run.label == row["name"]] for row in table["rows"]]
    names = [row["name"] for row in table["rows"]]
    estimate = estimates(rows, "ndcg@10")[names.index("popularity"), names.index("sasrec")].estimate
    assert f"[{estimate.low:+.4f}, {estimate.high:+.4f}]" in shown["popularity"]


def test_another_stratum_changes_the_means(reader: Reader, page_board: dict[str, Any]) -> None:
    table = page_board["tables"][0]
    assert list(table["strata"]) == ["all", "head", "mid", "tail", "long", "medium", "short"]
    assert [re.split("[ :]", text)[0] for text in reader.options("stratum")] == list(table["strata"])
    users = table["views"]["tail"]["ndcg@10"]["users"]
    reader.choose("stratum", f"tail: rare items ({users})")
    number = row_number(page_board, "sft")
    assert reader.column("score")["sft"].startswith(
        f"{table['views']['tail']['ndcg@10']['mean'][number]:.4f}"
    )
    assert table["strata"]["tail"] in reader.all(".status")[0].text


def test_the_data_set_is_chosen_above(reader: Reader) -> None:
    from selenium.webdriver.support.select import Select

    [choice] = reader.all("#choose-table", reader.driver)
    assert [node.is_displayed() for node in reader.all("section", reader.driver)] == [True, False]
    Select(choice).select_by_index(1)
    assert [node.is_displayed() for node in reader.all("section", reader.driver)] == [False, True]


def test_the_keyboard_reaches_and_works_every_control(reader: Reader) -> None:
    from selenium.webdriver.common.keys import Keys

    reached: set[str] = set()
    reader.ungroup()
    for _ in range(60):
        reader.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = reader.driver.switch_to.active_element
        if active.text == "method" and "method" not in reached:
            active.send_keys(Keys.ENTER)
            assert reader.names() == sorted(reader.names())
        reached.add(active.get_attribute("data-control") or active.text)
    assert {"metric", "cutoff", "stratum", "reference", "cost", "series", "method", "NDCG@10"} <= reached
