from __future__ import annotations

from recbench.comparison.block import block_names

BLOCK = {
    "paradigm": "semantic-id",
    "backbone": "tiny aaaaaaaaaaaa",
    "identifiers": "rqkmeans bbbbbbbbbbbb",
    "prompt": "p1",
    "ranker": "exact",
    "training": "pack=none, lora_rank=0, precision=fp32",
}


def test_a_block_is_named_by_its_paradigm_and_backbone() -> None:
    assert block_names([BLOCK]) == ["semantic-id · tiny"]
    other = {**BLOCK, "paradigm": "title", "identifiers": "none"}
    assert block_names([BLOCK, other]) == ["semantic-id · tiny", "title · tiny"]


def test_blocks_of_one_paradigm_and_backbone_say_what_differs() -> None:
    given = {**BLOCK, "identifiers": "given cccccccccccc"}
    assert block_names([BLOCK, given]) == ["semantic-id · tiny · rqkmeans", "semantic-id · tiny · given"]
    lora = {**BLOCK, "training": "pack=none, lora_rank=8, lora_alpha=16, precision=fp32"}
    assert block_names([BLOCK, lora]) == [
        "semantic-id · tiny · lora_rank=0",
        "semantic-id · tiny · lora_rank=8, lora_alpha=16",
    ]
    bare = {**BLOCK, "prompt": "none"}
    assert block_names([BLOCK, bare]) == ["semantic-id · tiny · p1", "semantic-id · tiny · no prompt"]


def test_of_one_ranker_the_settings_that_differ_are_named() -> None:
    vocab = {**BLOCK, "ranker": "exact[batch=64,normalise=vocab,width=32]"}
    children = {**BLOCK, "ranker": "exact[batch=64,normalise=children,width=32]"}
    assert block_names([vocab, children]) == [
        "semantic-id · tiny · normalise=vocab",
        "semantic-id · tiny · normalise=children",
    ]
    beam = {**BLOCK, "ranker": "beam[batch=64,width=20]"}
    assert block_names([vocab, beam]) == [
        "semantic-id · tiny · exact[batch=64,normalise=vocab,width=32]",
        "semantic-id · tiny · beam[batch=64,width=20]",
    ]


def test_a_digest_is_named_where_nothing_else_differs() -> None:
    other = {**BLOCK, "identifiers": "rqkmeans cccccccccccc"}
    assert block_names([BLOCK, other]) == [
        "semantic-id · tiny · rqkmeans bbbbbbbbbbbb",
        "semantic-id · tiny · rqkmeans cccccccccccc",
    ]
