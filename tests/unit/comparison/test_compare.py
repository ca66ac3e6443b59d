from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from recbench.comparison import table_pairs
from recbench.comparison.compare import compare
from recbench.comparison.family import compare_all
from recbench.errors import CheckError, DigestError, MissingError, UsageError
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]

A = [1, 3, 0, 2, 1, 0, 5, 1]
B = [2, 0, 0, 2, 4, 1, 0, 3]


def ranks(seed: int, hit_rate: float, num_users: int = 120) -> list[int]:
    rng = np.random.default_rng(seed)
    found: list[int] = np.where(rng.random(num_users) < hit_rate, rng.integers(1, 21, num_users), 0).tolist()
    return found


def test_one_run_each_is_the_paired_t_over_users(make_bundle: MakeBundle) -> None:
    a, b = make_bundle("ilrec", A), make_bundle("sasrec", B)
    result = compare([a], [b], "mrr@5")
    values_a = [1, 1 / 3, 0, 1 / 2, 1, 0, 1 / 5, 1]
    values_b = [1 / 2, 0, 0, 1 / 2, 1 / 4, 1, 0, 1 / 3]
    theirs = stats.ttest_rel(values_a, values_b)
    assert (result.a, result.b, result.metric) == ("ilrec", "sasrec", "mrr@5")
    assert result.difference == pytest.approx((sum(values_a) - sum(values_b)) / 8)
    assert result.relative == pytest.approx(sum(values_a) / sum(values_b) - 1)
    assert result.test == "paired t"
    assert result.p == pytest.approx(theirs.pvalue)
    assert result.low < result.difference < result.high
    assert result.scope == "these checkpoints only"
    assert result.other_p.keys() == {"sign-flip permutation"}


def test_a_better_system_has_a_positive_difference_either_way_round(make_bundle: MakeBundle) -> None:
    better, worse = make_bundle("ilrec", [1] * 10 + [2]), make_bundle("sasrec", [0] * 10 + [2])
    forwards, backwards = compare([better], [worse], "ndcg@10"), compare([worse], [better], "ndcg@10")
    assert forwards.difference == -backwards.difference > 0
    assert forwards.p == backwards.p < 0.001


def test_hits_have_the_p_of_their_interval_and_mcnemar_beside_it(make_bundle: MakeBundle) -> None:
    # hits at 5: A 1 1 0 1 1 0 1 1, B 1 0 0 1 1 1 0 1: two only in A, one only in B
    result = compare([make_bundle("ilrec", A)], [make_bundle("sasrec", B)], "HR@5")
    theirs = stats.ttest_rel([1, 1, 0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 1, 1, 0, 1])
    assert result.test == "paired t"
    assert result.p == pytest.approx(theirs.pvalue)
    assert (result.low, result.high) == pytest.approx(theirs.confidence_interval(0.95))
    assert result.other_p["exact McNemar"] == 1.0  # 2 (P(0) + P(1)) of 3 = 2 (1/8 + 3/8)
    assert result.other_p["mid-p McNemar"] == pytest.approx(0.625)  # 2 (1/8 + 3/16)
    assert result.other_p.keys() == {"sign-flip permutation", "exact McNemar", "mid-p McNemar"}


def test_several_seeds_are_compared_with_users_crossed(make_bundle: MakeBundle) -> None:
    a = [make_bundle("ilrec", ranks(seed, 0.5), seed=seed) for seed in range(5)]
    b = [make_bundle("sasrec", ranks(10 + seed, 0.3), seed=seed) for seed in range(5)]
    result = compare(a, b, "ndcg@10")
    sides = [np.stack([run.per_request("ndcg@10") for run in side]) for side in (a, b)]
    crossed = table_pairs.pairs(table_pairs.moments(sides))
    assert result.test == "crossed-variance t"
    assert result.p == crossed.p[0]
    half = crossed.half()[0]
    assert (result.low, result.high) == (result.difference - half, result.difference + half)
    assert result.seed_rule == "the larger of each side's own and its block's, pooled over 2 rows"
    assert result.scope == "methods"
    assert result.seeds_a == (0, 1, 2, 3, 4)
    assert result.notes == ()


