"""How finished runs and datasets look on the terminal; and which runs a word on the command line means."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from recbench.cli._output import flat, interval_text, listening
from recbench.errors import DigestError, MissingError, RecbenchError, UsageError, unknown_name

if TYPE_CHECKING:
    from rich.table import Table

    from recbench.base.root import Root
    from recbench.dataset.split import PreparedSplit, Spread, Statistics
    from recbench.protocol import Phase
    from recbench.results.bundle import Bundle

FIRST_RUN = "recbench run -m popularity -d ml-100k"
BAR_WIDTH = 40

Lines = list[tuple[str, object]]


def headline(bundles: Sequence[Bundle]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of a table with one line for each finished run."""
    shown = ("hr", "ndcg")
    cutoffs = bundles[0].spec.protocol["cutoffs"]
    cutoff = 10 if 10 in cutoffs else max(cutoffs)
    columns = ["run", "method", "dataset", "seed", *(f"{m}@{cutoff}" for m in shown), "certified", "seconds"]
    rows: list[list[object]] = []
    for one in bundles:
        spec = one.spec.fit
        scores = [interval_text(**mean_interval(one, f"{metric}@{cutoff}")) for metric in shown]
        seconds = one.efficiency.get("seconds", {}).get("total")  # unknown for a ranking made elsewhere
        rows.append(
            [
                one.id,
                one.label,
                spec.dataset,
                spec.seed,
                *scores,
                certified_text(one),
                "-" if seconds is None else f"{seconds:.1f}",
            ]
        )
    return columns, rows


def certified_text(one: Bundle) -> str:
    """The share of requests whose top-K provably equals exhaustive scoring."""
    share = one.manifest.certified_share
    return "-" if share is None else f"{share:.1%}"


def mean_interval(one: Bundle, metric: str) -> dict[str, float]:
    """Mean of a metric over the run's users, and its 95 % bootstrap interval."""
    from recbench.comparison import rescore

    return rescore.mean_interval(one.per_request(metric))


def run_record(one: Bundle) -> dict[str, Any]:
    """A run as a JSON value for programs."""
    cutoffs = one.spec.protocol["cutoffs"]
    intervals = {}
    if one.status == "complete":
        for metric in (f"{name}@{k}" for name in ("hr", "ndcg") for k in cutoffs):
            intervals[metric] = mean_interval(one, metric)
    return {
        "id": one.id,
        "fit_id": one.spec.fit.id,
        "label": one.label,
        "dataset": one.spec.fit.dataset,
        "protocol": one.spec.protocol["name"],
        "phase": one.spec.phase,
        "seed": one.seed,
        "status": one.status,
        "reason": one.reason,
        "metrics": dict(one.metrics),
        "intervals": intervals,
        "certified_share": one.manifest.certified_share,
        "efficiency": dict(one.efficiency),
        "off_protocol": one.manifest.off_protocol,
        "external": one.manifest.external,
        "folder": str(one.path),
    }


def next_command(bundles: Sequence[Bundle]) -> str:
    """Compare where two methods ran on the same data, else build the board."""
    first = bundles[0]
    for other in bundles[1:]:
        same_data = other.spec.fit.split == first.spec.fit.split
        if same_data and other.label != first.label:
            return f"recbench compare {shlex.quote(other.label)} {shlex.quote(first.label)}"
    return "recbench leaderboard build"


def all_bundles(root: Root) -> list[Bundle]:
    """Every finished run; one that has changed since is named on stderr and left out."""
    from recbench.results import bundle

    bundles = []
    for folder in bundle.find(root.runs):
        try:
            bundles.append(bundle.load(folder))
        except DigestError as error:
            typer.echo(f"warning: run {folder.name} is left out: {error.what} ({error.why})", err=True)
    return bundles


def find_run(root: Root, text: str) -> Bundle:
    """The run whose id is `text` or starts with it (at least four digits)."""
    from recbench.results import bundle

    folders = {folder.name: folder for folder in bundle.find(root.runs)}
    if not folders:
        raise MissingError(f"there are no runs under {root.runs}", fix=FIRST_RUN)
    matches = [name for name in folders if name == text or (len(text) >= 4 and name.startswith(text))]
    if len(matches) > 1:
        raise UsageError(f"'{text}' begins several run ids", why=", ".join(matches))
    if not matches:
        raise unknown_name("run", text, folders, fix="recbench list runs")
    return bundle.load(folders[matches[0]])


def is_run(root: Root, text: str) -> bool:
    from recbench.results import bundle

    return any(
        folder.name == text or (len(text) >= 4 and folder.name.startswith(text))
        for folder in bundle.find(root.runs)
    )


def record(one: PreparedSplit) -> dict[str, Any]:
    """A split for programs."""
    return {"name": one.dataset, "folder": str(one.folder), "digests": dict(one.digests)} | (
        one.statistics.to_json()
    )


