"""Which runs stand on a board, in which table, and what one seed says; strata, datasets and parents."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from recbench.comparison import significance
from recbench.errors import UsageError
from recbench.results.bundle import Bundle
from tests.unit.board.conftest import TINY, TRAIN, MakeBundle, built, ranks, rows_of, standing


def test_runs_that_do_not_count_are_listed_with_the_reason(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle("sasrec", [1, 0, 2]),
        make_bundle(
            "gru4rec", [], failure={"class": "oom", "reason": "needed 80 GiB\nwhy it did\ntry: less"}
        ),
        make_bundle("ilrec", [1, 0, 2], phase="valid"),
        make_bundle("soft", [1, 0, 2], off_protocol=True, reasons=["limit_users=3"]),
    ]
    board = built(runs)
    assert set(rows_of(board)) == {"sasrec"}
    assert {run["label"]: run["why"] for run in board["excluded"]} == {
        "gru4rec": "failed (oom): needed 80 GiB",  # the first line of the reason
        "ilrec": "phase valid",
        "soft": "off protocol: limit_users=3",
    }


def test_the_later_of_two_runs_of_one_method_and_seed_counts(make_bundle: MakeBundle) -> None:
    early = make_bundle("dpo", [0, 0, 0], parent="one", timings={"finished": "2026-01-01"})
    late = make_bundle("dpo", [1, 1, 1], parent="two", timings={"finished": "2026-01-02"})
    board = built([late, early])
    assert rows_of(board)["dpo"]["runs"] == [late.id]
    assert board["excluded"][0]["id"] == early.id
    assert late.id in board["excluded"][0]["why"]


def test_other_data_and_other_protocols_are_other_tables(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle("sasrec", [1, 0, 2]),
        make_bundle("ilrec", [1, 0, 2], digests={"catalogue": "ee"}),
        make_bundle("soft", [1, 0, 2], protocol={"exclude_seen": True}),
    ]
    board = built(runs)
    assert sorted(row["name"] for table in board["tables"] for row in table["rows"]) == [
        "ilrec",
        "sasrec",
        "soft",
    ]
    assert len(board["tables"]) == 3


def test_one_seed_speaks_of_its_checkpoint_only(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("sasrec", ranks(1, 0.5)), make_bundle("popularity", ranks(2, 0.1), seed=None)]
    rows = rows_of(built(runs))
    assert rows["sasrec"]["scope"] == "these checkpoints only"
    assert rows["sasrec"]["vs"]["popularity"]["scope"] == "these checkpoints only"
    assert rows["popularity"]["scope"] == "methods"


def test_single_seeds_have_the_ranks_of_checkpoints(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle(name, ranks(n, 0.3 * n), seed=0) for n, name in enumerate(("gru4rec", "sft", "ilrec"))
    ]
    runs.append(make_bundle("popularity", ranks(9, 0.1), seed=None))
    board = built(runs)
    assert set(standing(board, "letters").values()) == {None}
    assert set(standing(board, "of_checkpoint").values()) == {True}
    # hit rates 0.9, 0.6, 0.3 and 0.1 of 200 users each: all differ beyond noise but the lowest two
    values = {run.label: run.per_request("ndcg@10") for run in runs}
    pairs = list(combinations(values, 2))
    p = multipletests([stats.ttest_rel(values[a], values[b]).pvalue for a, b in pairs], method="holm")[1]
    worse = {
        (a, b) if values[a].mean() > values[b].mean() else (b, a)
        for (a, b), each in zip(pairs, p, strict=True)
        if each <= 0.05
    }
    assert standing(board, "ranks") == {
        name: [1 + sum(pair[1] == name for pair in worse), 4 - sum(pair[0] == name for pair in worse)]
        for name in values
    }


def test_a_single_seed_among_several_counts_in_no_rank_of_methods(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("ilrec", ranks(seed, 0.95), seed=seed) for seed in range(3)]
    runs += [make_bundle("sft", ranks(10 + seed, 0.3), seed=seed) for seed in range(3)]
    alone = standing(built(runs), "ranks")
    board = built([*runs, make_bundle("sasrec", ranks(5, 0.6)), make_bundle("gru4rec", [1] * 200)])
    # gru4rec, which hits every user first, is the best checkpoint; the methods have the ranks they had
    assert standing(board, "ranks") == {**alone, "sasrec": [3, 3], "gru4rec": [1, 1]}
    assert standing(board, "of_checkpoint") == {
        "ilrec": False,
        "sft": False,
        "sasrec": True,
        "gru4rec": True,
    }
    assert standing(board, "letters") == {"ilrec": "a", "sft": "b", "sasrec": None, "gru4rec": None}


def test_methods_that_no_seed_moves_have_ranks(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("itemknn", ranks(1, 0.9), seed=None), make_bundle("popularity", [0] * 200, seed=None)]
    assert standing(built(runs), "ranks") == {"itemknn": [1, 1], "popularity": [2, 2]}


def test_more_than_one_percent_uncertified_marks_the_row(study: list[Bundle]) -> None:
    rows = rows_of(built(study))
    assert (rows["ilrec"]["certified_share"], rows["ilrec"]["uncertified"]) == (0.98, True)
    assert (rows["sft"]["certified_share"], rows["sft"]["uncertified"]) == (1.0, False)
    assert (rows["sasrec"]["certified_share"], rows["sasrec"]["uncertified"]) == (None, False)


def test_each_comparison_has_the_smallest_difference_that_it_resolves(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("sasrec", ranks(1, 0.5)), make_bundle("popularity", ranks(2, 0.1), seed=None)]
    cell = rows_of(built(runs))["sasrec"]["vs"]["popularity"]
    a, b = (run.per_request("ndcg@10") for run in runs)
    error = significance.paired_t(a - b).standard_error
    # the power of the paired t over 200 users at so many standard errors
    reached = TTestPower().power(cell["smallest_difference"] / error / 200**0.5, nobs=200, alpha=0.05)
    assert reached == pytest.approx(0.8, abs=1e-4)
    # chi-square at 199 degrees: 10 % below 173.9, 90 % below 224.96
    low, high = (end / cell["smallest_difference"] for end in cell["smallest_range"])
    assert (low, high) == pytest.approx(((199 / 224.96) ** 0.5, (199 / 173.9) ** 0.5), rel=1e-4)


def test_a_metric_beside_the_protocols_cutoffs_can_rank(study: list[Bundle]) -> None:
    board = built(study, metric="MRR@3")
    assert board["metric"] == "mrr@3"
    assert all("mrr@3" in row["metrics"] for row in board["tables"][0]["rows"])
    with pytest.raises(UsageError, match="mrr@50"):
        built(study, metric="mrr@50")


def test_machines_that_differ_are_named(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle("sasrec", [1, 0], hardware={"cpu": "one", "gpus": ["A100"]}),
        make_bundle("ilrec", [1, 0], hardware={"cpu": "one", "gpus": []}),
    ]
    assert built(runs)["tables"][0]["differs"] == {"hardware.gpus": ["['A100']", "[]"]}


def test_the_board_is_the_same_json_whatever_the_order_of_the_runs(study: list[Bundle]) -> None:
    board = built(study)
    text = json.dumps(board, allow_nan=False)
    assert text == json.dumps(built(study[::-1]))
    assert json.loads(text) == board


def test_no_runs_give_an_empty_board() -> None:
    board = built([])
    assert (board["tables"], board["excluded"]) == ([], [])


def test_rows_of_several_data_sets_have_average_ranks_and_no_test_below_the_sets_needed(
    make_bundle: MakeBundle,
) -> None:
    # dpo is first on two of three sets: ranks 1, 1, 2; sft 2, 2, 1; gru4rec stands on one set alone
    runs = [make_bundle("gru4rec", [1, 1, 1], dataset="one")]
    for dataset, better in (("one", "dpo"), ("two", "dpo"), ("three", "sft")):
        for name in ("dpo", "sft"):
            runs.append(make_bundle(name, [1, 0, 0] if name == better else [0, 0, 3], dataset=dataset))
    found = built(runs)["across"]
    assert dict(zip(found["names"], found["average_ranks"], strict=True)) == pytest.approx(
        {"dpo": 4 / 3, "sft": 5 / 3}
    )
    assert (found["num_sets"], found["cliques"], found["pairs"]) == (3, [], [])
    assert built(runs[:3])["across"] is None


def test_a_row_over_datasets_is_a_method_in_its_block(make_bundle: MakeBundle) -> None:
    # users of 10 hit first: ilrec in the first block 9 and 8, in the second 2 and 1; sasrec 5 and 5
    big = {**TINY, "backbone": "qwen2-0.5b"}
    runs = []
    for dataset, (first, second) in {"one": (9, 2), "two": (8, 1)}.items():
        for name, llm, hits in (("ilrec", TINY, first), ("ilrec", big, second), ("sasrec", None, 5)):
            runs.append(make_bundle(name, [1] * hits + [0] * (10 - hits), llm=llm, dataset=dataset))
    found = built(runs, reference="sasrec")["across"]
    assert dict(zip(found["names"], found["average_ranks"], strict=True)) == {
        "ilrec · semantic-id · tiny": 1.0,
        "sasrec": 2.0,
        "ilrec · semantic-id · qwen2-0.5b": 3.0,
    }
    # the declared pairs: each ilrec against sasrec; differences 4/10 and 3/10 of the first
    assert [(one["a"], one["b"]) for one in found["differences"]] == [
        ("ilrec · semantic-id · tiny", "sasrec"),
        ("sasrec", "ilrec · semantic-id · qwen2-0.5b"),
    ]
    mean = found["differences"][0]
    assert mean["difference"] == pytest.approx(0.35)
    assert [(one["dataset"], one["difference"]) for one in mean["sets"]] == [("one", 0.4), ("two", 0.3)]
    assert len(built(runs, reference="sasrec", pairs="all")["across"]["differences"]) == 3


def test_other_parameters_are_other_rows_over_datasets(make_bundle: MakeBundle) -> None:
    runs = [make_bundle(name, [1, 0, 1], dataset=dataset) for name in ("sft", "gru4rec") for dataset in "ab"]
    runs += [
        make_bundle("dpo", [1, 1, 0], dataset=dataset, beta=beta)
        for dataset, beta in (("a", 0.1), ("b", 0.5))
    ]
    assert set(built(runs)["across"]["names"]) == {"sft", "gru4rec"}


def test_strata_are_views_of_their_own(make_bundle: MakeBundle) -> None:
    # items with 9, 5, 3, 1 interactions: the first makes up a third (6 of 18), the first two two thirds
    surroundings = {
        "item_popularity": np.array([9, 5, 3, 1]),
        "item_labels": np.zeros((4, 0), dtype=np.int32),
        "target_popularity": np.array([9, 9, 5, 5, 1, 3]),
        "history_length": np.array([5, 5, 5, 5, 5, 5]),
        "history_popularity": np.ones(6),
    }
    run = make_bundle("sasrec", [1, 0, 1, 1, 0, 0], arrays={"context.npz": surroundings})
    other = make_bundle("gru4rec", [1, 1, 0, 0, 1, 1])
    [table] = built([run, other])["tables"]
    names = [row["name"] for row in table["rows"]]
    views = {
        name: dict(zip(names, view["hr@1"]["mean"], strict=True)) for name, view in table["views"].items()
    }
    assert views["head"] == {"sasrec": 0.5, "gru4rec": 1.0}
    assert views["mid"] == {"sasrec": 1.0, "gru4rec": 0.0}
    assert views["tail"] == {"sasrec": 0.0, "gru4rec": 1.0}
    assert table["strata"]["tail"] == "target with fewer than 5 training interactions"


def test_what_cannot_stand_beside_the_others_is_left_out_and_the_rest_is_ranked(
    make_bundle: MakeBundle,
) -> None:
    runs = [make_bundle(name, [1, 0, 2, 0], seed=seed) for name in ("sasrec", "dpo") for seed in range(2)]
    runs.append(make_bundle("one user more", [1, 0, 2, 0, 1]))
    runs.append(make_bundle("another log", [1, 0, 2, 0], digests={"log": "xx"}))
    empty = {"ranks": np.zeros(0, dtype=np.int32), "users": np.zeros(0, dtype="<U2")}
    runs.append(make_bundle("no ranks", [1, 0, 2, 0], arrays={"ranks.npz": empty}))
    runs.append(make_bundle("one seed", [1, 1, 1, 1]))
    board = built(runs)
    assert set(rows_of(board)) == {"sasrec", "dpo", "one seed"}
    why = {run["label"]: run["why"] for run in board["excluded"]}
    assert why.keys() == {"one user more", "another log", "no ranks"}
    assert "differ in the users" in why["one user more"]
    assert "u4" in why["one user more"]
    assert "differ in the log" in why["another log"]
    assert "has no ranks" in why["no ranks"]
    assert board["tables"][0]["missing"] == ["one seed: no finished run of seed 1"]


def test_the_parent_is_the_fit_that_a_run_started_from(make_bundle: MakeBundle) -> None:
    short, long = (
        make_bundle("sft", ranks(n, 0.4), llm={**TINY, "train": {**TRAIN, "epochs": n}}) for n in (1, 2)
    )
    children = {
        name: make_bundle(name, ranks(9, 0.5), llm=TINY, parent=parent)
        for name, parent in (("dpo", short.spec.fit.id), ("sdpo", long.spec.fit.id), ("dmpo", "f00"))
    }
    board = built([short, long, *children.values()])
    rows = rows_of(board)
    table = board["tables"][0]
    against = {
        name: table["rows"][rows[name]["vs"]["parent"]["against"]]["name"]
        for name in children
        if rows[name]["vs"]
    }
    assert against == {"dpo": "sft (train.epochs=1)", "sdpo": "sft (train.epochs=2)"}
    assert rows["dmpo"]["starts_from"] == "f00"
    assert "dmpo is not compared with its parent: no single row has fit f00" in table["notes"]
    assert "difference between systems: dpo and sdpo start from different parents" in table["notes"]


def test_seeds_with_parents_of_their_own_are_compared_with_the_row_that_has_them_all(
    make_bundle: MakeBundle,
) -> None:
    parents = [make_bundle("sft", ranks(n, 0.4), seed=n, llm=TINY) for n in (0, 1)]
    children = [
        make_bundle("dpo", ranks(5 + n, 0.5), seed=n, llm=TINY, parent=parents[n].spec.fit.id) for n in (0, 1)
    ]
    row = rows_of(built([*parents, *children]))["dpo"]
    assert row["starts_from"] == "sft"
    assert row["vs"]["parent"]["reference"] == "sft"


def test_seeds_whose_parents_are_in_two_rows_have_no_parent_to_compare_with(make_bundle: MakeBundle) -> None:
    short, long = (
        make_bundle("sft", ranks(n, 0.4), llm={**TINY, "train": {**TRAIN, "epochs": n}}) for n in (1, 2)
    )
    children = [
        make_bundle("dpo", ranks(9 + n, 0.5), seed=n, llm=TINY, parent=parent.spec.fit.id)
        for n, parent in enumerate((short, long))
    ]
    board = built([short, long, *children])
    fits = ", ".join(sorted((short.spec.fit.id, long.spec.fit.id)))
    row = rows_of(board)["dpo"]
    assert (row["starts_from"], "parent" in row["vs"]) == (fits, False)
    assert f"dpo is not compared with its parent: no single row has fit {fits}" in board["tables"][0]["notes"]


def test_a_ranking_made_elsewhere_is_marked_and_no_effect_of_a_method(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle("popularity", ranks(1, 0.1), seed=None),
        make_bundle("theirs", ranks(2, 0.5), external=True, ranking={"notes": ["it is short"]}),
    ]
    board = built(runs)
    row = rows_of(board)["theirs"]
    assert row["external"]
    assert "theirs: it is short" in board["tables"][0]["notes"]
    assert row["vs"]["popularity"]["kind"] == "difference between systems"


def test_a_board_of_one_method_has_no_difference(make_bundle: MakeBundle) -> None:
    [table] = built([make_bundle("sasrec", [1, 0, 2])])["tables"]
    assert (table["num_tests"], table["references"]) == (0, [])
    assert table["views"]["all"]["hr@1"]["pairs"] == {
        "difference": [],
        "half": [],
        "half_together": [],
        "p": [],
    }


def test_methods_that_rank_alike_in_every_seed_tie_at_no_difference(make_bundle: MakeBundle) -> None:
    # the seeds differ by less than their users explain, so there is no variance at all
    found = ([1, 0, 1, 0], [0, 1, 1, 1])
    runs = [
        make_bundle(name, found[seed], seed=seed, llm=TINY) for name in ("sft", "ilrec") for seed in range(2)
    ]
    board = built(runs)
    cell = rows_of(board)["ilrec"]["vs"]["parent"]
    assert (cell["difference"], cell["p"], cell["verdict"]) == (0.0, 1.0, "tie")
    assert cell["smallest_difference"] == 0.0


def test_no_row_is_better_than_one_with_which_it_shares_a_letter(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("popularity", ranks(1, 0.1), seed=None)]
    rates = {"sft": 0.4, "dpo": 0.45, "sdpo": 0.5, "ilrec": 0.95}
    for place, (name, rate) in enumerate(rates.items()):
        runs += [make_bundle(name, ranks(10 * place + seed, rate), seed=seed, llm=TINY) for seed in range(4)]
    board = built(runs, pairs="all", reference="sft")
    rows, letters = rows_of(board), standing(board, "letters")
    verdicts = set()
    for name, row in rows.items():
        for cell in row["vs"].values():
            other = board["tables"][0]["rows"][cell["against"]]["name"]
            apart = set(letters[name]).isdisjoint(letters[other])
            assert (cell["verdict"] == "tie") != apart
            assert (cell["low_together"] < 0 < cell["high_together"]) == (cell["verdict"] == "tie")
            verdicts.add(cell["verdict"])
    assert verdicts == {"better", "worse", "tie"}
