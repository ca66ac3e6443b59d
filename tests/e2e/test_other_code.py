"""A run, a fit and a row are of one code: what happens when a method's code changes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.board import build
from recbench.errors import DigestError
from recbench.results import bundle
from recbench.results.bundle import Bundle
from tests.conftest import TOY_METHODS, write_metadata

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def toys(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of the toy methods that a test may change."""
    del world
    site = write_metadata(tmp_path / "copy")
    originals = (str(tmp_path / "site"), str(TOY_METHODS))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in originals])
    shutil.copytree(TOY_METHODS / "toy_methods", site / "toy_methods")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_methods"]:
        monkeypatch.delitem(sys.modules, name)
    return site / "toy_methods"


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_finished_run_says_which_code_made_it(world: World, toys: Path) -> None:
    (run,) = world.run("noise")
    code = run.manifest.method_code
    assert code is not None
    assert (code.distribution, code.version, code.commit) == ("toy-methods", "1.0", None)
    assert code.modules == ["toy_methods", "toy_methods.base", "toy_methods.scorers"]
    shown = world.recbench("show", run.id, "--json").stdout
    assert code.digest in shown
    assert (toys / "scorers.py").is_file()


def test_a_comment_reuses_a_run_and_a_changed_loss_does_not(world: World, toys: Path) -> None:
    (first,) = world.run("noise")
    rewrite(toys / "base.py", '"""Ranks by the vector that `fit` saved."""', '"""Ranks."""  # by a vector')
    again = world.recbench("run", "-m", "noise", "-d", "toy")
    assert again.returncode == 0
    assert "reused" in again.stderr

    rewrite(toys / "base.py", "random(data.num_items)", "random(data.num_items) ** 2 - 1")
    refused = world.recbench("run", "-m", "noise", "-m", "popularity", "-d", "toy")
    assert refused.returncode == 4
    assert f"made by other code than is here now: {first.id} (noise on toy seed 0)" in refused.stderr
    made = first.manifest.method_code
    assert made is not None
    now = world.plan("noise")[0].code
    assert f"toy-methods 1.0, code {made.digest[:12]}; here is toy-methods 1.0, code {now.digest[:12]}" in (
        refused.stderr
    )
    assert "--force" in refused.stderr
    assert "version" in refused.stderr
    assert len(bundle.find(world.root.runs)) == 1  # nothing was run

    forced = world.recbench("run", "-m", "noise", "-d", "toy", "--force")
    assert forced.returncode == 0
    remade = bundle.load(first.path).manifest.method_code
    assert remade is not None
    assert remade.digest == now.digest


def test_a_fit_of_other_code_is_made_again(world: World, toys: Path) -> None:
    (run,) = world.run("noise")
    shutil.rmtree(run.path)  # the fit stays
    rewrite(toys / "base.py", "random(data.num_items)", "random(data.num_items)[::-1]")
    answer = world.recbench("run", "-m", "noise", "-d", "toy")
    assert answer.returncode == 0
    assert "its fit is made again" in answer.stderr
    other = bundle.load(run.path)
    assert other.ranks.tolist() != run.ranks.tolist()


def test_an_unfinished_fit_of_other_code_is_not_continued(world: World, toys: Path) -> None:
    (failed,) = world.run("fragile")
    assert failed.status == "failed"
    rewrite(toys / "failures.py", 'RuntimeError("not today")', 'RuntimeError("not ever")')
    (again,) = world.run("fragile")  # its checkpoint is gone, so that it fails as at first
    assert again.status == "failed"
    (third,) = world.run("fragile")
    assert third.status == "complete"


def of_two_codes(world: World, toys: Path) -> list[Bundle]:
    runs = world.run("noise", seed=0)
    rewrite(toys / "base.py", "random(data.num_items)", "random(data.num_items) ** 2")
    return [*runs, *world.run("noise", seed=1)]


def test_no_row_and_no_side_pools_seeds_over_two_codes(world: World, toys: Path) -> None:
    first, second = of_two_codes(world, toys)
    (floor,) = world.run("popularity")
    with pytest.raises(DigestError, match="made by different code"):
        build.build([first, second, floor])
    for words in (
        ("leaderboard", "build"),
        ("compare", "noise", "popularity"),
    ):
        answer = world.recbench(*words)
        assert answer.returncode == 4
        assert first.id in answer.stderr
        assert second.id in answer.stderr
    assert world.recbench("compare", first.id, floor.id).returncode == 0


def test_two_packages_with_a_method_of_one_name_make_no_row(
    world: World, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, alone = world.run("noise", "popularity", seed=0)
    info = next(toys.parent.glob("*.dist-info"))
    rewrite(info / "METADATA", "Name: toy-methods", "Name: rival-methods")
    info.rename(info.with_name("rival_methods-1.0.dist-info"))
    monkeypatch.syspath_prepend(str(tmp_path))  # another search path: packages are read again
    second, beside = world.run("noise", "popularity", seed=1, force=True)
    assert beside.ranks.tolist() == alone.ranks.tolist()
    with pytest.raises(DigestError, match="made by different code") as caught:
        build.build([first, second])
    assert "toy-methods 1.0" in caught.value.why
    assert "rival-methods 1.0" in caught.value.why


def test_what_other_code_made_is_not_shown_as_done(world: World, toys: Path) -> None:
    (run,) = world.run("noise")

    def states() -> tuple[str, str, str]:
        planned, dry = (
            json.loads(world.recbench(*words, "-m", "noise", "-d", "toy", "--json").stdout)
            for words in (("plan",), ("run", "--dry-run"))
        )
        return planned["runs"][0]["state"], planned["runs"][0]["fix"], dry[0]["state"]

    assert states() == ("done", "", "complete")
    rewrite(toys / "base.py", "random(data.num_items)", "random(data.num_items) ** 2")
    fix = "--force makes these runs again; a raised `version` in the method's class keeps both"
    assert states() == ("other code", fix, "other code")
    shutil.rmtree(run.path)  # the fit stays, and is of other code too
    assert states() == ("to run", "", "to do")
    assert world.recbench("run", "-m", "noise", "-d", "toy").returncode == 0
    assert states() == ("done", "", "complete")


def test_trials_of_other_code_are_refused_and_tuned_again_by_force(world: World, toys: Path) -> None:
    words = ("tune", "-m", "graded", "-d", "toy", "--trials", "2", "--json")
    first = json.loads(world.recbench(*words).stdout)
    rewrite(toys / "base.py", "random(data.num_items)", "random(data.num_items) ** 2")
    refused = world.recbench(*words)
    assert refused.returncode == 4
    assert "made by other code than is here now" in refused.stderr
    forced = world.recbench(*words, "--force")
    assert forced.returncode == 0, forced.stderr
    again = json.loads(forced.stdout)
    assert [t["run"] for t in again["tuned"][0]["trials"]] == [t["run"] for t in first["tuned"][0]["trials"]]
    assert world.recbench(*words).returncode == 0
