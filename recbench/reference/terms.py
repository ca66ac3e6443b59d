"""Backbones, paradigms, protocols, rankers and metrics: what a run is made of beside method and data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args

from recbench.base.fields import documented
from recbench.protocol import PROTOCOLS, EvalProtocol
from recbench.reference.entry import NamedEntry, links_in, number_text
from recbench.results import list_measures, metrics
from recbench.results.exposure.measures import MOST_RECOMMENDED
from recbench.settings import (
    BACKBONES,
    DEFAULT_RANKER,
    IDENTIFIERS,
    RANKERS,
    TRAIN_DEFAULTS,
    Paradigm,
    backbone_class,
    layered,
)

ANY_BACKBONE = "ID, FOLDER or FILE.gguf"
PARADIGMS: Mapping[Paradigm, str] = {
    "semantic-id": """Items are short sequences of codes, new tokens that the model learns.
As LC-Rec (https://github.com/RUCAIBox/LC-Rec): the prompt has the codes of the history, the answer those
of the next item.""",
    "title": """Items are their titles, in the model's own tokens.
As BIGRec (arXiv 2308.08434): the prompt lists the titles of the history, the answer is the next title.""",
    "hybrid": """Items are their titles, beside projected vectors of a sequential model in the prompt.
As LLaRA (https://github.com/ljy0ustc/LLaRA).""",
}
PROTOCOL_USES: Mapping[str, str] = {
    "ilrec": "The last two items of a user are held out, the whole catalogue is ranked; ILRec's comparison.",
    "soft": "Held out by time, 8:1:1, sequences drawn as in the SOFT paper; items seen before are masked.",
    "candidates": "The last two items of a user are held out, 20 candidates are ranked, as by LLaRA.",
    "temporal": "Held out by time, so that every training interaction is earlier than every target.",
    "time-rows": "All rows in time, 8:1:1, users ask repeatedly, 50 are ranked; as D3, ReRe and MiniOneRec.",
    "ilrec-50": "As ilrec, with 50 ranked and the cut-offs of time-rows.",
    "temporal-50": "As temporal, with 50 ranked and the cut-offs of time-rows.",
}
IDENTIFIER_SCHEMES: Mapping[str, str] = {
    "auto": "The given codes where the dataset has codes and its items no text, else residual-kmeans.",
    "residual-kmeans": "Each level clusters the residuals that the centres of the levels before it leave.",
    "rq-vae": "LC-Rec's autoencoder (arXiv 2311.09049) with Sinkhorn on the last level.",
    "given": "The codes that came with the dataset.",
}
"""The values of `identifiers.source` in the paradigm `semantic-id`."""
FORMATS: Mapping[str, str] = {
    "atomic": "RecBole's atomic files: tab-separated, a typed header; .inter and .item.",
    "normalised": "interactions.csv.gz with user_id, item_id, position and perhaps timestamp; items.csv.gz.",
    "amazon14": "Amazon reviews of 2014: a JSON record a line; metadata as printed dictionaries.",
    "amazon18": "Amazon reviews of 2018: a JSON record a line.",
    "amazon23": "Amazon reviews of 2023: a JSON record a line, timestamps in milliseconds.",
    "movielens": "MovieLens 1M: ratings.dat and movies.dat.",
}
GAINS: Mapping[str, str] = {
    "hr": "Hit rate: the share of requests whose target is among the first K.",
    "ndcg": "1 / log2(rank + 1) of the target where it is among the first K, else 0; the mean over requests.",
    "mrr": "1 / rank of the target where it is among the first K, else 0; the mean over requests.",
    "recall": "With one target a request, recall@K is hr@K.",
}
"""With one relevant item the ideal DCG is 1."""
MEASURES: Mapping[str, Callable[..., Any] | str] = {
    "coverage": list_measures.coverage,
    "gini": list_measures.gini,
    "popularity": list_measures.mean_popularity,
    "popularity_lift": list_measures.popularity_lift,
    "diversity": list_measures.diversity,
    "invalid": "Share of the places of all lists that hold no item.",
}
OF_EXPOSURE: Mapping[str, str] = {
    "dgu": "With d a category's share of the lists less that of the histories: max d - min d, as in SPRec.",
    "mgu": "With d as in dgu: the mean of |d| over the categories.",
    "dgu_pop": "dgu over groups of items of like popularity.",
    "mgu_pop": "mgu over groups of items of like popularity.",
    "div_ratio": "Different items in all lists, over the places of the lists.",
    "or_ratio": f"Share of all places that the {MOST_RECOMMENDED} most recommended items take.",
    "word_entropy": "Entropy of the words of recommended titles, in bits.",
    "ttr": "Different words of recommended titles, over all their words.",
    "distinct_titles": "Number of different titles that are recommended.",
    "seen": "Share of the recommended items that their user had before.",
}
"""What `recbench score --exposure` gives beside what lists are measured by."""


def backbone(name: str) -> NamedEntry:
    kind = backbone_class(name)
    of_paradigms = {
        paradigm: ", ".join(f"{key}={number_text(value)}" for key, value in found.items())
        for paradigm in get_args(Paradigm)
        if (found := layered(TRAIN_DEFAULTS, name, paradigm))
    }
    adapted = {
        "scratch": "trained from its initialisation by every fit, with all its weights",
        "pretrained": "adapted by LoRA, unless train.lora_rank=0",
    }
    return NamedEntry(
        kind="backbone",
        name=name,
        about=BACKBONES[name],
        facts={"class": kind, "trained": adapted[kind], "train settings by paradigm": of_paradigms},
        use=f"recbench run -m sft -d ml-100k -b {name}",
    )


def paradigm(name: Paradigm) -> NamedEntry:
    return NamedEntry(
        kind="paradigm",
        name=name,
        about=PARADIGMS[name],
        links=links_in(PARADIGMS[name]),
        facts={"default ranker": DEFAULT_RANKER[name], "settings": "--set identifiers.KEY=VALUE"},
        parameters=documented(IDENTIFIERS[name]),
        use=f"recbench run -m sft -d ml-100k -p {name}",
    )


def ranker(name: str) -> NamedEntry:
    about = inspect.getdoc(RANKERS[name]) or ""
    return NamedEntry(
        kind="ranker",
        name=name,
        about=_joined(about.partition(": ")[2] or about),
        facts={"default of": [one for one, default in DEFAULT_RANKER.items() if default == name]},
        parameters=documented(RANKERS[name]),
        use=f"recbench run -m sft -d ml-100k --ranker {name}",
    )


def identifier_scheme(name: str) -> NamedEntry:
    return NamedEntry(
        kind="identifier",
        name=name,
        about=IDENTIFIER_SCHEMES[name],
        links=links_in(IDENTIFIER_SCHEMES[name]),
        facts={"settings": "--set identifiers.KEY=VALUE"},
        use=f"recbench run -m sft -d ml-100k --set identifiers.source={name}",
    )


def raw_format(name: str) -> NamedEntry:
    return NamedEntry(
        kind="format",
        name=name,
        about=FORMATS[name],
        links=links_in(FORMATS[name]),
        use=f'format = "{name}" in [[sources]] of a card (datasets/README.md)',
    )


def protocol(name: str) -> NamedEntry:
    found = PROTOCOLS[name]
    rules = {**found.split_part(), **found.evaluation_part()}
    meanings = {one.name: one.meaning for one in documented(EvalProtocol)}
    kept = {key: rule for key, rule in rules.items() if key != "name" and rule is not None}
    return NamedEntry(
        kind="protocol",
        name=name,
        about=PROTOCOL_USES[name],
        facts={**kept, "meanings": {key: meanings[key] for key in kept}},
        use=f"recbench run -m popularity -d ml-100k --protocol {name}",
    )


def metric(name: str) -> NamedEntry:
    """UsageError for `ndcg@x`, a metric whose cutoff is none."""
    head, at, _ = name.partition("@")
    if at and head in GAINS:
        metrics.parse(name)
    meaning = GAINS.get(head) or OF_EXPOSURE.get(head) or MEASURES[head]
    about = meaning if isinstance(meaning, str) else inspect.getdoc(meaning) or ""
    facts = {
        "of": "ranks of the targets" if head in GAINS else "lists, without targets",
        "means over": "users" if head in GAINS else "all lists",
        "cutoffs": {one.name: ", ".join(map(str, one.cutoffs)) for one in PROTOCOLS.values()},
    }
    in_use = f"recbench compare A B --metric {name if at else f'{name}@10'}"
    return NamedEntry(
        kind="metric",
        name=name,
        about=about,
        facts=facts,
        use=in_use if head in GAINS else f"recbench score RUN{' --exposure' * (head in OF_EXPOSURE)}",
    )


def metric_names() -> list[str]:
    return [*GAINS, *MEASURES, *OF_EXPOSURE]


def is_metric(name: str) -> bool:
    return name.partition("@")[0].lower() in metric_names()


def backbone_rows() -> list[dict[str, Any]]:
    """A line for each short name, and one for what else is taken."""
    rows = [{"name": name, "class": backbone_class(name), "model": what} for name, what in BACKBONES.items()]
    anything = "a Hugging Face id, a local folder, a GGUF file"
    return [*rows, {"name": ANY_BACKBONE, "class": "pretrained", "model": anything}]


def protocol_rows() -> list[dict[str, Any]]:
    return [
        {
            "name": protocol.name,
            "version": protocol.version,
            "split": protocol.split,
            "history": protocol.history,
            "candidates": protocol.candidates
            if protocol.list_length is None
            else f"{protocol.list_length} of a list",
            "seen items": "masked" if protocol.exclude_seen else "kept",
            "cutoffs": " ".join(map(str, protocol.cutoffs)),
        }
        for protocol in PROTOCOLS.values()
    ]


def rows_of(entries: list[NamedEntry]) -> list[dict[str, Any]]:
    """A line with name and first sentence for each."""
    return [{"name": one.name, "about": one.first_line} for one in entries]


def _joined(text: str) -> str:
    """Paragraphs in a line each, the first letter large."""
    lines = " ".join(text.split())
    return lines[:1].upper() + lines[1:]
