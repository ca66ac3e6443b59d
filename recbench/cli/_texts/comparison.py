"""Comparisons for the terminal: a lone pair as a paragraph; more methods as standings and differences."""

from __future__ import annotations

from collections.abc import Sequence

from recbench.base.fitting import Fitted, TextColumn
from recbench.base.words import shown
from recbench.cli._output import cell_text, console, echo
from recbench.comparison.across_datasets import Across, MeanOverSets
from recbench.comparison.compare import CHECKPOINTS, Comparison
from recbench.comparison.family import Family, MethodStanding
from recbench.comparison.significance import ALPHA


def _pair_text(dataset: str, comparison: Comparison) -> str:
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
        *([f"  {comparison.estimand}"] if comparison.estimand else []),
        *(f"  note: {note}" for note in comparison.notes),
    ]
    return "\n".join(lines)


def _smallest_text(comparison: Comparison) -> str:
    low, high = comparison.smallest_range
    return f"{comparison.smallest_difference:.4f} [{low:.4f}, {high:.4f}]"


def _users_text(comparison: Comparison) -> str:
    """How many users; of a stratum also its rule."""
    requests = "" if not comparison.estimand else f" with {comparison.num_requests:,} requests"
    return f"{comparison.num_users:,} users{requests}" + (
        "" if comparison.users == "all users" else f": {comparison.users}"
    )


def _equivalence_lines(comparison: Comparison) -> list[str]:
    if comparison.margin is None or comparison.p_equivalent is None:
        return []
    verdict = "equivalent" if comparison.p_equivalent <= ALPHA else "not shown to be equivalent"
    return [
        f"  {verdict} within ±{comparison.margin:g} (two one-sided tests p = {comparison.p_equivalent:.4g})"
    ]


def _seeds_text(seeds: Sequence[int | None]) -> str:
    named = [str(seed) for seed in seeds if seed is not None]
    return f"  (seed {', '.join(named)})" if named else ""


def print_family(data: str, family: Family) -> None:
    """What was compared on the data of that name."""
    if len(family.standings) == 2:
        echo(_pair_text(data, family.comparisons[0]))
    elif family.comparisons:
        _print_several(data, family)


def _print_several(dataset: str, family: Family) -> None:
    first = family.comparisons[0]
    title = f"{first.metric} on {dataset}, {_users_text(first)}"
    if all(standing.ranks is None for standing in family.standings):
        rows = [[standing.name, standing.mean] for standing in family.standings]
        _table(title, ["method"], ["mean"], rows)
    else:
        rows = [
            [standing.name, standing.mean, standing.letters, _rank_text(standing)]
            for standing in family.standings
        ]
        _table(title, ["method"], ["mean", "group", "rank, 95 %"], rows)
    _print_differences(family)
    notes = dict.fromkeys(note for comparison in family.comparisons for note in comparison.notes)
    for note in (_groups_note(family), *([first.estimand] if first.estimand else []), *notes):
        echo(f"note: {note}")
    if any(comparison.scope != "methods" for comparison in family.comparisons):
        echo(f"{CHECKPOINTS} applies to these checkpoints only")


def _table(
    title: str,
    names: Sequence[str],
    values: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    more: Sequence[str] = (),
) -> None:
    """Columns of names, of numbers, and of what a narrow screen leaves out."""
    columns = [
        *(TextColumn(name, is_text=True) for name in names),
        *(TextColumn(name) for name in values),
        *(TextColumn(name, needed=False) for name in more),
    ]
    console().print(Fitted(shown(title), columns, [[shown(cell_text(cell)) for cell in row] for row in rows]))


def _rank_text(standing: MethodStanding) -> str | None:
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


def _print_differences(family: Family) -> None:
    """What a screen of 80 columns holds; a wide one has the sizes, users and tests too."""
    with_margin = any(comparison.margin is not None for comparison in family.comparisons)
    rows = [
        [
            comparison.a,
            comparison.b,
            f"{comparison.difference:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]",
            f"{comparison.p_holm:.3g}{'' if comparison.scope == 'methods' else CHECKPOINTS}",
            *([f"{comparison.p_equivalent_holm:.3g}"] if with_margin else []),
            *_more(comparison),
        ]
        for comparison in family.comparisons
    ]
    values = ["A - B", "p", *(["p equivalent"] if with_margin else [])]
    more = ["relative", "d_z", "users + = -", "test"]
    _table(_family_title(family), ["A", "B"], values, rows, more=more)


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


def across_text(across: Across) -> str:
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
