"""Item vectors that need no pretrained encoder, made from titles and categories."""

from __future__ import annotations

from recbench.data import Catalogue
from recbench.llm.encoders import TfidfSvdEncoder, Vectors


def text_of(catalogue: Catalogue) -> list[str]:
    """[I] what the encoder reads of each item."""
    pairs = zip(catalogue.titles, catalogue.categories, strict=True)
    return [f"{title} {categories}".strip() for title, categories in pairs]


def tfidf_svd(catalogue: Catalogue, *, dim: int, seed: int) -> Vectors:
    """[I, dim] unit vectors; an item without text is the zero vector. See TfidfSvdEncoder."""
    texts = text_of(catalogue)
    return TfidfSvdEncoder.fit(texts, dim=dim, seed=seed).encode(texts)
