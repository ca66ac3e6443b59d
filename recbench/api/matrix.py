"""The runs that are asked for: every method on every dataset with every seed, or a study."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from recbench.errors import UsageError

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.planning.resolve import Resolved, Selection
    from recbench.planning.study import Study


def study_or_selections(
    study: str | None, root: Root, **options: Any
) -> tuple[Study | None, list[Selection]]:
    """The study, where one is named, and the runs. `options` are those of `selections`.

    UsageError where options and a study are mixed, or where there is neither.
    """
    if study is not None:
        from recbench.planning.study import find

        given = [name for name, value in options.items() if value is not None]
        if given:
            flag = {"settings": "set", "limit_users": "limit-users"}.get(given[0], given[0])
            raise UsageError(
                f"--{flag} and --study cannot be given together",
                why="a study says all that selects runs",
                fix="change the study's file, or leave --study out",
            )
        found = find(study, root)
        return found, found.selections()
    for name in ("method", "dataset"):
        if not options[name]:
            raise UsageError(
                f"no {name} is named", fix="-m METHOD -d DATASET, or --study NAME; see recbench list"
            )
    return None, selections(root, **options)


def selections(
    root: Root,
    *,
    method: Sequence[str],
    dataset: Sequence[str],
    backbone: str | None = None,
    paradigm: str | None = None,
    protocol: str | None = None,
    ranker: str | None = None,
    seed: Sequence[int] | None = None,
    seeds: int | None = None,
    settings: Sequence[str] | None = None,
    regime: str | None = None,
    parent: str | None = None,
    limit_users: int | None = None,
    phase: str | None = None,
) -> list[Selection]:
    """Every method on every dataset with every seed; None leaves an option at its default."""
    from recbench.base.params import parse_assignments
    from recbench.planning.resolve import Selection

    common: dict[str, Any] = {
        "backbone": root.setting("backbone", backbone),
        "paradigm": root.setting("paradigm", paradigm),
        "protocol": root.setting("protocol", protocol),
        "ranker": root.setting("ranker", ranker),
        "settings": parse_assignments(list(settings or [])),
        "regime": regime or "recipe",
        "parent": parent,
        "limit_users": limit_users,
        "phase": _phase(phase or "test"),
    }
    return [
        Selection(method=name, dataset=data, seed=number, **common)
        for data, name, number in product(dataset, method, _seeds(seed, seeds))
    ]


def _seeds(named: Sequence[int] | None, count: int | None) -> list[int]:
    if named and count is not None:
        raise UsageError("--seed and --seeds cannot be given together", fix=f"--seeds {count}")
    if any(seed < 0 for seed in named or ()):
        raise UsageError("a seed is not negative")
    return list(named) if named else list(range(count or 1))


def _phase(text: str) -> str:
    if text not in ("test", "valid"):
        raise UsageError(f"--phase '{text}' is neither test nor valid")
    return text


def refuse_idle_settings(runs: Sequence[Resolved]) -> None:
    """UsageError for settings that no run has a use for: none is of a language model, or starts from one."""
    settings = {key for run in runs for key in run.selection.settings}
    if settings and not any(run.plugin.traits.kind == "llm" or run.parent is not None for run in runs):
        raise UsageError(
            f"no selected method uses {', '.join(sorted(settings))}",
            why="train.*, identifiers.*, prompt.* and ranker.* belong to methods with a language model",
            fix="-m METHOD:key=value sets a method's own parameters",
        )


def control_notes(runs: Sequence[Resolved]) -> list[str]:
    """A line for each control that trains as a method which is not among `runs`, where other preference
    methods are: whose rows and steps it has, and how it is asked for those of the longest of them.

    Under a budget of tokens a control has the same tokens whichever method it follows, so nothing is said.
    """
    from recbench.planning.recipes import FOLLOWED, starts_from_parent
    from recbench.planning.resolve import steps_of

    followers = [run for run in runs if starts_from_parent(run.plugin) and not run.plugin.required]
    rivals = {run.plugin.name: run for run in followers}
    controls = {run.label: run for run in runs if run.plugin.traits.control and run.llm is not None}
    if not rivals:
        return []
    longest = max(sorted(rivals), key=lambda name: steps_of(rivals[name]))
    return [
        f"{label} has the rows and steps of '{run.params[FOLLOWED]}', which is not among these methods; "
        f"{run.plugin.name}:{FOLLOWED}={longest} has those of '{longest}'"
        for label, run in controls.items()
        if run.params[FOLLOWED] not in rivals and run.llm is not None and not run.llm.train.budget_epochs
    ]
