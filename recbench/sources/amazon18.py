"""Amazon Review Data 2018: one JSON object a line, reviews and product metadata, gzip-compressed.

Ni, Li, McAuley: Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects
(EMNLP 2019).
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbench.card import Source
from recbench.method import Reporter
from recbench.sources.raw import ItemText, RawLog, collapsed, fail, lines, merged, named, whole

# Behind the real labels some category lists go on with sentences about the product.
MAX_LABELS = 5


def read(source: Source, interactions: Path, items: Path, *, report: Reporter) -> RawLog:
    """Reviews (`reviewerID`, `asin`, `unixReviewTime`) and metadata (`asin` and the card's text fields).

    Lines that are not a JSON object are counted and left out. There are no positions: the order of
    reviews inside a day is not recorded.
    """
    bad = {"bad_json_lines": 0}
    users: list[str] = []
    chosen: list[str] = []
    times: list[int] = []
    one_copy: dict[str, str] = {}  # an id occurs in many reviews; equal strings are kept once
    for line, review in _objects(interactions, bad, report=report):
        user = named(_field(review, "reviewerID", interactions, line), interactions, line, "reviewerID")
        item = named(_field(review, "asin", interactions, line), interactions, line, "asin")
        users.append(one_copy.setdefault(user, user))
        chosen.append(one_copy.setdefault(item, item))
        time = _field(review, "unixReviewTime", interactions, line)
        times.append(whole(time, interactions, line, "unixReviewTime"))
    wanted = set(chosen)
    texts: dict[str, ItemText] = {}
    repeated = 0
    for line, product in _objects(items, bad, report=report):
        item = named(_field(product, "asin", items, line), items, line, "asin")
        if item in wanted:
            text = ItemText(_plain(product.get(source.title)), _path(product.get(source.categories)))
            repeated += merged(texts, item, text)
    return RawLog(
        user_ids=users,
        item_ids=chosen,
        timestamps=np.array(times, dtype=np.int64),
        positions=None,
        items=texts,
        counts={**bad, "repeated_items": repeated},
    )


def _objects(path: Path, bad: dict[str, int], *, report: Reporter) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines(path, report=report), start=1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            yield number, value
        else:
            bad["bad_json_lines"] += 1


def _field(record: Mapping[str, Any], key: str, path: Path, line: int) -> str:
    if key not in record:
        fail(path, line, f"no key '{key}'", why=f"keys: {', '.join(record) or 'none'}")
    return str(record[key])


def _plain(text: object) -> str:
    return collapsed(html.unescape(text)) if isinstance(text, str) else ""


def _path(labels: object) -> str:
    """`A > B > C` of a list of labels, cut before the first that carries mark-up."""
    kept: list[str] = []
    for label in labels if isinstance(labels, list) else []:
        if "<" in str(label) or len(kept) == MAX_LABELS:
            break
        kept.append(_plain(str(label)))
    return " > ".join(label for label in kept if label)
