"""The exposure measures of a finished run, from its stored lists and the split that it ranked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbench.dataset import split
from recbench.dataset.split import PreparedSplit
from recbench.errors import DigestError, MissingError
from recbench.results import top_lists
from recbench.results.bundle import Bundle
from recbench.results.exposure.measures import exposure, item_facts


def exposure_of(
    run: Bundle, cutoffs: Sequence[int], *, cache: Path, titles: bool = True
) -> dict[str, dict[str, float]]:
    """As `exposure_in`, with the split in the cache. MissingError where it is not there: bundles keep no
    histories."""
    fit = run.spec.fit
    prepared = split.find_split(cache, fit.split)
    if prepared is None:
        raise MissingError(
            f"the split of run {run.id} ({run.label}) is not prepared here",
            why="categories of histories and items that users had are read from it",
            fix=f"recbench data prepare {fit.dataset} --protocol {run.spec.protocol['name']}"
            if fit.limit_users is None
            else "repeat the run with the same selection and --force",
        )
    return exposure_in(run, cutoffs, prepared, titles=titles)


def exposure_in(
    run: Bundle, cutoffs: Sequence[int], prepared: PreparedSplit, *, titles: bool = True
) -> dict[str, dict[str, float]]:
    """`mean`, `low`, `high` of each measure, as `measures.exposure` gives them. No target is opened.

    Without `titles`, none of words.

    MissingError where the run's lists are shorter than a cutoff, as in a board's record. DigestError where
    the users of the split are not those of the run.
    """
    items = top_lists.lists_of(run)
    places = 0 if items is None else items.shape[1]
    if items is None or places < max(cutoffs):
        raise MissingError(
            f"the lists of run {run.id} ({run.label}) have {places} places here",
            why=f"{max(cutoffs)} are asked for, and a record has no longer lists",
            fix="repeat it: recbench run with the same selection and --force",
        )
    requests = split.load_requests(prepared.folder, run.spec.phase, exclude_seen=True)
    names = split.load_users(prepared.folder)
    if [names[int(user)] for user in requests.user] != [str(user) for user in run.users]:
        raise DigestError(
            f"the users of run {run.id} ({run.label}) are not those of its split",
            fix=split.remake(prepared.folder),
        )
    facts = item_facts(split.load_catalogue(prepared.folder), titles=titles)
    return exposure(items, requests, facts, cutoffs)
