"""Python and the packages, against what recbench declares and what its tests last passed with."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from recbench.base.environment import DISTRIBUTION, FORMER, install, own_distribution
from recbench.doctor.finding import Finding

OPTIONAL = {
    "train": "without them nothing that learns can be run; scores, comparisons and boards work",
    "baselines": "without them RecBole's models and its copy of ml-100k are not here",
    "slurm": "without them --on slurm does not work",
}
SHOWN = 5


def python() -> Finding:
    wanted = own_distribution().metadata["Requires-Python"] or ""
    here = platform.python_version()
    good = SpecifierSet(wanted).contains(here, prereleases=True)
    return Finding(
        name="python",
        status="ok" if good else "missing",
        found=f"{here}, {wanted} is supported",
        fix="" if good else f"a virtual environment with Python {wanted}",
    )


def names() -> Iterator[Finding]:
    """A finding where a package of recbench's former name is beside it: an earlier install, or another
    project, whose files lie in the same folder."""
    other = installed(FORMER)
    if other is not None and installed(DISTRIBUTION) is not None:
        yield Finding(
            name="name",
            status="warning",
            found=f"the package {FORMER} {other} is installed beside {DISTRIBUTION}, with the same folder",
            fix=f"pip uninstall {FORMER}, then {install()} --force-reinstall --no-deps, or -e .",
        )


def packages() -> Iterator[Finding]:
    """One finding for the base install, and one for each group of optional packages."""
    declared = [Requirement(text) for text in own_distribution().requires or ()]
    base = [
        requirement
        for requirement in declared
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]
    yield judge("packages", base, optional="", extra="")
    for extra in own_distribution().metadata.get_all("Provides-Extra") or ():
        if extra in OPTIONAL:
            group = [
                requirement
                for requirement in declared
                if requirement not in base and _belongs(requirement, extra)
            ]
            yield judge(f"packages [{extra}]", group, optional=OPTIONAL[extra], extra=extra)


def _belongs(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def judge(name: str, wanted: list[Requirement], *, optional: str, extra: str) -> Finding:
    """A package that is there in another version than declared is missing; so is one that is not there, but
    where a whole optional group was left out, which is a choice."""
    absent, other, fine = [], [], []
    for requirement in wanted:
        here = installed(requirement.name)
        if here is None:
            absent.append(requirement.name)
        elif requirement.specifier.contains(here, prereleases=True):
            fine.append(requirement.name)
        else:
            other.append(f"{requirement.name} {here} is not {requirement.specifier}")
    fix = install(extra)
    if optional and not fine and not other:
        return Finding(name=name, status="warning", found=f"not installed: {optional}", fix=fix)
    if absent or other:
        found = "; ".join([*other, *([f"not installed: {', '.join(absent)}"] if absent else [])])
        return Finding(name=name, status="missing", found=found, fix=fix)
    return Finding(name=name, status="ok", found=f"{len(fine)} as declared")


def constraints(path: Path | None = None) -> Iterator[Finding]:
    """How the installed versions differ from those that the tests last passed with; nothing outside a
    checkout, which alone has the file. Packages that are not installed do not count."""
    path = Path(__file__).parents[2] / "constraints.txt" if path is None else path
    if not path.exists():
        return
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pinned = dict(line.split("==", 1) for line in lines if "==" in line)
    here = {name: installed(name) for name in pinned}
    known = {name: version for name, version in here.items() if version is not None}
    other = [
        f"{name} {version} (tests: {pinned[name]})"
        for name, version in known.items()
        if Version(version).public != Version(pinned[name]).public
    ]
    more = f", and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
    yield Finding(
        name="versions",
        status="warning" if other else "ok",
        found=", ".join(other[:SHOWN]) + more
        if other
        else f"{len(known)} packages are those that the tests last passed with",
        fix=f"pip install -c {path} -e '.[all]'" if other else "",
    )


def recbole() -> Iterator[Finding]:
    """RecBole may be here without ray, which it declares and recbench does not need."""
    here = installed("recbole")
    if here is None:
        yield Finding(
            name="recbole",
            status="warning",
            found="not installed: gru4rec, caser, bert4rec and its copy of ml-100k are not here",
            fix=f"{install('baselines')}, and where that leaves it out: pip install --no-deps recbole==1.2.1",
        )
        return
    ray = installed("ray")
    beside = "without ray, which recbench does not need" if ray is None else f"with ray {ray}"
    yield Finding(name="recbole", status="ok", found=f"{here}, {beside}")


def installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
