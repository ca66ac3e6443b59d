"""Read the normalised form: `interactions.csv.gz` (user_id,item_id,position[,timestamp]), `items.csv.gz`,
and, where a source prescribes candidates, `candidates.csv.gz` (split,user_id,item_id,candidates)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recbench.base.progress import Reporter
from recbench.dataset.card import Source
from recbench.dataset.sources.raw import (
    Ids,
    Listed,
    RawLog,
    columns_of,
    fail,
    item_table,
    moment,
    table,
    whole,
)
from recbench.protocol import Phase

ORDER_COLUMNS = ("timestamp", "position")
PHASES: Mapping[str, Phase] = {"val": "valid", "valid": "valid", "test": "test"}


def read(source: Source, files: Mapping[str, Path], *, report: Reporter) -> RawLog:
    """The log, with `timestamp` and `position` where the file has them. DataError for a file with neither."""
    interactions, items = files["interactions"], files["items"]
    present = columns_of(interactions, delimiter=",", report=report)
    order = [column for column in ORDER_COLUMNS if column in present]
    if not order:
        fail(interactions, 1, "neither a column 'timestamp' nor 'position'", why=f"has: {', '.join(present)}")
    users: list[str] = []
    chosen: list[str] = []
    orders: list[list[int]] = [[] for _ in order]
    user_of, item_of = Ids(interactions, "user_id"), Ids(interactions, "item_id")
    columns = ("user_id", "item_id", *order)
    for line, fields in table(interactions, columns, delimiter=",", quoted=True, report=report):
        users.append(user_of(fields[0], line))
        chosen.append(item_of(fields[1], line))
        for values, column, text in zip(orders, order, fields[2:], strict=True):
            if column == "timestamp":
                values.append(moment(text, interactions, line, column, ticks=source.ticks))
            else:
                values.append(whole(text, interactions, line, column))
    arrays = {column: np.array(values, dtype=np.int64) for column, values in zip(order, orders, strict=True)}
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
        ticks=source.ticks if "timestamp" in arrays else 1,
        listed=_listed(files["candidates"], report) if "candidates" in files else (),
    )


def _listed(path: Path, report: Reporter) -> list[Listed]:
    """The evaluation steps in a file of candidates; blanks separate the candidates."""
    steps = []
    user_of, item_of = Ids(path, "user_id"), Ids(path, "an item")
    columns = ("split", "user_id", "item_id", "candidates")
    for line, (split, user, target, names) in table(path, columns, delimiter=",", quoted=True, report=report):
        if split not in PHASES:
            fail(path, line, f"split = '{split}' is neither {' nor '.join(PHASES)}")
        target = item_of(target, line)
        candidates = tuple(item_of(name, line) for name in names.split())
        if target not in candidates:
            fail(path, line, f"the target '{target}' is not among its {len(candidates)} candidates")
        if len(set(candidates)) < len(candidates):
            fail(path, line, "a candidate is listed twice")
        steps.append(Listed(PHASES[split], user_of(user, line), target, candidates))
    return steps