def test_the_order_in_which_runs_are_given_does_not_matter(make_bundle: MakeBundle) -> None:
    a = [make_bundle("ilrec", ranks(seed, 0.5), seed=seed) for seed in range(3)]
    b = [make_bundle("sasrec", ranks(10 + seed, 0.3), seed=seed) for seed in range(3)]
    assert compare(a, b, "ndcg@10") == compare(a[::-1], b[::-1], "ndcg@10")


def test_a_method_with_one_fit_is_compared_with_each_seed_of_the_other(make_bundle: MakeBundle) -> None:
    a = [make_bundle("ilrec", ranks(seed, 0.5), seed=seed) for seed in range(5)]
    popularity = make_bundle("popularity", ranks(50, 0.2), seed=None)
    result = compare(a, [popularity], "ndcg@10")
    means = [run.per_request("ndcg@10").mean() for run in a]
    assert result.difference == pytest.approx(np.mean(means) - popularity.per_request("ndcg@10").mean())
    assert (result.scope, result.seeds_b, result.notes) == ("methods", (None,), ())


def test_two_methods_without_seeds_are_compared_as_methods(make_bundle: MakeBundle) -> None:
    a, b = make_bundle("popularity", A, seed=None), make_bundle("itemknn", B, seed=None)
    assert compare([a], [b], "ndcg@10").scope == "methods"


def test_one_checkpoint_against_several_seeds_is_no_claim_about_methods(make_bundle: MakeBundle) -> None:
    a = [make_bundle("ilrec", ranks(seed, 0.5), seed=seed) for seed in range(5)]
    assert compare(a, [make_bundle("sasrec", ranks(9, 0.3))], "ndcg@10").scope == "these checkpoints only"


def test_few_seeds_are_noted(make_bundle: MakeBundle) -> None:
    a = [make_bundle("ilrec", ranks(seed, 0.5), seed=seed) for seed in range(2)]
    b = [make_bundle("sasrec", ranks(5 + seed, 0.5), seed=seed) for seed in range(2)]
    assert any(note.startswith("two seeds: several") for note in compare(a, b, "ndcg@10").notes)
    a.append(make_bundle("ilrec", ranks(8, 0.5), seed=2))
    b.append(make_bundle("sasrec", ranks(9, 0.5), seed=2))
    assert any("fewer than 5 seeds" in note for note in compare(a, b, "ndcg@10").notes)


def test_a_side_that_no_row_of_its_block_lends_to_says_so(make_bundle: MakeBundle) -> None:
    a = [make_bundle("ilrec", ranks(seed, 0.5), seed=seed) for seed in range(3)]
    floor = make_bundle("popularity", ranks(50, 0.2), seed=None)
    assert compare(a, [floor], "ndcg@10").seed_rule.startswith("of each side's own seeds")
    assert compare(a[:1], [floor], "ndcg@10").seed_rule == ""


def test_children_of_the_same_parents_share_their_seeds(make_bundle: MakeBundle) -> None:
    parents = [make_bundle("sft", ranks(seed, 0.3), seed=seed) for seed in range(3)]
    dpo = [
        make_bundle("dpo", ranks(seed, 0.4), seed=seed, parent=parents[seed].spec.fit.id) for seed in range(3)
    ]
    sdpo = [
        make_bundle("sdpo", ranks(seed, 0.5), seed=seed, parent=parents[seed].spec.fit.id)
        for seed in range(3)
    ]
    assert compare(sdpo, dpo, "ndcg@10").test.endswith("joint seeds")
    assert compare(dpo, parents, "ndcg@10").test.endswith("joint seeds")
    strangers = [make_bundle("sasrec", ranks(seed, 0.4), seed=seed) for seed in range(3)]
    assert not compare(dpo, strangers, "ndcg@10").test.endswith("joint seeds")


