"""Options that several commands share, and the choice of the root folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recbench.cli.reference import completion

if TYPE_CHECKING:
    from recbench.base.root import Root

RootOption = Annotated[
    Path | None, typer.Option("--root", help="Folder of runs and caches.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]
RankedAgainOption = Annotated[
    int,
    typer.Option(
        "--users",
        min=0,
        help="Users a run whose lists are made again from the weights; all where that takes seconds.",
    ),
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
StudyOption = Annotated[
    str | None, typer.Option("--study", help="A study: its name under leaderboards/, or its file.")
]
MetricOption = Annotated[
    str,
    typer.Option(
        "--metric",
        help="Metric to compare by, e.g. hr@5.",
        autocompletion=completion.metrics,
    ),
]


# which runs
MethodsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="NAME or NAME:key=value,... (repeat for several).",
        autocompletion=completion.methods,
    ),
]
DatasetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset", "-d", help="Name of a dataset (repeat for several).", autocompletion=completion.datasets
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        "-b",
        help="Language model. [tiny]",
        autocompletion=completion.backbones,
    ),
]
ParadigmOption = Annotated[
    str | None,
    typer.Option(
        "--paradigm", "-p", help="How items become tokens. [semantic-id]", autocompletion=completion.paradigms
    ),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="Evaluation protocol. [ilrec]",
        autocompletion=completion.protocols,
    ),
]
RankerOption = Annotated[
    str | None,
    typer.Option(
        "--ranker",
        help="NAME or NAME:key=value,... for LLM methods. [exact]",
        autocompletion=completion.rankers,
    ),
]
SeedOption = Annotated[list[int] | None, typer.Option("--seed", help="Seed (repeat for several). [0]")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="The first N seeds.")]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="train.*, identifiers.*, prompt.* or ranker.* setting, key=value.",
        autocompletion=completion.settings,
    ),
]
RegimeOption = Annotated[
    str | None,
    typer.Option("--regime", help="recipe, or equal-tokens: the same total of trained tokens. [recipe]"),
]
LimitUsersOption = Annotated[
    int | None,
    typer.Option("--limit-users", help="Only so many users; such runs stand on no board."),
]

# which finished runs
SetsOption = Annotated[
    list[str] | None, typer.Option("--dataset", "-d", help="Only on this dataset (repeat for several).")
]
OfBackboneOption = Annotated[
    str | None, typer.Option("--backbone", "-b", help="Only language models of this backbone.")
]
OfParadigmOption = Annotated[
    str | None, typer.Option("--paradigm", "-p", help="Only language models of this paradigm.")
]
UnderProtocolOption = Annotated[str | None, typer.Option("--protocol", help="Only under this protocol.")]

# where and with what they are done
OnOption = Annotated[
    Literal["local", "slurm"], typer.Option("--on", help="This machine, or a Slurm cluster.")
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Table [profiles.NAME] of recbench.toml, for Slurm.")
]
GpusOption = Annotated[
    int | None, typer.Option("--gpus", min=1, help="GPUs of one run, on each of its nodes. [1]")
]
NodesOption = Annotated[int | None, typer.Option("--nodes", min=1, help="Nodes of one run. [1]")]
TimeOption = Annotated[
    str | None, typer.Option("--time", help="Limit of one run, its parent's fit included, e.g. 8h.")
]
ParallelOption = Annotated[
    int | None,
    typer.Option("--max-parallel", min=1, help="Runs at once. [one per GPU; on a CPU one]"),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Return when all is submitted; recbench status says the rest.")
]

ForceOption = Annotated[bool, typer.Option("--force", help="Do these runs and their fits again.")]


def find_root(flag: Path | None) -> Root:
    from recbench.base.root import discover

    return discover(flag)
