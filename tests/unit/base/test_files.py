"""Files and folders appear whole, and leave nothing behind when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbench.base.files import new_folder, parse_json, parse_toml, write_text
from recbench.errors import DataError


def test_a_text_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for text in ("one\n", "two\n"):
        write_text(tmp_path / "file", text)
        assert (tmp_path / "file").read_bytes() == text.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_a_folder_whose_block_fails_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "b") as partial:
        (partial / "absent" / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_text("old")
    with pytest.raises(OSError, match="b"), new_folder(tmp_path / "b") as partial:
        (partial / "file").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b" / "file").read_text() == "old"


@pytest.mark.parametrize("content", [b"a = ", b"a = 1\na = 2", b"a = '\xff'"])
def test_toml_that_is_not_valid_is_refused_by_path(content: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.toml is not valid TOML"):
        parse_toml(content, "x.toml")


@pytest.mark.parametrize("content", ["", "{", b"\xff\xfe", "[" * 100_000, "9" * 5000])
def test_json_that_python_cannot_read_is_refused(content: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)
