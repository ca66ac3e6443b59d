"""Which runs stand on a board, and the rows that they make: a method in a block, over its seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbench.base import digest
from recbench.base.nested import differing_keys, flat
from recbench.board.model import ExcludedRun
from recbench.comparison import compare
from recbench.comparison.block import Block, block_names, block_of
from recbench.errors import CheckError, DigestError
from recbench.results.bundle import Bundle

SFT = "sft"


@dataclass(frozen=True, slots=True, eq=False)
class MethodRuns:
    """The runs of one method in one block, by seed."""

    key: str
    name: str
    block: Block | None
    runs: Sequence[Bundle]

    @property
    def label(self) -> str:
        return self.runs[0].label

    @property
    def seeds(self) -> list[int | None]:
        return [run.seed for run in self.runs]

    @property
    def parents(self) -> set[str]:
        """The fits that the runs started from; empty for a method that starts from the base."""
        return {parent for run in self.runs if (parent := run.spec.fit.parent) is not None}

    @property
    def external(self) -> bool:
        """Whether the ranking was made elsewhere, so that nothing is known of the training."""
        return any(run.manifest.external for run in self.runs)

    @property
    def ranking_notes(self) -> set[str]:
        """What was found when its ranking was brought in from elsewhere."""
        return {note for run in self.runs if run.manifest.ranking for note in run.manifest.ranking.notes}

    @property
    def guard_marks(self) -> set[str]:
        """What the guard of its workers refused, and what the method's own code started."""
        return {mark for run in self.runs if run.manifest.guard for mark in run.manifest.guard.marks}


def sort_out(bundles: Sequence[Bundle]) -> tuple[list[list[Bundle]], list[ExcludedRun]]:
    """The runs that a board may show, in groups that were measured alike; the others with the reason."""
    reasons = {run.id: why for run in bundles if (why := _why_not(run))}
    latest: dict[tuple[str, int | None], Bundle] = {}
    for run in [run for run in bundles if run.id not in reasons]:
        place = (run.spec.method_key, run.seed)
        older, newer = sorted([latest.get(place, run), run], key=_finished)
        latest[place] = newer
        if older is not newer:
            reasons[older.id] = f"the same method and seed as run {newer.id}, which finished later"
    groups: dict[str, list[Bundle]] = {}
    for run in [run for run in bundles if run.id not in reasons]:
        groups.setdefault(digest.canonical_json(measured_alike(run)), []).append(run)
    for key, runs in groups.items():
        reasons |= _strangers(runs)
        reasons |= compare.repeats([run for run in runs if run.id not in reasons])
        groups[key] = [run for run in runs if run.id not in reasons]
    excluded = [
        ExcludedRun(id=run.id, label=run.label, dataset=run.spec.fit.dataset, why=reasons[run.id])
        for run in bundles
        if run.id in reasons
    ]
    return [groups[key] for key in sorted(groups)], excluded


def measured_alike(run: Bundle) -> dict[str, Any]:
    """What the runs of one table share."""
    return {
        "dataset": run.spec.fit.dataset,
        "protocol": run.spec.protocol,
        "split": run.spec.fit.split,
        "catalogue": run.digests.get("catalogue"),
    }


def _why_not(run: Bundle) -> str:
    if run.status == "failed":
        reason = run.reason or {}
        what, *_ = str(reason.get("reason", "")).splitlines() or [""]
        return f"failed ({reason.get('class')}): {what}".strip(": ")
    if run.spec.phase != "test":
        return f"phase {run.spec.phase}"
    if run.manifest.off_protocol:
        return "off protocol: " + (", ".join(run.manifest.reasons) or "no reason recorded")
    try:
        compare.check_usable(run)
    except CheckError as error:
        return error.what + (f" ({error.why})" if error.why else "")
    return ""


def _finished(run: Bundle) -> tuple[str, str]:
    return run.manifest.finished or "", run.id


def _strangers(runs: Sequence[Bundle]) -> dict[str, str]:
    """Runs that differ from most others of their group in the log or the users, with the first difference."""
    links = {run.id: str(run.digests.get("log")) + run.users_digest for run in runs}
    counts = Counter(links.values())
    usual = min(counts, key=lambda text: (-counts[text], text))
    first = next(run for run in runs if links[run.id] == usual)
    reasons = {}
    for run in [run for run in runs if links[run.id] != usual]:
        try:
            compare.check_comparable([first, run])
        except DigestError as error:
            reasons[run.id] = f"{error.what}: {error.why}"
    return reasons


