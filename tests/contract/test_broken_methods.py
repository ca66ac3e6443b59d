"""Each broken plugin is caught by the check made for it, and the checks know an oracle from a constant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recbench.conformance.checks import CHECKS, check, check_each
from recbench.conformance.finding import failed
from recbench.conformance.planted import PHASES
from recbench.conformance.toy_set import Ground, toy_place
from recbench.conformance.trials import Trials
from recbench.dataset.split import load_targets
from tests.conftest import write_metadata

BROKEN = Path(__file__).parent.parent / "broken_methods"
CAUGHT = [
    ("crashing", "loads", "this module does not work"),
    ("exiting", "loads", "its process ended with code 0"),
    ("unannotated", "loads", "Unannotated.beta has no type annotation"),
    ("heavy", "light", "scipy"),
    ("undocumented", "documented", "no documentation of beta"),
    ("mistyped", "loads", "in Mistyped, the default of beta = 0.0 is not above 0"),
    ("whole", "typed", "the default of beta is 1, and its text gives 1.0"),
    ("broadcast", "examples", "at 1 rejected of an example the loss of a batch is"),
    ("column", "examples", "it returns a tensor of shape (4, 1)"),
    ("endless", "fits", "it did not end within"),
    ("quitter", "fits", "its process ended with code 0"),
    ("duplicates", "ranks", "ranks an item twice"),
    ("narrow", "ranks", "expected (60, 20)"),
    ("floats", "ranks", "the items of the ranking are float64"),
    ("listless", "ranks", "with candidate lists: row 0 of the ranking ranks an item outside"),
    ("forgetful", "restores", "a fresh process cannot load the fit: KeyError"),
    ("unseeded", "replays", "two fits of one seed rank differently: 60 of 60"),
    ("deaf", "seeds", "fits of seeds 0 and 1 rank alike"),
    ("unsteady", "seeds", "one fit serves all seeds"),
    ("counter", "order", "the order of the requests changes rankings"),
    ("neighbours", "batches", "the number of requests asked at once changes rankings"),
    ("first-candidate", "candidates", "the order of `requests.allowed` changes rankings"),
    ("numbered", "numbers", "renumbering the items changes the rankings of 60 requests"),
    ("homing", "writes", "change of broken_methods/notes.txt refused, by the method"),
    ("thief", "reads", "targets_test.npz refused, by the method"),
    ("starter", "alone", "start of true by the method"),
    ("seeder", "global-state", "calls random.seed"),
    ("drawer", "global-state", "draws from the global generator of numpy.random"),
    ("environed", "global-state", "putenv OMP_NUM_THREADS"),
    ("fragile-resume", "resumes", "60 of 60 requests"),
    ("memory", "canary", "knows 100% of the valid items"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return toy_place(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module", autouse=True)
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folders = [str(write_metadata(tmp_path_factory.mktemp("site"), BROKEN)), str(BROKEN)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
        for folder in folders:
            monkeypatch.syspath_prepend(folder)
        yield


@pytest.mark.parametrize(("method", "name", "said"), CAUGHT, ids=[case[0] for case in CAUGHT])
def test_each_broken_method_is_caught_by_the_check_made_for_it(
    place: Ground, method: str, name: str, said: str
) -> None:
    found = check(name, Trials(method, place, seconds=3.0 if method == "endless" else 60.0))
    assert (found.check, found.status) == (name, "failed")
    assert said in found.what
    assert found.fix


def test_there_is_a_broken_method_for_each_check_of_the_method_itself() -> None:
    of_language_models = {"semantic-id", "title", "hybrid"}
    assert set(CHECKS) - {case[1] for case in CAUGHT} == {"measure", "cost", *of_language_models}


def test_an_honest_method_passes_what_says_something_of_it(place: Ground) -> None:
    findings = {finding.check: finding for finding in check_each(Trials("honest", place))}
    skipped = {name for name, finding in findings.items() if finding.status == "skipped"}
    assert skipped == {"examples", "numbers", "semantic-id", "title", "hybrid"}
    assert {finding.status for name, finding in findings.items() if name not in skipped} == {"passed"}
    assert list(findings) == list(CHECKS)


def test_a_constant_scorer_is_at_chance_and_an_oracle_knows_all(place: Ground, tmp_path: Path) -> None:
    for phase in PHASES:
        np.save(tmp_path / f"{phase}.npy", load_targets(place.split.folder, phase))
    constant = check("canary", Trials("constant", place))
    assert constant.status == "passed"
    oracle = check("canary", Trials(f"oracle:answers={tmp_path}", place))
    assert oracle.status == "failed"
    assert "knows 100% of the test items" in oracle.what


def test_a_declined_check_is_not_made_and_its_reason_is_shown(place: Ground) -> None:
    trials = Trials("declining", place)
    found = check("replays", trials)
    assert (found.status, found.what) == ("declined", "its vectors come from a source of true randomness")
    assert check("loads", trials).status == "passed"


def test_what_a_failure_blocks_is_skipped(place: Ground) -> None:
    findings = list(check_each(Trials("crashing", place)))
    assert failed(findings) == ["loads"]
    assert {one.status for one in findings if one.check not in ("loads", "measure")} == {"skipped"}
