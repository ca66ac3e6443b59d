"""What every form of a board says: the cells of its tables, and the sentences beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbench.comparison.compare import CHECKPOINTS

Board = Mapping[str, Any]
Table = Mapping[str, Any]

UNCERTIFIED = "‡"
EXTERNAL = "§"
NONE = "–"
PARENT = "parent"
COSTS = ("seconds", "gpu_seconds", "trained_tokens", "generated_tokens", "peak_gpu_bytes", "num_parameters")
UNITS = {"peak_gpu_bytes": ("peak GPU GiB", 2.0**30), "peak_host_bytes": ("peak host GiB", 2.0**30)}


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a table's cell; `value` is what the column sorts by (None sorts last).

    `key` names the column for whoever changes it later.
    """

    text: str
    value: float | str | None = None
    key: str = ""


def title(table: Table) -> str:
    return f"{table['dataset']}, protocol {table['protocol']['name']} v{table['protocol']['version']}"


def description(table: Table) -> str:
    protocol = table["protocol"]
    seen = "not ranked" if protocol["exclude_seen"] else "ranked too"
    return (
        f"{table['num_requests']:,} requests; candidates: {protocol['candidates']}; seen items: {seen}; "
        f"{protocol['depth']} places; split {table['split'][:12]}."
    )


def legend(table: Table, board: Board) -> list[str]:
    """What a reader must know to read the table, as sentences."""
    metric = metric_name(board["metric"])
    lines = _rank_legend(standing(table, board["metric"])["ranks"], board)
    if table["references"]:
        family = "pairs of the table" if board["pairs"] == "all" else "differences shown"
        lines.append(
            f"vs: difference in {metric} with its 95 % interval, then p adjusted by Holm for the "
            f"{table['num_tests']} {family}. Within a block it is an effect of the method; "
            "across blocks (marked ~) a difference between systems."
        )
    if PARENT in table["references"]:
        lines.append(
            "vs parent: against the fit that a row started from; for a start from the base, against the "
            "sft of its block."
        )
    if table["smallest_difference"] is not None:
        lines.append(
            f"Smallest difference in {metric} that every comparison here finds with "
            f"{100 * board['power']:.0f} % power: {table['smallest_difference']:.4f}."
        )
    return [*lines, *marks(table), *table["notes"]]


def marks(table: Table) -> list[str]:
    """The meaning of each mark that the rows bear."""
    rows, lines = table["rows"], []
    if any(value["sd"] is not None for row in rows for value in row["metrics"].values()):
        lines.append("±: standard deviation over seeds.")
    if any(row["scope"] != "methods" for row in rows):
        lines.append(f"{CHECKPOINTS} one seed: these checkpoints only; nothing is said about other seeds.")
    if any(row["uncertified"] for row in rows):
        lines.append(
            f"{UNCERTIFIED} more than 1 % of the rankings are not certified to equal exhaustive scoring."
        )
    if any(row["external"] for row in rows):
        lines.append(f"{EXTERNAL} a ranking made elsewhere.")
    return lines


def external_notes(table: Table) -> list[str]:
    """What is noted of the rankings made elsewhere, for a form that has no room for all notes."""
    names = tuple(f"{row['name']}: " for row in table["rows"] if row["external"])
    return [f"{note}." for note in table["notes"] if note.startswith(names)]


def standing(table: Table, metric: str) -> Mapping[str, Any]:
    """The view of all users: what a metric says of every row and pair."""
    view: Mapping[str, Any] = table["views"]["all"][metric]
    return view


def _rank_legend(ranks: Sequence[Sequence[int] | None], board: Board) -> list[str]:
    lines = []
    exploratory = "" if board["pairs"] == "all" else " Exploratory."
    if any(rank is not None for rank in ranks):
        lines.append(
            "Rank: the ranks that a row may have (95 % for all together); letters: rows that share one do "
            "not differ beyond noise (Holm over all pairs of the table, adjusted p at most "
            f"{board['alpha']:g}).{exploratory}"
        )
    if None in ranks:
        lines.append(
            f"Rank {NONE}: not known, as one seed says nothing of its method; such rows count in no rank."
        )
    return lines