@pytest.mark.parametrize("link", ["log", "split", "catalogue"])
def test_runs_on_other_data_are_refused_with_the_first_link_and_both_values(
    make_bundle: MakeBundle, link: str
) -> None:
    chain = ("log", "split", "catalogue")
    other = dict.fromkeys(chain[chain.index(link) :], "ee")
    a, b = make_bundle("ilrec", A), make_bundle("sasrec", B, digests=other)
    with pytest.raises(DigestError, match=f"differ in the {link}") as caught:
        compare([a], [b], "ndcg@10")
    assert f"{link}: {a.digests[link]} and ee" in str(caught.value)
    assert caught.value.exit_code == 4


def test_runs_of_a_part_of_the_users_are_to_be_repeated_with_the_same_part(make_bundle: MakeBundle) -> None:
    a, b = make_bundle("ilrec", A), make_bundle("sasrec", B, digests={"split": "ee"})
    with pytest.raises(DigestError) as other_data:
        compare([a], [b], "ndcg@10")
    assert other_data.value.fix.startswith("repeat both runs on the same data, with --force: ")
    part = replace(b.spec, fit=replace(b.spec.fit, limit_users=60))
    with pytest.raises(DigestError) as caught:
        compare([a], [replace(b, manifest=replace(b.manifest, spec=part))], "ndcg@10")
    assert caught.value.fix.startswith("repeat both runs with the same --limit-users: ")


def test_other_raw_files_with_the_same_log_are_only_noted(make_bundle: MakeBundle) -> None:
    result = compare([make_bundle("ilrec", A)], [make_bundle("sasrec", B, digests={"raw": "ee"})], "hr@5")
    assert any("raw files" in note for note in result.notes)


def test_another_protocol_or_phase_is_refused(make_bundle: MakeBundle) -> None:
    a = make_bundle("ilrec", A)
    masked = make_bundle("sasrec", B, protocol={"exclude_seen": True})
    with pytest.raises(DigestError, match="differ in the protocol"):
        compare([a], [masked], "ndcg@10")
    with pytest.raises(DigestError, match="differ in the protocol"):
        compare([a], [make_bundle("sasrec", B, phase="valid")], "ndcg@10")


def test_other_users_or_another_order_are_refused(make_bundle: MakeBundle) -> None:
    a = make_bundle("ilrec", [1, 2, 3])
    swapped = make_bundle("sasrec", [1, 2, 3], users=["u1", "u0", "u2"])
    with pytest.raises(DigestError, match="differ in the users"):
        compare([a], [swapped], "ndcg@10")


def test_sides_of_other_blocks_are_compared_as_systems_and_the_parts_are_named(
    make_bundle: MakeBundle,
) -> None:
    llm = {"backbone": "tiny", "backbone_digest": "1" * 64, "train": {"pack": "user-blocks"}}
    a = make_bundle("ilrec", A, llm=llm, digests={"identifiers": "a" * 64})
    assert compare([a], [make_bundle("sft", B, llm=llm, digests=a.digests)], "mrr@5").notes == ()

    other = {**llm, "backbone": "qwen2-0.5b", "backbone_digest": "2" * 64, "train": {"pack": "none"}}
    b = make_bundle("sft", B, llm=other, digests={"identifiers": "b" * 64})
    result = compare([a], [b], "mrr@5")
    assert result.kind == "difference between systems"
    assert result.notes == (
        "difference between systems: backbone: tiny 111111111111 and qwen2-0.5b 222222222222",
        "difference between systems: identifiers: aaaaaaaaaaaa and bbbbbbbbbbbb",
        "difference between systems: training: pack=user-blocks and pack=none",
    )


def test_rows_that_keep_other_weights_are_other_systems(make_bundle: MakeBundle) -> None:
    llm = {"backbone": "tiny", "train": {"pack": "user"}}  # as recorded before there was a choice
    old, last, best = (
        make_bundle(name, ranks, llm={**llm, "train": {"pack": "user", **rule}})
        for name, ranks, rule in (
            ("sft", A, {}),
            ("ilrec", B, {"select": "last"}),
            ("dpo", B, {"select": "best"}),
        )
    )
    assert compare([old], [last], "mrr@5").notes == ()
    assert compare([old], [best], "mrr@5").notes == (
        "difference between systems: training: pack=user and pack=user, select=best",
    )


