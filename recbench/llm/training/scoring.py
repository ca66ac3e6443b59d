"""Log-probabilities of the responses in packed rows under the current policy.

R responses of all rows, in the rows' order; S supervised positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.data import Ints
from recbench.llm.causal_lm import base_causal_lm, scoring
from recbench.llm.losses.tokens import sequence_logp, token_logp
from recbench.llm.model.policy import Policy
from recbench.llm.training.batch import Supervision, collate
from recbench.llm.training.forward import response_logits
from recbench.llm.training.pack import Row

_TOKENS = 8192
"""Padded tokens of one forward pass."""


def logps(
    policy: Policy,
    rows: Sequence[Row],
    *,
    precision: str = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """[R] summed log-probability of every response, EOS included, in evaluation mode.

    `precision` is that of the training whose losses the values are compared with.
    """
    first = _first_responses(rows)
    result = np.empty(first[-1])

    def take(responses: Ints, values: Tensor, supervision: Supervision) -> None:
        sums = sequence_logp(values.double(), supervision.response, len(responses))
        result[responses] = sums.cpu().numpy()

    _score(policy, rows, precision, take, progress)
    return result


def token_logps(policy: Policy, rows: Sequence[Row], *, precision: str = "fp32") -> NDArray[np.float32]:
    """[R, T] log-probability of every token of every response, in evaluation mode; 0 after the last.

    T is the length of the longest response; `precision` as in `logps`.
    """
    first = _first_responses(rows)
    longest = max((int(row.step.max()) + 1 for row in rows), default=0)
    result = np.zeros((first[-1], longest), dtype=np.float32)

    def take(responses: Ints, values: Tensor, supervision: Supervision) -> None:
        at = responses[supervision.response.cpu().numpy()], supervision.step.cpu().numpy()
        result[at] = values.cpu().numpy()

    _score(policy, rows, precision, take)
    return result


def _first_responses(rows: Sequence[Row]) -> NDArray[np.int64]:
    """[rows + 1] the number of responses in the rows before each."""
    return np.cumsum([0, *(row.num_examples for row in rows)])


def _score(
    policy: Policy,
    rows: Sequence[Row],
    precision: str,
    take: Callable[[Ints, Tensor, Supervision], None],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Call `take` for each batch with its responses' numbers [n] of all, the log-probabilities of its labels
    [S] and its supervision."""
    lm = base_causal_lm(policy.model)
    device = next(lm.parameters()).device
    first = _first_responses(rows)
    done = 0
    with scoring(policy.model), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for members in _batches(rows):
            batch = collate([rows[row] for row in members], pad=policy.tokenizer.pad_token_id)
            supervision = batch.pop("supervision").to(device)
            batch.pop("num_tokens")
            inputs = {name: tensor.to(device) for name, tensor in batch.items()}
            logits = response_logits(lm, supervision, inputs)
            responses = np.concatenate([np.arange(first[row], first[row + 1]) for row in members])
            take(responses, token_logp(logits.float(), supervision.label), supervision)
            done += len(members)
            if progress is not None:
                progress(done, len(rows))


def _batches(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of rows in batches of similar length, at most `_TOKENS` padded tokens a batch."""
    lengths = [len(row.input_ids) for row in rows]
    batches: list[list[int]] = [[]]
    for row in np.argsort(lengths, kind="stable").tolist():
        if batches[-1] and (len(batches[-1]) + 1) * lengths[row] > _TOKENS:
            batches.append([])
        batches[-1].append(row)
    return [batch for batch in batches if batch]
