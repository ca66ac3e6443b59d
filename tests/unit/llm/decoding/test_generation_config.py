"""A backbone's generation_config.json changes no ranking: it is how others sample from the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from recbench.llm.decoding.generate import generate
from recbench.ranking import Ranking
from recbench.settings import BeamRanker, ExactRanker, GroundRanker, Paradigm, Ranker
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.sft import SFT

SaveBackbone = Callable[..., str]
HOSTILE: dict[str, Any] = {
    "do_sample": False,  # contradicts what follows: a model with these settings cannot be saved
    "top_k": 2,
    "top_p": 0.01,
    "temperature": 0.01,
    "repetition_penalty": 40.0,
    "no_repeat_ngram_size": 1,
    "forced_bos_token_id": 7,
    "forced_eos_token_id": 9,
    "suppress_tokens": list(range(20, 250)),
    "bad_words_ids": [[11], [12]],
    "eos_token_id": 13,
    "max_new_tokens": 1,
    "num_beams": 3,
}
DATA = toy_data(num_users=6, num_items=12, longest=8)


def backbones(save: SaveBackbone) -> list[str]:
    """The same model twice: without the file, and with the hostile one."""
    plain = Path(save(tied=False))
    (plain / "generation_config.json").unlink(missing_ok=True)
    hostile = Path(shutil.copytree(plain, plain.with_name("hostile")))
    (hostile / "generation_config.json").write_text(json.dumps(HOSTILE))
    return [str(plain), str(hostile)]


def ranked(folder: Path, backbone: str, paradigm: Paradigm, ranker: Ranker, lora_rank: int) -> Ranking:
    """A fit of a few steps, loaded by another instance."""
    settings = tiny_settings(
        backbone=backbone, paradigm=paradigm, epochs=1.0, batch=8, lora_rank=lora_rank, lr=1e-2
    )
    run = toy_run(folder, llm=replace(settings, ranker=ranker))
    SFT().fit(DATA, run=run)
    fresh = SFT()
    fresh.load(DATA, run=run)
    return fresh.rank(DATA.valid.requests, k=5)


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize(
    ("paradigm", "ranker"),
    [("semantic-id", ExactRanker()), ("semantic-id", BeamRanker(width=8)), ("title", GroundRanker())],
)
def test_a_hostile_generation_config_changes_no_ranking(
    tmp_path: Path, save_backbone: SaveBackbone, paradigm: Paradigm, ranker: Ranker, lora_rank: int
) -> None:
    plain, hostile = (
        ranked(tmp_path / name / "fit", backbone, paradigm, ranker, lora_rank)
        for name, backbone in zip(("plain", "hostile"), backbones(save_backbone), strict=True)
    )
    assert np.array_equal(plain.items, hostile.items)
    assert plain.scores is not None
    assert hostile.scores is not None
    assert np.array_equal(plain.scores, hostile.scores, equal_nan=True)
    assert plain.stats == hostile.stats


@pytest.mark.parametrize("beam", [1, 4])
def test_a_hostile_generation_config_changes_no_text_though_transformers_obeys_it(
    save_backbone: SaveBackbone, beam: int
) -> None:
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in backbones(save_backbone)]
    prompts = [[5, 6, 8], [30, 31, 40, 41]]
    plain, hostile = (generate(model, prompts, eos=1, max_new=9, beam=beam) for model in models)
    assert plain == hostile
    assert any(plain)
    obeyed = models[1].generate(torch.tensor(prompts[:1]), GenerationConfig(**HOSTILE, pad_token_id=0))
    assert obeyed[0, 3:].tolist() != plain[0]
