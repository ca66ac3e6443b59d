"""What the paradigms promise: one spelling of prompts and responses everywhere, and fits that restore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbench.data import Catalogue, TrainingData
from recbench.errors import DigestError
from recbench.llm.items.prompts import Prompts, make_prompts
from recbench.llm.items.templates import TEMPLATES
from recbench.llm.items.titles import title_ids
from recbench.llm.model import policy as policies
from recbench.llm.model.backbone import add_tokens, new_tokenizer
from recbench.llm.model.hybrid import new_input
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import next_item, with_rejected
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.pack import Row
from recbench.llm.training.scoring import logps
from recbench.llm.training.trainer import train
from recbench.settings import BackboneClass, Paradigm
from recbench.testing import tiny_settings, toy_data, toy_run

SaveBackbone = Callable[..., str]
DATA = toy_data(num_users=6, num_items=12, longest=8)
PARADIGMS: tuple[Paradigm, ...] = ("semantic-id", "title", "hybrid")
ODD = [
    'He said "no"',
    "🎻 élan",
    "",
    "x" * 500,
    "red lamp",
    "red lamp",
    "red",
    "red lamp 2",
    '", ',
    "</s>",
    " ",
]


def sequences(row: Row) -> list[tuple[list[int], list[int]]]:
    """Prompt and response of every example of a row, read back from its tree."""
    result = []
    mask = row.mask()
    for number in range(row.num_examples):
        places = np.flatnonzero(row.response == number)
        ancestors = np.flatnonzero(mask[row.predictor[places[0]]])
        result.append((row.input_ids[ancestors].tolist(), row.label[places].tolist()))
    return result


def prompts_over(
    titles: Sequence[str], kind: BackboneClass, paradigm: Paradigm, *, max_length: int
) -> Prompts:
    """Prompts over a catalogue of titles; of made-up codes in the paradigm `semantic-id`."""
    template = TEMPLATES[kind, paradigm]
    codes = [f"<{level}_{code}>" for level in "ab" for code in range(16)]
    tokenizer = new_tokenizer([template.head, "red lamp"], merges=32)
    add_tokens(tokenizer, codes)
    if paradigm == "semantic-id":
        tokens = [[codes[item % 16], codes[16 + item // 16]] for item in range(len(titles))]
        ids = [tokenizer.convert_tokens_to_ids(row) for row in tokens]
    else:
        names = tuple(map(str, range(len(titles))))
        counts = np.ones(len(titles), dtype=np.int64)
        catalogue = Catalogue(item_ids=names, titles=tuple(titles), categories=names, popularity=counts)
        ids = title_ids(tokenizer, template, catalogue, max_tokens=64).ids
    first = len(tokenizer) if paradigm == "hybrid" else None
    return make_prompts(tokenizer, template, ids, max_length=max_length, first_item_id=first)


@pytest.mark.parametrize("kind", ["scratch", "pretrained"])
@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("pack", ["none", "user"])
@settings(max_examples=5)
@given(titles=st.lists(st.text(max_size=20), min_size=3, max_size=12), room=st.integers(0, 800))
@example(titles=ODD, room=0)
@example(titles=ODD, room=400)
def test_training_pairs_scoring_and_generation_spell_prompts_and_responses_alike(
    kind: BackboneClass, paradigm: Paradigm, pack: str, titles: list[str], room: int
) -> None:
    """Also where the context is so short that histories lose their oldest items."""
    wide = prompts_over(titles, kind, paradigm, max_length=10_000)
    longest = max(len(wide.prompt([item])) for item in range(len(titles))) + wide.room
    prompts = replace(wide, max_length=longest + room)
    draw = np.random.default_rng(0)
    data = toy_data(num_users=2, num_items=len(titles), longest=6)
    run = toy_run(Path(), llm=tiny_settings(pack=pack))
    examples = next_item(prompts, data, run)
    rejected = draw.integers(len(titles), size=(len(examples), 2))
    others = [[prompts.response(int(item)) for item in row] for row in rejected]
    asked = [prompts.prompt_with_room(history.tolist()) for history in examples.history]
    supervised = [pair for row in examples.rows for pair in sequences(row)]
    pairs = [pair for row in with_rejected(prompts, examples, others) for pair in sequences(row)]
    assert [prompt for prompt, _ in supervised] == asked
    assert [prompt for prompt, _ in pairs] == [prompt for prompt in asked for _ in range(3)]
    chosen = [prompts.response(int(target)) for target in examples.target]
    assert [response for _, response in supervised] == chosen
    assert [response for _, response in pairs[2::3]] == chosen
    assert [response for _, response in pairs[0::3]] == [row[0] for row in others]


def fit(folder: Path, **given: Any) -> tuple[Any, Policy, np.ndarray[Any, Any]]:
    llm = tiny_settings(**{"epochs": 2.0, "batch": 4, "max_rows": 8, **given})
    run = toy_run(folder, llm=llm)
    policy = policies.start(DATA, run)
    rows = next_item(policy.prompts, DATA, run).rows
    before = logps(policy, rows)
    train(policy, rows, TokenCrossEntropy(), settings=llm.train, run=run)
    policy.save(folder / "model")
    after = logps(policy, rows)
    assert np.abs(after - before).max() > 0.1  # it did train
    return run, policy, after


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_a_saved_fit_scores_as_it_did_when_it_was_trained(
    tmp_path: Path, save_backbone: SaveBackbone, paradigm: Paradigm, tied: bool, rank: int
) -> None:
    backbone = save_backbone(tied=tied)
    run, _, after = fit(
        tmp_path / "fit", backbone=backbone, paradigm=paradigm, lora_rank=rank, lr=1e-2, epochs=3.0
    )
    restored = policies.restore(DATA, run)
    again = logps(restored, next_item(restored.prompts, DATA, run).rows)
    np.testing.assert_allclose(again, after, atol=1e-4)


def test_item_tokens_never_reach_the_embedding_table(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(paradigm="hybrid"))
    policy = policies.start(DATA, run)
    assert policy.inputs is not None
    first = policy.model.get_input_embeddings().weight.shape[0]
    ids = policy.prompts.prompt([3, 5])
    assert [token - first for token in ids if token >= first] == [3, 5]
    embedded = policy.model.get_input_embeddings()(torch.tensor(ids))
    projected = policy.inputs(torch.tensor([3, 5]))
    assert torch.equal(embedded[[index for index, token in enumerate(ids) if token >= first]], projected)
    assert all(token < first for item in range(12) for token in policy.prompts.response(item))


def test_text_alone_shows_no_vector_and_the_neutral_token_in_its_place(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(paradigm="hybrid"))
    policy = policies.start(DATA, run)
    assert policy.inputs is not None
    policy.inputs.text_only = True
    embed = policy.model.get_input_embeddings()
    ids = torch.tensor(policy.prompts.prompt([3, 5]))
    words = torch.where(ids >= policy.inputs.first, policy.inputs.neutral, ids)
    assert torch.equal(embed(ids), embed.weight[words])


class Shown:
    """SFT's objective that notes whether each batch was shown text alone."""

    num_layers = 0
    phi: Any = "shared"

    def __init__(self, policy: Policy) -> None:
        self.policy, self.plain = policy, TokenCrossEntropy()
        self.text_only: list[bool] = []

    def units(self, supervision: Any) -> list[int]:
        return self.plain.units(supervision)

    def __call__(self, logits: Any, layer_logits: Any, supervision: Any) -> Any:
        assert self.policy.inputs is not None
        self.text_only.append(self.policy.inputs.text_only)
        return self.plain(logits, layer_logits, supervision)


