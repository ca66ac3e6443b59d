"""The sides of a comparison: which finished runs a label names, grouped by the data they were scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recbench.base import digest
from recbench.comparison.across_datasets import Across
from recbench.comparison.across_datasets import across as compare_across
from recbench.comparison.block import block_of
from recbench.comparison.compare import method_key
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


def labelled(text: str, finished: Sequence[Bundle]) -> list[Bundle]:
    """All finished runs with this label, of every seed. UsageError names the nearest label."""
    chosen = [run for run in finished if run.label == text]
    if not chosen:
        labels = {run.label for run in finished}
        raise unknown_name("run or method", text, labels, fix="recbench list runs")
    return chosen


def sides(chosen: Mapping[str, Sequence[Bundle]]) -> Sides:
    """The runs to compare, for each data that at least two of the names ran on.

    `chosen` has the runs that each word names. UsageError where one word names runs of different systems
    (backbone, paradigm, ranker) on the same data: only run ids tell them apart. Where no two words share
    their data, one entry holds all of them, and comparing them says what differs.
    """
    named = _by_label({text: _by_data(runs, text) for text, runs in chosen.items()})
    shared = _shared(named)
    if not shared:
        first = next(data for groups in named.values() for data in groups)
        return {first: {name: next(iter(groups.values())) for name, groups in named.items()}}
    return shared


def all_sides(finished: Sequence[Bundle], left_out: Callable[[str], None]) -> Sides:
    """As `sides` for every label; a label of several systems is reported to `left_out` and dropped."""
    named = {}
    for label in sorted({run.label for run in finished}):
        try:
            named[label] = _by_data([run for run in finished if run.label == label], label)
        except UsageError as error:
            left_out(f"{error.what} ({error.why})")
    return _shared(named)


def lenders(compared: Sides, finished: Sequence[Bundle]) -> dict[ScoredOn, list[list[Bundle]]]:
    """For each data, the other methods whose seeds tell how much seeds vary there, each by its runs."""
    found: dict[ScoredOn, list[list[Bundle]]] = {}
    for data, chosen in compared.items():
        taken = {run.id for runs in chosen.values() for run in runs}
        methods: dict[str, list[Bundle]] = {}
        for run in finished:
            if _scored_on(run) == data:
                code = run.manifest.method_code
                made_by = None if code is None else [code.distribution, code.digest]
                key = digest.of_json([method_key(run), block_of(run), made_by])
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


def _by_label(
    named: Mapping[str, dict[ScoredOn, list[Bundle]]],
) -> dict[str, dict[ScoredOn, list[Bundle]]]:
    """By label; where several sides have the same label, by the word that named them."""
    labels = [next(iter(groups.values()))[0].label for groups in named.values()]
    return {
        label if labels.count(label) == 1 else text: groups
        for label, (text, groups) in zip(labels, named.items(), strict=True)
    }


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
            fix=f"recbench compare {group[0].id} {group[1].id}",
        )


def _system(run: Bundle) -> str:
    llm, ranker = run.spec.fit.llm or {}, run.spec.ranker or {}
    parts = (llm.get("backbone"), llm.get("paradigm"), ranker.get("name"), f"seed {run.seed}")
    return ", ".join(str(part) for part in parts if part)
