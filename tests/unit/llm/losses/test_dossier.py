"""Every number that was worked out by hand for a method's equation has a test, and no claim here is empty.

Keys are "section: what was worked out", numbered in the order of the methods: 1 shared, 2-4 SFT in three
paradigms, 5-10 preference methods, 11-13 baselines, 14 extras.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]

TOKENS = "tests/unit/llm/losses/test_tokens.py"
PREFERENCE = "tests/unit/llm/losses/test_preference_losses.py"
ROSEPO = "tests/unit/llm/losses/test_rosepo_loss.py"
SOFT = "tests/unit/llm/losses/test_soft_loss.py"
TRL = "tests/unit/llm/losses/test_against_trl.py"
ILREC = "tests/unit/llm/losses/test_ilrec_losses.py"
ILREC_PROPERTIES = "tests/unit/llm/losses/test_ilrec_properties.py"
GROUND = "tests/unit/llm/decoding/test_ground.py"
METRICS = "tests/unit/results/test_metrics.py"

LOSSES: dict[str, tuple[str, ...]] = {
    "1.7 log-probability of a response: a sum over its tokens, not a mean": (
        f"{TOKENS}::test_a_responses_log_probability_is_the_sum_over_its_tokens",
    ),
    "1.8 every loss is finite at log-ratios of 1e4 and logits of 1e3": (
        f"{PREFERENCE}::test_values_and_gradients_are_finite_for_log_ratios_up_to_ten_thousand",
        f"{ILREC_PROPERTIES}::test_losses_and_gradients_are_finite_for_logits_up_to_a_thousand",
    ),
    "2.7 SFT, cross-entropy: two positions": (f"{TOKENS}::test_token_logp_and_ce_of_two_positions",),
    "5 DPO, Eq. 7 of Rafailov et al.: values, gradient, equal responses, start": (
        f"{PREFERENCE}::test_dpo_of_a_margin_of_one_and_a_half_nats",
        f"{PREFERENCE}::test_gradient_of_dpo_is_beta_times_the_chance_of_the_wrong_order",
        f"{PREFERENCE}::test_dpo_of_one_response_as_chosen_and_rejected_is_log_two_without_gradient",
        f"{PREFERENCE}::test_loss_where_policy_and_reference_agree",
        f"{TRL}::test_dpo_equals_trl",
    ),
    "6.1 S-DPO: one rejected response is DPO, start at log(1 + K), missing responses": (
        f"{PREFERENCE}::test_one_rejected_response_or_no_smoothing_is_dpo",
        f"{PREFERENCE}::test_loss_where_policy_and_reference_agree",
        f"{PREFERENCE}::test_sdpo_tends_to_the_log_of_the_number_of_responses_as_beta_vanishes",
        f"{PREFERENCE}::test_sdpo_is_the_cross_entropy_of_the_chosen_among_all_responses",
        f"{PREFERENCE}::test_missing_rejected_responses_leave_no_trace",
        f"{PREFERENCE}::test_an_example_without_rejected_responses_adds_nothing_but_counts",
    ),
    "6.5 S-DPO: overflow and underflow": (
        f"{PREFERENCE}::test_sdpo_of_a_rejected_response_far_ahead_is_its_lead",
        f"{PREFERENCE}::test_sdpo_of_a_rejected_response_far_behind_has_no_gradient",
    ),
    "6.6 S-DPO: value and gradient with two rejected responses": (
        f"{PREFERENCE}::test_sdpo_of_two_rejected_responses",
        f"{PREFERENCE}::test_gradient_of_sdpo_weighs_the_harder_rejected_response_more",
    ),
    "7.1 RosePO: the margin where an uncertain pair stops pulling, trl's forms": (
        f"{ROSEPO}::test_an_uncertain_pair_stops_pulling_at_its_log_odds",
        f"{TRL}::test_robust_form_equals_trl",
        f"{TRL}::test_conservative_form_equals_trl_where_sorting_a_batch_changes_nothing",
        f"{TRL}::test_conservative_form_of_a_batch_equals_trls_without_a_reference",
    ),
    "7.2 RosePO: smoothing stays below one half": (
        f"{ROSEPO}::test_smoothing_stops_below_one_half",
        f"{ROSEPO}::test_no_gradient_reaches_the_oracle",
    ),
    "7.6 RosePO: both forms, and smoothing by an oracle": (
        f"{ROSEPO}::test_rosepo_of_both_forms",
        f"{ROSEPO}::test_smoothing_is_the_oracles_preference_for_the_rejected_item",
    ),
    "9.2 SOFT, scheduler: four speeds": (
        f"{SOFT}::test_alpha_sets_how_fast_distilled_data_loses_its_weight",
        f"{SOFT}::test_the_first_epoch_is_pure_distillation_and_no_distance_overflows",
    ),
    "9.7 SOFT: distance, weight and mixed loss": (
        f"{SOFT}::test_distance_is_the_mean_over_outputs",
        f"{SOFT}::test_weight_of_distilled_data_and_the_mixed_loss",
    ),
    "10.3 ILRec, Eq. 4-5: thresholds of negatives": (
        f"{ILREC}::test_negatives_are_the_tokens_above_alpha_times_the_truth",
        f"{ILREC_PROPERTIES}::test_the_log_threshold_gives_the_mask_of_the_probability_rule",
    ),
    "10.4 ILRec, Eq. 6: weights, and their gradient if it is not stopped": (
        f"{ILREC}::test_weights_renormalise_the_ensemble_over_the_negatives",
        f"{ILREC}::test_weights_of_the_literal_reading_are_almost_uniform",
        f"{ILREC}::test_undetached_weights_would_lower_the_hardest_negative",
    ),
    "10.5 ILRec, Eq. 7: the forms of CPO under a shift, one more token under rel_min": (
        f"{ILREC}::test_cpo_of_each_form_before_and_after_a_shift_of_all_logits",
        f"{ILREC}::test_cpo_with_the_literal_weights",
        f"{ILREC}::test_gradient_of_cpo_in_the_example",
        f"{ILREC}::test_cpo_penalises_negative_logits_less_than_cross_entropy_does",
        f"{ILREC}::test_rel_min_hangs_on_the_smallest_logit",
        f"{ILREC_PROPERTIES}::test_cpo_without_beta_or_without_negatives_is_cross_entropy",
    ),
    "10.6 ILRec, Eq. 8: distillation of each layer and in both directions": (
        f"{ILREC}::test_cpd_of_both_directions",
        f"{ILREC}::test_cpd_sums_the_layers",
        f"{ILREC_PROPERTIES}::test_no_gradient_of_cpo_reaches_the_layers_and_none_of_cpd_the_final_layer",
    ),
    "10.7 ILRec, Eq. 10-11: rewards, soft label, fifty negatives": (
        f"{ILREC}::test_reward_is_the_share_of_mass_below_each_child",
        f"{ILREC}::test_soft_label_is_the_softmax_of_rewards_over_negatives_and_truth",
        f"{ILREC}::test_fifty_negatives_leave_the_truth_little_of_the_soft_label",
        f"{ILREC}::test_crr_of_both_spaces",
        f"{ILREC}::test_crr_without_negatives_is_cross_entropy",
        f"{ILREC_PROPERTIES}::test_rewards_equal_sums_over_all_items_and_sum_to_one",
    ),
    "10.11 ILRec, Eq. 3 and 12: ensemble, total and five ablations": (
        f"{ILREC}::test_ensemble_is_the_mean_of_the_layers_logits",
        f"{ILREC}::test_total_of_the_method_and_of_its_ablations",
        f"{ILREC}::test_terms_of_the_whole_loss",
        f"{ILREC}::test_terms_without_cross_layer_negatives",
    ),
    "14.1 DMPO: two rejected responses": (
        f"{PREFERENCE}::test_dmpo_of_two_rejected_responses_takes_their_mean",
    ),
    "14.2 ReRe: rewards and advantages of four beams": (
        "tests/unit/llm/losses/test_groups.py::test_beams_above_the_hit_lose_most",
        "tests/unit/llm/losses/test_groups.py::test_advantages_are_standardised_within_the_group",
        "tests/unit/llm/losses/test_groups.py::test_a_group_without_a_hit_gives_no_signal_and_does_not_touch_another",
    ),
    "14.3 D3: a token's score": (
        "tests/unit/llm/decoding/test_guided_search.py::test_a_score_mixes_the_two_models_logarithms",
    ),
}

# What is not a loss: metrics, identifiers, decoding, methods of several stages, baselines.
PARTS: dict[str, tuple[str, ...]] = {
    "1.6 metrics: discounts of four ranks, and the identity of hits and NDCG": (
        f"{METRICS}::test_ndcg_of_one_target_is_the_discount_of_its_rank",
        f"{METRICS}::test_every_set_of_ranks_keeps_the_identity",
        f"{METRICS}::test_the_identity_finds_metrics_that_no_ranks_can_give",
    ),
    "2.7 BIGRec: distances with an injected score": (f"{GROUND}::test_injection_on_numbers",),
    "3.6 LC-Rec, RQ-VAE: codes, loss and gradients": (
        "tests/unit/llm/items/test_rqvae.py::test_the_worked_example_has_these_codes_and_this_loss",
        "tests/unit/llm/items/test_rqvae.py::test_later_residuals_carry_no_gradient",
    ),
    "4.5 LLaRA, curriculum: four shares of the training": (
        "tests/unit/llm/model/test_curriculum.py::test_the_chance_of_a_hybrid_prompt_is_the_share_of_training_done",
    ),
    "8.6 SPRec: a policy of one answer, at the first step of its preference stage": (
        "tests/unit/methods/test_preference.py"
        "::test_sprec_rejects_the_one_answer_of_a_stub_and_drops_it_where_it_is_right",
    ),
    "10.8 ILRec without its terms is SFT": (
        "tests/unit/methods/test_language_models.py::test_ilrec_without_its_three_terms_is_sft_step_for_step",
    ),
    "11.6 baselines: the ring is learned, ties score as chance": (
        "tests/unit/sequential/test_sasrec.py::test_the_ring_is_learned_to_hit_rate_one",
        "tests/unit/sequential/test_baselines.py::test_dros_learns_the_cycle",
        "tests/unit/sequential/test_baselines.py::test_recbole_trains_on_our_split_in_a_child_and_learns_the_cycle",
        "tests/unit/sequential/test_baselines.py::test_without_parameters_all_items_tie_and_hits_are_k_of_the_catalogue",
    ),
    "12 DROS: robust term, base loss, total": (
        "tests/unit/sequential/test_baselines.py::test_the_robust_term_and_the_total_of_dros_are_the_worked_ones",
    ),
    "12 DROS: the published network": (
        "tests/unit/sequential/test_dros.py::test_the_network_normalises_queries_alone_and_has_a_relu",
    ),
    "13.1 DLLM2Rec: weights of the teacher's items, the distilled loss": (
        "tests/unit/sequential/test_baselines.py::test_teacher_weights_are_the_worked_ones",
        "tests/unit/sequential/test_dros.py::test_the_distilled_cross_entropy_counts_whole_beside_the_robust_term",
    ),
}


PAIRS = "tests/unit/llm/losses/test_pair_losses.py"
TRIE = "tests/unit/llm/losses/test_trie_losses.py"
GROUPS = "tests/unit/llm/losses/test_groups.py"
ROLLOUT = "tests/unit/llm/rollout"
ON_POLICY = "tests/unit/methods/test_on_policy.py"
DYNAMIC = "tests/unit/llm/losses/test_dynamicpo.py"
GUIDED = "tests/unit/llm/decoding/test_guided_search.py"
EDGES = "tests/unit/llm/items/test_edges.py"
SAMPLERS = "tests/unit/llm/signals/test_samplers.py"
METHODS = "tests/unit/methods/test_pair_methods.py"
TRANSITION = "tests/unit/methods/test_transition.py"
TGH = "tests/unit/methods/test_tgh.py"
TOKEN_METHODS = "tests/unit/methods/test_token_methods.py"

# The newer methods, by their own numbering: 1 MSL and BEAR, 2 groups of responses, 3 pair losses, 4 weighted
# tokens and dynamic negatives, 5 samplers, 6 transitions, 7 exposure,
# 8 rows in time.
NEWER: dict[str, tuple[str, ...]] = {
    "newer 1.1-1.2 MSL: means, forced tokens, the mass of valid tokens, SFT as a limit": (
        f"{TRIE}::test_msl_as_a_mean_over_choices_tokens_or_examples",
        f"{TRIE}::test_micro_batches_in_their_shares_of_the_units_give_the_loss_of_the_whole",
        f"{TRIE}::test_with_every_token_valid_and_tau_one_msl_is_sft",
        f"{TRIE}::test_temperature_leaves_the_gradients_size_and_everything_is_finite",
        f"{TRIE}::test_a_trie_without_a_choice_is_refused",
        f"{TOKEN_METHODS}::test_msl_trains_other_weights_than_sft_and_its_temperature_ranks",
        "tests/unit/llm/decoding/test_edge_scores.py"
        "::test_the_certified_ranking_is_that_of_scoring_every_item_by_its_edges",
    ),
    "newer 1.3 MSL: the adaptive temperature, its guards, its place in a fit": (
        f"{TRIE}::test_adaptive_temperature_of_two_first_tokens",
        f"{TRIE}::test_the_constant_of_the_adaptive_temperature_and_its_guards",
        f"{TOKEN_METHODS}::test_an_adaptive_temperature_is_a_result_of_the_fit",
        f"{TOKEN_METHODS}::test_with_select_best_the_temperature_is_that_of_the_kept_weights",
        f"{TOKEN_METHODS}::test_an_interrupted_fit_with_an_adaptive_temperature_goes_on_where_it_was",
    ),
    "newer 1.7 MSL: cross-entropy of two items, valid mass, gradients": (
        f"{TRIE}::test_cross_entropy_over_the_children_of_each_node",
        f"{TRIE}::test_cross_entropy_is_that_over_children_less_the_log_of_their_mass",
        f"{TRIE}::test_gradient_is_nothing_outside_the_children_and_at_a_forced_token",
    ),
    "newer 1.8 BEAR: weights and loss": (
        f"{TRIE}::test_bear_weighs_targets_above_the_second_child_more",
        f"{TOKEN_METHODS}::test_what_bear_does_not_go_with_is_refused",
    ),
    "newer 2.2-2.3 ReRe: rewards and advantages of groups": (
        f"{GROUPS}::test_beams_above_the_hit_lose_most",
        f"{GROUPS}::test_penalties_are_shares_of_all_places_or_of_the_misses",
        f"{GROUPS}::test_equal_rewards_have_no_advantage_at_all",
        f"{GROUPS}::test_a_ratio_beyond_the_clip_pulls_no_further",
    ),
    "newer 2.5-2.6 ReRe: the exact group, its row, refreshed groups, the reference that follows, refusals": (
        f"{ROLLOUT}/test_groups.py::test_the_exact_group_are_the_best_identifiers_in_their_order",
        f"{ROLLOUT}/test_groups.py::test_draws_follow_the_policy_among_the_children_of_each_node",
        f"{ROLLOUT}/test_rollouts.py::test_the_columns_of_a_row_are_those_of_its_responses",
        f"{ROLLOUT}/test_rollouts.py::test_a_reference_follows_once_each_time_its_steps_have_passed",
        f"{ON_POLICY}::test_equal_rewards_without_a_divergence_change_nothing",
        f"{ON_POLICY}::test_an_interrupted_fit_ranks_as_one_that_was_left_alone",
        f"{ON_POLICY}::test_groups_without_an_alternative_are_refused_by_name",
    ),
    "newer 2.8 ReRe: dynamic draws, a reference that is mixed": (
        f"{ROLLOUT}/test_groups.py::test_dynamic_draws_keep_the_targets_then_one_of_each_other_by_frequency",
        f"{ROLLOUT}/test_rollouts.py::test_the_reference_is_the_policy_as_it_was_and_may_follow_it",
    ),
    "newer 2.8 ReRe: groups of 4 and 16, the loss under three means, its gradient": (
        f"{GROUPS}::test_advantages_are_standardised_within_the_group",
        f"{GROUPS}::test_a_group_of_sixteen_with_a_hit_in_the_first_place",
        f"{GROUPS}::test_kl_of_four_responses_and_its_gradient",
        f"{GROUPS}::test_the_loss_of_a_group_under_each_mean",
        f"{GROUPS}::test_gradient_is_that_of_signed_weighted_sft_and_of_the_divergence",
    ),
    "newer 2.9 TAWin, reconstructed: weights of eight negatives": (
        f"{GROUPS}::test_weights_of_negatives_fall_with_the_distance_to_an_anchor",
        f"{GROUPS}::test_weights_of_negatives_have_a_mean_of_one_at_any_mass",
        f"{ROLLOUT}/test_rollouts.py::test_a_window_weighs_the_misses_and_no_hit",
    ),
    "newer 3.1 pair losses: start, several negatives, trl's trainers": (
        f"{PAIRS}::test_each_loss_where_policy_and_reference_agree",
        f"{PAIRS}::test_softmax_of_pairs_is_sdpo_and_one_rejected_response_is_the_same_either_way",
        f"{PAIRS}::test_missing_rejected_responses_leave_no_trace_and_an_example_without_any_counts",
        f"{TRL}::test_normalised_dpo_equals_trl",
        f"{TRL}::test_losses_of_another_shape_equal_trl",
        f"{TRL}::test_smoothed_pairs_equal_trl",
        f"{TRL}::test_losses_without_a_reference_equal_trl",
        f"{TRL}::test_kto_equals_trl",
        f"{METHODS}::test_no_reference_is_computed_for_a_loss_that_reads_none",
        f"{METHODS}::test_orpo_starts_from_the_base_and_without_its_preference_is_sft",
    ),
    "newer 3.2 pair losses: gradients": (
        f"{PAIRS}::test_gradients_agree_with_finite_differences",
        f"{PAIRS}::test_gradient_of_ipo_is_twice_the_error_per_token_and_of_apo_zero_a_slope",
        f"{PAIRS}::test_values_and_gradients_are_finite_for_log_ratios_of_ten_thousand",
    ),
    "newer 3.5 pair losses: values of one and two negatives, KTO, log-odds": (
        f"{PAIRS}::test_each_loss_of_one_and_of_two_rejected_responses",
        f"{PAIRS}::test_orpo_and_cpo_with_their_cross_entropy",
        f"{PAIRS}::test_smoothed_losses_of_a_margin_of_one",
        f"{PAIRS}::test_gradients_of_simpo_and_orpo_by_response",
        f"{PAIRS}::test_kto_of_two_examples_against_responses_to_other_prompts",
        f"{PAIRS}::test_log_odds_of_mean_log_probabilities_and_where_they_saturate",
    ),
    "newer 4.1 IGD: entropies, gains, weights, decoding": (
        f"{EDGES}::test_entropy_below_a_node_keeps_the_shares_of_all_items",
        f"{EDGES}::test_gain_of_each_edge_and_which_of_them_decide",
        f"{EDGES}::test_decoding_favours_the_larger_gains_and_leaves_only_children_alone",
        f"{EDGES}::test_a_child_without_mass_has_the_factor_one_and_no_part_in_the_range",
        f"{TRIE}::test_igd_weighs_tokens_that_decide_nothing_less",
    ),
    "newer 4.2 CFT: two logits of a response, weights of positions": (
        f"{TRIE}::test_cft_of_a_response_with_and_without_its_history",
        f"{TRIE}::test_weights_of_positions_fall_from_one_to_beta_and_one_token_has_one",
        f"{TOKEN_METHODS}::test_cft_reads_each_response_once_more_after_one_empty_prompt_a_row",
    ),
    "newer 4.3 DynamicPO: border and clusters": (
        f"{DYNAMIC}::test_the_border_its_strengths_and_the_loss",
        f"{DYNAMIC}::test_the_top_of_three_clusters_in_one_dimension",
        f"{DYNAMIC}::test_equal_responses_have_the_plain_beta",
    ),
    "newer 4.5 D3: shares of tokens, scores at two guidances, fusion of complete scores": (
        f"{GUIDED}::test_a_token_has_the_share_of_its_parents_probability",
        f"{GUIDED}::test_the_scores_of_the_worked_example",
        f"{GUIDED}::test_the_certified_ranking_is_that_of_scoring_every_item",
    ),
    "newer 7.4 exposure: gaps by genre and by popularity": (
        "tests/unit/results/test_exposure.py::test_genres_of_sprecs_example",
        "tests/unit/results/test_exposure.py::test_popularity_groups_and_words_of_flowers_example",
    ),
    "newer 8.4 rows in time: the core with repeats and the cut": (
        "tests/unit/dataset/test_time_rows.py::test_the_example_of_the_protocol",
    ),
    "newer 5 samplers: laws of draws, blocks, lists": (
        f"{SAMPLERS}::test_popular_draws_follow_the_count_to_each_power",
        f"{SAMPLERS}::test_draws_from_a_list_follow_its_scores",
        f"{SAMPLERS}::test_draws_from_a_list_are_without_replacement_and_at_zero_the_best",
        f"{SAMPLERS}::test_in_batch_negatives_are_the_distinct_targets_of_the_other_examples",
        f"{SAMPLERS}::test_self_hard_is_the_best_of_the_whole_ranking_without_target_and_history",
        f"{METHODS}::test_resampled_negatives_change_with_the_epoch_and_keep_a_matching_reference",
    ),
    "newer 6.3 transitions: counts, scores after 0 1, an item that nothing followed": (
        f"{TRANSITION}::test_pairs_are_counted_within_a_sequence_up_to_the_window",
        f"{TRANSITION}::test_the_scores_after_0_1_are_the_worked_ones",
        f"{TRANSITION}::test_an_item_that_nothing_followed_backs_off_to_popularity",
    ),
    "newer 6.3 TGH: the bonus of counts, rings": (
        f"{TGH}::test_an_item_that_came_next_most_often_has_the_whole_weight_of_the_counts",
        f"{TGH}::test_a_ring_has_what_so_many_steps_lead_to_and_fewer_do_not",
    ),
}


@cache
def named_tests(file: str) -> frozenset[str]:
    """Names of the test functions at the top level of a file; empty where there is no such file."""
    path = REPOSITORY / file
    if not path.is_file():
        return frozenset()
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(
        node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def missing(proofs: tuple[str, ...]) -> list[str]:
    return [
        proof for proof in proofs if proof.partition("::")[2] not in named_tests(proof.partition("::")[0])
    ]


@pytest.mark.parametrize(("section", "proofs"), [*LOSSES.items(), *PARTS.items(), *NEWER.items()])
def test_every_worked_number_has_tests_that_exist(section: str, proofs: tuple[str, ...]) -> None:
    assert proofs, f"nothing proves {section}"
    assert missing(proofs) == []


def test_no_section_is_listed_twice() -> None:
    assert len({*LOSSES, *PARTS, *NEWER}) == len(LOSSES) + len(PARTS) + len(NEWER)


def test_a_proof_that_does_not_exist_is_found() -> None:
    this = "tests/unit/llm/losses/test_dossier.py"
    real = f"{this}::test_a_proof_that_does_not_exist_is_found"
    wrong = (f"{this}::test_nowhere", f"{this}::missing", "tests/unit/test_nowhere.py::test_nowhere", this)
    assert missing((real, *wrong)) == list(wrong)
