"""Rows that are made from the policy's present weights while it trains, in intervals of optimiser steps.

There is one optimiser and one schedule over all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainerCallback

from recbench.llm.training.batch import by_length, collate
from recbench.llm.training.pack import Row


class Made(NamedTuple):
    """Rows, in the order in which they were asked for."""

    rows: list[Row]
    num_read: int
    """Tokens that were read without a backward pass to make them."""


class MadeRows(ABC):
    """An epoch of rows, of which only the number is known before they are trained on."""

    refresh: int = 1
    """Optimiser steps that train on rows made together."""

    @abstractmethod
    def __len__(self) -> int:
        """Rows of an epoch."""

    @abstractmethod
    def make(self, numbers: Sequence[int], step: int) -> Made:
        """The rows with these numbers, from the weights after `step` optimiser steps.

        Each process asks for its own. Nothing but the arguments, the weights and what `save` keeps may decide
        them, so that a resumed fit makes the same.
        """

    @abstractmethod
    def num_tokens(self) -> int:
        """About the tokens of an epoch; for a budget of tokens, asked before training."""

    def save(self, folder: Path) -> None:  # noqa: B027  # most have no state
        """Write what later rows depend on beside the policy's weights into a checkpoint."""

    def load(self, folder: Path) -> None:  # noqa: B027  # as `save`
        """Restore what `save` wrote."""


class MadeBatches(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """The batches of a stage whose rows are made while it trains.

    A checkpoint that falls between two of one making waits for the last, so that none of their rows, which
    came from weights that are gone, must be kept.
    """

    def __init__(self, source: MadeRows, *, pad: int) -> None:
        self.source, self.pad = source, pad
        self._read = 0
        self._waiting: deque[list[Row]] = deque()
        self._late = False

    @property
    def between(self) -> bool:
        """Whether the next step makes rows anew."""
        return not self._waiting

    def batches(
        self, numbered: Iterator[dict[str, list[int]]], count: int, *, step: int, steps: int
    ) -> Iterator[dict[str, Any]]:
        """The next `count` batches, for optimiser step number `step` of `steps`, in place of those of
        numbers."""
        if not self._waiting:
            ahead = count * min(self.source.refresh, steps - step)
            numbers = [batch["rows"] for batch in islice(numbered, ahead)]
            if not numbers:
                return
            made = self.source.make([row for batch in numbers for row in batch], step)
            self._read += made.num_read
            rows = iter(made.rows)
            self._waiting.extend(list(islice(rows, len(batch))) for batch in numbers)
        now = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        for batch in by_length(now):
            yield collate(batch, pad=self.pad)

    def take_read(self) -> int:
        """The tokens read to make rows since this was last asked."""
        read, self._read = self._read, 0
        return read

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, state
        if self.between:
            control.should_save |= self._late
            self._late = False
        elif control.should_save and not control.should_training_stop:
            control.should_save, self._late = False, True
