"""Names and places that no file system takes: the file is named, nothing half made is taken for a result."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.results import bundle

if TYPE_CHECKING:
    from tests.conftest import World

LONG = "a" * 300
RUN = ("run", "-m", "popularity", "-d", "toy")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "-m", LONG, "-d", "toy"), 2, f"no method '{LONG}'"),
        (("run", "-m", "popularity", "-d", LONG), 2, f"no dataset '{LONG}'"),
        ((*RUN, "-b", f"/{LONG}"), 3, f"/{LONG} cannot be used"),
        ((*RUN, "--root", f"/tmp/{LONG}"), 3, "File name too long"),
        (("plan", "--study", LONG), 3, "File name too long"),
        (("leaderboard", "check", LONG), 3, f"leaderboards/{LONG}"),
        (("show", LONG), 2, f"'{LONG}'"),
        (("logs", LONG), 3, "nothing was asked for here yet"),
        (("score", LONG), 3, "there are no runs"),
        (("data", "import", f"{LONG}.csv", "--name", "x"), 3, "File name too long"),
        (("gc", "--root", f"/tmp/{LONG}"), 3, "File name too long"),
    ],
)
def test_a_name_that_no_file_can_have_is_named(
    world: World, words: tuple[str, ...], code: int, said: str
) -> None:
    answer = world.recbench(*words)
    assert (answer.returncode, answer.stdout) == (code, ""), answer.stderr
    assert said in answer.stderr
    assert "itself failed" not in answer.stderr


def test_a_root_in_a_loop_of_links_is_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for words in (RUN, ("list", "runs"), ("plan", *RUN[1:]), ("doctor",)):
        answer = world.recbench(*words, "--root", str(tmp_path / "one"))
        assert answer.returncode == 3, answer.stderr
        assert f"{tmp_path / 'one'} is in a loop of links" in answer.stderr


def test_a_folder_in_the_place_of_a_file_is_named(world: World) -> None:
    world.recbench(*RUN)
    (record,) = (world.root.path / "jobs").glob("*.json")
    record.unlink()
    record.mkdir()
    answer = world.recbench(*RUN, "--force")
    assert answer.returncode == 3, answer.stderr
    assert f"{record} cannot be used" in answer.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator reads everything")
def test_a_file_that_may_not_be_read_is_named(world: World) -> None:
    path = world.root.path / "raw" / "toy" / "interactions.csv.gz"
    path.chmod(0)
    answer = world.recbench(*RUN)
    assert answer.returncode == 3, answer.stderr
    assert f"{path}" in answer.stderr


@pytest.mark.parametrize("size", [300, 2000])
def test_a_disk_that_is_full_in_the_middle_of_a_run_is_named_and_the_same_command_continues(
    world: World, size: int
) -> None:
    """A file that grows beyond the limit is refused as by a full disk: in the driver, and in its workers."""
    world.recbench(*RUN, "--dry-run")
    done = subprocess.run(
        world.command(*RUN),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.returncode == 3, done.stderr
    assert f"error: {world.root.path}" in done.stderr
    assert "try: free some space" in done.stderr
    assert bundle.find(world.root.runs) == []
    assert world.recbench(*RUN).returncode == 0
    (run,) = map(bundle.load, bundle.find(world.root.runs))
    assert run.status == "complete"


@pytest.mark.parametrize("kind", ["a link to nowhere", "a folder", "too deep", "a long number"])
def test_a_card_that_is_none_is_named_and_hides_no_other(world: World, kind: str) -> None:
    card = world.root.path / "datasets" / "odd.toml"
    match kind:
        case "a link to nowhere":
            card.symlink_to(world.root.path / "nowhere")
        case "a folder":
            card.mkdir()
        case "too deep":
            card.write_text("a = " + "[" * 5000)
        case _:
            card.write_text("name = " + "9" * 5000)
    shown = world.recbench("show", "odd")
    assert (shown.returncode, "odd.toml" in shown.stderr) == (3, True)
    assert "itself failed" not in shown.stderr
    assert world.recbench("list", "datasets").returncode == 0
    assert "itself failed" not in world.recbench("doctor").stderr
    assert world.recbench("plan", "-m", "popularity", "-d", "toy").returncode == 0


def test_a_split_without_its_record_is_made_again(world: World) -> None:
    assert world.recbench(*RUN).returncode == 0
    (first,) = map(bundle.load, bundle.find(world.root.runs))
    (record,) = world.root.cache.glob("split/*/split.json")
    record.unlink()
    again = world.recbench(*RUN, "--force")
    assert again.returncode == 0, again.stderr
    (run,) = map(bundle.load, bundle.find(world.root.runs))
    assert (run.id, run.metrics) == (first.id, first.metrics)
    assert record.exists()
