"""The canary: who knows the planted items has read them. And the check of that measure itself."""

from __future__ import annotations

import numpy as np

from recbench.conformance.finding import FailedCheckError
from recbench.conformance.lists import BY_ACCIDENT, chance_of, hits
from recbench.conformance.trials import Trials
from recbench.data import Ints
from recbench.dataset.split import load_requests, load_training
from recbench.protocol import Phase
from recbench.ranking import Ranking, rank_by_scores

FIRST = 5
"""Places in which a planted item counts as known."""
PHASES: tuple[Phase, ...] = ("test", "valid")


def check_canaries(test: Ranking, valid: Ranking, trials: Trials) -> str:
    """The shares of planted items that rankings of the test and of the validation requests know."""
    shares = []
    asked: tuple[tuple[Phase, Ranking, str], ...] = (
        ("test", test, "learn from `data` alone: the test targets are not for a method"),
        (
            "valid",
            valid,
            "train on data.sequences; data.valid may choose an epoch, and no weight",
        ),
    )
    for phase, ranking, fix in asked:
        found = hits(ranking, trials.targets(phase), FIRST)
        chance = chance_share(trials, phase)
        if is_known(int(found.sum()), len(found), chance):
            raise FailedCheckError(
                f"it knows {found.mean():.0%} of the {phase} items that were drawn at random, and chance is "
                f"{chance:.0%}",
                fix,
            )
        shares.append(f"{phase} {found.mean():.3f} at a chance of {chance:.3f}")
    return ", ".join(shares)


def is_known(count: int, requests: int, chance: float) -> bool:
    """Whether so many hits are no accident."""
    return chance_of(count, requests, chance) < BY_ACCIDENT


def chance_share(trials: Trials, phase: Phase) -> float:
    """The most that a method without knowledge hits in expectation: planted items are never in the history,
    so it may leave out the longest."""
    requests = load_requests(trials.place.split.folder, phase, exclude_seen=False)
    return FIRST / (trials.place.split.num_items - int(requests.history.lengths.max()))


def check_measure(trials: Trials) -> str:
    """Of the checks, not of the method: a scorer that knows nothing hits by chance, an oracle always."""
    folder = trials.place.split.folder
    popularity = load_training(folder).catalogue.popularity
    said = []
    for phase in PHASES:
        targets = trials.targets(phase)
        chance = chance_share(trials, phase)
        constant, oracle = (
            hits(Ranking(items=rank_by_scores(scores, popularity, k=FIRST)[0]), targets, FIRST)
            for scores in (np.zeros((len(targets), len(popularity))), _of_oracle(targets, len(popularity)))
        )
        if is_known(int(constant.sum()), len(targets), chance) or not oracle.all():
            raise FailedCheckError(
                f"of the {phase} items a constant scorer hits {constant.mean():.3f}, "
                f"and an oracle {oracle.mean():.3f}",
                "this is a fault of recbench: report it, with the versions of `recbench doctor`",
            )
        said.append(f"{phase} {constant.mean():.3f} and {oracle.mean():.3f}")
    return f"constant and oracle: {', '.join(said)}"


def _of_oracle(targets: Ints, num_items: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    scores = np.zeros((len(targets), num_items))
    scores[np.arange(len(targets)), targets] = 1.0
    return scores
