"""The pages of docs/ and of the site: links lead somewhere, commands exist, nothing is left out."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from docs import notebook, pages, recipes
from recbench import llm, sequential
from recbench.base.environment import DISTRIBUTION
from recbench.cli import app
from recbench.planning import registry
from recbench.reference import settings

REPOSITORY = pages.REPOSITORY
SOURCES = sorted(
    path
    for path in (
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        REPOSITORY / "datasets/README.md",
    )
)
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
COMMAND = re.compile(r"(?:\s{4,}|\$ )?(?P<line>(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?recbench [a-z].*)$")
OPTION = re.compile(r"--?[a-zA-Z][\w-]*")
NAMED = re.compile(r"`((?:recbench|methods|tests|benchmarks|docs)/[\w./-]+)`")
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pages.write(folder)
    return folder


def anchors(text: str) -> set[str]:
    """The ids that a page's headings get."""
    titles = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", title) for title in HEADING.findall(text)]
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def broken(path: Path, below: Path) -> Iterator[str]:
    """The links of a page that lead to no file below `below`, or to no heading."""
    for target in pages.links_of(path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        other = (
            path
            if not name
            else below / posixpath.normpath(posixpath.join(path.parent.relative_to(below), name))
        )
        if not other.exists():
            yield f"{path.relative_to(below)}: {target}"
        elif anchor and anchor not in anchors(other.read_text(encoding="utf-8")):
            yield f"{path.relative_to(below)}: {target} has no such heading"


def test_every_link_of_the_repositorys_pages_leads_somewhere() -> None:
    assert len(SOURCES) > 30
    assert [link for path in SOURCES for link in broken(path, REPOSITORY)] == []


def test_every_file_that_a_page_names_by_its_folder_is_there() -> None:
    named = {
        (page.name, path)
        for page in SOURCES
        for path in NAMED.findall(page.read_text(encoding="utf-8"))
        if "NAME" not in path
    }
    assert len(named) > 20
    assert [one for one in sorted(named) if not (REPOSITORY / one[1]).exists()] == []


def test_peers_are_told_how_many_methods_there_are() -> None:
    own = [one for one in registry.available().values() if registry.owner(one) == DISTRIBUTION]
    assert f"| {len(own)} |" in (REPOSITORY / "docs/peers.md").read_text(encoding="utf-8")


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A title: `it`\n")
    page = tmp_path / "a.md"
    page.write_text("[x](b.md) [x](b.md#a-title-it) [x](https://a.b) `[x](c.md)` [x](c.md) [x](b.md#none)\n")
    assert list(broken(page, tmp_path)) == ["a.md: c.md", "a.md: b.md#none has no such heading"]


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    docs = site / "docs"
    assert [link for path in sorted(docs.rglob("*.md")) for link in broken(path, docs)] == []


def test_the_navigation_has_every_page_once(site: Path) -> None:
    nav = json.loads((site / "mkdocs.yml").read_text())["nav"]

    def listed(part: Any) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from listed(inner)

    there = sorted(path.relative_to(site / "docs").as_posix() for path in (site / "docs").rglob("*.md"))
    assert sorted(listed(nav)) == there


def test_the_reference_has_every_command_method_setting_and_public_name(site: Path) -> None:
    folder = site / "docs" / "reference"
    commands = (folder / "commands.md").read_text()
    for name in commands_of(typer.main.get_command(app)):
        assert f"### recbench {name}\n" in commands
    for plugin in recipes.first_party():
        page = (folder / "methods" / f"{plugin.name}.md").read_text()
        assert all(f"| `{one.name}` |" in page for one in plugin.details)
    table = (folder / "settings.md").read_text()
    assert all(f"| `{name}`" in table for name in settings.names())
    engine = (folder / "engine.md").read_text()
    for package in (llm, sequential):
        assert all(f"heading: {package.__name__}.{name}\n" in engine for name in package.__all__)


def commands_of(group: Any, path: str = "") -> dict[str, set[str]]:
    """The options of every command, by its words."""
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            found |= commands_of(command, words)
        else:
            options = {word for one in command.params for word in (*one.opts, *one.secondary_opts)}
            found[words] = options | {"-h", "--help", "-v", "--verbose"}
    return found


def asked(text: str) -> Iterator[list[str]]:
    """The words of each command that a page shows in a block of code, without variables and comments."""
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        found = COMMAND.match(line) if fenced or line.startswith("    ") else None
        if found:
            words = shlex.split(found["line"], comments=True)
            start = next(number for number, word in enumerate(words) if word.endswith("recbench"))
            yield words[start + 1 :]


def test_every_command_that_a_page_shows_exists_with_its_options() -> None:
    known = commands_of(typer.main.get_command(app))
    shown, wrong = 0, []
    for path in SOURCES:
        for words in asked(path.read_text(encoding="utf-8")):
            shown += 1
            name = next((one for one in (" ".join(words[:2]), words[0]) if one in known), None)
            options = {word.partition("=")[0] for word in words if OPTION.match(word)}
            if name is None or not options <= known[name]:
                missing = options - known.get(name or "", set())
                wrong.append(f"{path.name}: recbench {' '.join(words)} {sorted(missing)}")
    assert shown > 70
    assert wrong == []


def test_a_notebook_keeps_what_its_cells_show_and_becomes_a_page() -> None:
    made = notebook.run(
        {
            "cells": [
                {"cell_type": "markdown", "source": ["# Sum\n"]},
                {"cell_type": "code", "source": ["a = 2\n", "print('two')\n", "a + 1"], "outputs": []},
                {"cell_type": "code", "source": ["b = a\n"], "outputs": []},
            ],
            "metadata": KERNEL,
        }
    )
    assert notebook.texts(made) == [["two\n", "3"], []]
    page = notebook.as_markdown(made)
    assert page.split("\n\n")[0] == "# Sum\n".strip()
    assert "```python\na = 2\nprint('two')\na + 1\n```\n\n```text\ntwo\n```\n\n```text\n3\n```" in page


@pytest.mark.parametrize("path", sorted((REPOSITORY / "docs").rglob("*.ipynb")), ids=lambda path: path.name)
def test_a_committed_notebook_was_run_from_its_top(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) > len(code) / 2
    assert not re.search(r"/(home|root|tmp|Users)/", path.read_text(encoding="utf-8"))
