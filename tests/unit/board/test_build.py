"""Rows of a board, their blocks, and the differences between them."""

from __future__ import annotations

from typing import Any

import pytest

from recbench.comparison import significance
from recbench.errors import UsageError
from recbench.results.bundle import Bundle
from tests.unit.board.conftest import TINY, TRAIN, MakeBundle, built, ranks, rows_of, standing


def test_a_row_has_the_mean_and_standard_deviation_over_seeds(make_bundle: MakeBundle) -> None:
    # hr@1 of the seeds: 1/2, 1/4, 3/4: mean 1/2, deviations 0, -1/4, 1/4: variance (1/8) / 2
    seeds = ([1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0])
    runs = [make_bundle("sasrec", found, seed=seed) for seed, found in enumerate(seeds)]
    row = rows_of(built(runs))["sasrec"]
    assert row["metrics"]["hr@1"] == {"mean": 0.5, "sd": 0.25}
    assert row["seeds"] == [0, 1, 2]
    assert row["seconds"] == 2.5  # the fixture's 2.0 to fit and 0.5 to rank


def test_rows_are_ordered_by_the_metric_and_ties_share_ranks_and_letters(study: list[Bundle]) -> None:
    board = built(study)
    means = [row["metrics"]["ndcg@10"]["mean"] for row in board["tables"][0]["rows"]]
    assert means == sorted(means, reverse=True)
    # sft and sasrec both hit half of the time, ilrec nearly always, popularity hardly ever
    assert standing(board, "ranks") == {
        "ilrec": [1, 1],
        "sft": [2, 3],
        "sasrec": [2, 3],
        "popularity": [4, 4],
    }
    assert standing(board, "letters") == {"ilrec": "a", "sft": "b", "sasrec": "b", "popularity": "c"}
    assert standing(board, "tier") == {"ilrec": 1, "sft": 2, "sasrec": 2, "popularity": None}


def test_differences_are_to_popularity_and_to_the_parent_with_holm_over_all(study: list[Bundle]) -> None:
    board = built(study)
    table, rows = board["tables"][0], rows_of(board)
    assert table["references"] == ["parent", "popularity"]
    assert table["num_tests"] == 4  # three rows against popularity, ilrec against the sft of its block
    cells = [cell for row in table["rows"] for cell in row["vs"].values()]
    assert [cell["p_holm"] for cell in cells] == pytest.approx(
        significance.holm([cell["p"] for cell in cells]), rel=1e-6
    )
    gain = rows["ilrec"]["vs"]["parent"]
    assert table["rows"][gain["against"]]["name"] == "sft"
    assert gain["low"] < gain["difference"] < gain["high"]
    assert gain["difference"] == pytest.approx(
        rows["ilrec"]["metrics"]["ndcg@10"]["mean"] - rows["sft"]["metrics"]["ndcg@10"]["mean"]
    )
    assert (gain["kind"], gain["verdict"], gain["scope"]) == ("effect of the method", "better", "methods")
    assert rows["sasrec"]["vs"].keys() == {"popularity"}
    assert rows["sasrec"]["vs"]["popularity"]["verdict"] == "better"
    assert rows["sft"]["vs"]["popularity"]["kind"] == "difference between systems"
    assert rows["popularity"]["vs"] == {}
    users = gain["users"]
    assert users["won"] + users["tied"] + users["lost"] == 200
    assert users["won"] > users["lost"]


def test_a_named_reference_replaces_the_defaults(study: list[Bundle]) -> None:
    board = built(study, reference="sasrec")
    assert board["tables"][0]["references"] == ["parent", "sasrec"]
    with pytest.raises(UsageError, match="did you mean 'sasrec'"):
        built(study, reference="sasrek")


def test_rows_of_another_backbone_are_another_block(make_bundle: MakeBundle) -> None:
    big = {**TINY, "backbone": "qwen2-0.5b"}
    runs = [
        make_bundle(name, ranks(n, 0.4), llm=llm)
        for n, llm in enumerate((TINY, big))
        for name in ("sft", "dpo")
    ]
    table = built(runs, reference="sft")["tables"][0]
    assert [block["backbone"] for block in table["blocks"]] in (
        ["tiny", "qwen2-0.5b"],
        ["qwen2-0.5b", "tiny"],
    )
    blocks = {(row["label"], row["block"]) for row in table["rows"]}
    assert blocks == {
        (name, f"semantic-id · {backbone}") for name in ("sft", "dpo") for backbone in ("tiny", "qwen2-0.5b")
    }
    # each dpo is compared with the sft of its own block
    cells = [row["vs"]["sft"] for row in table["rows"] if row["label"] == "dpo"]
    assert [cell["kind"] for cell in cells] == ["effect of the method"] * 2
    assert [cell["difference"] for cell in cells] == [0.0, 0.0]