def test_training_goes_from_text_to_vectors_once_and_a_restored_policy_always_shows_them(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    backbone = save_backbone()
    llm = tiny_settings(
        backbone=backbone, paradigm="hybrid", lora_rank=0, pack="none", max_rows=8, batch=2, epochs=30.0
    )
    run = toy_run(tmp_path / "fit", llm=llm)
    policy = policies.start(DATA, run)
    rows = next_item(policy.prompts, DATA, run).rows
    shown = Shown(policy)
    train(policy, rows, shown, settings=llm.train, run=run)
    quarters = 1 - np.array(shown.text_only, dtype=float).reshape(4, 30).mean(1)
    # the expected shares are 1/8, 3/8, 5/8 and 7/8; four standard deviations of 30 draws are 0.36 at most
    np.testing.assert_allclose(quarters, [0.125, 0.375, 0.625, 0.875], atol=0.36)
    assert quarters[0] < quarters[3]
    assert policy.inputs is not None
    assert not policy.inputs.text_only
    policy.save(run.workdir / "model")

    again = policies.restore(DATA, run, train=True)
    later = replace(run, workdir=tmp_path / "later")
    later.workdir.mkdir()
    shown = Shown(again)
    train(again, rows, shown, settings=replace(llm.train, epochs=1.0), run=later)
    assert shown.text_only == [False] * 4


def test_the_projection_learns_and_the_items_vectors_stay(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    run, policy, _ = fit(tmp_path / "fit", backbone=save_backbone(), paradigm="hybrid", lora_rank=4, lr=1e-2)
    start = policies.start(DATA, run)
    assert policy.inputs is not None
    assert start.inputs is not None
    assert torch.equal(policy.inputs.vectors, start.inputs.vectors)
    assert not torch.equal(policy.inputs.up.weight, start.inputs.up.weight)


def test_a_new_projection_is_its_seeds_own_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    inputs = [new_input(torch.ones(4, 8), width=16, first=10, neutral=2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(inputs[0].up.weight, inputs[1].up.weight)
    assert not torch.equal(inputs[0].up.weight, inputs[2].up.weight)


@pytest.mark.parametrize("paradigm", ["semantic-id", "hybrid"])
def test_a_checkpoint_of_another_tokenizer_is_refused(tmp_path: Path, paradigm: Paradigm) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(paradigm=paradigm))
    policy = policies.start(DATA, run)
    policy.save(run.workdir / "model")
    new_tokenizer(["red lamp"]).save_pretrained(run.workdir / "model")
    with pytest.raises(DigestError, match="does not know '<"):
        policies.restore(DATA, run)


def test_a_title_checkpoint_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(paradigm="title"))
    policies.start(DATA, run).save(run.workdir / "model")
    new_tokenizer(["something else entirely", "red lamp"], merges=2048).save_pretrained(run.workdir / "model")
    with pytest.raises(DigestError, match="spells the identifiers with other tokens"):
        policies.restore(DATA, run)


def test_every_paradigm_has_a_template_for_each_class_of_backbones() -> None:
    assert set(TEMPLATES) == {
        (kind, paradigm) for kind in ("scratch", "pretrained") for paradigm in PARADIGMS
    }


def test_toy_titles_are_read_back_as_they_were(tmp_path: Path) -> None:
    titles = replace(DATA.catalogue, titles=(*ODD, "last"))
    data: TrainingData = replace(DATA, catalogue=titles, digests=dict.fromkeys(DATA.digests, "odd"))
    policy = policies.start(data, toy_run(tmp_path / "fit", llm=tiny_settings(paradigm="title")))
    read = [policy.tokenizer.decode(ids) for ids in policy.prompts.identifiers]
    assert read[:2] == ODD[:2]
    assert read[2] == "item 2"
    assert read[4:] == [*ODD[4:], "last"]
    assert policy.prompts.num_collided == 2
    assert not any(policy.prompts.eos in ids for ids in policy.prompts.identifiers)
