"""Encode texts, titles of the catalogue or written by a model, as vectors. Equal texts get equal vectors.

N texts, D width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from recbench.base import digest
from recbench.errors import DataError
from recbench.llm.causal_lm import base_causal_lm, scoring

Vectors = NDArray[np.float32]


class TextEncoder(Protocol):
    @property
    def digest(self) -> str:
        """Digest of everything but the text that decides its vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[N, D]"""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TfidfSvdEncoder:
    """TF-IDF of words and word pairs with sublinear counts, then truncated SVD and unit length."""

    vectorizer: Any
    svd: Any  # None if there is a single text or a single word
    digest: str

    @classmethod
    def fit(cls, texts: Sequence[str], *, dim: int, seed: int) -> Self:
        """Learn words and components from `texts`; fewer than `dim` components if the texts allow no more.

        scikit-learn fixes the sign of each component, so that equal seeds give equal results. Raises
        DataError if no text has a word.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not any(re.search(r"\w", text) for text in texts):
            raise DataError(
                "no item of this dataset has a word in its title or categories",
                why="text vectors are made from words, and there are none",
            )
        vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+")
        counts = vectorizer.fit_transform(texts)
        width = min(dim, min(counts.shape) - 1)
        svd = TruncatedSVD(width, random_state=seed).fit(counts) if width > 0 else None
        identity = digest.of_json({"encoder": "tfidf-svd", "dim": dim, "seed": seed, "texts": list(texts)})
        return cls(vectorizer, svd, identity)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[N, D] unit vectors; a text without a known word is the zero vector."""
        from sklearn.preprocessing import normalize

        counts = self.vectorizer.transform(texts)
        dense: Vectors = normalize(
            counts.toarray() if self.svd is None else self.svd.transform(counts)
        ).astype(np.float32)
        return dense


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStateEncoder:
    """The language model's final (normalised) hidden state at a text's last token, in float32.

    BIGRec (arXiv 2308.08434) grounds by the un-tuned model: a peft adapter is switched off while it encodes.
    The forward pass keeps the model's own precision.
    """

    model: nn.Module
    tokenizer: Any
    digest: str  # of the un-tuned model's weights, their precision, and the tokenizer
    batch: int = 64

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Vectors:
        """[N, D]; an empty text is read as BOS alone, or EOS if the tokenizer has no BOS."""
        distinct, index = _distinct(texts)
        tokens = [self._tokens(text) for text in distinct]
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        parts = []
        with scoring(self.model), _untuned(self.model):
            for start in range(0, len(tokens), self.batch):
                parts.append(
                    self._last_states([tokens[row] for row in by_length[start : start + self.batch]])
                )
        states = np.concatenate(parts)
        vectors = np.empty_like(states)
        vectors[by_length] = states
        return vectors[index]

    def _tokens(self, text: str) -> list[int]:
        start = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        ids = start + self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids or [self.tokenizer.eos_token_id]

    def _last_states(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """[N, D] without a mask: causal attention never reaches padding on the right."""
        device = next(self.model.parameters()).device
        last = torch.tensor([len(row) - 1 for row in rows], device=device)
        width = int(last.max()) + 1
        tokens = torch.tensor([[*row, *[row[-1]] * (width - len(row))] for row in rows], device=device)
        body = base_causal_lm(self.model).base_model
        states = body(input_ids=tokens, use_cache=False).last_hidden_state
        final: Vectors = states[torch.arange(len(rows), device=device), last].float().cpu().numpy()
        return final


def _distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts, and the index among them of each text [N].

    The other texts of a batch move a vector by rounding errors, so that equal texts could come out unequal.
    """
    indices: dict[str, int] = {}
    index = [indices.setdefault(text, len(indices)) for text in texts]
    return list(indices), np.array(index, dtype=np.int64)


def _untuned(model: nn.Module) -> AbstractContextManager[None]:
    switched_off: Callable[[], AbstractContextManager[None]] = getattr(model, "disable_adapter", nullcontext)
    return switched_off()
