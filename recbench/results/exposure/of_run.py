"""The exposure measures of a finished run, from its stored lists and the split that it ranked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbench.dataset import split
from recbench.errors import DigestError, MissingError
from recbench.results.bundle import Bundle
from recbench.results.exposure.measures import exposure, item_facts


def exposure_of(run: Bundle, cutoffs: Sequence[int], *, cache: Path) -> dict[str, dict[str, float]]:
    """`mean`, `low`, `high` of each measure, as `measures.exposure` gives them. No target is opened.

    MissingError where the split is not in the cache: bundles keep no histories. DigestError where its users
    are not those of the run.
    """
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
    requests = split.load_requests(prepared.folder, run.spec.phase, exclude_seen=True)
    names = split.load_users(prepared.folder)
    if [names[int(user)] for user in requests.user] != [str(user) for user in run.users]:
        raise DigestError(
            f"the users of run {run.id} ({run.label}) are not those of its split",
            fix=split.remake(prepared.folder),
        )
    facts = item_facts(split.load_catalogue(prepared.folder))
    return exposure(run.topk()["items"], requests, facts, cutoffs)
