"""Compute a loss inside the model's own forward pass, from the logits at supervised positions only.

Wrappers around the model (data parallelism, precision, checkpointing) therefore see one ordinary call.
Outside training, `model.forward` is the original.

B rows, N nodes of the longest row, S supervised positions of the batch, D width, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recbench.errors import UsageError
from recbench.llm.causal_lm import base_causal_lm
from recbench.llm.model.attention import tree_mask, visible_nodes
from recbench.llm.training.batch import Supervision

Phi = Literal["shared", "shared_frozen", "extra_head", "norm_per_layer"]
"""How hidden states of an intermediate layer become logits (ILRec, Eq. 2); `shared` where none are read."""
MOST_LOGITS = 2**28
"""Logits of all layers, 1 GiB, that a loss over tokens has at once: those of more rows are made in parts, and
once more for the backward pass, so that memory does not grow with the batch."""
EXTRA = "recbench_extra"
"""The model's attribute that has the objective's own trainable modules during training."""


class Objective(Protocol):
    """A loss of G parts, each a mean over its own units (tokens, pairs, ...), with scalars to log.

    In an optimiser step each part is the mean over all units of the step, however its rows are split over
    micro-batches and processes. The loss is the sum of the parts.
    """

    num_layers: int
    """Number of intermediate layers whose logits are read, counted down from the last block's input."""
    phi: Phi

    def units(self, supervision: Supervision) -> Sequence[float]:
        """[G] units of each part in the batch: a count, or a sum of weights."""
        ...

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The parts [G] (a scalar if G is 1), each a mean over the batch, and the scalars to log by name."""
        ...


@dataclass(frozen=True, slots=True)
class LossOutput:
    parts: Tensor  # [G]
    terms: dict[str, Tensor]

    @property
    def loss(self) -> Tensor:
        return self.parts.sum()

    def __getitem__(self, key: str) -> Tensor:  # accelerate looks the loss up by name
        return self.loss if key == "loss" else self.terms[key]


@contextmanager
def objective_attached(
    model: nn.Module, objective: Objective, inputs: nn.Module | None = None
) -> Iterator[None]:
    """Let `model(..., objective=, supervision=)` return a LossOutput inside this context.

    The modules that train beside the model's own weights are attached to it: those that the objective's phi
    needs, and `inputs`.
    """
    lm = base_causal_lm(model)
    _check_plain_head(lm)
    original = lm.forward

    @functools.wraps(original)
    def forward(
        *args: Any, objective: Objective | None = None, supervision: Supervision | None = None, **kwargs: Any
    ) -> Any:
        if objective is None or supervision is None:
            return original(*args, **kwargs)
        return _forward_to_loss(lm, objective, supervision, kwargs)

    lm.forward = forward
    extra = extra_modules(lm, objective)
    if inputs is not None:
        extra["inputs"] = inputs
    setattr(lm, EXTRA, extra)
    try:
        yield
    finally:
        delattr(lm, EXTRA)
        del lm.forward  # and all that a trainer wrapped around it: the class's own forward is back


def _forward_to_loss(
    lm: Any, objective: Objective, supervision: Supervision, inputs: dict[str, Any]
) -> LossOutput:
    with capture_block_outputs(lm, objective.num_layers) as captured:
        last = last_states(lm, inputs)
    parts = [supervision]
    if list(objective.units(supervision)) == [len(supervision.label)]:  # a mean over tokens
        vocabulary = lm.config.get_text_config().vocab_size * (1 + len(captured))
        parts = supervision.of_rows(last.shape[1], most=MOST_LOGITS // vocabulary)
    if len(parts) == 1:
        return LossOutput(*_loss(lm, objective, supervision, last, captured))
    found = [checkpoint(_loss, lm, objective, part, last, captured, use_reentrant=False) for part in parts]
    shares = [len(part.label) / len(supervision.label) for part in parts]
    loss = torch.stack([share * value for share, (value, _) in zip(shares, found, strict=True)]).sum(0)
    names = {name: None for _, terms in found for name in terms}
    return LossOutput(
        loss,
        {
            name: torch.stack([terms[name].detach() for _, terms in found if name in terms]).mean()
            for name in names
        },
    )


def _loss(
    lm: Any, objective: Objective, supervision: Supervision, last: Tensor, captured: list[Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective's parts and scalars, from the states [B, N, D] of the last block and of those below."""
    head, norm = lm.get_output_embeddings(), getattr(lm.base_model, "norm", None)
    logits = head(_rows(last, supervision)).float()
    layers = [
        _lens(lm, norm, head, _rows(hidden, supervision), objective.phi, layer)
        for layer, hidden in enumerate(captured)
    ]
    with torch.autocast(logits.device.type, enabled=False):  # a loss in half precision rounds its terms away
        parts, terms = objective(logits, layers, supervision)
    return parts.reshape(-1), terms


