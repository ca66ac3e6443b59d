"""`recbench doctor`: what is missing for runs, here and on a cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from recbench.cli.options import JsonOption, OfflineOption, RootOption, find_root
from recbench.errors import MissingError


def doctor(
    on: Annotated[
        Literal["local", "slurm"],
        typer.Option("--on", help="slurm: ask the cluster too, and run a test job of seconds on a node."),
    ] = "local",
    backbone: Annotated[
        str | None, typer.Option("--backbone", "-b", help="A language model that is to be used.")
    ] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option(help="Option of the test job, e.g. --sbatch=--account=NAME.")
    ] = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Check packages, GPUs, the root, data, the MLflow store, a backbone and a Slurm cluster, and say what
    mends each. Exit code 3 where something is missing."""
    from recbench.cli.output import print_json, print_table
    from recbench.cli.progress import listening
    from recbench.doctor import diagnose

    place = find_root(root)
    findings = []
    with listening() as listener:
        checks = diagnose(
            place, backbone=backbone, offline=offline, cluster=on == "slurm", sbatch=sbatch or ()
        )
        for finding in checks:
            findings.append(finding)
            listener.progress(finding.name, len(findings), len(findings) + 1)
    if json:
        print_json([asdict(one) for one in findings])
    else:
        rows = [(one.name, one.status, one.found) for one in findings]
        print_table(("check", "", "found"), rows)
        for one in findings:
            if one.mend:
                typer.echo(f"{one.name}: try: {one.mend}")
    missing = [one.name for one in findings if one.status == "missing"]
    if missing:
        raise typer.Exit(MissingError.exit_code)
