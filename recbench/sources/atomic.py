"""RecBole's atomic files: tab-separated, a typed header, no quoting; `.inter` and `.item`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbench.card import Source
from recbench.method import Reporter
from recbench.sources.raw import RawLog, item_table, named, table, whole


def read(source: Source, interactions: Path, items: Path, *, report: Reporter) -> RawLog:
    """Columns `user_id`, `item_id`, `timestamp`, and the item columns that the card names."""
    users: list[str] = []
    chosen: list[str] = []
    times: list[int] = []
    columns = ("user_id", "item_id", "timestamp")
    for line, (user, item, time) in table(interactions, columns, delimiter="\t", quoted=False, report=report):
        users.append(named(user, interactions, line, "user_id"))
        chosen.append(named(item, interactions, line, "item_id"))
        times.append(whole(time, interactions, line, "timestamp"))
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
        timestamps=np.array(times, dtype=np.int64),
        positions=None,
        items=texts,
        counts={"repeated_items": repeated},
    )
