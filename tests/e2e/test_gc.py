"""`recbench gc`: leftovers go, runs and what they need stay."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recbench.base import locks
from recbench.base.environment import PeakMemory
from recbench.base.files import scratch
from recbench.base.layout import fit_folder, records_folder
from recbench.base.words import size_text
from recbench.results import bundle
from recbench.results.fit_record import Facts, FitRecord, Spent
from recbench.running import cleanup

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this test alone."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def collected(world: World, *words: str) -> dict[str, str]:
    """What was found, by its path, and what became of it."""
    done = world.recbench("gc", "--json", *words)
    assert done.returncode == 0, done.stderr
    return {one["path"]: one["fate"] for one in json.loads(done.stdout)["found"]}


def age(root: Path, *, hours: float = 2.0) -> None:
    """Everything below looks untouched for so long."""
    then = time.time() - 3600 * hours
    for folder, names, files in os.walk(root, topdown=False):
        for name in (*names, *files):
            os.utime(Path(folder) / name, (then, then), follow_symlinks=False)


def leave(folder: Path, *, size: int = 5000) -> Path:
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * size)
    return folder


def ended_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def runs_of(world: World, *words: str) -> list[dict[str, Any]]:
    done = world.recbench("run", "-d", "toy", "--json", *words)
    assert done.returncode == 0, done.stderr
    records: list[dict[str, Any]] = json.loads(done.stdout)
    return records


def test_leftovers_and_checkpoints_go_and_a_run_stays_as_it_is(world: World) -> None:
    (run,) = runs_of(world, "-m", "staged")
    fit = fit_folder(world.root.cache, run["fit_id"])
    pid = ended_process()
    gone = [
        leave(world.root.runs / ".aaaaaaaaaaaa.partial"),
        leave(world.root.runs / f".{run['id']}.replaced"),
        leave(world.root.cache / "made" / f".bbbbbbbbbbbb-{pid}"),
        leave(fit / "checkpoints-train" / "checkpoint-3").parent,
        leave(fit / "stages" / "answers" / f".cccccccccccc-{pid}"),
    ]
    unfinished = leave(world.root.cache / "fits" / "dddddddddddd" / "checkpoints-train")
    download = leave(world.root.cache / "raw" / "toy" / ".log.partial")
    age(world.root.path)
    paths = {path.relative_to(world.root.path).as_posix() for path in gone}
    assert collected(world, "--dry-run") == dict.fromkeys(paths, "would go")
    assert all(path.exists() for path in gone)
    done = world.recbench("gc")
    assert "freed 24.4 KiB" in done.stdout  # five files of 5,000 bytes
    assert not any(path.exists() for path in gone)
    assert unfinished.exists()
    assert download.exists()
    assert collected(world) == {}
    assert bundle.load(world.root.runs / run["id"]).metrics == run["metrics"]
    assert (fit / "COMPLETE").exists()


def test_what_may_be_in_use_stays(world: World) -> None:
    own = leave(world.root.cache / "made" / f".bbbbbbbbbbbb-{os.getpid()}")
    leave(world.root.runs / ".aaaaaaaaaaaa.partial")
    inside = world.root.cache / "fits" / "dddddddddddd"
    leave(inside / "stages" / "answers" / ".cccccccccccc.partial")
    age(world.root.path)
    leave(world.root.runs / ".eeeeeeeeeeee.partial")
    held = world.root.cache / "locks"
    with locks.hold(held / "run-aaaaaaaaaaaa", "a test"), locks.hold(held / "fit-dddddddddddd", "a test"):
        fates = collected(world)
        assert len(fates) == 4
        assert set(fates.values()) == {"stays: may be in use"}
    age(world.root.path)
    assert sorted(collected(world).values()) == ["removed"] * 3 + ["stays: may be in use"]
    assert own.exists()


def test_only_all_removes_what_no_run_was_made_from(world: World) -> None:
    """A fit and the split of some users are without their run; their stage is another run's too."""
    runs_of(world, "-m", "staged")
    other = runs_of(world, "-m", "staged", "--limit-users", "50")
    age(world.root.path)
    assert collected(world) == {}
    for run in other:
        cleanup.remove(removable_folder(Path(run["folder"])))
    fates = collected(world, "--all")
    assert sorted(path.split("/")[1] for path in fates) == ["fits", "split"]
    assert set(fates.values()) == {"removed"}
    (again,) = runs_of(world, "-m", "staged")
    assert again["status"] == "complete"
    assert collected(world, "--all") == {}


def fit_record(parents: list[str], stages: dict[str, float]) -> FitRecord:
    return FitRecord(
        spent=Spent(seconds=2.0, attempts=1, stages=stages),
        counts={},
        facts=Facts(),
        peak=PeakMemory(host_bytes=1, gpu_bytes=None),
        device="cpu",
        threads=1,
        parents=parents,
    )


def test_a_run_keeps_its_ancestors_and_their_stages(world: World) -> None:
    """fit c comes from p, p from g; g was made with stage s. Nothing came from x and t."""
    c, p, g, x = (12 * letter for letter in "cdef")

    def write(path: str, value: dict[str, Any]) -> None:
        file = world.root.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))

    write("runs/r/manifest.json", {"spec": {"fit_id": c, "fit": {"parent": p, "split": "d"}}})
    write("runs/r/COMPLETE", {})
    for fit, parents, stages in (
        (c, [p, g], {}),
        (p, [g], {}),
        (g, [], {"made/s": 1.0}),
        (x, [], {}),
    ):
        write(f"cache/fits/{fit}/spec.json", {})
        fit_record(parents, stages).write(world.root.cache / "fits" / fit)
    write("cache/made/s/stage.json", {})
    write("cache/made/t/stage.json", {})
    write("cache/split/1/split.json", {"digests": {"split": "d"}})
    write("cache/split/2/split.json", {"digests": {"split": "e"}})
    age(world.root.path)
    assert set(collected(world, "--all")) == {f"cache/fits/{x}", "cache/made/t", "cache/split/2"}
    (world.root.cache / "fits" / c / "fit.json").unlink()  # its weights are gone, and its parent is known
    age(world.root.path)
    assert collected(world, "--all") == {}


