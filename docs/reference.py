"""The reference of the site, written by the code: commands, what has a name, and the Python interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import typer

import recbench
from docs import recipes
from recbench import llm, sequential
from recbench.base.extensions import points
from recbench.cli import COMMANDS, app
from recbench.cli.reference.entry import pairs_text, value_text
from recbench.dataset import card
from recbench.interface import CONTRACT
from recbench.protocol import PROTOCOLS
from recbench.reference import methods, outside, settings, terms
from recbench.reference.entry import NamedEntry
from recbench.settings import BACKBONES, RANKERS, Paradigm

Pages = list[Any]


def write(pages: Path) -> Pages:
    """Write `reference/` below `pages` and return its part of the navigation."""
    made = {
        "commands": ("Commands", commands()),
        "datasets": ("Datasets", datasets()),
        "backbones": ("Backbones", _all("Backbones", terms.backbone, BACKBONES)),
        "paradigms": ("Paradigms", _all("Paradigms", terms.paradigm, get_args(Paradigm))),
        "protocols": ("Protocols", _all("Protocols", terms.protocol, PROTOCOLS)),
        "rankers": ("Rankers", _all("Rankers", terms.ranker, RANKERS)),
        "samplers": ("Samplers", _all("Samplers", sampler, own_samplers())),
        "identifiers": (
            "Identifier schemes",
            _all("Identifier schemes", terms.identifier_scheme, terms.IDENTIFIER_SCHEMES),
        ),
        "formats": ("Raw formats", _all("Raw formats", terms.raw_format, terms.FORMATS)),
        "metrics": ("Metrics", _all("Metrics", terms.metric, terms.metric_names())),
        "settings": ("Settings", settings_page()),
        "python": ("Python", python()),
        "contract": ("For methods", contract()),
        "engine": ("For LLM methods", engine()),
    }
    folder = pages / "reference"
    (folder / "methods").mkdir(parents=True)
    for name, (_, text) in made.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    own = [plugin.name for plugin in recipes.first_party()]
    (folder / "methods.md").write_text(methods_page(own), encoding="utf-8")
    for name in own:
        page = "\n".join(["# " + name, "", *_entry(methods.entry(name))])
        (folder / "methods" / f"{name}.md").write_text(page + "\n", encoding="utf-8")
    listed: Pages = [{title: f"reference/{name}.md"} for name, (title, _) in made.items()]
    by_method: Pages = ["reference/methods.md", *({name: f"reference/methods/{name}.md"} for name in own)]
    listed.insert(1, {"Methods": by_method})
    return listed


def own_samplers() -> list[str]:
    return [name for name, point in points.available("sampler").items() if points.is_own(point)]


def sampler(name: str) -> NamedEntry:
    return outside.entry("sampler", name)


def commands() -> str:
    """Every command with its options, as `--help` has them."""
    root: Any = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "`recbench --help` and `recbench COMMAND --help` say the same in a terminal.",
        "",
    ]
    for panel, names in COMMANDS.items():
        lines += [f"## {panel}", ""]
        for name in names:
            lines += list(_command(root.commands[name], f"recbench {name}"))
    return "\n".join(lines) + "\n"


def _command(command: Any, path: str) -> Iterator[str]:
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    if inner:
        for name, one in inner.items():
            yield from _command(one, f"{path} {name}")
        return
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    yield from (f"### {path}", "", *_paragraphs(command.help or ""), "")
    usage = " ".join([path, *(one.metavar or one.name.upper() for one in arguments), "[OPTIONS]"])
    yield from ("```text", usage, "```", "")
    rows = [(one.metavar or one.name.upper(), one.help or "") for one in arguments]
    rows += [(", ".join(one.opts), one.help or "") for one in options]
    yield from _table(("option", "meaning"), [(f"`{name}`", text) for name, text in rows])


def methods_page(names: Sequence[str]) -> str:
    rows = []
    for name in names:
        entry = methods.entry(name)
        rows.append((f"[{name}](methods/{name}.md)", str(entry.facts["kind"]), entry.first_line))
    text = "Methods that come with recbench; plugins add theirs, and `recbench list methods` has all of them."
    return "\n".join(["# Methods", "", text, "", *_table(("name", "kind", "what it is"), rows)])


def datasets() -> str:
    """The cards of recbench itself."""
    lines = ["# Datasets", "", "`recbench show NAME` has the statistics of a set whose files are here.", ""]
    nowhere = Path("/nonexistent")
    for name in sorted(card.available(nowhere)):
        found = card.find(name, nowhere)
        lines += [f"## {name}", "", found.title, ""]
        counts = {} if found.expect is None else asdict(found.expect)
        facts: Mapping[str, object] = {
            **{name: f"{count:,}" for name, count in counts.items() if count is not None},
            "citation": found.citation,
            "terms": found.terms,
        }
        lines += _table(("fact", "value"), [(key, str(value)) for key, value in facts.items() if value])
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    lines = ["# Settings", "", "`--set KEY=VALUE` changes one for all methods of a command.", ""]
    for group, names in settings.groups().items():
        lines += [f"## {group}", ""]
        rows = []
        for name in names:
            for entry in settings.entries(name):
                (one,) = entry.parameters
                kind = f"{one.type} {one.allowed}".strip()
                owner = str(entry.facts["of"]).partition(" ")[2] if group in ("ranker", "identifiers") else ""
                shown = f"`{name}`" + (f" ({owner})" if owner else "")
                rows.append((shown, kind, value_text(one.default) or "(empty)", one.meaning))
        lines += _table(("setting", "values", "default", "meaning"), rows)
    return "\n".join(lines) + "\n"


def python() -> str:
    """The names of `import recbench`."""
    lines = ["# Python", "", "What the commands do, from Python.", ""]
    homes = {name: home for name, home in recbench._HOMES.items() if name != "datasets"}
    order = [name for name in homes if name[0].islower()] + [name for name in homes if name[0].isupper()]
    for name in order:
        lines += _documented(f"recbench.{homes[name]}.{name}", f"recbench.{name}")
    for name in ("load", "names", "Dataset"):
        lines += _documented(f"recbench.api.datasets.{name}", f"recbench.datasets.{name}")
    return "\n".join(lines) + "\n"


def contract() -> str:
    lines = ["# For methods", "", "What a method imports from recbench; anything else is private.", ""]
    for name in CONTRACT:
        lines += [
            f"## {name}",
            "",
            f"::: {name}",
            "    options:",
            "      show_root_heading: false",
            "",
        ]
    return "\n".join(lines) + "\n"


def engine() -> str:
    """The names that recbench.llm and recbench.sequential export, under their public names."""
    lines = ["# For LLM methods", ""]
    for package in (llm, sequential):
        lines += [f"## {package.__name__}", "", (package.__doc__ or "").strip(), ""]
        for name in sorted(package.__all__):
            module, _, attribute = package._HOMES[name].partition(":")
            home = f"{package.__name__}.{module}.{attribute or name}"
            lines += _documented(home, f"{package.__name__}.{name}")
    return "\n".join(lines) + "\n"


def _documented(home: str, name: str) -> list[str]:
    """The docstring of what lies at `home`, under the name by which it is imported."""
    return [f"::: {home}", "    options:", f"      heading: {name}", f"      toc_label: {name}", ""]


def _all(title: str, make: Callable[[Any], NamedEntry], names: Any) -> str:
    lines = [f"# {title}", ""]
    for name in names:
        entry = make(name)
        lines += [f"## {name}", "", *_entry(entry)]
    return "\n".join(lines) + "\n"


def _entry(entry: NamedEntry) -> Iterator[str]:
    yield from (*_paragraphs(entry.about), "")
    if entry.links:
        yield from (*(f"- <{link}>" for link in entry.links), "")
    plain = {key: value for key, value in entry.facts.items() if value not in (None, "", (), [], {})}
    yield from _table(
        ("fact", "value"), [(key.replace("_", " "), value_text(value)) for key, value in plain.items()]
    )
    if entry.parameters:
        rows = [
            (
                f"`{one.name}`",
                f"{one.type} {one.allowed}".strip(),
                "required" if one.required else value_text(one.default) or "(empty)",
                value_text(entry.tried[one.name]) if one.name in entry.tried else "",
                one.meaning,
            )
            for one in entry.parameters
        ]
        yield from _table(("parameter", "values", "default", "tried", "meaning"), rows)
    if entry.presets:
        origin = entry.origins.get("presets", "")
        yield from (f"Presets. {origin}".rstrip(), "")
        presets = [(f"`{one.name}`", f"`{pairs_text(one.values)}`") for one in entry.presets]
        yield from _table(("preset", "values"), presets)
    if entry.use:
        yield from ("```bash", entry.use, "```", "")


def _paragraphs(text: str) -> list[str]:
    """A text of the code as Markdown: paragraphs, with what Markdown would read as marks escaped."""
    return [_escaped(" ".join(part.split())) + "\n" for part in text.split("\n\n") if part.strip()]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield "| " + " | ".join(heads) + " |"
        yield "|" + "---|" * len(heads)
        for row in rows:
            yield "| " + " | ".join(_escaped(cell).replace("|", "\\|") for cell in row) + " |"
        yield ""


def _escaped(text: str) -> str:
    """Stars, underscores, brackets and angles outside of code and links as they are written."""
    parts = text.split("`")
    for number in range(0, len(parts), 2):
        if not parts[number].startswith("[") or "](" not in parts[number]:
            parts[number] = parts[number].replace("*", "\\*").replace("_", "\\_")
            parts[number] = parts[number].replace("<", "&lt;").replace("[", "\\[")
    return "`".join(parts)
