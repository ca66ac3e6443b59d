"""Rank the catalogue with a policy, by the ranker of the run."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Requests, TrainingData
from recbench.errors import UsageError
from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.ground import choose_gamma, search_ground, write_titles
from recbench.llm.decoding.outside import RankingTask, rank_outside
from recbench.llm.decoding.search import (
    Collaborative,
    SearchPlan,
    batches_by_length,
    read_tokens,
    search_exact,
)
from recbench.llm.decoding.text_space import text_space
from recbench.llm.items.edges import EdgeScores, decoding_factors, target_counts
from recbench.llm.model.policy import Policy
from recbench.method import LLMRun
from recbench.ranking import Ranking
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import cf_model, scores
from recbench.settings import BeamRanker, ExactRanker, GroundRanker, OutsideRanker


def rank(policy: Policy, requests: Requests, *, data: TrainingData, k: int, run: LLMRun) -> Ranking:
    """The k best items of each request, by the ranker of the run's settings."""
    ranker = run.llm.ranker
    prompts = policy.prompts.for_histories(requests.history)

    def progress(done: int) -> None:
        run.report.progress("ranking", done, len(prompts))

    common: dict[str, Any] = {
        "k": k,
        "tie": policy.tie,
        "allowed": requests.allowed,
        "excluded": requests.excluded,
        "edges": policy.edges,
        "progress": progress,
    }
    match ranker:
        case ExactRanker():
            settings = asdict(ranker)
            alpha, guidance = settings.pop("alpha"), settings.pop("guidance")
            searched = search_exact(
                policy.model,
                policy.trie,
                prompts,
                plan=SearchPlan(**settings),
                collaborative=collaborative(guidance, requests, data, run) if guidance < 1 else None,
                **common | {"edges": with_factors(policy, data, alpha) if alpha else policy.edges},
            )
        case BeamRanker():
            searched = search_beam(
                policy.model, policy.trie, prompts, width=ranker.width, batch=ranker.batch, **common
            )
        case OutsideRanker():
            task = RankingTask(policy=policy, requests=requests, data=data, run=run, k=k)
            return rank_outside(ranker, task)
        case GroundRanker():
            return ground(policy, requests, ranker, data=data, k=k, run=run)
    return Ranking(
        items=searched.items,
        scores=searched.scores,
        certified=searched.certified,
        stats={f"{name}_per_user": float(values.mean()) for name, values in searched.stats.items()},
    )


def with_factors(policy: Policy, data: TrainingData, alpha: float) -> EdgeScores:
    """The policy's way of scoring with IGD's factors. UsageError where its fit has factors already."""
    if policy.edges.factor is not None:
        raise UsageError(
            "the fit has factors of its own, and the ranker's alpha would be multiplied with them",
            why="igd keeps its decoding with the fit, as its parameter alpha",
            fix="--ranker exact, or igd:alpha=0",
        )
    return replace(policy.edges, factor=decoding_factors(policy.trie, target_counts(data), alpha))


def collaborative(guidance: float, requests: Requests, data: TrainingData, run: LLMRun) -> Collaborative:
    """SASRec's logits for D3's decoding."""
    model = cf_model(data, run, SASRecParams())
    return Collaborative(lambda rows: scores(model, requests.history.take(rows)), guidance)


def shares(policy: Policy, requests: Requests, parts: int, *, run: LLMRun) -> list[Ints]:
    """The rows of `requests` in `parts` shares of whole batches, dealt in turn.

    So a request is batched with the same others, and gets the same scores, however many processes rank.
    """
    prompts = policy.prompts.for_histories(requests.history)
    batches = [rows for _, rows in batches_by_length(prompts, run.llm.ranker.batch)]
    empty = np.zeros(0, dtype=np.int64)
    return [np.sort(np.concatenate([empty, *batches[part::parts]])) for part in range(parts)]


def ground(
    policy: Policy, requests: Requests, ranker: GroundRanker, *, data: TrainingData, k: int, run: LLMRun
) -> Ranking:
    """Rank by grounding, with popularity or collaborative scores if the ranker injects them."""
    space = text_space(policy, data, run)
    prompts = policy.prompts.for_histories(requests.history)
    popularity = data.catalogue.popularity

    def writing(stage: str, total: int) -> dict[str, Any]:
        def progress(done: int) -> None:
            run.report.progress(stage, done, total)

        return {
            "max_new": policy.prompts.room,
            "beam": ranker.width,
            "batch": ranker.batch,
            "progress": progress,
        }

    gamma, num_tokens = (0.0 if ranker.inject == "none" else ranker.gamma), 0
    if gamma < 0:
        asked = data.valid.requests
        titles, lengths = write_titles(
            policy.model,
            policy.tokenizer,
            policy.prompts.for_histories(asked.history),
            **writing("choosing gamma", len(asked)),
        )
        queries, injected = space.encoder.encode(titles), injected_scores(ranker, asked, data, run)
        gamma = choose_gamma(queries, space.vectors, injected, data.valid, popularity=popularity).gamma
        num_tokens = int(lengths.sum())
    grounded = search_ground(
        policy.model,
        policy.tokenizer,
        prompts,
        requests=requests,
        encoder=space.encoder,
        titles=space.titles,
        vectors=space.vectors,
        popularity=popularity,
        k=k,
        injected=injected_scores(ranker, requests, data, run) if gamma else None,
        gamma=gamma,
        **writing("ranking", len(requests)),
    )
    return Ranking(
        items=grounded.items,
        scores=grounded.scores,
        stats={
            "gamma": gamma,
            "generated_tokens": float(num_tokens + grounded.stats["generated_tokens"].sum()),
            "prompt_tokens_per_user": read_tokens(prompts, ranker.batch) / max(1, len(prompts)),
            "exact_title_share": float(grounded.stats["exact_titles"].mean()),
        },
    )


def injected_scores(
    ranker: GroundRanker, requests: Requests, data: TrainingData, run: LLMRun
) -> NDArray[Any]:
    """[R, I] the scores that the ranker injects, or [1, I] if all requests share them."""
    if ranker.inject == "popularity":
        counts: NDArray[np.float64] = data.catalogue.popularity[None].astype(np.float64)
        return counts
    return scores(cf_model(data, run, SASRecParams()), requests.history)
