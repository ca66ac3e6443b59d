"""Bundles that are damaged, of another version, copied, or that hold links: named, and never followed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from recbench.base import digest
from recbench.errors import DigestError
from recbench.planning.cost_estimate import measured
from recbench.results import bundle
from recbench.results.bundle import Bundle
from recbench.results.lookup import every_run

MakeBundle = Callable[..., Bundle]


def seal_again(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a complete bundle, and write the marker that fits it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    bundle.write_json(folder / "manifest.json", manifest)
    sealed = digest.of_file(folder / "manifest.json")
    (folder / "COMPLETE").write_text(f'{{"manifest":"{sealed}"}}\n')


def test_a_link_in_a_bundle_is_refused_though_its_target_has_the_right_bytes(
    tmp_path: Path, make_bundle: MakeBundle
) -> None:
    made = make_bundle("ilrec", [1, 0, 4])
    secret = tmp_path / "secret"
    shutil.move(made.path / "ranks.npz", secret)
    (made.path / "ranks.npz").symlink_to(secret)
    with pytest.raises(DigestError, match=r"ranks\.npz is a link"):
        bundle.load(made.path)


def test_a_pipe_in_a_bundle_is_refused_without_being_read(make_bundle: MakeBundle) -> None:
    made = make_bundle("ilrec", [1, 0, 4])
    os.mkfifo(made.path / "pipe")
    with pytest.raises(DigestError, match="pipe is a link or no plain file"):
        bundle.load(made.path)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["spec"]["fit"].update(new_field=1),
        lambda manifest: manifest["spec"]["fit"].pop("limit_users"),
        lambda manifest: manifest.update(spec=[]),
        lambda manifest: manifest.pop("spec"),
        lambda manifest: manifest.update(files=[]),
        lambda manifest: manifest.update(facts={"moved_nats": "far"}),
    ],
)
def test_a_bundle_of_another_version_says_which_version_made_it(
    change: Callable[[dict[str, Any]], object], make_bundle: MakeBundle
) -> None:
    made = make_bundle("ilrec", [1, 0, 4])

    def older(manifest: dict[str, Any]) -> None:
        change(manifest)
        manifest["versions"] = {"recbench": "0.0.7"}

    seal_again(made.path, older)
    with pytest.raises(DigestError) as caught:
        bundle.load(made.path)
    assert "not a bundle of this version" in caught.value.what
    assert "recbench 0.0.7 made it" in caught.value.why


def test_a_copy_of_a_run_is_named_and_the_run_stays(make_bundle: MakeBundle) -> None:
    made = make_bundle("ilrec", [1, 0, 4])
    copy = made.path.with_name(f"{made.id}.bak")
    shutil.copytree(made.path, copy)
    said: list[str] = []
    assert [run.id for run in every_run(made.path.parent, said.append)] == [made.id]
    assert len(said) == 1
    assert f"is a copy of the run {made.id}" in said[0]


@pytest.mark.parametrize("name", ["manifest.json", "efficiency.json", "metrics.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b'{"seconds": 3}'])
def test_one_damaged_file_stops_neither_lists_nor_estimates(
    name: str, content: bytes, make_bundle: MakeBundle
) -> None:
    good, bad = make_bundle("ilrec", [1, 0, 4]), make_bundle("sft", [1, 0, 4])
    (bad.path / name).write_bytes(content)
    said: list[str] = []
    assert [run.id for run in every_run(good.path.parent, said.append)] == [good.id]
    assert bad.id in said[0]
    assert good.id in [run.spec.id for run in measured(good.path.parent)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", b"[]"),
        ("metrics.json", b'{"ndcg@10": "high"}'),
        ("efficiency.json", b"3"),
        ("efficiency.json", b"[" * 100_000),
        ("ranks.npz", b"no archive"),
    ],
)
def test_a_file_of_another_form_is_named_though_the_seals_were_made_again(
    name: str, content: bytes, make_bundle: MakeBundle
) -> None:
    good, bad = make_bundle("ilrec", [1, 0, 4]), make_bundle("sft", [1, 0, 4])
    (bad.path / name).write_bytes(content)
    seal_again(bad.path, lambda manifest: manifest["files"].update({name: digest.of_file(bad.path / name)}))
    said: list[str] = []
    assert [run.id for run in every_run(good.path.parent, said.append)] == [good.id]
    assert "not a bundle of this version" in said[0]


def test_a_manifest_that_is_nested_too_deep_is_named(make_bundle: MakeBundle) -> None:
    made = make_bundle("ilrec", [1, 0, 4])
    (made.path / "manifest.json").write_text("[" * 100_000)
    sealed = digest.of_file(made.path / "manifest.json")
    (made.path / "COMPLETE").write_text(f'{{"manifest":"{sealed}"}}\n')
    with pytest.raises(DigestError, match="not a bundle of this version"):
        bundle.load(made.path)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b"\xff"])
def test_the_damaged_marker_of_a_failed_run_gives_no_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "FAILED").write_bytes(content)
    assert bundle.status(tmp_path) == "failed"
    assert bundle.reason(tmp_path) == {}


@contextmanager
def somebody_else() -> Iterator[None]:
    """Not the administrator, who reads everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("closed", [".", "ranks.npz", "manifest.json", "COMPLETE"])
def test_an_unreadable_bundle_is_named_and_the_others_stay(closed: str, make_bundle: MakeBundle) -> None:
    good, bad = make_bundle("ilrec", [1, 0, 4]), make_bundle("sft", [1, 0, 4])
    bundle.load(good.path)
    with TemporaryDirectory() as folder:  # whose parents everybody may enter
        Path(folder).chmod(0o755)
        runs = Path(shutil.copytree(good.path.parent, Path(folder) / "runs"))
        (runs / bad.id / closed).chmod(0)
        said: list[str] = []
        with somebody_else():
            found = [run.id for run in every_run(runs, said.append)]
            assert good.id in [run.spec.id for run in measured(runs)]
            assert bundle.status(runs / bad.id) == (None if closed == "." else "complete")
        (runs / bad.id / closed).chmod(0o755)
    assert found == [good.id]
    assert f"{bad.id} is left out: {runs / bad.id} cannot be read" in said[0]
