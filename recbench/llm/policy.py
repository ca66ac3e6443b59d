"""A policy: a language model with the prompts, identifiers and trie by which it speaks of items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbench.data import Catalogue, TrainingData
from recbench.llm import backbone as backbones
from recbench.llm.attention import check_tree_attention
from recbench.llm.identifiers import Identifiers, shared_identifiers
from recbench.llm.prompts import TEMPLATES, Prompts, make_prompts
from recbench.llm.trie import Trie
from recbench.method import RunContext
from recbench.ranking import tie_order
from recbench.settings import LLMSettings, backbone_class

CODES = "identifiers.npz"


@dataclass(slots=True, eq=False)
class Policy:
    model: Any
    tokenizer: Any
    prompts: Prompts
    trie: Trie
    tie: Any  # [I] the order inside ties
    identifiers: Identifiers

    def save(self, folder: Path) -> None:
        """Weights (the adapter's alone under LoRA), tokenizer and identifiers."""
        # peft would add the whole embedding for having been resized; every new row is saved as trained
        options = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(folder, **options)
        self.tokenizer.save_pretrained(folder)
        self.identifiers.save(folder / CODES)

    @property
    def num_parameters(self) -> dict[str, int]:
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in self.model.parameters()]
        return {"all": sum(n for n, _ in sizes), "trainable": sum(n for n, on in sizes if on)}


def start(data: TrainingData, run: RunContext) -> Policy:
    """The policy from which training starts: the untrained backbone, with code tokens and LoRA."""
    llm = _settings(run)
    identifiers = shared_identifiers(
        data.catalogue, llm.identifiers, catalogue_digest=data.digests["catalogue"], stages=run.stages
    )
    codes = identifiers.vocabulary()
    if backbone_class(llm.backbone) == "tiny":
        tokenizer = backbones.tiny_tokenizer(_texts(data.catalogue))
        backbones.add_codes(tokenizer, codes)
        model = backbones.tiny_model(tokenizer, seed=run.child_seed("init")).to(run.device)
    else:
        found = backbones.locate(llm.backbone, offline=run.offline)
        assert found.folder is not None
        tokenizer = backbones.pretrained_tokenizer(found.folder)
        new_tokens = backbones.add_codes(tokenizer, codes)
        model = _pretrained(found.folder, llm, run)
        backbones.make_room(model, tokenizer, new_tokens, seed=run.child_seed("init"))
        if llm.train.lora_rank:
            model = backbones.add_lora(model, llm.train, new_tokens)
    check_tree_attention(model)  # now, rather than after a training that could not be ranked
    return _policy(model, tokenizer, identifiers, data, llm)


def restore(data: TrainingData, run: RunContext) -> Policy:
    """The fitted policy in `run.workdir/model`, with the identifiers that it was trained on."""
    llm = _settings(run)
    folder = run.workdir / "model"
    tokenizer = backbones.pretrained_tokenizer(folder)
    identifiers = Identifiers.load(folder / CODES)
    if (folder / "adapter_config.json").exists():
        from peft import PeftModel

        found = backbones.locate(llm.backbone, offline=run.offline)
        assert found.folder is not None
        base = _pretrained(found.folder, llm, run)
        codes = tokenizer.convert_tokens_to_ids(identifiers.vocabulary())
        backbones.make_room(base, tokenizer, codes, seed=run.child_seed("init"))
        model = PeftModel.from_pretrained(base, str(folder))
    else:
        model = _pretrained(folder, llm, run)
    model.eval()
    return _policy(model, tokenizer, identifiers, data, llm)


def _settings(run: RunContext) -> LLMSettings:
    assert run.llm is not None, "an LLM method runs with LLM settings"
    return run.llm


def _pretrained(folder: Path, llm: LLMSettings, run: RunContext) -> Any:
    # without LoRA all weights train, and small updates to weights held in bf16 would round to nothing
    precision = llm.train.precision if llm.train.lora_rank else "fp32"
    return backbones.pretrained_model(folder, precision=precision, device=run.device)


def _policy(
    model: Any, tokenizer: Any, identifiers: Identifiers, data: TrainingData, llm: LLMSettings
) -> Policy:
    template = TEMPLATES[backbone_class(llm.backbone)]
    limit = getattr(model.config, "max_position_embeddings", None) or 2048
    prompts = make_prompts(tokenizer, template, identifiers, max_length=limit)
    trie = Trie.build([prompts.response(item) for item in range(data.num_items)])
    return Policy(model, tokenizer, prompts, trie, tie_order(data.catalogue.popularity), identifiers)


def _texts(catalogue: Catalogue) -> Sequence[str]:
    templates = [template.head + template.join + template.tail for template in TEMPLATES.values()]
    return [*catalogue.titles, *templates]


def write_facts(policy: Policy, folder: Path) -> None:
    """What a bundle records of a policy beside its settings."""
    facts = {
        "identifiers": policy.identifiers.digest,
        "num_collided": policy.identifiers.num_collided,
        "num_moved": policy.identifiers.num_moved,
        "vocabulary": len(policy.tokenizer),
        "num_parameters": policy.num_parameters,
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True))


def set_threads(threads: int) -> None:
    """CPU threads of torch in this process; 0 leaves torch's own choice."""
    import torch

    if threads:
        torch.set_num_threads(threads)
