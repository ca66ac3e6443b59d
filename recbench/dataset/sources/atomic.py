"""RecBole's atomic files: tab-separated, a typed header, no quoting; `.inter` and `.item`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recbench.base.progress import Reporter
from recbench.dataset.card import Source
from recbench.dataset.sources.raw import Ids, RawLog, item_table, moment, table


def read(source: Source, files: Mapping[str, Path], *, report: Reporter) -> RawLog:
    """Columns `user_id`, `item_id`, `timestamp`, and the item columns that the card names."""
    interactions, items = files["interactions"], files["items"]
    users: list[str] = []
    chosen: list[str] = []
    times: list[int] = []
    user_of, item_of = Ids(interactions, "user_id"), Ids(interactions, "item_id")
    columns = ("user_id", "item_id", "timestamp")
    for line, (user, item, time) in table(interactions, columns, delimiter="\t", quoted=False, report=report):
        users.append(user_of(user, line))
        chosen.append(item_of(item, line))
        times.append(moment(time, interactions, line, "timestamp", ticks=source.ticks))
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
        ticks=source.ticks,
    )
