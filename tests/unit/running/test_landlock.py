"""The paths that Landlock's rules name, and what a bound process can do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recbench.running.guard import landlock
from recbench.running.guard.landlock import around, writing

needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")


def tree(top: Path, *files: str) -> Path:
    for file in files:
        (top / file).parent.mkdir(parents=True, exist_ok=True)
        (top / file).write_text(file)
    return top


def named(top: Path, *closed: str) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in around(top, [top / name for name in closed]))


def test_all_beside_the_way_to_something_closed_is_named_once(tmp_path: Path) -> None:
    tree(tmp_path, "a/b/secret", "a/b/open", "a/other/deep/x", "c/y", "d")
    assert named(tmp_path, "a/b/secret") == ["a/b/open", "a/other", "c", "d"]
    assert named(tmp_path, "a/b/secret", "c") == ["a/b/open", "a/other", "d"]
    assert named(tmp_path, "a") == ["c", "d"]


def test_what_holds_nothing_closed_is_named_itself_and_what_is_closed_not_at_all(tmp_path: Path) -> None:
    tree(tmp_path, "a/secret", "c/y")
    assert list(around(tmp_path / "c", [tmp_path / "a"])) == [tmp_path / "c"]
    assert list(around(tmp_path / "a", [tmp_path / "a"])) == []
    assert list(around(tmp_path / "a" / "inner", [tmp_path / "a"])) == []


def test_a_closed_path_that_does_not_exist_yet_is_never_named(tmp_path: Path) -> None:
    tree(tmp_path, "a/x", "b")
    assert named(tmp_path, "a/later/targets") == ["a/x", "b"]


def test_a_link_is_no_way_round(tmp_path: Path) -> None:
    tree(tmp_path, "a/secret", "b")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert named(tmp_path, "a/secret") == ["b"]


def test_later_versions_only_add_rights() -> None:
    assert writing(1) & (landlock.REFER | landlock.TRUNCATE) == 0
    assert writing(2) == writing(1) | landlock.REFER
    assert writing(3) == writing(7) == writing(2) | landlock.TRUNCATE
    # bits 1 and 4 to 12 of linux/landlock.h: write a file; remove and make
    assert writing(1) == 0b1_1111_1111_0010


BOUND = """
import json, subprocess, sys
from pathlib import Path
from recbench.running.guard import landlock
top = Path(sys.argv[1])
abi = int(sys.argv[2])
landlock.restrict(landlock.around(Path("/"), [top / "closed"]), [top / "written"], abi)
def can(act, *words):
    try:
        act(*words)
    except OSError as error:
        return type(error).__name__
    return "yes"
cat = ["cat", str(top / "closed" / "secret")]
print(json.dumps({
    "read closed": can((top / "closed" / "secret").read_text),
    "read beside": can((top / "beside").read_text),
    "read later": can((top / "written" / "old").read_text),
    "list closed": can(lambda: list((top / "closed").iterdir())),
    "child": subprocess.run(cat, capture_output=True).returncode == 0,
    "write": can((top / "written" / "new").write_text, "x"),
    "write beside": can((top / "beside").write_text, "x"),
    "make beside": can((top / "folder").mkdir),
    "rename inside": can((top / "written" / "new").rename, top / "written" / "newer"),
    "link closed": can((top / "written" / "link").hardlink_to, top / "closed" / "secret"),
    "remove closed": can((top / "closed" / "secret").unlink),
}))
"""


@needs_landlock
@pytest.mark.parametrize("abi", range(1, landlock.abi() + 1))
def test_a_bound_process_and_its_child_are_kept_out(tmp_path: Path, abi: int) -> None:
    """With the rights of every version up to the kernel's, as an older kernel would have them."""
    tree(tmp_path, "closed/secret", "beside", "written/old")
    command = [sys.executable, "-c", BOUND, str(tmp_path), str(abi)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    refused = "PermissionError"
    assert json.loads(done.stdout) == {
        "read closed": refused,
        "read beside": "yes",
        "read later": "yes",
        "list closed": "yes",
        "child": False,
        "write": "yes",
        "write beside": refused,
        "make beside": refused,
        "rename inside": "yes",
        "link closed": "OSError",  # EXDEV: as between file systems
        "remove closed": refused,
    }
    assert (tmp_path / "closed" / "secret").exists()
