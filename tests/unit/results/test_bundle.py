from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.base import digest
from recbench.errors import DigestError, UsageError
from recbench.results import bundle
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]


def seal_again(folder: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest of a complete bundle, with a marker that fits it."""
    bundle.write_json(folder / "manifest.json", manifest)
    sealed = digest.of_file(folder / "manifest.json")
    (folder / "COMPLETE").write_text(f'{{"manifest":"{sealed}"}}\n')


def test_a_bundle_gives_back_what_was_written(make_bundle: MakeBundle) -> None:
    made = make_bundle(
        "ilrec", [1, 0, 4], seed=3, label="ilrec[beta=0.2]", curve='{"step": 1, "loss": 2.5}\n'
    )
    assert made.ranks.tolist() == [1, 0, 4]
    assert made.ranks.dtype == np.int32
    assert made.users.tolist() == ["u0", "u1", "u2"]
    assert (made.label, made.seed, made.status, made.reason) == ("ilrec[beta=0.2]", 3, "complete", None)
    assert made.id == made.path.name
    assert made.metrics["hr@1"] == 1 / 3
    assert made.efficiency["steps"] == 7
    assert made.curve() == [{"step": 1, "loss": 2.5}]
    assert made.digests["split"] == "cc"


def test_topk_is_read_on_demand(tmp_path: Path, make_bundle: MakeBundle) -> None:
    staging = bundle.create(tmp_path / "runs", "topk")
    items = np.array([[3, 1], [2, -1]])
    scores = np.array([[0.5, 0.2], [0.1, np.nan]])
    bundle.write_arrays(staging / "topk.npz", items=items, scores=scores, certified=np.array([True, False]))
    folder = bundle.finish(staging, make_bundle("ilrec", [1, 2]).manifest, status="complete")
    lists = bundle.load(folder).topk()
    np.testing.assert_array_equal(lists["items"], items)
    np.testing.assert_array_equal(lists["scores"], scores)
    assert lists["certified"].tolist() == [True, False]


def test_a_metric_below_the_rankings_depth_is_refused(make_bundle: MakeBundle) -> None:
    made = make_bundle("ilrec", [1, 0, 4])
    assert made.per_request("mrr@20").tolist() == [1.0, 0.0, 0.25]
    with pytest.raises(UsageError, match="the rankings have 20"):
        made.per_request("mrr@50")


def test_any_changed_byte_of_any_file_is_found_and_the_file_named(make_bundle: MakeBundle) -> None:
    made = make_bundle("ilrec", [1, 0, 4])
    names = sorted(path.name for path in made.path.iterdir())
    assert "COMPLETE" in names
    assert "ranks.npz" in names
    for name in names:
        whole = (made.path / name).read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1} if whole else set():
            changed = bytearray(whole)
            changed[place] ^= 1
            (made.path / name).write_bytes(changed)
            with pytest.raises(DigestError, match="has changed") as caught:
                bundle.load(made.path)
            # a byte of the digest inside the marker cannot be told from a changed manifest
            assert name in str(caught.value)
        (made.path / name).write_bytes(whole)
    bundle.load(made.path)


def test_a_lost_file_is_found(make_bundle: MakeBundle) -> None:
    made = make_bundle("ilrec", [1])
    (made.path / "ranks.npz").unlink()
    with pytest.raises(DigestError, match=r"ranks\.npz has changed"):
        bundle.load(made.path)


def test_a_manifest_whose_spec_has_another_id_is_refused(make_bundle: MakeBundle) -> None:
    folder = make_bundle("ilrec", [1]).path
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["spec"]["fit"]["seed"] = 99
    seal_again(folder, manifest)
    with pytest.raises(DigestError, match="the spec gives id"):
        bundle.load(folder)


def test_a_manifest_that_points_outside_is_refused(make_bundle: MakeBundle) -> None:
    folder = make_bundle("ilrec", [1]).path
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../outside"] = "00"
    seal_again(folder, manifest)
    with pytest.raises(DigestError, match=r"outside the bundle: \.\./outside"):
        bundle.load(folder)


def test_a_folder_without_marker_is_no_bundle(tmp_path: Path) -> None:
    staging = bundle.create(tmp_path, "abc")
    bundle.write_json(staging / "manifest.json", {})
    assert bundle.status(staging) is None
    assert bundle.find(tmp_path) == []
    with pytest.raises(DigestError, match="neither COMPLETE nor FAILED"):
        bundle.load(staging)


def test_create_removes_what_an_interrupted_run_left(tmp_path: Path) -> None:
    staging = bundle.create(tmp_path, "abc")
    (staging / "topk.npz").write_text("half")
    assert list(bundle.create(tmp_path, "abc").iterdir()) == []


def test_a_second_bundle_replaces_the_first_and_leaves_nothing_beside_it(make_bundle: MakeBundle) -> None:
    first = make_bundle("ilrec", [1, 1])
    second = make_bundle("ilrec", [2, 2])
    assert second.path == first.path
    assert second.ranks.tolist() == [2, 2]
    assert [path.name for path in second.path.parent.iterdir()] == [second.id]


def test_a_failed_run_keeps_its_reason_and_is_found(make_bundle: MakeBundle) -> None:
    reason = {"class": "oom", "reason": "needed 80 GiB"}
    failed = make_bundle("ilrec", [], failure=reason)
    complete = make_bundle("sasrec", [1])
    assert bundle.status(failed.path) == "failed"
    assert failed.reason == reason
    assert len(failed.ranks) == 0
    assert json.loads((failed.path / "FAILED").read_text())["class"] == "oom"
    assert set(bundle.find(failed.path.parent)) == {failed.path, complete.path}


@pytest.mark.parametrize(
    ("status", "reason"),
    [("failed", None), ("complete", {"class": "oom"}), ("failed", {"class": "tired"}), ("failed", {})],
)
def test_status_and_reason_must_fit(
    tmp_path: Path, make_bundle: MakeBundle, status: bundle.Status, reason: dict[str, str]
) -> None:
    manifest = make_bundle("ilrec", [1]).manifest
    with pytest.raises(UsageError):
        bundle.finish(bundle.create(tmp_path, "abc"), manifest, status=status, reason=reason)
    assert bundle.find(tmp_path) == []


def test_no_bundles_below_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert bundle.find(tmp_path / "runs") == []


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        bundle.write_arrays(tmp_path / name, ranks=np.arange(5), users=np.array(["ü", "b"]))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_objects_are_never_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would be pickled: users"):
        bundle.write_arrays(tmp_path / "ranks.npz", users=np.array([{}, None], dtype=object))
    assert not (tmp_path / "ranks.npz").exists()


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        bundle.write_json(tmp_path / "metrics.json", {"hr@1": float("nan")})


def test_a_bundle_says_each_warning_of_its_fit_once(make_bundle: MakeBundle) -> None:
    points = [{"step": 1, "loss": 2.0}, {"warning": "too high"}, {"step": 2}, {"warning": "too high"}]
    made = make_bundle("ilrec", [1, 0], curve="".join(json.dumps(point) + "\n" for point in points))
    assert made.warnings() == ["too high"]
