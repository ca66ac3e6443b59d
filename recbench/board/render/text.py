"""The sentences of a board, which every form shows beside its tables."""

from __future__ import annotations

from recbench.board.leakage import leakage_and_remedy
from recbench.board.model import PARENT, Board, BoardRow, Difference, ExcludedRun, NamedBlock, Table
from recbench.board.outside.columns import line
from recbench.comparison.across_datasets import MeanOverSets
from recbench.comparison.compare import CHECKPOINTS
from recbench.comparison.standings import RANKED_SEEDS
from recbench.protocol import estimand
from recbench.results.metrics import metric_name
from recbench.results.strata import ALL

UNCERTIFIED = "‡"
EXTERNAL = "§"
NONE = "–"


def title(table: Table) -> str:
    return f"{table.dataset}, protocol {table.protocol['name']} v{table.protocol['version']}"


def description(table: Table) -> str:
    protocol = table.protocol
    seen = "not ranked" if protocol["exclude_seen"] else "ranked too"
    said = estimand(protocol)
    requests = f"{table.num_requests:,} requests"
    if said:
        requests += f" of {next(iter(table.views[ALL].values())).users:,} users"
    return (
        f"{requests}; candidates: {protocol['candidates']}; seen items: {seen}; "
        f"{protocol['depth']} places; split {table.split[:12]}." + (f" {said}" if said else "")
    )


def legend(table: Table, board: Board, *, leak: bool = True) -> list[str]:
    """What a reader must know to read the table, as sentences; `leak`: that of leakage among them."""
    metric = metric_name(board.metric)
    lines = _rank_legend(table, board)
    if table.references:
        family = "pairs of the table" if board.pairs == "all" else "differences shown"
        lines.append(
            f"vs: difference in {metric} with its 95 % interval, then p adjusted by Holm for the "
            f"{table.num_tests} {family}. Within a block it is an effect of the method; "
            "across blocks (marked ~) a difference between systems."
        )
    if PARENT in table.references:
        lines.append(
            "vs parent: against the fit that a row started from; for a start from the base, against the "
            "sft of its block."
        )
    if smallest := smallest_differences(table):
        lines.append(
            f"Found with {100 * board.power:.0f} % power: true differences in {metric} of about {smallest}, "
            "by row (see the differences in full)."
        )
    leakage = leakage_and_remedy(table, board) if leak else ""
    return [*lines, *marks(table), *([leakage] if leakage else []), *table.notes]


def smallest_differences(table: Table) -> str:
    """From the least to the greatest over the differences shown; empty for a table without any."""
    found = [difference.smallest_difference for _, _, difference in shown(table)]
    ends = dict.fromkeys(f"{end:.4f}" for end in (min(found), max(found))) if found else {}
    return " to ".join(ends)


def marks(table: Table) -> list[str]:
    """The meaning of each mark in the rows."""
    rows, lines = table.rows, []
    if any(score.sd is not None for row in rows for score in row.metrics.values()):
        lines.append("±: standard deviation over seeds.")
    if any(row.checkpoints_only for row in rows):
        lines.append(f"{CHECKPOINTS} one seed: these checkpoints only; nothing is said about other seeds.")
    if any(row.uncertified for row in rows):
        lines.append(
            f"{UNCERTIFIED} more than 1 % of the rankings are not certified to equal exhaustive scoring."
        )
    if any(row.external for row in rows):
        lines.append(f"{EXTERNAL} a ranking made elsewhere.")
    return lines


def external_notes(table: Table) -> list[str]:
    """The notes of rankings made elsewhere, for a form that has no room for all notes."""
    names = tuple(f"{row.name}: " for row in table.rows if row.external)
    return [f"{note}." for note in table.notes if note.startswith(names)]


def _rank_legend(table: Table, board: Board) -> list[str]:
    lines = []
    rows = table.view(board.metric).rows
    exploratory = (
        "" if board.pairs == "all" else " Exploratory: from all pairs, which are not the board's family."
    )
    if any(row.ranks is not None and not row.of_checkpoint for row in rows):
        shared = "; letters: rows that share one do not differ beyond noise" if board.pairs == "all" else ""
        lines.append(
            f"Rank: the ranks that a row may have (95 % for all together){shared} (Holm over all pairs of "
            f"the table, adjusted p at most {board.alpha:g}).{exploratory}"
        )
    if any(row.of_checkpoint for row in rows):
        lines.append(
            f"Rank {CHECKPOINTS}: the ranks that a checkpoint may have among all rows (95 % for all "
            f"together); they count in no rank of methods.{exploratory}"
        )
    if any(len(row.seeds) == 2 for row in table.rows):
        lines.append(
            f"Rank {NONE}: two seeds are too few; with {RANKED_SEEDS} or more all ranks hold together."
        )
    return lines


