"""`recbench method check`: whether a method keeps the contract, check by check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli._options import JsonOption, RootOption, SettingsOption, find_root
from recbench.cli._output import echo
from recbench.errors import CheckError, unknown_name

if TYPE_CHECKING:
    from recbench.conformance.finding import CheckFinding

USERS = 120


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="NAME or NAME:key=value,...")],
    only: Annotated[list[str] | None, typer.Option("--only", help="One check (repeat for several).")] = None,
    real: Annotated[bool, typer.Option("--real", help="On 120 users of a real dataset.")] = False,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="The dataset of --real.")] = "ml-100k",
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="How long a fit with its rankings may take.")
    ] = 90.0,
    settings: SettingsOption = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Check whether a method keeps the contract: what failed, and how to fix it; exit 5 if something did."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from recbench.base.params import parse_assignments
    from recbench.cli._output import listening, print_json
    from recbench.conformance import toy_set
    from recbench.conformance.checks import CHECKS, check_each
    from recbench.conformance.finding import failed
    from recbench.conformance.trials import Trials
    from recbench.planning import registry

    for word in only or ():
        if word not in CHECKS:
            raise unknown_name("check", word, CHECKS, fix="recbench method check NAME")
    findings: list[CheckFinding] = []
    with TemporaryDirectory(prefix="recbench-check-") as folder, listening() as listener:
        place = Path(folder)
        ground = (
            toy_set.real_place(place, dataset, find_root(root), USERS, listener)
            if real
            else toy_set.toy_place(place)
        )
        trials = Trials(
            name, ground, settings=parse_assignments(settings or []), seconds=seconds, listener=listener
        )
        registry.point_of(trials.name)
        for found in check_each(trials, only or ()):
            findings.append(found)
            if not json:
                _show(found, CHECKS[found.check].claim)
    if json:
        print_json([found.to_json() for found in findings])
    bad = failed(findings)
    if bad:
        raise CheckError(
            f"'{trials.name}' fails {len(bad)} of {len(findings)} checks: {', '.join(bad)}",
            fix="fix them; what does not hold for the method its class may decline, with the reason: "
            f"declines = {{'{bad[0]}': '...'}}",
        )


def _show(found: CheckFinding, claim: str) -> None:
    echo(f"{found.status:9} {found.check:13} {claim}")
    if found.what:
        echo(f"{'':23} {found.what}")
    if found.fix:
        echo(f"{'':23} try: {found.fix}")
