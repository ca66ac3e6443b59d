"""A ranking made elsewhere becomes a run's bundle: the same checks, ranks and metrics, no cost, and a mark.

R requests, K places.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from recbench import bundle, context, digest, environment, evaluate, split
from recbench.bundle import Bundle
from recbench.data import Ints, Requests
from recbench.errors import CheckError, DataError, UsageError
from recbench.method import Reporter
from recbench.protocol import EvalProtocol
from recbench.ranking import Ranking
from recbench.sources.raw import Ids, columns_of, fail, lines, table, whole
from recbench.spec import FitSpec, Phase, RunSpec
from recbench.split import PreparedSplit

SHOWN = 5  # names in an error
USER, ITEM, ITEMS, RANK = ("user_id", "user"), ("item_id", "item"), ("items",), ("rank",)


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """Who made a ranking."""

    name: str
    """The name of its row."""
    file: Path
    seed: int | None = None
    """None: the method has one fit for all seeds."""


def spec(one: External, prepared: PreparedSplit, protocol: EvalProtocol, phase: Phase = "test") -> RunSpec:
    """The identity of an external run: its name and seed on this split; the ranking's content is recorded."""
    fit = FitSpec(
        method=f"external:{one.name}",
        method_version=1,
        params={},
        dataset=prepared.dataset,
        split=prepared.digests["split"],
        limit_users=prepared.limit_users,
        llm=None,
        parent=None,
        seed=one.seed,
    )
    return RunSpec(fit=fit, ranker=None, protocol=protocol.evaluation_part(), phase=phase)


def import_ranking(
    one: External,
    prepared: PreparedSplit,
    protocol: EvalProtocol,
    *,
    runs: Path,
    force: bool = False,
    report: Reporter,
) -> Bundle:
    """The bundle of a ranking of the test requests; where that very ranking is there already, its bundle.

    DataError for a malformed file and for unknown or missing users and items, CheckError for a ranking
    that the protocol forbids, UsageError where another ranking has this name and seed, unless `force`.
    """
    run = spec(one, prepared, protocol)
    content = digest.of_file(one.file)
    there = _there(runs / run.id)
    if there is not None and not force:
        if there.manifest["ranking"]["sha256"] == content:
            return there
        raise UsageError(
            f"run {run.id} is another ranking called '{one.name}' on {prepared.dataset}",
            why=f"its file was {there.manifest['ranking']['file']}, with other content",
            mend="another --name or --seed, or --force to replace it",
        )
    rows = read_ranking(one.file, report=report)
    requests = split.load_requests(prepared.folder, "test", exclude_seen=protocol.exclude_seen)
    users = [split.load_users(prepared.folder)[int(user)] for user in requests.user]
    catalogue = split.load_training(prepared.folder).catalogue
    items = aligned(rows, users, catalogue.item_ids, depth=protocol.depth, file=one.file)
    _check(items, requests, users, num_items=len(catalogue), protocol=protocol, file=one.file)
    staging = bundle.create(runs, run.id)
    try:
        bundle.write_arrays(staging / "topk.npz", items=items.astype(np.int32))
        targets = split.load_targets(prepared.folder, "test")
        surroundings = context.of_split(prepared.folder, "test", targets)
        ranks, values = evaluate.score(items, targets, context=surroundings, cutoffs=protocol.cutoffs)
        context.write(staging, surroundings)
        bundle.write_arrays(staging / "ranks.npz", ranks=ranks, users=np.array(users))
        bundle.write_json(staging / "metrics.json", values)
        bundle.write_json(staging / "efficiency.json", {})
        manifest = _manifest(one, run, prepared, content, len(ranks))
        return bundle.load(bundle.finish(staging, manifest, status="complete"))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_ranking(path: Path, *, report: Reporter) -> dict[str, list[str]]:
    """Items by user, best first: JSON lines (`user`, `items`), or a CSV file with a header, either `user`,
    `item`, `rank` with one row a place, or `user`, `items` with blanks between the items."""
    reader = _csv_rows if ".csv" in path.suffixes else _json_rows
    ranked: dict[str, list[str]] = {}
    for line, user, items in reader(path, report):
        if user in ranked:
            fail(path, line, f"user '{user}' is ranked twice")
        if not items:
            fail(path, line, f"user '{user}' has no items")
        repeated = next((item for place, item in enumerate(items) if item in items[:place]), None)
        if repeated is not None:
            fail(path, line, f"user '{user}': item '{repeated}' is ranked twice")
        ranked[user] = items
    if not ranked:
        raise DataError(f"{path}: there is no ranking in it")
    return ranked


