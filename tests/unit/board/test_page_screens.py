"""The page on a phone, on a wide screen and on paper; its heads; and what a checker of accessibility says."""

from __future__ import annotations

import pytest

from .accessibility import findings
from .reader import Reader

PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}


def width(reader: Reader) -> int:
    found: int = reader.driver.execute_script("return document.documentElement.scrollWidth")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_a_verdict_on_its_first_screen_and_never_scrolls_sideways(
    reader: Reader, scheme: str
) -> None:
    reader.open_at(390, 844, phone=True, scheme=scheme)
    assert width(reader) <= 390
    style = "return getComputedStyle(document.body).backgroundColor"
    assert reader.driver.execute_script(style) == PAPER[scheme]
    verdict = reader.box("tr[data-row='0'] td[data-key=parent] .note")
    assert "better" in reader.all("tr[data-row='0'] td[data-key=parent]")[0].text
    assert verdict["bottom"] <= 844
    assert verdict["right"] <= 390
    [choices] = reader.all(".choices > summary")
    assert choices.text == "NDCG@10, against popularity"
    choices.click()
    reader.choose("metric", "HR")
    assert choices.text == "HR@10, against popularity"


def test_heads_stay_in_sight(reader: Reader) -> None:
    reader.open_at(1400, 320)
    script = "window.scrollTo(0, arguments[0].getBoundingClientRect().bottom + scrollY - 100)"
    reader.driver.execute_script(script, reader.all(".main")[0])
    assert reader.box(".main")["top"] < -50
    assert reader.box(".main thead th")["top"] == pytest.approx(0, abs=1)
    reader.open_at(390, 400, phone=True)  # there the table scrolls by itself
    over = reader.all(".over")[0]
    reader.driver.execute_script("arguments[0].scrollTop = 150", over)
    assert reader.box(".main thead th")["top"] == pytest.approx(reader.box(".over")["top"], abs=1)


def test_a_wide_screen_shows_table_and_pictures_beside_each_other(reader: Reader) -> None:
    reader.open_at(3840, 1600)
    assert width(reader) <= 3840
    assert reader.box(".pictures")["left"] >= reader.box(".reading")["right"]
    assert reader.box("[data-chart=cost]")["top"] < 500
    assert reader.box(".pictures")["right"] > 3700


def test_the_forest_takes_what_other_columns_leave(reader: Reader) -> None:
    reader.open_at(1500, 900)
    wide = reader.box("td[data-key=reference] svg")["width"]
    assert reader.box(".main")["right"] == pytest.approx(reader.box(".over")["right"], abs=8)
    reader.show("seeds", "hr@10")
    reader.choose("metric", "HR")  # draws again
    assert reader.box("td[data-key=reference] svg")["width"] < wide


def test_a_small_notebook_shows_all_default_columns(reader: Reader) -> None:
    reader.open_at(1280, 800)
    assert "fits" in str(reader.all(".over")[0].get_attribute("class")).split()
    assert reader.box("td[data-key=reference] svg")["width"] >= 180


def test_paper_has_no_controls_and_is_white_in_the_dark_too(reader: Reader) -> None:
    reader.open_at(1200, 800, scheme="dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    style = "return getComputedStyle(document.body).backgroundColor"
    assert reader.driver.execute_script(style) == PAPER["light"]
    colours = "return arguments[0].map(name => getComputedStyle(document.body).getPropertyValue(name))"
    names = ["--better", "--worse-fill", "--zone", "--c4", "--c11"]
    light = ["#0072b2", "#fdeee2", "#e6eaee", "#6b6b00", "#3f7010"]
    assert reader.driver.execute_script(colours, names) == light
    assert reader.driver.execute_script(colours, ["--ink", "--tie"]) == ["#000", "#444"]
    assert not any(node.is_displayed() for node in reader.all("select, input, .save, .only, .menu"))
    assert reader.all(".answer")[0].is_displayed()
    assert all(svg.is_displayed() for svg in reader.all("figure:not([hidden]) svg.chart"))
    pdf = reader.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert len(pdf["data"]) > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_checker_of_accessibility_finds_nothing(reader: Reader, scheme: str) -> None:
    reader.open_at(1400, 1000, scheme=scheme)
    reader.all("[data-row='0'] button.name")[0].click()
    reader.show("seeds")
    reader.driver.execute_script("arguments[0].open = true", reader.all(".downloads")[0])
    assert findings(reader.driver) == []
