"""What a GPU does: equal ranks first, then processes, searches, steps and attention at shapes of real models.

    python benchmarks/gpu.py --out benchmarks/results/gpu          # on a GPU; --sections divides it
    python benchmarks/gpu.py --device cpu --shapes toy --small     # the same code at toy shapes, for a check

`equal`: sft, sdpo and ilrec fit on the device, and rank there and on the CPU with the same weights in fp32;
all items must be equal, but for scores that are nearly ties. In bf16 scores must be within a tolerance.
`processes`: `sft` with `tiny` from fit to ranking as a user runs it, by a guarded worker: on one process, on
two, and on two that shard its weights, as far as there are GPUs.
`search`: exact search and beams beside transformers' `generate`, with weights that are random and a head
that was taught the codes, so that exact search visits about as many nodes as on a trained model. Peaks are
those of a round that is not timed. A few users' scores are compared in fp32.
`steps`: optimiser steps of LoRA sft, sdpo (5 negatives) and ilrec on the same rows. In each round of both
every way runs once; a ratio is of one round: the median, with the least and the most.
`attention`: a tree's mask by SDPA, as training has it, and by flex_attention, which knows its blocks.

Weights are random: times and memory are those of a model of this shape, ranks mean nothing. Rates are also
given as shares of what a square product of matrices reaches here. `--out` writes NAME.json and NAME.md after
each part. A part that fails is named, and the others go on; one that would begin after `--minutes` is left
out by name. The script exits with 1 if a part failed or a result is wrong.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch
from gpu_attention import attention, wrong_attention
from gpu_ranks import METHODS, equal, left_out, processes, wrong_processes, wrong_ranks
from gpu_rounds import Row
from gpu_search import search, wrong_search
from gpu_steps import steps
from shapes import precision, quiet, wait

from recbench.base.environment import only_device

SMALL = {"users": 4, "batch": 4, "prompt": 20, "rounds": 1, "items": 300, "fit_users": 20, "fit_steps": 4}


class Section(NamedTuple):
    cases: Callable[[argparse.Namespace], Iterable[str]]
    measure: Callable[[str, argparse.Namespace], Iterator[Row]]
    wrong: Callable[[Row, argparse.Namespace], Iterable[str]]
    """What must not be so in a row."""


SECTIONS = {
    "equal": Section(lambda _: METHODS, equal, wrong_ranks),
    "processes": Section(lambda _: ["sft"], processes, wrong_processes),
    "search": Section(lambda args: args.shapes, search, wrong_search),
    "steps": Section(lambda args: args.shapes, steps, lambda *_: ()),
    "attention": Section(
        lambda args: args.shapes if args.device == "cuda" else (), attention, wrong_attention
    ),
}


def main() -> None:
    args = arguments()
    quiet()
    args.until = time.monotonic() + 60 * args.minutes
    results: Row = {"date": str(date.today()), "torch": torch.__version__}
    results |= {"left out": [], "failed": [], "wrong": [], "seconds": {}}
    if "processes" in args.sections:
        results["left out"] += left_out(args.device)
    if "attention" in args.sections and args.device == "cpu":
        results["left out"].append("no attention: kernels of flex_attention are made for a GPU")
    # a trainer refuses several GPUs in one process, so that all but the workers of `processes` see one
    args.environ = dict(os.environ)
    os.environ.update(only_device(args.device, os.environ)[1])
    args.rate = product_rate(args.device)
    results |= {"hardware": hardware(args.device), "product TFLOP/s": round(args.rate / 1e12, 2)}
    for name, section in SECTIONS.items():
        for case in section.cases(args) if name in args.sections else ():
            take(name, case, results, args)
            if args.out is not None:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
                args.out.with_suffix(".md").write_text(markdown(results))
    print(markdown(results))
    if results["failed"] or results["wrong"]:
        raise SystemExit("\n".join([*results["failed"], *results["wrong"]]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shapes", nargs="+", default=["qwen2-0.5b", "llama-3.2-1b", "llama-3.1-8b"])
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing more begins")
    parser.add_argument("--users", type=int, default=64, help="users ranked by each way")
    parser.add_argument("--batch", type=int, default=32, help="users searched together; rows of a step")
    parser.add_argument("--micro", type=int, default=8, help="rows of a forward pass of a step")
    parser.add_argument("--prompt", type=int, default=200, help="tokens of a prompt in `search`")
    parser.add_argument("--rounds", type=int, default=5, help="at most, of `search`, `steps`, `attention`")
    parser.add_argument("--items", type=int, default=12_000, help="codes drawn for `search`")
    parser.add_argument("--fit-users", type=int, default=60, help="users whose ranks are compared in `equal`")
    parser.add_argument("--fit-steps", type=int, default=6, help="optimiser steps of each fit")
    parser.add_argument("--small", action="store_true", help="as little of everything as shows that it works")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.small:
        vars(args).update(SMALL)
    args.micro = min(args.micro, args.batch)
    return args


def take(name: str, case: str, results: Row, args: argparse.Namespace) -> None:
    """Add a case's rows to the results, and what is wrong in them; or that it failed or was left out."""
    section, part, started = SECTIONS[name], f"{name} of {case}", time.monotonic()
    if started > args.until:
        results["left out"].append(f"no {part}: the {args.minutes:g} minutes are over")
        return
    print(part, file=sys.stderr, flush=True)
    try:
        gc.collect()
        if args.device == "cuda":
            torch.cuda.empty_cache()  # what is left of the part before; workers share the GPU
        for row in section.measure(case, args):
            results.setdefault(name, []).append(row)
            results["wrong"] += section.wrong(row, args)
    except Exception as error:  # whatever it is, the other parts go on
        traceback.print_exc()
        results["failed"].append(f"{part}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
    results["seconds"][part] = round(time.monotonic() - started, 1)


def hardware(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def product_rate(device: str) -> float:
    """FLOP/s of a square product of matrices in the type that models have here."""
    size = 8192 if device == "cuda" else 512
    one = torch.randn(size, size, device=device, dtype=precision(device))
    seconds = []
    for _ in range(5):
        wait(device)
        started = time.perf_counter()
        one @ one
        wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def markdown(results: Row) -> str:
    text = [f"{results['hardware']}, torch {results['torch']}, {results['date']}; products of matrices reach"]
    text[0] += f" {results['product TFLOP/s']} TFLOP/s."
    text += [
        f"\n{head.capitalize()}: {what}."
        for head in ("left out", "failed", "wrong")
        for what in results[head]
    ]
    for section in SECTIONS:
        rows = results.get(section, [])
        heads = list(dict.fromkeys(head for row in rows for head in row))
        if rows:
            text += ["", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for row in rows:
            cells = [row.get(head, "") for head in heads]
            text.append(f"| {' | '.join(f'{c:.4g}' if isinstance(c, float) else str(c) for c in cells)} |")
    text += [
        "",
        "Seconds: " + ", ".join(f"{part} {taken:g}" for part, taken in results["seconds"].items()) + ".",
    ]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
