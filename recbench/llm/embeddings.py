"""Item vectors that need no pretrained encoder: TF-IDF of title and categories, then truncated SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Catalogue
from recbench.errors import DataError


def text_of(catalogue: Catalogue) -> list[str]:
    """[I] what the encoder reads of each item."""
    pairs = zip(catalogue.titles, catalogue.categories, strict=True)
    return [f"{title} {categories}".strip() for title, categories in pairs]


def tfidf_svd(catalogue: Catalogue, *, dim: int, seed: int) -> NDArray[np.float32]:
    """[I, dim] unit vectors; an item without text is the zero vector.

    Words and pairs of words, sublinear counts. The sign of each component is fixed by scikit-learn, so
    that one seed gives one result. Raises DataError where no item has any text.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    texts = text_of(catalogue)
    if not any(texts):
        raise DataError(
            "no item of this data set has a title or categories",
            why="the semantic ids are made from text vectors, and there is no text",
        )
    counts = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+").fit_transform(texts)
    width = min(dim, min(counts.shape) - 1)
    vectors: Any = (
        TruncatedSVD(width, random_state=seed).fit_transform(counts) if width > 0 else counts.toarray()
    )
    dense: NDArray[np.float32] = normalize(vectors).astype(np.float32)
    return dense