def removable_folder(path: Path) -> cleanup.Removable:
    return cleanup.Removable(kind="fit", path=path, num_bytes=0, in_use=False)


def test_nothing_that_a_run_may_need_goes_while_one_is_being_made(world: World) -> None:
    fit = leave(world.root.cache / "fits" / "dddddddddddd")
    (fit / "spec.json").write_text("{}")
    age(world.root.path)
    with locks.hold(world.root.cache / "locks" / "run-aaaaaaaaaaaa", "another run"):
        assert collected(world, "--all") == {"cache/fits/dddddddddddd": "stays: may be in use"}
    assert collected(world, "--all") == {"cache/fits/dddddddddddd": "removed"}


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"spec": {"fit_id": []}}'])
def test_a_run_that_cannot_be_read_stops_all_and_is_named(world: World, content: bytes) -> None:
    run = leave(world.root.runs / "aaaaaaaaaaaa")
    (run / "COMPLETE").write_text("")
    (run / "manifest.json").write_bytes(content)
    done = world.recbench("gc", "--all")
    assert done.returncode == 4
    assert "the run aaaaaaaaaaaa cannot be read" in done.stderr
    assert world.recbench("gc").returncode == 0


def test_a_fit_whose_record_cannot_be_read_stops_all_and_a_split_goes(world: World) -> None:
    (run,) = runs_of(world, "-m", "noise")
    fit = fit_folder(world.root.cache, run["fit_id"])
    record = (fit / "fit.json").read_bytes()
    for path in (fit / "fit.json", *world.root.cache.glob("split/*/split.json")):
        path.write_text("[" * 100_000)
    age(world.root.path)
    done = world.recbench("gc", "--all")
    assert done.returncode == 4
    assert f"the record of the fit {run['fit_id']} cannot be read" in done.stderr
    assert f"rm -r {fit}" in done.stderr
    (fit / "fit.json").write_bytes(record)
    (gone,) = collected(world, "--all")
    assert gone.startswith("cache/split/")


def test_an_imported_ranking_was_made_from_nothing_here_and_stops_nothing(
    world: World, tmp_path: Path
) -> None:
    items = " ".join(map(str, range(20)))
    lists = tmp_path / "lists.csv"
    lists.write_text("user_id,items\n" + "".join(f"{user},{items}\n" for user in range(120)))
    done = world.recbench("import-ranking", str(lists), "--name", "mine", "-d", "toy")
    assert done.returncode == 0, done.stderr
    age(world.root.path)
    assert collected(world, "--all", "--dry-run") == {}


def test_temporary_folders_of_processes_that_are_gone_go(world: World, temporary: Path) -> None:
    with scratch() as mine:
        left = leave(Path(mine).with_suffix(f".{ended_process()}"))
        elsewhere = leave(temporary / f"recbench-another-machine-x.{ended_process()}")
        shared = leave(world.root.cache / left.name)  # of a run on several nodes
        assert collected(world) == {str(left): "removed", f"cache/{shared.name}": "removed"}
        assert (Path(mine).exists(), left.exists(), elsewhere.exists()) == (True, False, True)


def test_all_removes_replays_and_raw_files_that_can_be_got_again(world: World) -> None:
    (run,) = runs_of(world, "-m", "noise")
    assert world.recbench("run", "--replay", run["id"]).returncode == 0
    (replay,) = (world.root.path / "replays").iterdir()
    assert world.recbench("data", "prepare", "synthetic").returncode == 0
    raw = world.root.cache / "raw"
    (own,) = (folder.relative_to(world.root.path) for folder in raw.iterdir())
    age(world.root.path)
    assert collected(world) == {}
    with locks.hold(replay / "cache" / "locks" / "fit-dddddddddddd", "a replay"):
        fates = collected(world, "--all")
    assert fates.pop(f"replays/{replay.name}") == "stays: may be in use"
    assert fates.pop(str(own)) == "removed"
    assert [path.split("/")[1] for path in fates] == ["split"]
    age(world.root.path)
    assert collected(world, "--all") == {f"replays/{replay.name}": "removed"}


def test_a_fit_goes_with_what_is_recorded_of_it(world: World) -> None:
    (run,) = runs_of(world, "-m", "noise")
    records = records_folder(world.root.cache, run["fit_id"])
    assert (records / "code.json").exists()
    cleanup.remove(removable_folder(Path(run["folder"])))
    age(world.root.path)
    assert f"cache/fits/{run['fit_id']}" in collected(world, "--all")
    assert not records.exists()


def test_links_are_removed_and_not_followed(world: World, tmp_path: Path) -> None:
    precious = leave(tmp_path / "elsewhere")
    (world.root.runs).mkdir(exist_ok=True)
    link = world.root.runs / ".aaaaaaaaaaaa.partial"
    link.symlink_to(precious)
    age(world.root.path)
    assert collected(world) == {"runs/.aaaaaaaaaaaa.partial": "removed"}
    assert not link.is_symlink()
    assert (precious / "weights").exists()


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**41, "2.0 TiB")]
)
def test_sizes_are_told_in_the_largest_unit(num_bytes: int, text: str) -> None:
    assert size_text(num_bytes) == text
