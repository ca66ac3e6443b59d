"""Make the sources of the site: the pages of docs/, and a reference that the code writes.

    python -m docs.pages FOLDER     # FOLDER/docs and FOLDER/mkdocs.yml; `make docs` does this and builds

Pages outside docs/ that belong to the site are in OUTSIDE. A link from a page to another becomes the link
between their places on the site; a link to any other file of the repository becomes the file's name.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs import notebook, reference

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
OUTSIDE = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "datasets/README.md": "datasets-format.md",
}
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"(?ms)^ {0,3}```.*?^ {0,3}```|`[^`\n]+`")
"""Fences and code in a line, in which nothing is a link."""
NAV: list[dict[str, Any]] = [
    {"Home": "index.md"},
    {"Install": "install.md"},
    {
        "Tutorials": [
            {"A first comparison": "tutorials/first-comparison.md"},
            {"Reading a board": "tutorials/reading-a-board.md"},
            {"Your data": "tutorials/your-data.md"},
            {"Your method": "plugins.md"},
            {"A first method, timed": "first-method.md"},
            {"A cluster": "tutorials/cluster.md"},
            {"In a notebook": "tutorials/notebook.md"},
        ]
    },
    {
        "Guides": [
            {"Studies": "studies.md"},
            {"Boards": "boards.md"},
            {"Send rows to a board": "submit.md"},
            {"Statistics": "statistics.md"},
            {"Backbones": "backbones.md"},
            {"From scratch": "from-scratch.md"},
            {"Identifiers": "identifiers.md"},
            {"Baselines": "baselines.md"},
            {"Which weights are kept": "selection.md"},
            {"Rejected items": "negatives.md"},
            {"Own answers": "on-policy.md"},
            {"Training tasks": "tasks.md"},
            {"Runs in MLflow": "mlflow.md"},
            {"Beyond methods": "extend.md"},
            {"What a method imports": "interface.md"},
            {"Recipes": "recipes.md"},
            {"The papers' tables": "papers.md"},
            {"Trust": "trust.md"},
            {"Verification": "verification.md"},
            {"Performance": "performance.md"},
            {"Format of datasets": "datasets-format.md"},
        ]
    },
]
ENDING: list[dict[str, Any]] = [
    {
        "About": [
            {"recbench and its peers": "peers.md"},
            {"Questions": "faq.md"},
            {"README": "readme.md"},
            {"Contributing": "contributing.md"},
            {"Architecture": "architecture.md"},
            {"Changes": "changelog.md"},
        ]
    },
]


def main() -> int:
    write(Path(sys.argv[1]))
    return 0


def write(folder: Path) -> None:
    """The site's sources in `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "docs"
    pages.mkdir(parents=True)
    shutil.copytree(DOCS / "images", pages / "images")
    places = site_places()
    for source, place in places.items():
        path = pages / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(relinked(text_of(source), source, places), encoding="utf-8")
    home, install, tutorials, guides = NAV
    guides = {"Guides": [*guides["Guides"], *unplaced(places)]}
    made = [{"Reference": reference.write(pages)}, *ENDING, {"Decisions": decisions()}]
    nav = [home, install, tutorials, guides, *made]
    (folder / "mkdocs.yml").write_text(json.dumps(config(nav), indent=1) + "\n", encoding="utf-8")


def site_places() -> dict[str, str]:
    """The place on the site of every page of the repository, by its path in the repository."""
    own = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md"))]
    notebooks = [path.relative_to(DOCS) for path in sorted(DOCS.rglob("*.ipynb"))]
    return {
        **{f"docs/{page}": page for page in own},
        **{f"docs/{page.as_posix()}": page.with_suffix(".md").as_posix() for page in notebooks},
        **OUTSIDE,
    }


def unplaced(places: Mapping[str, str]) -> list[dict[str, str]]:
    """The pages of docs/ that have no place of their own in the navigation, by their titles."""
    placed = json.dumps([NAV, ENDING])
    return [
        {title_of(text_of(source)): place}
        for source, place in places.items()
        if f'"{place}"' not in placed and not place.startswith("decisions/")
    ]


def text_of(source: str) -> str:
    path = REPOSITORY / source
    if path.suffix == ".ipynb":
        return notebook.as_markdown(json.loads(path.read_text(encoding="utf-8")))
    return path.read_text(encoding="utf-8")


def decisions() -> list[dict[str, str]]:
    """The decision notes by their titles."""
    notes = sorted((DOCS / "decisions").glob("*.md"), key=lambda path: (path.name != "README.md", path.name))
    return [{title_of(path.read_text(encoding="utf-8")): f"decisions/{path.name}"} for path in notes]


def title_of(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("# ")).removeprefix("# ")


def relinked(text: str, source: str, places: Mapping[str, str]) -> str:
    """The page with its links as they are on the site."""

    def moved(match: re.Match[str]) -> str:
        target, hash_sign, anchor = match["target"].partition("#")
        if not target or ":" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path not in places:
            kept = path.startswith("docs/images/")
            return match[0] if kept else f"{match['text']} (`{path}`)"
        here = posixpath.dirname(places[source])
        return f"[{match['text']}]({posixpath.relpath(places[path], here)}{hash_sign}{anchor})"

    found, end = [], 0
    for code in CODE.finditer(text):
        found += [LINK.sub(moved, text[end : code.start()]), code[0]]
        end = code.end()
    page = "".join([*found, LINK.sub(moved, text[end:])])
    return page.replace("(docs/images/", "(images/")


def links_of(text: str) -> Iterator[str]:
    """The targets of the links of a page, outside code."""
    for match in LINK.finditer(CODE.sub("", text)):
        yield match["target"]


def config(nav: list[dict[str, Any]]) -> dict[str, Any]:
    """The site's configuration. Nothing of it is fetched from elsewhere, neither fonts nor scripts."""
    return {
        "site_name": "recbench",
        "site_description": "Compare preference-tuning methods for LLM-based recommendation",
        "docs_dir": "docs",
        "site_dir": "site",
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.tabs", "navigation.indexes", "navigation.top", "content.code.copy"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "indigo"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "indigo"},
            ],
        },
        "markdown_extensions": ["tables", "admonition", "attr_list", "pymdownx.superfences", "toc"],
        "plugins": [
            "search",
            {
                "mkdocstrings": {
                    "handlers": {
                        "python": {
                            "paths": [str(REPOSITORY), str(REPOSITORY / "methods")],
                            "options": {
                                "show_source": False,
                                "show_root_heading": True,
                                "heading_level": 3,
                                "members_order": "source",
                                "separate_signature": True,
                                "show_signature_annotations": True,
                                "show_if_no_docstring": True,
                                "filters": ["!^_"],
                            },
                        }
                    }
                }
            },
        ],
        "nav": nav,
    }


if __name__ == "__main__":
    sys.exit(main())
