"""The form that asks for runs of a method, as GitHub reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
import yaml

from recbench.cli import app

REPOSITORY = Path(__file__).resolve().parents[3]
FORMS = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TYPES = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


def test_a_form_is_one_that_github_shows() -> None:
    [form] = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FORMS]
    assert form["name"] == "Please run my method"
    assert form["description"]
    fields: list[dict[str, Any]] = form["body"]
    assert {field["type"] for field in fields} <= TYPES
    asked = [field for field in fields if field["type"] != "markdown"]
    ids = [field["id"] for field in asked]
    labels = [field["attributes"]["label"] for field in asked]
    assert len(set(ids)) == len(ids)
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(r"[\w-]+", one, re.ASCII) for one in ids)
    required = {field["id"] for field in asked if field.get("validations", {}).get("required")}
    assert required == {"package", "method", "board", "check", "small", "cost", "tuning"}
    [promises] = [field for field in asked if field["type"] == "checkboxes"]
    assert all(option["required"] for option in promises["attributes"]["options"])


def test_commands_and_pages_that_a_form_names_exist() -> None:
    [text] = [path.read_text(encoding="utf-8") for path in FORMS]
    top: Any = typer.main.get_command(app)
    commands = re.findall(r"`recbench ([a-z]+)(?: ([a-z]+))?([^`]*)`", text)
    assert len(commands) >= 3
    for first, second, rest in commands:
        command = top.commands[first]
        command = command.commands[second] if hasattr(command, "commands") else command
        known = {word for one in command.params for word in one.opts}
        assert set(re.findall(r"(?<= )--?[a-z-]+", rest)) <= known
    for page in re.findall(r"docs/[\w/-]+\.md", text):
        assert (REPOSITORY / page).is_file()
