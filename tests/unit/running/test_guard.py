"""Whose code starts something, and what a worker may read and change."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, cast

import pytest

from recbench.base.root import Root
from recbench.dataset.split import TARGET_FILES
from recbench.errors import UsageError
from recbench.running.guard import landlock
from recbench.running.guard.audit import hook, kinds, origin
from recbench.running.guard.bounds import CACHES, Bounds, bounds, caches
from recbench.running.guard.closed import closed_for
from recbench.verification.replay import closed_to

LIMITS = Bounds(
    closed=("/r/cache/split/", "/r/runs/"),
    opened=("/r/cache/split/a/training.npz/",),
    written=("/r/cache/fits/f/", "/r/runs/.x.partial/", "/tmp/"),
)


@pytest.mark.parametrize(
    ("path", "read", "write"),
    [
        ("/usr/lib/x", True, False),
        ("/r/cache/split/a/training.npz", True, False),
        ("/r/cache/split/a/targets_test.npz", False, False),
        ("/r/cache/split", False, False),
        ("/r/cache/splits", True, False),
        ("/r/runs/b/ranks.npz", False, False),
        ("/r/runs/.x.partial/topk.npz", True, True),
        ("/r/cache/fits/f/weights", True, True),
        ("/r/cache/fits/f2/weights", True, False),
        ("/tmp", True, True),
    ],
)
def test_the_longest_bound_that_holds_a_path_decides(path: str, read: bool, write: bool) -> None:
    assert (LIMITS.may_read(path), LIMITS.may_write(path)) == (read, write)


def stack(*files: str) -> FrameType:
    """The innermost of frames of these files, which are given from the outside in."""
    frame = None
    for file in files:
        frame = SimpleNamespace(f_code=SimpleNamespace(co_filename=file), f_back=frame)
    return cast(FrameType, frame)


KIND = {
    "core": "recbench",
    "lib": "library",
    "plug": "method",
    "import": "import",
    "py": "",
}


@pytest.mark.parametrize(
    ("files", "who"),
    [
        (["core", "plug", "py"], "method"),
        (["core", "plug", "lib", "py"], "method"),
        (["core", "import", "plug", "py"], "method"),  # its own module, while it is imported
        (["core", "plug", "import", "lib", "py"], "library"),
        (["core", "plug", "import", "plug", "py"], "method"),
        (["core", "plug", "core", "lib", "py"], "recbench"),  # the engine that a method calls
        (["core", "lib", "py"], "recbench"),
        (["core", "lib", "plug", "py"], "method"),  # a callback
        (["py", "lib", "py"], "library"),  # a library's thread
        (["py"], None),
    ],
)
def test_the_nearest_code_that_is_no_librarys_decides_who_starts(files: list[str], who: str | None) -> None:
    assert origin(stack(*files), KIND.__getitem__) == who


def test_code_is_told_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugin_of_a_test").mkdir()
    (tmp_path / "plugin_of_a_test" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = kinds(["plugin_of_a_test"])
    assert kind(str(tmp_path / "plugin_of_a_test" / "inner.py")) == "method"
    assert kind(str(tmp_path / "other.py")) == "library"
    assert kind(pytest.__file__) == "library"
    assert kind(os.__file__) == ""
    assert kind("<string>") == ""
    assert kind("<frozen importlib._bootstrap>") == "import"
    import recbench_methods.popularity as first_party

    assert kind(first_party.__file__) == "recbench"


def test_a_thread_without_code_of_its_own_acts_for_a_third_party_and_else_for_a_library() -> None:
    found: list[Mapping[str, str]] = []
    for method in (["somebody"], ["recbench_methods"]):
        audit = hook(LIMITS, method, found.append)
        thread = threading.Thread(target=audit, args=("os.system", ("ls -l",)))
        thread.start()
        thread.join()
    assert found == [{"marks": "start of ls by the method"}, {"seen": "start of ls by library"}]


def told(event: str, *details: Any, limits: Bounds = LIMITS) -> list[str]:
    """What the hook refuses, as its marks and other records; recbench is the caller."""
    found: list[Mapping[str, str]] = []
    try:
        hook(limits, [], found.append)(event, details)
    except PermissionError:
        return [text for one in found for text in one.values()] + ["refused"]
    return [text for one in found for text in one.values()]


def refused(what: Sequence[str]) -> bool:
    return list(what)[-1:] == ["refused"]


def test_each_event_that_reads_or_changes_is_checked(tmp_path: Path) -> None:
    top = os.path.realpath(tmp_path)
    for name in ("closed", "own", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    limits = Bounds(closed=(f"{top}/closed/",), opened=(), written=(f"{top}/own/",))

    def is_refused(event: str, *details: Any) -> bool:
        return refused(told(event, *details, limits=limits))

    for folder, read, write in (("closed", True, True), ("own", False, False), ("beside", False, True)):
        file = f"{top}/{folder}/file"
        assert is_refused("open", file, "r", os.O_RDONLY) == read
        assert is_refused("open", os.fsencode(file), None, os.O_RDONLY) == read
        assert is_refused("open", file, "a", os.O_WRONLY | os.O_APPEND) == write
        assert is_refused("os.remove", file, -1) == write
        assert is_refused("os.truncate", file, 0) == write
        assert is_refused("os.mkdir", f"{top}/{folder}/new", 0o777, -1) == write
        assert is_refused("os.rename", file, f"{top}/own/new", -1, -1) == write
        assert is_refused("os.link", file, f"{top}/own/new", -1, -1) == read
        assert is_refused("os.symlink", "/etc", f"{top}/{folder}/new", -1) == write
        descriptor = os.open(f"{top}/{folder}", os.O_RDONLY)
        try:
            assert is_refused("os.remove", "file", descriptor) == write
        finally:
            os.close(descriptor)
    assert not is_refused("open", 3, "r", os.O_RDONLY)
    assert not is_refused("os.mkdir", f"{top}/beside", 0o777, -1)  # it exists, and the kernel says so
    assert not is_refused("os.remove", f"{top}/beside/absent", -1)


def test_a_link_that_a_method_turns_round_is_followed_each_time(tmp_path: Path) -> None:
    top = os.path.realpath(tmp_path)
    for name in ("closed", "own", "beside"):
        (tmp_path / name).mkdir()
    limits = Bounds(closed=(f"{top}/closed/",), opened=(), written=(f"{top}/own/",))
    audit = hook(limits, [], lambda _found: None)
    (tmp_path / "own" / "link").symlink_to(tmp_path / "beside")
    audit("open", (f"{top}/own/link/file", "r", os.O_RDONLY))
    (tmp_path / "own" / "link").unlink()
    (tmp_path / "own" / "link").symlink_to(tmp_path / "closed")
    with pytest.raises(PermissionError, match="lets no method read"):
        audit("open", (f"{top}/own/link/file", "r", os.O_RDONLY))


@pytest.mark.parametrize(
    ("event", "details", "text"),
    [
        ("subprocess.Popen", ("/usr/bin/cat", ["cat", "x"], None, None), "start of cat by recbench"),
        ("os.fork", (), "start of a copy of itself by recbench"),
        ("os.spawn", (0, "/bin/ls", ["ls"], None), "start of ls by recbench"),
        ("socket.connect", (None, ("example.org", 80)), "connection to example.org by recbench"),
        ("socket.getaddrinfo", ("example.org", 80, 0, 0, 0), "connection to example.org by recbench"),
    ],
)
def test_starts_and_connections_are_told_by_name(
    event: str, details: tuple[Any, ...], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbench.running.guard.audit.origin", lambda *_: "recbench")
    assert told(event, *details) == [text]


def test_the_split_is_open_but_for_its_test_targets_and_a_temporary_folder_on_the_way_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("XDG_CACHE_HOME", *CACHES):
        monkeypatch.setenv(name, str(tmp_path / "caches" / name))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    split, own = tmp_path / "cache" / "split" / "a", tmp_path / "cache" / "fits" / "f"
    for folder in (split, own, tmp_path / "task"):
        folder.mkdir(parents=True)
    for name in ("training.npz", "targets_test.npz", "split.json"):
        (split / name).touch()
    limits = bounds(
        closed=[tmp_path / "runs"],
        split=split,
        cache=tmp_path / "cache",
        written=[own],
        temporary=tmp_path / "task" / "tmp",
    )
    top = os.path.realpath(tmp_path)
    names = ("training.npz", "split.json", "targets_test.npz")
    assert [limits.may_read(f"{top}/cache/split/a/{name}") for name in names] == [True, True, False]
    assert not limits.may_read(f"{top}/runs/x/ranks.npz")
    assert os.environ["TMPDIR"] == str(tmp_path / "task" / "tmp")
    written = ("cache/fits/f/weights", "task/tmp/x", "caches/HF_HOME/x")
    others = ("x", "cache/split/a/x", "cache/fits/other/x")
    assert all(limits.may_write(f"{top}/{path}") for path in written)
    assert not any(limits.may_write(f"{top}/{path}") for path in others)


def test_a_cache_that_is_not_there_yet_is_moved_to_where_it_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".nv").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"HF_HOME": str(tmp_path / "elsewhere")}
    found = caches(environ)
    assert environ["TRITON_CACHE_DIR"] == f"{tmp_path}/.cache/triton_cache_dir"
    assert "CUDA_CACHE_PATH" not in environ
    assert {environ["HF_HOME"], f"{tmp_path}/.nv", environ["TRITON_CACHE_DIR"]} <= set(found)
    assert all(Path(folder).is_dir() for folder in found)


def test_the_setting_has_three_values() -> None:
    assert Root(path=Path("/r")).guard == "landlock"
    assert Root(path=Path("/r"), environ={"RECBENCH_GUARD": "audit"}).guard == "audit"
    with pytest.raises(UsageError, match="guard = 'on' is none of"):
        _ = Root(path=Path("/r"), environ={"RECBENCH_GUARD": "on"}).guard


def test_earlier_results_of_runs_and_of_replays_are_closed(tmp_path: Path) -> None:
    """Ranks and lists together give the targets, wherever they lie."""
    root = Root(path=tmp_path)
    shut = set(closed_for("ml-100k", root))
    assert {root.runs, tmp_path / "replays", tmp_path / "leaderboards", tmp_path / "jobs"} <= shut


def test_a_replay_reads_its_own_folder_and_no_other_replay_or_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # bounds move the temporary folder of their process; both come back after the test
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    monkeypatch.setattr("tempfile.tempdir", tempfile.gettempdir())
    for name in CACHES:
        monkeypatch.setenv(name, str(tmp_path / "caches" / name))
    root, place = Root(path=tmp_path), Root(path=tmp_path / "replays" / "new")
    for name in ("new", "old"):
        (tmp_path / "replays" / name).mkdir(parents=True)
    split = tmp_path / "cache" / "split" / "own"
    split.mkdir(parents=True)
    for name in ("training.npz", TARGET_FILES["test"]):
        (split / name).touch()
    fit = place.cache / "fits" / "f"
    limits = bounds(
        closed=closed_to(place, "ml-100k", root),
        split=split,
        cache=place.cache,
        written=[fit],
        temporary=tmp_path / "tmp",
    )
    seen = {
        "replays/new/cache/fits/parent/weights": True,
        "replays/new/runs/x/ranks.npz": False,
        "replays/old/runs/x/ranks.npz": False,
        "runs/x/ranks.npz": False,
        "cache/split/own/training.npz": True,
        f"cache/split/own/{TARGET_FILES['test']}": False,
        "cache/split/other/training.npz": False,
    }
    assert {path: limits.may_read(str(tmp_path.resolve() / path)) for path in seen} == seen


ENTERED = """
import sys
from pathlib import Path

from recbench.running.guard import landlock, process
from recbench.running.guard.bounds import Bounds

top, kernel = Path(sys.argv[1]), sys.argv[2]
if kernel == "without Landlock":
    landlock.abi = lambda: 0
probe = top / ("open" if kernel == "whose Landlock has no effect there" else "closed") / "probe"
limits = Bounds(closed=(f"{top}/closed/",), opened=(), written=(f"{top}/written/",))
print(process.enter(limits, mode="landlock", method=(), probe=probe, tell=lambda _found: None))
try:
    (top / "closed" / "probe").read_bytes()
except PermissionError:
    print("refused")
"""


@pytest.mark.parametrize(
    ("kernel", "by"),
    [
        ("without Landlock", "audit"),
        ("whose Landlock has no effect there", "audit"),
        ("as it is", f"landlock ABI {landlock.abi()} + audit" if landlock.abi() else "audit"),
    ],
)
def test_a_worker_says_by_what_it_is_bound_under_a_kernel(tmp_path: Path, kernel: str, by: str) -> None:
    for name in ("closed", "open", "written"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "probe").touch()
    command = [sys.executable, "-c", ENTERED, str(tmp_path.resolve()), kernel]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [by, "refused"], done.stderr
