"""MovieLens 1M: `ratings.dat` (user::film::rating::time) and `movies.dat` (film::title::genres), Latin-1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from recbench.base.progress import Reporter
from recbench.dataset.card import Source
from recbench.dataset.sources.raw import Ids, ItemText, RawLog, collapsed, fail, lines, merged, timed

ENCODING = "iso-8859-1"


def read(source: Source, files: Mapping[str, Path], *, report: Reporter) -> RawLog:
    """The log of all ratings, whatever their value. Genres are the category text."""
    interactions, items = files["interactions"], files["items"]
    rows = ((line, (user, film, time)) for line, (user, film, _, time) in _rows(interactions, 4, report))
    users, chosen, times = timed(rows, interactions, ("user", "film", "time"), ticks=source.ticks)
    texts: dict[str, ItemText] = {}
    repeated = 0
    film_of = Ids(items, "film")
    for line, (film, title, genres) in _rows(items, 3, report):
        text = ItemText(collapsed(title), collapsed(genres.replace("|", " ")))
        repeated += merged(texts, film_of(film, line), text)
    return RawLog(
        user_ids=users,
        item_ids=chosen,
        timestamps=times,
        positions=None,
        items=texts,
        counts={"repeated_items": repeated},
        ticks=source.ticks,
    )


def _rows(path: Path, width: int, report: Reporter) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines(path, report=report, encoding=ENCODING), start=1):
        fields = line.rstrip("\r\n").split("::")
        if len(fields) == width:
            yield number, fields
        elif line.strip():
            fail(path, number, f"{len(fields)} fields, expected {width}")
