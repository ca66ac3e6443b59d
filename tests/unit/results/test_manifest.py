"""The manifest in JSON: nothing is lost on the way, and manifests of earlier versions are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from recbench.results.bundle import Bundle
from recbench.results.fit_record import Facts
from recbench.results.manifest import ImportedRanking, Manifest

MakeBundle = Callable[..., Bundle]


def through_json(manifest: Manifest) -> Manifest:
    return Manifest.from_json(json.loads(json.dumps(manifest.to_json())))


def test_a_manifest_survives_json(make_bundle: MakeBundle) -> None:
    manifest = make_bundle("ilrec", [1, 2], off_protocol=True, reasons=["limited to 2 users"]).manifest
    imported = ImportedRanking(file="r.jsonl", sha256="ab", split="cc", notes=["short"])
    for whole in (manifest, replace(manifest, ranking=imported, external=True, facts=Facts(moved_nats=0.1))):
        assert through_json(whole) == whole


def test_unknown_keys_of_a_manifest_are_kept(make_bundle: MakeBundle) -> None:
    manifest = make_bundle("ilrec", [1], weather="mild", more={"a": 1}).manifest
    assert manifest.more == {"weather": "mild", "more": {"a": 1}}
    assert through_json(manifest).more == manifest.more


def test_a_manifest_of_an_earlier_version_has_defaults(make_bundle: MakeBundle) -> None:
    spec = make_bundle("ilrec", [1]).spec
    manifest = Manifest.from_json({"spec": spec.to_json(), "status": "complete", "reason": None, "files": {}})
    assert manifest == Manifest(spec=spec, label="ilrec")
    ranking = {"notes": ["short"], "by": "somebody"}
    early = Manifest.from_json({"spec": spec.to_json(), "ranking": ranking})
    assert early.ranking == ImportedRanking(notes=["short"])