def aligned(
    ranked: Mapping[str, Sequence[str]],
    users: Sequence[str],
    item_ids: Sequence[str],
    *,
    depth: int,
    file: Path,
) -> Ints:
    """[R, depth] the rankings in the order of the requests, cut at `depth` or padded with -1."""
    _refuse(file, "are no users who are asked", sorted(ranked.keys() - set(users)), "users")
    _refuse(file, "have no ranking, and everybody needs one", sorted(set(users) - ranked.keys()), "users")
    number = {name: row for row, name in enumerate(item_ids)}
    unknown = {item for items in ranked.values() for item in items if item not in number}
    _refuse(file, "are not in the catalogue", sorted(unknown), "items")
    places = np.full((len(users), depth), -1, dtype=np.int64)
    for row, user in enumerate(users):
        best = [number[item] for item in ranked[user][:depth]]
        places[row, : len(best)] = best
    return places


def _check(
    items: Ints,
    requests: Requests,
    users: Sequence[str],
    *,
    num_items: int,
    protocol: EvalProtocol,
    file: Path,
) -> None:
    try:
        Ranking(items=items).check(requests, num_items=num_items, depth=protocol.depth)
    except CheckError as error:
        raise CheckError(
            f"{file}: {error.what}", why=f"{error.why}; row 0 is user '{users[0]}'", mend=error.mend
        ) from None


def _refuse(file: Path, what: str, names: Sequence[str], kind: str) -> None:
    if names:
        shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
        more = ", ..." if len(names) > SHOWN else ""
        raise DataError(
            f"{file}: {len(names):,} {kind} {what}",
            why=shown + more,
            mend="recbench data export writes the users who are asked and the catalogue",
        )


def _json_rows(path: Path, report: Reporter) -> Iterator[tuple[int, str, list[str]]]:
    user_of, item_of = Ids(path, "user"), Ids(path, "items")
    for line, text in enumerate(lines(path, report=report), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
            user = next(record[key] for key in USER if key in record)
            items = [str(item) for item in record["items"]]
        except (ValueError, TypeError, KeyError, StopIteration):
            fail(path, line, 'not an object like {"user": "7", "items": ["3", "12"]}')
        yield line, user_of(str(user), line), [item_of(item, line) for item in items]


def _csv_rows(path: Path, report: Reporter) -> Iterator[tuple[int, str, list[str]]]:
    there = columns_of(path, delimiter=",", report=report)
    user_of, item_of = Ids(path, "user"), Ids(path, "item")
    user = _column(USER, there, path)
    if ITEMS[0] in there:
        for line, (name, items) in table(path, (user, ITEMS[0]), delimiter=",", quoted=True, report=report):
            yield line, user_of(name, line), [item_of(item, line) for item in items.split()]
        return
    columns = (user, _column(ITEM, there, path), _column(RANK, there, path))
    places: dict[str, list[tuple[int, int, str]]] = {}
    for line, (name, item, rank) in table(path, columns, delimiter=",", quoted=True, report=report):
        place = (whole(rank, path, line, "rank"), line, item_of(item, line))
        places.setdefault(user_of(name, line), []).append(place)
    for name, found in places.items():
        found.sort()
        _refuse_equal_ranks(path, name, found)
        yield found[0][1], name, [item for _, _, item in found]


def _refuse_equal_ranks(path: Path, user: str, found: Sequence[tuple[int, int, str]]) -> None:
    for (one, _, _), (other, line, _) in pairwise(found):
        if one == other:
            fail(path, line, f"user '{user}' has two items at rank {one}")


def _column(names: Iterable[str], there: Sequence[str], path: Path) -> str:
    found = next((name for name in names if name in there), None)
    if found is None:
        fail(path, 1, f"no column {' or '.join(names)}", why=f"columns: {', '.join(there)}")
    return found


def _there(folder: Path) -> Bundle | None:
    return bundle.load(folder) if bundle.status(folder) == "complete" else None


def _manifest(
    one: External, run: RunSpec, prepared: PreparedSplit, content: str, num_requests: int
) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "spec": run.to_json(),
        "label": one.name,
        "params": {},
        "external": True,
        "ranking": {"file": one.file.name, "sha256": content},
        "digests": dict(prepared.digests),
        "statistics": dict(prepared.statistics),
        "versions": {"recbench": environment.versions().get("recbench", "")},
        "code": {},
        "hardware": {},
        "timings": {"started": now, "finished": now},
        "off_protocol": False,
        "reasons": [],
        "num_requests": num_requests,
        "certified_share": None,
        "nodes_per_user": None,
    }
