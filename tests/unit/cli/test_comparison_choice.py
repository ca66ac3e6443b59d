"""Which runs `compare` and `plan --power` take: by block, data set and protocol, with all seeds of a side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]
Recbench = Callable[..., Any]

BLOCKS = {
    "title": {"paradigm": "title", "backbone": "tiny", "train": {"lora_rank": 0}},
    "semantic-id": {"paradigm": "semantic-id", "backbone": "tiny", "train": {"lora_rank": 0}},
}
RATES = {
    ("ilrec", "title"): 0.5,
    ("sft", "title"): 0.3,
    ("ilrec", "semantic-id"): 0.7,
    ("sft", "semantic-id"): 0.6,
}


@pytest.fixture
def two_blocks(make_bundle: MakeBundle) -> None:
    """ilrec and sft in two blocks with five seeds, and popularity, on the sets `toy` and `other`."""
    for dataset in ("toy", "other"):
        for (method, paradigm), rate in RATES.items():
            for seed in range(5):
                rng = np.random.default_rng([seed, *f"{method} {paradigm} {dataset}".encode()])
                ranks = np.where(rng.random(200) < rate, rng.integers(1, 3, 200), 0)
                make_bundle(method, ranks.tolist(), seed=seed, llm=BLOCKS[paradigm], dataset=dataset)
        make_bundle("popularity", [1, 0, 0, 0] * 50, seed=None, dataset=dataset)


@pytest.mark.usefixtures("two_blocks")
def test_a_paradigm_leaves_one_block_with_all_its_seeds(recbench: Recbench) -> None:
    said = recbench("compare", "ilrec", "sft", "-p", "title", "-d", "toy")
    assert said.code == 0, said.err
    assert said.out.count("(seed 0, 1, 2, 3, 4)") == 2
    [one] = recbench("compare", "ilrec", "sft", "-p", "title", "-d", "toy", "--json").json["comparisons"]
    assert (one["a"], one["b"], one["dataset"]) == ("ilrec", "sft", "toy")
    assert one["kind"] == "effect of the method"
    other = recbench("compare", "ilrec@semantic-id", "sft@semantic-id", "-d", "toy", "--json").json
    assert other["comparisons"][0]["mean_a"] > one["mean_a"]


@pytest.mark.usefixtures("two_blocks")
def test_a_block_is_named_after_the_method_and_wherever_it_appears(recbench: Recbench) -> None:
    said = recbench("compare", "ilrec@title", "ilrec@semantic-id · tiny", "popularity", "-d", "toy", "--json")
    names = {one["name"] for one in said.json["standings"]}
    assert names == {"ilrec · title · tiny", "ilrec · semantic-id · tiny", "popularity"}
    against = recbench(
        "compare", "ilrec@title", "ilrec@semantic-id", "-d", "toy", "--reference", "ilrec@title", "--json"
    ).json["comparisons"]
    assert [one["b"] for one in against] == ["ilrec · title · tiny"]
    assert against[0]["kind"] == "difference between systems"


@pytest.mark.usefixtures("two_blocks")
def test_several_data_sets_are_chosen_and_put_together(recbench: Recbench) -> None:
    both = recbench("compare", "ilrec", "sft", "-p", "title", "-d", "toy", "-d", "other")
    assert "across 2 datasets: average rank ilrec 1.00, sft 2.00" in both.out
    alone = recbench("compare", "ilrec", "sft", "-p", "title", "-d", "other").out
    assert "on other, 200 users" in alone
    assert "across" not in alone


@pytest.mark.usefixtures("two_blocks")
def test_a_method_without_a_language_model_is_in_every_block(recbench: Recbench) -> None:
    said = recbench("compare", "ilrec", "popularity", "-p", "title", "-b", "tiny", "-d", "toy", "--json")
    assert {one["name"] for one in said.json["standings"]} == {"ilrec", "popularity"}


@pytest.mark.usefixtures("two_blocks")
def test_a_method_of_two_blocks_is_refused_with_the_words_that_tell_them_apart(recbench: Recbench) -> None:
    said = recbench("compare", "ilrec", "sft", "-d", "toy")
    assert said.code == 2
    assert "'ilrec@semantic-id · tiny' 'ilrec@title · tiny'" in said.err
    fixed = said.err.partition("try: recbench compare ")[2]
    assert recbench("compare", *[word.strip("' \n") for word in fixed.split("' '")]).code == 0


@pytest.mark.usefixtures("two_blocks")
def test_what_no_run_has_is_said_with_what_there_is(recbench: Recbench) -> None:
    for words, sentence in (
        (("ilrec@titel", "sft@title"), "no block of ilrec 'titel'"),
        (("ilrec", "sft", "-p", "titel"), "no paradigm of finished runs 'titel'; did you mean 'title'?"),
        (("ilrec", "sft", "-d", "toys"), "no dataset of finished runs 'toys'; did you mean 'toy'?"),
        (("ilrec", "sft", "-b", "qwen"), "no backbone of finished runs 'qwen'"),
        (("ilrec", "sft", "--protocol", "candidates"), "no protocol of finished runs 'candidates'"),
        (("irlec@title", "sft@title"), "no run or method 'irlec@title'"),
    ):
        said = recbench("compare", *words)
        assert said.code == 2
        assert sentence in said.err
        assert "known: " in said.err


def test_a_label_with_an_at_sign_is_that_label(make_bundle: MakeBundle, recbench: Recbench) -> None:
    make_bundle("external:mine@home", [1, 0, 2], label="mine@home")
    make_bundle("sft", [0, 1, 2])
    assert recbench("compare", "mine@home", "sft").code == 0


@pytest.mark.usefixtures("two_blocks")
def test_the_plan_takes_the_same_words(recbench: Recbench) -> None:
    [need] = recbench(
        "plan", "--power", "0.1", "-m", "ilrec", "-m", "sft", "-p", "title", "-d", "toy", "--json"
    ).json
    assert (need["a"], need["b"], need["dataset"], need["num_seeds"]) == ("ilrec", "sft", "toy", 5)
    named = recbench("plan", "--power", "0.1", "-m", "ilrec@title", "-m", "sft@title", "-d", "toy", "--json")
    assert named.json == [need]
    every = recbench("plan", "--power", "0.1", "-d", "toy", "--json")
    assert every.err == ""
    assert len(every.json) == 10  # all pairs of two methods in two blocks and popularity
    assert {"ilrec · title · tiny", "popularity"} <= {row[side] for row in every.json for side in "ab"}


@pytest.mark.usefixtures("two_blocks")
def test_a_screen_of_80_columns_breaks_no_name_of_a_block(
    recbench: Recbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("compare", "ilrec@title", "ilrec@semantic-id", "popularity", "-d", "toy")
    names = {one["name"] for one in recbench(*words, "--json").json["standings"]}
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "dumb")
    for width in (80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = recbench(*words).out.splitlines()
        assert max(map(len, lines)) <= width
        for name in names:
            # once among the standings, and in two of three differences
            assert sum(name in line for line in lines) == 3


def test_a_method_may_be_written_as_a_run_is_asked_for(make_bundle: MakeBundle, recbench: Recbench) -> None:
    make_bundle("sdpo", [1, 0, 2], label="sdpo[beta=1.0,train.lr=1e-05]")
    make_bundle("sft", [1, 2, 2])
    [one] = recbench("compare", "sdpo:train.lr=0.00001,beta=1", "sft", "-d", "toy", "--json").json[
        "comparisons"
    ]
    assert one["a"] == "sdpo[beta=1.0,train.lr=1e-05]"
    assert "no run or method 'sdpo:beta=2'" in recbench("compare", "sdpo:beta=2", "sft").err
