"""What a GPU does: equal ranks first, then two processes, searches and steps at the shapes of real models.

    python benchmarks/gpu.py --out benchmarks/results/gpu          # on a GPU; --sections divides it
    python benchmarks/gpu.py --device cpu --shapes toy --small     # the same code at toy shapes, for a check

`equal`: sft, sdpo and ilrec fit on the device, and rank there and on the CPU with the same weights in fp32;
all items must be equal. The same weights rank in bf16 too, whose scores must be within a tolerance.
`processes`: `sft` with `tiny` on one process, on two, and on two that shard its weights, from fit to ranking.
`search`: exact search and beams beside transformers' `generate`, with weights that
are random and a head that was taught the codes, so that exact search visits about as many nodes as on a
trained model. Peaks are those of a round that is not timed.
`steps`: optimiser steps of LoRA sft, sdpo (5 negatives) and ilrec on the same rows. In each round of both
every way runs once; a ratio is of one round: the median, with the least and the most.

Weights are random: times and memory are those of a model of this shape, ranks mean nothing. Rates are also
given as shares of what a square product of matrices reaches here. `--out` writes NAME.json and NAME.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_search import generate
from bench_steps import Held
from safetensors.numpy import load_file
from shapes import Timed, backbone_of, precision, quiet, random_model, settings, wait

from recbench.base.layout import fit_folder
from recbench.base.root import discover
from recbench.data import TrainingData
from recbench.llm import restore_policy
from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.search import SearchPlan, search_exact
from recbench.llm.items.trie import Trie
from recbench.method import LLMRun
from recbench.planning.plan import plan
from recbench.planning.resolve import Selection
from recbench.planning.resources import Resources
from recbench.results.fit_record import FitRecord
from recbench.running.execute import run_all
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT

SMALL = {"users": 4, "batch": 4, "prompt": 20, "rounds": 1, "items": 300, "fit_users": 20, "fit_steps": 4}
BEAM, DEPTH, LEVELS, CODES = 20, 10, 4, 256
LAST_TOKENS, CHILDREN = 64, 40
"""Tokens with which prompts end, and first codes that follow each of them."""
NODES = 130
"""About what exact search visits on a model of instrument that is trained."""
BF16_NATS = 0.125
"""How far scores in bf16 may be off: an item has 4 tokens, each the difference of two logits below 8, and
bf16, which keeps 8 bits, rounds each logit by at most 1/64. A CPU had up to 0.063 in nine fits
of these methods."""
PROCESSES = {"one": (1, "none"), "two, DDP": (2, "none"), "two, FSDP": (2, "fsdp")}
"""How many share a run, and its `train.sharding`."""
SECTIONS = ("equal", "processes", "search", "steps")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shapes", nargs="+", default=["qwen2-0.5b", "llama-3.2-1b", "llama-3.1-8b"])
    parser.add_argument("--sections", nargs="+", default=SECTIONS, choices=SECTIONS)
    parser.add_argument("--users", type=int, default=128, help="users ranked by each way")
    parser.add_argument("--batch", type=int, default=32, help="users searched together, and rows of a step")
    parser.add_argument("--prompt", type=int, default=200, help="tokens of a prompt in `search`")
    parser.add_argument("--rounds", type=int, default=5, help="of `search` and `steps`")
    parser.add_argument("--items", type=int, default=12_000, help="codes drawn for `search`")
    parser.add_argument("--fit-users", type=int, default=60, help="users whose ranks are compared in `equal`")
    parser.add_argument("--fit-steps", type=int, default=8, help="optimiser steps of each fit")
    parser.add_argument("--small", action="store_true", help="as little of everything as shows that it works")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.small:
        vars(args).update(SMALL)
    quiet()
    peak = product_rate(args.device)
    results: Row = {"date": str(date.today()), "hardware": hardware(args.device), "torch": torch.__version__}
    results["product TFLOP/s"] = round(peak / 1e12, 2)
    if "equal" in args.sections:
        results["equal"] = [row for method in (SFT, SDPO, ILRec) for row in equal(method, args)]
    if "processes" in args.sections:
        results["left out"] = left_out(args.device)
        results["processes"] = list(processes(args)) if enough(args.device) else []
    for section, measure in (("search", search), ("steps", steps)):
        if section in args.sections:
            results[section] = [row for shape in args.shapes for row in measure(shape, peak, args)]
    text = markdown(results)
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        args.out.with_suffix(".md").write_text(text)
    if found := wrong(results):
        raise SystemExit("\n".join(found))


def wrong(results: Row) -> list[str]:
    """What must not be so."""
    found = []
    for row in results.get("equal", []):
        apart, rounded = row["most apart (nats)"], row["weights"] == "bf16"
        if not (apart <= BF16_NATS if rounded else row["equal items"] == 1):
            said = f"{row['equal items']:.1%} equal items, scores up to {apart:.3g} nats apart"
            found.append(f"{row['method']} in {row['weights']} ranks otherwise than a CPU in fp32: {said}")
    failed = (row for row in results.get("processes", []) if "failed" in row)
    return found + [f"sft on {row['processes']}: {row['failed']}" for row in failed]


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


def equal(kind: type[SFT] | type[SDPO] | type[ILRec], args: argparse.Namespace) -> Iterator[Row]:
    """Fit on the device, and rank there in fp32 and bf16: beside the CPU's ranking in fp32.

    Scores are compared place by place: where no item's score is off by more than x, no place's is.
    """
    device, data = args.device, toy_data(num_users=args.fit_users, num_items=50)
    with tempfile.TemporaryDirectory() as folder:
        llm = tiny_settings(epochs=2.0, max_rows=4 * args.fit_steps, batch=8)
        run = replace(toy_run(Path(folder) / "fit", llm=llm), device=device)
        method = kind()
        policy = SFT().start(data, run)
        method.train(policy, data, run)
        policy.save(run.workdir / "model")
        found = []
        for place, kept in (("cpu", torch.float32), (device, torch.float32), (device, torch.bfloat16)):
            restored = restore_policy(data, replace(run, device=place))
            prompts = restored.prompts.for_histories(data.valid.requests.history)
            model = restored.model.to(kept)
            found.append(search_exact(model, restored.trie, prompts, k=DEPTH, tie=restored.tie))
    there = found[0]
    for weights, here in zip(("fp32", "bf16"), found[1:], strict=True):
        yield {
            "method": kind.__name__.lower(),
            "weights": weights,
            "equal items": float((here.items == there.items).mean()),
            "certified": float(here.certified.mean()),
            "most apart (nats)": float(np.nanmax(np.abs(here.scores - there.scores))),
        }


def enough(device: str) -> bool:
    """Whether two processes can share a run here."""
    return device == "cpu" or torch.cuda.device_count() > 1


def left_out(device: str) -> list[str]:
    """What `processes` does not measure here, and why."""
    if not enough(device):
        return [f"No two processes: they need two GPUs, and {torch.cuda.device_count()} is here."]
    return ["No FSDP: it shards over GPUs only."] if device == "cpu" else []


def processes(args: argparse.Namespace) -> Iterator[Row]:
    """Fit and ranking of `sft` with `tiny` on each number of processes, beside those on one."""
    alone: Row = {}
    for name, (number, sharding) in PROCESSES.items():
        if sharding == "fsdp" and args.device == "cpu":
            continue
        settings = {"train.batch": "16", "train.max_rows": str(16 * args.fit_steps), "train.epochs": "1"}
        settings |= {"train.pack": "none", "train.sharding": sharding}
        asked = Selection(method="sft", dataset="synthetic", limit_users=args.fit_users, settings=settings)
        with tempfile.TemporaryDirectory() as folder:
            root = discover(Path(folder), environ={**os.environ, "RECBENCH_DEVICE": args.device})
            (planned,) = plan([asked], root)
            (run,) = run_all([planned], root, resources={planned.spec.id: Resources(gpus=number)})
            if run.reason is not None:
                yield {"processes": name, "failed": run.reason["reason"]}
                continue
            fitted = fit_folder(root.cache, planned.spec.fit.id)
            record, items = FitRecord.read(fitted), run.topk()["items"]
            weights = load_file(fitted / "model" / "model.safetensors")
        alone = alone or {"items": items, "weights": weights}
        row: Row = {
            "processes": name,
            "steps": record.counts["steps"],
            "fit seconds": record.spent.own_seconds,
        }
        row["equal items"] = float((items == alone["items"]).mean())
        row["weights apart"] = max(
            float(np.abs(weight - alone["weights"][which]).max()) for which, weight in weights.items()
        )
        if record.peak.gpu_bytes is not None:
            row["peak GiB"] = record.peak.gpu_bytes / 2**30
        yield row


def search(shape: str, peak: float, args: argparse.Namespace) -> Iterator[Row]:
    """Users per second of exact search, beams and `generate` on the same prompts."""
    model = random_model(shape, args.device, tie_word_embeddings=False)  # the head is taught apart
    rng = np.random.default_rng(0)
    vocabulary = model.config.vocab_size
    first = vocabulary - 1 - LEVELS * CODES
    drawn = draw_codes(rng, args.items)
    codes = [[*(first + CODES * np.arange(LEVELS) + row).tolist(), vocabulary - 1] for row in drawn]
    trie, tie = Trie.build(codes), np.arange(len(codes))
    drawn_prompts = rng.integers(0, first, (args.users, args.prompt))
    drawn_prompts[:, -1] = rng.integers(0, LAST_TOKENS, args.users)
    prompts = drawn_prompts.tolist()
    sharpen(model, trie, codes, prompts)
    shared: dict[str, Any] = {"k": DEPTH, "tie": tie}
    plan = SearchPlan(batch=args.batch, exhaustive_nodes=0)
    ways: dict[str, Callable[[], Any]] = {
        f"generate {BEAM}": lambda: generate(
            model, trie, tie, prompts, width=BEAM, k=DEPTH, batch=args.batch
        ),
        f"beam {BEAM}": lambda: search_beam(model, trie, prompts, width=BEAM, batch=args.batch, **shared),
        "exact": lambda: search_exact(model, trie, prompts, plan=plan, **shared),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Any] = {}
    peaks = {name: peak_bytes(way, model) for name, way in ways.items()}  # this warms up, too
    for _ in range(args.rounds):
        for name, way in ways.items():
            wait(args.device)
            started = time.perf_counter()
            found[name] = way()
            wait(args.device)
            seconds[name].append(time.perf_counter() - started)
    head = model.get_output_embeddings().weight.numel()
    body = sum(weight.numel() for weight in model.parameters()) - head * (
        1 if model.config.tie_word_embeddings else 2
    )
    theirs = np.array(seconds[f"generate {BEAM}"])
    for name, times in seconds.items():
        each, result = np.array(times), found[name]
        row: Row = {"shape": shape, "way": name, "users/s": args.users / np.median(each)}
        row |= spread("times generate", theirs / each)
        if hasattr(result, "stats"):
            nodes = float(result.stats["nodes"].mean())
            floor = 2 * (body * (args.prompt + nodes) + head * (1 + nodes)) * args.users
            row |= {"nodes": nodes, "certified": float(result.certified.mean())}
            row["share of products"] = floor / np.median(each) / peak
        yield row | {"peak GiB": peaks[name] / 2**30}


def peak_bytes(way: Callable[[], Any], model: Any) -> int:
    """The most bytes on a GPU, weights included; on a CPU those of tensors made, as `bench_steps` counts."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        way()
        return int(torch.cuda.max_memory_allocated())
    held = Held(model.config.vocab_size, model.config.hidden_size)
    with held:
        way()
    return held.most


