"""Try settings of a backbone trained from scratch on validation, and keep every trial in a ledger.

    python benchmarks/scratch_trials.py --root . --ledger benchmarks/tuning/scratch-ml-100k.jsonl \\
        embedding=collaborative embedding=collaborative,levels=2,codes=256,layers=3,train.epochs=6

Each argument is a recipe: settings of identifiers, `train.KEY`, or the backbone's shape (`layers`, `hidden`,
`inner`, `heads`). A trial that the ledger has is not repeated. Seconds are processor seconds of one thread,
so that other work on the machine does not count; identifiers are made before the clock starts.
`valid_nll` is the mean of -log p(identifier of the target, end token included), in nats: it is comparable
between recipes with distinct identifiers, and less noisy than NDCG. Of more than 2,000 validation users the
2,000 are ranked that `train.select=best` draws.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from recbench.base import params
from recbench.dataset import card, split
from recbench.dataset.prepare import prepare
from recbench.llm import logps, prefix_tree, restore_policy
from recbench.llm.decoding.validation import drawn
from recbench.llm.items.identifiers import shared_identifiers
from recbench.llm.model import backbone as backbones
from recbench.method import RunContext
from recbench.planning import registry
from recbench.planning.resolve import Selection, resolve
from recbench.results import metrics
from recbench.results.evaluate import target_ranks
from recbench.settings import IdentifierSettings
from recbench.stages import StageCache

SHAPE = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "inner": ("intermediate_size",),
    "heads": ("num_attention_heads", "num_key_value_heads"),
    "init": ("initializer_range",),
}


@contextmanager
def shaped(backbone: str, shape: Mapping[str, float]) -> Iterator[None]:
    """The backbone with another shape."""
    before = backbones.SHAPES[backbone]
    changed = {key: value if value % 1 else int(value) for key, value in shape.items()}
    with mock.patch.dict(backbones.SHAPES, {backbone: {**before, **changed}}):
        yield


def trial(recipe: str, folder: Path, selection: dict[str, Any], root: Path) -> dict[str, Any]:
    """Train, rank the validation requests, and score them."""
    values = params.parse_assignments(recipe.split(",")) if recipe else {}
    settings = {
        key if "." in key else f"identifiers.{key}": value
        for key, value in values.items()
        if key not in SHAPE
    }
    shape = {name: float(values[key]) for key in SHAPE.keys() & values for name in SHAPE[key]}
    one = resolve(Selection(**selection, settings=settings, phase="valid"))
    assert one.llm is not None
    data = split.load_training(folder)
    with shaped(selection["backbone"], shape), tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "fit"
        work.mkdir()
        stages = StageCache(root / "cache")
        run = RunContext(seed=selection["seed"], workdir=work, stages=stages, threads=1).with_llm(one.llm)
        assert isinstance(one.llm.identifiers, IdentifierSettings)
        codes = shared_identifiers(data, one.llm.identifiers, stages=stages)
        start = time.process_time()
        method = registry.load(one.plugin.name).build(one.params)
        method.fit(data, run=run)
        fitted = time.process_time()
        method.load(data, run=run)
        users = drawn(len(data.valid.target))
        requests, target = data.valid.requests.take(users), data.valid.target[users]
        items = method.rank(requests, k=20).items
        ranked = time.process_time()
        policy = restore_policy(data, run)
        examples = [
            policy.prompts.example(requests.history[row].tolist(), int(item))
            for row, item in enumerate(target)
        ]
        nll = -float(logps(policy, [prefix_tree([example]) for example in examples]).mean())
        facts = json.loads((work / "facts.json").read_text())
    ranks = target_ranks(items, target)
    return {
        "fit_seconds": round(fitted - start, 1),
        "rank_seconds": round(ranked - fitted, 1),
        "parameters": facts["num_parameters"]["all"],
        **{key: round(codes.facts[key], 4) for key in ("collision_rate", "predictive_gain")},
        "users": len(ranks),
        "valid_nll": round(nll, 4),
        "valid_hr_at_10": round(float(metrics.per_request(ranks, "hr@10").mean()), 5),
        "valid_ndcg_at_10": round(float(metrics.per_request(ranks, "ndcg@10").mean()), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipes", nargs="+", metavar="KEY=VALUE,...")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("-d", "--dataset", default="ml-100k")
    parser.add_argument("-b", "--backbone", default="tiny")
    parser.add_argument("-m", "--method", default="sft")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    data_dir = os.environ.get("RECBENCH_DATA")
    prepared = prepare(
        card.find(args.dataset, args.root),
        resolve(Selection(method=args.method, dataset=args.dataset)).protocol,
        cache=args.root / "cache",
        data_dir=Path(data_dir) if data_dir else None,
    )
    for recipe in args.recipes:
        for seed in args.seeds:
            asked = {"method": args.method, "dataset": args.dataset, "backbone": args.backbone, "seed": seed}
            kept = args.ledger.read_text().splitlines() if args.ledger.exists() else []
            if any({**asked, "recipe": recipe}.items() <= json.loads(line).items() for line in kept):
                continue
            record = {**asked, "recipe": recipe}
            try:
                record |= trial(recipe, prepared.folder, asked, args.root)
            except Exception as error:  # a failed trial is kept too
                traceback.print_exc()
                record["error"] = f"{type(error).__name__}: {error}"
            line = json.dumps(record)
            print(line, flush=True)
            with args.ledger.open("a") as ledger:
                ledger.write(line + "\n")


if __name__ == "__main__":
    main()
