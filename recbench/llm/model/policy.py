"""A policy: a language model with the prompts, identifiers and trie that connect it to items."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbench.data import Catalogue, TrainingData
from recbench.errors import DigestError
from recbench.llm.items.chat import chat_turn
from recbench.llm.items.edges import EdgeScores
from recbench.llm.items.identifiers import Identifiers, shared_identifiers
from recbench.llm.items.prompts import Prompts, code_ids, make_prompts
from recbench.llm.items.templates import TEMPLATES
from recbench.llm.items.titles import title_ids, titles
from recbench.llm.items.trie import Trie
from recbench.llm.items.wordings import plain_text
from recbench.llm.model import backbone as backbones
from recbench.llm.model.attention import check_tree_attention
from recbench.llm.model.hybrid import CollaborativeInput, load_input, new_input
from recbench.llm.model.pretrained import dense_folder, pretrained_model, pretrained_tokenizer
from recbench.method import LLMRun
from recbench.ranking import tie_order
from recbench.settings import ONE_TASK, IdentifierSettings, LLMSettings, TitleSettings, backbone_class

CODES = "identifiers.npz"
SPELLING = "identifiers.digest"
PROJECTION = "projection.safetensors"
NEUTRAL = "<cf>"
"""The token that replaces collaborative vectors while prompts are text only."""


@dataclass(slots=True, eq=False)
class Policy:
    """A language model that reads histories and writes identifiers of items."""

    model: Any
    tokenizer: Any
    prompts: Prompts
    trie: Trie
    tie: Any  # [I] the order of items within ties
    codes: Identifiers | None = None
    """The semantic ids; None where titles are the identifiers."""
    inputs: CollaborativeInput | None = None
    """The collaborative vectors among the words of a prompt, in the paradigm `hybrid`."""
    edges: EdgeScores = field(default_factory=EdgeScores)
    """How a ranking scores the trie's edges beside the logits, where the fit says so."""
    naming: dict[str, Any] | None = None
    """How the identifiers were made, for the bundle."""
    validate: Callable[[], tuple[float, int]] | None = None
    """The validation NDCG@10 of the weights as they are, and the tokens generated for it; for `train`, where
    a stage keeps its best weights."""
    selected: dict[str, Any] = field(default_factory=dict)
    """The evaluations of each finished stage, by its name."""
    tasks: dict[str, dict[str, float]] = field(default_factory=dict)
    """Examples, tokens and share of tokens of each task, where it was trained on several."""

    def save(self, folder: Path) -> None:
        """Save weights (the adapter's alone under LoRA), tokenizer, and the files that the paradigm needs."""
        # peft would add the whole embedding because it was resized; new rows are saved as trained rows anyway
        options = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(folder, **options)
        self.tokenizer.save_pretrained(folder)
        (folder / SPELLING).write_text(self.prompts.digest)
        self.edges.save(folder)
        if self.codes is not None:
            self.codes.save(folder / CODES)
        if self.inputs is not None:
            self.inputs.save(folder / PROJECTION)

    @property
    def num_parameters(self) -> dict[str, int]:
        parts = [self.model, *([self.inputs] if self.inputs is not None else [])]
        sizes = [(weight.numel(), weight.requires_grad) for part in parts for weight in part.parameters()]
        return {"all": sum(n for n, _ in sizes), "trainable": sum(n for n, on in sizes if on)}


def start(data: TrainingData, run: LLMRun) -> Policy:
    """The policy that a method with `starts_from = base` trains.

    The backbone before any tuning, with the paradigm's tokens and inputs, and LoRA.
    """
    llm = run.llm
    codes = None
    if isinstance(llm.identifiers, IdentifierSettings):
        codes = shared_identifiers(data, llm.identifiers, stages=run.stages, device=run.device)
    added = _added_tokens(llm, codes)
    if backbone_class(llm.backbone) == "scratch":
        one_task = llm.train.tasks == ONE_TASK
        tokenizer = backbones.new_tokenizer(
            _texts(data.catalogue, one_task=one_task),
            merges=backbones.MERGES[llm.paradigm if one_task else "title"],
        )
        backbones.add_tokens(tokenizer, added)
        model = backbones.new_model(llm.backbone, tokenizer, seed=run.child_seed("init")).to(run.device)
    else:
        weights = dense_folder(backbones.locate(llm.backbone), run.stages)
        tokenizer = pretrained_tokenizer(weights)
        new_tokens = backbones.add_tokens(tokenizer, added)
        model = _pretrained(weights, llm, run)
        backbones.make_room(model, tokenizer, new_tokens, seed=run.child_seed("init"))
        if llm.train.lora_rank:
            model = backbones.add_lora(model, llm.train, new_tokens, seed=run.child_seed("lora"))
    check_tree_attention(model)  # now, not after a training whose policy cannot be ranked
    inputs = None
    if llm.paradigm == "hybrid":
        inputs = new_input(
            _item_vectors(data, run),
            width=model.get_input_embeddings().weight.shape[1],
            first=model.get_input_embeddings().weight.shape[0],
            neutral=tokenizer.convert_tokens_to_ids(NEUTRAL),
            seed=run.child_seed("projection"),
        )
    return _policy(model, tokenizer, codes, inputs, data, run)


