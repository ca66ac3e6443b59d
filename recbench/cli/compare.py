"""`recbench compare`: differences between finished runs, their intervals and tests. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli._options import PRIMARY_METRIC, JsonOption, MetricOption, RootOption, find_root
from recbench.cli._output import WIDE, console, echo, print_json, print_table
from recbench.cli._runs import named_sides
from recbench.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from recbench.comparison.across_datasets import Across, MeanOverSets
    from recbench.comparison.compare import Comparison
    from recbench.comparison.family import Family, MethodStanding
    from recbench.comparison.sides import ScoredOn


def compare(
    method: Annotated[
        list[str], typer.Argument(metavar="A B ...", help="Run ids, or methods as on a board.")
    ],
    metric: MetricOption = PRIMARY_METRIC,
    margin: Annotated[
        float | None, typer.Option(help="Also test whether differences lie within this much.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Compare the others with this one alone, instead of all pairs.")
    ] = None,
    stratum: Annotated[
        str,
        typer.Option(help="Count only some users: head, mid, tail by their target, long, medium, short."),
    ] = "all",
    diagram: Annotated[
        Path | None, typer.Option(help="Write a critical-difference diagram of the datasets, an SVG file.")
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Is A better than B on the same users, and is the difference more than noise?"""
    from recbench.cli._runs import others
    from recbench.comparison.family import compare_all
    from recbench.comparison.sides import lenders, over_datasets

    if len(method) < 2:
        raise UsageError(f"'{method[0]}' is compared with nothing", fix=f"recbench compare {method[0]} B")
    groups = named_sides(find_root(root), method)
    names = list(dict.fromkeys(name for sides in groups.values() for name in sides))
    if reference is not None and reference not in names:
        raise unknown_name("method among those compared", reference, names)
    seeds_of_others = lenders(groups, others(find_root(root), groups))
    families = {
        data: compare_all(
            sides,
            metric,
            reference=reference,
            margin=margin,
            stratum=stratum,
            lenders=seeds_of_others[data],
        )
        for data, sides in groups.items()
    }
    refused = [pair for family in families.values() for pair in family.refused]
    if refused and not any(family.comparisons for family in families.values()):
        raise refused[0][2]
    across = over_datasets(families)
    if json:
        print_json(_record(families, across))
    else:
        _print_families(families)
        if across is not None:
            echo(_across_text(across))
    if diagram is not None:
        _write_diagram(diagram, across)
    for a, b, error in refused:
        echo(f"not compared: {a} and {b}: {error.what} ({error.why})", err=True)
    if refused:
        raise typer.Exit(refused[0][2].exit_code)


def _comparison_text(dataset: str, comparison: Comparison) -> str:
    """The difference and its interval before any p."""
    width = max(len(comparison.a), len(comparison.b))
    relative = "" if comparison.relative is None else f" ({comparison.relative:+.1%})"
    others = "".join(f"; {name} p = {p:.4g}" for name, p in comparison.other_p.items())
    size = "" if comparison.effect_size is None else f"effect size d_z = {comparison.effect_size:.3f}; "
    sides = (
        (comparison.a, comparison.mean_a, comparison.seeds_a),
        (comparison.b, comparison.mean_b, comparison.seeds_b),
    )
    lines = [
        f"{comparison.metric} on {dataset}, {_users_text(comparison)}",
        *(f"  {label:{width}}  {mean:.4f}{_seeds_text(seeds)}" for label, mean, seeds in sides),
        f"  difference {comparison.difference:+.4f}{relative}, 95 % interval "
        f"[{comparison.low:+.4f}, {comparison.high:+.4f}]",
        f"  users {comparison.wins:,} better, {comparison.ties:,} the same, {comparison.losses:,} worse",
        f"  {comparison.test} p = {comparison.p:.4g}{others}",
        *([f"  seed variance: {comparison.seed_rule}"] if comparison.seed_rule else []),
        *_equivalence_lines(comparison),
        f"  {size}found with 80 % power: a true difference of about {_smallest_text(comparison)}; "
        f"applies to {comparison.scope}",
        *(f"  note: {note}" for note in comparison.notes),
    ]
    return "\n".join(lines)


def _smallest_text(comparison: Comparison) -> str:
    low, high = comparison.smallest_range
    return f"{comparison.smallest_difference:.4f} [{low:.4f}, {high:.4f}]"


def _users_text(comparison: Comparison) -> str:
    """How many users; of a stratum also its rule."""
    return f"{comparison.num_users:,} users" + (
        "" if comparison.users == "all users" else f": {comparison.users}"
    )


def _equivalence_lines(comparison: Comparison) -> list[str]:
    from recbench.comparison.significance import ALPHA

    if comparison.margin is None or comparison.p_equivalent is None:
        return []
    verdict = "equivalent" if comparison.p_equivalent <= ALPHA else "not shown to be equivalent"
    return [
        f"  {verdict} within ±{comparison.margin:g} (two one-sided tests p = {comparison.p_equivalent:.4g})"
    ]


def _seeds_text(seeds: Sequence[int | None]) -> str:
    named = [str(seed) for seed in seeds if seed is not None]
    return f"  (seed {', '.join(named)})" if named else ""


def _write_diagram(path: Path, across: Across | None) -> None:
    from recbench.comparison.critical_difference import critical_difference

    if across is None:
        raise UsageError("a critical-difference diagram needs several datasets that all methods ran on")
    path.write_text(critical_difference(across), encoding="utf-8")


