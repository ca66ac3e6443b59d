"""Rank with exact search, beam search and transformers' `generate`, in turn in one process, on a trained fit.

    recbench run -m sft -d instrument --root ROOT
    python benchmarks/bench_search.py --root ROOT --dataset instrument --depth 10 20 50
    python benchmarks/bench_search.py --root ROOT --dataset instrument --profile

The cost of exact search depends on how sure the model is, so that only a trained one shows it: the fit is
the finished one of the method's recipe in ROOT. Users are drawn from the test requests; no target is read.
All ways have the scores of the whole vocabulary; how often the others rank the exact set of items is printed.
Compare ratios: the median of those of each round, with the least and the most.
`--profile` times the parts of exact search.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from recbench.base.layout import fit_folder, stages_folder
from recbench.base.root import discover
from recbench.data import Ints
from recbench.dataset import split
from recbench.llm import restore_policy
from recbench.llm.decoding import search as searching
from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.leaves import EdgeScorer
from recbench.llm.decoding.search import Searched, SearchPlan, batches_by_length, search_exact
from recbench.llm.decoding.tree_cache import DecodingTree
from recbench.llm.items.trie import Trie
from recbench.llm.model.policy import Policy
from recbench.method import RunContext
from recbench.planning.plan import plan
from recbench.planning.resolve import Selection, rebuild_llm_settings
from recbench.stages import StageCache

BEAMS = {"do_sample": False, "length_penalty": 0.0}


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    policy, prompts = load(args)
    lengths = np.array([len(prompt) for prompt in prompts])
    print(
        f"{policy.trie.num_items} items, {len(policy.trie)} nodes; {len(prompts)} users, prompts of", end=" "
    )
    print(f"{lengths.mean():.0f} tokens on average, at most {lengths.max()}; batches of {args.batch}\n")
    if args.profile:
        profile(policy, prompts, args)
        return
    print("| depth | way | users/s | times `generate` | times beam | nodes | rounds | certified | same set |")
    print("|---|---|---|---|---|---|---|---|---|")
    for depth in args.depth:
        compare(policy, prompts, depth, args)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--dataset", default="instrument")
    parser.add_argument("--method", default="sft")
    parser.add_argument("--backbone", default="tiny")
    parser.add_argument("--paradigm", default="semantic-id")
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--prompt-tokens", type=int, default=0, help="the least of a user's prompt")
    parser.add_argument("--depth", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--beam", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=SearchPlan().width)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args()


def load(args: argparse.Namespace) -> tuple[Policy, list[list[int]]]:
    """The policy of the finished fit, and the prompts of the users drawn."""
    root = discover(args.root)
    selection = Selection(
        method=args.method, dataset=args.dataset, backbone=args.backbone, paradigm=args.paradigm, seed=0
    )
    planned = next(one for one in plan([selection], root) if one.spec.fit.method == args.method)
    data = split.load_training(planned.split.folder)
    run = RunContext(
        seed=0,
        workdir=fit_folder(root.cache, planned.spec.fit.id),
        stages=StageCache(stages_folder(root.cache)),
        threads=args.threads,
    )
    llm = rebuild_llm_settings(planned.spec)
    assert llm is not None
    policy = restore_policy(data, run.with_llm(llm))
    requests = split.load_requests(
        planned.split.folder, "test", exclude_seen=planned.spec.protocol["exclude_seen"]
    )
    users = np.random.default_rng(0).permutation(len(requests))
    prompts = policy.prompts.for_histories(requests.take(users).history)
    long = [prompt for prompt in prompts if len(prompt) >= args.prompt_tokens]
    return policy, long[: args.users]


def compare(policy: Policy, prompts: list[list[int]], depth: int, args: argparse.Namespace) -> None:
    """A row of the table for each way."""
    settings = SearchPlan(width=args.width, batch=args.batch)
    width = max(args.beam, depth)
    shared: dict[str, Any] = {"k": depth, "tie": policy.tie}
    codes = Codes.of(policy.trie, policy.tie)  # made once, as the trie is
    ways: dict[str, Callable[[], Searched | list[dict[int, float]]]] = {
        f"generate {width}": lambda: generate(
            policy.model, codes, prompts, width=width, k=depth, batch=args.batch
        ),
        f"beam {width}": lambda: search_beam(
            policy.model, policy.trie, prompts, width=width, batch=args.batch, **shared
        ),
        "exact": lambda: search_exact(policy.model, policy.trie, prompts, plan=settings, **shared),
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    found: dict[str, Any] = {}
    for _ in range(args.repeats + 1):  # the first round warms up
        for name, way in ways.items():
            started = time.perf_counter()
            found[name] = way()
            seconds[name].append(time.perf_counter() - started)
    theirs, beam, exact = (np.array(seconds[name][1:]) for name in ways)
    best = sets(found["exact"])
    for name, each in zip(ways, (theirs, beam, exact), strict=True):
        result = found[name]
        own = isinstance(result, Searched)
        items = sets(result) if own else [set(one) for one in result]
        same = np.mean([a == b for a, b in zip(items, best, strict=True)])
        cells = [
            str(depth),
            name,
            f"{len(prompts) / np.median(each):.1f}",
            ratio(theirs, each),
            ratio(beam, each),
        ]
        cells += [f"{result.stats[key].mean():.1f}" for key in ("nodes", "rounds")] if own else ["", ""]
        cells += [f"{result.certified.mean():.1%}" if own else "", f"{same:.1%}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def ratio(one: np.ndarray, other: np.ndarray) -> str:
    each = one / other
    return f"{np.median(each):.2f} ({each.min():.2f}-{each.max():.2f})"


def sets(searched: Searched) -> list[set[int]]:
    return [set(row.tolist()) for row in searched.items]


class Codes(NamedTuple):
    """What `generate` reads of the items, by the tokens of an identifier or of its beginning."""

    items: dict[tuple[int, ...], list[int]]
    following: dict[tuple[int, ...], list[int]]
    """The tokens that may follow."""

    @classmethod
    def of(cls, trie: Trie, tie: Ints) -> Codes:
        codes = [tuple(int(trie.token[node]) for node in row if node > 0) for row in trie.path]
        items: dict[tuple[int, ...], list[int]] = {}
        for item in tie.tolist():
            items.setdefault(codes[item], []).append(item)
        following: dict[tuple[int, ...], list[int]] = {}
        for prefix, token in sorted({(code[:at], code[at]) for code in codes for at in range(len(code))}):
            following.setdefault(prefix, []).append(token)
        return cls(items, following)


def generate(
    model: Any,
    codes: Codes,
    prompts: Sequence[list[int]],
    *,
    width: int,
    k: int,
    batch: int,
    draw: bool = False,
    scored: bool = False,
) -> list[dict[int, float]]:
    """The k items of the usual search, best first, or of `width` draws: `generate` with a dictionary of the
    tokens that may follow. Scores are NaN unless they are asked for, as they take memory."""
    items, following = codes
    end = pad = next(iter(items))[-1]
    device = next(model.parameters()).device
    found: list[dict[int, float]] = [{}] * len(prompts)
    for _, rows in batches_by_length(prompts, batch):
        longest = max(len(prompts[row]) for row in rows)
        asked = [[pad] * (longest - len(prompts[row])) + prompts[row] for row in rows]
        read = [[0] * (longest - len(prompts[row])) + [1] * len(prompts[row]) for row in rows]

        def allowed(_: int, written: Tensor, start: int = longest) -> list[int]:
            return following.get(tuple(written[start:].tolist()), [end])

        written = model.generate(
            input_ids=torch.tensor(asked, device=device),
            attention_mask=torch.tensor(read, device=device),
            num_return_sequences=width,
            prefix_allowed_tokens_fn=allowed,
            **({"do_sample": True, "top_k": 0} if draw else BEAMS | {"num_beams": width}),
            max_new_tokens=max(map(len, items)),
            pad_token_id=pad,
            eos_token_id=end,
            return_dict_in_generate=scored,  # it would keep the cache of keys and values, too
            output_scores=scored,
        )
        scores = written.sequences_scores.tolist() if scored else [math.nan] * len(rows) * width
        written = written.sequences if scored else written
        beams = written[:, longest:].view(len(rows), width, -1).tolist()
        for number, row in enumerate(rows):
            ranked = [
                (item, score)
                for beam, score in zip(beams[number], scores[number * width :], strict=False)
                for item in items[tuple(beam[: beam.index(end) + 1])]
            ]
            found[row] = dict(ranked[:k])
    return found


def profile(policy: Policy, prompts: list[list[int]], args: argparse.Namespace) -> None:
    """The shares of exact search's time."""
    spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(owner: Any, name: str, label: str) -> Iterator[None]:
        original = getattr(owner, name)

        def call(*words: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = original(*words, **named)
            spent[label] += time.perf_counter() - started
            return result

        with mock.patch.object(owner, name, call):
            yield

    parts: Sequence[tuple[Any, str, str]] = [
        (DecodingTree, "start", "prompts"),
        (DecodingTree, "_forward", "tree: forward passes"),
        (DecodingTree, "extend", "tree: forward passes and masks"),
        (EdgeScorer, "__call__", "log-probabilities of children"),
        (searching, "_absorb", "leaves and waiting prefixes"),
        (searching, "_choose", "choice of the next prefixes"),
        (searching, "_store", "items of leaves"),
    ]
    for depth in args.depth:
        spent.clear()
        settings = SearchPlan(width=args.width, batch=args.batch)
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(timed(*part))
            started = time.perf_counter()
            for _ in range(args.repeats):
                search_exact(policy.model, policy.trie, prompts, k=depth, tie=policy.tie, plan=settings)
            total = time.perf_counter() - started
        spent["tree: masks"] = spent.pop("tree: forward passes and masks") - spent["tree: forward passes"]
        spent["rest"] = total - sum(spent.values())
        print(f"depth {depth}, {total / args.repeats:.2f} s")
        for label, seconds in sorted(spent.items(), key=lambda one: -one[1]):
            print(f"  {seconds / total:6.1%}  {label}")


if __name__ == "__main__":
    main()
