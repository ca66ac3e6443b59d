"""Which runs the words of `recbench compare` mean, and how comparisons look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from recbench.cli._output import console, print_table
from recbench.cli._report import all_bundles, find_run, is_run
from recbench.comparison.compare import CHECKPOINTS
from recbench.comparison.significance import ALPHA
from recbench.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    from recbench.base.root import Root
    from recbench.comparison.across_datasets import Across
    from recbench.comparison.compare import Comparison
    from recbench.comparison.family import Family
    from recbench.results.bundle import Bundle

WIDE = 120  # columns of a screen

Data = tuple[str, ...]
Groups = dict[Data, list["Bundle"]]


def sides(root: Root, names: Sequence[str]) -> dict[Data, dict[str, list[Bundle]]]:
    """The runs to compare: for each dataset that at least two of `names` ran on, the runs of each name.

    A label stands for all its finished seeds, a run id for that run. UsageError where one label names runs of
    different systems (backbone, paradigm, ranker) on the same data: then only run ids say which is meant.
    Where no two names share their data, one entry holds them all, and comparing them says what differs.
    """
    if len(set(names)) < len(names):
        raise UsageError("a method cannot be compared with itself", why=f"given: {', '.join(names)}")
    finished = [] if all(is_run(root, name) for name in names) else _finished(root)
    found = _named([(name, _by_data(_chosen(root, name, finished), name)) for name in names])
    shared = _shared(found)
    if not shared:
        first = next(key for groups in found.values() for key in groups)
        return {first: {name: next(iter(groups.values())) for name, groups in found.items()}}
    return shared


def all_sides(root: Root) -> dict[Data, dict[str, list[Bundle]]]:
    """As `sides` for every label; one that names several systems is named on stderr and left out."""
    finished = _finished(root)
    found = {}
    for label in sorted({one.label for one in finished}):
        try:
            found[label] = _by_data([one for one in finished if one.label == label], label)
        except UsageError as error:
            typer.echo(f"left out: {error.what} ({error.why})", err=True)
    return _shared(found)


def _finished(root: Root) -> list[Bundle]:
    return [one for one in all_bundles(root) if one.status == "complete"]


def _shared(found: Mapping[str, Groups]) -> dict[Data, dict[str, list[Bundle]]]:
    """The data that at least two of `found` ran on."""
    data = dict.fromkeys(key for groups in found.values() for key in groups)
    return {
        key: {name: groups[key] for name, groups in found.items() if key in groups}
        for key in data
        if sum(key in groups for groups in found.values()) > 1
    }


def _named(found: Sequence[tuple[str, Groups]]) -> dict[str, Groups]:
    """By label; where several sides bear the same one, by the word that named them."""
    labels = [next(iter(groups.values()))[0].label for _, groups in found]
    return {
        label if labels.count(label) == 1 else name: groups
        for label, (name, groups) in zip(labels, found, strict=True)
    }


def _chosen(root: Root, text: str, finished: Sequence[Bundle]) -> list[Bundle]:
    if is_run(root, text):
        return [find_run(root, text)]
    chosen = [one for one in finished if one.label == text]
    if not chosen:
        labels = {one.label for one in finished}
        raise unknown_name("run or method", text, labels, fix="recbench list runs")
    return chosen


def _by_data(chosen: Sequence[Bundle], text: str) -> Groups:
    """The finished runs that a label or a run id names, by what they were scored on."""
    groups: Groups = {}
    for one in chosen:
        fit = one.spec.fit
        groups.setdefault((fit.dataset, fit.split, str(one.spec.protocol), one.spec.phase), []).append(one)
    for group in groups.values():
        _refuse_mixed(text, group)
    return groups


def _refuse_mixed(text: str, group: Sequence[Bundle]) -> None:
    seeds = [one.seed for one in group]
    if len(set(seeds)) < len(seeds):
        raise UsageError(
            f"'{text}' names runs of different systems on {group[0].spec.fit.dataset}",
            why=", ".join(f"{one.id} ({_system(one)})" for one in group),
            fix=f"recbench compare {group[0].id} {group[1].id}",
        )


def _system(one: Bundle) -> str:
    llm, ranker = one.spec.fit.llm or {}, one.spec.ranker or {}
    parts = (llm.get("backbone"), llm.get("paradigm"), ranker.get("name"), f"seed {one.seed}")
    return ", ".join(str(part) for part in parts if part)


def comparison_text(dataset: str, one: Comparison) -> str:
    """The difference and its interval before any p."""
    width = max(len(one.a), len(one.b))
    relative = "" if one.relative is None else f" ({one.relative:+.1%})"
    others = "".join(f"; {name} p = {p:.4g}" for name, p in one.other_p.items())
    size = "" if one.effect_size is None else f"effect size d_z = {one.effect_size:.3f}; "
    sides = ((one.a, one.mean_a, one.seeds_a), (one.b, one.mean_b, one.seeds_b))
    lines = [
        f"{one.metric} on {dataset}, {_users_text(one)}",
        *(f"  {label:{width}}  {mean:.4f}{_seeds_text(seeds)}" for label, mean, seeds in sides),
        f"  difference {one.difference:+.4f}{relative}, 95 % interval [{one.low:+.4f}, {one.high:+.4f}]"
        f" ({one.interval})",
        f"  users {one.wins:,} better, {one.ties:,} the same, {one.losses:,} worse",
        f"  {one.test} p = {one.p:.4g}{others}",
        *_equivalence_lines(one),
        f"  {size}smallest difference found with 80 % power {one.smallest_difference:.4f}; "
        f"applies to {one.scope}",
        *(f"  note: {note}" for note in one.notes),
    ]
    return "\n".join(lines)


def _users_text(one: Comparison) -> str:
    """How many users; of a stratum also its rule."""
    return f"{one.num_users:,} users" + ("" if one.users == "all users" else f": {one.users}")


def _equivalence_lines(one: Comparison) -> list[str]:
    if one.margin is None or one.p_equivalent is None:
        return []
    verdict = "equivalent" if one.p_equivalent <= ALPHA else "not shown to be equivalent"
    return [f"  {verdict} within ±{one.margin:g} (two one-sided tests p = {one.p_equivalent:.4g})"]


def _seeds_text(seeds: Sequence[int | None]) -> str:
    named = [str(seed) for seed in seeds if seed is not None]
    return f"  (seed {', '.join(named)})" if named else ""


def across(families: Mapping[Data, Family]) -> Across | None:
    """The methods over all datasets that each of them was tested on; None for fewer than two sets."""
    import numpy as np

    from recbench.comparison.across_datasets import across as compare_across

    tested = {data[0]: family for data, family in families.items() if data[-1] == "test"}
    means = [{one.name: one.mean for one in family.standings} for family in tested.values()]
    names = sorted({name for found in means for name in found})
    whole = [[found[name] for name in names] for found in means if len(found) == len(names)]
    return compare_across(names, np.array(whole)) if len(whole) > 1 else None


def write_diagram(path: Path, found: Across | None) -> None:
    from recbench.comparison.critical_difference import critical_difference

    if found is None:
        raise UsageError("a critical-difference diagram needs several datasets that all methods ran on")
    path.write_text(critical_difference(found), encoding="utf-8")


def record(families: Mapping[Data, Family], found: Across | None) -> dict[str, Any]:
    """All of it as a JSON value."""
    return {
        "comparisons": [
            {"dataset": data[0], **asdict(one)}
            for data, family in families.items()
            for one in family.comparisons
        ],
        "standings": [
            {"dataset": data[0], **asdict(one)}
            for data, family in families.items()
            for one in family.standings
        ],
        "across": None if found is None else asdict(found),
    }


def print_families(families: Mapping[Data, Family]) -> None:
    """A lone pair as a paragraph; more methods as standings and differences."""
    for (dataset, *_), family in families.items():
        if len(family.standings) == 2:
            typer.echo(comparison_text(dataset, family.comparisons[0]))
        elif family.comparisons:
            _print_family(dataset, family)


def _print_family(dataset: str, family: Family) -> None:
    first = family.comparisons[0]
    title = f"{first.metric} on {dataset}, {_users_text(first)}"
    if family.standings[0].letters is None:
        print_table(["method", "mean"], [[one.name, one.mean] for one in family.standings], title=title)
    else:
        rows = [
            [one.name, one.mean, one.letters, " to ".join(map(str, dict.fromkeys(one.ranks or ())))]
            for one in family.standings
        ]
        print_table(["method", "mean", "group", "rank, 95 %"], rows, title=title)
    wide = console().width >= WIDE
    print_table(*_difference_table(family.comparisons, wide=wide), title=_family_title(family))
    notes = dict.fromkeys(note for one in family.comparisons for note in one.notes)
    for note in (_groups_note(family), *notes):
        typer.echo(f"note: {note}")
    if any(one.scope != "methods" for one in family.comparisons):
        typer.echo(f"{CHECKPOINTS} applies to these checkpoints only")


def _groups_note(family: Family) -> str:
    if family.standings[0].letters is not None:
        return "who shares a letter of a group does not differ beyond noise"
    if any(one.scope != "methods" for one in family.comparisons):
        return "no groups or ranks, as single checkpoints say nothing of their methods"
    return "no groups or ranks, as not all pairs are compared"


def _family_title(family: Family) -> str:
    smallest = max(one.smallest_difference for one in family.comparisons)
    return (
        f"differences with 95 % intervals, p adjusted by Holm for {len(family.comparisons)} tests; "
        f"every difference of {smallest:.4f} is found with 80 % power"
    )


def _difference_table(
    comparisons: Sequence[Comparison], *, wide: bool
) -> tuple[list[str], list[list[object]]]:
    """What a screen of 80 columns holds; a `wide` one also sizes, users and the test. All is in --json."""
    with_margin = any(one.margin is not None for one in comparisons)
    columns = ["A", "B", "A - B", "p", *(["p equivalent"] if with_margin else [])]
    return [*columns, *(["relative", "d_z", "users + = -", "test"] if wide else [])], [
        [
            one.a,
            one.b,
            f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]",
            f"{one.p_holm:.3g}{'' if one.scope == 'methods' else CHECKPOINTS}",
            *([f"{one.p_equivalent:.3g}"] if with_margin else []),
            *(_more(one) if wide else []),
        ]
        for one in comparisons
    ]


def _more(one: Comparison) -> list[object]:
    return [
        "-" if one.relative is None else f"{one.relative:+.1%}",
        "-" if one.effect_size is None else f"{one.effect_size:.3f}",
        f"{one.wins:,} {one.ties:,} {one.losses:,}",
        one.test,
    ]


def across_text(found: Across) -> str:
    ranked = zip(found.names, found.average_ranks, strict=True)
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in ranked)
    lines = [f"across {found.num_sets} datasets: average rank {ranks}"]
    if not found.cliques:
        lines.append(f"  tests over datasets can find something from {found.sets_needed} datasets on")
    if found.friedman_p is not None:
        lines.append(f"  Friedman p = {found.friedman_p:.4g}")
    lines += [
        f"  {one.a} - {one.b} {one.difference:+.4f}, Wilcoxon p = {one.p:.4g}, by Holm {one.p_holm:.4g}"
        for one in found.pairs
    ]
    tied = [clique for clique in found.cliques if len(clique) > 1]
    lines += [f"  no difference beyond noise: {', '.join(clique)}" for clique in tied]
    return "\n".join(lines)