def _record(families: Mapping[ScoredOn, Family], across: Across | None) -> dict[str, Any]:
    """All of it as a JSON value."""
    return {
        "comparisons": [
            {"dataset": data.dataset, **asdict(comparison)}
            for data, family in families.items()
            for comparison in family.comparisons
        ],
        "standings": [
            {"dataset": data.dataset, **asdict(standing)}
            for data, family in families.items()
            for standing in family.standings
        ],
        "across": None if across is None else asdict(across),
    }


def _print_families(families: Mapping[ScoredOn, Family]) -> None:
    """A lone pair as a paragraph; more methods as standings and differences."""
    for data, family in families.items():
        if len(family.standings) == 2:
            echo(_comparison_text(data.dataset, family.comparisons[0]))
        elif family.comparisons:
            _print_family(data.dataset, family)


def _print_family(dataset: str, family: Family) -> None:
    from recbench.comparison.compare import CHECKPOINTS

    first = family.comparisons[0]
    title = f"{first.metric} on {dataset}, {_users_text(first)}"
    if all(standing.ranks is None for standing in family.standings):
        print_table(
            ["method", "mean"], [[standing.name, standing.mean] for standing in family.standings], title=title
        )
    else:
        rows = [
            [standing.name, standing.mean, standing.letters, _rank_text(standing)]
            for standing in family.standings
        ]
        print_table(["method", "mean", "group", "rank, 95 %"], rows, title=title)
    wide = console().width >= WIDE
    print_table(*_difference_table(family.comparisons, wide=wide), title=_family_title(family))
    notes = dict.fromkeys(note for comparison in family.comparisons for note in comparison.notes)
    for note in (_groups_note(family), *notes):
        echo(f"note: {note}")
    if any(comparison.scope != "methods" for comparison in family.comparisons):
        echo(f"{CHECKPOINTS} applies to these checkpoints only")


def _rank_text(standing: MethodStanding) -> str | None:
    from recbench.comparison.compare import CHECKPOINTS

    if standing.ranks is None:
        return None
    mark = CHECKPOINTS if standing.of_checkpoint else ""
    return " to ".join(map(str, dict.fromkeys(standing.ranks))) + mark


def _groups_note(family: Family) -> str:
    if any(standing.letters is not None for standing in family.standings):
        return "methods that share a letter do not differ beyond noise"
    if any(standing.ranks is not None for standing in family.standings):
        return "ranks are those of these checkpoints; they say nothing about their methods"
    if any(len(seeds) == 2 for one in family.comparisons for seeds in (one.seeds_a, one.seeds_b)):
        return "no groups or ranks, as two seeds are too few"
    return "no groups or ranks, as not all pairs are compared"


def _family_title(family: Family) -> str:
    found = [comparison.smallest_difference for comparison in family.comparisons]
    smallest = " to ".join(f"{end:.4f}" for end in dict.fromkeys((min(found), max(found))))
    return (
        f"differences with 95 % intervals, p adjusted by Holm for {len(family.comparisons)} tests; "
        f"true differences of about {smallest}, by pair, are found with 80 % power"
    )


def _difference_table(
    comparisons: Sequence[Comparison], *, wide: bool
) -> tuple[list[str], list[list[object]]]:
    """What a screen of 80 columns holds; a `wide` screen has the sizes, users and tests too."""
    from recbench.comparison.compare import CHECKPOINTS

    with_margin = any(comparison.margin is not None for comparison in comparisons)
    columns = ["A", "B", "A - B", "p", *(["p equivalent"] if with_margin else [])]
    return [*columns, *(["relative", "d_z", "users + = -", "test"] if wide else [])], [
        [
            comparison.a,
            comparison.b,
            f"{comparison.difference:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]",
            f"{comparison.p_holm:.3g}{'' if comparison.scope == 'methods' else CHECKPOINTS}",
            *([f"{comparison.p_equivalent_holm:.3g}"] if with_margin else []),
            *(_more(comparison) if wide else []),
        ]
        for comparison in comparisons
    ]


def _more(comparison: Comparison) -> list[object]:
    return [
        "-" if comparison.relative is None else f"{comparison.relative:+.1%}",
        "-" if comparison.effect_size is None else f"{comparison.effect_size:.3f}",
        f"{comparison.wins:,} {comparison.ties:,} {comparison.losses:,}",
        comparison.test,
    ]


def _agreement_text(mean: MeanOverSets) -> str:
    if mean.heterogeneity_p is None or mean.i_squared is None:
        return ""
    return f"; sets differ p = {mean.heterogeneity_p:.3g}, I2 {mean.i_squared:.0%}"


def _across_text(across: Across) -> str:
    ranked = zip(across.names, across.average_ranks, strict=True)
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in ranked)
    lines = [f"across {across.num_sets} datasets: average rank {ranks}"]
    lines += [
        f"  {mean.a} - {mean.b} {mean.difference:+.4f} [{mean.low:+.4f}, {mean.high:+.4f}], "
        f"mean of these datasets only, p by Holm {mean.p_holm:.3g}{_agreement_text(mean)}"
        for mean in across.differences
    ]
    if not across.cliques:
        lines.append(f"  tests over other datasets need at least {across.sets_needed} datasets")
    if across.friedman_p is not None:
        lines.append(f"  Friedman p = {across.friedman_p:.4g}")
    lines += [
        f"  {pair.a} - {pair.b} {pair.difference:+.4f}, Wilcoxon p = {pair.p:.4g}, by Holm {pair.p_holm:.4g}"
        for pair in across.pairs
    ]
    tied = [clique for clique in across.cliques if len(clique) > 1]
    lines += [f"  no difference beyond noise: {', '.join(clique)}" for clique in tied]
    return "\n".join(lines)