def draw_codes(rng: np.random.Generator, items: int) -> Any:
    """[I, 4] codes in a tree as that of instrument: two levels branch, a prefix of two has one or two ends.

    A level beyond the second depends on the one before it, so that the last token of a prefix says what may
    follow.
    """
    first, second = (rng.beta(0.6, 1.4, (2, items)) * CODES).astype(int)
    third = (second * 7 + (rng.random(items) < 0.3)) % CODES
    return np.unique(np.stack([first, second, third, (third * 5 + 3) % CODES], axis=1), axis=0)


@torch.no_grad()
def sharpen(model: Any, trie: Trie, codes: list[list[int]], prompts: list[list[int]]) -> None:
    """Teach the head which token follows which in the codes, ever more surely, until exact search visits few
    nodes.

    To enlarge a head that knows nothing does not help: the tokens that a prefix forbids stay likelier than
    those that it allows, so that longer prefixes lose ever more. The input vectors are enlarged, so that the
    state at a token is nearly its own vector, and the row of a token is the sum of the vectors before it,
    with random weights.
    """
    inputs, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    inputs.mul_(10)
    rng = np.random.default_rng(1)
    firsts = sorted({code[0] for code in codes})
    pairs = {(last, token) for last in range(LAST_TOKENS) for token in rng.permutation(firsts)[:CHILDREN]}
    pairs |= {pair for code in codes for pair in pairwise(code)}
    before, after = (torch.tensor(side, device=head.device) for side in zip(*sorted(pairs), strict=True))
    weights = torch.tensor(1 + rng.exponential(size=len(pairs)), device=head.device)
    vectors = torch.nn.functional.normalize(inputs[before].float(), dim=1) * weights[:, None].float()
    taught = torch.zeros_like(head, dtype=torch.float32).index_add_(0, after, vectors)
    taught /= inputs.shape[1] ** 0.5  # the length of a state
    plan = SearchPlan(exhaustive_nodes=0, budget=500)
    fewest, surest = np.inf, 0.0
    for sureness in 1.6 ** np.arange(2, 14):
        head.copy_(sureness * taught)
        found = search_exact(model, trie, prompts[:8], k=DEPTH, tie=np.arange(trie.num_items), plan=plan)
        nodes = float(found.stats["nodes"].mean())
        if 0.97 * fewest < nodes < plan.budget:  # few dimensions for many codes: surer is not shorter
            break
        fewest, surest = min(nodes, fewest), float(sureness)
        if nodes <= NODES:
            break
    head.copy_(surest * taught)


