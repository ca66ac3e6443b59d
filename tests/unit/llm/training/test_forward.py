"""The loss inside the model's forward pass: logits, intermediate layers, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers import Gemma2Config, Gemma2ForCausalLM

from recbench.errors import UsageError
from recbench.llm.model import policy as policies
from recbench.llm.training import forward
from recbench.llm.training.batch import Supervision, collate
from recbench.llm.training.forward import Objective, Phi, objective_attached
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.pack import prefix_tree
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec, ILRecObjective

EXAMPLES = [([1, 5, 6, 7, 20, 21, 2], 4), ([1, 8, 22, 23, 2], 2)]


class Recorder:
    """Keeps what the forward hands to a loss."""

    def __init__(self, num_layers: int = 0, phi: Phi = "shared") -> None:
        self.num_layers, self.phi = num_layers, phi

    def units(self, supervision: Supervision) -> list[int]:
        return [len(supervision.label)]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del supervision
        self.logits, self.layer_logits = logits, layer_logits
        return logits.sum() + sum((layer.sum() for layer in layer_logits), torch.zeros(())), {}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    run = toy_run(tmp_path_factory.mktemp("toy") / "fit", llm=tiny_settings())
    return policies.start(toy_data(), run).model.eval()


def run_forward(model: Any, recorder: Recorder) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and the plain model's hidden states at the supervised positions by entry."""
    batch = collate([prefix_tree([example]) for example in EXAMPLES], pad=0)
    supervision = batch.pop("supervision")
    batch.pop("num_tokens")
    with objective_attached(model, recorder):
        loss = model(**batch, objective=recorder, supervision=supervision).loss
    states = model(**batch, output_hidden_states=True).hidden_states
    rows = {str(index): state.flatten(0, 1)[supervision.position] for index, state in enumerate(states)}
    return loss, rows


def test_logits_are_the_models_own_at_response_positions_only(model: Any) -> None:
    recorder = Recorder()
    run_forward(model, recorder)
    for (ids, start), first in zip(EXAMPLES, (0, 3), strict=True):
        expected = model(torch.tensor([ids])).logits[0, start - 1 : -1]
        assert torch.allclose(recorder.logits[first : first + len(ids) - start], expected, atol=1e-5)
    assert len(recorder.logits) == 3 + 3


def test_layer_logits_are_the_lens_of_the_blocks_below_the_last_lowest_first(model: Any) -> None:
    recorder = Recorder(num_layers=2)
    _, states = run_forward(model, recorder)
    blocks = model.config.num_hidden_layers
    for layer, index in zip(recorder.layer_logits, (blocks - 2, blocks - 1), strict=True):
        assert torch.allclose(layer, model.lm_head(model.model.norm(states[str(index)])), atol=1e-5)


@pytest.mark.parametrize(
    ("phi", "head_moves", "norm_moves"),
    [
        ("shared", True, True),
        ("shared_frozen", False, False),
        ("extra_head", False, True),
        ("norm_per_layer", True, False),
    ],
)
def test_each_reading_of_phi_sends_gradient_where_it_says(
    model: Any, phi: Phi, head_moves: bool, norm_moves: bool
) -> None:
    class LayersOnly(Recorder):
        def __call__(
            self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
        ) -> tuple[Tensor, dict[str, Tensor]]:
            super().__call__(logits, layer_logits, supervision)
            return layer_logits[0].square().sum(), {}

    model.zero_grad()
    recorder = LayersOnly(num_layers=1, phi=phi)
    batch = collate([prefix_tree([example]) for example in EXAMPLES], pad=0)
    supervision = batch.pop("supervision")
    batch.pop("num_tokens")
    embeds = model.get_input_embeddings()(batch.pop("input_ids")).detach()
    with objective_attached(model, recorder):
        model(**batch, inputs_embeds=embeds, objective=recorder, supervision=supervision).loss.backward()
    head, norm = model.lm_head.weight.grad, model.model.norm.weight.grad
    assert (head is not None and bool(head.abs().sum() > 0)) is head_moves
    assert (norm is not None and bool(norm.abs().sum() > 0)) is norm_moves
    assert model.model.layers[-2].mlp.up_proj.weight.grad.abs().sum() > 0
    last = model.model.layers[-1].mlp.up_proj.weight.grad
    assert last is None or last.abs().sum() == 0


