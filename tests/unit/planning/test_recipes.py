"""Presets by class, backbone, protocol and name; and the control that trains as long as another method."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from recbench.errors import UsageError
from recbench.planning import recipes
from recbench.planning.resolve import Resolved, Selection, resolve
from recbench.planning.study import parse
from recbench.planning.study_runs import members
from recbench.settings import TrainSettings, layered

LLAMA = "llama-3.1-8b"


def resolved(method: str, **more: Any) -> Resolved:
    return resolve(Selection(**{"method": method, "dataset": "game", **more}))


def train_of(run: Resolved) -> TrainSettings:
    assert run.llm is not None
    return run.llm.train


def test_a_later_layer_takes_the_place_of_an_earlier_one() -> None:
    presets = {
        "mine": {"a": 4},
        "soft": {"a": 3},
        "tiny": {"a": 2, "b": 2},
        "scratch": {"a": 1, "b": 1, "c": 1},
        "soft+pretrained": {"d": 1},
        "soft+scratch+title": {"d": 2},
    }
    assert layered(presets, "tiny", "title") == {"a": 2, "b": 2, "c": 1}
    assert layered(presets, "small", "title") == {"a": 1, "b": 1, "c": 1}
    assert layered(presets, "tiny", "title", "soft") == {"a": 3, "b": 2, "c": 1, "d": 2}
    assert layered(presets, "tiny", "semantic-id", "soft") == {"a": 3, "b": 2, "c": 1}
    assert layered(presets, "owner/model", "title", "soft", "mine") == {"a": 4, "d": 1}


def test_a_preset_may_be_for_one_dataset() -> None:
    presets = {"soft": {"a": 1, "b": 1}, "soft+pretrained+films": {"a": 2}}
    assert layered(presets, "owner/model", "title", "soft", dataset="films") == {"a": 2, "b": 1}
    assert layered(presets, "owner/model", "title", "soft", dataset="books") == {"a": 1, "b": 1}
    assert layered(presets, "tiny", "title", "soft", dataset="films") == {"a": 1, "b": 1}


def test_flags_come_before_the_preset_and_the_preset_before_the_protocol() -> None:
    asked = {"protocol": "ilrec", "backbone": LLAMA, "paradigm": "title"}
    assert resolved("sdpo", **asked).params["num_negatives"] == 5
    official = resolved("sdpo:preset=official", **asked)
    assert (official.params["beta"], official.params["num_negatives"]) == (1.0, 3)
    assert resolved("sdpo:preset=official,num_negatives=7", **asked).params["num_negatives"] == 7
    soft = {**asked, "protocol": "soft"}
    assert train_of(resolved("sdpo", **soft)).lr == 1e-4
    assert train_of(resolved("sdpo:preset=official", **soft)).lr == 1e-5
    assert train_of(resolved("sdpo:preset=official", **soft, settings={"train.lr": "3e-5"})).lr == 3e-5
    assert train_of(resolved("sdpo:preset=official,train.lr=2e-5", **soft)).lr == 2e-5


def test_a_preset_is_part_of_the_identity_by_its_values_alone() -> None:
    spelled, named = resolved("sdpo:num_negatives=3,beta=1.0"), resolved("sdpo:preset=official")
    digests = {"split": "s", "catalogue": "c"}
    assert named.spec(digests, parent="p") == spelled.spec(digests, parent="p")
    assert named.label == "sdpo[num_negatives=3]"
    assert resolved("sdpo:preset=ilrec").label == "sdpo"  # the protocol's own recipe


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("sdpo:preset=offical", "did you mean 'official'"),
        ("dpo:preset=official", "no preset of dpo 'official'"),
        ("popularity:preset=official", "no preset of popularity 'official'"),
        ("sft:preset=official", "has nothing for -b tiny -p semantic-id"),
    ],
)
def test_a_recipe_that_a_method_does_not_have_is_refused_by_name(method: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(method)
    assert said in str(caught.value)


def test_a_recipe_may_have_more_than_its_protocol() -> None:
    """RosePO's default under `ilrec` was chosen on validation; ILRec's own rejects the best wrong item."""
    for protocol in ("ilrec", "soft"):
        own, asked = (resolved(name, protocol=protocol) for name in ("rosepo", "rosepo:preset=ilrec"))
        assert (own.params["negatives"], asked.params["negatives"]) == ("similar", "self-hard")
        assert asked.label == "rosepo[negatives=self-hard]"
    assert resolved("rosepo:preset=ilrec,negatives=popularity").params["negatives"] == "popularity"
    soft = {"protocol": "soft", "backbone": LLAMA, "paradigm": "title"}
    assert train_of(resolved("rosepo", **soft)).lr == 1e-4
    assert train_of(resolved("rosepo:preset=ilrec", **soft)).lr == 1e-5


def test_the_nearest_recipe_is_the_one_to_try() -> None:
    with pytest.raises(UsageError) as caught:
        resolved("sdpo:preset=offical")
    assert caught.value.fix == "-m sdpo:preset=official"


def test_the_paradigms_of_pretrained_models_have_their_own_papers_adapters() -> None:
    found = {
        paradigm: train_of(resolved("sft", backbone=LLAMA, paradigm=paradigm))
        for paradigm in ("title", "semantic-id", "hybrid")
    }
    shapes = {name: (one.lora_rank, one.lora_alpha, one.lora_dropout) for name, one in found.items()}
    assert shapes == {"title": (8, 16, 0.05), "semantic-id": (8, 32, 0.05), "hybrid": (8, 32, 0.1)}
    assert found["hybrid"].lr == 7e-4
    soft = resolved("sft", backbone=LLAMA, paradigm="hybrid", protocol="soft")
    assert train_of(soft).lr == 1e-4  # the SOFT paper's, for LLaRA too


@pytest.mark.parametrize("paradigm", ["title", "semantic-id", "hybrid"])
@pytest.mark.parametrize("protocol", ["ilrec", "soft"])
def test_all_methods_of_a_block_have_the_adapter_of_their_parent(paradigm: str, protocol: str) -> None:
    where = {"backbone": LLAMA, "paradigm": paradigm, "protocol": protocol}
    shapes = set()
    for method in ("sft", "sft-continued", "dpo", "sdpo", "dmpo", "rosepo", "sprec", "soft", "ilrec"):
        train = train_of(resolved(method, **where))
        shapes.add((train.lora_rank, train.lora_alpha, train.lora_dropout))
    assert len(shapes) == 1


# steps by hand: an epoch is ceil(rows / batch) steps
@pytest.mark.parametrize(
    ("method", "backbone", "rows", "steps"),
    [
        ("sdpo", "tiny", 5000, 64),  # 1 epoch, 1024 / 16
        ("sprec", "tiny", 5000, 96),  # 3 rounds, 2 stages, 256 / 16
        ("sprec:iterations=5", "tiny", 5000, 160),
        ("sdpo", "tiny", 100, 7),  # fewer rows than the cap: ceil(100 / 16)
        ("sdpo", LLAMA, 1000, 24),  # 3 epochs of ceil(1000 / 128) = 8
        ("sprec", LLAMA, 1000, 378),  # 6 stages of ceil(1000 / 16) = 63
    ],
)
def test_steps_of_a_recipe(method: str, backbone: str, rows: int, steps: int) -> None:
    run = resolved(method, backbone=backbone)
    iterations = run.params.get("iterations")
    stages = 2 * iterations if iterations else 1
    assert recipes.num_steps(train_of(run), stages, rows) == steps


@pytest.mark.parametrize(("backbone", "rows", "steps"), [("tiny", 5000, 96), (LLAMA, 1000, 378)])
def test_the_control_has_the_steps_and_rows_of_the_preference_method_with_most(
    backbone: str, rows: int, steps: int
) -> None:
    control, leader = (train_of(resolved(name, backbone=backbone)) for name in ("sft-continued", "sprec"))
    assert recipes.num_steps(control, 1, rows) == steps
    same = ("lr", "batch", "max_rows", "warmup", "schedule", "weight_decay", "max_grad_norm", "select")
    assert [getattr(control, name) for name in same] == [getattr(leader, name) for name in same]


def test_as_gives_the_control_the_training_of_another_method() -> None:
    control = resolved("sft-continued:as=sdpo")
    assert train_of(control) == train_of(resolved("sdpo"))
    assert recipes.num_steps(train_of(control), 1, 5000) == 64
    assert control.label == "sft-continued[as=sdpo]"
    assert resolved("sft-continued:as=sprec").label == "sft-continued"
    assert resolved("sft-continued").params == {"as": "sprec"}


def test_settings_for_all_methods_reach_the_control_through_the_method_it_follows() -> None:
    asked = {"train.epochs": "2", "train.select": "best"}
    control = train_of(resolved("sft-continued", settings=asked))
    assert (control.epochs, control.select) == (12.0, "best")  # 3 rounds, 2 stages, 2 epochs
    assert train_of(resolved("sft-continued:train.epochs=5", settings=asked)).epochs == 5.0


def test_under_equal_tokens_the_control_trains_on_all_rows() -> None:
    control = train_of(resolved("sft-continued", regime="equal-tokens"))
    assert (control.budget_epochs, control.max_rows) == (10.0, 0)
    assert resolved("sft-continued", regime="equal-tokens").label == "sft-continued"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sdop", "did you mean 'sdpo'"),
        ("ilrec", "'sft-continued' cannot train as 'ilrec' does"),
        ("sasrec", "'sft-continued' cannot train as 'sasrec' does"),
        ("sft-continued", "cannot train as 'sft-continued' does"),
        ("pair-loss", "'pair-loss' has no recipe without its type, which as= cannot say"),
    ],
)
def test_what_the_control_cannot_follow_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(f"sft-continued:as={name}")
    assert said in str(caught.value)


def test_a_study_is_refused_whose_control_follows_what_is_not_on_its_board() -> None:
    table = {"methods": ["sft", "sft-continued:as=sprec", "sdpo"], "datasets": ["game"]}
    with pytest.raises(UsageError, match="to train as, in sft-continued:as=sprec: 'sprec'"):
        parse(table, name="mine")
    assert parse({**table, "methods": ["sft-continued:as=sdpo", "sdpo"]}, name="mine").methods


def recorded(method: str, **more: Any) -> Any:
    """What a study asks of a finished run: its identity, and what differed from the defaults."""
    run = resolved(method, **more)
    spec = run.spec({"split": "s", "catalogue": "c"}, parent="p")
    return SimpleNamespace(spec=spec, manifest=SimpleNamespace(params=run.changed))


def test_a_study_finds_the_runs_of_its_recipe_and_of_its_control() -> None:
    table = {
        "methods": ["sdpo:preset=official", "sft-continued:as=sdpo"],
        "datasets": ["game"],
        "settings": {"train.epochs": 2},
    }
    asked = {"settings": {"train.epochs": "2"}}
    own = [recorded("sdpo:num_negatives=3", **asked), recorded("sft-continued:as=sdpo", **asked)]
    others = [
        recorded("sdpo", **asked),
        recorded("sft-continued", **asked),
        recorded("sft-continued:as=sdpo"),
    ]
    assert members(parse(table, name="mine"), [*own, *others]) == own
    control = parse({**table, "methods": ["sft-continued"]}, name="mine")
    assert members(control, [*own, *others]) == [others[1]]  # 12 epochs, where the study says 2 a stage


@pytest.mark.parametrize(
    ("backbone", "protocol", "epochs"),
    [
        ("tiny", "ilrec", 5.0),
        ("tiny", "soft", 7.0),
        ("llama-3.1-8b", "ilrec", 5.0),
        ("llama-3.1-8b", "soft", 7.0),
    ],
)
def test_a_budget_of_tokens_is_twice_the_epochs_of_sfts_recipe(
    backbone: str, protocol: str, epochs: float
) -> None:
    """Under `soft` the parent alone trains seven epochs, which ten would hardly leave anything of."""
    more = {"backbone": backbone, "paradigm": "title", "protocol": protocol}
    assert train_of(resolved("sft", **more)).epochs == epochs
    for method in ("sft", "sdpo", "soft"):
        assert train_of(resolved(method, regime="equal-tokens", **more)).budget_epochs == 2 * epochs


@pytest.mark.parametrize("backbone", ["tiny", "small", LLAMA])
@pytest.mark.parametrize("paradigm", ["semantic-id", "title", "hybrid"])
def test_soft_and_its_sft_train_the_papers_seven_epochs_under_its_protocol(
    backbone: str, paradigm: str
) -> None:
    where = {"backbone": backbone, "paradigm": paradigm, "protocol": "soft"}
    runs = [resolved(name, **where) for name in ("soft", "soft:adaptive=false", "sft")]
    assert [train_of(run).epochs for run in runs] == [7.0, 7.0, 7.0]
