"""The normalised form: `interactions.csv.gz` (user_id,item_id,position[,timestamp]) and `items.csv.gz`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbench.card import Source
from recbench.method import Reporter
from recbench.sources.raw import RawLog, columns_of, fail, item_table, named, table, whole

ORDER_COLUMNS = ("timestamp", "position")


def read(source: Source, interactions: Path, items: Path, *, report: Reporter) -> RawLog:
    """`timestamp` and `position` are read where they are there; a file with neither has no order."""
    present = columns_of(interactions, delimiter=",", report=report)
    order = [column for column in ORDER_COLUMNS if column in present]
    if not order:
        fail(interactions, 1, "neither a column 'timestamp' nor 'position'", why=f"has: {', '.join(present)}")
    users: list[str] = []
    chosen: list[str] = []
    places: list[list[int]] = [[] for _ in order]
    columns = ("user_id", "item_id", *order)
    for line, fields in table(interactions, columns, delimiter=",", quoted=True, report=report):
        users.append(named(fields[0], interactions, line, "user_id"))
        chosen.append(named(fields[1], interactions, line, "item_id"))
        for values, column, text in zip(places, order, fields[2:], strict=True):
            values.append(whole(text, interactions, line, column))
    arrays = {column: np.array(values, dtype=np.int64) for column, values in zip(order, places, strict=True)}
    texts, repeated = item_table(
        items,
        title=source.title,
        categories=source.categories,
        delimiter=",",
        quoted=True,
        report=report,
    )
    return RawLog(
        user_ids=users,
        item_ids=chosen,
        timestamps=arrays.get("timestamp"),
        positions=arrays.get("position"),
        items=texts,
        counts={"repeated_items": repeated},
    )
