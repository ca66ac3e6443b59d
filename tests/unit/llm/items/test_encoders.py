"""Text encoders: TF-IDF with SVD, and hidden states of a language model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from recbench.data import Catalogue
from recbench.errors import DataError
from recbench.llm.items.embeddings import text_of, tfidf_svd
from recbench.llm.items.encoders import HiddenStateEncoder, TextEncoder, TfidfSvdEncoder
from recbench.llm.model.backbone import new_tokenizer

TITLES = [
    "Red lamp",
    "Blue lamp",
    "Green chair",
    "A chair",
    "Old table",
    "Red lamp",
    "",
    "Table, old and red!",
]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return new_tokenizer(TITLES)


def model_of(tokenizer: Any, family: str = "llama") -> Any:
    torch.manual_seed(0)
    model: Any
    if family == "llama":
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SIZES))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), **SIZES))
    return model.eval()


def hidden_state(tokenizer: Any, model: Any, text: str) -> Any:
    """What transformers itself gives for one text alone."""
    tokens = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        return model(torch.tensor([tokens]), output_hidden_states=True).hidden_states[-1][0, -1].numpy()


def test_tfidf_and_svd_of_the_catalogue_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    catalogue = Catalogue(
        item_ids=tuple(f"i{i}" for i in range(len(TITLES))),
        titles=tuple(TITLES),
        categories=("light", "light", "seat", "seat", "", "light", "", ""),
        popularity=np.zeros(len(TITLES), dtype=np.int64),
    )
    counts = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+").fit_transform(
        text_of(catalogue)
    )
    expected = normalize(TruncatedSVD(4, random_state=3).fit_transform(counts)).astype(np.float32)
    # to the last bit, for identifiers are clustered from these
    assert tfidf_svd(catalogue, dim=4, seed=3).tobytes() == expected.tobytes()


def test_a_text_has_one_tfidf_vector_alone_and_among_others() -> None:
    encoder: TextEncoder = TfidfSvdEncoder.fit(TITLES, dim=5, seed=0)
    vectors = encoder.encode(TITLES)
    assert vectors.dtype == np.float32
    for row, title in enumerate(TITLES):
        assert encoder.encode([title]).tobytes() == vectors[row].tobytes()
    unseen = encoder.encode(["lamp of red", "zebra", ""])
    assert unseen[0] @ vectors[0] > unseen[0] @ vectors[4]
    assert not unseen[1:].any()  # no known word


def test_the_encoder_is_known_by_its_texts_width_and_seed() -> None:
    digests = {
        TfidfSvdEncoder.fit(texts, dim=dim, seed=seed).digest
        for texts, dim, seed in ((TITLES, 3, 0), (TITLES[:5], 3, 0), (TITLES, 4, 0), (TITLES, 3, 1))
    }
    assert len(digests) == 4
    assert TfidfSvdEncoder.fit(TITLES, dim=3, seed=0).digest in digests


@pytest.mark.parametrize("texts", [["", ""], ["?!", "..."]])
def test_texts_without_a_word_are_refused(texts: list[str]) -> None:
    with pytest.raises(DataError, match="no item"):
        TfidfSvdEncoder.fit(texts, dim=3, seed=0)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_the_hidden_state_is_that_of_the_last_token_of_the_text_alone(family: str, tokenizer: Any) -> None:
    model = model_of(tokenizer, family)
    encoder: TextEncoder = HiddenStateEncoder(model, tokenizer, digest="d", batch=3)
    vectors = encoder.encode(TITLES)
    assert vectors.dtype == np.float32
    for title, vector in zip(TITLES, vectors, strict=True):
        np.testing.assert_allclose(vector, hidden_state(tokenizer, model, title), atol=1e-5)


def test_equal_texts_have_bitwise_equal_hidden_states_in_any_batch(tokenizer: Any) -> None:
    texts = [*TITLES, "Red lamp", "x" * 90, "Red lamp"]
    vectors = HiddenStateEncoder(model_of(tokenizer), tokenizer, digest="d", batch=2).encode(texts)
    copies = [vectors[row].tobytes() for row, text in enumerate(texts) if text == "Red lamp"]
    assert len(copies) == 4
    assert len(set(copies)) == 1


def test_an_adapter_is_off_while_texts_are_encoded_and_on_afterwards(tokenizer: Any) -> None:
    from peft import LoraConfig, get_peft_model

    base = model_of(tokenizer)
    expected = HiddenStateEncoder(base, tokenizer, digest="d").encode(TITLES)
    tuned = get_peft_model(base, LoraConfig(r=4, init_lora_weights=False, lora_dropout=0.5)).train()
    np.testing.assert_allclose(
        HiddenStateEncoder(tuned, tokenizer, digest="d").encode(TITLES), expected, atol=1e-6
    )
    assert tuned.training
    tuned.eval()
    assert np.abs(hidden_state(tokenizer, tuned, TITLES[0]) - expected[0]).max() > 1e-3


def test_a_text_without_tokens_is_read_as_the_end_of_a_sequence_where_there_is_no_start(
    tokenizer: Any,
) -> None:
    import copy

    startless = copy.deepcopy(tokenizer)
    startless.bos_token = None
    model = model_of(tokenizer)
    vector = HiddenStateEncoder(model, startless, digest="d").encode([""])[0]
    with torch.no_grad():
        states = model(torch.tensor([[tokenizer.eos_token_id]]), output_hidden_states=True).hidden_states
    np.testing.assert_allclose(vector, states[-1][0, -1].numpy(), atol=1e-6)
