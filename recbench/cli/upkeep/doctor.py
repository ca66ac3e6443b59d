"""`recbench doctor`: what is missing for runs, here and on a cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from recbench.cli._options import JsonOption, OfflineOption, OnOption, ProfileOption, RootOption, find_root
from recbench.cli._output import echo
from recbench.errors import MissingError


def doctor(
    on: OnOption = "local",
    profile: ProfileOption = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", "-b", help="A language model that is to be used.")
    ] = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Check packages, GPUs, the root, data, the MLflow store, a backbone and a Slurm cluster, and say what
    fixes each; --on slurm runs a job of seconds on a node. Exit code 3 where something is missing."""
    from recbench.cli._output import listening, print_json, print_table
    from recbench.doctor import diagnose

    place = find_root(root)
    findings = []
    with listening() as listener:
        checks = diagnose(place, backbone=backbone, offline=offline, cluster=on == "slurm", profile=profile)
        for finding in checks:
            findings.append(finding)
            listener.progress(finding.name, len(findings), len(findings) + 1)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(finding.name, finding.status, finding.found) for finding in findings]
        print_table(("check", "", "found"), rows)
        for finding in findings:
            if finding.fix:
                echo(f"{finding.name}: try: {finding.fix}")
    missing = [finding.name for finding in findings if finding.status == "missing"]
    if missing:
        raise typer.Exit(MissingError.exit_code)
