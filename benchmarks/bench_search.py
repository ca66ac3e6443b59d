"""Compare exact search with beam search and transformers' `generate`, in turn in one process.

    python benchmarks/bench_search.py --users 64 --batch 16 --beam 20
    python benchmarks/bench_search.py --kind titles --steps 400

A small Llama is trained for a few steps on synthetic users (clusters of popular items), because the cost of
exact search depends on how sure the model is. "one by one" is the exact search that does not read
ahead where only one token can follow. Compare ratios: absolute times depend on the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.search import Searched, SearchPlan, search_exact
from recbench.llm.items.trie import Trie

LEVELS, PAD, EOS = 4, 0, 1


def main() -> None:
    arguments = _arguments()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    make = _titles if arguments.kind == "titles" else _identifiers
    identifiers = make(rng, arguments.items, arguments.codes)
    trie, tie = Trie.build(identifiers), np.arange(arguments.items)
    model = _model(arguments).to(arguments.device)
    _train(model, rng, identifiers, arguments.steps)
    prompts = _sequences(rng, identifiers, arguments.users, arguments.history)
    print(f"{arguments.items} items, {len(trie)} trie nodes, prompts of {len(prompts[0])} tokens")

    shared = {"k": arguments.k, "tie": tie}
    plan = SearchPlan(width=arguments.width, batch=arguments.batch, exhaustive_nodes=0)
    one_by_one = replace(trie, run_end=np.arange(len(trie)))
    beam = {"width": arguments.beam, "batch": arguments.batch}
    searches: dict[str, Callable[[], Searched | None]] = {
        "hf beam": lambda: _generate(model, identifiers, prompts, arguments),
        "beam": lambda: search_beam(model, trie, prompts, **shared, **beam),
        "one by one": lambda: search_exact(model, one_by_one, prompts, **shared, plan=plan),
        "exact": lambda: search_exact(model, trie, prompts, **shared, plan=plan),
    }
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    last: dict[str, Searched | None] = {}
    for _ in range(arguments.repeats + 1):  # the first round warms up
        for name, search in searches.items():
            started = time.perf_counter()
            last[name] = search()
            if arguments.device == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - started)
    _print_table({name: np.array(times[1:]) for name, times in seconds.items()}, last, arguments.users)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in {
        "items": 3000,
        "codes": 128,
        "hidden": 128,
        "layers": 4,
        "history": 8,
        "steps": 120,
        "users": 32,
        "batch": 16,
        "width": 32,
        "beam": 20,
        "k": 20,
        "repeats": 3,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kind", default="codes", choices=["codes", "titles"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    return parser.parse_args()


def _identifiers(rng: np.random.Generator, num_items: int, codes: int) -> list[list[int]]:
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < num_items:
        code = (rng.beta(0.6, 1.4, LEVELS) * codes).astype(int)
        drawn[tuple(int(2 + level * codes + c) for level, c in enumerate(code))] = None
    return [[*code, EOS] for code in sorted(drawn)]


def _titles(rng: np.random.Generator, num_items: int, codes: int) -> list[list[int]]:
    """Names of 3 to 14 words after an opening quote, in series that share their beginnings."""
    words = np.arange(3, 2 + LEVELS * codes)
    chance = 1 / (1 + np.arange(len(words)))
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < num_items:
        series = rng.choice(words, rng.integers(1, 4), p=chance / chance.sum())
        for _ in range(rng.integers(1, 6)):
            drawn[(2, *series.tolist(), *rng.choice(words, rng.integers(2, 12)).tolist())] = None
    return [[*title, EOS] for title in sorted(drawn)][:num_items]


def _model(arguments: argparse.Namespace) -> Any:
    config = LlamaConfig(
        vocab_size=2 + LEVELS * arguments.codes,
        hidden_size=arguments.hidden,
        intermediate_size=3 * arguments.hidden,
        num_hidden_layers=arguments.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config).to(getattr(torch, arguments.dtype))


def _sequences(
    rng: np.random.Generator, identifiers: list[list[int]], users: int, history: int
) -> list[list[int]]:
    """Histories of users who stay near a point of the catalogue, where neighbours share first codes."""
    centre = rng.integers(0, len(identifiers), (users, 1))
    items = (centre + rng.laplace(0, 15, (users, history))).astype(int) % len(identifiers)
    texts = [[token for item in row for token in identifiers[item]] for row in items]
    shortest = min(map(len, texts))
    return [text[-shortest:] for text in texts]


def _train(model: Any, rng: np.random.Generator, identifiers: list[list[int]], steps: int) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        tokens = torch.tensor(_sequences(rng, identifiers, 32, 8), device=model.device)
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    print(f"trained {steps} steps" + (f", loss {loss.item():.2f}" if steps else ""))
    model.eval()


def _generate(
    model: Any, identifiers: list[list[int]], prompts: list[list[int]], arguments: argparse.Namespace
) -> None:
    """The usual search: `generate` with a dictionary of allowed tokens. All prompts have the same length."""
    following: dict[tuple[int, ...], list[int]] = {}
    edges = {(tuple(code[:end]), code[end]) for code in identifiers for end in range(len(code))}
    for prefix, token in sorted(edges):
        following.setdefault(prefix, []).append(token)
    start = len(prompts[0])
    for at in range(0, len(prompts), arguments.batch):
        tokens = torch.tensor(prompts[at : at + arguments.batch], device=model.device)
        model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            num_beams=arguments.beam,
            num_return_sequences=arguments.beam,
            prefix_allowed_tokens_fn=lambda _, ids: following.get(tuple(ids[start:].tolist()), [EOS]),
            length_penalty=0.0,
            do_sample=False,
            max_new_tokens=max(map(len, identifiers)),
        )


def _print_table(seconds: dict[str, Any], last: dict[str, Searched | None], users: int) -> None:
    print(f"{'':10} {'users/s':>9} {'x hf beam':>10} {'nodes/user':>11} {'rounds':>7} {'certified':>10}")
    for name, times in seconds.items():
        ratio = np.median(seconds["hf beam"] / times)
        line = f"{name:10} {users / np.median(times):9.1f} {ratio:10.2f}"
        searched = last[name]
        if searched is not None:
            nodes, rounds = searched.stats["nodes"].mean(), searched.stats["rounds"].mean()
            line += f" {nodes:11.1f} {rounds:7.1f} {searched.certified.mean():10.1%}"
        print(line)
    exact, beam = last["exact"], last["beam"]
    if exact is not None and beam is not None:
        same = (np.sort(exact.items[:, :10]) == np.sort(beam.items[:, :10])).all(1).mean()
        print(f"beam's top 10 is the exact set for {same:.1%} of users")


if __name__ == "__main__":
    main()
