"""RecBole's atomic files: tab-separated, a typed header, no quoting; `.inter` and `.item`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recbench.base.progress import Reporter
from recbench.dataset.card import Source
from recbench.dataset.sources.raw import RawLog, item_table, table, timed


def read(source: Source, files: Mapping[str, Path], *, report: Reporter) -> RawLog:
    """The log in the columns `user_id`, `item_id`, `timestamp`, and the item columns that the card names."""
    interactions, items = files["interactions"], files["items"]
    columns = ("user_id", "item_id", "timestamp")
    rows = table(interactions, columns, delimiter="\t", quoted=False, report=report)
    users, chosen, times = timed(rows, interactions, columns, ticks=source.ticks)
    texts, repeated = item_table(
        items,
        title=source.title,
        categories=source.categories,
        delimiter="\t",
        quoted=False,
        report=report,
    )
    return RawLog(
        user_ids=users,
        item_ids=chosen,
        timestamps=times,
        positions=None,
        items=texts,
        counts={"repeated_items": repeated},
        ticks=source.ticks,
    )
