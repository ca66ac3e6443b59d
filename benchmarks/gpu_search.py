"""Exact search and beams beside `generate` at the shape of a real model: a section of `gpu.py`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from bench_search import Codes, generate
from bench_steps import Held
from gpu_rounds import Row, rounds, spread
from shapes import random_model, wait

from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.search import Searched, SearchPlan, search_exact
from recbench.llm.items.trie import Trie

BEAM, DEPTH, LEVELS, CODES = 20, 10, 4, 256
LAST_TOKENS, CHILDREN = 64, 40
"""Tokens with which prompts end, and first codes that follow each of them."""
NODES, MOST_NODES = 130, 200
"""About what exact search visits on a model of instrument that is trained, and what no shape may exceed."""
OWN = 10.0
"""How much longer a token's vector is than all that the layers add to it."""
FEW, NATS = 4, 0.01
"""Users whose scores are compared in fp32, and how far those of one item may be apart: logits of up to 100 of
which fp32 keeps 24 bits, in sums of thousands of products whose order differs."""


def search(shape: str, args: argparse.Namespace) -> Iterator[Row]:
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
    sharpen(model, trie, codes, prompts[:8])
    asked: dict[str, Any] = {"prompts": prompts, "k": DEPTH}
    plan = SearchPlan(batch=args.batch, exhaustive_nodes=0)
    beams: dict[str, Any] = {"width": BEAM, "batch": args.batch} | asked
    usual = f"generate {BEAM}"
    ways: dict[str, Callable[..., Any]] = {
        usual: partial(generate, model, Codes.of(trie, tie), **beams),
        f"beam {BEAM}": partial(search_beam, model, trie, tie=tie, **beams),
        "exact": partial(search_exact, model, trie, tie=tie, plan=plan, **asked),
    }
    peaks = {name: peak_bytes(way, model) for name, way in ways.items()}  # this warms up, too
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Any] = {}
    for _ in rounds(args):
        for name, way in ways.items():
            wait(args.device)
            started = time.perf_counter()
            found[name] = way()
            wait(args.device)
            seconds[name].append(time.perf_counter() - started)
    model.float()  # the same weights: bf16 would round scores by more than a wrong mask moves them
    few = prompts[:FEW]
    scores = {name: by_item(way(prompts=few)) for name, way in ways.items() if name != usual}
    scores[usual] = ways[usual](prompts=few, scored=True)
    head = model.get_output_embeddings().weight.numel()
    body = sum(weight.numel() for weight in model.parameters()) - 2 * head
    for name, times in seconds.items():
        each, result = np.array(times), found[name]
        row: Row = {"shape": shape, "way": name, "users/s": args.users / np.median(each)}
        row |= spread("times generate", np.array(seconds[usual]) / each)
        row |= beside(scores["exact"], scores[name])
        if isinstance(result, Searched):
            nodes = float(result.stats["nodes"].mean())
            floor = 2 * (body * (args.prompt + nodes) + head * (1 + nodes)) * args.users
            row |= {"nodes": nodes, "certified": float(result.certified.mean())}
            row["share of products"] = floor / np.median(each) / args.rate
        yield row | {"peak GiB": peaks[name] / 2**30}


def wrong_search(row: Row, args: argparse.Namespace) -> Iterator[str]:
    name = f"{row['way']} at {row['shape']}"
    if row["way"] == "exact":
        if row["certified"] < 1:
            yield f"{name} certified {row['certified']:.1%} of its rankings"
        if row["nodes"] > MOST_NODES and not args.small:
            yield f"{name} visited {row['nodes']:.0f} nodes, where a trained model needs about {NODES}"
    for head, said in (("apart (nats)", "from"), ("above exact (nats)", "above")):
        if row[head] > NATS:
            yield f"{name}: in fp32 scores up to {row[head]:.3g} nats {said} those of exact search"


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


def by_item(found: Searched) -> list[dict[int, float]]:
    """The score of each user's items, best first."""
    return [
        dict(zip(items, scores, strict=True))
        for items, scores in zip(found.items.tolist(), found.scores.tolist(), strict=True)
    ]


def beside(exact: list[dict[int, float]], others: list[dict[int, float]]) -> Row:
    """How a way ranks beside exact search: the share of its items, the most by which two scores of an item
    differ, and the most by which a place has a better score, which exact search leaves to nobody."""
    pairs = list(zip(exact, others, strict=True))
    both = [(one[item], other[item]) for one, other in pairs for item in one.keys() & other.keys()]
    places = [place for one, other in pairs for place in zip(one.values(), other.values(), strict=False)]
    return {
        "items of exact": len(both) / sum(len(one) for one in exact),
        "apart (nats)": max(abs(one - other) for one, other in both),
        "above exact (nats)": max(other - one for one, other in places),
    }


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
    inputs.mul_(OWN * length_added(model, prompts) / length(inputs))
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
        found = search_exact(model, trie, prompts, k=DEPTH, tie=np.arange(trie.num_items), plan=plan)
        nodes = float(found.stats["nodes"].mean())
        if 0.97 * fewest < nodes < plan.budget:  # few dimensions for many codes: surer is not shorter
            break
        fewest, surest = min(nodes, fewest), float(sureness)
        if nodes <= NODES:
            break
    head.copy_(surest * taught)


def length_added(model: Any, prompts: list[list[int]]) -> float:
    """The length of what all layers together add to the vectors of tokens.

    A layer reads states at one length, so that it adds as much to longer vectors.
    """
    tokens, states = torch.tensor(prompts, device=model.device), []
    hook = model.base_model.norm.register_forward_pre_hook(lambda _, read: states.append(read[0]))
    model.base_model(input_ids=tokens, use_cache=False)
    hook.remove()
    return length(states[0] - model.get_input_embeddings()(tokens))


def length(vectors: Any) -> float:
    """The root of the mean square of their entries."""
    return float(vectors.float().square().mean().sqrt())
