"""Whether a GPU ranks as a CPU does, and a fit of several processes as that of one: sections of `gpu.py`."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from gpu_rounds import Row
from safetensors.numpy import load_file

from recbench.base import environment
from recbench.base.layout import fit_folder
from recbench.base.root import discover
from recbench.llm import restore_policy
from recbench.llm.decoding.search import Searched, search_exact
from recbench.llm.model.pretrained import pretrained_model
from recbench.planning.plan import plan
from recbench.planning.resolve import Selection
from recbench.planning.resources import Resources
from recbench.results.fit_record import FitRecord
from recbench.running.execute import run_all
from recbench.running.local import LocalPool
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT

METHODS = {"sft": SFT, "sdpo": SDPO, "ilrec": ILRec}
DEPTH = 10
FP32_NATS = 1e-3
"""How far scores in fp32 may be off: sums in another order move them by about 1e-5, and products in TF32,
which nothing here asks for, by about 1e-2."""
BF16_NATS = 0.125
"""How far scores in bf16 may be off: an item has 4 tokens, each the difference of two logits below 8, and
bf16, which keeps 8 bits, rounds each logit by at most 1/64. A CPU had up to 0.063 in nine fits
of these methods."""
PROCESSES = {"one": (1, "none"), "two, DDP": (2, "none"), "two, FSDP": (2, "fsdp")}
"""How many share a run, and its `train.sharding`."""
WEIGHTS_APART = 1e-3
"""How far a weight may be off on more processes. Adam moves a weight by about the learning rate, 0.003, in
each step, so that a gradient of half the rows shows; another order of all rows was 4e-6 off on a CPU."""
FEWEST_EQUAL = 0.98
"""Places with equal items on more processes: such weights decide between scores that are nearly ties."""
LEAST_SECONDS = 120.0
"""What a run of `processes` gets at least: its workers start torch before they do anything."""


def equal(name: str, args: argparse.Namespace) -> Iterator[Row]:
    """Fit on the device, and rank there in fp32 and bf16: beside the CPU's ranking in fp32.

    Scores are compared place by place: where no item's score is off by more than x, no place's is.
    """
    data = toy_data(num_users=args.fit_users, num_items=50)
    with tempfile.TemporaryDirectory() as folder:
        llm = tiny_settings(epochs=2.0, max_rows=4 * args.fit_steps, batch=8)
        run = replace(toy_run(Path(folder) / "fit", llm=llm), device=args.device)
        policy = SFT().start(data, run)
        METHODS[name]().train(policy, data, run)
        policy.save(run.workdir / "model")
        restored = restore_policy(data, replace(run, device="cpu"))
        prompts = restored.prompts.for_histories(data.valid.requests.history)
        found = []
        for place, precision in (("cpu", "fp32"), (args.device, "fp32"), (args.device, "bf16")):
            # read in its precision: a model that is rounded later rounds the angles of its positions too
            model = pretrained_model(run.workdir / "model", precision=precision, device=place)
            found.append(search_exact(model, restored.trie, prompts, k=DEPTH + 1, tie=restored.tie))
    there = found[0]
    for weights, here in zip(("fp32", "bf16"), found[1:], strict=True):
        yield {
            "method": name,
            "weights": weights,
            "equal items": same_items(there, here, FP32_NATS if weights == "fp32" else 0.0),
            "certified": float(here.certified.mean()),
            "most apart (nats)": float(np.nanmax(np.abs(here.scores - there.scores))),
        }


def same_items(there: Searched, here: Searched, nats: float) -> float:
    """Share of the first DEPTH places with equal items; neighbours whose scores are at most `nats` apart may
    have changed places."""
    close = np.diff(-there.scores) <= nats  # [R, DEPTH] to the next place
    near = close | np.pad(close[:, :-1], ((0, 0), (1, 0)))
    same = here.items[:, :DEPTH] == there.items[:, :DEPTH]
    return float((same | (near & (nats > 0))).mean())


def wrong_ranks(row: Row, args: argparse.Namespace) -> Iterator[str]:
    del args
    apart, rounded = row["most apart (nats)"], row["weights"] == "bf16"
    right = apart <= BF16_NATS if rounded else row["equal items"] == 1 and apart <= FP32_NATS
    if not right:
        said = f"{row['equal items']:.1%} equal items, scores up to {apart:.3g} nats apart"
        yield f"{row['method']} in {row['weights']} ranks otherwise than a CPU in fp32: {said}"
    if row["certified"] < 1:
        yield f"{row['method']} in {row['weights']}: only {row['certified']:.1%} rankings are certified"


def processes(method: str, args: argparse.Namespace) -> Iterator[Row]:
    """Fit and ranking of the method with `tiny` on each number of processes, beside those on one.

    Their workers see all GPUs that the script was given.
    """
    with mock.patch.dict(os.environ, args.environ, clear=True):
        alone: dict[str, Any] = {}
        for name, (number, sharding) in PROCESSES.items():
            if lacking(args.device, number, sharding) is None:
                row, made = shared_run(method, number, sharding, args)
                alone = alone or made
                if made:
                    row["equal items"] = float((made["items"] == alone["items"]).mean())
                    row["weights apart"] = most_apart(made["weights"], alone["weights"])
                yield {"processes": name} | row


def shared_run(
    method: str, number: int, sharding: str, args: argparse.Namespace
) -> tuple[Row, dict[str, Any]]:
    """The row of a run, or why it failed, and its items and weights."""
    settings = {"train.batch": "16", "train.max_rows": str(16 * args.fit_steps), "train.epochs": "1"}
    settings |= {"train.pack": "none", "train.sharding": sharding}
    asked = Selection(method=method, dataset="synthetic", limit_users=args.fit_users, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        root = discover(Path(folder), environ={**os.environ, "RECBENCH_DEVICE": args.device})
        (planned,) = plan([asked], root)
        pool = LocalPool(seconds=max(LEAST_SECONDS, args.until - time.monotonic()))
        resources = {planned.spec.id: Resources(gpus=number)}
        (run,) = run_all([planned], root, executor=pool, resources=resources)
        if run.reason is not None:
            return {"failed": run.reason["reason"]}, {}
        fitted = fit_folder(root.cache, planned.spec.fit.id)
        record, guard = FitRecord.read(fitted), run.manifest.guard
        made = {"items": run.topk()["items"], "weights": load_file(fitted / "model" / "model.safetensors")}
    row: Row = {"steps": record.counts["steps"], "fit seconds": record.spent.own_seconds}
    if guard is not None:
        row |= {"guard": guard.by, "marks": len(guard.marks)}
    if record.peak.gpu_bytes is not None:
        row["peak GiB"] = record.peak.gpu_bytes / 2**30
    if record.spent.millijoules is not None:
        row["joules"] = record.spent.millijoules / 1000
    return row, made


def most_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return max(float(np.abs(weight - other[name]).max()) for name, weight in one.items())


def lacking(device: str, number: int, sharding: str) -> str | None:
    """Why a run cannot be shared so here."""
    if device == "cpu":
        return "it shards over GPUs only" if sharding == "fsdp" else None
    here = max(1, len(environment.gpus()))
    return None if number <= here else f"it needs {number} GPUs, and {here} is here"


def left_out(device: str) -> list[str]:
    """What `processes` does not measure here, and why."""
    reasons = {name: lacking(device, *how) for name, how in PROCESSES.items()}
    return [f"no {name}: {reason}" for name, reason in reasons.items() if reason is not None]


def wrong_processes(row: Row, args: argparse.Namespace) -> Iterator[str]:
    name = f"sft on {row['processes']}"
    if "failed" in row:
        yield f"{name}: {row['failed']}"
        return
    if row["weights apart"] > WEIGHTS_APART or row["equal items"] < FEWEST_EQUAL:
        said = f"{row['equal items']:.1%} equal items, weights up to {row['weights apart']:.3g} apart"
        yield f"{name} is another fit than on one: {said}"
    if row.get("marks"):
        yield f"{name}: the guard refused {row['marks']} accesses of its worker"
    if args.device == "cuda" and not row.get("peak GiB"):
        yield f"{name}: the peak of the GPU's memory was not recorded"