def test_a_batch_is_cut_between_rows_where_it_has_too_many_predictions() -> None:
    rows = [
        prefix_tree([example] * count, {"example": np.arange(first, first + count)})
        for example, count, first in zip([EXAMPLES[0], *EXAMPLES], (1, 2, 2), (0, 1, 3), strict=True)
    ]
    batch = collate(rows, pad=0)
    whole, width = batch["supervision"], batch["input_ids"].shape[1]
    parts = whole.of_rows(width, most=9)
    assert [len(part.label) for part in parts] == [3 + 6, 6]
    assert [part.columns["example"].tolist() for part in parts] == [[0, 1, 2], [3, 4]]
    assert parts[1].response.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(torch.cat([part.position for part in parts]), whole.position)
    assert [len(part.label) for part in whole.of_rows(width, most=1)] == [3, 6, 6]  # a row is never cut
    assert whole.of_rows(width, most=15) == [whole]


@pytest.mark.parametrize("phi", ["shared", "shared_frozen", "extra_head", "norm_per_layer"])
@pytest.mark.parametrize("method", ["sft", "ilrec"])
def test_logits_in_parts_give_the_same_loss_and_gradient_and_keep_none(
    model: Any, method: str, phi: Phi, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective: Objective = TokenCrossEntropy()
    if method == "ilrec":
        objective = ILRecObjective(ILRec(mu=0, k=2, lam=0.1, phi=phi), None)
    vocabulary = model.config.vocab_size
    wide: list[tuple[int, ...]] = []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.shape[-1:] == (vocabulary,):
            wide.append(tuple(tensor.shape))
        return tensor

    def run() -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        model.zero_grad()
        wide.clear()
        batch = collate([prefix_tree([example]) for example in EXAMPLES], pad=0)
        supervision = batch.pop("supervision")
        batch.pop("num_tokens")
        with objective_attached(model, objective), saved_tensors_hooks(keep, keep):
            output = model(**batch, objective=objective, supervision=supervision)
            kept = len(wide)  # more are made for the backward pass, one part after the other
            output.loss.backward()
            gradient = {name: weight.grad for name, weight in model.named_parameters()}
        found = {name: value.clone() for name, value in gradient.items() if value is not None}
        return output.loss.detach(), {**output.terms, "kept": torch.tensor(kept)}, found

    loss, terms, gradient = run()
    monkeypatch.setattr(forward, "MOST_LOGITS", 1)  # a part for each row
    of_parts, terms_of_parts, gradient_of_parts = run()
    torch.testing.assert_close(of_parts, loss, atol=1e-6, rtol=1e-6)
    assert gradient.keys() == gradient_of_parts.keys()
    for name, value in gradient.items():
        torch.testing.assert_close(gradient_of_parts[name], value, atol=1e-6, rtol=1e-4)
    assert terms.keys() == terms_of_parts.keys()
    assert terms["kept"] > 0
    assert terms_of_parts["kept"] == 0


def test_more_layers_than_the_model_has_below_its_last_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match="does not offer 3 intermediate layers"):
        run_forward(model, Recorder(num_layers=model.config.num_hidden_layers))


def test_a_model_that_caps_its_logits_is_refused(tmp_path: Path) -> None:
    del tmp_path
    config = Gemma2Config(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, final_logit_softcapping=30.0,
    )  # fmt: skip
    with (
        pytest.raises(UsageError, match="final_logit_softcapping"),
        objective_attached(Gemma2ForCausalLM(config), Recorder()),
    ):
        pass
