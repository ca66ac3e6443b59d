"""The sides of a comparison: which finished runs a label names, grouped by the data they were scored on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recbench.base import digest, params
from recbench.comparison.across_datasets import Across
from recbench.comparison.across_datasets import across as compare_across
from recbench.comparison.block import block_names, block_of
from recbench.comparison.family import Family, estimate_of
from recbench.errors import UsageError, unknown_name
from recbench.results.bundle import Bundle


class ScoredOn(NamedTuple):
    """What two runs must share before their users can be compared."""

    dataset: str
    split: str
    protocol: str
    phase: str


Sides = dict[ScoredOn, dict[str, list[Bundle]]]
"""For each data, the runs of each name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which finished runs a comparison looks at; what is empty holds for all."""

    datasets: Sequence[str] = ()
    backbone: str | None = None
    paradigm: str | None = None
    """As `backbone`, asked of language models alone: other methods belong to every block."""
    protocol: str | None = None

    def among(self, runs: Sequence[Bundle]) -> list[Bundle]:
        """UsageError for a value that no run has, with those that there are."""
        left = list(runs)
        for axis, wanted in (
            ("dataset", self.datasets),
            ("protocol", [self.protocol] if self.protocol else []),
            ("backbone", [self.backbone] if self.backbone else []),
            ("paradigm", [self.paradigm] if self.paradigm else []),
        ):
            there = {run.id: _axis(run, axis) for run in left}
            for value in wanted:
                if value not in there.values():
                    known = {one for one in there.values() if one is not None}
                    raise unknown_name(f"{axis} of finished runs", value, known, fix="recbench list runs")
            left = [run for run in left if not wanted or there[run.id] in (None, *wanted)]
        return left


def labelled(text: str, finished: Sequence[Bundle]) -> list[Bundle]:
    """All finished runs with this label, of every seed; with `LABEL@BLOCK`, those of that block.

    A label may be written as `recbench run -m` has it: `sdpo:beta=1` for `sdpo[beta=1.0]`.
    BLOCK has any of the words of a block's name: `title`, `semantic-id · tiny`, `children`. UsageError names
    the nearest label or block.
    """
    chosen = [run for run in finished if _same_method(run.label, text)]
    label, at, block = text.rpartition("@")
    named = [run for run in finished if at and _same_method(run.label, label)]
    if chosen or not named:
        if not chosen:
            raise unknown_name(
                "run or method", text, {run.label for run in finished}, fix="recbench list runs"
            )
        return chosen
    titles = block_titles(finished)
    wanted = set(_words(block))
    inside = [run for run in named if wanted <= _accepted(titles[run.id])]
    if not inside:
        known = {titles[run.id] for run in named} - {""}
        raise unknown_name(f"block of {label}", block, known, fix=f"recbench compare {label}@BLOCK ...")
    return inside


def _same_method(label: str, text: str) -> bool:
    selected = _selected(text) if ":" in text else None
    return label == text or (selected is not None and _selected(label) == selected)


def _selected(text: str) -> tuple[str, dict[str, float | str]] | None:
    """Name and settings; numbers are numbers, however they are written. None for what is no selection."""
    try:
        name, settings = params.parse_selection(text)
    except UsageError:
        return None
    return name, {key: _number(value) for key, value in settings.items()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def block_titles(runs: Sequence[Bundle]) -> dict[str, str]:
    """The name of each run's block among those of its data, by id; empty without a language model."""
    titles = {}
    groups: dict[ScoredOn, list[Bundle]] = {}
    for run in runs:
        groups.setdefault(_scored_on(run), []).append(run)
    for group in groups.values():
        blocks = {digest.canonical_json(block): block for run in group if (block := block_of(run))}
        names = dict(zip(blocks, block_names(list(blocks.values())), strict=True))
        for run in group:
            titles[run.id] = names.get(digest.canonical_json(block_of(run)), "")
    return titles


def sides(chosen: Mapping[str, Sequence[Bundle]]) -> tuple[Sides, dict[str, str]]:
    """The runs to compare, for each data that at least two of the names ran on, and the name of each word.

    `chosen` has the runs that each word names. A side is named by its label, with its block where the sides
    are of several, and by its word where that tells no two apart. UsageError where one word names runs of
    different systems (backbone, paradigm, ranker) on the same data. Where no two words share their data, one
    entry holds all of them, and comparing them says what differs.
    """
    by_word = {text: _by_data(runs, text) for text, runs in chosen.items()}
    names = _names(by_word)
    named = {names[word]: groups for word, groups in by_word.items()}
    shared = _shared(named)
    if not shared:
        first = next(data for groups in named.values() for data in groups)
        return {first: {name: next(iter(groups.values())) for name, groups in named.items()}}, names
    return shared, names


def all_sides(finished: Sequence[Bundle], left_out: Callable[[str], None]) -> Sides:
    """As `sides` for every label in every block; one of several systems is reported to `left_out`."""
    titles = block_titles(finished)
    chosen: dict[str, list[Bundle]] = {}
    for run in sorted(finished, key=lambda run: (run.label, titles[run.id])):
        word = f"{run.label}@{titles[run.id]}" if titles[run.id] else run.label
        chosen.setdefault(word, []).append(run)
    by_word = {}
    for word, runs in chosen.items():
        try:
            by_word[word] = _by_data(runs, word)
        except UsageError as error:
            left_out(f"{error.what} ({error.why})")
    names = _names(by_word)
    return _shared({names[word]: groups for word, groups in by_word.items()})


