"""The axis of negatives: names and their parameters, the laws of draws, lists of best wrong items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbench.data import Floats, Ints, Ragged, TrainingData
from recbench.errors import UsageError
from recbench.llm.decoding.search import SearchPlan, search_exact
from recbench.llm.items.trie import Trie
from recbench.llm.model import policy as policies
from recbench.llm.model.policy import Policy
from recbench.llm.pair_method import PairMethod
from recbench.llm.signals import lists, negatives
from recbench.llm.signals.lists import Lists, chosen_from
from recbench.llm.signals.samplers import SAMPLERS, Draw, sampler_of, text_of
from recbench.llm.training.examples import NextItem, next_item
from recbench.method import LLMRun, ParentFit
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import cf_model, scores
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.dpo import DPO
from recbench_methods.sdpo import SDPO

DATA = toy_data(num_users=8, num_items=12, longest=8)


def examples_of(histories: list[list[int]], targets: list[int]) -> NextItem:
    return NextItem([], np.arange(len(targets)), Ragged.of(histories), np.array(targets))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_name_stands_for_one_sampler_and_one_text(name: str) -> None:
    assert text_of(sampler_of(name)) == name
    assert type(sampler_of(name)) is SAMPLERS[name]


def test_parameters_beside_the_name_are_typed_and_defaults_leave_the_text() -> None:
    assert text_of(sampler_of("self-topk:temperature=2:pool=20")) == "self-topk:temperature=2.0"
    assert text_of(sampler_of("uniform:resample=yes")) == "uniform:resample=true"
    assert SDPO(negatives="self-topk:pool=20").negatives == "self-topk"
    assert sampler_of("uniform:resample=true").resample
    assert sampler_of("in-batch").resample
    assert not sampler_of("self-hard").resample
    assert sampler_of("self-play:rounds=2").rounds == 2
    assert sampler_of("uniform").rounds == 1


def test_the_number_of_negatives_has_a_name_of_its_own() -> None:
    with pytest.raises(UsageError, match="negatives=5 is no sampler") as caught:
        SDPO(negatives="5")
    assert caught.value.fix == "num_negatives=5"
    with pytest.raises(UsageError, match="did you mean 'self-topk'"):
        DPO(negatives="self-top")
    with pytest.raises(UsageError, match="no parameter of negatives=self-hard 'beam'"):
        DPO(negatives="self-hard:beam=10")
    with pytest.raises(ValueError, match="at least 1"):
        DPO(num_negatives=0)


class FromBase(DPO):
    starts_from = "base"


class FromBaseWithout(FromBase):
    needs_reference = False


def test_a_loss_with_a_reference_and_a_sampler_that_asks_do_not_start_from_the_base() -> None:
    with pytest.raises(UsageError, match="FromBase reads a reference and starts from the base"):
        FromBase()
    with pytest.raises(UsageError, match="self-hard asks a trained model"):
        FromBaseWithout(negatives="self-hard")
    FromBaseWithout(negatives="sasrec-hard")


def law_of_popularity(power: float, draws: int = 20_000) -> Floats:
    data = toy_data(num_items=5)
    data = replace(data, catalogue=replace(data.catalogue, popularity=np.array([8, 4, 1, 0, 2])))
    examples = examples_of([[1]] * draws, [1] * draws)
    leaf, popularity = np.arange(5), data.catalogue.popularity
    drawn = negatives.popular(examples, leaf, popularity, 1, key=3, power=power)[:, 0]
    shares: Floats = np.bincount(drawn, minlength=5) / draws
    return shares


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (0.0, [0.25, 0, 0.25, 0.25, 0.25]),
        (0.5, [0.539504, 0, 0.190744, 0, 0.269752]),
        (0.75, [0.639477, 0, 0.134434, 0, 0.226089]),
        (1.0, [0.727273, 0, 0.090909, 0, 0.181818]),
    ],
)
def test_popular_draws_follow_the_count_to_each_power(power: float, expected: list[float]) -> None:
    """The standard error of a share of 20,000 draws is at most 0.0036."""
    assert law_of_popularity(power).tolist() == pytest.approx(expected, abs=0.015)


SCORES = np.array([[-1.0, -1.5, -3.0]])


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (0.5, [0.721399, 0.265388, 0.013213]),
        (1.0, [0.574097, 0.348207, 0.077696]),
        (2.0, [0.465836, 0.362793, 0.171371]),
        (1e9, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_draws_from_a_list_follow_its_scores(temperature: float, expected: list[float]) -> None:
    drawn = chosen_from(repeated(20_000), 1, key=1, temperature=temperature)[:, 0]
    assert (np.bincount(drawn, minlength=3) / 20_000).tolist() == pytest.approx(expected, abs=0.015)


def repeated(times: int) -> Lists:
    return Lists(np.tile(np.arange(3), (times, 1)), np.tile(SCORES, (times, 1)))


def test_draws_from_a_list_are_without_replacement_and_at_zero_the_best() -> None:
    two = chosen_from(repeated(20_000), 2, key=1, temperature=1.0)
    assert (two[:, 0] != two[:, 1]).all()
    assert float((two == 0).any(1).mean()) == pytest.approx(0.929159, abs=0.008)
    assert chosen_from(repeated(2), 2, key=1, temperature=0.0).tolist() == [[0, 1], [0, 1]]
    cold = chosen_from(repeated(200), 2, key=1, temperature=1e-9)
    assert (cold == [0, 1]).all()  # towards 0, draws become the best


def test_lists_that_are_too_short_leave_minus_one_and_never_draw_it() -> None:
    short = Lists(np.array([[4, -1, -1]] * 50), np.array([[-1.0, np.nan, np.nan]] * 50))
    assert (chosen_from(short, 2, key=0, temperature=1.0) == [4, -1]).all()
    assert chosen_from(short, 5, key=0, temperature=0.0)[0].tolist() == [4, -1, -1, -1, -1]


def test_in_batch_negatives_are_the_distinct_targets_of_the_other_examples() -> None:
    examples = examples_of([[0]] * 4, [3, 5, 3, 7])
    drawn = negatives.in_batch(examples, np.arange(8), 2, key=0, block=128)
    assert [sorted(row) for row in drawn.tolist()] == [[5, 7], [3, 7], [5, 7], [3, 5]]
    one_leaf = np.array([0, 1, 2, 3, 4, 3, 6, 7])  # items 3 and 5 read alike
    drawn = negatives.in_batch(examples, one_leaf, 3, key=0, block=128)
    assert [sorted(set(row) - {-1}) for row in drawn.tolist()] == [[7], [7], [7], [3]]


def test_in_batch_blocks_come_from_the_seeded_order_and_not_from_the_history() -> None:
    examples = examples_of([[0]] * 60, list(range(1, 61)))
    first = negatives.in_batch(examples, np.arange(61), 3, key=0, block=4)
    again = negatives.in_batch(examples, np.arange(61), 3, key=0, block=4)
    other = negatives.in_batch(examples, np.arange(61), 3, key=1, block=4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first >= 0).all()  # 15 blocks of 4, each with 3 other targets
    for target, row in zip(examples.target.tolist(), first.tolist(), strict=True):
        for item in row:  # a block is symmetric
            assert target in first[item - 1].tolist()


def test_similar_takes_several_neighbours_of_the_last_item_or_of_the_target() -> None:
    vectors = np.arange(60, dtype=np.float32)[:, None]
    examples = examples_of([[3, 30]], [40])
    near = negatives.similar(examples, vectors, 4, key=0, nearest=True)
    assert near.tolist() == [[29, 31, 28, 32]]
    of_target = negatives.similar(examples, vectors, 4, key=0, anchor="target", nearest=True)
    assert of_target.tolist() == [[39, 41, 38, 42]]
    drawn = negatives.similar(examples, vectors, 4, key=0, pool=4)
    assert sorted(drawn[0].tolist()) == [28, 29, 31, 32]


def test_one_item_of_those_that_share_an_identifier_stays_in_a_list() -> None:
    trie = Trie.build([[5, 1], [5, 1], [6, 1], [7, 1]])
    found = lists.one_an_identifier(
        trie, Lists(np.array([[1, 0, 3, -1]]), np.array([[-1.0, -1, -2, np.nan]]))
    )
    assert found.items.tolist() == [[1, 3, -1, -1]]
    assert found.scores[0, :2].tolist() == [-1, -2]
    taken = lists.taken_items(trie, examples_of([[2]], [1]))
    assert sorted(taken.values.tolist()) == [0, 1, 2]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Draw:
    """A draw of 3 items from an untrained policy, whose lists are its own."""
    folder = tmp_path_factory.mktemp("samplers")
    run = toy_run(folder / "fit", llm=tiny_settings(max_rows=6))
    policy = policies.start(DATA, run)
    examples = next_item(policy.prompts, DATA, run)
    return Draw(policy=policy, examples=examples, data=DATA, run=run, count=3, weights="start")


def best_wrong(ask: Draw, order: Ints) -> Ints:
    """The first 3 of each row of `order` that are neither target nor history, by hand."""
    found = []
    for example, row in enumerate(order.tolist()):
        taken = {*ask.examples.history[example].tolist(), int(ask.examples.target[example])}
        found.append([item for item in row if item not in taken][:3])
    return np.array(found)


def test_self_hard_is_the_best_of_the_whole_ranking_without_target_and_history(asked: Draw) -> None:
    policy: Policy = asked.policy
    prompts = policy.prompts.for_histories(asked.examples.history)
    whole = search_exact(policy.model, policy.trie, prompts, k=12, tie=policy.tie, plan=SearchPlan())
    expected = best_wrong(asked, whole.items)
    assert np.array_equal(sampler_of("self-hard").draw(asked), expected)
    assert np.array_equal(sampler_of("self-topk:temperature=0").draw(asked), expected)
    assert not np.array_equal(sampler_of("self-topk:temperature=50").draw(asked), expected)


def test_self_play_may_answer_with_the_target_unless_it_must_be_wrong(asked: Draw) -> None:
    policy: Policy = asked.policy
    prompts = policy.prompts.for_histories(asked.examples.history)
    whole = search_exact(policy.model, policy.trie, prompts, k=3, tie=policy.tie, plan=SearchPlan())
    assert np.array_equal(sampler_of("self-play").draw(asked), whole.items)
    assert np.array_equal(sampler_of("self-play:wrong=true").draw(asked), sampler_of("self-hard").draw(asked))


def test_sasrec_hard_is_the_best_of_sasrecs_ranking(asked: Draw) -> None:
    model = cf_model(DATA, asked.run, SASRecParams())
    order = np.argsort(-scores(model, asked.examples.history), axis=1, kind="stable")
    assert np.array_equal(sampler_of("sasrec-hard").draw(asked), best_wrong(asked, order))


@pytest.mark.parametrize("name", ["self-topk", "sasrec-hard", "similar"])
def test_a_pool_smaller_than_the_number_of_negatives_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="draws from 2 items") as caught:
        SDPO(negatives=f"{name}:pool=2", num_negatives=3)
    assert caught.value.fix == f"negatives={name}:pool=3, or num_negatives=2"
    SDPO(negatives=f"{name}:pool=3", num_negatives=3)


def test_similar_compares_vectors_of_unit_length() -> None:
    vectors = np.array([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]], dtype=np.float32)
    scaled = negatives.unit(vectors)
    assert scaled.tolist() == [pytest.approx([0.6, 0.8]), pytest.approx([0.6, 0.8]), [0.0, 0.0]]
    assert (scaled[1] == vectors[1]).all()


def test_draws_of_another_epoch_are_others_and_those_of_the_first_stay(asked: Draw) -> None:
    sampler = sampler_of("uniform:resample=true")
    first, later = sampler.draw(asked), sampler.draw(replace(asked, epoch=1))
    assert np.array_equal(first, sampler_of("uniform").draw(asked))
    assert not np.array_equal(first, later)
    assert np.array_equal(later, sampler.draw(replace(asked, epoch=1)))


def test_a_sampler_that_finds_nothing_is_named(tmp_path: Path) -> None:
    data: TrainingData = toy_data(num_users=1, num_items=2, longest=5)
    run: LLMRun = toy_run(tmp_path / "fit", llm=tiny_settings())
    parent = ParentFit(id="start", workdir=tmp_path, trained_tokens=0, llm=run.llm)
    policy = policies.start(data, run)
    method: PairMethod = DPO()
    with pytest.raises(UsageError, match="negatives=uniform found nothing to reject"):
        method.train(policy, data, replace(run, parent=parent))
