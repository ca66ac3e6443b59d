from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from recbench.board import build
from recbench.board.headline import headline, standing
from recbench.board.model import Board, Difference
from recbench.results.bundle import Bundle

from .conftest import TINY, ranks

MakeBundle = Callable[..., Bundle]
TIES = "; 2 methods are not told from their parent."


def said(runs: Sequence[Bundle], **options: Any) -> tuple[str, str]:
    """The headline, and who may be first."""
    board = build.build(runs, **options)
    return headline(board.tables[0], board), standing(board.tables[0], board)


def amount(board: Board, name: str, reference: str) -> str:
    found = next(row for row in board.tables[0].rows if row.name == name).vs[reference]
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def test_it_says_who_beats_the_parent_and_who_is_beyond_the_reference(study: list[Bundle]) -> None:
    board = build.build(study)
    assert headline(board.tables[0], board) == (
        f"ilrec beats its parent sft by {amount(board, 'ilrec', 'parent')}; "
        f"both language models are beyond popularity; "
        f"sasrec is beyond popularity by {amount(board, 'sasrec', 'popularity')}."
    )
    assert standing(board.tables[0], board) == (
        "ilrec is the best of 4 methods (Holm over all pairs, exploratory)."
    )
    assert standing(board.tables[0], replace(board, pairs="all")) == (
        "ilrec is the best of 4 methods (Holm over all pairs)."
    )


def test_where_nothing_is_sure_it_says_what_would_be_found(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle(name, ranks(10 * place + seed, 0.5), seed=seed, llm=None if name == "sasrec" else TINY)
        for seed in range(3)
        for place, name in enumerate(("sasrec", "sft", "ilrec"))
    ]
    board = build.build(runs, reference="sasrec")
    found = next(row for row in board.tables[0].rows if row.name == "ilrec").vs["parent"]
    assert headline(board.tables[0], board) == (
        "No method is told from its parent sft in NDCG@10, where a true difference of about "
        f"{found.smallest_difference:.4f} is found with 80 % power; no language model is beyond sasrec."
    )
    assert standing(board.tables[0], board) == (
        "Each of the 3 methods may be the best (Holm over all pairs, exploratory)."
    )


def test_a_difference_of_one_seed_is_of_checkpoints(make_bundle: MakeBundle) -> None:
    runs = [make_bundle("sft", ranks(1, 0.3), llm=TINY), make_bundle("ilrec", ranks(2, 0.9), llm=TINY)]
    text, first = said(runs)
    assert text.startswith("ilrec beats its parent sft by +")
    assert "† [" in text
    assert text.endswith(". One seed: of these checkpoints only, nothing is said about other seeds.")
    assert first == "ilrec is the best of 2 checkpoints (Holm over all pairs, exploratory)."


def test_one_method_has_nothing_to_be_compared_with(make_bundle: MakeBundle) -> None:
    assert said([make_bundle("sft", ranks(1, 0.3), llm=TINY)]) == (
        "sft is alone: there is no method to compare it with.",
        "",
    )


def test_without_a_declared_pair_it_says_so(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle(name, ranks(1, 0.3), seed=seed) for name in ("gru4rec", "sasrec") for seed in range(2)
    ]
    assert said(runs) == ("No two of these methods were declared to be compared.", "")


def test_each_block_has_its_parent_and_its_name(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle(name, ranks(seed, rate), seed=seed, llm={**TINY, "paradigm": paradigm})
        for seed in range(6)
        for paradigm, rates in (("semantic-id", (0.3, 0.9)), ("title", (0.9, 0.3)))
        for name, rate in zip(("sft", "ilrec"), rates, strict=True)
    ]
    text, _ = said(runs)
    assert "ilrec beats its parent sft in semantic-id · tiny by +" in text
    assert "ilrec loses to its parent sft in title · tiny by -" in text


# a table with the verdicts of ilrec, dpo, sdpo and simpo against their parent
@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["better", "better", "tie", "tie"], "{0} by {d} and {1} by {d} beat their parent sft" + TIES),
        (
            ["tie", "worse", "tie", "better"],
            "{3} beats its parent sft by {d}; {1} loses to its parent sft by {d}" + TIES,
        ),
        (["better"] * 4, "{0} by {d}, {1} by {d} and 2 more beat their parent sft."),
    ],
)
def test_many_methods_are_counted(make_bundle: MakeBundle, verdicts: list[Any], sentence: str) -> None:
    names = ("sft", "ilrec", "dpo", "sdpo", "simpo")
    runs = [make_bundle(name, ranks(seed, 0.5), seed=seed, llm=TINY) for name in names for seed in range(2)]
    board = build.build(runs)
    table = board.tables[0]
    children = [row for row in table.rows if "parent" in row.vs]
    judged = iter(verdicts)

    def judge(found: Difference) -> Difference:
        return replace(found, verdict=next(judged), difference=0.1, low=0.05, high=0.15)

    rows = tuple(
        replace(row, vs={name: judge(found) for name, found in row.vs.items()}) for row in table.rows
    )
    assert headline(replace(table, rows=rows), board) == sentence.format(
        *(row.name for row in children), d="+0.1000 [+0.0500, +0.1500]"
    )


@pytest.mark.parametrize(
    ("verdicts", "clause"),
    [
        (["tie", "tie", "tie"], "No method is beyond popularity."),
        (["worse", "worse", "worse"], "All 3 methods are behind popularity."),
        (["tie", "worse", "tie"], "No method is beyond popularity, 1 is behind it."),
        (["better", "worse", "worse"], "{0} is beyond popularity, 2 are behind it."),
        (["better", "better", "better"], "All 3 methods are beyond popularity."),
    ],
)
def test_the_reference_counts_who_is_beyond_it(
    make_bundle: MakeBundle, verdicts: list[Any], clause: str
) -> None:
    runs = [make_bundle("popularity", ranks(0, 0.4), seed=None)]
    runs += [make_bundle(name, ranks(1, 0.5), seed=s) for name in ("bpr", "knn", "sasrec") for s in range(2)]
    board = build.build(runs)
    judged = iter(verdicts)
    rows = tuple(
        replace(row, vs={name: replace(found, verdict=next(judged)) for name, found in row.vs.items()})
        for row in board.tables[0].rows
    )
    names = [row.name for row in rows if row.vs]
    assert headline(replace(board.tables[0], rows=rows), board) == clause.format(*names)
