"""The real SmolLM2 out of its package: what random weights cannot show of adapters, tokens and grounding."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.base.weights import gguf
from recbench.errors import MissingError
from recbench.llm.items.chat import chat_turn
from recbench.llm.method import LLMMethod
from recbench.llm.model import policy as policies
from recbench.llm.model.backbone import locate
from recbench.llm.model.policy import Policy
from recbench.llm.model.pretrained import dense_folder, pretrained_model, pretrained_tokenizer
from recbench.ranking import Ranking
from recbench.settings import LLMSettings, Paradigm
from recbench.stages import StageCache
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT
from recbench_methods.zero_shot import ZeroShot

NAME = "smollm2-135m-q4"
DATA = toy_data(num_users=8, num_items=12, longest=8)
AGAIN = """
import sys
from pathlib import Path
import numpy as np
from recbench.testing import toy_run
from tests.e2e.test_smollm2 import DATA, settings
from recbench_methods.sft import SFT
method, folder = SFT(), Path(sys.argv[1])
method.load(DATA, run=toy_run(folder, llm=settings(sys.argv[2])))
ranking = method.rank(DATA.valid.requests, k=5)
np.savez(folder.parent / "again.npz", items=ranking.items, scores=ranking.scores)
"""


def installed() -> bool:
    try:
        distribution(gguf.PACKAGES[NAME].distribution)
        return bool(gguf.find(NAME))
    except (PackageNotFoundError, MissingError):
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed(), reason=f"needs {gguf.PACKAGES[NAME].fix}"),
]


def settings(paradigm: Paradigm, **train: Any) -> LLMSettings:
    given: dict[str, Any] = {"lora_rank": 4, "epochs": 2.0, "batch": 2, "lr": 1e-3, "block_items": 9}
    return tiny_settings(backbone=NAME, paradigm=paradigm, **{**given, **train})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose stages have the unpacked weights."""
    home = tmp_path_factory.mktemp("smollm2")
    dense_folder(locate(NAME), StageCache(home / "stages"))
    return home


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    return dense_folder(locate(NAME), StageCache(home / "stages"))


def fitted(method: LLMMethod, folder: Path, llm: LLMSettings) -> Ranking:
    run = toy_run(folder, llm=llm)
    method.fit(DATA, run=run)
    fresh = type(method)()
    fresh.load(DATA, run=run)
    return fresh.rank(DATA.valid.requests, k=5)


def test_the_packaged_weights_are_the_model_with_tied_embeddings(folder: Path) -> None:
    model = pretrained_model(folder, precision="fp32", device="cpu")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    assert len(model.model.layers) == 30
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    tokenizer = pretrained_tokenizer(folder)
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        likely = model(ids).logits[0, -1].topk(5).indices.tolist()
    assert " Paris" in [tokenizer.decode(token) for token in likely]


def test_the_real_tokenizer_keeps_any_title_and_has_its_own_chat_template(folder: Path) -> None:
    tokenizer = pretrained_tokenizer(folder)
    for title in ("Toy Story (1995)", "Amélie 🎻", "  two  spaces", 'a "b", c'):
        assert tokenizer.decode(tokenizer(title, add_special_tokens=False)["input_ids"]) == title
    before, after = chat_turn(tokenizer, NAME)
    assert before.endswith("<|im_start|>user\n")
    assert after == "<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.eos_token == "<|im_end|>"


@pytest.mark.parametrize("paradigm", ["semantic-id", "title"])
def test_a_fit_saves_its_adapter_alone_and_a_fresh_process_ranks_the_same(
    home: Path, paradigm: Paradigm
) -> None:
    run = toy_run(home / f"fit-{paradigm}", llm=settings(paradigm))
    ranking = fitted(SFT(), run.workdir, run.llm)
    saved = run.workdir / "model"
    assert [path.name for path in saved.glob("*.safetensors")] == ["adapter_model.safetensors"]
    assert (saved / "adapter_model.safetensors").stat().st_size < 20_000_000  # the weights have 538 MB
    facts = json.loads((run.workdir / "facts.json").read_text())
    assert facts["moved_nats"] > 0.1
    subprocess.run([sys.executable, "-c", AGAIN, str(run.workdir), paradigm], check=True, cwd=Path.cwd())
    with np.load(home / "again.npz") as again:
        assert np.array_equal(ranking.items, again["items"])
        assert np.array_equal(np.asarray(ranking.scores), again["scores"], equal_nan=True)


def test_codes_are_added_tokens_whose_rows_alone_are_trained_in_tied_embeddings(home: Path) -> None:
    run = toy_run(home / "codes", llm=settings("semantic-id"))
    start = policies.start(DATA, run)
    first = min(start.prompts.identifiers[item][0] for item in range(DATA.num_items))
    before = rows(start)
    assert first == 49_152  # the vocabulary as it was
    SFT().fit(DATA, run=run)
    after = rows(policies.restore(DATA, run))
    assert torch.equal(before[:first], after[:first])
    changed = (before[first:] != after[first:]).any(1)
    used = sorted({token - first for ids in start.prompts.identifiers for token in ids})
    assert changed[used].all()


def rows(policy: Policy) -> torch.Tensor:
    """[V, D] the embeddings as the model reads tokens, which are those by which it writes them."""
    tokens = torch.arange(len(policy.tokenizer))
    read: torch.Tensor = policy.model.get_input_embeddings()(tokens).detach()
    head = policy.model.get_output_embeddings()
    written = head(torch.eye(read.shape[1])).detach().T[: len(tokens)]
    assert torch.allclose(read, written, atol=1e-5)
    return read


def test_preference_training_starts_from_the_adapter_of_its_parent(home: Path) -> None:
    from recbench.method import ParentFit

    llm = settings("title")
    parent = toy_run(home / "parent", llm=llm)
    SFT().fit(DATA, run=parent)
    born = ParentFit(id="parent", workdir=parent.workdir, trained_tokens=0, llm=llm)
    run = replace(toy_run(home / "child", llm=settings("title", lr=1e-3, epochs=1.0)), parent=born)
    SDPO(num_negatives=2).fit(DATA, run=run)
    curve = json.loads((run.workdir / "facts.json").read_text())
    assert curve["moved_nats"] > 1e-2
    policies.restore(DATA, run)


def test_the_untouched_model_grounds_its_own_words_and_training_teaches_it_the_titles(home: Path) -> None:
    untouched = fitted(ZeroShot(), home / "zero", settings("title"))
    trained = fitted(SFT(), home / "trained", settings("title", epochs=12.0))
    untouched.check(DATA.valid.requests, num_items=DATA.num_items, depth=5)
    assert trained.stats["exact_title_share"] > untouched.stats["exact_title_share"]
