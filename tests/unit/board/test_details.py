from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recbench.board import build
from recbench.board.commands import again
from recbench.board.render.details import details
from recbench.results.bundle import Bundle

from .conftest import TINY, ranks

MakeBundle = Callable[..., Bundle]


def made(make_bundle: MakeBundle, **options: Any) -> str:
    """The command of a board's only row."""
    [table] = build.build([make_bundle("ilrec", ranks(0, 0.5), **options)]).tables
    return again(table.rows[0], table)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("ilrec", "-m ilrec -d toy --protocol ilrec --seed 0"),
        ("ilrec[beta=0.2,mu=1]", "-m ilrec:beta=0.2,mu=1 -d toy --protocol ilrec --seed 0"),
        (
            "ilrec[beta=0.2,train.epochs=3.0]",
            "-m ilrec:beta=0.2 -d toy --protocol ilrec --seed 0 --set train.epochs=3.0",
        ),
    ],
)
def test_the_command_types_the_settings_of_the_label(make_bundle: MakeBundle, label: str, words: str) -> None:
    assert made(make_bundle, label=label) == f"recbench run {words}"


def test_a_language_model_is_named_by_paradigm_and_backbone(make_bundle: MakeBundle) -> None:
    assert "-p semantic-id -b tiny" in made(make_bundle, llm=TINY)


CODES = {"source": "auto", "levels": 3, "codes": 128, "embedding": "auto", "collisions": "resolve"}
EXACT = {"name": "exact", "normalise": "vocab", "budget": 2000, "width": 32, "batch": 64}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"ranker": {"name": "beam", "width": 20, "batch": 64}}, " --ranker beam"),
        ({"ranker": EXACT | {"normalise": "children"}}, " --ranker exact:normalise=children"),
        (
            {"identifiers": CODES | {"source": "rq-vae", "codes": 64, "hidden": [256, 128]}},
            " --set identifiers.source=rq-vae --set identifiers.codes=64 --set identifiers.hidden=256+128",
        ),
        ({"chat_template": True}, " --set prompt.chat_template=true"),
        ({"train": {"budget_epochs": 10.0}}, " --regime equal-tokens"),
        ({"paradigm": "title", "identifiers": {"max_tokens": 64}}, " --ranker exact"),
        (
            {"paradigm": "title", "identifiers": {"max_tokens": 8}, "ranker": {"name": "ground", "width": 4}},
            " --set identifiers.max_tokens=8",
        ),
    ],
)
def test_the_command_names_what_the_block_has_beside_defaults(
    make_bundle: MakeBundle, changed: dict[str, Any], words: str
) -> None:
    llm = {"paradigm": "semantic-id", "backbone": "tiny", "prompt": "p1", "identifiers": CODES, "train": {}}
    own = {key: value for key, value in changed.items() if key != "ranker"}
    said = made(make_bundle, llm=llm | own, ranker=changed.get("ranker", EXACT))
    paradigm = changed.get("paradigm", "semantic-id")
    assert said == f"recbench run -m ilrec -d toy -p {paradigm} -b tiny{words} --protocol ilrec --seed 0"


@pytest.mark.parametrize("label", ["ilrec[beta]", "a; rm b", "ilrec[init=[x]]", "ilrec\n"])
def test_a_label_that_cannot_be_typed_has_no_command(make_bundle: MakeBundle, label: str) -> None:
    assert made(make_bundle, label=label) == ""


def test_one_seed_holds_for_its_checkpoint_only(make_bundle: MakeBundle) -> None:
    [table] = build.build([make_bundle("ilrec", ranks(0, 0.5), llm=TINY)]).tables
    facts = dict(details(table.rows[0], table))
    assert facts["holds for"] == "these checkpoints only"
    assert facts["paradigm"] == "semantic-id"
    assert facts["run"] == f"recbench show {table.rows[0].runs[0]}"


def test_the_seeds_of_a_row_are_said_once_beside_its_means_and_in_its_checklist(
    make_bundle: MakeBundle,
) -> None:
    [table] = build.build([make_bundle("ilrec", [1, 0], seed=seed, llm=TINY) for seed in (0, 1)]).tables
    facts = dict(details(table.rows[0], table))
    assert facts["each run"] == "0.5000 (seed 0), 0.5000 (seed 1)"
    assert "seeds" not in facts
    assert [one.value for one in table.rows[0].checklist if one.variable == "seeds"] == ["0, 1"]