def test_a_language_model_and_none_are_other_systems(make_bundle: MakeBundle) -> None:
    a, b = make_bundle("ilrec", A, llm={"backbone": "tiny"}), make_bundle("sasrec", B)
    result = compare([a], [b], "mrr@5")
    assert result.kind == "difference between systems"
    assert result.notes == ("difference between systems: only one side uses a language model",)
    assert compare([b], [make_bundle("gru4rec", A)], "mrr@5").kind == "effect of the method"


def test_a_failed_run_cannot_be_compared(make_bundle: MakeBundle) -> None:
    failed = make_bundle("sasrec", [], failure={"class": "oom", "reason": "needed 80 GiB"})
    with pytest.raises(CheckError, match="has no ranks"):
        compare([make_bundle("ilrec", A)], [failed], "ndcg@10")


def test_a_side_must_be_one_method_with_each_seed_once(make_bundle: MakeBundle) -> None:
    a, b = make_bundle("ilrec", A), make_bundle("sasrec", B)
    with pytest.raises(UsageError, match="not one method"):
        compare([a, make_bundle("ilrec", A, beta=0.5, seed=1)], [b], "ndcg@10")
    with pytest.raises(UsageError, match="given twice"):
        compare([a, a], [b], "ndcg@10")
    with pytest.raises(UsageError, match="no run"):
        compare([], [b], "ndcg@10")


def test_a_cutoff_below_the_depth_is_refused(make_bundle: MakeBundle) -> None:
    with pytest.raises(UsageError, match="hr@50"):
        compare([make_bundle("ilrec", A)], [make_bundle("sasrec", B)], "hr@50")


def test_users_who_are_better_off_are_counted(make_bundle: MakeBundle) -> None:
    # A 1 3 0 2 1 0 5 1 against B 2 0 0 2 4 1 0 3: better, better, same, same, better, worse, better, better
    result = compare([make_bundle("ilrec", A)], [make_bundle("sasrec", B)], "ndcg@10")
    assert (result.wins, result.ties, result.losses) == (5, 2, 1)


def test_a_truly_better_method_is_found_and_the_swapped_call_is_sure_of_the_opposite(
    make_bundle: MakeBundle,
) -> None:
    better = [make_bundle("ilrec", ranks(seed, 0.6, 400), seed=seed) for seed in range(5)]
    worse = [make_bundle("sasrec", ranks(10 + seed, 0.3, 400), seed=seed) for seed in range(5)]
    for a, b, metric in (
        (better, worse, "ndcg@10"),
        (better[:1], worse[:1], "mrr@20"),
        (better[:1], worse[:1], "hr@20"),
    ):
        assert compare(a, b, metric).p_greater < 0.01
        assert compare(b, a, metric).p_greater > 0.99


def test_only_the_users_of_a_stratum_count(make_bundle: MakeBundle) -> None:
    # a third of 18 interactions is reached by the first item, two thirds by the second: the tail is below 5
    surroundings = {
        "item_popularity": np.array([9, 5, 3, 1]),
        "item_labels": np.zeros((4, 0), dtype=np.int32),
        "target_popularity": np.array([9, 9, 5, 5, 1, 3, 3]),
        "history_length": np.full(7, 5),
        "history_popularity": np.ones(7),
    }
    a = make_bundle("ilrec", [1, 1, 1, 1, 0, 1, 1])
    b = make_bundle("sasrec", [0, 0, 0, 0, 1, 1, 0], arrays={"context.npz": surroundings})
    tail = compare([a], [b], "hr@1", stratum="tail")
    assert (tail.users, tail.num_users) == ("target with fewer than 5 training interactions", 3)
    assert (tail.mean_a, tail.mean_b) == pytest.approx((2 / 3, 2 / 3))
    assert (tail.wins, tail.ties, tail.losses, tail.p) == (1, 1, 1, 1.0)
    everybody = compare([a], [b], "hr@1")
    assert (everybody.users, everybody.num_users) == ("all users", 7)
    with pytest.raises(UsageError, match="did you mean 'tail'"):
        compare([a], [b], "hr@1", stratum="tial")
    with pytest.raises(MissingError, match=r"has no context\.npz"):
        compare([a], [a], "hr@1", stratum="tail")


