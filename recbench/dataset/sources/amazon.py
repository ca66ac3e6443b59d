"""Releases of the Amazon reviews: reviews and product metadata, a record a line, gzip-compressed.

2014: McAuley et al., Image-based Recommendations on Styles and Substitutes (SIGIR 2015). 2018: Ni, Li,
McAuley, Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects (EMNLP 2019).
2023: Hou et al., Bridging Language and Items for Retrieval and Recommendation (arXiv:2403.03952).
"""

from __future__ import annotations

import ast
import html
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recbench.base.progress import Reporter
from recbench.dataset.card import Source
from recbench.dataset.sources.raw import Ids, ItemText, RawLog, collapsed, fail, lines, merged, timed

# After the labels, some category lists continue with sentences about the product.
MAX_LABELS = 5


def _literal(line: str) -> Any:
    """A line of the metadata of 2014, a printed Python dictionary. ValueError for anything else."""
    try:
        return ast.literal_eval(line)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _first(value: object) -> object:
    """The first category path of a product that has several."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Names and units of one release."""

    user: str = "reviewerID"
    item: str = "asin"
    time: str = "unixReviewTime"
    ticks: int = 1
    """Units of the timestamp a second."""
    product: Callable[[str], Any] = json.loads
    """Parses a line of the metadata; raises ValueError where it cannot."""


def read(release: Release, source: Source, files: Mapping[str, Path], *, report: Reporter) -> RawLog:
    """The log of a release: its reviews, and the texts of the reviewed products in the columns of the card.

    Lines that are not a record are counted and left out. There are no positions, because the releases do
    not record the order of reviews of the same moment.
    """
    interactions, items = files["interactions"], files["items"]
    bad = {"bad_json_lines": 0}
    keys = (release.user, release.item, release.time)
    rows = (
        (line, [_field(review, key, interactions, line) for key in keys])
        for line, review in _records(interactions, json.loads, bad, report=report)
    )
    users, chosen, times = timed(rows, interactions, keys, ticks=release.ticks)
    wanted = set(chosen)
    texts: dict[str, ItemText] = {}
    repeated = 0
    product_of = Ids(items, release.item)
    for line, product in _records(items, release.product, bad, report=report):
        item = product_of(_field(product, release.item, items, line), line)
        if item in wanted:
            text = ItemText(_plain(product.get(source.title)), _path(product.get(source.categories)))
            repeated += merged(texts, item, text)
    return RawLog(
        user_ids=users,
        item_ids=chosen,
        timestamps=times,
        positions=None,
        items=texts,
        counts={**bad, "repeated_items": repeated},
        ticks=release.ticks,
    )


read_2014 = partial(read, Release(product=_literal))
read_2018 = partial(read, Release())
read_2023 = partial(read, Release(user="user_id", item="parent_asin", time="timestamp", ticks=1000))


def _records(
    path: Path, parse: Callable[[str], Any], bad: dict[str, int], *, report: Reporter
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines(path, report=report), start=1):
        try:
            value = parse(line)
        except (ValueError, TypeError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield number, value
        else:
            bad["bad_json_lines"] += 1


def _field(record: Mapping[str, Any], key: str, path: Path, line: int) -> str:
    if record.get(key) is None:
        fail(path, line, f"no value for '{key}'", why=f"keys: {', '.join(map(str, record)) or 'none'}")
    return str(record[key])


def _plain(text: object) -> str:
    return collapsed(html.unescape(text)) if isinstance(text, str) else ""


def _path(labels: object) -> str:
    """`A > B > C` of a list of labels, cut before the first label with mark-up."""
    path = _first(labels)
    kept: list[str] = []
    for label in path if isinstance(path, list) else []:
        if "<" in str(label) or len(kept) == MAX_LABELS:
            break
        kept.append(_plain(str(label)))
    return " > ".join(label for label in kept if label)