def statistics(one: PreparedSplit) -> Lines:
    """A split for people; what there is nothing of is left out."""
    facts = one.statistics
    sampled = facts.sampled_targets
    removed = [f"{rule} {count:,}" for rule, count in facts.rules.items() if count]
    lines: list[tuple[str, object]] = [
        ("users", f"{facts.users:,}"),
        ("items", f"{facts.items:,}"),
        ("interactions", f"{facts.interactions:,}"),
        ("sparsity", f"{1 - facts.density:.4%}"),
        ("sequence length", _summary(facts.sequence_length)),
        ("interactions of an item", _summary(facts.item_frequency)),
        ("items with a title", f"{facts.items_with_title:,} ({facts.distinct_titles:,} distinct)"),
        ("words of a title", _summary(facts.title_words)),
        ("items with categories", f"{facts.items_with_categories:,}"),
        ("time", " to ".join(facts.time_range or ())),
        ("split", facts.split),
        ("training", f"{facts.training_interactions:,} interactions of {facts.training_users:,} users"),
        ("training targets", f"{facts.training_targets:,}"),
        ("  for language models", sampled and f"{sampled:,}, drawn"),
        ("requests", _by_phase(facts.requests)),
        ("targets not in training", _by_phase(facts.cold_targets)),
        ("targets decided by a tie", _by_phase(facts.tied_targets)),
        ("listed steps", _by_phase(facts.listed_steps or {})),
        ("removed or noted", "\n".join(removed)),
        *((f"digest {link}", value[:12]) for link, value in one.digests.items()),
    ]
    return [(name, value) for name, value in lines if value]


def side_by_side(splits: Sequence[PreparedSplit]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of a table with a column for each split."""
    columns = [dict(statistics(one)) for one in splits]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return (
        ["", *(one.dataset for one in splits)],
        [[name, *(column.get(name) for column in columns)] for name in names],
    )


def ties(facts: Statistics) -> str:
    """How many targets of each phase would be others if interactions of one moment were ordered otherwise."""
    if facts.time_range is None:
        return "no timestamps: positions decide the order"
    parts = []
    for phase, tied in facts.tied_targets.items():
        asked = facts.requests[phase]
        parts.append(f"{tied:,} of {asked:,} {phase} targets ({tied / asked:.1%})")
    return f"a tie of timestamps decides {' and '.join(parts)}"


def histogram(what: str, bins: Sequence[tuple[str, int]]) -> Table:
    """A bar for each bin, the longest BAR_WIDTH wide."""
    from rich.table import Table
    from rich.text import Text

    longest = max(count for _, count in bins)
    table = Table(title=Text(what), title_justify="left", box=None, show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for label, count in bins:
        table.add_row(Text(label), f"{count:,}", "█" * round(BAR_WIDTH * count / longest))
    return table


def shown(name: str, place: Root) -> tuple[dict[str, Any], Lines]:
    """The card of a dataset, and where its files are at hand its split and an example user: for programs,
    and for people. Downloads nothing."""
    import dataclasses

    from recbench.dataset import card
    from recbench.dataset.prepare import prepare
    from recbench.protocol import get_protocol

    one = card.find(name, place.path)
    protocol = get_protocol(place.setting("protocol") or "")
    whole = dataclasses.asdict(one)
    lines = flat(_with_marks(whole))
    try:
        with listening() as listener:
            split = prepare(
                one, protocol, cache=place.cache, data_dir=place.data_dir, offline=True, report=listener
            )
    except MissingError:
        why = f"its files are not here; try: recbench data prepare {name}"
        return whole | {"split": None}, [*lines, ("statistics", why)]
    except RecbenchError as error:
        return whole | {"split": None}, [*lines, ("statistics", str(error))]
    user = example(split)
    rules = {"name": protocol.name, "version": protocol.version, **protocol.split_part()}
    in_words = ", ".join(f"{rule} {value}" for rule, value in rules.items())
    lines += [("protocol", in_words), *statistics(split), *flat(user, "example ")]
    return whole | {"protocol": rules, "split": record(split), "example": user}, lines


def example(split: PreparedSplit) -> dict[str, Any]:
    """The validation request of the first user whose history has the median length, by titles."""
    import numpy as np

    from recbench.dataset.split import load_training, load_users

    data = load_training(split.folder)
    requests = data.valid.requests
    lengths = requests.history.lengths
    row = int(np.flatnonzero(lengths == np.sort(lengths)[len(lengths) // 2])[0])
    ids, titles = data.catalogue.item_ids, data.catalogue.titles
    named = [titles[item] or ids[item] for item in (*requests.history[row], data.valid.target[row])]
    user = load_users(split.folder)[int(requests.user[row])]
    return {"user": user, "history": named[:-1], "chosen next": named[-1]}


def _with_marks(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card with a mark behind every address that its authors could not fetch."""

    def marked(part: Any) -> Any:
        if isinstance(part, Mapping):
            kept = {key: marked(value) for key, value in part.items() if key != "verified"}
            if part.get("url") and not part["verified"]:
                kept["url"] = f"{part['url']}  (not verified)"
            return kept
        return [marked(one) for one in part] if isinstance(part, list | tuple) else part

    return {key: marked(value) for key, value in card.items()}


def _summary(numbers: Spread | None) -> str:
    """`5 to 771, median 6, mean 8.962`."""
    if numbers is None:
        return ""
    return f"{numbers.min:,} to {numbers.max:,}, median {numbers.median:g}, mean {numbers.mean:.3f}"


def _by_phase(counts: Mapping[Phase, int]) -> str:
    return ", ".join(f"{phase} {count:,}" for phase, count in counts.items())
