"""compare, score and plan on bundles that lie under a root."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.dataset import split
from recbench.results.bundle import Bundle
from recbench.results.request_features import Context, number_labels

MakeBundle = Callable[..., Bundle]


def make_runs(
    make_bundle: MakeBundle, method: str, hit_rate: float, *, seeds: int = 3, **more: Any
) -> list[Bundle]:
    """Runs of 300 users that hit at rank 1 or 2."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, *method.encode()])
        ranks = np.where(rng.random(300) < hit_rate, rng.integers(1, 3, 300), 0)
        found.append(make_bundle(method, ranks.tolist(), seed=seed, **more))
    return found


def test_a_method_in_the_place_of_a_run_has_its_runs_named(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    runs = make_runs(make_bundle, "ilrec", 0.5, seeds=2)
    said = recbench("score", "ilrec")
    assert said.code == 2
    assert said.err.startswith("error: no run 'ilrec'\n  why: a method of that name has these runs: ")
    assert all(run.id in said.err for run in runs)
    assert "known: " in recbench("score", "ilrce").err
    make_bundle("sft", [1, 0], label="sft[train.epochs=0.5]")
    assert "did you mean 'sft[train.epochs=0.5]'?" in recbench("compare", "sft", "ilrec").err


def test_several_methods_are_one_family_with_letters(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    for method, rate in (("ilrec", 0.5), ("sft", 0.5), ("sasrec", 0.1)):
        make_runs(make_bundle, method, rate)
    said = recbench("compare", "sft", "ilrec", "sasrec")
    assert said.code == 0, said.err
    assert "p adjusted by Holm for 3 tests" in said.out
    record = recbench("compare", "sft", "ilrec", "sasrec", "--margin", "0.05", "--json").json
    assert {one["name"]: one["letters"] for one in record["standings"]} == {
        "ilrec": "a",
        "sft": "a",
        "sasrec": "b",
    }
    assert {one["margin"] for one in record["comparisons"]} == {0.05}
    assert record["across"] is None
    against = recbench("compare", "sft", "ilrec", "sasrec", "--reference", "sft", "--json").json
    assert [(one["a"], one["b"]) for one in against["comparisons"]] == [("ilrec", "sft"), ("sasrec", "sft")]


def test_a_screen_of_80_columns_shows_every_difference_whole(
    make_bundle: MakeBundle, recbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for method, seeds in (("popularity", 3), ("sft-continued", 3), ("ilrec", 1)):
        make_runs(make_bundle, method, 0.4, seeds=seeds)
    names = ("compare", "popularity", "sft-continued", "ilrec")
    record = recbench(*names, "--json").json["comparisons"]
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    said = recbench(*names).out
    assert max(map(len, said.splitlines())) <= 80
    assert "methods that share a letter do not differ beyond noise" in said
    assert re.search(r"^ *ilrec +0\.\d+ +- +\d( to \d)?† *$", said, re.MULTILINE), said
    for one in record:
        mark = "" if one["scope"] == "methods" else "†"
        interval = f"{one['difference']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]"
        [line] = [line for line in said.splitlines() if interval in line]
        expected = [one["a"], one["b"], *interval.split(), f"{one['p_holm']:.3g}{mark}"]
        assert line.split()[: len(expected)] == expected


def test_a_pair_says_who_won_and_whether_it_is_equivalent(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    make_bundle("ilrec", [1, 1, 0, 2, 3] * 20)
    make_bundle("sft", [1, 2, 1, 2, 3] * 20)
    text = recbench("compare", "ilrec", "sft", "--margin", "0.5").out
    assert "users 20 better, 60 the same, 20 worse" in text
    assert "  equivalent within ±0.5" in text


def test_a_pair_has_the_p_that_it_has_among_all_methods_of_its_block(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    for method in ("ilrec", "sft", "sasrec"):
        make_runs(make_bundle, method, 0.4)
    among_all = recbench("compare", "ilrec", "sft", "sasrec", "--json").json["comparisons"][0]
    (alone,) = recbench("compare", "ilrec", "sft", "--json").json["comparisons"]
    assert (alone["p"], alone["low"], alone["high"]) == (among_all["p"], among_all["low"], among_all["high"])
    assert alone["seed_rule"] == "the larger of each side's own and its block's, pooled over 3 rows"


def test_data_sets_are_put_together(make_bundle: MakeBundle, recbench: Callable[..., Any]) -> None:
    for dataset in ("one", "two"):
        for method, rate in (("ilrec", 0.5), ("sft", 0.2)):
            make_runs(make_bundle, method, rate, seeds=1, dataset=dataset)
    said = recbench("compare", "ilrec", "sft")
    assert "across 2 datasets: average rank ilrec 1.00, sft 2.00" in said.out
    assert "tests over other datasets need at least 6 datasets" in said.out
    refused = recbench("compare", "ilrec", "sft", "--diagram", "cd.svg")
    assert refused.code == 2
    assert "of 2 methods needs 6 sets" in refused.err


def test_one_bad_side_is_named_and_the_rest_is_compared(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    make_runs(make_bundle, "ilrec", 0.5)
    make_runs(make_bundle, "sft", 0.2)
    make_bundle("sasrec", [1] * 301)
    said = recbench("compare", "ilrec", "sft", "sasrec")
    assert said.code == 4
    assert "ilrec" in said.out
    assert "not compared: ilrec and sasrec: runs" in said.err
    assert "only there: u300" in said.err


def test_a_method_is_not_compared_with_itself_or_with_nothing(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    make_runs(make_bundle, "ilrec", 0.5)
    assert recbench("compare", "ilrec").code == recbench("compare", "ilrec", "ilrec").code == 2


def test_two_methods_of_one_name_are_refused_with_their_ids(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    one, other = (
        make_bundle("ilrec", [1, 2, 3], beta=beta, seed=seed) for beta, seed in ((0.1, 0), (0.5, 1))
    )
    make_bundle("sft", [1, 2, 3])
    said = recbench("compare", "ilrec", "sft")
    assert said.code == 2
    assert one.id in said.err
    assert other.id in said.err


def test_a_study_is_a_board_of_its_runs_by_its_metric_and_pairs(
    make_bundle: MakeBundle, recbench: Callable[..., Any], tmp_path: Path
) -> None:
    for seed in (0, 1):
        make_bundle("sasrec", [1, 0, 2, 1, 0, 3], seed=seed)
    make_bundle("popularity", [0, 0, 2, 1, 0, 0], seed=None)
    make_bundle("gru4rec", [1, 1, 1, 1, 0, 1])
    folder = tmp_path / "leaderboards" / "small"
    folder.mkdir(parents=True)
    text = 'methods = ["sasrec", "popularity"]\ndatasets = ["toy"]\nseeds = [0, 2]\nmetric = "hr@5"\n'
    (folder / "study.toml").write_text(text)
    assert recbench("leaderboard", "build", "small").code == 0
    board = json.loads((folder / "board.json").read_text())
    [table] = board["tables"]
    assert (board["metric"], board["pairs"], table["num_tests"]) == ("hr@5", "all", 1)
    assert {row["name"]: row["seeds"] for row in table["rows"]} == {"sasrec": [0], "popularity": [None]}
    assert board["missing"] == ["sasrec on toy, seed 2"]
    for form in ("board.md", "index.html"):
        assert "Runs still to come" in (folder / form).read_text()
    assert recbench("leaderboard", "check", "small").code == 0
    asked = recbench("leaderboard", "build", "small", "--metric", "ndcg@10", "--json").json
    assert (asked["metric"], asked["command"]) == (
        "ndcg@10",
        "recbench leaderboard build small --metric ndcg@10",
    )
    assert recbench("leaderboard", "build", "small", "--metric", "hr@5", "--json").json == board
    (folder / "study.toml").write_text(text.replace("[0, 2]", "[0, 3]"))
    assert recbench("leaderboard", "check", "small").code == 5


@pytest.fixture
def scored(make_bundle: MakeBundle) -> Bundle:
    """Six requests over four items; targets at ranks 1 2 0 3 1 0."""
    context = Context(
        item_popularity=np.array([6, 3, 2, 1]),
        item_labels=number_labels(["A > B", "A > C", "D", ""]),
        target_popularity=np.array([6, 6, 3, 3, 1, 1]),
        history_length=np.array([5, 5, 9, 9, 20, 20]),
        history_popularity=np.full(6, 4.0),
    )
    items = np.array([[0, 1, 2]] * 5 + [[0, 1, -1]])
    arrays = {"topk.npz": {"items": items}, "context.npz": asdict(context)}
    return make_bundle("ilrec", [1, 2, 0, 3, 1, 0], arrays=arrays, certified_share=0.5)


def test_scores_at_any_cutoff_come_from_the_bundle(scored: Bundle, recbench: Callable[..., Any]) -> None:
    (found,) = recbench("score", scored.id, "--k", "1,3", "--strata", "--json").json
    assert found["metrics"]["hr@1"]["mean"] == pytest.approx(2 / 6)
    assert found["metrics"]["mrr@3"]["mean"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1) / 6)
    assert found["lists"]["invalid@3"] == pytest.approx(1 / 18)
    assert found["lists"]["coverage@3"] == 3 / 4
    assert found["certified_share"] == 0.5
    strata = {one["name"]: one["metrics"]["hr@3"]["mean"] for one in found["strata"]}
    # targets of 6, 3, 1 interactions at ranks 1 2, 0 3, 1 0; the longest histories come last
    assert strata == {"head": 1.0, "mid": 0.5, "tail": 0.5, "long": 0.5, "medium": 0.5, "short": 1.0}
    text = recbench("score", scored.id, "--k", "3", "--strata").out
    assert "head: target with 6 or more training interactions" in text
    assert "short: fewer than 9 earlier items" in text


def test_a_cutoff_beyond_the_stored_depth_is_refused(scored: Bundle, recbench: Callable[..., Any]) -> None:
    said = recbench("score", scored.id, "--k", "1,3,50")
    assert said.code == 2
    assert "needs 50 places, the rankings have 20" in said.err
    assert "stored to the protocol's depth" in said.err


def test_a_stratum_is_compared_by_itself_and_said_by_its_rule(
    scored: Bundle, make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    # 12 interactions: the first item makes up a third and more; head are the first two requests
    make_bundle("sft", [2, 0, 1, 1, 1, 1])
    said = recbench("compare", scored.label, "sft", "--metric", "mrr@10", "--stratum", "head")
    assert said.code == 0, said.err
    assert "mrr@10 on toy, 2 users: target with 6 or more training interactions" in said.out
    assert "users 2 better, 0 the same, 0 worse" in said.out  # ranks 1 and 2 against 2 and absent
    wrong = recbench("compare", scored.label, "sft", "--stratum", "heads")
    assert (wrong.code, "did you mean 'head'" in wrong.err) == (2, True)


def test_a_run_without_context_has_metrics_but_no_strata(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    one = make_bundle("ilrec", [1, 2, 0], arrays={"topk.npz": {"items": np.array([[0, 1]] * 3)}})
    assert recbench("score", one.id, "--json").json[0]["lists"] == {}
    said = recbench("score", one.id, "--strata")
    assert said.code == 3
    assert "has no context.npz" in said.err


def test_recorded_metrics_that_the_ranks_do_not_give_are_an_error(
    make_bundle: MakeBundle, recbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbench.results import metrics

    honest = metrics.summary
    monkeypatch.setattr(metrics, "summary", lambda ranks, cutoffs: honest(ranks, cutoffs) | {"hr@10": 0.9})
    one = make_bundle("ilrec", [1, 2, 0])
    monkeypatch.undo()
    said = recbench("score", one.id)
    assert said.code == 5
    assert "records hr@10 = 0.9" in said.err
    assert "its ranks give 0.666666667" in said.err


def test_the_plan_says_what_a_difference_needs(make_bundle: MakeBundle, recbench: Callable[..., Any]) -> None:
    make_runs(make_bundle, "ilrec", 0.5)
    make_runs(make_bundle, "sft", 0.4)
    make_runs(make_bundle, "sasrec", 0.4, seeds=1)
    said = recbench("plan", "--power", "0.1", "--json")
    assert "left out: sasrec on toy has one seed" in said.err
    (row,) = said.json
    assert (row["a"], row["b"], row["num_users"], row["num_seeds"], row["num_tests"]) == (
        "ilrec",
        "sft",
        300,
        3,
        1,
    )
    smaller = recbench("plan", "--power", "0.05", "-m", "ilrec", "-m", "sft", "--json").json[0]
    assert smaller["users_needed"] > row["users_needed"] > 0
    assert row["cheapest_seeds"] * row["cheapest_users"] <= 5 * row["users_needed"]
    assert row["found_with"]["20"] < row["found_with"]["10"] < row["smallest_difference"]
    assert recbench("plan", "--power", "0.1").out.count("ilrec") == 1


def test_a_name_of_two_methods_does_not_keep_the_others_from_being_planned(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    make_runs(make_bundle, "ilrec", 0.5)
    make_runs(make_bundle, "sft", 0.4)
    make_runs(make_bundle, "dpo", 0.4, seeds=2)
    make_runs(make_bundle, "dpo", 0.4, seeds=2, beta=0.5)
    said = recbench("plan", "--power", "0.1", "--json")
    assert "left out: 'dpo' names runs of different systems on toy" in said.err
    assert [(row["a"], row["b"]) for row in said.json] == [("ilrec", "sft")]


def test_without_seeds_there_is_nothing_to_plan_from(
    make_bundle: MakeBundle, recbench: Callable[..., Any]
) -> None:
    make_bundle("ilrec", [1, 2, 3])
    said = recbench("plan", "--power", "0.1")
    assert said.code == 3
    assert "--seeds 3" in said.err


def test_a_score_says_what_the_lists_expose_users_to(
    make_bundle: MakeBundle, recbench: Callable[..., Any], tmp_path: Path
) -> None:
    assert recbench("data", "prepare", "synthetic").code == 0
    [record] = tmp_path.glob("cache/split/*/split.json")
    asked = split.load_requests(record.parent, "test", exclude_seen=True)
    users = split.load_users(record.parent)
    digests = json.loads(record.read_text())["digests"]
    top = np.array([asked.history[row][-2:][::-1] for row in range(len(asked))])  # what the user had last
    one = make_bundle(
        "repeat",
        [0] * len(asked),
        dataset="synthetic",
        split=digests["split"],
        users=[users[user] for user in asked.user],
        arrays={"topk.npz": {"items": top}},
    )
    [found] = recbench("score", one.id, "--k", "1,2", "--exposure", "--json").json
    assert found["exposure"]["seen@2"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["exposure"]["dgu_pop@2"]["low"] < found["exposure"]["dgu_pop@2"]["high"]
    assert "seen@2" in recbench("score", one.id, "--k", "2", "--exposure").out
    lost = make_bundle("lost", [0, 1], arrays={"topk.npz": {"items": np.array([[0], [1]])}})
    said = recbench("score", lost.id, "--k", "1", "--exposure")
    assert said.code == 3
    assert "recbench data prepare toy --protocol ilrec" in said.err


def test_per_user_files_of_runs_are_compared_as_the_runs_are(
    make_bundle: MakeBundle, recbench: Callable[..., Any], tmp_path: Path
) -> None:
    files = []
    for method, rate in (("ilrec", 0.5), ("sft", 0.2)):
        files.append(str(tmp_path / f"{method}.csv"))
        ids = [run.id for run in make_runs(make_bundle, method, rate)]
        said = recbench("score", *ids, "--k", "10", "--per-user", files[-1])
        assert "wrote 900 lines" in said.err
    [ours] = recbench("compare", "ilrec", "sft", "--json").json["comparisons"]
    [theirs] = recbench("compare", *files, "--json").json["comparisons"]
    assert {name for name in ours if ours[name] != theirs[name]} <= {"kind"}
    assert "ndcg@10 on toy, 300 users" in recbench("compare", *files).out
    mixed = recbench("compare", files[0], "sft")
    assert mixed.code == 2
    assert "a file is compared with files, and 'sft' is none" in mixed.err
    assert recbench("compare", *files, "--metric", "hr@5").code == 3
    assert recbench("compare", *files, "--stratum", "head").code == 2
