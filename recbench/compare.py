"""Is one method better than another? The runs of both, checked to be comparable, then the tests.

One run a side: paired t and sign-flip permutation (exact McNemar for HR), which speak of these
checkpoints. Several seeds: two-level bootstrap and crossed-variance t, which speak of the methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from recbench import digest, significance
from recbench.block import Kind, system_differences
from recbench.bundle import Bundle
from recbench.errors import CheckError, DigestError, UsageError
from recbench.metrics import Floats, parse

Scope = Literal["methods", "these checkpoints only"]
CHAIN = ("raw", "log", "split", "catalogue")
FEW_SEEDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The difference a - b in the mean of a metric over users, with what is known about it."""

    a: str
    b: str
    metric: str
    mean_a: float
    mean_b: float
    difference: float
    relative: float | None
    """difference / mean_b; None where mean_b is 0."""
    low: float
    high: float
    interval: str
    """How the 95 % interval from `low` to `high` was made."""
    p: float
    test: str
    """Which test `p` comes from."""
    other_p: dict[str, float]
    """Tests that confirm it, by name."""
    effect_size: float | None
    """Paired d_z over users, of seed means; None where all users differ alike."""
    standard_error: float
    num_users: int
    seeds_a: tuple[int | None, ...]
    seeds_b: tuple[int | None, ...]
    scope: Scope
    kind: Kind
    notes: tuple[str, ...]


def compare(a: Sequence[Bundle], b: Sequence[Bundle], metric: str, *, num_tests: int = 1) -> Comparison:
    """Compare method `a` with method `b`, each given by its runs, one a seed.

    `num_tests` is the size of the family that this test belongs to; it sets the number of permutations.
    UsageError where a side is not one method, DigestError where the sides were not measured alike. Sides
    of different blocks are compared as systems, and the notes name the parts that differ.
    """
    a, b = _side(a), _side(b)
    notes = check_comparable([*a, *b])
    systems = [f"difference between systems: {what}" for what in system_differences(a, b)]
    values_a, values_b = values(a, metric), values(b, metric)
    mean_a, mean_b = float(values_a.mean()), float(values_b.mean())
    if len(a) == len(b) == 1:
        evidence = _one_run_each(values_a[0], values_b[0], str(parse(metric)), num_tests)
    else:
        evidence = _several_seeds(values_a, values_b, joint=share_seeds(a, b))
    return Comparison(
        a=a[0].label,
        b=b[0].label,
        metric=str(parse(metric)),
        mean_a=mean_a,
        mean_b=mean_b,
        difference=mean_a - mean_b,
        relative=(mean_a - mean_b) / mean_b if mean_b else None,
        effect_size=significance.effect_size(values_a.mean(0) - values_b.mean(0)),
        num_users=values_a.shape[1],
        seeds_a=tuple(run.seed for run in a),
        seeds_b=tuple(run.seed for run in b),
        scope=scope(a, b),
        kind="difference between systems" if systems else "effect of the method",
        notes=(*notes, *systems, *_seed_notes(a, b)),
        **evidence,
    )


def values(runs: Sequence[Bundle], metric: str) -> Floats:
    """[S, U] the metric of each run and user."""
    return np.stack([run.per_request(metric) for run in runs])


def scope(a: Sequence[Bundle], b: Sequence[Bundle]) -> Scope:
    """What a comparison speaks of: methods, only if no side is one checkpoint of many possible ones."""
    one_of_many = any(len(side) == 1 and side[0].seed is not None for side in (a, b))
    return "these checkpoints only" if one_of_many else "methods"


def share_seeds(a: Sequence[Bundle], b: Sequence[Bundle]) -> bool:
    """Whether run s of both sides descends from the same fit, for every s: such seeds are drawn jointly."""
    roots_a, roots_b = ([run.spec.fit.parent or run.spec.fit.id for run in side] for side in (a, b))
    return len(a) > 1 and roots_a == roots_b


