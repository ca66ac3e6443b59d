"""Which runs a command means: by the options that select runs, or by a study's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.errors import UsageError

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.planning.resolve import Selection
    from recbench.planning.study import Study

MethodsOption = Annotated[
    list[str] | None,
    typer.Option("--method", "-m", help="NAME or NAME:key=value,... (repeat for several)."),
]
DatasetsOption = Annotated[
    list[str] | None, typer.Option("--dataset", "-d", help="Name of a dataset (repeat for several).")
]
BackboneOption = Annotated[str | None, typer.Option("--backbone", "-b", help="Language model. [tiny]")]
ParadigmOption = Annotated[
    str | None, typer.Option("--paradigm", "-p", help="How items become tokens. [semantic-id]")
]
ProtocolOption = Annotated[str | None, typer.Option("--protocol", help="Evaluation protocol. [ilrec]")]
RankerOption = Annotated[
    str | None, typer.Option("--ranker", help="NAME or NAME:key=value,... for LLM methods. [exact]")
]
SeedOption = Annotated[list[int] | None, typer.Option("--seed", help="Seed (repeat for several). [0]")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="The first N seeds.")]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="train.*, identifiers.* or ranker.* setting, key=value.")
]
RegimeOption = Annotated[
    str | None,
    typer.Option("--regime", help="recipe, or equal-tokens: the same total of trained tokens. [recipe]"),
]
LimitUsersOption = Annotated[
    int | None,
    typer.Option("--limit-users", help="Only so many users; such runs stand on no board."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The options that select runs, as given; None where one was not."""

    method: Sequence[str] | None = None
    dataset: Sequence[str] | None = None
    backbone: str | None = None
    paradigm: str | None = None
    protocol: str | None = None
    ranker: str | None = None
    seed: Sequence[int] | None = None
    seeds: int | None = None
    settings: Sequence[str] | None = None
    regime: str | None = None
    parent: str | None = None
    limit_users: int | None = None
    phase: str | None = None


def chosen(words: Words, study: str | None, root: Root) -> tuple[Study | None, list[Selection]]:
    """The study, where one is named, and the runs. UsageError where words and a study are mixed, or where
    there is neither."""
    if study is not None:
        from recbench.planning.study import find

        given = [name for name, value in asdict(words).items() if value is not None]
        if given:
            flag = {"settings": "set", "limit_users": "limit-users"}.get(given[0], given[0])
            raise UsageError(
                f"--{flag} and --study cannot be given together",
                why="a study says all that selects runs",
                fix="change the study's file, or leave --study out",
            )
        found = find(study, root)
        return found, found.selections()
    for name, value in (("method", words.method), ("dataset", words.dataset)):
        if not value:
            raise UsageError(
                f"no {name} is named", fix="-m METHOD -d DATASET, or --study NAME; see recbench list"
            )
    return None, selections(words, root)


def selections(words: Words, root: Root) -> list[Selection]:
    """Every method on every dataset with every seed."""
    from recbench.base.params import parse_assignments
    from recbench.planning.resolve import Selection

    common: dict[str, Any] = {
        "backbone": root.setting("backbone", words.backbone),
        "paradigm": root.setting("paradigm", words.paradigm),
        "protocol": root.setting("protocol", words.protocol),
        "ranker": root.setting("ranker", words.ranker),
        "settings": parse_assignments(list(words.settings or [])),
        "regime": words.regime or "recipe",
        "parent": words.parent,
        "limit_users": words.limit_users,
        "phase": _phase(words.phase or "test"),
    }
    return [
        Selection(method=method, dataset=dataset, seed=seed, **common)
        for dataset, method, seed in product(
            words.dataset or [], words.method or [], _seeds(words.seed, words.seeds)
        )
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
