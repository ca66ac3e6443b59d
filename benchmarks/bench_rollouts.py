"""Draw responses beside transformers' `generate`, and find the share of generation in a step of rere.

    python benchmarks/bench_rollouts.py --root ROOT

The model is `tiny`, `sft` by its recipe on 300 users of ml-100k. In each round the same prompts get 16
responses each: independent draws by `recbench.llm.rollout`, those of `generate` with a dictionary of allowed
tokens, the certified best 16, which rere asks for, and a beam of 16. Then rere trains for a few steps, of
which generation and the reference's pass are timed. Seconds are the processor's; a ratio is that of a round.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import fits
import numpy as np
import torch
from bench_search import Codes, generate
from shapes import Timed, clock, quiet

from recbench.dataset import split
from recbench.llm import restore_policy
from recbench.llm.rollout import rollouts
from recbench.llm.rollout.groups import Ask, How, make_groups
from recbench.llm.training.examples import next_item
from recbench.method import LLMRun
from recbench.planning.resolve import Selection, resolve
from recbench_methods.rere import ReRe

SIZE = 16
WAYS: tuple[How, ...] = ("sample", "exact", "beam")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps of rere; one is not timed")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the parent, as train.epochs=1")
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    data = split.load_training(fits.prepared("ml-100k", args.root, users=300).folder)
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        chosen = dict(one.split("=", 1) for one in args.set)
        run = fits.begin("sft", "ml-100k", top / "sft", seed=0, stages=top / "stages", settings=chosen)
        run = replace(run, parent=fits.parent(data, run))
        draws(data, run, args)
        steps(data, run, args)


def draws(data: Any, run: LLMRun, args: argparse.Namespace) -> None:
    """Responses a second of each way."""
    policy = restore_policy(data, run)
    examples = next_item(policy.prompts, data, run)
    example = np.random.default_rng(0).permutation(len(examples))[: args.prompts]
    prompts = policy.prompts.for_histories(examples.history.take(example))
    codes = Codes.of(policy.trie, policy.tie)  # made once, as the trie is

    def theirs() -> None:
        generate(policy.model, codes, prompts, width=SIZE, k=SIZE, batch=args.prompts, draw=True)

    ways: dict[str, Callable[[], object]] = {"generate": theirs}
    for how in WAYS:
        ways[how] = partial(make_groups, policy, examples, example, Ask(how, SIZE))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds + 1):  # the first warms up
        for name, way in ways.items():
            started = clock("cpu")
            way()
            seconds[name].append(clock("cpu") - started)
    print(f"{args.prompts} prompts of {np.mean([len(prompt) for prompt in prompts]):.0f} tokens\n")
    print("| responses | a second | times `generate` |")
    print("|---|---|---|")
    for name, times in seconds.items():
        each = np.array(seconds["generate"][1:]) / np.array(times[1:])
        rate = args.prompts * SIZE / np.median(times[1:])
        print(f"| {name} | {rate:.0f} | {np.median(each):.1f} ({each.min():.1f}-{each.max():.1f}) |")


def steps(data: Any, parent: LLMRun, args: argparse.Namespace) -> None:
    """The shares of a step of rere."""
    few = {"train.max_rows": str(args.steps * parent.llm.train.batch), "train.checkpoints": "1"}
    llm = resolve(Selection(method="rere", dataset="ml-100k", settings=few)).llm
    assert llm is not None
    timed, method = Timed("cpu"), ReRe(group_size=SIZE)
    run = replace(parent, workdir=parent.workdir.with_name("rere"), llm=llm, report=timed)
    run.workdir.mkdir()
    policy = method.start(data, run)
    with calls(rollouts, "make_groups") as generation, calls(rollouts, "token_logps") as reference:
        method.train(policy, data, run)
    whole = timed.at[-1] - timed.at[0]
    print(f"\na step of rere: {whole / (len(timed.at) - 1):.2f} s, of which generation", end=" ")
    print(f"{sum(generation[1:]) / whole:.0%}, the reference's pass {sum(reference[1:]) / whole:.0%}")


@contextmanager
def calls(owner: Any, name: str) -> Iterator[list[float]]:
    """The seconds of each call of a function inside."""
    original, found = getattr(owner, name), []

    def call(*words: Any, **named: Any) -> Any:
        started = clock("cpu")
        result = original(*words, **named)
        found.append(clock("cpu") - started)
        return result

    with mock.patch.object(owner, name, call):
        yield found


if __name__ == "__main__":
    main()