def _one_run_each(a: Floats, b: Floats, metric: str, num_tests: int) -> dict[str, Any]:
    estimate = significance.paired_t(a - b)
    others = {
        "paired t": estimate.p,
        "sign-flip permutation": significance.sign_flip(
            a - b, resamples=significance.permutations(num_tests)
        ),
    }
    test = "paired t"
    if metric.startswith("hr@"):
        test = "exact McNemar"
        others[test] = significance.mcnemar(a, b)
    return {
        "low": estimate.low,
        "high": estimate.high,
        "interval": "paired t",
        "p": others.pop(test),
        "test": test,
        "other_p": others,
        "standard_error": estimate.standard_error,
    }


def _several_seeds(a: Floats, b: Floats, *, joint: bool) -> dict[str, Any]:
    estimate = significance.crossed_t(a, b, joint=joint)
    low, high = significance.two_level_interval(a, b, joint=joint)
    return {
        "low": low,
        "high": high,
        "interval": "two-level bootstrap" + (", joint seeds" if joint else ""),
        "p": estimate.p,
        "test": "crossed-variance t",
        "other_p": {},
        "standard_error": estimate.standard_error,
    }


def _side(runs: Sequence[Bundle]) -> list[Bundle]:
    """The runs of one method by seed. UsageError unless they differ in nothing but the seed."""
    if not runs:
        raise UsageError("there is no run to compare", mend="recbench list runs")
    identities = {method_key(run) for run in runs}
    if len(identities) > 1:
        labels = ", ".join(f"{run.label} ({run.id})" for run in runs)
        raise UsageError(
            "the runs of one side are not one method", why=f"they differ beyond the seed: {labels}"
        )
    seeds = [run.seed for run in runs]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"a seed of {runs[0].label} is given twice", why=f"seeds: {seeds}")
    return sorted(runs, key=lambda run: -1 if run.seed is None else run.seed)


def method_key(run: Bundle) -> str:
    """What the runs of one method share: all of a run's identity but the seed and the parent's fit."""
    spec = replace(run.spec, fit=replace(run.spec.fit, seed=None, parent=None))
    return digest.of_json(spec.to_json())


def _seed_notes(a: Sequence[Bundle], b: Sequence[Bundle]) -> list[str]:
    counts = [len(side) for side in (a, b) if side[0].seed is not None]
    if len(a) == len(b) == 1 or min(counts) >= FEW_SEEDS:
        return []
    return [f"fewer than {FEW_SEEDS} seeds: the variance between seeds is poorly known"]


def check_comparable(runs: Sequence[Bundle]) -> list[str]:
    """Raise unless all runs are complete and agree on data, protocol and users; return what to note.

    DigestError names the first link of raw, log, split, catalogue, protocol, users that differs, with
    both values. Raw files that differ while all that follows agrees are only noted.
    """
    for run in runs:
        if run.status != "complete":
            raise CheckError(
                f"run {run.id} ({run.label}) failed and has no ranks",
                mend="recbench run with the same selection",
            )
    first, *rest = runs
    notes = []
    for other in rest:
        differing = [
            (link, ours, theirs)
            for (link, ours), theirs in zip(_links(first).items(), _links(other).values(), strict=True)
            if ours != theirs
        ]
        if [link for link, _, _ in differing] == ["raw"]:
            notes.append(f"raw files of {first.id} and {other.id} differ; the log read from them is the same")
        elif differing:
            link, ours, theirs = differing[0]
            links = ", ".join(name for name, _, _ in differing)
            raise DigestError(
                f"runs {first.id} ({first.label}) and {other.id} ({other.label}) differ in the {link}",
                why=f"{link}: {ours} and {theirs}; links that differ: {links}",
                mend="repeat both runs on the same data: recbench run ... --force",
            )
    return notes


def _links(run: Bundle) -> dict[str, str]:
    protocol = digest.canonical_json({**run.spec.protocol, "phase": run.spec.phase})
    users = digest.short(digest.of_arrays({"users": run.users})) + f" ({len(run.users)})"
    return {link: run.digests.get(link, "none") for link in CHAIN} | {"protocol": protocol, "users": users}
