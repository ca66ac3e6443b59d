"""Rank by grounding, as BIGRec does: write a title freely, then order all items by distance to it.

BIGRec: arXiv 2308.08434. Nothing is searched, so there is nothing to certify: the order is that of all items.

R requests, Q distinct texts, I items, D width of a vector, G values of gamma, K depth of the ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from recbench.data import Examples, Floats, Ints, Requests
from recbench.errors import CheckError
from recbench.llm.decoding.generate import generate
from recbench.llm.items.encoders import TextEncoder, Vectors
from recbench.ranking import may_rank, rank_by_scores, tie_order

GAMMAS = (*(step / 100 for step in range(101)), *(float(gamma) for gamma in range(2, 100)))
"""The values that BIGRec's scripts try, with 0 (no injection)."""
_CHUNK = 1 << 21  # distances in memory at a time


class Grounded(NamedTuple):
    """A ranking of every request, in the caller's order; as `Searched`, but without certificates."""

    items: Ints  # [R, K] best first, -1 after the last
    scores: Floats  # [R, K] negative distances, NaN where items is -1
    texts: list[str]  # [R] the written titles
    stats: dict[str, Ints]  # [R] each: "generated_tokens", "exact_titles" (1 if the catalogue has the text)
    certified: None = None


class Gamma(NamedTuple):
    """The exponent chosen on validation requests."""

    gamma: float
    ndcg: Floats  # [G] NDCG@10 of each value of the grid