def restore(data: TrainingData, run: LLMRun, *, workdir: Path | None = None, train: bool = False) -> Policy:
    """The fitted policy saved in `workdir` (by default the run's own).

    With `train` its weights (the adapter's alone under LoRA) can be trained further. Raises DigestError if
    its tokenizer does not spell the identifiers as in the fit.
    """
    llm = run.llm
    folder = (run.workdir if workdir is None else workdir) / "model"
    tokenizer = pretrained_tokenizer(folder)
    codes = Identifiers.load(folder / CODES) if llm.paradigm == "semantic-id" else None
    added = _added_tokens(llm, codes)
    missing = [token for token in added if token not in tokenizer.get_vocab()]
    if missing:
        raise DigestError(
            f"the tokenizer in {folder} does not know {missing[0]!r}",
            why=f"the fit was made with another tokenizer; missing tokens: {len(missing)}",
            fix="recbench run ... --force",
        )
    if (folder / "adapter_config.json").exists():
        from peft import PeftModel

        base = _pretrained(dense_folder(backbones.locate(llm.backbone), run.stages), llm, run)
        new_tokens = tokenizer.convert_tokens_to_ids(added)
        backbones.make_room(base, tokenizer, new_tokens, seed=run.child_seed("init"))
        model = PeftModel.from_pretrained(base, str(folder), is_trainable=train)
    else:
        model = _pretrained(folder, llm, run)
    model.eval()
    inputs = None
    if llm.paradigm == "hybrid":
        inputs = load_input(
            folder / PROJECTION,
            first=model.get_input_embeddings().weight.shape[0],
            neutral=tokenizer.convert_tokens_to_ids(NEUTRAL),
        )
    policy = _policy(model, tokenizer, codes, inputs, data, run)
    policy.edges = EdgeScores.load(folder)
    if policy.prompts.digest != (folder / SPELLING).read_text():
        raise DigestError(
            f"the tokenizer in {folder} spells the identifiers with other tokens than the fit learned",
            why="the fit was made with another tokenizer or another catalogue",
            fix="recbench run ... --force",
        )
    return policy


def _pretrained(folder: Path, llm: LLMSettings, run: LLMRun) -> Any:
    # without LoRA all weights train, and small updates to weights held in bf16 would round to nothing
    precision = llm.train.precision if llm.train.lora_rank else "fp32"
    return pretrained_model(folder, precision=precision, device=run.device)


def _added_tokens(llm: LLMSettings, codes: Identifiers | None) -> list[str]:
    """The tokens that the paradigm adds to the backbone's vocabulary."""
    return [
        *(codes.vocabulary() if codes is not None else []),
        *([NEUTRAL] if llm.paradigm == "hybrid" else []),
    ]


def _item_vectors(data: TrainingData, run: LLMRun) -> Any:
    from recbench.sequential.params import SASRecParams
    from recbench.sequential.sasrec import cf_model

    return cf_model(data, run, SASRecParams()).item.weight.detach().clone()


def _policy(
    model: Any,
    tokenizer: Any,
    codes: Identifiers | None,
    inputs: CollaborativeInput | None,
    data: TrainingData,
    run: LLMRun,
) -> Policy:
    llm = run.llm
    template = TEMPLATES[backbone_class(llm.backbone), llm.paradigm]
    if codes is not None:
        ids, naming = code_ids(tokenizer, codes), {**codes.facts, "num_moved": codes.num_moved}
    else:
        assert isinstance(llm.identifiers, TitleSettings)
        named = title_ids(tokenizer, template, data.catalogue, max_tokens=llm.identifiers.max_tokens)
        ids, naming = named.ids, {"num_untitled": named.num_untitled, "num_cut": named.num_cut}
    if inputs is not None:
        inputs.to(run.device).attach(model)
    prompts = make_prompts(
        tokenizer,
        template,
        ids,
        max_length=getattr(model.config, "max_position_embeddings", None) or 2048,
        first_item_id=None if inputs is None else inputs.first,
        turn=chat_turn(tokenizer, llm.backbone) if llm.prompt.chat_template else None,
    )
    trie = Trie.build([prompts.response(item) for item in range(data.num_items)])
    tie = tie_order(data.catalogue.popularity)
    return Policy(model, tokenizer, prompts, trie, tie, codes, inputs, naming=naming)


def _texts(catalogue: Catalogue, *, one_task: bool) -> Sequence[str]:
    """The texts that a new tokenizer is trained on: titles and templates, and what other tasks read."""
    templates = [template.head + template.join + template.tail for template in TEMPLATES.values()]
    more = [] if one_task else [*catalogue.categories, *plain_text("scratch")]
    return [*titles(catalogue), *templates, *more]


def write_facts(policy: Policy, folder: Path, **more: Any) -> None:
    """Write the facts of a policy that a bundle records beside its settings."""
    facts = {
        "identifiers": policy.prompts.digest if policy.codes is None else policy.codes.digest,
        "num_collided": policy.prompts.num_collided,
        **(policy.naming or {}),
        "vocabulary": len(policy.tokenizer),
        "num_parameters": policy.num_parameters,
        **more,
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
