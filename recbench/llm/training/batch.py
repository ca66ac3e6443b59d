"""Collate packed rows into the tensors of one forward pass.

B rows, N nodes of the longest row, S supervised positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbench.llm.training.pack import Row, num_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """The predictions that a batch trains: S positions in R responses of E examples."""

    position: Tensor  # [S] index into the flattened [B * N]
    label: Tensor  # [S]
    response: Tensor  # [S] index of the response within the batch
    step: Tensor  # [S] index within the response
    columns: dict[str, Tensor] = field(default_factory=dict)  # a method's columns, [R, ...]

    def where(self, kept: Tensor) -> Supervision:
        """The predictions of the mask `kept` [S], in the same responses."""
        return Supervision(
            position=self.position[kept],
            label=self.label[kept],
            response=self.response[kept],
            step=self.step[kept],
            columns=self.columns,
        )

    def of_rows(self, width: int, *, most: int) -> list[Supervision]:
        """The predictions of consecutive rows of `width` N together, each part with at most `most` of them or
        of one row, and with the responses of its rows."""
        if len(self.label) <= most:
            return [self]
        row = (self.position // width).tolist()
        starts = [at for at in range(len(row)) if at == 0 or row[at] != row[at - 1]]
        cuts = [0]
        for start, end in pairwise([*starts, len(row)]):
            if end - cuts[-1] > most and start > cuts[-1]:
                cuts.append(start)
        return [self._between(first, end) for first, end in pairwise([*cuts, len(row)])]

    def _between(self, first: int, end: int) -> Supervision:
        """The predictions of whole rows, `first` to `end`, with their responses alone."""
        begin, stop = int(self.response[first]), int(self.response[end - 1]) + 1
        return Supervision(
            position=self.position[first:end],
            label=self.label[first:end],
            response=self.response[first:end] - begin,
            step=self.step[first:end],
            columns={name: column[begin:stop] for name, column in self.columns.items()},
        )

    def to(self, device: torch.device) -> Supervision:
        return Supervision(
            position=self.position.to(device),
            label=self.label.to(device),
            response=self.response.to(device),
            step=self.step.to(device),
            columns={name: column.to(device) for name, column in self.columns.items()},
        )


def by_length(batches: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """The rows of an optimiser step in batches of the same sizes, the longest together and first.

    The step's gradient is the same, and less of a batch is padding. A step of one batch stays as it is.
    """
    if len(batches) < 2:
        return [list(batch) for batch in batches]
    rows = iter(sorted(chain.from_iterable(batches), key=lambda row: -len(row.input_ids)))
    return [list(islice(rows, len(batch))) for batch in batches]


def collate(rows: Sequence[Row], *, pad: int) -> dict[str, Any]:
    """Model inputs and the Supervision of a batch of rows, padded on the right.

    A batch of chains needs no mask: causal attention never reaches the padding. A batch with a branching
    row has the `end` of its nodes [B, N], from which the model's device makes masks.
    """
    width = max(len(row.input_ids) for row in rows)
    input_ids = np.full((len(rows), width), pad, dtype=np.int64)
    position = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        input_ids[index, : len(row.input_ids)] = row.input_ids
        position[index, : len(row.input_ids)] = row.position
        position[index, len(row.input_ids) :] = np.arange(len(row.input_ids), width)
    first_response = np.cumsum([0, *(row.num_examples for row in rows)])
    supervision = Supervision(
        position=_flat([row.predictor + index * width for index, row in enumerate(rows)]),
        label=_flat([row.label for row in rows]),
        response=_flat([row.response + first_response[index] for index, row in enumerate(rows)]),
        step=_flat([row.step for row in rows]),
        columns={name: _flat([row.facts[name] for row in rows]) for name in rows[0].facts},
    )
    batch: dict[str, Any] = {
        "input_ids": torch.from_numpy(input_ids),
        "position_ids": torch.from_numpy(position),
        "supervision": supervision,
        "num_tokens": num_tokens(rows),
    }
    if not all(row.is_chain for row in rows):
        end = np.tile(
            np.arange(1, width + 1), (len(rows), 1)
        )  # padding sees itself: a softmax over nothing is NaN
        for index, row in enumerate(rows):
            end[index, : len(row.end)] = row.end
        batch["end"] = torch.from_numpy(end)
    return batch


def _flat(parts: Sequence[Any]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts))
