"""Packed rows: the examples of each row, and the log-probabilities that each example has alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.data import Ragged
from recbench.llm.training.batch import by_length, collate
from recbench.llm.training.forward import response_logits
from recbench.llm.training.pack import Row, prefix_tree, windows

Example = tuple[list[int], int]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


def packed_logps(model: LlamaForCausalLM, rows: list[Row]) -> list[list[float]]:
    """Log-probabilities of each response's tokens from one forward pass over packed rows."""
    batch = collate(rows, pad=0)
    supervision = batch.pop("supervision")
    batch.pop("num_tokens")
    with torch.no_grad():
        logps = response_logits(model, supervision, batch).log_softmax(-1)
    values = logps.gather(1, supervision.label[:, None])[:, 0]
    num_responses = int(supervision.response.max()) + 1
    return [values[supervision.response == response].tolist() for response in range(num_responses)]


def alone_logps(model: LlamaForCausalLM, example: Example) -> list[float]:
    ids, start = example
    with torch.no_grad():
        logps = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(logps[index - 1, ids[index]]) for index in range(start, len(ids))]


def assert_packed_equals_alone(model: LlamaForCausalLM, rows: list[list[Example]]) -> None:
    packed = packed_logps(model, [prefix_tree(row) for row in rows])
    alone = [alone_logps(model, example) for row in rows for example in row]
    assert [len(values) for values in packed] == [len(values) for values in alone]
    for one, other in zip(packed, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_examples_that_continue_each_other_form_a_chain_with_their_own_log_probabilities(
    model: LlamaForCausalLM,
) -> None:
    # history 7 8 | 9 9 | ..., each response the next two codes and 2, which also joins the items
    row = [([1, 7, 8, 2, 9, 9, 2], 4), ([1, 7, 8, 2, 9, 9, 2, 5, 6, 2], 7)]
    tree = prefix_tree(row)
    assert tree.is_chain
    assert tree.input_ids.tolist() == [1, 7, 8, 2, 9, 9, 2, 5, 6]
    assert tree.predictor.tolist() == [3, 4, 5, 6, 7, 8]
    assert tree.label.tolist() == [9, 9, 2, 5, 6, 2]
    assert_packed_equals_alone(model, [row, [([1, 4, 2, 5, 6, 2], 3)]])


def test_an_answer_heading_branches_off_the_trunk_and_keeps_its_own_log_probabilities(
    model: LlamaForCausalLM,
) -> None:
    # 30 joins items in the trunk, 40 41 is the answer heading
    row = [
        ([1, 7, 8, 40, 41, 9, 9, 2], 5),
        ([1, 7, 8, 30, 9, 9, 40, 41, 5, 6, 2], 8),
        ([1, 7, 8, 30, 9, 9, 30, 5, 6, 40, 41, 3, 4, 2], 11),
    ]
    tree = prefix_tree(row)
    assert not tree.is_chain
    assert tree.position.max() == 12
    assert len(tree.input_ids) == 1 + 3 * 2 + 2 + 3 * 4  # start, items, joins, headings with two codes each
    assert_packed_equals_alone(model, [row, [([1, 4, 40, 41, 6, 2], 4)]])


def test_responses_to_one_prompt_share_it(model: LlamaForCausalLM) -> None:
    prompt = [1, 7, 8, 30, 9, 9, 40]
    row = [([*prompt, *response, 2], len(prompt)) for response in ([5, 6], [5, 7], [3, 4], [3])]
    tree = prefix_tree(row)
    assert len(tree.input_ids) == len(prompt) + 2 + 1 + 2 + 0  # 5 6 | 7 | 3 4 | 3 is a prefix of 3 4
    assert_packed_equals_alone(model, [row])


@given(
    st.lists(
        st.lists(st.integers(0, 5), min_size=2, max_size=8).flatmap(
            lambda ids: st.tuples(st.just(ids), st.integers(1, len(ids) - 1))
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_tree_spells_every_example(examples: list[Example]) -> None:
    tree = prefix_tree(examples)
    mask = tree.mask()
    for response, (ids, start) in enumerate(examples):
        mine = tree.response == response
        assert tree.label[mine].tolist() == ids[start:]
        last = int(tree.predictor[mine][-1])
        seen = np.flatnonzero(mask[last])
        assert tree.input_ids[seen].tolist() == ids[:-1]
        assert tree.position[seen].tolist() == list(range(len(ids) - 1))


def test_windows_without_packing_are_the_last_items_before_each_target() -> None:
    rows = windows(Ragged.of([[0] * 5]), history=3, pack="none", block_items=4, block_overlap=1)
    assert rows == [(0, [(0, 1)]), (0, [(0, 2)]), (0, [(0, 3)]), (0, [(1, 4)])]


def test_user_packing_joins_the_windows_that_start_together() -> None:
    rows = windows(Ragged.of([[0] * 6]), history=3, pack="user", block_items=4, block_overlap=1)
    assert rows == [(0, [(0, 1), (0, 2), (0, 3)]), (0, [(1, 4)]), (0, [(2, 5)])]


def test_blocks_overlap_and_predict_every_target_once() -> None:
    rows = windows(Ragged.of([[0] * 9]), history=3, pack="user-blocks", block_items=4, block_overlap=2)
    # blocks 0-3, 2-5, 4-7, 6-8: the first two items of a later block are history only
    assert rows == [
        (0, [(0, 1), (0, 2), (0, 3)]),
        (0, [(2, 4), (2, 5)]),
        (0, [(4, 6), (4, 7)]),
        (0, [(6, 8)]),
    ]


@example(lengths=[18, 0, 48], pack="user-blocks", block=(19, 1))
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    pack=st.sampled_from(["none", "user", "user-blocks"]),
    block=st.integers(2, 25).flatmap(lambda items: st.tuples(st.just(items), st.integers(1, items - 1))),
)
def test_every_packing_predicts_each_target_of_each_user_once(
    lengths: list[int], pack: str, block: tuple[int, int]
) -> None:
    sequences = Ragged.of([[0] * length for length in lengths])
    rows = windows(sequences, history=20, pack=pack, block_items=block[0], block_overlap=block[1])
    targets = [(user, end) for user, spans in rows for _, end in spans]
    assert sorted(targets) == [(user, end) for user, length in enumerate(lengths) for end in range(1, length)]
    assert all(start < end for _, spans in rows for start, end in spans)


def test_a_user_of_21_items_has_the_same_examples_in_every_packing() -> None:
    sequences = Ragged.of([list(range(21))])
    examples = {
        pack: sorted(
            span
            for _, spans in windows(sequences, history=20, pack=pack, block_items=21, block_overlap=1)
            for span in spans
        )
        for pack in ("none", "user", "user-blocks")
    }
    assert examples["none"] == examples["user"] == examples["user-blocks"]


def test_the_batches_of_a_step_have_rows_of_similar_length() -> None:
    rows = {length: prefix_tree([([1] * (length + 1), length)]) for length in (2, 9, 3, 8, 1)}

    def lengths(*batches: list[int]) -> list[list[int]]:
        asked = [[rows[length] for length in batch] for batch in batches]
        return [[len(row.input_ids) for row in batch] for batch in by_length(asked)]

    assert lengths([2, 9], [3, 8], [1]) == [[9, 8], [3, 2], [1]]
    assert lengths([2, 9, 3]) == [[2, 9, 3]], "the order of a fit in one batch a step is that of its rows"
    assert lengths() == []
