"""`recbench reproduce` on a made-up root: gains over SFT, prediction intervals and causes, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.cli import main
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]
USERS = 1000
MORE: dict[str, Any] = {
    "dataset": "instrument",
    "statistics": {"users": 24772, "items": 9922, "interactions": 206153},
}
# Student's t with 2 degrees of freedom at 97.5 %, and the root of 1 + 1/3 for three seeds
T2, NEW = 4.302653, (4 / 3) ** 0.5


def llm(epochs: float) -> dict[str, Any]:
    return {"paradigm": "title", "backbone": "llama-3.1-8b", "train": {"epochs": epochs}}


def hits(number: int) -> list[int]:
    """The first of 1000 users have their item at rank 1, the others miss."""
    return [1] * number + [0] * (USERS - number)


@pytest.fixture
def cells(make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """HR@5 of BIGRec on Instrument, as the command gives it as JSON, by method."""
    for seed, (sft, sdpo, ilrec) in enumerate(((80, 100, 100), (90, 120, 101), (100, 110, 102))):
        parent = make_bundle("sft", hits(sft), seed=seed, llm=llm(5.0), **MORE)
        start = {"llm": llm(3.0), "parent": parent.spec.fit.id}
        make_bundle("sdpo", hits(sdpo), seed=seed, **start, **MORE)
        make_bundle("ilrec", hits(ilrec), seed=seed, llm=llm(4.0), **MORE)
    start = {"llm": llm(3.0), "parent": parent.spec.fit.id}
    make_bundle("rosepo", hits(95), seed=0, fit_params={"negatives": "self-hard"}, **start, **MORE)
    make_bundle("rosepo", hits(99), seed=1, fit_params={"negatives": "similar"}, **start, **MORE)
    with pytest.raises(SystemExit) as end:
        main(["reproduce", "ilrec-table1", "--json", "--root", str(tmp_path)])
    assert not end.value.code
    found = json.loads(capsys.readouterr().out)["cells"]
    place = ("instrument", "title", "hr@5")
    return {one["method"]: one for one in found if (one["dataset"], one["paradigm"], one["metric"]) == place}


def test_a_gain_at_joint_seeds_is_that_of_each_seed(cells: dict[str, Any]) -> None:
    found = cells["sdpo"]
    # by seed 0.02, 0.03 and 0.01: mean 0.02, standard deviation 0.01
    assert found["gain"]["value"] == pytest.approx(0.02)
    half = T2 * 0.01 * NEW
    assert found["gain"]["predicted"] == pytest.approx([0.02 - half, 0.02 + half])
    # printed are 0.0793 and, for SFT, 0.0786
    assert found["gain_published"] == pytest.approx(0.0007)
    assert (found["gain_verdict"], found["verdict"], found["causes"]) == ("agrees", "agrees", [])
    # the interval over users and seeds is another: it is there, and around the same gain
    assert found["gain"]["low"] < 0.02 < found["gain"]["high"]
    assert found["gain"]["low"] + found["gain"]["high"] == pytest.approx(0.04)


def test_a_gain_at_independent_seeds_has_the_spread_of_both(cells: dict[str, Any]) -> None:
    found = cells["ilrec"]
    assert found["gain"]["value"] == pytest.approx(0.101 - 0.09)
    # variances 1e-4 and 1e-6 times 4/3: degrees of freedom 2.04, t 4.222816, standard error 0.0116046
    half = 4.222816 * 0.0116046
    assert found["gain"]["predicted"] == pytest.approx([0.011 - half, 0.011 + half], abs=1e-6)
    assert found["gain_verdict"] == "agrees"  # printed: 0.0844 - 0.0786


def test_an_interval_that_is_wide_for_its_users_does_not_agree_for_free(cells: dict[str, Any]) -> None:
    found = cells["ilrec"]
    # 0.0844 lies within 0.101 +- 1.96 sqrt(0.101 * 0.899 / 999), and another seed would not reach it:
    # 0.101 +- 4.302653 * 0.001 * 1.154701
    assert found["ours"]["low"] < 0.0844 < found["ours"]["high"]
    assert found["ours"]["predicted"] == pytest.approx([0.101 - 0.004968, 0.101 + 0.004968], abs=1e-6)
    assert (found["verdict"], found["causes"]) == ("higher", ["budget"])  # four epochs, not five


def test_one_seed_makes_no_verdict(cells: dict[str, Any]) -> None:
    found = cells["rosepo"]
    assert found["ours"]["value"] == pytest.approx(0.095)  # not the fit that rejects similar items
    assert found["ours"]["predicted"] is None
    assert (found["verdict"], found["seeds"]) == ("one seed", [0])
    # its sft has three seeds, whose spread alone says nothing of rosepo's
    assert found["gain"]["predicted"] is None
    assert found["gain_verdict"] == "one seed"


def test_sft_has_no_gain_over_itself_and_what_was_not_run_none_of_ours(cells: dict[str, Any]) -> None:
    assert (cells["sft"]["gain_published"], cells["sft"]["gain_verdict"]) == (None, None)
    assert cells["sprec"]["gain_published"] == pytest.approx(0.0801 - 0.0786)
    assert (cells["sprec"]["gain"], cells["sprec"]["gain_verdict"]) == (None, "not run")