def last_states(lm: Any, inputs: dict[str, Any]) -> Tensor:
    """The states [B, N, D] of the causal LM `lm` that its head reads, of a collated batch."""
    inputs = dict(inputs)
    if (end := inputs.pop("end", None)) is not None:
        inputs["attention_mask"] = tree_mask(lm, visible_nodes(end))
    states: Tensor = lm.base_model(**inputs, use_cache=False).last_hidden_state
    return states


def response_logits(lm: Any, supervision: Supervision, inputs: dict[str, Any]) -> Tensor:
    """Logits [S, V] of the causal LM `lm` at the supervised positions of a collated batch, in float32."""
    logits: Tensor = lm.get_output_embeddings()(_rows(last_states(lm, inputs), supervision)).float()
    return logits


def _rows(hidden: Tensor, supervision: Supervision) -> Tensor:
    return hidden.flatten(0, 1)[supervision.position]


def _lens(lm: Any, norm: Any, head: Any, hidden: Tensor, phi: Phi, layer: int) -> Tensor:
    """[S, V] logits of intermediate layer number `layer`: the map phi of ILRec, Eq. 2."""
    if phi == "shared_frozen":
        norm, head = _frozen(norm), _frozen(head)
    elif phi == "extra_head":
        head = getattr(lm, EXTRA)["head"]
    elif phi == "norm_per_layer":
        norm = getattr(lm, EXTRA)[f"norm_{layer}"]
    logits: Tensor = head(norm(hidden)).float()
    return logits


def _frozen(module: nn.Module) -> Any:
    # not the state_dict, which would take sharded weights apart in the middle of a forward pass
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    return functools.partial(torch.func.functional_call, module, weights)


def extra_modules(lm: Any, objective: Objective) -> nn.ModuleDict:
    """The trainable copies that the objective's phi needs; empty for the shared readings of phi."""
    extra = nn.ModuleDict()
    if objective.num_layers and objective.phi == "extra_head":
        extra["head"] = deepcopy(lm.get_output_embeddings())
    if objective.num_layers and objective.phi == "norm_per_layer":
        for layer in range(objective.num_layers):
            extra[f"norm_{layer}"] = deepcopy(lm.base_model.norm)
    return extra.requires_grad_(True)


@contextmanager
def capture_block_outputs(lm: Any, num_layers: int) -> Iterator[list[Tensor]]:
    """Collect the outputs of blocks L-num_layers .. L-1 (the last block is L), lowest first, [B, N, D].

    Raises UsageError if the model has too few blocks.
    """
    captured: list[Tensor] = []
    if num_layers == 0:
        yield captured
        return
    blocks: Sequence[nn.Module] = getattr(lm.base_model, "layers", ())
    if len(blocks) <= num_layers or getattr(lm.base_model, "norm", None) is None:
        raise UsageError(
            f"this backbone does not offer {num_layers} intermediate layers below its last block",
            why=f"{type(lm).__name__} has {len(blocks)} blocks under the name 'layers'",
            fix=f"at most {max(len(blocks) - 1, 0)} layers, -m ilrec:k={max(len(blocks) - 1, 0)}; "
            "or a Llama- or Qwen-like backbone with more blocks",
        )

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        captured.append(output[0] if isinstance(output, tuple) else output)

    hooks = [block.register_forward_hook(keep) for block in blocks[-1 - num_layers : -1]]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()


def _check_plain_head(lm: Any) -> None:
    """Refuse models whose logits are more than the output of a linear head: the engine's would differ."""
    config = lm.config.get_text_config()
    names = (
        "final_logit_softcapping",
        "logit_scale",
        "output_multiplier",
        "lm_head_multiplier",
        "logits_scaling",
    )
    scaled = [name for name in names if getattr(config, name, None) not in (None, 1, 1.0)]
    if scaled:
        raise UsageError(
            f"{type(lm).__name__} scales its logits ({scaled[0]})",
            why="the engine reads logits straight from the output head",
            fix="recbench list backbones",
        )