def sections(table: Table) -> list[tuple[str, list[str]]]:
    """Lists under a table, by heading; empty ones are left out."""
    lists = [
        ("Blocks", [block_line(block) for block in table.blocks]),
        ("Missing runs", list(table.missing)),
        (
            "Differences in full",
            [difference_line(row, name, difference, table) for row, name, difference in shown(table)],
        ),
        ("Metrics of other packages, as recorded", outside_lines(table)),
        (
            "Differences between machines",
            [f"{key}: {' | '.join(values)}" for key, values in sorted(table.differs.items())],
        ),
        ("Digests", [f"{key}: {value}" for key, value in sorted(table.digests.items())]),
    ]
    return [(heading, lines) for heading, lines in lists if lines]


def outside_lines(table: Table) -> list[str]:
    """Each metric of another package, with whose it is, and its value for each row."""
    names = [table.title_of(row) for row in table.rows]
    return [line(column, names) for column in table.outside]


def shown(table: Table) -> list[tuple[BoardRow, str, Difference]]:
    """Every difference of the table with its row and the name of its reference, in the order of the rows.

    A parent that is the reference too stands once.
    """
    return [
        (row, name, row.vs[name])
        for row in table.rows
        for name in table.references
        if name in row.vs and not is_parents(row, name)
    ]


def declared_reference(table: Table) -> str | None:
    """The declared reference beside the parent, where the table has one."""
    named = next((name for name in table.references if name != PARENT), None)
    return None if named is None else named.partition(" · ")[0]


def is_parents(row: BoardRow, name: str) -> bool:
    """Whether the difference to a reference is that to the row's parent."""
    return name != PARENT and PARENT in row.vs and row.vs[name].against == row.vs[PARENT].against


def across(board: Board) -> list[str]:
    """What the datasets together say of the rows that they share; empty for one dataset."""
    found = board.across
    if found is None:
        return []
    ranks = zip(found.names, found.average_ranks, strict=True)
    lines = [
        f"Average rank in {metric_name(board.metric)} over {found.num_sets} datasets: "
        + ", ".join(f"{name} {rank:.2f}" for name, rank in ranks)
    ]
    if found.friedman_p is not None:
        lines.append(f"That all rank alike: Friedman (Iman and Davenport) p {p_text(found.friedman_p)}.")
    lines += [_mean_line(mean, len(found.differences)) for mean in found.differences]
    if not found.cliques:
        return [
            *lines,
            f"On other datasets: no pair can differ beyond noise on fewer than {found.sets_needed} datasets.",
        ]
    return [
        *lines,
        *(
            f"{pair.a} and {pair.b}: {pair.difference:+.4f}, p {p_text(pair.p_holm)} "
            "(Wilcoxon over datasets, Holm)"
            for pair in found.pairs
        ),
    ]


def _mean_line(mean: MeanOverSets, num_tests: int) -> str:
    """The mean over sets, then each set, then whether they agree."""
    sets = "; ".join(
        f"{one.dataset} {one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in mean.sets
    )
    agree = ""
    if mean.heterogeneity_p is not None and mean.i_squared is not None:
        agree = f"; sets differ: p {p_text(mean.heterogeneity_p)}, I² {100 * mean.i_squared:.0f} %"
    return (
        f"{mean.a} − {mean.b}, mean of these datasets only: {mean.difference:+.4f} [{mean.low:+.4f}, "
        f"{mean.high:+.4f}], p by Holm for {num_tests} pairs {p_text(mean.p_holm)} ({sets}{agree})"
    )


def block_line(block: NamedBlock) -> str:
    return f"{block.name}: " + "; ".join(f"{part} {value}" for part, value in block.parts.items())


def left_out(board: Board) -> list[tuple[str, list[str]]]:
    """The runs that are on no table, and what was verified, by heading; empty lists are left out."""
    lists = [
        ("Runs left out", [_excluded_line(run) for run in board.excluded]),
        ("Runs still to come", list(board.missing)),
        ("Verified", list(board.verified)),
    ]
    return [(heading, lines) for heading, lines in lists if lines]


def _excluded_line(run: ExcludedRun) -> str:
    return f"{run.label} on {run.dataset} ({run.id}): {run.why}"


def difference_line(row: BoardRow, name: str, difference: Difference, table: Table) -> str:
    relative = "" if difference.relative is None else f" ({100 * difference.relative:+.1f} %)"
    size = "" if difference.effect_size is None else f", d_z {difference.effect_size:+.3f}"
    p_values = {difference.test: difference.p, **difference.other_p}
    tests = ", ".join(f"{test} p {p_text(p)}" for test, p in p_values.items())
    mark = "" if difference.scope == "methods" else CHECKPOINTS
    users, (low, high) = difference.users, difference.smallest_range
    return (
        f"{table.title_of(row)} − {other_name(name, difference, table)}: "
        f"{difference.difference:+.4f}{mark}{relative}{size}; "
        f"{tests}, by Holm {p_text(difference.p_holm)}; "
        f"finds {difference.smallest_difference:.4f} [{low:.4f}, {high:.4f}] with 80 % power; "
        f"users {users.won:,} won, {users.tied:,} tied, {users.lost:,} lost; "
        f"{difference.kind}, of {difference.scope}"
    )


def other_name(name: str, difference: Difference, table: Table) -> str:
    other = table.title_of(table.rows[difference.against])
    return f"{other} (parent)" if name == PARENT else other


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