def steps(shape: str, peak: float, args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of an optimiser step of each method on the same rows, beside sft's."""
    data = toy_data(num_users=400, num_items=args.items // 6, longest=20)
    methods: dict[str, Callable[[], Any]] = {
        "sft": SFT,
        "sdpo": lambda: SDPO(num_negatives=5),
        "ilrec": ILRec,
    }
    found: dict[str, list[Row]] = {name: [] for name in methods}
    with (
        tempfile.TemporaryDirectory() as folder,
        backbone_of(shape, args.device, Path(folder) / "model", num_items=args.items // 6) as backbone,
    ):
        for number in range(args.rounds + 1):
            for name, method in methods.items():
                timed = Timed(args.device)
                run = settings(name, backbone, Path(folder), timed, batch=args.batch, steps=args.fit_steps)
                fit = replace(run, workdir=Path(folder) / f"{name}-{number}")
                found[name].append(one_fit(method(), data, fit, timed))
    # the first round warms up and makes the stages: SASRec's epochs would count as steps of ilrec
    found = {name: rows[1:] for name, rows in found.items()}
    first = np.array([row["seconds"] for row in found["sft"]])
    for name, rows in found.items():
        seconds = np.array([row["seconds"] for row in rows])
        row = {"shape": shape, "method": name, "seconds": float(np.median(seconds))}
        row |= spread("times sft", seconds / first) | {"tokens a step": rows[-1]["tokens a step"]}
        products = 4 * rows[-1]["weights"] * row["tokens a step"]  # LoRA: no gradient of weights
        row["share of products"] = products / row["seconds"] / peak
        if args.device == "cuda":
            row["peak GiB"] = max(row["peak GiB"] for row in rows)
        yield row


def one_fit(method: Any, data: TrainingData, run: LLMRun, timed: Timed) -> Row:
    """Seconds and tokens of a step, weights, and on a GPU the peak of its memory."""
    gc.collect()  # the last fit's trainer
    if run.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    policy = SFT().start(data, run)
    method.train(policy, data, run)
    row: Row = {"seconds": timed.step, "weights": sum(each.numel() for each in policy.model.parameters())}
    row["tokens a step"] = timed.counts["trained_tokens"] / timed.counts["steps"]
    if run.device == "cuda":
        row["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return row


def spread(name: str, ratios: Any) -> Row:
    """The median of the rounds' ratios, the least and the most."""
    return {name: float(np.median(ratios)), "least": float(ratios.min()), "most": float(ratios.max())}


def markdown(results: Row) -> str:
    text = [f"{results['hardware']}, torch {results['torch']}, {results['date']}; products of matrices reach"]
    text[0] += f" {results['product TFLOP/s']} TFLOP/s."
    text += results.get("left out", [])
    for section in SECTIONS:
        rows = results.get(section, [])
        heads = list(dict.fromkeys(head for row in rows for head in row))
        if rows:
            text += ["", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for row in rows:
            cells = [row.get(head, "") for head in heads]
            text.append(f"| {' | '.join(f'{c:.4g}' if isinstance(c, float) else str(c) for c in cells)} |")
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
