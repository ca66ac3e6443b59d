"""The engine that LLM methods share: its public names, imported when they are first used.

Importing this package imports no torch; `from recbench.llm import train` does. A plugin imports these names
alone; the modules behind them are private and may change. The groups of `_HOMES` are the table of contents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recbench.base.lazy import exporter

if TYPE_CHECKING:
    from recbench.llm.decoding.answers import Answers, training_answers
    from recbench.llm.decoding.answers import answer as answer_requests
    from recbench.llm.decoding.beam import search_beam
    from recbench.llm.decoding.generate import generate
    from recbench.llm.decoding.outside import ItemRanker, RankingTask
    from recbench.llm.decoding.rank import rank as rank_catalogue
    from recbench.llm.decoding.search import Collaborative, Searched, SearchPlan, search_exact
    from recbench.llm.decoding.text_space import TextSpace, text_space
    from recbench.llm.items.edges import EdgeScores, decides, decoding_factors, target_counts
    from recbench.llm.items.embeddings import has_text
    from recbench.llm.items.identifiers import item_vectors
    from recbench.llm.items.prompts import Prompts
    from recbench.llm.items.trie import Trie, TrieTables
    from recbench.llm.losses.dynamic import dynamicpo
    from recbench.llm.losses.groups import beam_reward, group_advantages, group_loss, window_weights
    from recbench.llm.losses.ilrec import (
        ChildRewards,
        ilrec_cpd,
        ilrec_cpo,
        ilrec_crr,
        ilrec_ensemble,
        ilrec_loss,
        ilrec_negatives,
        ilrec_weights,
        trie_reward,
    )
    from recbench.llm.losses.pairs import (
        PairBatch,
        Reduce,
        apo_zero,
        cpo,
        dpo_norm,
        dpo_pairs,
        ipo,
        kto,
        orpo,
        simpo,
        smoothed_dpo,
        sppo_hard,
    )
    from recbench.llm.losses.preference import (
        PreferenceLoss,
        RosePOForm,
        dmpo,
        dpo,
        oracle_smoothing,
        preference_diagnostics,
        sdpo,
    )
    from recbench.llm.losses.soft import soft_distance, soft_tau
    from recbench.llm.losses.tokens import sequence_logp, token_ce, token_logp
    from recbench.llm.method import LLMMethod
    from recbench.llm.model.policy import Policy
    from recbench.llm.model.policy import restore as restore_policy
    from recbench.llm.on_policy import ON_POLICY_PRESETS, OnPolicyMethod
    from recbench.llm.pair_method import PREFERENCE_PRESETS, PREFERENCE_SPACE, PairMethod
    from recbench.llm.rollout.groups import ResponseGroups
    from recbench.llm.rollout.rewards import (
        ranking_reward,
        rule_reward,
        sasrec_reward,
        semantic_reward,
        windowed,
    )
    from recbench.llm.rollout.rollouts import Reward
    from recbench.llm.signals.distillation import Distillation
    from recbench.llm.signals.distillation import Schedule as DistillationSchedule
    from recbench.llm.signals.dllm2rec import Student as DLLM2RecStudent
    from recbench.llm.signals.dllm2rec import dllm2rec_objective
    from recbench.llm.signals.pair_rows import make_pairs, reference_logps
    from recbench.llm.signals.preference import PairLoss, PairObjective, train_on_pairs
    from recbench.llm.signals.reward import CollaborativeReward, collaborative_reward
    from recbench.llm.signals.samplers import Draw, Sampler
    from recbench.llm.signals.smoothing import PersonalSmoothing, personal_smoothing
    from recbench.llm.signals.teacher import Teacher, ask_parent
    from recbench.llm.signals.temperature import AdaptiveTemperature
    from recbench.llm.training.batch import Supervision
    from recbench.llm.training.counterfactual import CounterfactualLoss, with_empty_prompts
    from recbench.llm.training.examples import CHOSEN as CHOSEN_SLOT
    from recbench.llm.training.examples import NextItem, next_item, with_rejected
    from recbench.llm.training.forward import Objective, Phi
    from recbench.llm.training.likelihood import TokenCrossEntropy
    from recbench.llm.training.pack import Row, prefix_tree
    from recbench.llm.training.scoring import logps
    from recbench.llm.training.tasks import TrainingRows, training_rows
    from recbench.llm.training.trainer import train
    from recbench.llm.training.trie_loss import TrieCrossEntropy, WeightedCrossEntropy
    from recbench.llm.training.watch import ShareWatch

__all__ = [
    "CHOSEN_SLOT",
    "ON_POLICY_PRESETS",
    "PREFERENCE_PRESETS",
    "PREFERENCE_SPACE",
    "AdaptiveTemperature",
    "Answers",
    "ChildRewards",
    "Collaborative",
    "CollaborativeReward",
    "CounterfactualLoss",
    "DLLM2RecStudent",
    "Distillation",
    "DistillationSchedule",
    "Draw",
    "EdgeScores",
    "ItemRanker",
    "LLMMethod",
    "NextItem",
    "Objective",
    "OnPolicyMethod",
    "PairBatch",
    "PairLoss",
    "PairMethod",
    "PairObjective",
    "PersonalSmoothing",
    "Phi",
    "Policy",
    "PreferenceLoss",
    "Prompts",
    "RankingTask",
    "Reduce",
    "ResponseGroups",
    "Reward",
    "RosePOForm",
    "Row",
    "Sampler",
    "SearchPlan",
    "Searched",
    "ShareWatch",
    "Supervision",
    "Teacher",
    "TextSpace",
    "TokenCrossEntropy",
    "TrainingRows",
    "Trie",
    "TrieCrossEntropy",
    "TrieTables",
    "WeightedCrossEntropy",
    "answer_requests",
    "apo_zero",
    "ask_parent",
    "beam_reward",
    "collaborative_reward",
    "cpo",
    "decides",
    "decoding_factors",
    "dllm2rec_objective",
    "dmpo",
    "dpo",
    "dpo_norm",
    "dpo_pairs",
    "dynamicpo",
    "generate",
    "group_advantages",
    "group_loss",
    "has_text",
    "ilrec_cpd",
    "ilrec_cpo",
    "ilrec_crr",
    "ilrec_ensemble",
    "ilrec_loss",
    "ilrec_negatives",
    "ilrec_weights",
    "ipo",
    "item_vectors",
    "kto",
    "logps",
    "make_pairs",
    "next_item",
    "oracle_smoothing",
    "orpo",
    "personal_smoothing",
    "preference_diagnostics",
    "prefix_tree",
    "rank_catalogue",
    "ranking_reward",
    "reference_logps",
    "restore_policy",
    "rule_reward",
    "sasrec_reward",
    "sdpo",
    "search_beam",
    "search_exact",
    "semantic_reward",
    "sequence_logp",
    "simpo",
    "smoothed_dpo",
    "soft_distance",
    "soft_tau",
    "sppo_hard",
    "target_counts",
    "text_space",
    "token_ce",
    "token_logp",
    "train",
    "train_on_pairs",
    "training_answers",
    "training_rows",
    "trie_reward",
    "window_weights",
    "windowed",
    "with_empty_prompts",
    "with_rejected",
]

_HOMES = {
    # the classes to derive from
    "LLMMethod": "method",
    "PairMethod": "pair_method",
    "PREFERENCE_PRESETS": "pair_method",
    "PREFERENCE_SPACE": "pair_method",
    "OnPolicyMethod": "on_policy",
    "ON_POLICY_PRESETS": "on_policy",
    # the policy: model, tokenizer, prompts and trie of identifiers
    "Policy": "model.policy",
    "restore_policy": "model.policy:restore",
    "Prompts": "items.prompts",
    "Trie": "items.trie",
    "has_text": "items.embeddings",
    "item_vectors": "items.identifiers",
    "TrieTables": "items.trie",
    # training examples and packed rows
    "NextItem": "training.examples",
    "next_item": "training.examples",
    "with_rejected": "training.examples",
    "CHOSEN_SLOT": "training.examples:CHOSEN",
    "TrainingRows": "training.tasks",
    "training_rows": "training.tasks",
    "Row": "training.pack",
    "prefix_tree": "training.pack",
    # the training loop, its objectives and what they read
    "train": "training.trainer",
    "ShareWatch": "training.watch",
    "Objective": "training.forward",
    "Phi": "training.forward",
    "Supervision": "training.batch",
    "TokenCrossEntropy": "training.likelihood",
    "logps": "training.scoring",
    # pairs of a chosen and rejected responses
    "PairBatch": "losses.pairs",
    "PairLoss": "signals.preference",
    "PairObjective": "signals.preference",
    "make_pairs": "signals.pair_rows",
    "reference_logps": "signals.pair_rows",
    "train_on_pairs": "signals.preference",
    # rejected items
    "Draw": "signals.samplers",
    "Sampler": "signals.samplers",
    # objectives over the tokens of the trie, and how a ranking scores its edges
    "EdgeScores": "items.edges",
    "decides": "items.edges",
    "decoding_factors": "items.edges",
    "target_counts": "items.edges",
    "TrieCrossEntropy": "training.trie_loss",
    "WeightedCrossEntropy": "training.trie_loss",
    "AdaptiveTemperature": "signals.temperature",
    "CounterfactualLoss": "training.counterfactual",
    "with_empty_prompts": "training.counterfactual",
    # losses over tokens and over responses, one pure function an equation
    "token_logp": "losses.tokens",
    "token_ce": "losses.tokens",
    "sequence_logp": "losses.tokens",
    "dpo": "losses.preference",
    "sdpo": "losses.preference",
    "dmpo": "losses.preference",
    "RosePOForm": "losses.preference",
    "PreferenceLoss": "losses.preference",
    "preference_diagnostics": "losses.preference",
    "oracle_smoothing": "losses.preference",
    "Reduce": "losses.pairs",
    "apo_zero": "losses.pairs",
    "cpo": "losses.pairs",
    "dpo_norm": "losses.pairs",
    "dpo_pairs": "losses.pairs",
    "dynamicpo": "losses.dynamic",
    "ipo": "losses.pairs",
    "kto": "losses.pairs",
    "orpo": "losses.pairs",
    "simpo": "losses.pairs",
    "smoothed_dpo": "losses.pairs",
    "sppo_hard": "losses.pairs",
    "soft_tau": "losses.soft",
    "soft_distance": "losses.soft",
    # groups of responses to one prompt, and what rewards them
    "ResponseGroups": "rollout.groups",
    "Reward": "rollout.rollouts",
    "ranking_reward": "rollout.rewards",
    "rule_reward": "rollout.rewards",
    "sasrec_reward": "rollout.rewards",
    "semantic_reward": "rollout.rewards",
    "windowed": "rollout.rewards",
    "beam_reward": "losses.groups",
    "group_advantages": "losses.groups",
    "group_loss": "losses.groups",
    "window_weights": "losses.groups",
    # ILRec's losses and the reward over trie nodes
    "ilrec_loss": "losses.ilrec",
    "ilrec_ensemble": "losses.ilrec",
    "ilrec_negatives": "losses.ilrec",
    "ilrec_weights": "losses.ilrec",
    "ilrec_cpo": "losses.ilrec",
    "ilrec_cpd": "losses.ilrec",
    "ilrec_crr": "losses.ilrec",
    "ChildRewards": "losses.ilrec",
    "trie_reward": "losses.ilrec",
    # answers, rankings and generation on requests and on training prompts
    "Answers": "decoding.answers",
    "answer_requests": "decoding.answers:answer",
    "training_answers": "decoding.answers",
    "rank_catalogue": "decoding.rank:rank",
    "generate": "decoding.generate",
    "SearchPlan": "decoding.search",
    "Searched": "decoding.search",
    "Collaborative": "decoding.search",
    "search_exact": "decoding.search",
    "search_beam": "decoding.beam",
    "ItemRanker": "decoding.outside",
    "RankingTask": "decoding.outside",
    "TextSpace": "decoding.text_space",
    "text_space": "decoding.text_space",
    # other sources of a training signal
    "CollaborativeReward": "signals.reward",
    "collaborative_reward": "signals.reward",
    "personal_smoothing": "signals.smoothing",
    "PersonalSmoothing": "signals.smoothing",
    "Distillation": "signals.distillation",
    "DistillationSchedule": "signals.distillation:Schedule",
    "Teacher": "signals.teacher",
    "ask_parent": "signals.teacher",
    "DLLM2RecStudent": "signals.dllm2rec:Student",
    "dllm2rec_objective": "signals.dllm2rec",
}
"""The module of each exported name; `module:attribute` where the module's own name is unclear outside it."""


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # so that type checkers report a name that is not exported
    __getattr__ = exporter(__name__, _HOMES)
