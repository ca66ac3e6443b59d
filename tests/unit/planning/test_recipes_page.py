"""docs/recipes.md says what the code does, and gives a reason wherever that is not the official value."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recbench.settings import layered

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def page() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("docs_recipes", DOCS / "recipes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def rows(page: ModuleType) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for table in page.tables()["table"]:
        for row in table["rows"]:
            yield table, row


def test_the_page_is_what_the_code_and_the_table_make(page: ModuleType) -> None:
    made = page.render(page.tables())
    assert (DOCS / "recipes.md").read_text(encoding="utf-8") == made, "run: python docs/recipes.py"


def test_each_difference_has_a_reason_and_each_reason_a_difference(page: ModuleType) -> None:
    for table, row in rows(page):
        found = page.reasons(table, row)
        where = (table["method"], table.get("paradigm"), row["key"])
        assert None not in found.values(), where
        unused = {row[name] for name in ("why", "scratch") if name in row} - set(found.values())
        assert not unused, where


def test_a_row_without_an_official_value_says_where_it_was_looked_for_or_that_it_is_not_known(
    page: ModuleType,
) -> None:
    for table, row in rows(page):
        assert "place" in row or row["official"] in ("not known", "not stated"), (table["method"], row["key"])


def test_every_method_of_ours_has_a_table_or_is_said_to_have_no_published_recipe(page: ModuleType) -> None:
    data = page.tables()
    with_table = {table["method"] for table in data["table"]}
    assert not with_table & set(data["own"])
    assert with_table | {*data["own"], "sft-continued"} == {plugin.name for plugin in page.first_party()}


@pytest.mark.parametrize("protocol", ["ilrec", "soft"])
def test_a_protocol_has_the_values_that_its_paper_prints(page: ModuleType, protocol: str) -> None:
    checked = 0
    for table, row in rows(page):
        if isinstance(row.get(protocol), (int, float)) and page.is_llm(table):
            value = page.ours(table, row, "pretrained", protocol=protocol)
            assert value == row[protocol], (table["method"], row["key"])
            checked += 1
    assert checked >= 6


def test_preset_official_has_the_official_values(page: ModuleType) -> None:
    checked = set()
    for table in page.tables()["table"]:
        plugin = page.describe(table["method"])
        presets = {
            key: value for key, value in plugin.traits.presets.items() if key.partition("+")[0] == "official"
        }
        named = {row["key"]: page.official(row) for row in table["rows"]}
        place = (page.BACKBONES["pretrained"], table.get("paradigm", "title"))
        for key, value in layered(presets, *place, "official").items():
            assert named[key] == value, (table["method"], key)
            run = page.planned(table, "pretrained", preset="official", protocol="soft")
            assert page.value_of(run, key) == value
            checked.add(table["method"])
    assert checked == {"sft", "sdpo", "sprec", "dros", "rere"}


def test_steps_on_the_page(page: ModuleType) -> None:
    # 3 epochs of ceil(100,000 / 128) = 782; 6 stages of 100,000 / 16; 1,024 / 16; 6 stages of 256 / 16
    cases = {("sdpo", "pretrained"): 2346, ("sprec", "pretrained"): 37500}
    cases |= {("sdpo", "scratch"): 64, ("sprec", "scratch"): 96, ("sft-continued", "scratch"): 96}
    for (name, kind), steps in cases.items():
        assert page.num_steps(name, kind, "ilrec") == steps