def sections(table: Table) -> list[tuple[str, list[str]]]:
    """Lists under a table, by heading; empty ones are left out."""
    lists = [
        ("Blocks", [block_line(block) for block in table["blocks"]]),
        ("Missing runs", list(table["missing"])),
        (
            "Differences in full",
            [
                _difference_line(row, name, table)
                for row in table["rows"]
                for name in table["references"]
                if name in row["vs"]
            ],
        ),
        (
            "Differences between machines",
            [f"{key}: {' | '.join(values)}" for key, values in sorted(table["differs"].items())],
        ),
        ("Digests", [f"{key}: {value}" for key, value in sorted(table["digests"].items())]),
    ]
    return [(heading, lines) for heading, lines in lists if lines]


def across(board: Board) -> list[str]:
    """What the datasets together say of the rows that stand on all of them; empty for one dataset."""
    found = board["across"]
    if found is None:
        return []
    ranks = zip(found["names"], found["average_ranks"], strict=True)
    lines = [
        f"Average rank in {metric_name(board['metric'])} over {found['num_sets']} datasets: "
        + ", ".join(f"{name} {rank:.2f}" for name, rank in ranks)
    ]
    if not found["cliques"]:
        return [*lines, f"No pair can differ beyond noise on fewer than {found['sets_needed']} datasets."]
    if found["friedman_p"] is not None:
        lines.append(f"Friedman p {p_text(found['friedman_p'])}")
    return [
        *lines,
        *(
            f"{pair['a']} and {pair['b']}: {pair['difference']:+.4f}, p {p_text(pair['p_holm'])} "
            "(Wilcoxon over datasets, Holm)"
            for pair in found["pairs"]
        ),
    ]


def block_line(block: Mapping[str, str]) -> str:
    return f"{block['name']}: " + "; ".join(f"{key} {block[key]}" for key in block if key != "name")


def left_out(board: Board) -> list[tuple[str, list[str]]]:
    """What is on no table, by heading; empty lists are left out."""
    lists = [
        ("Runs left out", [excluded_line(run) for run in board["excluded"]]),
        ("Runs still to come", list(board["missing"])),
    ]
    return [(heading, lines) for heading, lines in lists if lines]


def excluded_line(run: Mapping[str, str]) -> str:
    return f"{run['label']} on {run['dataset']} ({run['id']}): {run['why']}"


def grid(table: Table, metric: str, *, short: bool = False) -> tuple[list[Cell], list[list[Cell]]]:
    """Columns (sort kind `text` or `number`) and rows of cells; `short` leaves out what is too wide.

    NDCG@1 and MRR@1 are HR@1, so only that is shown; measures of the lists, only at the metric's cutoff.
    """
    references = [] if short else table["references"]
    cutoff = metric.partition("@")[2]
    lists = [
        name for name in table["metrics"] if name not in table["switchable"] and name.endswith(f"@{cutoff}")
    ]
    rest = [] if short else [*(name for name in table["switchable"] if name != metric), *lists]
    costs = ["seconds"] if short else COSTS
    costs = [name for name in costs if any(row[name] is not None for row in table["rows"])]
    parent = [PARENT] if PARENT in references else []
    others = [name for name in references if name != PARENT]
    counted = PARENT if PARENT in references else next(iter(references), None)
    head = [
        Cell("rank", "number", "rank"),
        Cell("method", "text"),
        *(Cell(f"vs {name}", "number", "parent") for name in parent),
        Cell(metric_name(metric), "number", "score"),
        *(Cell(f"vs {name}", "number", "reference") for name in others),
        *([Cell("block", "text")] if table["blocks"] else []),
        Cell("seeds", "number"),
        *(Cell(metric_name(name), "number") for name in rest),
        *([Cell(f"users won / tied / lost vs {counted}", "number")] if counted else []),
        Cell("certified", "number"),
        *(Cell(cost_name(name), "number") for name in costs),
    ]
    view = standing(table, metric)
    rows = [
        [
            rank(view["ranks"][number], view["letters"][number]),
            Cell(row["name"] + (EXTERNAL if row["external"] else ""), row["name"]),
            *(versus(row["vs"].get(name)) for name in parent),
            _score(row["metrics"].get(metric)),
            *(versus(row["vs"].get(name)) for name in others),
            *([Cell(row["block"] or NONE, row["block"] or "")] if table["blocks"] else []),
            _seeds(row),
            *(_score(row["metrics"].get(name), name) for name in rest),
            *([_users(row["vs"].get(counted))] if counted else []),
            _certified(row),
            *(_cost(row[name], name) for name in costs),
        ]
        for number, row in enumerate(table["rows"])
    ]
    return head, rows


