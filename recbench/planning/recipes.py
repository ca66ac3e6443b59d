"""The recipes that a method may have: named ones, that of another method for a control, and several tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from recbench.dataset.split import PreparedSplit
from recbench.errors import DataError, UsageError, unknown_name
from recbench.planning.description import Description, describe, of_distribution
from recbench.settings import BACKBONES, ONE_TASK, TASK_FIELDS, LLMSettings, TrainSettings, layered

PRESET = "preset"
"""The word beside a method's parameters that asks for a recipe: `sdpo:preset=official`."""
ASKED = f"{PRESET}="
"""Before the name of a recipe, in the key of what they get who ask for it, and not all under the protocol."""
FOLLOWED = "as"
"""The parameter of a control that names the method whose training it has."""
MANY_ROWS = 1_000_000
"""Rows of a dataset that is larger than the cap of every method."""


def chosen(plugin: Description, name: str, *, backbone: str, paradigm: str) -> tuple[str, str]:
    """The keys of a method's presets that the recipe `name` stands for, in their order.

    The first is also that of a protocol of this name; the second is for those alone who ask for the recipe.
    UsageError where the method has neither, or nothing that goes with the backbone and the paradigm.
    """
    presets, no_recipes = plugin.traits.presets, {"scratch", "pretrained", backbone, *BACKBONES}
    recipe_of = {key: key.partition("+")[0].removeprefix(ASKED) for key in presets}
    known = sorted({*recipe_of.values()} - no_recipes)
    if name not in known:
        near = [*get_close_matches(name, known, n=1, cutoff=0.5), *known]
        fix = f"-m {plugin.name}:preset={near[0]}" if near else f"-m {plugin.name}"
        raise unknown_name(f"preset of {plugin.name}", name, known, fix=fix)
    own = {key: values for key, values in presets.items() if recipe_of[key] == name}
    if not layered(own, backbone, paradigm, name, ASKED + name):
        raise UsageError(
            f"preset '{name}' of '{plugin.name}' has nothing for -b {backbone} -p {paradigm}",
            why=f"it is for {' or '.join(sorted(key.partition('+')[2].replace('+', ' ') for key in own))}",
            fix=f"-m {plugin.name}",
        )
    return name, ASKED + name


def preference_methods(control: Description) -> list[Description]:
    """The methods of the control's own distribution that start from the parent, by name."""
    return [
        plugin for plugin in of_distribution(control.distribution, control.root) if starts_from_parent(plugin)
    ]


def followed(control: Description, name: str) -> Description:
    """The method called `name`. UsageError where it does not train from the parent, or has no defaults."""
    plugin = describe(name, control.root)
    whole = [one.name for one in preference_methods(control) if not one.required]
    why = ""
    if not starts_from_parent(plugin):
        why = f"'{name}' does not start from the weights of sft, as {', '.join(whole)} do"
    elif plugin.required:
        why = f"'{name}' has no recipe without its {', '.join(sorted(plugin.required))}, which as= cannot say"
    if why:
        raise UsageError(
            f"'{control.name}' cannot train as '{name}' does",
            why=why,
            fix=f"-m {control.name}:{FOLLOWED}={whole[0]}" if whole else "",
        )
    return plugin


def starts_from_parent(plugin: Description) -> bool:
    """Whether it continues the weights of sft, and is no control for those that do."""
    traits = plugin.traits
    return traits.kind == "llm" and traits.starts_from == "parent" and not traits.control


def num_steps(train: TrainSettings, stages: int, rows: int = MANY_ROWS) -> int:
    """Optimiser steps of `stages` stages on a dataset of so many rows, by the epochs of the recipe."""
    rows = min(rows, train.max_rows or rows)
    return stages * math.ceil(train.epochs * math.ceil(rows / train.batch))


def as_control(train: Mapping[str, Any], stages: int) -> dict[str, Any]:
    """The training of a method of so many stages as that of a single one: same rows, steps and selection.

    With a budget of tokens, which decides the steps, the rows are all.
    """
    rows = 0 if train["budget_epochs"] else train["max_rows"]
    return {**train, "epochs": stages * train["epochs"], "max_rows": rows}


def check_tasks(plugin: Description, llm: LLMSettings, *, parent: LLMSettings | None) -> None:
    """UsageError where the method cannot have the tasks of `train.tasks`.

    They are between semantic ids and text; a method trains on them itself, or starts from a parent that did.
    """
    tasks = llm.train.tasks
    if parent is not None and parent.train.tasks != tasks:
        raise UsageError(
            f"'{plugin.name}' has train.tasks={tasks}, and the sft that it needs {parent.train.tasks}",
            why="a block has the same tasks for all of its methods",
            fix=f"--set train.tasks={tasks}, which is for its sft too",
        )
    if tasks == ONE_TASK:
        return
    if llm.paradigm != "semantic-id":
        raise UsageError(
            f"train.tasks={tasks} goes with semantic ids",
            why=f"they are between an item's codes and its text; the paradigm '{llm.paradigm}' has no codes",
            fix="-p semantic-id, or leave train.tasks out",
        )
    if plugin.traits.starts_from == "base" and not plugin.traits.tasks:
        raise UsageError(
            f"'{plugin.name}' does not train on train.tasks={tasks}",
            why="it starts from the base and learns the next item alone",
            fix="leave train.tasks out",
        )


def unfed_tasks(llm: LLMSettings | None, split: PreparedSplit) -> DataError | None:
    """The error for tasks that read what no item of the dataset has; None where there are such items."""
    if llm is None:
        return None
    counts = split.statistics
    have = {"title": counts.items_with_title, "categories": counts.items_with_categories}
    for name in TASK_FIELDS.get(llm.train.tasks, ()):
        if not have[name]:
            whole = name == "title"
            return DataError(
                f"dataset '{split.dataset}' cannot feed train.tasks={llm.train.tasks}",
                why="no item has a title, which every task but the next item reads"
                if whole
                else "no item has categories, of which intentions and preferences are made",
                fix=f"--set train.tasks={ONE_TASK if whole else 'lc-rec-titles'}",
            )
    return None
