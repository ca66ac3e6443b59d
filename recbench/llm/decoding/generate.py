"""Continue prompts freely, greedily or by beam search, without any constraint to the catalogue.

The scores and the order are those of transformers' `generate` with `early_stopping="never"` and
`length_penalty=0.0`: a continuation scores its summed log-probability, its end of sequence included.
Of the best 2W continuations of a step, those among the first W that end are finished, and the best W others
go on. Scores only fall, so a prompt is done when its best finished continuation is above all that go on.

B prompts generated together, W beams (1 at the first step), M continuations of a beam, T tokens so far,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from recbench.llm.causal_lm import scoring
from recbench.llm.decoding.leaves import NEVER, refuse_nan
from recbench.llm.decoding.search import batches_by_length
from recbench.llm.decoding.tree_cache import DecodingTree

_STEPS_WITH_ROOM = 32  # the cache starts with room for this many steps


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    eos: int,
    max_new: int,
    beam: int = 1,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """The best continuation of each prompt, without `eos`, cut at `max_new` tokens.

    A beam of 1 is greedy. `progress` is called with the number of prompts done. Prompts must not be empty.
    Raises CheckError if a prediction is NaN.
    """
    continuations: list[list[int]] = [[] for _ in prompts]
    with scoring(model):
        for done, rows in batches_by_length(prompts, batch):
            best = _generate(model, [prompts[row] for row in rows], eos=eos, max_new=max_new, width=beam)
            for row, tokens in zip(rows, best.tolist(), strict=True):
                continuations[row] = tokens[: tokens.index(eos)] if eos in tokens else tokens
            if progress is not None:
                progress(done)
    return continuations


def _generate(
    model: nn.Module, prompts: Sequence[Sequence[int]], *, eos: int, max_new: int, width: int
) -> Tensor:
    """[B, max_new] the best finished continuation of each prompt, filled up with `eos`."""
    tree, logits = DecodingTree.start(
        model, prompts, depth=max_new, positions=width * min(max_new, _STEPS_WITH_ROOM)
    )
    logits = logits[:, None]
    device = logits.device
    result = torch.full((len(prompts), max_new), eos, device=device)
    rows = torch.arange(len(prompts), device=device)  # the prompts that go on
    best_score = torch.full((len(prompts),), NEVER, dtype=torch.float64, device=device)
    best = result.clone()
    score = torch.zeros_like(best_score)[:, None]
    text, position = result[:, None, :0], torch.full_like(rows, -1)[:, None]
    for step in range(max_new):
        # 1. the best 2W continuations of all beams
        score, beam, token = _continuations(score, logits, 2 * width)
        text = torch.cat([_of_beam(text, beam), token[..., None]], 2)
        # 2. of the first W, the best that ends here, if it is better than the best so far
        ends = (token == eos) | (step == max_new - 1)
        finished = torch.where(ends, score, NEVER)[:, :width]
        new_score, choice = finished.max(1)
        better = new_score > best_score
        best_score = torch.where(better, new_score, best_score)
        new = torch.full_like(best, eos)
        new[:, : step + 1] = text[torch.arange(len(rows), device=device), choice]
        best = torch.where(better[:, None], new, best)
        # 3. the best W others go on, if they can still exceed the best finished one
        score, choice = torch.where(ends, NEVER, score).topk(min(width, score.shape[1]))
        score = torch.where(score > best_score[:, None], score, NEVER)
        running = (score > NEVER).any(1)
        result[rows] = best
        if not running.any():
            return result
        # 4. drop finished prompts once they are half of the batch, and read the new tokens
        token, text = token.gather(1, choice), _of_beam(text, choice)
        above = position.gather(1, beam.gather(1, choice))
        if int(running.sum()) * 2 <= len(running):
            stay = torch.nonzero(running)[:, 0]
            rows, best_score, best = rows[stay], best_score[stay], best[stay]
            score, token, text, above = score[stay], token[stay], text[stay], above[stay]
            tree.keep(stay)
        position = (tree.num_positions + torch.arange(token.shape[1], device=device)).expand_as(token)
        logits = tree.extend(token, above, torch.full_like(token, step + 1))
    return result


def _continuations(score: Tensor, logits: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of all beams together, best first: score, beam and token, each [B, M].

    `score` [B, W] is of the beams so far, `logits` [B, W, V] predict their next token. Summed in float64.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    value, token = logits.topk(min(most, logits.shape[-1]))
    log_probs = value.to(dtype) - logits.to(dtype).logsumexp(-1, keepdim=True)
    refuse_nan(log_probs)
    total = (score[..., None] + log_probs).flatten(1)
    best, choice = total.topk(min(most, total.shape[1]))
    return best, choice // value.shape[-1], token.flatten(1).gather(1, choice)


def _of_beam(text: Tensor, beam: Tensor) -> Tensor:
    """[B, M, T] the texts [B, W, T] of the beams [B, M]."""
    return text.gather(1, beam[..., None].expand(-1, -1, text.shape[2]))