def difference_grid(table: Table) -> tuple[list[Cell], list[list[Cell]]]:
    """One line a difference, for a screen that is too narrow for a column a reference."""
    head = [Cell("method", "text"), Cell("vs", "text"), Cell("difference", "number")]
    rows = [
        [Cell(row["name"]), Cell(_against(row["vs"][name], name, table)), versus(row["vs"][name])]
        for row in table["rows"]
        for name in table["references"]
        if name in row["vs"]
    ]
    return head, rows


def _difference_line(row: Mapping[str, Any], name: str, table: Table) -> str:
    found = row["vs"][name]
    relative = "" if found["relative"] is None else f" ({100 * found['relative']:+.1f} %)"
    size = "" if found["effect_size"] is None else f", d_z {found['effect_size']:+.3f}"
    tests = {found["test"]: found["p"], **found["other_p"]}
    said = ", ".join(f"{test} p {p_text(p)}" for test, p in tests.items())
    users = ", ".join(f"{count:,} {how}" for how, count in found["users"].items())
    return (
        f"{row['name']} − {_against(found, name, table)}: {found['difference']:+.4f}{relative}{size}; "
        f"{said}, by Holm {p_text(found['p_holm'])}; users {users}; {found['kind']}, of {found['scope']}"
    )


def _against(difference: Mapping[str, Any], name: str, table: Table) -> str:
    other = table["rows"][difference["against"]]["name"]
    return f"{other} (parent)" if name == PARENT else str(other)


def rank(ranks: Sequence[int] | None, letters: str | None) -> Cell:
    if ranks is None:
        return Cell(NONE)
    low, high = ranks
    return Cell(f"{low} {letters}" if low == high else f"{low}–{high} {letters}", low)


def _users(difference: Mapping[str, Any] | None) -> Cell:
    if difference is None:
        return Cell(NONE)
    users = difference["users"]
    return Cell(f"{users['won']:,} / {users['tied']:,} / {users['lost']:,}", users["won"] - users["lost"])


def _seeds(row: Mapping[str, Any]) -> Cell:
    if row["seeds"] == [None]:
        return Cell("one fit", 0)
    return Cell(f"{len(row['seeds'])}{CHECKPOINTS if row['scope'] != 'methods' else ''}", len(row["seeds"]))


def _score(value: Mapping[str, Any] | None, name: str = "") -> Cell:
    if value is None:
        return Cell(NONE)
    digits = 1 if name.startswith("popularity@") else 4
    spread = "" if value["sd"] is None else f" ± {value['sd']:.{digits}f}"
    return Cell(f"{value['mean']:.{digits}f}{spread}", value["mean"])


def versus(difference: Mapping[str, Any] | None) -> Cell:
    if difference is None:
        return Cell(NONE)
    across = "" if difference["kind"] == "effect of the method" else "~ "
    low, middle, high = (difference[name] for name in ("low", "difference", "high"))
    verdict = f"{difference['verdict']}, p {p_text(difference['p_holm'])}"
    return Cell(f"{across}{middle:+.4f} [{low:+.4f}, {high:+.4f}] {verdict}", middle)


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _certified(row: Mapping[str, Any]) -> Cell:
    share = row["certified_share"]
    if share is None:
        return Cell(NONE)
    # rounding up would call a row certified that is not
    percent = int(share * 1000) / 10
    return Cell(f"{percent:.1f} %{UNCERTIFIED if row['uncertified'] else ''}", share)


def cost_name(name: str) -> str:
    return (
        UNITS[name][0] if name in UNITS else name.removeprefix("num_").replace("_", " ").replace("gpu", "GPU")
    )


def _cost(value: float | None, name: str) -> Cell:
    if value is None:
        return Cell(NONE)
    if name in UNITS:
        return Cell(f"{value / UNITS[name][1]:,.2f}", value)
    return Cell(f"{value:,.1f}" if name.endswith("seconds") else f"{value:,.0f}", value)


def metric_name(name: str) -> str:
    head, at, cutoff = name.partition("@")
    return (head.upper() if head in ("hr", "ndcg", "mrr") else head) + at + cutoff
