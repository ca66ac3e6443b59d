"""A ranking made elsewhere becomes a bundle with the mark `external`: same checks and metrics, no cost.

R requests, K places.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recbench.base import digest, environment
from recbench.base.clock import now
from recbench.base.progress import Reporter
from recbench.data import Ints, Requests
from recbench.dataset.split import RECORD, PreparedSplit
from recbench.errors import CheckError, DataError, DigestError, UsageError
from recbench.exchange.ranking_file import read_ranking
from recbench.protocol import EvalProtocol, Phase
from recbench.ranking import Ranking
from recbench.results import bundle, evaluate
from recbench.results.bundle import Bundle
from recbench.results.evaluate import EvaluationSet
from recbench.results.manifest import ImportedRanking, Manifest
from recbench.results.request_features import request_names, request_numbers
from recbench.results.spec import FitSpec, RunSpec

SHOWN = 5  # names in an error
UNKNOWN_SPLIT = f"no {RECORD} shows that the ranking was made for this split"


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A ranking made elsewhere, and what its author says of it."""

    name: str
    """The name of its row on a board."""
    file: Path
    seed: int | None = 0
    """The seed of the fit; None for a deterministic method. Only the author can know that, and one checkpoint
    shows nothing of its method, so it has to be claimed."""
    split: Path | None = None
    """The `split.json` of the export that it was made from; None: the one beside `file`, if any."""


def spec(
    external: External, prepared: PreparedSplit, protocol: EvalProtocol, phase: Phase = "test"
) -> RunSpec:
    """The identity of an external run: name and seed on this split. The manifest has the ranking's digest."""
    fit = FitSpec(
        method=f"external:{external.name}",
        method_version=1,
        params={},
        dataset=prepared.dataset,
        split=prepared.digests["split"],
        limit_users=prepared.limit_users,
        llm=None,
        parent=None,
        seed=external.seed,
    )
    return RunSpec(fit=fit, ranker=None, protocol=protocol.evaluation_part(), phase=phase)


def import_ranking(
    external: External,
    prepared: PreparedSplit,
    protocol: EvalProtocol,
    *,
    runs: Path,
    force: bool = False,
    report: Reporter,
) -> Bundle:
    """The bundle of a ranking of the test requests; the existing bundle where the ranking is in it already.

    DataError for a malformed file and for unknown or missing users and items, DigestError for a ranking of
    another split, CheckError for a ranking that the protocol forbids, UsageError where another ranking has
    this name and seed, unless `force`. The manifest's `ranking.notes` has what readers must know.
    """
    run = spec(external, prepared, protocol)
    content, made_for = digest.of_file(external.file), split_of(external, prepared, protocol)
    earlier = _earlier(runs / run.id)
    if earlier is not None and not force:
        known = earlier.manifest.ranking or ImportedRanking()
        if known.sha256 != content:
            raise _is_another(earlier, external, prepared)
        if made_for in (None, known.split):
            return earlier
    rows = read_ranking(external.file, report=report)
    asked = EvaluationSet.load(prepared.folder, "test")
    requests = asked.requests if protocol.exclude_seen else replace(asked.requests, excluded=None)
    num_items = len(asked.catalogue)
    names = request_names(asked.users, request_numbers(asked.users))
    items = aligned(rows, names, asked.catalogue.item_ids, depth=protocol.depth, file=external.file)
    _check(items, requests, names, num_items=num_items, protocol=protocol, file=external.file)
    notes = [UNKNOWN_SPLIT] if made_for is None else []
    notes += short_lists(items, requests, num_items=num_items)
    staging = bundle.create(runs, run.id)
    try:
        bundle.write_arrays(staging / "topk.npz", items=items.astype(np.int32))
        scored = evaluate.score_into(staging, asked, cutoffs=protocol.cutoffs)
        bundle.write_json(staging / "efficiency.json", {})
        ranking = ImportedRanking(file=external.file.name, sha256=content, split=made_for, notes=notes)
        manifest = _manifest(external, run, prepared, ranking, scored.num_requests)
        return bundle.load(bundle.finish(staging, manifest, status="complete"))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def split_of(external: External, prepared: PreparedSplit, protocol: EvalProtocol) -> str | None:
    """The digest of the split that a ranking was made for; None where no `split.json` says so.

    DigestError where that is another split, by its log or by what the protocol holds out and ranks.
    """
    beside = external.file.with_name(RECORD)
    path = external.split or (beside if beside.is_file() else None)
    if path is None:
        return None
    dataset, exported_under, digests = _record(path)
    for link, where in (("log", f"-d {prepared.dataset}"), ("split", f"--protocol {protocol.name}")):
        if digests[link] != prepared.digests[link]:
            other = (dataset, exported_under) != (prepared.dataset, protocol.name)
            export_again = f"recbench data export {dataset} --protocol {exported_under} --to FOLDER"
            raise DigestError(
                f"{external.file} is a ranking of another {link} of '{dataset}'",
                why=f"{link}: {digests[link]} in {path}, {prepared.digests[link]} with {where}",
                fix=_command(external, dataset, exported_under) if other else export_again,
            )
    return digests["split"]