def search_ground(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    requests: Requests,
    encoder: TextEncoder,
    titles: Sequence[str],
    vectors: Vectors,
    popularity: Ints,
    k: int,
    max_new: int,
    beam: int = 4,
    batch: int = 64,
    injected: NDArray[Any] | None = None,
    gamma: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> Grounded:
    """The k items nearest to the title that the model writes after each prompt, nearest first.

    `vectors` [I, D] are the encoded `titles` [I]. `injected` [R, I] are finite scores of another model (or
    [1, I] of the items, such as their popularity) with the exponent `gamma`. Equal distances are in tie
    order. `progress` is called with the number of texts written.
    """
    texts, lengths = write_titles(
        model, tokenizer, prompts, max_new=max_new, beam=beam, batch=batch, progress=progress
    )
    known = {title.strip() for title in titles}
    items, scores = rank_by_vectors(
        encoder.encode(texts),
        vectors,
        requests=requests,
        popularity=popularity,
        k=k,
        injected=injected,
        gamma=gamma,
    )
    exact = np.array([text in known for text in texts], dtype=np.int64)
    return Grounded(items, scores, texts, {"generated_tokens": lengths, "exact_titles": exact})


def write_titles(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new: int,
    beam: int = 4,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[str], Ints]:
    """[R] the title that the model writes after each prompt, and [R] the number of its tokens.

    The end of sequence counts, unless the text was cut at `max_new` tokens before it.
    """
    eos = tokenizer.eos_token_id
    written = generate(model, prompts, eos=eos, max_new=max_new, beam=beam, batch=batch, progress=progress)
    lengths = np.array([min(len(tokens) + 1, max_new) for tokens in written], dtype=np.int64)
    return [title_of(tokenizer, tokens) for tokens in written], lengths


def title_of(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The title in a written response: without special tokens and without the quotes around it."""
    text: str = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.strip().removeprefix('"').removesuffix('"').strip()


def rank_by_vectors(
    queries: Vectors,
    vectors: Vectors,
    *,
    requests: Requests,
    popularity: Ints,
    k: int,
    injected: NDArray[Any] | None = None,
    gamma: float = 0.0,
) -> tuple[Ints, Floats]:
    """The k items nearest to `queries` [R, D] and their negative distances, each [R, K].

    With `gamma` the distances are those of `inject`, in [0, 1]. Equal distances are in tie order.
    """
    items = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), np.nan)
    for rows, distance in _distances(queries, vectors):
        if gamma and injected is not None:
            distance = inject(distance, _rows(injected, rows), gamma)
        items[rows], scores[rows] = rank_by_scores(-distance, popularity, k=k, requests=requests.take(rows))
    return items, scores


def choose_gamma(
    queries: Vectors,
    vectors: Vectors,
    injected: NDArray[Any],
    valid: Examples,
    *,
    popularity: Ints,
    grid: Sequence[float] = GAMMAS,
) -> Gamma:
    """The exponent with the best NDCG@10 over all requests of `valid`; of equally good, the first in `grid`.

    `queries` [R, D] and `injected` [R, I] (or [1, I]) belong to the requests of `valid`. One gamma for all
    metrics and cutoffs: a choice for each would fit each to the noise of its own numbers.
    """
    ranks = np.zeros((len(grid), len(queries)), dtype=np.int64)
    tie_rank = np.empty(len(vectors), dtype=np.int64)
    tie_rank[tie_order(popularity)] = np.arange(len(vectors))
    for rows, distance in _distances(queries, vectors):
        requests, target = valid.requests.take(rows), valid.target[rows][:, None]
        with np.errstate(divide="ignore"):  # the nearest item is at 0, and stays first
            far = np.log(min_max(distance))
        near = np.log1p(min_max(_rows(injected, rows)))
        far[~may_rank(len(rows), len(vectors), requests.allowed, requests.excluded)] = np.inf
        earlier = tie_rank < tie_rank[target]
        for row, gamma in enumerate(grid):
            order = far - gamma * near  # the logarithm of `inject`: the same order without its powers
            own = np.take_along_axis(order, target, axis=1)
            before = (order < own) | ((order == own) & earlier)
            ranks[row, rows] = np.where(own[:, 0] < np.inf, 1 + before.sum(axis=1), 0)
    hit = (ranks >= 1) & (ranks <= 10)
    ndcg = np.where(hit, 1 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0).mean(axis=1)
    return Gamma(float(grid[int(ndcg.argmax())]), ndcg)


def l2_distances(queries: NDArray[Any], vectors: NDArray[Any]) -> Floats:
    """[Q, I] Euclidean distances between rows, by one matrix product in float64.

    In float32 a hidden state of norm 192 came out up to 0.15 away from itself.
    """
    left, right = queries.astype(np.float64), vectors.astype(np.float64, copy=False)
    norms = [np.einsum("nd,nd->n", side, side) for side in (left, right)]
    squared = norms[0][:, None] + norms[1] - 2 * (left @ right.T)
    distances: Floats = np.sqrt(np.maximum(squared, 0.0))
    return distances


def min_max(values: NDArray[Any]) -> Floats:
    """Map each row of `values` [R, I] onto [0, 1]; 0 if all are equal. CheckError unless finite."""
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise CheckError(
            "scores to inject are not finite", why="a row with infinities or NaN has no smallest and largest"
        )
    width = np.asarray(high, dtype=np.float64) - low
    mapped: Floats = (values - low) / np.where(width > 0, width, 1.0)
    return mapped


def inject(distance: NDArray[Any], scores: NDArray[Any], gamma: float) -> Floats:
    """[R, I] distances shrunk where `scores` [R, I] are high: min-max(distance) (1 + min-max(scores))^-gamma.

    The nearest item is at 0 and stays first for every gamma.
    """
    return min_max(distance) * np.exp(-gamma * np.log1p(min_max(scores)))


def _distances(queries: Vectors, vectors: Vectors) -> Iterator[tuple[Ints, Floats]]:
    """Yield rows of `queries` and their distances in chunks, so that memory does not grow with the requests.

    Equal vectors share one column: rounding depends on the position in a matrix, and would part duplicates.
    """
    if not (np.isfinite(queries).all() and np.isfinite(vectors).all()):
        raise CheckError("text vectors are not numbers", why="the encoder's model has NaN or infinite values")
    distinct, number = np.unique(vectors.astype(np.float64), axis=0, return_inverse=True)
    size = max(1, _CHUNK // len(vectors))
    for start in range(0, len(queries), size):
        rows = np.arange(start, min(start + size, len(queries)))
        yield rows, l2_distances(queries[rows], distinct)[:, number]


def _rows(injected: NDArray[Any], rows: Ints) -> NDArray[Any]:
    """The scores of these requests, or the row that all requests share."""
    return injected if len(injected) == 1 else injected[rows]
