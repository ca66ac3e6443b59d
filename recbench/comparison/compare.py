"""Is one method better than another? The runs of both, checked to be comparable, then the tests.

One run a side: the paired t, which concerns these checkpoints. Several seeds: the crossed-variance t, which
concerns the methods. Interval and p come from the same t and never disagree; other tests stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

import numpy as np

from recbench.base import digest
from recbench.comparison import power, significance
from recbench.comparison.block import Kind, block_of, system_differences
from recbench.comparison.pair_estimates import (
    PairEstimate,
    estimates,
    of_requests,
    other_tests,
    users_of,
)
from recbench.comparison.significance import ALPHA
from recbench.comparison.standings import RANKED_SEEDS
from recbench.data import Floats, Ints
from recbench.errors import CheckError, DigestError, RecbenchError, UsageError
from recbench.protocol import REPEATED, asks_repeatedly
from recbench.results import strata, top_lists
from recbench.results.bundle import Bundle
from recbench.results.method_code import check_same, unknown_note
from recbench.results.metrics import by_user, parse, user_sums

Scope = Literal["methods", "these checkpoints only"]
Seeds = tuple[int | None, ...]
"""Of a side; (None,) for a deterministic method."""
CHECKPOINTS = "†"
"""Marks what applies to these checkpoints only."""
CHAIN = ("raw", "log", "split", "catalogue")
FEW_SEEDS = 5
NO_RUN = "has no run of seed"
ROUNDING = 1e-12


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
    """The 95 % interval: it holds 0 exactly where `p` is above 0.05."""
    p: float
    test: str
    """Which test `p` and the interval come from."""
    other_p: dict[str, float]
    """Tests that confirm it, by name."""
    p_greater: float
    """One-sided p of the same test: small where a is better, near 1 where it is worse."""
    seed_rule: str
    """Where the variance between seeds comes from; empty where a side of one run each has none."""
    p_holm: float | None
    """p adjusted for the family that the comparison belongs to; None for a comparison by itself."""
    low_together: float | None
    high_together: float | None
    """The interval that holds together with those of the family; it holds 0 where `p_holm` is above 0.05."""
    margin: float | None
    p_equivalent: float | None
    """p of the two one-sided tests that a and b differ by `margin` or more; None without a margin."""
    p_equivalent_holm: float | None
    """The same, adjusted for the family."""
    effect_size: float | None
    """Paired d_z over users, of seed means; None where all users differ alike."""
    standard_error: float
    degrees: float
    """Degrees of freedom of the t distribution that belongs to `standard_error`."""
    smallest_difference: float
    """The true difference that is found with 80 % power at 5 % over the number of tests of the family."""
    smallest_range: tuple[float, float]
    """80 % range of it, as the variance is known from few seeds."""
    users: str
    """Who is counted: `all users`, or the rule of a stratum."""
    num_users: int
    num_requests: int
    """More than the users where they ask repeatedly."""
    estimand: str
    """What the means are over and the errors are of, where that is not one request a user; else empty."""
    wins: int
    """Users for whom the mean over a's seeds and their requests is above that over b's; then equal to it,
    then below it."""
    ties: int
    losses: int
    seeds_a: tuple[int | None, ...]
    seeds_b: tuple[int | None, ...]
    scope: Scope
    kind: Kind
    notes: tuple[str, ...]


def compare(
    a: Sequence[Bundle],
    b: Sequence[Bundle],
    metric: str,
    *,
    num_tests: int = 1,
    margin: float | None = None,
    stratum: str = strata.ALL,
    estimate: PairEstimate | None = None,
) -> Comparison:
    """Compare method `a` with method `b`, each given by its runs, one a seed.

    `num_tests` is the size of the family that this test belongs to; it sets the number of permutations. With
    a `margin` it is also tested whether the difference lies within it. Of the users only those of `stratum`
    count. `estimate` is that of a table which lends its seed variance; without it the two lend each other
    theirs.
    UsageError where a side is not one method, DigestError where the sides were not measured alike.
    Seeds whose ranks are all the same count as one, with a note.
    Sides of different blocks are compared as systems, and the notes name the parts that differ.
    """
    check_margin(margin)
    repeated = [f"{side[0].label}: {why}" for side in (a, b) for why in repeats(side).values()]
    a, b = _side(distinct(a)), _side(distinct(b))
    notes = [*check_comparable([*a, *b]), *repeated]
    systems = [f"difference between systems: {what}" for what in system_differences(a, b)]
    group = strata.named([*a, *b], stratum)
    values_a, values_b = (of_requests(side, metric, group) for side in (a, b))
    found = between(
        values_a,
        values_b,
        estimate or estimates([a, b], metric, stratum=stratum)[0, 1],
        names=(a[0].label, b[0].label),
        metric=str(parse(metric)),
        num_tests=num_tests,
        margin=margin,
        seeds=(tuple(run.seed for run in a), tuple(run.seed for run in b)),
        asking=users_of(a, group),
    )
    return replace(
        found,
        users=group.rule,
        kind="difference between systems" if systems else "effect of the method",
        notes=(*notes, *systems, *_code_notes(a, b), *found.notes),
    )


def between(
    a: Floats,
    b: Floats,
    pair: PairEstimate,
    *,
    names: tuple[str, str],
    metric: str,
    num_tests: int,
    margin: float | None,
    seeds: tuple[Seeds, Seeds],
    asking: Ints | None = None,
) -> Comparison:
    """The comparison of values [S, R] of the same requests, of which `pair` is the estimate.

    A row belongs to a seed of `seeds`; None is the one fit of a deterministic method. `asking` [R] are the
    users' numbers; None: nobody asks twice.
    """
    single = len(a) == len(b) == 1
    mean_a, mean_b = float(a.mean()), float(b.mean())
    found = pair.estimate
    differences = a.mean(0) - b.mean(0)
    of_users = differences if asking is None else user_sums(differences, asking)[0]
    # equal means of several seeds, added in another order, may differ in their last digits
    signs = np.sign(np.where(np.abs(of_users) < ROUNDING, 0.0, of_users))
    return Comparison(
        a=names[0],
        b=names[1],
        metric=metric,
        mean_a=mean_a,
        mean_b=mean_b,
        difference=mean_a - mean_b,
        relative=(mean_a - mean_b) / mean_b if mean_b else None,
        low=found.low,
        high=found.high,
        p=found.p,
        test="paired t" if single else "crossed-variance t" + (", joint seeds" if pair.joint else ""),
        other_p=other_tests(a[0], b[0], asking, metric, num_tests) if single else {},
        p_greater=significance.exceeds(found),
        seed_rule=pair.seed_rule,
        p_holm=None,
        low_together=None,
        high_together=None,
        margin=margin,
        p_equivalent=None if margin is None else significance.equivalence(found, margin),
        p_equivalent_holm=None,
        effect_size=significance.effect_size(by_user(differences, asking)),
        standard_error=found.standard_error,
        degrees=found.degrees,
        smallest_difference=power.smallest_difference(
            found.standard_error, found.degrees, alpha=ALPHA / num_tests
        ),
        smallest_range=power.smallest_range(found.standard_error, found.degrees, alpha=ALPHA / num_tests),
        users="all users",
        num_users=len(of_users),
        num_requests=a.shape[1],
        estimand="" if asking is None else REPEATED,
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
        seeds_a=seeds[0],
        seeds_b=seeds[1],
        scope=scope(*seeds),
        kind="difference between systems",
        notes=tuple(_seed_notes(names, seeds)),
    )


def check_margin(margin: float | None) -> None:
    """UsageError for a margin that is not above 0."""
    if margin is not None and not margin > 0:
        raise UsageError(f"a margin of {margin:g} leaves no room for equivalence", fix="--margin 0.002")


def scope(a: Seeds, b: Seeds) -> Scope:
    """What a comparison concerns: methods, unless a side is one checkpoint of many possible ones."""
    one_of_many = any(len(seeds) == 1 and seeds[0] is not None for seeds in (a, b))
    return "these checkpoints only" if one_of_many else "methods"


def _side(runs: Sequence[Bundle]) -> list[Bundle]:
    """The runs of one method by seed. UsageError unless they differ in nothing but the seed, DigestError
    where different code made them."""
    if not runs:
        raise UsageError("there is no run to compare", fix="recbench list runs")
    identities = {run.spec.method_key for run in runs}
    if len(identities) > 1:
        labels = ", ".join(f"{run.label} ({run.id})" for run in runs)
        raise UsageError(
            "the runs of one side are not one method", why=f"they differ beyond the seed: {labels}"
        )
    seeds = [run.seed for run in runs]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"a seed of {runs[0].label} is given twice", why=f"seeds: {seeds}")
    check_one_code(runs)
    return by_seed(runs)


def repeats(runs: Sequence[Bundle]) -> dict[str, str]:
    """Seeds of a method with the ranks of an earlier one, by run id, with the reason why they count as one:
    chance had no part.

    Runs of an earlier version, which kept no lists, are not judged.
    """
    first: dict[str, Bundle] = {}
    reasons = {}
    for run in by_seed([run for run in runs if run.seed is not None and top_lists.FILE in run.files]):
        same = first.setdefault(digest.of_json([run.spec.method_key, block_of(run), run.ranks_digest]), run)
        if same is not run:
            reasons[run.id] = (
                f"seed {run.seed} has the same rank as seed {same.seed} for every user, so both count as one"
            )
    return reasons


def distinct(runs: Sequence[Bundle]) -> list[Bundle]:
    """The runs without those that repeat another."""
    dropped = repeats(runs)
    return [run for run in runs if run.id not in dropped]


def check_one_code(runs: Sequence[Bundle]) -> None:
    """DigestError where different code, or packages that claim one name, made runs that would be pooled."""
    check_same({f"{run.id} ({run.label}, seed {run.seed})": run.manifest.method_code for run in runs})


def by_seed(runs: Sequence[Bundle]) -> list[Bundle]:
    return sorted(runs, key=lambda run: -1 if run.seed is None else run.seed)


def _code_notes(*sides: Sequence[Bundle]) -> list[str]:
    codes = [(side[0].label, [run.manifest.method_code for run in side]) for side in sides]
    return [note for label, made in codes for note in unknown_note(label, made)]


def _seed_notes(names: tuple[str, str], seeds: tuple[Seeds, Seeds]) -> list[str]:
    sides = [(name, own) for name, own in zip(names, seeds, strict=True) if own[0] is not None]
    if len(seeds[0]) == len(seeds[1]) == 1:
        return []
    notes = []
    for (name, own), (other, others) in permutations(sides, 2):
        missing = sorted(set(others) - set(own), key=str)
        if missing:
            notes.append(f"{name} {NO_RUN} {', '.join(map(str, missing))}, which {other} has")
    fewest = min(len(own) for _, own in sides)
    if 1 < fewest < RANKED_SEEDS:
        notes.append("two seeds: several such comparisons together may err in 10 % of cases instead of 5 %")
    elif fewest < FEW_SEEDS:
        notes.append(f"fewer than {FEW_SEEDS} seeds: the variance between seeds is poorly known")
    return notes


def check_comparable(runs: Sequence[Bundle]) -> list[str]:
    """Raise unless all runs are complete and agree on data, protocol and users; return what to note.

    DigestError names the first link of raw, log, split, catalogue, protocol, users that differs, with
    both values. Raw files that differ while all that follows agrees are only noted.
    """
    for run in runs:
        check_usable(run)
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
            if link == "users":
                ours, theirs = f"{ours}{_only(first, other)}", f"{theirs}{_only(other, first)}"
            raise DigestError(
                f"runs {first.id} ({first.label}) and {other.id} ({other.label}) differ in the {link}",
                why=f"{link}: {ours} and {theirs}; links that differ: {links}",
                fix=f"repeat both runs {_alike(first, other)}: recbench run ...",
            )
    return notes


def _alike(a: Bundle, b: Bundle) -> str:
    limits = [run.spec.fit.limit_users for run in (a, b)]
    return "on the same data, with --force" if limits[0] == limits[1] else "with the same --limit-users"


def measured_alike(sides: Mapping[str, Sequence[Bundle]]) -> list[list[str]]:
    """The names of sides that can be compared with each other."""
    groups: list[list[str]] = []
    for name, side in sides.items():
        for group in groups:
            try:
                check_comparable([*sides[group[0]], *side])
            except RecbenchError:
                continue
            group.append(name)
            break
        else:
            groups.append([name])
    return groups


def check_usable(run: Bundle) -> None:
    """CheckError unless the run is complete, has a rank for every user, and recorded finite metrics."""
    what = why = ""
    depth = run.spec.protocol.get("depth")
    if run.status != "complete":
        what = "failed and has no ranks"
    elif len(run.ranks) == 0:
        what, why = "has no ranks", "its ranks.npz is missing or empty"
    elif len(run.ranks) != len(run.users):
        what = f"has {len(run.ranks)} ranks of {len(run.users)} users"
    elif run.user_numbers is not None and not asks_repeatedly(run.spec.protocol):
        what = f"has {len(run.users)} requests of {run.num_users} users"
        why = f"under protocol '{run.spec.protocol.get('name')}' a user asks once in a phase"
    elif run.ranks.min() < 0 or (depth is not None and run.ranks.max() > depth):
        what, why = f"has ranks from {run.ranks.min()} to {run.ranks.max()}", f"possible is 0 to {depth}"
    else:
        broken = [f"{name} = {value}" for name, value in run.metrics.items() if not np.isfinite(value)]
        if broken:
            what, why = "records metrics that are no numbers", ", ".join(broken)
    if what:
        fix = "repeat it: recbench run with the same selection and --force"
        raise CheckError(f"run {run.id} ({run.label}) {what}", why=why, fix=fix)


def _only(run: Bundle, other: Bundle) -> str:
    """Up to three users that only `run` has."""
    users = [str(user) for user in np.setdiff1d(run.users, other.users)[:3]]
    return f", only there: {', '.join(users)}" if users else ""


def _links(run: Bundle) -> dict[str, str]:
    protocol = digest.canonical_json({**run.spec.protocol, "phase": run.spec.phase})
    users = f"{digest.short(run.users_digest)} ({len(run.users)})"
    return {link: run.digests.get(link, "none") for link in CHAIN} | {"protocol": protocol, "users": users}
