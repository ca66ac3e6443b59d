"""The seal of a fit: every file that a ranking may read is checked, and a changed one is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbench.errors import DigestError
from recbench.results import fit_seal


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"\x00\x01")
    (tmp_path / "fit.json").write_text("{}")
    (tmp_path / "log.txt").write_text("so far")
    fit_seal.seal(tmp_path)
    return tmp_path


def test_an_unchanged_fit_passes_and_its_log_may_grow(workdir: Path) -> None:
    (workdir / "log.txt").write_text("so far and further")
    fit_seal.check(workdir)


@pytest.mark.parametrize("name", ["model/weights", "fit.json", "files.json"])
def test_a_changed_file_is_named(workdir: Path, name: str) -> None:
    (workdir / name).write_text('{"fit.json": "0"}')
    with pytest.raises(DigestError, match=re.escape(f"{workdir / name} has changed")) as caught:
        fit_seal.check(workdir)
    assert "--force" in caught.value.fix
    assert str(workdir) in caught.value.fix


def test_a_fit_of_an_earlier_version_is_not_believed(workdir: Path) -> None:
    (workdir / "COMPLETE").write_text("")
    with pytest.raises(DigestError, match="no digests"):
        fit_seal.check(workdir)
