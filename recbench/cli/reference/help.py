"""Pages of `--help` that list commands: by what they are for, each with its whole first sentence."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperGroup

PANELS = ("Run", "Results", "Data", "Methods of your own", "What there is", "Upkeep")
NO_PANEL = "Commands"
SENTENCE = re.compile(r"(?<=[.?!])\s")


class Grouped(TyperGroup):
    """Commands under the panels that they were registered with, those without one at the end."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                rows = panels.setdefault(panel if panel in PANELS else NO_PANEL, [])
                rows.append((name, first_sentence(command.help or "")))
        for panel, rows in sorted(panels.items(), key=lambda one: (*PANELS, NO_PANEL).index(one[0])):
            with formatter.section(panel):
                formatter.write_dl(rows)


def first_sentence(text: str) -> str:
    """The first sentence of a help text, in one line."""
    return SENTENCE.split(" ".join(text.split()), maxsplit=1)[0]