def rows_of(runs: Sequence[Bundle]) -> list[MethodRuns]:
    """The rows of a table. Equal settings that gave the seeds other identifiers make two rows.

    DigestError where different code made the runs of a row.
    """
    groups: dict[str, list[Bundle]] = {}
    for run in runs:
        groups.setdefault(digest.of_json([run.spec.method_key, block_of(run)]), []).append(run)
    for group in groups.values():
        compare.check_one_code(group)
    names = _names({key: group[0] for key, group in groups.items()})
    return [
        MethodRuns(
            key,
            names[key],
            block_of(group[0]),
            compare.by_seed(group),
        )
        for key, group in groups.items()
    ]


def _names(firsts: Mapping[str, Bundle]) -> dict[str, str]:
    """Labels; where several rows of a block share one, with the settings in which they differ."""
    alike: dict[str, list[str]] = {}
    for key, run in firsts.items():
        alike.setdefault(digest.canonical_json([run.label, block_of(run)]), []).append(key)
    names = {}
    for keys in alike.values():
        settings = {key: flat(_settings(firsts[key])) for key in keys}
        differing = differing_keys(list(settings.values()))
        for key in keys:
            inside = ", ".join(f"{name}={settings[key].get(name, 'none')}" for name in differing)
            names[key] = f"{firsts[key].label} ({inside})" if inside else firsts[key].label
    return names


def _settings(run: Bundle) -> dict[str, Any]:
    fit = run.spec.fit
    return {**(fit.llm or {}), "params": fit.params, "version": fit.method_version, "ranker": run.spec.ranker}


def parent_of(row: MethodRuns, rows: Sequence[MethodRuns]) -> MethodRuns | None:
    """The row of the fits that `row` started from; for a start from the base, the `sft` of its block.

    None for a method without a language model, and where there is no such row or more than one.
    """
    if row.block is None or row.external:
        return None
    if row.parents:
        found = [other for other in rows if row.parents & {run.spec.fit.id for run in other.runs}]
        found = [other for other in found if other.block == row.block] or found
    else:
        found = [other for other in rows if other.label == SFT and other.block == row.block]
    return found[0] if len(found) == 1 and found[0] is not row else None


def labelled(label: str, row: MethodRuns, rows: Sequence[MethodRuns]) -> MethodRuns | None:
    """The row called `label` that `row` is compared with: that of its block, else the only one there is."""
    candidates = [other for other in rows if other.label == label]
    if row in candidates:
        return None
    inside = [other for other in candidates if other.block == row.block]
    chosen = inside or candidates
    return chosen[0] if len(chosen) == 1 else None


def in_blocks(label: str, row: MethodRuns, rows: Sequence[MethodRuns]) -> list[tuple[str, MethodRuns]]:
    """The rows called `label` that a row of no block is compared with, where each block has one, by title."""
    found = [other for other in rows if other.label == label and other.block is not None]
    of_block = [(name, [other for other in found if other.block == block]) for block, name in blocks_of(rows)]
    if row.block is not None or len(found) < 2 or any(len(same) > 1 for _, same in of_block):
        return []
    return [(f"{label} · {name}", same[0]) for name, same in of_block if same]


def blocks_of(rows: Sequence[MethodRuns]) -> list[tuple[Block, str]]:
    """The blocks of a table with their names, in the order of the rows."""
    blocks: list[Block] = []
    for row in rows:
        if row.block is not None and row.block not in blocks:
            blocks.append(row.block)
    return list(zip(blocks, block_names(blocks), strict=True))


def starts_differ(a: MethodRuns, b: MethodRuns, rows: Sequence[MethodRuns]) -> bool:
    """Whether both start from a parent, and not from the same one."""
    if not a.parents or not b.parents:
        return False
    ours, theirs = parent_of(a, rows), parent_of(b, rows)
    return a.parents.isdisjoint(b.parents) if ours is None or theirs is None else ours is not theirs


def missing_seeds(rows: Sequence[MethodRuns]) -> list[str]:
    """Seeds that some row has and another of the table lacks."""
    seeds = sorted({seed for row in rows for seed in row.seeds if seed is not None})
    return [
        f"{row.name}: no finished run of seed {', '.join(map(str, lacking))}"
        for row in rows
        if None not in row.seeds and (lacking := [seed for seed in seeds if seed not in row.seeds])
    ]
