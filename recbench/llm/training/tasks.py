"""Build the rows that SFT trains on: the next item's and, with `train.tasks`, those of LC-Rec's other tasks.

LC-Rec has an example of each target for the next item, one of each item in both directions, one of each user
for an intention and for a preference, and for the asymmetric task a sample of the targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recbench.data import TrainingData
from recbench.llm.items.task_prompts import task_prompts
from recbench.llm.items.wordings import KIND, LIKES, TASKS, WORDINGS, Task, Wording
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import NextItem, next_item, report_drawn
from recbench.llm.training.pack import Row, num_tokens, prefix_tree
from recbench.method import LLMRun
from recbench.settings import ONE_TASK, backbone_class

ASYMMETRIC = 0.2
"""Share of the next item's rows that have an asymmetric counterpart. LC-Rec takes 20,000 to 100,000 targets
by dataset, 12 to 33 % of them."""
NO_EXAMPLE = -1
"""In the columns `example` and `target`: the row asks for no next item."""

TaskRow = tuple[Task, Row]
Sequences = list[tuple[list[int], int]]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """The rows of a fit, and the next-item examples that those with a column `example` from 0 on have."""

    examples: NextItem
    rows: list[Row]
    tasks: dict[str, dict[str, float]]
    """Examples, tokens and their share by task; empty where the next item is the only task."""


def training_rows(policy: Policy, data: TrainingData, run: LLMRun) -> TrainingRows:
    """The rows of all tasks, or those that `train.max_rows` draws.

    A wording is drawn for each row. With `pack=none` an example has a row of its own; else the examples of a
    task share rows of about as many tokens as a row of the next item has.
    """
    if run.llm.train.tasks == ONE_TASK:
        examples = next_item(policy.prompts, data, run)
        return TrainingRows(examples, examples.rows, {})
    everything = replace(run, llm=replace(run.llm, train=replace(run.llm.train, max_rows=0)))
    examples = next_item(policy.prompts, data, everything)
    rows = list(_Tasks(policy, data, run, examples).rows())
    most = run.llm.train.max_rows
    if most and most < len(rows):
        report_drawn(run.report, most, len(rows))
        rows = [rows[int(row)] for row in np.sort(run.rng("rows").permutation(len(rows))[:most])]
    return TrainingRows(examples, [row for _, row in rows], _shares(rows))


class _Tasks:
    """The rows of every task, in the order of `TASKS`."""

    def __init__(self, policy: Policy, data: TrainingData, run: LLMRun, examples: NextItem) -> None:
        kind = backbone_class(run.llm.backbone)
        self.write = task_prompts(policy.tokenizer, policy.prompts, data.catalogue, kind)
        self.examples = examples
        self.alone = run.llm.train.pack == "none"
        self.size = float(np.median([len(row.input_ids) for row in examples.rows]))
        self.rng = run.rng("tasks")
        about_text = {KIND, LIKES}
        self.wordings: dict[Task, list[Wording]] = {
            task: [
                wording
                for wording in WORDINGS[kind]
                if wording.task == task
                and (run.llm.train.tasks == "lc-rec" or not about_text & wording.slots)
            ]
            for task in TASKS
        }
        self.num_items = data.num_items

    def rows(self) -> Iterator[TaskRow]:
        yield from (("sequential", row) for row in self._sequential())
        yield from (("asymmetric", row) for row in self._asymmetric())
        items: list[tuple[Sequence[int], int]] = [((), item) for item in range(self.num_items)]
        yield from self._gathered("item-to-id", items)
        yield from self._gathered("id-to-item", items)
        users = self._last_of_each_user()
        yield from self._gathered("intention", users)
        yield from self._gathered("preference", users)

    def _sequential(self) -> Iterator[Row]:
        """Each row with its own template or, drawn alike, with another wording of the question."""
        others = self.wordings["sequential"]
        for row in self.examples.rows:
            drawn = int(self.rng.integers(len(others) + 1))
            yield self._reworded(row, others[drawn - 1], keep=True) or row if drawn else row

    def _asymmetric(self) -> Iterator[Row]:
        rows = self.examples.rows
        count = max(1, round(ASYMMETRIC * len(rows)))
        for number in np.sort(self.rng.permutation(len(rows))[:count]):
            wordings = self.wordings["asymmetric"]
            row = self._reworded(rows[number], wordings[self.rng.integers(len(wordings))])
            if row is not None:
                yield row

    def _reworded(self, row: Row, wording: Wording, *, keep: bool = False) -> Row | None:
        """The row's examples asked in other words. With `keep` they are next-item examples still; None where
        the items have no answer."""
        sequences: Sequences = []
        for example in row.facts["example"].tolist():
            history, item = self.examples.history[example].tolist(), int(self.examples.target[example])
            if self.write.answers(wording, history, item):
                written = self.write.example(wording, history, item)
                sequences += [written] if written is not None else []
        if keep:
            return prefix_tree(sequences, row.facts) if len(sequences) == row.num_examples else None
        return _row(sequences) if sequences else None

    def _gathered(self, task: Task, asked: Sequence[tuple[Sequence[int], int]]) -> Iterator[TaskRow]:
        """Examples of (history, item) pairs in an order drawn anew, several to a row."""
        gathered: Sequences = []
        for number in self.rng.permutation(len(asked)):
            history, item = asked[number]
            able = [one for one in self.wordings[task] if self.write.answers(one, history, item)]
            if not able:
                continue
            written = self.write.example(able[self.rng.integers(len(able))], history, item)
            if written is None:
                continue
            gathered.append(written)
            if self.alone or sum(len(tokens) for tokens, _ in gathered) >= self.size:
                yield task, _row(gathered)
                gathered = []
        if gathered:
            yield task, _row(gathered)

    def _last_of_each_user(self) -> list[tuple[Sequence[int], int]]:
        last = {int(user): number for number, user in enumerate(self.examples.user)}
        return [
            (self.examples.history[number].tolist(), int(self.examples.target[number]))
            for number in last.values()
        ]


def _row(sequences: Sequences) -> Row:
    none = np.full(len(sequences), NO_EXAMPLE)
    return prefix_tree(sequences, {"example": none, "target": none.copy()})


def _shares(rows: Sequence[TaskRow]) -> dict[str, dict[str, float]]:
    total = num_tokens([row for _, row in rows])
    found: dict[str, dict[str, float]] = {}
    for task in TASKS:
        own = [row for name, row in rows if name == task]
        if own:
            tokens = num_tokens(own)
            examples = sum(row.num_examples for row in own)
            found[task] = {"examples": examples, "tokens": tokens, "share": tokens / total}
    return found
