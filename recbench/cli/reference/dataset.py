"""How datasets and their splits appear on the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recbench.cli._output import flat, listening
from recbench.errors import MissingError, RecbenchError

if TYPE_CHECKING:
    from rich.table import Table

    from recbench.base.root import Root
    from recbench.dataset.split import PreparedSplit, Spread, Statistics
    from recbench.protocol import Phase

BAR_WIDTH = 40

Lines = list[tuple[str, object]]


def split_record(split: PreparedSplit) -> dict[str, Any]:
    """A split for programs."""
    return {"name": split.dataset, "folder": str(split.folder), "digests": dict(split.digests)} | (
        split.statistics.to_json()
    )


def statistics(split: PreparedSplit) -> Lines:
    """A split for people, without the lines that have no value."""
    facts = split.statistics
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
        *((f"digest {link}", value[:12]) for link, value in split.digests.items()),
    ]
    return [(name, value) for name, value in lines if value]


def side_by_side(splits: Sequence[PreparedSplit]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of a table with a column for each split."""
    columns = [dict(statistics(split)) for split in splits]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return (
        ["", *(split.dataset for split in splits)],
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


def shown(name: str, root: Root) -> tuple[dict[str, Any], Lines]:
    """The card of a dataset, for programs and for people; with its split and an example user where its files
    are here. Downloads nothing."""
    import dataclasses

    from recbench.dataset import card
    from recbench.dataset.prepare import prepare
    from recbench.protocol import get_protocol

    found = card.find(name, root.path)
    protocol = get_protocol(root.setting("protocol") or "")
    whole = dataclasses.asdict(found)
    lines = flat(_with_marks(whole))
    try:
        with listening() as listener:
            split = prepare(
                found, protocol, cache=root.cache, data_dir=root.data_dir, offline=True, report=listener
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
    return whole | {"protocol": rules, "split": split_record(split), "example": user}, lines


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
        return [marked(entry) for entry in part] if isinstance(part, list | tuple) else part

    return {key: marked(value) for key, value in card.items()}


def _summary(numbers: Spread | None) -> str:
    """`5 to 771, median 6, mean 8.962`."""
    if numbers is None:
        return ""
    return f"{numbers.min:,} to {numbers.max:,}, median {numbers.median:g}, mean {numbers.mean:.3f}"


def _by_phase(counts: Mapping[Phase, int]) -> str:
    return ", ".join(f"{phase} {count:,}" for phase, count in counts.items())