def _command(external: External, dataset: str, protocol: str) -> str:
    """The command that imports the same ranking for another split."""
    fit = ["--deterministic"] if external.seed is None else ["--seed", str(external.seed)]
    words = ["recbench", "import-ranking", str(external.file), "--name", external.name, "-d", dataset]
    words += ["--protocol", protocol, *fit, *(["--split", str(external.split)] if external.split else [])]
    return shlex.join(words)


def _record(path: Path) -> tuple[str, str, Mapping[str, str]]:
    """The dataset, the protocol and the digests that an export recorded."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        digests = {link: str(record["digests"][link]) for link in ("log", "split")}
        return str(record["dataset"]), str(record.get("protocol", "PROTOCOL")), digests
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not the {RECORD} of an export",
            why=f"{type(error).__name__}: {error}",
            fix=f"--split OUT/{RECORD}, where recbench data export wrote to OUT",
        ) from None


def aligned(
    ranked: Mapping[str, Sequence[str]],
    users: Sequence[str],
    item_ids: Sequence[str],
    *,
    depth: int,
    file: Path,
) -> Ints:
    """[R, depth] the rankings in the order of the requests, cut at `depth` or padded with -1.

    `users` [R] are the users' names; where users ask repeatedly, the names of requests.
    """
    _refuse(file, "are no users who are asked", sorted(ranked.keys() - set(users)), "users")
    _refuse(file, "have no ranking, and everybody needs one", sorted(set(users) - ranked.keys()), "users")
    number = {name: row for row, name in enumerate(item_ids)}
    unknown = {item for items in ranked.values() for item in items if item not in number}
    _refuse(file, "are not in the catalogue", sorted(unknown), "items")
    items = np.full((len(users), depth), -1, dtype=np.int64)
    for row, user in enumerate(users):
        best = [number[item] for item in ranked[user][:depth]]
        items[row, : len(best)] = best
    return items


def short_lists(items: Ints, requests: Requests, *, num_items: int) -> list[str]:
    """A note if rankings have fewer items than the protocol leaves to rank. Short lists lower a metric, and
    an author who stopped at 10 may not know that metrics at 20 are computed too."""
    possible = np.full(len(requests), num_items)
    if requests.allowed is not None:
        possible = requests.allowed.lengths
    elif requests.excluded is not None:
        possible = num_items - requests.excluded.lengths
    lengths, depth = (items >= 0).sum(1), items.shape[1]
    short = lengths < np.minimum(possible, depth)
    if not short.any():
        return []
    least = lengths[short].min()
    return [
        f"{short.sum():,} of {len(requests):,} users have fewer than {depth} items, the fewest {least}: "
        f"HR and the like beyond @{least} count the rest as misses"
    ]


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
        Ranking(items=items).check(requests, num_items=num_items, depth=protocol.depth, users=users)
    except CheckError as error:
        raise CheckError(
            f"{file}: {error.what}",
            why=error.why,
            fix=f"rank by the candidates and without the excluded items that "
            f"recbench data export --protocol {protocol.name} writes for each user",
        ) from None


def _refuse(file: Path, what: str, names: Sequence[str], kind: str) -> None:
    if names:
        shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
        more = ", ..." if len(names) > SHOWN else ""
        raise DataError(
            f"{file}: {len(names):,} {kind} {what}",
            why=shown + more,
            fix="recbench data export writes the users who are asked, with the numbers of their requests "
            "where there are several, and the catalogue",
        )


def _is_another(earlier: Bundle, external: External, prepared: PreparedSplit) -> UsageError:
    known = earlier.manifest.ranking or ImportedRanking()
    return UsageError(
        f"run {earlier.id} is another ranking called '{external.name}' on {prepared.dataset}",
        why=f"its file was {known.file}, with other content",
        fix="another --name or --seed, or --force to replace it",
    )


def _earlier(folder: Path) -> Bundle | None:
    return bundle.load(folder) if bundle.status(folder) == "complete" else None


def _manifest(
    external: External, run: RunSpec, prepared: PreparedSplit, ranking: ImportedRanking, num_requests: int
) -> Manifest:
    time = now()
    return Manifest(
        spec=run,
        label=external.name,
        digests=prepared.digests,
        statistics=prepared.statistics.to_json(),
        versions={"recbench": environment.versions().get("recbench", "")},
        started=time,
        finished=time,
        external=True,
        ranking=ranking,
        num_requests=num_requests,
    )