def kind_against_sft(make_bundle: MakeBundle, **train: Any) -> str:
    """Of ilrec with these settings against sft with `TRAIN`."""
    llm = {**TINY, "train": {**TRAIN, **train}}
    runs = [make_bundle("sft", ranks(1, 0.4), llm=TINY), make_bundle("ilrec", ranks(2, 0.5), llm=llm)]
    kind: str = rows_of(built(runs, reference="sft"))["ilrec"]["vs"]["sft"]["kind"]
    return kind


@pytest.mark.parametrize(
    "train",
    [
        {"pack": "none"},
        {"block_items": 40},
        {"block_overlap": 20},
        {"lora_rank": 8},
        {"precision": "bf16"},
    ],
)
def test_another_window_rule_lora_or_precision_is_another_system(
    make_bundle: MakeBundle, train: dict[str, Any]
) -> None:
    assert kind_against_sft(make_bundle, **train) == "difference between systems"


@pytest.mark.parametrize("train", [{"epochs": 1.0}, {"lora_alpha": 32}])
def test_training_length_and_settings_without_effect_are_no_part_of_the_block(
    make_bundle: MakeBundle, train: dict[str, Any]
) -> None:
    assert kind_against_sft(make_bundle, **train) == "effect of the method"


def test_equal_settings_that_gave_other_codes_are_other_blocks(make_bundle: MakeBundle) -> None:
    codes = {"sft": "a" * 64, "ilrec": "b" * 64, "dpo": "a" * 64}
    runs = [
        make_bundle(name, ranks(n, 0.4), llm=TINY, digests={"identifiers": content})
        for n, (name, content) in enumerate(codes.items())
    ]
    board = built(runs, reference="sft")
    [table] = board["tables"]
    rows = rows_of(board)
    assert rows["dpo"]["block"] == rows["sft"]["block"] != rows["ilrec"]["block"]
    assert rows["dpo"]["vs"]["sft"]["kind"] == "effect of the method"
    assert rows["ilrec"]["vs"]["sft"]["kind"] == "difference between systems"
    shown = {block["name"]: block["identifiers"] for block in table["blocks"]}
    assert shown[rows["ilrec"]["block"]] == "[codes=64] bbbbbbbbbbbb"
    assert table["notes"] == [
        "difference between systems: identifiers: [codes=64] bbbbbbbbbbbb and [codes=64] aaaaaaaaaaaa"
    ]
    assert "identifiers" not in table["digests"]  # they are the block's, not the table's


def test_rows_with_given_identifiers_are_a_block_of_their_own(make_bundle: MakeBundle) -> None:
    made = {**TINY, "identifiers": {"source": "residual-kmeans", "embedding": "fused", "codes": 64}}
    given = {**TINY, "identifiers": {"source": "given"}}
    runs = [
        make_bundle(name, ranks(n, 0.4), llm=llm, digests={"identifiers": content * 64})
        for llm, content in ((made, "a"), (given, "b"))
        for n, name in enumerate(("sft", "ilrec"))
    ]
    [table] = built(runs, reference="sft")["tables"]
    shown = {block["name"]: block["identifiers"] for block in table["blocks"]}
    own = "residual-kmeans[codes=64,embedding=fused]"
    assert shown == {
        f"semantic-id · tiny · {own}": f"{own} aaaaaaaaaaaa",
        "semantic-id · tiny · given": "given bbbbbbbbbbbb",
    }
    # each ilrec is compared with the sft of its own block
    assert {(row["label"], row["block"]) for row in table["rows"]} == {
        (name, block) for name in ("sft", "ilrec") for block in shown
    }
    cells = [row["vs"]["sft"] for row in table["rows"] if row["label"] == "ilrec"]
    assert [cell["kind"] for cell in cells] == ["effect of the method"] * 2
    assert {table["rows"][cell["against"]]["block"] for cell in cells} == set(shown)


def test_seeds_with_other_codes_are_rows_of_their_own(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle("sft", ranks(seed, 0.4), seed=seed, llm=TINY, digests={"identifiers": content})
        for seed, content in enumerate(("a" * 64, "a" * 64, "b" * 64))
    ]
    rows = built(runs)["tables"][0]["rows"]
    assert sorted(row["seeds"] for row in rows) == [[0, 1], [2]]


def test_rows_that_share_a_label_are_told_apart_by_their_settings(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("sft", ranks(n, 0.4), llm={**TINY, "train": {**TRAIN, "epochs": n}}) for n in (1, 2)]
    assert set(rows_of(built(runs))) == {"sft (train.epochs=1)", "sft (train.epochs=2)"}