def lenders(compared: Sides, finished: Sequence[Bundle]) -> dict[ScoredOn, list[list[Bundle]]]:
    """For each data, the other methods whose seeds tell how much seeds vary there, each by its runs."""
    found: dict[ScoredOn, list[list[Bundle]]] = {}
    for data, chosen in compared.items():
        taken = {run.id for runs in chosen.values() for run in runs}
        methods: dict[str, list[Bundle]] = {}
        for run in finished:
            if _scored_on(run) == data:
                code = run.manifest.method_code
                made_by = None if code is None else code.key
                key = digest.of_json([run.spec.method_key, block_of(run), made_by])
                methods.setdefault(key, []).append(run)
        found[data] = [
            runs
            for runs in methods.values()
            if len({run.seed for run in runs}) == len(runs) > 1 and taken.isdisjoint(run.id for run in runs)
        ]
    return found


def over_datasets(families: Mapping[ScoredOn, Family]) -> Across | None:
    """The methods over all datasets that each of them was tested on; None for fewer than two sets."""
    tested = {data.dataset: family for data, family in families.items() if data.phase == "test"}
    names = sorted({standing.name for family in tested.values() for standing in family.standings})
    whole = {data: family for data, family in tested.items() if len(family.standings) == len(names)}
    if len(whole) < 2:
        return None
    means = [{standing.name: standing.mean for standing in family.standings} for family in whole.values()]
    compared = [{(one.a, one.b): one for one in family.comparisons} for family in whole.values()]
    return compare_across(
        names,
        np.array([[found[name] for name in names] for found in means]),
        datasets=list(whole),
        differences={
            pair: [estimate_of(found[pair]) for found in compared]
            for pair in compared[0]
            if all(pair in found for found in compared)
        },
    )


def _shared(named: Mapping[str, Mapping[ScoredOn, list[Bundle]]]) -> Sides:
    """The data that at least two of the names ran on."""
    every = dict.fromkeys(data for groups in named.values() for data in groups)
    return {
        data: {name: groups[data] for name, groups in named.items() if data in groups}
        for data in every
        if sum(data in groups for groups in named.values()) > 1
    }


def _names(by_word: Mapping[str, Mapping[ScoredOn, list[Bundle]]]) -> dict[str, str]:
    """Labels; with the block where sides of one data are of several; the word where labels still agree."""
    firsts = [next(iter(groups.values()))[0] for groups in by_word.values()]
    titles = block_titles([runs[0] for groups in by_word.values() for runs in groups.values()])
    blocks: dict[ScoredOn, set[str]] = {}
    for groups in by_word.values():
        for data, runs in groups.items():
            blocks.setdefault(data, set()).update([title] if (title := titles[runs[0].id]) else [])
    several = any(len(names) > 1 for names in blocks.values())
    names = [f"{run.label} · {titles[run.id]}" if several and titles[run.id] else run.label for run in firsts]
    return {word: name if names.count(name) == 1 else word for word, name in zip(by_word, names, strict=True)}


def _by_data(chosen: Sequence[Bundle], text: str) -> dict[ScoredOn, list[Bundle]]:
    groups: dict[ScoredOn, list[Bundle]] = {}
    for run in chosen:
        groups.setdefault(_scored_on(run), []).append(run)
    for group in groups.values():
        _refuse_mixed(text, group)
    return groups


def _scored_on(run: Bundle) -> ScoredOn:
    fit = run.spec.fit
    return ScoredOn(fit.dataset, fit.split, str(run.spec.protocol), run.spec.phase)


def _refuse_mixed(text: str, group: Sequence[Bundle]) -> None:
    seeds = [run.seed for run in group]
    if len(set(seeds)) < len(seeds):
        raise UsageError(
            f"'{text}' names runs of different systems on {group[0].spec.fit.dataset}",
            why=", ".join(f"{run.id} ({_system(run)})" for run in group),
            fix=_told_apart(text, group),
        )


def _told_apart(text: str, group: Sequence[Bundle]) -> str:
    """The command that compares the systems: by their blocks, by run ids where they share one."""
    titles = dict.fromkeys(block_titles(group)[run.id] for run in group)
    if len(titles) < 2 or "@" in text:
        return f"recbench compare {group[0].id} {group[1].id}"
    words = [f"{group[0].label}@{title}" for title in titles]
    return shlex.join(["recbench", "compare", *words[:2]])


def _words(block: str) -> list[str]:
    return [word.strip() for word in re.split("[·,]", block) if word.strip()]


def _accepted(title: str) -> set[str]:
    """The words of a block's name, and of `normalise=children` the value alone too."""
    words = _words(title)
    return {*words, *(word.partition("=")[2] for word in words if "=" in word)}


def _axis(run: Bundle, axis: str) -> str | None:
    """None for a method without a language model, of its paradigm and backbone."""
    if axis == "dataset":
        return run.spec.fit.dataset
    if axis == "protocol":
        return str(run.spec.protocol["name"])
    llm = run.spec.fit.llm
    return None if llm is None else str(llm.get(axis))


def _system(run: Bundle) -> str:
    llm, ranker = run.spec.fit.llm or {}, run.spec.ranker or {}
    parts = (llm.get("backbone"), llm.get("paradigm"), ranker.get("name"), f"seed {run.seed}")
    return ", ".join(str(part) for part in parts if part)
