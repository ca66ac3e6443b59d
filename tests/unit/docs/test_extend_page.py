"""docs/extend.md shows the example package as it is, and every protocol and group."""

from __future__ import annotations

import re
from pathlib import Path

from recbench.base.extensions.points import GROUPS
from recbench.interface import CONTRACT

DOCS = Path(__file__).parents[3] / "docs"
PACKAGE = DOCS / "examples" / "my-extensions"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+\.(?:py|toml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_code_of_the_page_is_that_of_the_package() -> None:
    shown = dict(BLOCK.findall((DOCS / "extend.md").read_text(encoding="utf-8")))
    files = [PACKAGE / "pyproject.toml", *(PACKAGE / "my_extensions").glob("[a-z]*.py")]
    written = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in files}
    assert shown == written


def test_the_page_names_every_group_and_protocol() -> None:
    text = (DOCS / "extend.md").read_text(encoding="utf-8")
    assert [group for group in GROUPS.values() if f"`{group}`" not in text] == []
    protocols = ("Sampler", "IdentifierScheme", "ItemRanker", "RankMetric", "ListMetric", "RawFormat")
    assert set(protocols) <= set(CONTRACT["recbench.extend"])
    assert [name for name in protocols if f"`{name}`" not in text] == []


def test_the_examples_are_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.glob("my_extensions/*.py")}
    assert len(lengths) == 6
    assert {name: length for name, length in lengths.items() if length > 50} == {}
