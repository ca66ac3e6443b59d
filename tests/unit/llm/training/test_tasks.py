"""LC-Rec's six tasks: their examples, their rows, and their share of what is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.data import Catalogue, Ragged, TrainingData
from recbench.llm import ilrec_loss, token_ce, training_rows
from recbench.llm.items.task_prompts import task_prompts
from recbench.llm.items.wordings import TASKS, WORDINGS, Wording
from recbench.llm.model import policy as policies
from recbench.llm.model.policy import Policy
from recbench.llm.training.batch import Supervision
from recbench.llm.training.budget import token_budget
from recbench.llm.training.examples import next_item
from recbench.llm.training.pack import Row, num_tokens, prefix_tree
from recbench.llm.training.scoring import logps
from recbench.method import LLMRun, ParentFit
from recbench.settings import backbone_class
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec, ILRecObjective
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT

DATA = toy_data()


def with_text(data: TrainingData, **changes: Any) -> TrainingData:
    return replace(data, catalogue=replace(data.catalogue, **changes))


def begin(folder: Path, data: TrainingData = DATA, **train: Any) -> tuple[Policy, LLMRun]:
    run = toy_run(folder, llm=tiny_settings(**({"tasks": "lc-rec"} | train)))
    return policies.start(data, run), run


def read(row: Row) -> list[tuple[list[int], list[int]]]:
    """Tokens of question and answer of each example, read off the tree."""
    sees = row.mask()
    found = []
    for number in range(row.num_examples):
        own = row.response == number
        question = row.input_ids[sees[row.predictor[own][0]]]
        found.append((question.tolist(), row.label[own].tolist()))
    return found


def written(policy: Policy, rows: list[Row]) -> list[tuple[str, str]]:
    """Question and answer of each example."""
    decode = policy.tokenizer.decode
    return [(decode(question), decode(answer)) for row in rows for question, answer in read(row)]


def spelled(policy: Policy, item: int) -> str:
    return str(policy.tokenizer.decode(policy.prompts.identifiers[item]))


def test_a_single_task_has_the_rows_of_the_next_item(tmp_path: Path) -> None:
    policy, run = begin(tmp_path / "fit", tasks="next-item")
    made = training_rows(policy, DATA, run)
    wanted = next_item(policy.prompts, DATA, run).rows
    assert made.tasks == {}
    assert [row.input_ids.tolist() for row in made.rows] == [row.input_ids.tolist() for row in wanted]


def test_every_task_says_what_it_should_of_a_user_and_an_item(tmp_path: Path) -> None:
    policy, _ = begin(tmp_path / "fit")
    write = task_prompts(policy.tokenizer, policy.prompts, DATA.catalogue, "scratch")
    a, b, c = (spelled(policy, item) for item in (0, 1, 2))

    def example(task: str, question: str) -> tuple[str, str]:
        (wording,) = [w for w in WORDINGS["scratch"] if w.task == task and w.question == question]
        made = write.example(wording, [0, 1], 2)
        assert made is not None
        tokens, start = made
        return policy.tokenizer.decode(tokens[:start]), policy.tokenizer.decode(tokens[start:])

    # items 0, 1, 2 of the toy catalogue: a red lamp, a green chair, a blue kettle
    before = f"<s>{a}</s>{b}</s>"
    assert example("asymmetric", "{history}{eos}title:") == (f"{before}title:", "blue kettle 2</s>")
    assert example("asymmetric", "{history}{eos}kind:") == (f"{before}kind:", "kettle</s>")
    titles = "<s>red lamp 0</s>green chair 1</s>code:"
    assert example("asymmetric", "{titles}{eos}code:") == (titles, f"{c}</s>")
    assert example("item-to-id", "name:{title}{eos}code:") == ("<s>name:blue kettle 2</s>code:", f"{c}</s>")
    assert example("id-to-item", "item:{id}{eos}name:") == (f"<s>item:{c}</s>name:", "blue kettle 2</s>")
    wants = f"{before}wants:kettle</s>code:"
    assert example("intention", "{history}{eos}wants:{kind}{eos}code:") == (wants, f"{c}</s>")
    assert example("preference", "{history}{eos}likes:") == (f"{before}likes:", "chair; lamp</s>")


def test_a_preference_is_the_three_categories_that_are_most_frequent_and_then_latest(tmp_path: Path) -> None:
    policy, _ = begin(tmp_path / "fit")
    data = with_text(DATA, categories=("x", "y", "y", "", "z", "w") + ("v",) * 24)
    write = task_prompts(policy.tokenizer, policy.prompts, data.catalogue, "scratch")
    kinds = [data.catalogue.categories[item] for item in write.liked([0, 1, 4, 3, 3, 3, 2, 5])]
    assert kinds == ["y", "w", "z"]  # y twice; then the latest of w, z and x; no category is no preference


def test_each_target_item_and_user_is_asked_for_as_often_as_in_lc_rec(tmp_path: Path) -> None:
    policy, run = begin(tmp_path / "fit", pack="none")
    made = training_rows(policy, DATA, run)
    counts = {task: int(facts["examples"]) for task, facts in made.tasks.items()}
    targets = DATA.num_targets
    assert counts == {
        "sequential": targets,
        "asymmetric": round(0.2 * targets),
        "item-to-id": 30,
        "id-to-item": 30,
        "intention": 40,
        "preference": 40,
    }
    assert len(made.rows) == sum(counts.values())
    assert sum(facts["tokens"] for facts in made.tasks.values()) == num_tokens(made.rows)
    assert sum(facts["share"] for facts in made.tasks.values()) == pytest.approx(1.0)
    answers = [answer for _, answer in written(policy, made.rows[targets:])]
    titled = [f"{title}</s>" for title in DATA.catalogue.titles]
    assert len(set(answers) & set(titled)) > 10


@pytest.mark.parametrize("pack", ["none", "user-blocks"])
def test_nothing_after_the_training_items_is_ever_seen(tmp_path: Path, pack: str) -> None:
    """Pairs of a history and what came next are of the training sequences: no validation target is one."""
    policy, run = begin(tmp_path / "fit", pack=pack)
    ids = {spelled(policy, item): item for item in range(DATA.num_items)}
    follows = {(int(a), int(b)) for sequence in DATA.sequences for a, b in pairwise(sequence)}
    seen = set()
    for question, answer in written(policy, training_rows(policy, DATA, run).rows):
        history, _, rest = question.removeprefix("<s>").rpartition("</s>")
        if answer.removesuffix("</s>") in ids and rest == "" and "wants:" not in history and history:
            last = history.split("</s>")[-1]
            seen.add((ids.get(last, -1), ids[answer.removesuffix("</s>")]))
    assert {pair for pair in seen if pair[0] >= 0} == follows


def test_packed_examples_have_the_likelihood_that_they_have_alone(tmp_path: Path) -> None:
    policy, run = begin(tmp_path / "fit")
    rows = [row for row in training_rows(policy, DATA, run).rows if not row.is_chain][::9]
    together = logps(policy, rows)
    alone = [prefix_tree([(asked + said, len(asked))]) for row in rows for asked, said in read(row)]
    assert len(together) > 10
    np.testing.assert_allclose(together, logps(policy, alone), atol=1e-4)


def test_examples_that_begin_with_different_tokens_share_a_row(tmp_path: Path) -> None:
    """A tokenizer without a first token makes rows that are forests."""
    policy, _ = begin(tmp_path / "fit")
    examples = [([9, 10, 11, 1], 2), ([12, 10, 13, 1], 2), ([9, 14, 1], 1)]
    apart = [logps(policy, [prefix_tree([one])])[0] for one in examples]
    np.testing.assert_allclose(logps(policy, [prefix_tree(examples)]), apart, atol=1e-5)


def test_titles_alone_feed_four_tasks_and_no_category_is_read(tmp_path: Path) -> None:
    policy, run = begin(tmp_path / "fit", tasks="lc-rec-titles")
    made = training_rows(policy, DATA, run)
    assert list(made.tasks) == list(TASKS[:4])
    bare = with_text(DATA, categories=("",) * 30)
    again = training_rows(policy, bare, run)
    assert [row.input_ids.tolist() for row in again.rows] == [row.input_ids.tolist() for row in made.rows]


def test_an_item_without_a_title_is_asked_for_by_no_title(tmp_path: Path) -> None:
    data = with_text(DATA, titles=("", *DATA.catalogue.titles[1:]))
    policy, run = begin(tmp_path / "fit", data, tasks="lc-rec-titles")
    made = training_rows(policy, data, run)
    assert (made.tasks["item-to-id"]["examples"], made.tasks["id-to-item"]["examples"]) == (29, 29)
    assert not [answer for _, answer in written(policy, made.rows) if answer.startswith("item 0")]


def test_old_items_are_left_out_where_the_model_has_no_room_for_all(tmp_path: Path) -> None:
    policy, _ = begin(tmp_path / "fit")
    short = replace(policy.prompts, max_length=24)
    write = task_prompts(policy.tokenizer, short, DATA.catalogue, "scratch")
    (wording,) = [w for w in WORDINGS["scratch"] if w.question == "{titles}{eos}code:"]
    made = write.example(wording, [3, 4, 5, 6, 7], 8)
    assert made is not None
    assert len(made[0]) <= 24
    question = policy.tokenizer.decode(made[0][: made[1]])
    kept = [title for title in DATA.catalogue.titles[3:8] if title in question]
    assert kept == list(DATA.catalogue.titles[8 - len(kept) : 8])
    assert 0 < len(kept) < 5
    hopeless = task_prompts(
        policy.tokenizer, replace(policy.prompts, max_length=5), DATA.catalogue, "scratch"
    )
    assert hopeless.example(wording, [3], 8) is None


def test_a_pretrained_model_has_seventeen_wordings_of_the_next_item() -> None:
    wordings = [wording for wording in WORDINGS["pretrained"] if wording.task == "sequential"]
    assert len({wording.question for wording in wordings}) == 16  # and the template that ranks
    assert {wording.answer for wording in wordings} == {"{id}"}
    assert {wording.task for wording in WORDINGS["pretrained"]} == set(TASKS)
    assert {wording.task for wording in WORDINGS["scratch"]} == set(TASKS) - {"sequential"}


def test_a_pretrained_model_reads_all_wordings_and_titles_in_quotes(
    tmp_path: Path, save_backbone: Any
) -> None:
    backbone = save_backbone()
    assert backbone_class(backbone) == "pretrained"
    policy, run = begin(tmp_path / "fit", backbone=backbone, lora_rank=0, pack="none")
    made = training_rows(policy, DATA, run)
    examples = written(policy, made.rows)
    sequential = examples[: DATA.num_targets]
    ranking = [text for text, _ in sequential if "Code of the next item:" in text]
    assert 0 < len(ranking) < len(sequential) / 3  # 1 of 17
    quoted = {f'"{title}"</s>' for title in DATA.catalogue.titles}
    assert len(quoted & {answer for _, answer in examples}) > 10


def test_every_example_of_the_next_item_keeps_its_number_in_other_words(
    tmp_path: Path, save_backbone: Any
) -> None:
    policy, run = begin(tmp_path / "fit", backbone=save_backbone(), lora_rank=0, pack="none")
    made = training_rows(policy, DATA, run)
    numbers = np.concatenate([row.facts["example"] for row in made.rows])
    assert numbers[: DATA.num_targets].tolist() == list(range(len(made.examples)))
    assert set(numbers[DATA.num_targets :].tolist()) == {-1}


def test_a_limit_of_rows_draws_from_all_tasks(tmp_path: Path) -> None:
    policy, run = begin(tmp_path / "fit", max_rows=50)
    made = training_rows(policy, DATA, run)
    assert len(made.rows) == 50
    assert len(made.tasks) == 6


def test_only_sampled_targets_are_asked_for(tmp_path: Path) -> None:
    sampled = replace(DATA, sample=DATA.sequences.offsets[:3] + 1)  # the second items of three users
    policy, run = begin(tmp_path / "fit", sampled, pack="none")
    tasks = training_rows(policy, sampled, run).tasks
    assert {task: facts["examples"] for task, facts in tasks.items()} == {
        "sequential": 3,
        "asymmetric": 1,
        "item-to-id": 30,
        "id-to-item": 30,
        "intention": 3,
        "preference": 3,
    }


def test_a_budget_counts_the_tokens_of_all_tasks(tmp_path: Path) -> None:
    policy, run = begin(tmp_path / "fit", budget_epochs=2.0, max_rows=3)
    everything = replace(run, llm=replace(run.llm, train=replace(run.llm.train, max_rows=0)))
    tokens = num_tokens(training_rows(policy, DATA, everything).rows)
    assert tokens > 2 * num_tokens(next_item(policy.prompts, DATA, everything).rows)
    assert token_budget(policy, DATA, run) == 2 * tokens


def test_sft_learns_the_tasks_and_records_their_shares(tmp_path: Path) -> None:
    _, run = begin(tmp_path / "fit", epochs=4.0, checkpoints=1)
    method = SFT()
    method.fit(DATA, run=run)
    facts = json.loads((run.workdir / "facts.json").read_text())["tasks"]
    assert set(facts) == set(TASKS)
    assert sum(one["share"] for one in facts.values()) == pytest.approx(1.0)
    untrained, _ = begin(tmp_path / "base")
    fitted = policies.restore(DATA, run)
    wording = Wording("item-to-id", "name:{title}{eos}code:", "{id}")
    write = task_prompts(fitted.tokenizer, fitted.prompts, DATA.catalogue, "scratch")
    rows = [prefix_tree([made]) for item in range(30) if (made := write.example(wording, (), item))]
    assert logps(fitted, rows).mean() > logps(untrained, rows).mean() + 3  # nats


def test_ilrec_has_its_loss_on_the_next_item_and_that_of_sft_on_the_other_tasks() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, layer = (torch.randn(6, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    label = torch.arange(6)
    supervision = Supervision(
        position=torch.arange(6),
        label=label,
        response=torch.tensor([0, 0, 1, 1, 1, 2]),
        step=torch.tensor([0, 1, 0, 1, 2, 0]),
        columns={"example": torch.tensor([4, -1, 5]), "target": torch.tensor([0, -1, 1])},
    )
    method = ILRec(mu=0.0, k=1)
    total, terms = ILRecObjective(method, None, several_tasks=True)(logits, [layer], supervision)
    mine, other = [0, 1, 5], [2, 3, 4]  # of the examples 4 and 5, and of none
    own, _ = ilrec_loss(logits[mine], [layer[mine]], label[mine], alpha=0.8, beta=0.1, lam=0.01, mu=0.0)
    plain = token_ce(logits[other], label[other])
    assert float(total) == pytest.approx((3 * float(own) + 3 * float(plain)) / 6)
    assert float(terms["ce_other_tasks"]) == pytest.approx(float(plain))


def test_ilrec_and_preference_methods_take_part(tmp_path: Path) -> None:
    _, run = begin(tmp_path / "ilrec", epochs=0.2, checkpoints=1)
    ILRec().fit(DATA, run=run)
    assert set(json.loads((run.workdir / "facts.json").read_text())["tasks"]) == set(TASKS)
    _, run = begin(tmp_path / "sft", epochs=0.2, checkpoints=1)
    SFT().fit(DATA, run=run)
    parent = ParentFit(id="parent", workdir=run.workdir, trained_tokens=1, llm=run.llm)
    _, child = begin(tmp_path / "sdpo", epochs=0.2, checkpoints=1)
    SDPO(num_negatives=2).fit(DATA, run=replace(child, parent=parent))
    facts = json.loads((child.workdir / "facts.json").read_text())
    assert "tasks" not in facts  # pairs are of the next item alone
    assert facts["moved_nats"] > 0


def test_the_tasks_of_a_fit_follow_from_its_seed(tmp_path: Path) -> None:
    policy, run = begin(tmp_path / "fit")
    first, same = (training_rows(policy, DATA, run).rows for _ in range(2))
    other = training_rows(policy, DATA, replace(run, seed=1)).rows
    assert [row.input_ids.tolist() for row in first] == [row.input_ids.tolist() for row in same]
    assert [row.input_ids.tolist() for row in first] != [row.input_ids.tolist() for row in other]


def test_a_title_that_reads_like_the_end_of_a_response_is_text(tmp_path: Path) -> None:
    data = with_text(DATA, titles=("a </s> b", *DATA.catalogue.titles[1:]))
    policy, _ = begin(tmp_path / "fit", data)
    write = task_prompts(policy.tokenizer, policy.prompts, data.catalogue, "scratch")
    assert policy.prompts.eos not in write.titles[0]


def test_a_catalogue_of_one_category_has_it_as_every_preference(tmp_path: Path) -> None:
    catalogue = Catalogue(
        item_ids=("0", "1"), titles=("p", "q"), categories=("c", "c"), popularity=np.ones(2, dtype=np.int64)
    )
    data = replace(
        DATA,
        catalogue=catalogue,
        sequences=Ragged.of([[0, 1, 0]]),
        valid=replace(
            DATA.valid,
            requests=replace(DATA.valid.requests, user=np.zeros(1, dtype=int), history=Ragged.of([[0, 1]])),
            target=np.zeros(1, dtype=int),
        ),
        digests={"split": "two", "catalogue": "two"},
    )
    policy, run = begin(tmp_path / "fit", data)
    examples = written(policy, training_rows(policy, data, run).rows)
    assert [answer for question, answer in examples if question.endswith("likes:")] == ["c</s>"]
