"""Finished runs to evaluate, as the driver leaves them, made from ranks; and the planted set's splits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from recbench.dataset import card as cards
from recbench.dataset.prepare import prepare
from recbench.dataset.split import PreparedSplit
from recbench.protocol import Phase, get_protocol
from recbench.results import bundle, metrics
from recbench.results.bundle import Bundle
from recbench.results.manifest import Manifest
from recbench.results.spec import FitSpec, RunSpec

# The time of an example means nothing on a shared machine.
settings.register_profile("recbench", deadline=None)
settings.load_profile("recbench")

DIGESTS = {"raw": "aa", "log": "bb", "split": "cc", "catalogue": "dd"}


def make_spec(
    method: str, *, seed: int | None, llm: Mapping[str, Any] | None, parent: str | None, phase: Phase
) -> RunSpec:
    fit = FitSpec(
        method=method,
        method_version=1,
        params={"beta": 0.1},
        dataset="toy",
        split=DIGESTS["split"],
        limit_users=None,
        llm=llm,
        parent=parent,
        seed=seed,
    )
    ranker = {"name": "exact", "budget": 100} if llm else None
    return RunSpec(fit=fit, ranker=ranker, protocol=get_protocol("ilrec").evaluation_part(), phase=phase)


MakeSplit = Callable[..., PreparedSplit]


@pytest.fixture(scope="module")
def make_split(tmp_path_factory: pytest.TempPathFactory) -> MakeSplit:
    """The planted set under a protocol."""
    cache = tmp_path_factory.mktemp("cache")
    card = cards.find("synthetic", None)
    return lambda name="ilrec": prepare(card, get_protocol(name), cache=cache, data_dir=None)


MakeBundle = Callable[..., Bundle]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    def make(
        method: str,
        ranks: Sequence[int],
        *,
        seed: int | None = 0,
        label: str | None = None,
        beta: float = 0.1,
        fit_params: Mapping[str, Any] | None = None,
        llm: Mapping[str, Any] | None = None,
        parent: str | None = None,
        phase: Phase = "test",
        ranker: Mapping[str, Any] | None = None,
        digests: Mapping[str, str] | None = None,
        protocol: Mapping[str, Any] | None = None,
        users: Sequence[str] | None = None,
        failure: Mapping[str, Any] | None = None,
        curve: str = "",
        dataset: str = "toy",
        split: str = DIGESTS["split"],
        arrays: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
        efficiency: Mapping[str, Any] | None = None,
        runs: Path = tmp_path / "runs",
        **manifest: Any,
    ) -> Bundle:
        spec = make_spec(method, seed=seed, llm=llm, parent=parent, phase=phase)
        spec = replace(
            spec,
            fit=replace(spec.fit, params={"beta": beta, **(fit_params or {})}, dataset=dataset, split=split),
        )
        spec = replace(spec, ranker=ranker or spec.ranker)
        spec = replace(spec, protocol={**spec.protocol, **(protocol or {})})
        staging = bundle.create(runs, spec.id)
        if failure is None:
            names = [f"u{row}" for row in range(len(ranks))] if users is None else list(users)
            bundle.write_arrays(
                staging / "ranks.npz", ranks=np.array(ranks, dtype=np.int32), users=np.array(names)
            )
            bundle.write_json(staging / "metrics.json", metrics.summary(np.array(ranks), (1, 5, 10, 20)))
        for name, inside in (arrays or {}).items():
            bundle.write_arrays(staging / name, **inside)
        costs = {"seconds": {"fit": 2.0, "rank": 0.5}, "steps": 7}
        (staging / "efficiency.json").write_text(json.dumps(efficiency or costs))  # NaN too, as others write
        (staging / "train.jsonl").write_text(curve)
        (staging / "log.txt").write_text("fitted\n")
        record = {
            "spec": spec.to_json(),
            "label": label or method,
            "params": {},
            "digests": {**DIGESTS, **(digests or {})},
            "statistics": {"users": len(ranks), "items": 30},
            "versions": {"python": "3.11", "numpy": "2.4"},
            "code": {"commit": "c0ffee", "dirty": False},
            "method_code": {
                "distribution": "toys",
                "version": "1.0",
                "digest": "ee" * 32,
                "modules": ["toy"],
            },
            "hardware": {"cpu": "one", "gpu": None},
            "timings": {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00"},
            "off_protocol": False,
            "reasons": [],
            "num_requests": len(ranks),
            "certified_share": 1.0,
            "nodes_per_user": None,
        }
        folder = bundle.finish(
            staging,
            Manifest.from_json(record | manifest),
            status="failed" if failure else "complete",
            reason=failure,
        )
        return bundle.load(folder)

    return make


SaveBackbone = Callable[..., str]


@pytest.fixture
def save_backbone(tmp_path: Path) -> SaveBackbone:
    """Makes a random model of a real class with its tokenizer, in the form that users' folders have."""

    def save(*, architecture: str = "qwen2", tied: bool = True, folder: str = "backbone") -> str:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

        from recbench.llm.model.backbone import new_tokenizer

        tokenizer = new_tokenizer(["red lamp", "old boat", "Codes of the items chosen so far"], merges=64)
        sizes: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "tie_word_embeddings": tied,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: Any
            if architecture == "qwen2":
                model = Qwen2ForCausalLM(Qwen2Config(**sizes))
            else:
                model = LlamaForCausalLM(LlamaConfig(**sizes))
        model.save_pretrained(tmp_path / folder)
        tokenizer.save_pretrained(tmp_path / folder)
        return str(tmp_path / folder)

    return save
