"""Optimiser steps of three methods at the shape of a real model: a section of `gpu.py`."""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from bench_steps import walks
from gpu_rounds import Row, rounds, spread
from shapes import Timed, backbone_of, settings

from recbench.data import TrainingData
from recbench.llm.signals import reward
from recbench.method import LLMRun
from recbench.sequential.params import SASRecParams
from recbench_methods.ilrec import ILRec
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT

METHODS: dict[str, Callable[[], Any]] = {
    "sft": SFT,
    "sdpo": partial(SDPO, num_negatives=5),
    "ilrec": ILRec,
}


def steps(shape: str, args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of an optimiser step of each method on the same rows, beside sft's.

    Each row has a history of 20 items, about 190 tokens at the vocabulary of a real model.
    """
    num_items = args.items // 6
    data = walks(args.fit_steps * args.batch, num_items=num_items)
    found: dict[str, list[Row]] = {name: [] for name in METHODS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backbone = stack.enter_context(backbone_of(shape, args.device, folder / "model", num_items=num_items))
        stack.enter_context(mock.patch.object(reward, "SASRecParams", partial(SASRecParams, epochs=1)))

        def fit(name: str, place: str, amount: int) -> tuple[Row, Timed]:
            timed, amounts = Timed(args.device), {"batch": args.batch, "micro": args.micro, "steps": amount}
            run = settings(name, backbone, folder, timed, **amounts)
            return one_fit(name, data, replace(run, workdir=folder / place), timed), timed

        fit("ilrec", "before", 1)  # warms up, and makes the stages: SASRec's epochs would count as its steps
        for number in rounds(args):
            for name in METHODS:
                row, timed = fit(name, f"{name}-{number}", args.fit_steps)
                found[name].append(row | {"seconds": timed.step})
    first = np.array([row["seconds"] for row in found["sft"]])
    for name, rows in found.items():
        seconds = np.array([row["seconds"] for row in rows])
        row = {"shape": shape, "method": name, "seconds": float(np.median(seconds))}
        row |= spread("times sft", seconds / first)
        row |= {what: rows[-1][what] for what in ("tokens a step", "predicted")}
        row["share of products"] = rows[-1]["products"] / row["seconds"] / args.rate
        if args.device == "cuda":
            row["peak GiB"] = max(row["peak GiB"] for row in rows)
        yield row


def one_fit(name: str, data: TrainingData, run: LLMRun, timed: Timed) -> Row:
    """What the steps of a fit take, and on a GPU the peak of its memory."""
    gc.collect()  # the last fit's trainer
    if run.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    policy, method = SFT().start(data, run), METHODS[name]()
    method.train(policy, data, run)
    each = {what: number / timed.counts["steps"] for what, number in timed.counts.items()}
    row: Row = {"tokens a step": each["trained_tokens"], "predicted": each["supervised_tokens"]}
    config = policy.model.config
    head = config.vocab_size * config.hidden_size
    body = sum(weight.numel() for weight in policy.model.parameters())
    body -= head * (1 if config.tie_word_embeddings else 2)  # the input's vectors are looked up
    heads = 1 + getattr(method, "k", 0)  # ilrec reads the layers below by the head, too
    # LoRA: no gradient of weights, so that the way back takes as many products as the way there
    row["products"] = 4 * (body * row["tokens a step"] + heads * head * row["predicted"])
    if run.device == "cuda":
        row["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return row