def test_equivalence_needs_a_margin_beyond_the_noise(make_bundle: MakeBundle) -> None:
    a, b = make_bundle("ilrec", ranks(1, 0.3, 2000)), make_bundle("sasrec", ranks(2, 0.3, 2000))
    wide, narrow = (compare([a], [b], "ndcg@10", margin=margin) for margin in (0.1, 0.0005))
    assert wide.p_equivalent is not None
    assert wide.p_equivalent < 0.01
    assert narrow.p_equivalent is not None
    assert narrow.p_equivalent > 0.05
    assert compare([a], [b], "ndcg@10").p_equivalent is None
    with pytest.raises(UsageError, match="margin"):
        compare([a], [b], "ndcg@10", margin=0.0)


def test_a_seed_that_only_one_method_has_is_named(make_bundle: MakeBundle) -> None:
    a = [make_bundle("ilrec", ranks(seed, 0.5), seed=seed) for seed in range(6)]
    b = [make_bundle("sasrec", ranks(9 + seed, 0.3), seed=seed) for seed in (0, 1, 2, 3, 5)]
    assert compare(a, b, "ndcg@10").notes == ("sasrec has no run of seed 4, which ilrec has",)


def test_one_user_more_is_refused_by_name(make_bundle: MakeBundle) -> None:
    with pytest.raises(DigestError, match=r"differ in the users\n.*\(3\) and .*\(4\), only there: u3;"):
        compare([make_bundle("ilrec", [1, 2, 3])], [make_bundle("sasrec", [1, 2, 3, 0])], "ndcg@10")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranks": np.zeros(0, dtype=np.int32), "users": np.zeros(0)}, "has no ranks"),
        ({"ranks": np.array([1, 2])}, "has 2 ranks of 8 users"),
        ({"ranks": np.array([1, 2, 3, 0, 0, 0, 0, 21])}, "has ranks from 0 to 21"),
        ({"metrics": {"ndcg@10": float("nan"), "hr@10": 0.5}}, "no numbers\nndcg@10 = nan"),
    ],
)
def test_a_run_that_cannot_be_right_is_named(
    make_bundle: MakeBundle, change: dict[str, Any], message: str
) -> None:
    broken = replace(make_bundle("sasrec", B), **change)
    with pytest.raises(CheckError, match=f"run {broken.id} \\(sasrec\\) .*{message}"):
        compare([make_bundle("ilrec", A)], [broken], "ndcg@10")


def test_two_seeds_with_the_same_ranks_count_as_one(make_bundle: MakeBundle) -> None:
    kept: dict[str, Any] = {"arrays": {"top10.npz": {"items": np.zeros((8, 10))}}}
    copies = [make_bundle("ilrec", A, seed=seed, **kept) for seed in range(3)]
    other = [make_bundle("sasrec", B, seed=seed, **kept) for seed in range(1)]
    result = compare(copies, other, "ndcg@10")
    alone = compare(copies[:1], other, "ndcg@10")
    assert (result.seeds_a, result.scope, result.p) == ((0,), "these checkpoints only", alone.p)
    assert result.notes == (
        *(
            f"ilrec: seed {n} has the same rank as seed 0 for every user, so both count as one"
            for n in (1, 2)
        ),
        *alone.notes,
    )
    (found,) = compare_all({"a": copies, "b": other}, "ndcg@10").comparisons
    assert (found.standard_error, found.low, found.high) == (alone.standard_error, alone.low, alone.high)
