"""The checks of a method, by name: what each claims, and what is to be fixed where it fails.

A check reads the trials that it needs and returns what it measured. `check` makes one of them a CheckFinding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recbench.conformance import planted
from recbench.conformance.finding import CheckFinding, FailedCheckError, NotApplicableError
from recbench.conformance.lists import differing_rows, renumbered
from recbench.conformance.trials import BlockedError, Told, Trials
from recbench.errors import RecbenchError
from recbench.ranking import Ranking
from recbench.settings import Paradigm

MOST_SECONDS = 90.0
MOST_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """A claim, in a sentence, and the function that tries it."""

    claim: str
    try_: Callable[[Trials], str]


def check(name: str, trials: Trials) -> CheckFinding:
    """One check. A reason that the class gives in `declines` takes its place, but for `loads`."""
    try:
        reason = trials.traits.declines.get(name) if name != "loads" else None
        if reason:
            return CheckFinding(check=name, status="declined", what=reason)
        return CheckFinding(check=name, status="passed", what=CHECKS[name].try_(trials))
    except FailedCheckError as error:
        return CheckFinding(check=name, status="failed", what=error.what, fix=error.fix)
    except (NotApplicableError, BlockedError) as error:
        return CheckFinding(check=name, status="skipped", what=str(error))
    except RecbenchError as error:
        what = " ".join(filter(None, (error.what, error.why)))
        return CheckFinding(check=name, status="failed", what=what, fix=error.fix)


def check_each(trials: Trials, names: Sequence[str] = ()) -> Iterator[CheckFinding]:
    """The checks called `names`, all where there is none, in their order, each when it is made."""
    return (check(name, trials) for name in CHECKS if not names or name in names)


def _loads(trials: Trials) -> str:
    told = trials.loaded
    _raise_failure(told, "its class cannot be loaded", "fix the module, or its entry point")
    return f"{told.facts['place']} in {told.facts['seconds']:.1f} s"


def _light(trials: Trials) -> str:
    heavy = _loaded(trials).facts["heavy"]
    if heavy:
        raise FailedCheckError(
            f"importing its class imports {', '.join(heavy)}",
            "import these inside fit, load or train: listing methods stays quick, and works without them",
        )
    return ""


def _documented(trials: Trials) -> str:
    missing = _loaded(trials).facts["undocumented"]
    if missing:
        raise FailedCheckError(
            f"no documentation of {', '.join(missing)}",
            'a docstring below the field: `beta: float = 0.1` and then `"""Scale of the log-ratios."""`',
        )
    return ""


def _typed(trials: Trials) -> str:
    wrong = _loaded(trials).facts["wrong_defaults"]
    if wrong:
        raise FailedCheckError(
            "; ".join(wrong), "give each default the type and range that its annotation names"
        )
    return ""


def _examples(trials: Trials) -> str:
    if not trials.is_llm:
        raise NotApplicableError("it is no language model")
    told = trials.loss
    _raise_failure(told, "its loss of a drawn batch failed", "fix the line that it names")
    if not told.facts["losses"]:
        raise NotApplicableError("it has no pair loss")
    for count, whole, mean in told.facts["losses"]:
        if not math.isclose(whole, mean, rel_tol=1e-6, abs_tol=1e-9):
            raise FailedCheckError(
                f"at {count} rejected of an example the loss of a batch is {whole:.4f}, "
                f"and the mean of the losses of its examples {mean:.4f}",
                "take the mean over the B examples, and keep them apart: rho_w[:, None] - rho_l is [B, K], "
                "and rho_w - rho_l sets each target against the items of other examples",
            )
    return ""


def _fits(trials: Trials) -> str:
    told = trials.first
    _raise_failure(told, "fit or load failed", "fix the line that it names")
    return f"fit {told.facts['fit_seconds']:.1f} s, rank {told.facts['rank_seconds']:.1f} s"


def _ranks(trials: Trials) -> str:
    if trials.first.failure is not None:
        raise BlockedError("it does not fit")
    for told in (trials.first, trials.fresh if "plain" in trials.first.rankings else trials.first):
        for form, error in told.refused.items():
            raise FailedCheckError(
                f"{SPOKEN[form]}: {' '.join(filter(None, (error['what'], error['why'])))}",
                error["fix"]
                or "return [R, k] items of the catalogue, each once, -1 only after a row's last "
                "item; recbench.ranking.rank_by_scores does all that",
            )
    return "catalogue, candidate lists and masked items"


def _restores(trials: Trials) -> str:
    _raise_failure(trials.fresh, "a fresh process cannot load the fit", "save all state in run.workdir")
    _same(
        trials,
        "plain",
        trials.fitted.rankings["plain"],
        "the process that fitted, and a fresh one that loads, rank differently",
        "save all that rank reads in run.workdir, and read it in load",
    )
    return ""


def _replays(trials: Trials) -> str:
    _same_fit(
        trials,
        trials.again,
        "two fits of one seed rank differently",
        "draw every random number from run.rng(purpose), or seed libraries with run.child_seed(purpose)",
    )
    return ""


def _seeds(trials: Trials) -> str:
    _raise_failure(trials.other_seed, "the fit of another seed failed", "fix the line that it names")
    rows = differing_rows(trials.fitted.rankings["plain"], trials.other_seed.rankings["plain"])
    if trials.traits.stochastic and not len(rows):
        raise FailedCheckError(
            "fits of seeds 0 and 1 rank alike",
            "draw from run.rng(purpose); or, where nothing is drawn, stochastic: ClassVar[bool] = False",
        )
    if not trials.traits.stochastic and len(rows):
        raise FailedCheckError(
            f"it says that one fit serves all seeds, and seeds 0 and 1 rank {len(rows)} requests differently",
            "remove stochastic = False, or draw nothing",
        )
    return f"{len(rows)} of {len(trials.fitted.rankings['plain'].items)} requests differ"


def _order(trials: Trials) -> str:
    _same(trials, "reversed", None, "the order of the requests changes rankings", SINGLY)
    return ""


def _batches(trials: Trials) -> str:
    _same(trials, "batches", None, "the number of requests asked at once changes rankings", SINGLY)
    return ""


def _candidates(trials: Trials) -> str:
    found = _form(trials, "candidates")
    _same(
        trials,
        "other-candidates",
        found,
        "the order of `requests.allowed` changes rankings",
        "use the lists as sets: recbench.ranking.rank_by_scores(..., requests=requests) does",
    )
    return ""


def _numbers(trials: Trials) -> str:
    if trials.traits.stochastic:
        raise NotApplicableError("the method is stochastic")
    if trials.is_llm:
        raise NotApplicableError("identifiers of a language model are made in the items' order")
    if trials.fitted.rankings["plain"].scores is None:
        raise NotApplicableError("its rankings have no scores, so ties cannot be told from differences")
    _raise_failure(trials.new_numbers, "it fails on renumbered items", "fix the line that it names")
    moved = renumbered(trials.new_numbers.rankings["plain"], trials.order)
    rows = differing_rows(trials.fitted.rankings["plain"], moved)
    if len(rows):
        raise FailedCheckError(
            f"renumbering the items changes the rankings of {len(rows)} requests beyond ties",
            "an item's row in the catalogue is a name: use no order or size of it",
        )
    return ""


def _writes(trials: Trials) -> str:
    return _no_marks(
        trials, "change of", "write into run.workdir alone; what several fits share is run.stages.get(...)"
    )


def _reads(trials: Trials) -> str:
    return _no_marks(trials, "read of", "learn from `data` alone: the test targets are not for a method")


def _alone(trials: Trials) -> str:
    return _no_marks(
        trials, ("start of", "connection to"), "start no program and open no connection: boards mark both"
    )


def _no_marks(trials: Trials, kind: str | tuple[str, ...], fix: str) -> str:
    told = [trials.first, *([trials.fresh] if trials.is_fitted else [])]
    marks = sorted({mark for each in told for mark in each.marks if mark.startswith(kind)})
    if marks:
        raise FailedCheckError("; ".join(marks), fix)
    trials.require_fit()
    return ""


def _global_state(trials: Trials) -> str:
    touched = sorted({*trials.fitted.facts.get("touched", ()), *trials.fresh.facts.get("touched", ())})
    if touched:
        raise FailedCheckError(
            "; ".join(touched),
            "use generators of your own, from run.rng(purpose); set no variable and no folder of the process",
        )
    return ""


def _resumes(trials: Trials) -> str:
    told = trials.resumed
    _same_fit(
        trials,
        told,
        "a fit that was interrupted, and called again in its folder, ranks differently from one that was not",
        "start again from a whole checkpoint or from nothing; write files to another name, then rename",
    )
    return f"{trials.fitted.facts.get('calls', 0)} calls of run.report"


def _canary(trials: Trials) -> str:
    if not trials.place.planted:
        raise NotApplicableError("the held-out items of a real dataset can be predicted")
    return planted.check_canaries(_form(trials, "plain"), _form(trials, "valid"), trials)


def _measure(trials: Trials) -> str:
    if not trials.place.planted:
        raise NotApplicableError("the held-out items of a real dataset can be predicted")
    return planted.check_measure(trials)


def _paradigm(name: Paradigm) -> Callable[[Trials], str]:
    def try_(trials: Trials) -> str:
        if not trials.is_llm:
            raise NotApplicableError("it is no language model")
        told = trials.of_paradigm(name)
        _raise_failure(told, f"-p {name} failed", f'fix it, or say why not: declines = {{"{name}": "..."}}')
        for error in told.refused.values():
            raise FailedCheckError(f"-p {name}: {error['what']}", error["fix"])
        return f"fit {told.facts['fit_seconds']:.1f} s"

    return try_


def _cost(trials: Trials) -> str:
    facts = trials.fitted.facts
    seconds, peak = facts["fit_seconds"] + facts["rank_seconds"], facts["peak"]
    what = f"{seconds:.1f} s and {peak / 2**20:,.0f} MiB at the peak"
    if seconds > MOST_SECONDS or peak > MOST_BYTES:
        raise FailedCheckError(
            f"fit and ranking of the toy set took {what}",
            f"at most {MOST_SECONDS:g} s and {MOST_BYTES >> 20:,} MiB: hold no array of users times items",
        )
    return what


# what several checks share

SINGLY = "rank each request by its own history alone; keep nothing of one call of rank for the next"
SPOKEN: Mapping[str, str] = {
    "plain": "over the catalogue",
    "reversed": "in reverse order",
    "batches": "in small batches",
    "candidates": "with candidate lists",
    "other-candidates": "with candidate lists in another order",
    "masked": "with masked items",
    "valid": "for the validation requests",
}


def _loaded(trials: Trials) -> Told:
    if trials.loaded.failure is not None:
        raise BlockedError("its class cannot be loaded")
    return trials.loaded


def _raise_failure(told: Told, what: str, fix: str) -> None:
    if told.failure is not None:
        said = ": ".join(filter(None, (told.failure["what"], told.failure["why"])))
        raise FailedCheckError(f"{what}: {said}", told.failure["fix"] or fix)


def _form(trials: Trials, form: str) -> Ranking:
    """BlockedError where this form was not ranked; `ranks` tells why."""
    if trials.fresh.failure is not None or form not in trials.fresh.rankings:
        raise BlockedError(f"it does not rank {SPOKEN[form]}")
    return trials.fresh.rankings[form]


def _same(trials: Trials, form: str, other: Ranking | None, what: str, fix: str) -> None:
    """The fresh process ranks this form as `other`, as the plain one where that is None."""
    found = _form(trials, form)
    rows = differing_rows(other if other is not None else _form(trials, "plain"), found)
    if len(rows):
        raise FailedCheckError(
            f"{what}: {len(rows)} of {len(found.items)} requests, the first is row {rows[0]}", fix
        )


def _same_fit(trials: Trials, told: Told, what: str, fix: str) -> None:
    _raise_failure(told, f"{what}, as it failed", fix)
    if "plain" not in told.rankings:
        raise BlockedError("it does not rank over the catalogue")
    rows = differing_rows(trials.fitted.rankings["plain"], told.rankings["plain"])
    if len(rows):
        raise FailedCheckError(f"{what}: {len(rows)} of {len(told.rankings['plain'].items)} requests", fix)


CHECKS: Mapping[str, Check] = {
    "loads": Check("its class is imported, and can be used as a method", _loads),
    "light": Check("importing its class imports neither torch nor another slow library", _light),
    "documented": Check("each parameter is documented", _documented),
    "typed": Check("each default comes back from its text, with its parameter's type", _typed),
    "examples": Check("a pair loss is a scalar, the mean over the examples of its batch", _examples),
    "fits": Check("it fits the toy set, loads the fit, and ends in time", _fits),
    "ranks": Check("it ranks validly: the catalogue, candidate lists, without masked items", _ranks),
    "restores": Check("a fresh process ranks the fit as the process that fitted", _restores),
    "replays": Check("one seed gives one fit", _replays),
    "seeds": Check("other seeds give other fits, exactly where it says that it is stochastic", _seeds),
    "order": Check("the order of the requests does not matter", _order),
    "batches": Check("the number of requests asked at once does not matter", _batches),
    "candidates": Check("the order of a candidate list does not matter", _candidates),
    "numbers": Check("the numbers of the items do not matter, where it is not stochastic", _numbers),
    "writes": Check("it writes nothing outside its folder and the shared stages", _writes),
    "reads": Check("it opens nothing from which the test targets could be learned", _reads),
    "alone": Check("it starts no program and opens no connection", _alone),
    "global-state": Check("it changes no global generator, variable or folder of its process", _global_state),
    "resumes": Check("an interrupted fit, called again, ends as an uninterrupted one", _resumes),
    "canary": Check("it does not know held-out items that nothing before them predicts", _canary),
    "measure": Check("of the checks: a constant scorer is at chance, an oracle at 1.0", _measure),
    "semantic-id": Check("it trains and ranks with semantic ids", _paradigm("semantic-id")),
    "title": Check("it trains and ranks with titles", _paradigm("title")),
    "hybrid": Check("it trains and ranks with titles and collaborative vectors", _paradigm("hybrid")),
    "cost": Check("fit and ranking of the toy set are within 90 s and 4 GiB", _cost),
}
