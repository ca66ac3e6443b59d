"""Item vectors: of their text (TF-IDF and SVD, or a local encoder), or of who chose them (SVD, or SASRec).

I items, U users, D width.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest
from recbench.data import Catalogue, Ragged, TrainingData
from recbench.errors import DataError, MissingError, UsageError

Vectors = NDArray[np.float32]
ENCODER_BATCH = 64
ENCODER_TOKENS = 512
"""An item's text is cut to this many tokens, or to what the encoder can read if that is less."""


def text_of(catalogue: Catalogue) -> list[str]:
    """[I] what the encoder reads of each item."""
    pairs = zip(catalogue.titles, catalogue.categories, strict=True)
    return [f"{title} {categories}".strip() for title, categories in pairs]


def has_text(catalogue: Catalogue) -> bool:
    """Whether any title or category has a word: letters or digits, not marks alone."""
    return any(re.search(r"\w", text) for text in (*catalogue.titles, *catalogue.categories))


def tfidf_svd(catalogue: Catalogue, *, dim: int, seed: int) -> Vectors:
    """[I, dim] unit vectors; an item without text is the zero vector. See TfidfSvdEncoder."""
    from recbench.llm.items.encoders import TfidfSvdEncoder  # torch comes with it

    texts = _texts(catalogue)
    return TfidfSvdEncoder.fit(texts, dim=dim, seed=seed).encode(texts)


def interaction_svd(sequences: Ragged, *, num_items: int, dim: int, seed: int) -> Vectors:
    """[I, dim] unit vectors from the matrix of training interactions; an item that nobody chose is zero.

    Each entry is divided by the square roots of its user's and its item's number of interactions, else the
    first components would only say how popular an item is.
    """
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    user = np.repeat(np.arange(len(sequences)), sequences.lengths)
    counts = np.bincount(sequences.values, minlength=num_items)
    weights = 1 / np.sqrt(sequences.lengths[user] * counts[sequences.values])
    matrix = csr_matrix((weights, (sequences.values, user)), shape=(num_items, len(sequences)))
    width = min(dim, min(matrix.shape) - 1)
    vectors = TruncatedSVD(width, random_state=seed).fit_transform(matrix) if width > 0 else matrix.toarray()
    dense: Vectors = normalize(vectors).astype(np.float32)
    return dense


def sasrec_vectors(data: TrainingData, *, seed: int, threads: int = 0, device: str = "cpu") -> Vectors:
    """[I, 64] the item embeddings of a SASRec trained on this split with its default parameters."""
    from recbench.base.progress import Silent
    from recbench.sequential.params import SASRecParams
    from recbench.sequential.sasrec import train_sasrec

    model = train_sasrec(data, SASRecParams(), seed=seed, report=Silent(), threads=threads, device=device)
    vectors: Vectors = model.item.weight.detach().cpu().numpy()
    return vectors


def encoded(catalogue: Catalogue, folder: str, *, device: str = "cpu") -> Vectors:
    """[I, D] the mean over its tokens of the last states of a local encoder; a text-less item is zero.

    `folder` is a Hugging Face model (an encoder, or a decoder read from left to right) or a
    sentence-transformers model whose pooling is the mean. MissingError where it is neither.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = encoder_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True, padding_side="right")
        model = AutoModel.from_pretrained(place, local_files_only=True, dtype=torch.float32).to(device).eval()
    except Exception as error:  # every way in which the files can be wrong means the same to the user
        reason = str(error).splitlines()[0] if str(error) else ""
        raise MissingError(
            f"the encoder in {place} cannot be loaded", why=f"{type(error).__name__}: {reason}"
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    limit = min(ENCODER_TOKENS, getattr(model.config, "max_position_embeddings", ENCODER_TOKENS))
    texts = _texts(catalogue)
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    rows = np.array([row for row, text in enumerate(texts) if text])
    for start in range(0, len(rows), ENCODER_BATCH):
        chosen = rows[start : start + ENCODER_BATCH]
        batch = tokenizer(
            [texts[row] for row in chosen],
            padding=True,
            truncation=True,
            max_length=limit,
            return_tensors="pt",
            return_token_type_ids=False,
        ).to(device)
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            vectors[chosen] = ((states * mask).sum(1) / mask.sum(1)).cpu().numpy()
    return vectors


def encoder_folder(folder: str) -> Path:
    """Where the transformer of an encoder is: the folder, or a part of a sentence-transformers one."""
    place = Path(folder).expanduser()
    if not folder or not place.is_dir():
        raise MissingError(
            f"there is no encoder folder '{folder}'",
            why="vectors of an encoder are made by a model on this machine",
            fix="--set identifiers.encoder=FOLDER, a Hugging Face or sentence-transformers model",
        )
    if (place / "modules.json").is_file():
        modules = json.loads((place / "modules.json").read_text(encoding="utf-8"))
        pooling = [place / part["path"] for part in modules if part["type"].endswith("Pooling")]
        for part in pooling:
            how = json.loads((part / "config.json").read_text(encoding="utf-8"))
            if not how.get("pooling_mode_mean_tokens", how.get("pooling_mode") == "mean"):
                raise UsageError(f"the encoder in {place} does not pool by the mean", why=f"{part}: {how}")
        place = place / modules[0]["path"]
    if not (place / "config.json").is_file():
        raise MissingError(f"the folder {place} is no encoder", why="there is no config.json in it")
    return place


def encoder_digest(folder: str) -> str:
    """Over the bytes of all its files, so that another model under the same name is another stage."""
    place = encoder_folder(folder)
    files = sorted(path for path in place.iterdir() if path.is_file())
    return digest.of_json({path.name: digest.of_file(path) for path in files})


def _texts(catalogue: Catalogue) -> list[str]:
    if not has_text(catalogue):
        raise DataError(
            "no item of this dataset has a word in its title or categories",
            why="these vectors are made of the items' text, and there is none",
            fix="--set identifiers.embedding=collaborative",
        )
    return text_of(catalogue)
